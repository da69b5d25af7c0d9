"""Memory through a GDB stub: many ``m`` packets under way at once."""

import binascii
from collections.abc import Callable
from functools import lru_cache
from typing import Literal

from klosdbg.errors import MemoryFault
from klosdbg.targets.rsp_stub import RspStub
from klosdbg.wire.rsp_replies import garbage, is_error

AskMemory = Callable[[list[bytes]], list[bytes]]
"""Sends memory requests of one address space, in one pipeline."""

_HEADER = 32


class RspMemory:
    """Memory in one address space, read through a stub while the guest is stopped."""

    def __init__(self, stub: RspStub, space: Literal["linear", "physical"], ask: AskMemory) -> None:
        self._space = space
        self._ask = ask
        self._chunk = stub.features.packet_size // 2
        self._mask = (1 << (64 if stub.description.is_64_bit else 32)) - 1

    def read(self, address: int, size: int) -> bytes:
        """Read exactly ``size`` bytes, or raise ``MemoryFault``."""
        data = self.read_many([(address, size)])[0]
        if data is None:
            raise MemoryFault(self._space, address, size)
        return data

    def read_many(self, requests: list[tuple[int, int]]) -> list[bytes | None]:
        """Read several ``(address, size)`` ranges in one pipeline; None where one faults."""
        return self.read_after([], requests)[1]

    def read_after(
        self, payloads: list[bytes], requests: list[tuple[int, int]]
    ) -> tuple[list[bytes], list[bytes | None]]:
        """Send other requests ahead in the same pipeline; return their replies as well."""
        reads = [self._packets(address, size) for address, size in requests]
        sent = [*payloads, *(packet for parts in reads for packet, _ in parts)]
        replies = iter(self._ask(sent))
        first = [next(replies) for _ in payloads]
        return first, [_join([_data(next(replies), size) for _, size in parts]) for parts in reads]

    def _packets(self, address: int, size: int) -> list[tuple[bytes, int]]:
        """Make the packets that read a range, each with how much it reads."""
        mask, chunk = self._mask, self._chunk
        if 0 < size <= chunk:
            return [(_packet(address & mask, size), size)]
        sizes = [(start, min(chunk, size - start)) for start in range(0, size, chunk)]
        return [(_packet((address + start) & mask, part), part) for start, part in sizes]


@lru_cache(maxsize=256)
def _packet(address: int, size: int) -> bytes:
    return b"m%x,%x" % (address, size)


class RspMemoryWriter:
    """Linear memory, written through a stub: translated code notices the change."""

    def __init__(self, stub: RspStub, ask: AskMemory) -> None:
        self._ask = ask
        self._chunk = (stub.features.packet_size - _HEADER) // 2

    def write(self, address: int, data: bytes) -> None:
        """Write all of ``data``, or raise ``MemoryFault``."""
        payloads = []
        for start in range(0, len(data), self._chunk):
            part = data[start : start + self._chunk]
            payloads.append(b"M%x,%x:%b" % (address + start, len(part), binascii.hexlify(part)))
        replies = self._ask(payloads)
        if any(reply != b"OK" for reply in replies):
            raise MemoryFault("linear", address, len(data), "write")


def _data(reply: bytes, size: int) -> bytes | None:
    try:
        data = binascii.unhexlify(reply)
    except binascii.Error:
        if is_error(reply):
            return None
        raise garbage("memory in hexadecimal", reply) from None
    return data if len(data) == size else None


def _join(parts: list[bytes | None]) -> bytes | None:
    if len(parts) == 1:
        return parts[0]
    whole = [part for part in parts if part is not None]
    return b"".join(whole) if len(whole) == len(parts) else None

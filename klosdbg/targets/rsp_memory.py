"""Memory through a GDB stub: many ``m`` packets under way at once."""

import binascii
from functools import lru_cache
from typing import Literal

from klosdbg.errors import MemoryFault
from klosdbg.targets.rsp_stub import RspStub
from klosdbg.wire.rsp_replies import garbage, is_error

_HEADER = 32


class RspMemory:
    """Memory in one address space, read through a stub while the guest is stopped."""

    def __init__(self, stub: RspStub, space: Literal["linear", "physical"]) -> None:
        self._stub = stub
        self._space = space
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
        reads = _reads(tuple(requests), self._chunk, self._mask)
        sent = [*payloads, *(packet for parts in reads for packet, _ in parts)]
        replies = iter(self._stub.ask_memory(self._space == "physical", sent))
        first = [next(replies) for _ in payloads]
        return first, [_join([_data(next(replies), size) for _, size in parts]) for parts in reads]


@lru_cache(maxsize=64)
def _reads(
    requests: tuple[tuple[int, int], ...], chunk: int, mask: int
) -> list[list[tuple[bytes, int]]]:
    """Make the packets that read each range, with the sizes of what they read."""
    return [
        [
            (b"m%x,%x" % ((address + start) & mask, part), part)
            for start in range(0, size, chunk)
            for part in [min(chunk, size - start)]
        ]
        for address, size in requests
    ]


class RspMemoryWriter:
    """Linear memory, written through a stub: translated code notices the change."""

    def __init__(self, stub: RspStub) -> None:
        self._stub = stub
        self._chunk = (stub.features.packet_size - _HEADER) // 2

    def write(self, address: int, data: bytes) -> None:
        """Write all of ``data``, or raise ``MemoryFault``."""
        payloads = []
        for start in range(0, len(data), self._chunk):
            part = data[start : start + self._chunk]
            payloads.append(b"M%x,%x:%b" % (address + start, len(part), binascii.hexlify(part)))
        replies = self._stub.ask_memory(False, payloads)
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

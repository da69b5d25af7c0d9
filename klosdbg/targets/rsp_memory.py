"""Memory through a GDB stub: many ``m`` packets under way at once."""

import binascii
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
        split = [self._split(address, size) for address, size in requests]
        reads = [b"m%x,%x" % chunk for chunks in split for chunk in chunks]
        replies = iter(self._stub.ask_memory(self._space == "physical", [*payloads, *reads]))
        first = [next(replies) for _ in payloads]
        return first, [_join([(size, next(replies)) for _, size in chunks]) for chunks in split]

    def _split(self, address: int, size: int) -> list[tuple[int, int]]:
        mask, chunk = self._mask, self._chunk
        if 0 < size <= chunk:
            return [(address & mask, size)]
        starts = range(0, size, chunk)
        return [((address + start) & mask, min(chunk, size - start)) for start in starts]


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


def _join(replies: list[tuple[int, bytes]]) -> bytes | None:
    if any(reply[:1] == b"E" and is_error(reply) for _, reply in replies):
        return None
    try:
        data = binascii.unhexlify(b"".join(reply for _, reply in replies))
    except binascii.Error:
        raise garbage("memory in hexadecimal", replies[0][1]) from None
    return data if all(len(reply) == 2 * size for size, reply in replies) else None

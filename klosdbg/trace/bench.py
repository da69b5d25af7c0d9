"""How fast klosdbg is, as ratios within one run: absolute times say more about the machine."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from klosdbg.ports import Memory
from klosdbg.x86.table import decode_table

_PACKET = 2048
_ENTRY = 8


@dataclass(frozen=True, slots=True)
class Measured:
    """One comparison: ``ratio`` of two times, and the least or the most that is wanted of it."""

    name: str
    what: str
    ratio: float
    wanted: float
    at_least: bool = True

    @property
    def holds(self) -> bool:
        """Tell whether the ratio is what is wanted."""
        return self.ratio >= self.wanted if self.at_least else self.ratio <= self.wanted


@dataclass(frozen=True, slots=True)
class Bench:
    """All comparisons of one run."""

    measured: tuple[Measured, ...]

    @property
    def found_fault(self) -> bool:
        """Tell whether one of them is not what is wanted."""
        return not all(m.holds for m in self.measured)


def compare_tables(ram: Memory, packets: Memory, base: int, size: int) -> Measured:
    """Read a table through shared RAM, and through the stub a packet at a time."""
    parts = _parts(base, size)
    slow = median(lambda: [packets.read(*part) for part in parts])
    fast = median(lambda: ram.read(base, size))
    what = f"{size >> 10} KiB of tables: time by packets / through shared RAM"
    return Measured("shared-ram", what, slow / fast, 50.0)


def compare_pipeline(packets: Memory, base: int, size: int) -> Measured:
    """Read a table through the stub, a packet at a time and pipelined."""
    parts = _parts(base, size)
    slow = median(lambda: [packets.read(*part) for part in parts])
    fast = median(lambda: packets.read_many(parts))
    what = "the same: time packet by packet / pipelined"
    return Measured("pipeline", what, slow / fast, 1.5)


def compare_decoding(raw: bytes) -> Measured:
    """Decode a table and one of twice its size, entry by entry."""

    def decode(times: int) -> Callable[[], object]:
        content = _numbered(raw * times)
        return lambda: decode_table("gdt", 0, len(content) - 1, [(0, content)])

    half, whole = median(decode(1), 5), median(decode(2), 5)
    what = "decoding 16384 descriptors: time / that of 8192"
    return Measured("decode-linear", what, whole / half, 2.6, at_least=False)


def _parts(base: int, size: int) -> list[tuple[int, int]]:
    return [(base + at, min(_PACKET, size - at)) for at in range(0, size, _PACKET)]


def _numbered(raw: bytes) -> bytes:
    """Make every entry differ from its neighbours, so that no run hides the work."""
    entries = bytearray(raw)
    for index in range(len(raw) // _ENTRY):
        entries[index * _ENTRY + 2 : index * _ENTRY + 4] = (index & 0xFFFF).to_bytes(2, "little")
    return bytes(entries)


def median(call: Callable[[], object], runs: int = 25) -> float:
    """Time a call several times and return the median, in seconds."""
    call()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return sorted(times)[runs // 2]

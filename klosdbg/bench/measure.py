"""How fast klosdbg is, as ratios within one run: absolute times say more about the machine."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count

from klosdbg.bench.models import Measured
from klosdbg.ports import Memory, Symbols, Target
from klosdbg.x86.table import decode_table

_PACKET = 2048
_ENTRY = 8


Loop = Callable[[int], float]
"""Makes about so many stops of the guest; returns how many seconds one took."""


@dataclass(frozen=True, slots=True)
class TracedGuest:
    """A busy guest behind a connection that learns what a recorder sends at each stop.

    ``bare`` sends the same without a recorder. ``packets`` counts what has been sent; ``places``
    are the linear addresses of the stops, and the ``(address, size)`` that were read there.
    """

    target: Target
    symbols: Symbols
    bare: Loop
    packets: Callable[[], int]
    places: Callable[[], Mapping[int, list[tuple[int, int]]]]


def alternate(first: Loop, second: Loop, stops: int, rounds: int) -> float:
    """Let both take turns, once for nothing; return the second's time a stop / the first's.

    Whatever else the machine does for a while hits both of a turn, and the median of the turns
    passes over the rest.
    """

    def turn() -> float:
        mine = first(stops)
        return second(stops) / mine

    turn()
    return statistics.median(turn() for _ in range(rounds))


def compare_decoding_again(raw: bytes) -> Measured:
    """Decode a table that was never seen, and the same once more."""
    fresh = count(1)

    def decode() -> tuple[float, float]:
        content = _numbered(raw, next(fresh))
        first = median(lambda: _decode(content), 1, warm=False)
        return first, median(lambda: _decode(content), 1, warm=False)

    first, again = zip(*(decode() for _ in range(5)), strict=True)
    what = "8192 descriptors again: time / the first time"
    return Measured("decode-again", what, sorted(again)[2] / sorted(first)[2], 0.5, at_least=False)


def compare_tables(ram: Memory, packets: Memory, base: int, size: int) -> Measured:
    """Read a table through shared RAM, and through the stub a packet at a time."""
    parts = _parts(base, size)
    slow = median(lambda: [packets.read(*part) for part in parts])
    fast = median(lambda: ram.read(base, size))
    what = f"{size >> 10} KiB of tables: time by packets / shared RAM"
    return Measured("shared-ram", what, slow / fast, 50.0)


def compare_pipeline(packets: Memory, base: int, size: int) -> Measured:
    """Read a table through the stub, a packet at a time and pipelined."""
    parts = _parts(base, size)
    slow = median(lambda: [packets.read(*part) for part in parts])
    fast = median(lambda: packets.read_many(parts))
    what = "the same: time one by one / pipelined"
    return Measured("pipeline", what, slow / fast, 1.5)


def compare_decoding(raw: bytes) -> Measured:
    """Decode a table and one of twice its size, entry by entry."""

    def decode(times: int) -> Callable[[], object]:
        content = _numbered(raw * times)
        return lambda: _decode(content)

    half, whole = median(decode(1), 5), median(decode(2), 5)
    what = "16384 descriptors: time / that of 8192"
    return Measured("decode-linear", what, whole / half, 2.6, at_least=False)


def _parts(base: int, size: int) -> list[tuple[int, int]]:
    return [(base + at, min(_PACKET, size - at)) for at in range(0, size, _PACKET)]


def _decode(content: bytes) -> object:
    return decode_table("gdt", 0, len(content) - 1, [(0, content)])


def _numbered(raw: bytes, serial: int = 0) -> bytes:
    """Make every entry differ from its neighbours and from those of another ``serial``."""
    entries = bytearray(raw)
    for index in range(len(raw) // _ENTRY):
        entries[index * _ENTRY + 2 : index * _ENTRY + 4] = (index & 0xFFFF).to_bytes(2, "little")
        entries[index * _ENTRY + 7] = serial
    return bytes(entries)


def median(call: Callable[[], object], runs: int = 25, warm: bool = True) -> float:
    """Time a call several times, ``warm`` once more before; return the median, in seconds."""
    if warm:
        call()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return sorted(times)[runs // 2]

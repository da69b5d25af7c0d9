"""Which pages a process maps, by walking its page tables in physical memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from klosdbg.ports import Memory
from klosdbg.x86.paging import LEVELS, Mode, PageEntry, decode_pte

_PAGE = 4096
_PRESENT = 1
_decoded = lru_cache(4096)(decode_pte)
_ROOT = {"32-bit": 0xFFFF_F000, "PSE": 0xFFFF_F000, "PAE": 0xFFFF_FFE0}


@dataclass(frozen=True, slots=True)
class MappedPage:
    """A page: linear and physical address, size in bytes, effective rights."""

    linear: int
    physical: int
    size: int
    writable: bool
    user: bool


class PageTables:
    """Paging structures, each of which is read once."""

    def __init__(self, physical: Memory) -> None:
        self._physical = physical
        self._read: dict[int, bytes] = {}

    def pages(self, mode: Mode, cr3: int, first: int, last: int) -> Iterator[MappedPage]:
        """Yield the pages that are mapped between two linear addresses, both included."""
        root = cr3 & _ROOT.get(mode, ~0xFFF)
        wanted = _Wanted(mode, first, last, self._table)
        yield from _below(wanted, root, LEVELS[mode], 0, True, True)

    def _table(self, address: int, size: int) -> bytes:
        if address not in self._read:
            (raw,) = self._physical.read_many([(address, size)])
            self._read[address] = raw or b""
        return self._read[address]


@dataclass(frozen=True, slots=True)
class _Wanted:
    mode: Mode
    first: int
    last: int
    table: Callable[[int, int], bytes]

    @property
    def width(self) -> int:
        return 4 if LEVELS[self.mode] == 2 else 8

    def shift(self, level: int) -> int:
        return 12 + (10 if self.width == 4 else 9) * (level - 1)


def _below(
    wanted: _Wanted, table: int, level: int, base: int, writable: bool, user: bool
) -> Iterator[MappedPage]:
    shift = wanted.shift(level)
    for linear, entry in _entries(wanted, table, level, base):
        root = entry.root_pdpte
        write, ring3 = writable and (root or entry.writable), user and (root or entry.user)
        if entry.maps_page:
            yield MappedPage(linear, entry.address, 1 << shift, write, ring3)
        else:
            yield from _below(wanted, entry.address, level - 1, linear, write, ring3)


def _entries(wanted: _Wanted, table: int, level: int, base: int) -> Iterator[tuple[int, PageEntry]]:
    shift, width = wanted.shift(level), wanted.width
    raw = wanted.table(table, 32 if wanted.mode == "PAE" and level == 3 else _PAGE)
    first = max(wanted.first - base, 0) >> shift
    end = min((wanted.last - base >> shift) + 1, len(raw) // width)
    for index in range(first, end):
        value = int.from_bytes(raw[index * width : (index + 1) * width], "little")
        if value & _PRESENT:
            yield base + (index << shift), _decoded(value, wanted.mode, level)

"""Memory through page tables that lie in physical memory: what is mapped where, and what is there.

The one place that reads paging structures; ``x86/paging.py`` says what they mean.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from klosdbg.errors import MemoryFault
from klosdbg.ports import Memory
from klosdbg.x86.paging import (
    PAGE,
    PageEntry,
    Paging,
    Walk,
    cut_at_pages,
    decode_pte,
    walk,
    walk_all,
)

_PRESENT = 1
_Entry = tuple[tuple[int, int], bytes | None]
"""What was read of a paging structure: ``(address, size)``, and what was there."""
_decoded = lru_cache(4096)(decode_pte)


class PagedMemory:
    """Linear memory as page tables map it at each read; without ``paging`` it is the physical one.

    Where a page is stays known as long as no entry has changed that said so; how the last requests
    were answered too, as the same ones come again and again.
    """

    def __init__(self, physical: Memory, paging: Paging | None) -> None:
        self.paging = paging
        self._physical = physical
        self._known: dict[int, tuple[int | None, tuple[_Entry, ...]]] = {}
        self._last: _Plan | None = None

    def read(self, address: int, size: int) -> bytes:
        """Read exactly ``size`` bytes, or raise ``MemoryFault``."""
        found = self.read_many([(address, size)])[0]
        if found is None:
            raise MemoryFault("linear", address, size)
        return found

    def read_many(self, requests: list[tuple[int, int]]) -> list[bytes | None]:
        """Read several ``(address, size)`` ranges; None where one faults.

        It takes one round trip where all pages are known, else one for each level, and one for
        what is mapped.
        """
        if self.paging is None:
            return self._physical.read_many(requests)
        plan = self._last
        if plan is None or plan.requests != requests or not self._holds(plan.held):
            plan = self._last = self._plan(self.paging, requests)
        parts = iter(self._physical.read_many(plan.wanted) if plan.wanted else ())
        return [_join(found, parts) for found in plan.places]

    def _plan(self, paging: Paging, requests: list[tuple[int, int]]) -> "_Plan":
        cuts = [list(cut_at_pages(*request)) for request in requests]
        pages = {at & -PAGE for cut in cuts for at, _ in cut}
        frames = self._frames(paging, pages)
        places = [_places(cut, frames) for cut in cuts]
        wanted = [place for found in places for place in found or ()]
        return _Plan(list(requests), places, wanted, self._held(pages))

    def _held(self, pages: Collection[int]) -> "_Held":
        known = (self._known[page][1] for page in pages if page in self._known)
        held = {entry for entries in known for entry in entries}
        return [place for place, _ in held], [raw for _, raw in held]

    def _holds(self, held: "_Held") -> bool:
        """Tell whether entries are as they were read."""
        places, raws = held
        return not places or self._physical.read_many(places) == raws

    def _frames(self, paging: Paging, pages: Collection[int]) -> Mapping[int, int | None]:
        """Map pages to their physical addresses; None where one is not mapped."""
        self._forget_changed(pages)
        missing = [page for page in pages if page not in self._known]
        walks = walk_all(self._physical.read_many, missing, paging)
        self._known |= {page: (found.physical, _read_by(found)) for page, found in walks.items()}
        return {page: self._known[page][0] for page in pages}

    def _forget_changed(self, pages: Collection[int]) -> None:
        if not self._holds(self._held(pages)):
            self._known.clear()


_Held = tuple[list[tuple[int, int]], list[bytes | None]]
"""Where entries are, and what was there."""


class _Plan(NamedTuple):
    """How requests are answered: their physical places, and the entries that said so."""

    requests: list[tuple[int, int]]
    places: list[list[tuple[int, int]] | None]
    wanted: list[tuple[int, int]]
    held: _Held


def _read_by(found: Walk) -> tuple[_Entry, ...]:
    size = found.paging.entry_size
    read = [((s.address, size), s.entry.raw.to_bytes(size, "little")) for s in found.steps]
    missing = [] if found.unreadable is None else [((found.unreadable, size), None)]
    return (*read, *missing)


def _places(
    cut: list[tuple[int, int]], frames: Mapping[int, int | None]
) -> list[tuple[int, int]] | None:
    """Give the physical ranges of a linear one, neighbours as one; None where a page has none."""
    places: list[tuple[int, int]] = []
    for address, size in cut:
        frame = frames[address & -PAGE]
        if frame is None:
            return None
        place = frame + address % PAGE
        if places and sum(places[-1]) == place:
            places[-1] = (places[-1][0], places[-1][1] + size)
        else:
            places.append((place, size))
    return places


def _join(places: list[tuple[int, int]] | None, parts: Iterator[bytes | None]) -> bytes | None:
    if places is None:
        return None
    found = [next(parts) for _ in places]
    return None if None in found else b"".join(part for part in found if part is not None)


@dataclass(frozen=True, slots=True)
class MappedPage:
    """A page: linear and physical address, size in bytes, effective rights."""

    linear: int
    physical: int
    size: int
    writable: bool
    user: bool


@dataclass(frozen=True, slots=True)
class _Table:
    """A paging structure, what its first entry is for, and the rights that lead to it."""

    address: int
    linear: int = 0
    writable: bool = True
    user: bool = True


class PageTables:
    """Paging structures, each of which is read once, and whole."""

    def __init__(self, physical: Memory) -> None:
        self._physical = physical
        self._read: dict[tuple[int, int], bytes] = {}

    def walk(self, linear: int, paging: Paging) -> Walk:
        """Walk for a linear address."""
        return walk(self._entry, linear, paging)

    def _entry(self, address: int, size: int) -> bytes:
        (raw,) = self._tables([address & -PAGE], PAGE)
        return raw[address % PAGE :][:size]

    def pages(self, paging: Paging, first: int, last: int) -> list[MappedPage]:
        """List the pages that are mapped between two linear addresses, both included."""
        pages: list[MappedPage] = []
        tables = [_Table(paging.root)]
        for level in range(paging.levels, 0, -1):
            raws = self._tables([t.address for t in tables], paging.table_size(level))
            below: list[_Table] = []
            for table, raw in zip(tables, raws, strict=True):
                inside = first - table.linear, last - table.linear
                for offset, entry in _entries(raw, paging, level, *inside):
                    linear, root = table.linear + offset, entry.root_pdpte
                    writable = table.writable and (root or entry.writable)
                    user = table.user and (root or entry.user)
                    if entry.page_size:
                        at = entry.address
                        pages.append(MappedPage(linear, at, entry.page_size, writable, user))
                    else:
                        below.append(_Table(entry.address, linear, writable, user))
            tables = below
        return sorted(pages, key=lambda page: page.linear)

    def read_all(self, paging: Paging, most: int) -> None:
        """Read every structure that a root leads to, at most so many of a level."""
        tables = {paging.root}
        for level in range(paging.levels, 0, -1):
            raws = self._tables(sorted(tables)[:most], paging.table_size(level))
            if level > 1:
                entries = (entry for raw in raws for _, entry in _entries(raw, paging, level))
                tables = {entry.address for entry in entries if not entry.maps_page}

    def _tables(self, addresses: Iterable[int], size: int) -> list[bytes]:
        wanted = [(address, size) for address in addresses]
        missing = [each for each in dict.fromkeys(wanted) if each not in self._read]
        if missing:
            raws = self._physical.read_many(missing)
            self._read |= {each: raw or b"" for each, raw in zip(missing, raws, strict=True)}
        return [self._read[each] for each in wanted]


def _entries(
    raw: bytes, paging: Paging, level: int, first: int = 0, last: int | None = None
) -> Iterator[tuple[int, PageEntry]]:
    """Yield the present entries for a part of what a structure is for, each with its offset."""
    span, size = paging.span(level), paging.entry_size
    count = len(raw) // size
    end = count if last is None else min(last // span + 1, count)
    for index in range(max(first, 0) // span, end):
        value = int.from_bytes(raw[index * size : (index + 1) * size], "little")
        if value & _PRESENT:
            yield index * span, _decoded(value, paging.mode, level)

"""Linear memory as page tables map it, over physical memory that costs nothing to read."""

from collections.abc import Callable, Iterator

from klosdbg.errors import MemoryFault
from klosdbg.ports import Memory
from klosdbg.x86.cpu import Cpu
from klosdbg.x86.paging import Paging, paging_of, walk

_PAGE = 4096


class WalkedMemory:
    """Linear memory as the page tables of CR3 map it now. Linear addresses are physical without.

    Where a page is stays known as long as no entry has changed that said so of any.
    """

    def __init__(self, physical: Memory, cpu: Callable[[], Cpu]) -> None:
        self._physical = physical
        self._cpu = cpu
        self._paging: Paging | None = None
        self._frames: dict[int, int | None] = {}
        self._entries: dict[tuple[int, int], bytes] = {}

    def read(self, address: int, size: int) -> bytes:
        """Read exactly ``size`` bytes, or raise ``MemoryFault``."""
        found = self.read_many([(address, size)])[0]
        if found is None:
            raise MemoryFault("linear", address, size)
        return found

    def read_many(self, requests: list[tuple[int, int]]) -> list[bytes | None]:
        """Read several ``(address, size)`` ranges; None where one faults."""
        paging = paging_of(self._cpu())
        if paging is None:
            return self._physical.read_many(requests)
        self._forget_what_changed(paging)
        places = [self._places(address, size) for address, size in requests]
        parts = iter(self._physical.read_many([p for found in places for p in found or ()]))
        return [_join(found, parts) for found in places]

    def _forget_what_changed(self, paging: Paging) -> None:
        held = self._entries
        if paging != self._paging or self._physical.read_many([*held]) != [*held.values()]:
            self._paging = paging
            self._frames.clear()
            self._entries.clear()

    def _places(self, address: int, size: int) -> list[tuple[int, int]] | None:
        places: list[tuple[int, int]] = []
        while size > 0:
            part = min(size, _PAGE - address % _PAGE)
            frame = self._frame(address & -_PAGE)
            if frame is None:
                return None
            place = frame + address % _PAGE
            if places and sum(places[-1]) == place:
                places[-1] = (places[-1][0], places[-1][1] + part)
            else:
                places.append((place, part))
            address, size = address + part, size - part
        return places

    def _frame(self, page: int) -> int | None:
        if page not in self._frames:
            self._frames[page] = self._walk(page)
        return self._frames[page]

    def _walk(self, page: int) -> int | None:
        """Walk, and keep what was read; what was read before and has changed is seen next time."""
        assert self._paging is not None
        found = walk(self._read_entry, page, self._paging)
        size = 4 if self._paging.mode in ("32-bit", "PSE") else 8
        for step in found.steps:
            content = step.entry.raw.to_bytes(size, "little")
            self._entries.setdefault((step.address, size), content)
        return found.physical

    def _read_entry(self, address: int, size: int) -> bytes | None:
        return self._physical.read_many([(address, size)])[0]


def _join(places: list[tuple[int, int]] | None, parts: Iterator[bytes | None]) -> bytes | None:
    if places is None:
        return None
    found = [next(parts) for _ in places]
    return None if None in found else b"".join(part for part in found if part is not None)

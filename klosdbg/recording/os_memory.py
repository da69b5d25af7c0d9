"""Linear memory that stays where it is: found once, then read by its physical addresses."""

from collections.abc import Iterator

from klosdbg.errors import MemoryFault
from klosdbg.ports import Target
from klosdbg.read import read_cpu
from klosdbg.x86.paging import paging_of, walk

_PAGE = 4096


class PinnedMemory:
    """Ranges of an OS's own memory, mapped alike in every address space, as they are now mapped.

    A read asks no page table and no register, so where RAM is shared it costs QEMU nothing. What
    has no physical address, or cannot be told, is read by its linear one.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._frames: dict[int, int | None] = {}
        self._paging = paging_of(read_cpu(target))

    def read(self, address: int, size: int) -> bytes:
        """Read exactly ``size`` bytes at a linear address, or raise ``MemoryFault``."""
        physical, places = self._target.physical, list(self._places(address, size))
        if physical is None or any(place is None for place, _ in places):
            return self._target.linear.read(address, size)
        found = physical.read_many([(place, part) for place, part in places if place is not None])
        parts = [part for part in found if part is not None]
        if len(parts) < len(places):
            raise MemoryFault("linear", address, size)
        return b"".join(parts)

    def _places(self, address: int, size: int) -> Iterator[tuple[int | None, int]]:
        while size > 0:
            part = min(size, _PAGE - address % _PAGE)
            frame = self._frame(address & -_PAGE)
            yield None if frame is None else frame + address % _PAGE, part
            address, size = address + part, size - part

    def _frame(self, page: int) -> int | None:
        if page not in self._frames:
            self._frames[page] = self._walk(page)
        return self._frames[page]

    def _walk(self, page: int) -> int | None:
        physical = self._target.physical
        if physical is None or self._paging is None:
            return None
        return walk(
            lambda at, size: physical.read_many([(at, size)])[0], page, self._paging
        ).physical

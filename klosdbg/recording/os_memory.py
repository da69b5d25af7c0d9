"""Linear memory that stays where it is: found once, then read by its physical addresses."""

from collections.abc import Collection

from klosdbg.paged import PagedMemory
from klosdbg.ports import Memory, Target
from klosdbg.read import read_cpu
from klosdbg.x86.paging import Paging, paging_of


def pinned_memory(target: Target) -> Memory:
    """Give ranges of an OS's own memory, mapped alike in every address space, as they are now.

    A read asks no page table and no register, so where RAM is shared it costs QEMU nothing. What
    has no physical address, or cannot be told, is read by its linear one.
    """
    paging = paging_of(read_cpu(target))
    if target.physical is None or paging is None:
        return target.linear
    return _PinnedMemory(target.physical, paging, target.linear)


class _PinnedMemory(PagedMemory):
    def __init__(self, physical: Memory, paging: Paging, linear: Memory) -> None:
        super().__init__(physical, paging)
        self._linear = linear

    def read_many(self, requests: list[tuple[int, int]]) -> list[bytes | None]:
        """Read several ``(address, size)`` ranges; None where one faults."""
        found = super().read_many(requests)
        return self._linear.read_many(requests) if None in found else found

    def _forget_changed(self, _pages: Collection[int]) -> None:
        """Forget nothing: what is known stays."""

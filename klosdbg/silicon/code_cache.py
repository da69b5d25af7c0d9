"""The code under the program counter, a page at a time, and what writes make of it."""

from collections.abc import Iterable

from klosdbg.errors import MemoryFault
from klosdbg.ports import Memory
from klosdbg.x86.paging import PAGE

_LONGEST = 15
_MOST_PAGES = 256


class CodeCache:
    """Reads linear memory; keeps pages of code until they are written to or translated anew."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._pages: dict[int, bytes | None] = {}

    def code(self, linear: int) -> bytes:
        """Read up to 15 bytes of code, fewer where memory ends."""
        page, start = linear - linear % PAGE, linear % PAGE
        code = (self._page(page) or b"")[start : start + _LONGEST]
        if start + _LONGEST > PAGE and len(code) == PAGE - start:
            code += (self._page(page + PAGE) or b"")[: _LONGEST - len(code)]
        return code

    def read(self, linear: int, size: int) -> bytes | None:
        """Read memory as it is now; None where it is not mapped."""
        try:
            return self._memory.read(linear, size)
        except MemoryFault:
            return None

    def written(self, places: Iterable[int]) -> None:
        """Forget the pages at these linear addresses."""
        for place in places:
            self._pages.pop(place - place % PAGE, None)

    def clear(self) -> None:
        """Forget everything: the guest ran unseen, or changed its translation."""
        self._pages.clear()

    def _page(self, page: int) -> bytes | None:
        if page not in self._pages:
            if len(self._pages) >= _MOST_PAGES:
                self._pages.clear()
            self._pages[page] = self.read(page, PAGE)
        return self._pages[page]

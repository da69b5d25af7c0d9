"""How a paging mode splits a linear address (SDM Vol. 3A, 4.3 to 4.5).

    63      57 56  48 47  39 38  30 29  21 20  12 11      0
   +----------+------+------+------+------+------+---------+
   |   sign   | pml5 | pml4 | pdpt |  pd  |  pt  | offset  |
   +----------+------+------+------+------+------+---------+

With 4 levels the sign begins at bit 47. An address of 32 bits has indices of 10 bits, or with PAE
of 2, 9 and 9.
"""

from dataclasses import dataclass

from klosdbg.x86.paging import (
    LEVELS,
    Mode,
    Paging,
    decode_pte,
    is_canonical,
    table_index,
)

WIDE: tuple[Mode, ...] = ("4-level", "5-level")
"""The modes in which addresses, and CR3, have 64 bits."""


@dataclass(frozen=True, slots=True)
class LinearAddress:
    """A linear address as a paging mode splits it."""

    raw: int
    mode: Mode

    @property
    def indices(self) -> tuple[tuple[int, int], ...]:
        """The levels from the root down to 1, each with the index into its table."""
        levels = range(LEVELS[self.mode], 0, -1)
        return tuple((level, table_index(self.raw, self.mode, level)) for level in levels)

    @property
    def entry_size(self) -> int:
        """The size of an entry in bytes, by which an index is scaled."""
        return Paging(self.mode, 0).entry_size

    @property
    def offsets(self) -> tuple[tuple[int, int], ...]:
        """The sizes of pages, in bytes, that the mode has, each with the offset into one."""
        entries = (decode_pte(0x81, self.mode, level) for level, _ in reversed(self.indices))
        sizes = (entry.page_size for entry in entries)
        return tuple((size, self.raw & (size - 1)) for size in sizes if size)

    @property
    def canonical(self) -> bool | None:
        """Tell whether the mode takes it; None where addresses have 32 bits."""
        return is_canonical(self.raw, self.mode) if self.mode in WIDE else None

    @property
    def canonical_bits(self) -> int | None:
        """The bits of address, 48 or 57, with which it is canonical at the least; else None."""
        if is_canonical(self.raw, "4-level"):
            return 48
        return 57 if is_canonical(self.raw, "5-level") else None


def decode_address(raw: int, mode: Mode | None = None, wide: bool = False) -> LinearAddress:
    """Split a linear address; without a mode, by one that takes it, of 64 bits if ``wide``."""
    if mode is None:
        only_five = not is_canonical(raw) and is_canonical(raw, "5-level")
        large: Mode = "5-level" if only_five else "4-level"
        mode = large if wide or raw >> 32 else "PSE"
    return LinearAddress(raw, mode)

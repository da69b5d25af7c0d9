"""Segment selectors (SDM volume 3, "Segment Selectors")."""

from dataclasses import dataclass
from typing import Literal

from klosdbg.x86.bits import bits


@dataclass(frozen=True, slots=True)
class Selector:
    """A 16-bit selector: index (15:3), table indicator (2), requested privilege level (1:0)."""

    raw: int

    @property
    def index(self) -> int:
        """The slot in the table."""
        return bits(self.raw, 15, 3)

    @property
    def ti(self) -> int:
        """The table indicator: 0 for the GDT, 1 for the LDT."""
        return bits(self.raw, 2, 2)

    @property
    def rpl(self) -> int:
        """The requested privilege level."""
        return bits(self.raw, 1, 0)

    @property
    def table(self) -> Literal["gdt", "ldt"]:
        """The table that the selector selects from."""
        return "ldt" if self.ti else "gdt"

    @property
    def null(self) -> bool:
        """Tell whether it is a null selector: index 0 in the GDT, whatever the RPL."""
        return self.index == 0 and self.ti == 0

    @property
    def byte_offset(self) -> int:
        """The entry's offset in its table, in bytes."""
        return self.index * 8


def decode_selector(raw: int) -> Selector:
    """Decode a selector; bits above 15 are ignored, as the processor ignores them."""
    return Selector(raw & 0xFFFF)

"""Models of gadgets."""

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from klosdbg.x86.disasm import Instruction

Kind = Literal["leak", "exception", "middle", "commit", "gate"]


@dataclass(frozen=True, slots=True)
class Gadget:
    """A sequence to jump to: its linear address, its instructions, and what it is good for.

    ``kind`` is ``leak`` (an application gets DSOS), ``exception`` (it is in a register when the
    next fault or single step comes, outside OS code), ``middle`` (OS code runs with the caller's
    selectors), ``commit`` or ``gate`` (the event core is asked with the caller's registers).
    """

    address: int
    kind: Kind
    instructions: tuple[Instruction, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Gadgets:
    """What was found in so many bytes of pages that an application can execute.

    ``missing`` bytes of such pages could not be read: a recording holds a part of them.
    """

    gadgets: tuple[Gadget, ...]
    searched: int
    missing: int = 0
    every: bool = False

    def count(self, kind: Kind) -> int:
        """Count the gadgets of a kind."""
        return Counter(gadget.kind for gadget in self.gadgets)[kind]

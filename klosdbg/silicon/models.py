"""What a run against the rules of hardware found."""

from dataclasses import dataclass
from typing import Literal

from klosdbg.models import MayFail, Written
from klosdbg.x86.findings import FindsFaults
from klosdbg.x86.silicon import Violation
from klosdbg.x86.vectors import vector_name

End = Literal["count", "until", "breakpoint", "shutdown", "halted", "interrupt", "time-out"]


@dataclass(frozen=True, slots=True)
class Refused:
    """An access that the target let pass and hardware would refuse.

    ``linear`` is the instruction's address, ``place`` the access's. ``delivered`` lists what was
    changed to make the guest take the exception; ``followed`` counts instructions that were then
    fetched from beyond the same limit.
    """

    violation: Violation
    cs: int
    eip: int
    linear: int
    place: int
    cpl: int
    symbol: str | None
    instruction: str
    raw: bytes
    delivered: tuple[Written, ...] = ()
    followed: int = 0

    @property
    def exception(self) -> str:
        """The exception as it is written, ``#GP(0)``."""
        code = self.violation.error_code
        name = vector_name(self.violation.vector) or f"vector {self.violation.vector}"
        return name if code is None else f"{name}({code:#x})" if code else f"{name}(0)"


@dataclass(frozen=True, slots=True)
class SiliconReport(MayFail, FindsFaults):
    """The end of a run: ``instructions`` were judged; ``failure`` says why it could not go on."""

    refused: tuple[Refused, ...]
    instructions: int
    end: End
    cs: int
    eip: int
    linear: int
    symbol: str | None
    failure: str | None = None

    @property
    def found_fault(self) -> bool:
        """Tell whether anything passed that hardware would refuse."""
        return bool(self.refused)

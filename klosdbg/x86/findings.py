"""What a check found."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]
"""An error can never hold in a working system, a warning is a likely mistake, a note an oddity."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that something breaks: ``where`` it is, and a sentence for people."""

    rule: str
    severity: Severity
    where: str
    text: str


class FindsFaults(ABC):
    """A model that tells whether something is wrong, which the exit code then says."""

    __slots__ = ()

    @property
    @abstractmethod
    def found_fault(self) -> bool:
        """Tell whether something is wrong."""


@dataclass(frozen=True, slots=True)
class Findings(FindsFaults):
    """What checks found, in the order of the checks."""

    findings: tuple[Finding, ...]

    @property
    def found_fault(self) -> bool:
        """Tell whether anything is an error or a warning."""
        return any(f.severity != "note" for f in self.findings)


def findings(found: Iterable[Finding]) -> Findings:
    """Collect what checks found."""
    return Findings(tuple(found))

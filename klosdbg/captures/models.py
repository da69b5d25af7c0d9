"""Models of capturing: what was started, taken, found and compared."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from klosdbg.models import MayFail

_DIGIT = 9


@dataclass(frozen=True, slots=True)
class CaptureState:
    """How a capture stands; ``where`` is its file, or its directory while it is written."""

    state: Literal["recording", "written"]
    where: str
    events: int
    snapshots: int
    seconds: float


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """A snapshot: when and why it was taken, where the processor stood, and how much it holds."""

    number: int
    why: str
    seconds: float
    events: int
    cs: int
    eip: int
    symbol: str | None
    size: int
    shown: bool = False


@dataclass(frozen=True, slots=True)
class DamagedSnapshot:
    """A snapshot that is listed and cannot be read: ``damage`` says what is wrong."""

    number: int
    why: str
    seconds: float
    damage: str


@dataclass(frozen=True, slots=True)
class SnapshotList:
    """The snapshots of a session or of a capture."""

    snapshots: tuple[SnapshotInfo | DamagedSnapshot, ...]


_STRUCTURES = ("klos", "process", "thread")
_COUNTS = re.compile(
    "(count|size|rate|depth|pid|tid|off|draws|ticks?|faults|state|wait|priority|switches"
    "|preemptions|messages|threads|frames|parent|relocations|sequence|version|code)$"
)
_DECIMAL = ("bits", "dpl", "params")


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field that differs: of which entry, and its value before and after; None: not there."""

    where: str
    field: str
    before: int | str | None
    after: int | str | None

    @property
    def shown(self) -> tuple[str, str]:
        """The values as text, whole: numbers of one field in one base."""
        numbers = [value for value in (self.before, self.after) if isinstance(value, int)]
        counts = self.where.split()[0] in _STRUCTURES and bool(_COUNTS.search(self.field))
        decimal = counts or self.field in _DECIMAL or all(n <= _DIGIT for n in numbers)
        return _value(self.before, decimal), _value(self.after, decimal)


def _value(value: int | str | None, decimal: bool) -> str:
    if value is None:
        return "(none)"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value or '""'
    return str(value) if decimal else f"{value:#x}"


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs between two states; ``uncompared`` names what could not be read in both."""

    before: str
    after: str
    changes: tuple[FieldChange, ...]
    uncompared: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CaptureNote:
    """A note, a mark or an expectation as it was recorded."""

    kind: str
    text: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Expectation(MayFail):
    """An expectation, and whether it held; ``names`` holds the values that it spoke of."""

    expression: str
    held: bool
    found: str = ""

    @property
    def failure(self) -> str | None:
        """Say that it did not hold, or None."""
        if self.held:
            return None
        return f"expected {self.expression}" + (f": {self.found}" if self.found else "")


@dataclass(frozen=True, slots=True)
class CaptureSummary:
    """What an opened capture holds."""

    name: str
    facts: Mapping[str, str]
    events: int
    relocations: int
    snapshots: int
    notes: tuple[CaptureNote, ...]
    damage: str


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written for another program."""

    format: str
    file: str
    events: int
    size: int

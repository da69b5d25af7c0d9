"""Models of KLOS: what its self-description, its tables and its answers say."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from klosdbg.klos.abi import (
    KlosFrame,
    KlosInfo,
    KlosPanic,
    KlosProcess,
    KlosService,
    KlosThread,
)
from klosdbg.klos.constants import Flag
from klosdbg.models import MayFail
from klosdbg.x86.findings import FindsFaults

Verdict = Literal["ok", "wrong", "unknown"]
Value = int | str | None


@dataclass(frozen=True, slots=True)
class Klos:
    """A self-description and where it lies (linear address; physical before paging is on)."""

    address: int
    info: KlosInfo
    found: Literal["symbol", "scan"]

    @property
    def booted(self) -> bool:
        """Tell whether tables, paging and event core stand."""
        return bool(self.info.flags & Flag.BOOTED)

    @property
    def ready(self) -> bool:
        """Tell whether ``klos_ready`` was executed."""
        return bool(self.info.flags & Flag.READY)


@dataclass(frozen=True, slots=True)
class Check:
    """What KLOS claims beside what the processor says.

    ``unknown`` means that it cannot be told now, and ``found`` says why.
    """

    name: str
    result: Verdict
    claimed: Value
    found: Value
    source: str


@dataclass(frozen=True, slots=True)
class Description(FindsFaults):
    """The self-description with its checks, and the panic record where there was a panic."""

    klos: Klos
    checks: tuple[Check, ...]
    panic: KlosPanic | None = None

    @property
    def found_fault(self) -> bool:
        """Tell whether a check failed, or the system panicked."""
        return self.panic is not None or any(check.result == "wrong" for check in self.checks)


@dataclass(frozen=True, slots=True)
class ProcessList:
    """The process table, free entries left out."""

    processes: tuple[KlosProcess, ...]
    current_pid: int


@dataclass(frozen=True, slots=True)
class ThreadState:
    """A thread, its process's name, and where it stands; None where nothing tells."""

    thread: KlosThread
    process: str
    current: bool
    eip: int | None
    esp: int | None
    frame: KlosFrame | None


@dataclass(frozen=True, slots=True)
class ThreadList:
    """The threads, free entries left out."""

    threads: tuple[ThreadState, ...]


@dataclass(frozen=True, slots=True)
class ServiceList:
    """The services, and Design A's table: where it leads for each number."""

    services: tuple[KlosService, ...]
    table: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class HandlerRow:
    """A vector: its gate in the IDT, where that leads, and its ring-3 handler (linear addresses).

    ``stub`` of a task gate is where the task begins, None where its TSS cannot be read. ``handler``
    is None where the gate does not lead to KLOS's own stub.
    """

    vector: int
    name: str
    gate: str
    dpl: int | None
    stub: int | None
    handler: int | None


@dataclass(frozen=True, slots=True)
class HandlerList:
    """The vectors that have a handler of their own, or all; ``default`` serves the others."""

    rows: tuple[HandlerRow, ...]
    default: int | None
    left_out: int


@dataclass(frozen=True, slots=True)
class FrameUse:
    """How many page frames an owner has; ``pid`` is None where it is no process."""

    owner: str
    pid: int | None
    frames: int


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Who owns the page frames of 4 KiB."""

    uses: tuple[FrameUse, ...]
    total: int


@dataclass(frozen=True, slots=True)
class Change:
    """A field that klosdbg wrote: its linear address, its value before and after."""

    field: str
    address: int
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class MailboxAnswer(MayFail):
    """What the guest answered, and what was written to ask it."""

    command: str
    argument: int
    status: Literal["done", "error"]
    result: int
    text: str
    changes: tuple[Change, ...]

    @property
    def failure(self) -> str | None:
        """Say why the guest refused, or None."""
        if self.status == "done":
            return None
        return f"the guest refused {self.command!r}: {self.text or 'it gave no reason'}"


@dataclass(frozen=True, slots=True)
class Cost:
    """What an attack took: the guest's time, by its timer, and its counters."""

    milliseconds: int
    np_faults: int
    process_faults: int
    relocations: int
    caught: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a self-test or an attack ended, and why.

    ``claim`` is what is tested, for an attack what the paper claims; ``held`` tells whether the
    system withstood it, and is None for a self-test. ``cost`` is known where it ran by itself.
    """

    name: str
    result: Literal["pass", "fail", "not-enforced"]
    reason: str
    claim: str
    held: bool | None = None
    cost: Cost | None = None


@dataclass(frozen=True, slots=True)
class Outcomes(FindsFaults):
    """The outcomes of the self-tests, or of the attacks; ``enforced``: segment limits hold here."""

    kind: Literal["selftest", "attacks"]
    tests: tuple[Outcome, ...]
    enforced: bool
    asked: MailboxAnswer | None = None

    def count(self, result: str) -> int:
        """Count the tests that ended like this."""
        return sum(test.result == result for test in self.tests)

    @property
    def found_fault(self) -> bool:
        """Tell whether a test failed, or there was none."""
        return not self.tests or self.count("fail") > 0


@dataclass(frozen=True, slots=True)
class MeasuredCall:
    """One call measured: ticks of the counter, its own overhead subtracted."""

    mechanism: str
    situation: str
    median: int
    minimum: int
    maximum: int
    runs: int


@dataclass(frozen=True, slots=True)
class ServiceBench:
    """Figure 4, measured in the guest; ``meaning`` says what the counter counts."""

    counter: Literal["instructions", "cycles"]
    meaning: str
    rows: tuple[MeasuredCall, ...]
    asked: MailboxAnswer | None = None

    def median(self, situation: str, mechanism: str) -> int | None:
        """Look one median up, in ticks of the counter."""
        found = (r for r in self.rows if (r.situation, r.mechanism) == (situation, mechanism))
        row = next(found, None)
        return row.median if row else None


@dataclass(frozen=True, slots=True)
class NativeBench:
    """One call on the host's own processor, by mechanism, in ticks of its time stamp counter."""

    ticks: Mapping[str, float]

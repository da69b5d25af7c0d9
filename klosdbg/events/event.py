"""One event, from where it hit through stub and handler and back, as every recorder tells it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from klosdbg.x86.errorcode import ErrorCode, decode_error_code
from klosdbg.x86.vectors import vector_name

Unit = Literal["tsc", "instructions", "host-ns"]
Recorder = Literal["stopping", "ring"]
Origin = Literal["program", "idle", "gate"]


@dataclass(frozen=True, slots=True)
class Time:
    """A moment: time stamp counter, instructions executed, or nanoseconds of the host.

    ``perturbed`` tells that the recorder stopped the guest, so that differences mean little.
    """

    value: int
    unit: Unit
    perturbed: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where a program stood. ``linear`` is of its next instruction; None: not known."""

    cs: int
    eip: int
    linear: int
    cpl: int
    ss: int | None = None
    esp: int | None = None
    symbol: str | None = None


@dataclass(frozen=True, slots=True)
class Transfer:
    """The outward far transfer: its instruction and linear address, and what it switches to.

    ``esp0`` is what TSS.ESP0 holds for the next way in. None: not observed.
    """

    instruction: str
    address: int
    from_cpl: int
    to_cpl: int
    cs: int
    eip: int
    ss: int | None = None
    esp: int | None = None
    esp0: int | None = None


@dataclass(frozen=True, slots=True)
class Back:
    """The way back into the stub's ring: ``call-gate`` with its selector, or ``iret`` alone."""

    kind: str
    selector: int | None
    address: int


@dataclass(frozen=True, slots=True)
class Resumed:
    """Where the event ended. ``changed``: not where it hit; ``idle``: the processor waits."""

    place: Place
    changed: bool
    idle: bool = False
    process: str | None = None
    pid: int | None = None
    tid: int | None = None


@dataclass(frozen=True, slots=True)
class Spent:
    """Units of the event's time between its stations; None: not measured."""

    stub: int | None
    handler: int | None


@dataclass(frozen=True, slots=True)
class Event:
    """One event. ``seq`` counts from 1 in a recording, or is the guest's own number (ring).

    ``depth`` is 1 for an event that interrupted no other one. ``stub`` and ``handler`` are linear
    addresses. None means that the recorder did not see it; ``resumed`` is None for an event that
    never came back. ``shared_stub``: other vectors lead to the same stub, and ``vector`` is that
    of the ``int`` before, or the lowest of them. ``real``: it hit in real mode, where a BIOS gives
    the vectors other meanings. ``own_name`` is what the guest's system calls the vector.
    ``recording`` counts the recordings of a capture; a session holds one.
    """

    seq: int
    time: Time
    vector: int
    error_code: int | None
    source: Place
    stub: int | None
    out: Transfer | None = None
    handler: int | None = None
    back: Back | None = None
    tlb_flush: bool | None = None
    eoi: bool | None = None
    resumed: Resumed | None = None
    depth: int = 1
    process: str | None = None
    pid: int | None = None
    tid: int | None = None
    cr2: int | None = None
    origin: Origin = "program"
    spent: Spent = Spent(None, None)
    recorder: Recorder = "stopping"
    stub_symbol: str | None = None
    handler_symbol: str | None = None
    shared_stub: bool = False
    real: bool = False
    own_name: str | None = None
    recording: int = 1

    @property
    def name(self) -> str | None:
        """The vector's name; None in real mode, and where neither processor nor system has one."""
        return None if self.real else vector_name(self.vector) or self.own_name

    @property
    def error(self) -> ErrorCode | None:
        """The error code, decoded; None where the vector pushes none."""
        return None if self.error_code is None else decode_error_code(self.error_code, self.vector)

    @property
    def cpl(self) -> int:
        """The privilege level at which it hit."""
        return self.source.cpl

    @property
    def complete(self) -> bool:
        """Tell whether it was seen to come back."""
        return self.resumed is not None


MakesEvent = Callable[[], Event]
"""Builds an event of what was read at its stops, which is not done while the guest waits."""

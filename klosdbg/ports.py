"""What a target can do, as narrow protocols, and the record that puts them together."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from klosdbg.x86.cpu import Cpu

WatchKind = Literal["watch", "rwatch", "awatch"]
"""Which accesses stop: writes, reads, or both; in GDB's words."""
StopReason = Literal[
    "breakpoint",
    "step",
    "interrupt",
    "watchpoint",
    "shutdown",
    "signal",
    "beginning of recording",
    "end of recording",
]


@dataclass(frozen=True, slots=True)
class StopEvent:
    """One stop as the target reports it; ``address`` is the linear address of a watchpoint hit.

    ``processor`` is the one that stopped, from 0, whose registers are then read. It is None where
    there is one alone, and where nobody knows.
    """

    reason: StopReason
    signal: int
    address: int | None = None
    processor: int | None = None


class Memory(Protocol):
    """Memory in one address space (linear or physical)."""

    def read(self, address: int, size: int) -> bytes:
        """Read exactly ``size`` bytes, or raise ``MemoryFault``. Never changes the guest."""

    def read_many(self, requests: list[tuple[int, int]]) -> list[bytes | None]:
        """Read several ``(address, size)`` ranges in one round trip; None where one faults."""


class MemoryWriter(Protocol):
    """Writing to memory in one address space."""

    def write(self, address: int, data: bytes) -> None:
        """Write all of ``data``, or raise ``MemoryFault``."""


class Registers(Protocol):
    """The processor's registers, hidden parts included: of several, the one that stopped last."""

    def read(self) -> Cpu:
        """Read every register that the target can name.

        A guest that stands still gives the same object again, until it moves, a register is written
        or its monitor is told to do something: who keeps what was read at a stop tells by that
        whether it is old. One that runs gives a new one each time.
        """


class GeneralRegisters(Protocol):
    """Registers without hidden parts, read quickly."""

    def __call__(self, names: Collection[str] = ()) -> Mapping[str, int]:
        """Read the registers of these GDB names that there are; all of them without names."""


class ReadProcessors(Protocol):
    """The registers of every processor of a stopped guest."""

    def __call__(self) -> tuple[int, Sequence[Cpu]]:
        """Read them all; the number, from 0, is that of the one that ``registers`` reads."""


class ReadAtStop(Protocol):
    """General registers and linear memory of a stopped guest, in one round trip."""

    def __call__(
        self, names: Collection[str], requests: list[tuple[int, int]]
    ) -> tuple[Mapping[str, int], list[bytes | None]]:
        """Read the registers of these GDB names, and ``(address, size)`` ranges."""


class RegisterWriter(Protocol):
    """Writing to registers."""

    def write(self, name: str, value: int) -> None:
        """Write one register by its lower-case SDM name."""


class RunControl(Protocol):
    """Resuming and stopping the guest. Breakpoints are linear addresses."""

    @property
    def running(self) -> bool:
        """Tell whether the guest runs now, noticing a stop that has already arrived."""

    def resume(self) -> None:
        """Let the guest run, stepping off a breakpoint under it first."""

    def wait(self, timeout: float | None) -> StopEvent:
        """Wait for the guest to stop; raise ``TargetTimeout`` after ``timeout`` seconds."""

    def step(self) -> StopEvent:
        """Execute one instruction."""

    def interrupt(self) -> StopEvent:
        """Stop a running guest."""

    def insert(self, address: int) -> None:
        """Set a breakpoint at a linear address; setting it twice counts twice."""

    def remove(self, address: int) -> None:
        """Take away one setting of a breakpoint."""

    def reset(self) -> StopEvent:
        """Reset the machine and stop at its first instruction."""


class Reverse(Protocol):
    """Running a replayed guest backwards."""

    def step_back(self) -> StopEvent:
        """Go back one instruction."""

    def resume_back(self) -> None:
        """Run backwards to a breakpoint, or to where the recording began; ``wait`` as ever."""

    def back_to_write(self, address: int, size: int) -> StopEvent:
        """Run backwards to the last write to a linear address, or to the beginning."""


class Monitor(Protocol):
    """The emulator's own text monitor."""

    def command(self, text: str) -> str:
        """Run one monitor command and return what it printed."""


class Watchpoints(Protocol):
    """Stops after an access to data, at linear addresses; set while the guest is stopped."""

    def insert(self, kind: WatchKind, address: int, size: int) -> None:
        """Stop after each access of a kind to ``size`` bytes, or raise ``TargetError``."""

    def remove(self, kind: WatchKind, address: int, size: int) -> None:
        """Take away a watchpoint that is set."""


class Connection(Protocol):
    """The connection that a live target depends on, for who waits for many things at once."""

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when something comes unasked."""

    def check(self) -> None:
        """Take what has come unasked; raise ``TargetLost`` where the other end has gone."""


class Symbols(Protocol):
    """The names of linear addresses."""

    def address(self, name: str) -> int | None:
        """Look a symbol up."""

    def name(self, address: int) -> str | None:
        """Name an address as ``symbol`` or ``symbol+0x10``."""

    def names(self) -> list[str]:
        """List every symbol."""

    def frame(self, pc: int) -> tuple[str, int] | None:
        """Say where the caller's frame is (CFA): a register and an offset, from DWARF CFI."""


@dataclass(frozen=True, slots=True)
class Target:
    """A target: the ports it has. A port it lacks is None.

    ``read_general`` reads the registers that have no hidden part, by GDB's names: quicker.
    ``linear_at_stop`` reads little of a stopped guest's memory in one round trip, ``read_at_stop``
    general registers with it.
    ``stands_at`` is told where a stopped guest stands by whoever has found out: a resume need not.
    ``instructions`` counts those that the guest has executed, where its clock is their count.
    ``processors`` is there where there is more than one.
    ``read_only`` says why, where it cannot be written.
    ``address_bits`` is the width of the widest linear address that its processor can use.
    ``left_out`` says why a recording lacks memory; empty where all that is mapped can be read.
    """

    name: str
    registers: Registers
    linear: Memory
    physical: Memory | None = None
    linear_writer: MemoryWriter | None = None
    register_writer: RegisterWriter | None = None
    control: RunControl | None = None
    reverse: Reverse | None = None
    monitor: Monitor | None = None
    watchpoints: Watchpoints | None = None
    processors: ReadProcessors | None = None
    connection: Connection | None = None
    read_console: Callable[[], bytes] | None = None
    read_general: GeneralRegisters | None = None
    linear_at_stop: Memory | None = None
    read_at_stop: ReadAtStop | None = None
    stands_at: Callable[[int], None] | None = None
    instructions: Callable[[], int] | None = None
    read_only: str = "it is a recording"
    close: Callable[[], None] = lambda: None
    address_bits: int = 32
    left_out: str = ""

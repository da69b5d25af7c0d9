"""Models of a session: stops, memory, code, symbols, breakpoints. Hardware's live in ``x86``."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import Field, dataclass
from typing import Any, ClassVar, Literal, Protocol

from klosdbg.x86.cpu import SegmentRegister
from klosdbg.x86.descriptor import Descriptor
from klosdbg.x86.disasm import Instruction
from klosdbg.x86.enforcement import ProbeResult
from klosdbg.x86.findings import Finding, FindsFaults
from klosdbg.x86.selector import Selector


class Model(Protocol):
    """What views show: any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


Result = Model | Iterator[Model] | None
"""What a command returns: a model, models as they come, or nothing to show."""


class MayFail(ABC):
    """A model of something that was tried; once it is shown, a failure is the command's error."""

    __slots__ = ()

    @property
    @abstractmethod
    def failure(self) -> str | None:
        """Say why it did not succeed; None where it did."""


@dataclass(frozen=True, slots=True)
class Address:
    """A resolved ADDRESS: ``value`` in the ``linear`` or ``physical`` address space."""

    value: int
    space: Literal["linear", "physical"] = "linear"
    wanted: str = ""


@dataclass(frozen=True, slots=True)
class Stop(MayFail):
    """Where the guest stands and why; ``failure`` says that a run could not go on from here.

    ``halted``: the processor is halted with interrupts off, and will not go on by itself.
    """

    reason: str
    cs: int
    eip: int
    linear: int
    cpl: int
    symbol: str | None
    breakpoint: int | None = None
    instruction: Instruction | None = None
    failure: str | None = None
    halted: bool = False


@dataclass(frozen=True, slots=True)
class Running:
    """The guest runs on while the session takes commands."""


@dataclass(frozen=True, slots=True)
class MemoryDump:
    """Bytes of memory, to be shown in words of ``width`` bytes (little-endian)."""

    address: Address
    raw: bytes
    width: int = 1


@dataclass(frozen=True, slots=True)
class Listing:
    """Disassembled code; ``current`` is the linear address of the next instruction to execute."""

    bits: int
    instructions: tuple[Instruction, ...]
    current: int | None


@dataclass(frozen=True, slots=True)
class SymbolInfo:
    """A symbol and its linear address."""

    name: str
    address: int


@dataclass(frozen=True, slots=True)
class BreakpointInfo:
    """A breakpoint: its number, linear address, how it was asked for, and its hits."""

    number: int
    address: int
    wanted: str
    hits: int


@dataclass(frozen=True, slots=True)
class BreakpointList:
    """All breakpoints of the session; ``gdb`` are the linear addresses of its gdb's own."""

    breakpoints: tuple[BreakpointInfo, ...]
    gdb: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class SegmentState:
    """A segment register's hidden part beside the descriptor in memory.

    ``descriptor`` is None where there is nothing to compare with, and ``why`` says why;
    ``differences`` names the fields in which the two disagree.
    """

    name: str
    hidden: SegmentRegister
    descriptor: Descriptor | None
    differences: tuple[str, ...]
    why: str = ""


@dataclass(frozen=True, slots=True)
class SegmentStates:
    """All segment registers, LDTR and TR included."""

    registers: tuple[SegmentState, ...]


@dataclass(frozen=True, slots=True)
class SelectorInfo:
    """What a selector selects: the entry's linear address and its descriptor.

    ``target_base`` is the linear base of the segment that a gate leads to, where it is one;
    ``paragraph`` tells that the processor takes it times 16 as a base, and walks no table.
    """

    selector: Selector
    address: int | None
    descriptor: Descriptor | None
    held_by: tuple[str, ...]
    name: str | None = None
    why: str = ""
    target_base: int = 0
    paragraph: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """What a command changed in the guest: a place, and its value before and after."""

    where: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class ConsoleText:
    """A piece of what the guest printed."""

    raw: bytes


@dataclass(frozen=True, slots=True)
class GdbOutput(MayFail):
    """What gdb printed for a command, or a piece of it; ``failure`` is what it found wrong."""

    command: str
    output: str
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Remark:
    """A line of a script's own, between what its commands show."""

    text: str


@dataclass(frozen=True, slots=True)
class HelpText:
    """Help, ready to read; ``commands`` maps names to summaries."""

    text: str
    commands: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Tool:
    """A program on the host; ``version`` is None where it is missing, empty where untold."""

    name: str
    package: str
    use: str
    required: bool
    version: str | None


@dataclass(frozen=True, slots=True)
class OwnImages:
    """Where our own images are, each with its build id; None where it is missing.

    ``in_checkout`` tells whether they are built there, or came with the package.
    """

    in_checkout: bool
    builds: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, slots=True)
class Diagnosis(FindsFaults):
    """What ``doctor`` found: programs, Python packages, images, what each accelerator enforces.

    ``environment`` is for a bug report: names, and the version or the like of each.
    """

    tools: tuple[Tool, ...]
    packages: tuple[tuple[str, str | None], ...]
    images: OwnImages
    probes: tuple[ProbeResult, ...]
    list_rows: bool = False
    environment: tuple[tuple[str, str], ...] = ()

    @property
    def missing_packages(self) -> tuple[str, ...]:
        """The Debian packages that would bring every missing program."""
        packages = {p for t in self.tools if t.version is None for p in t.package.split()}
        return tuple(sorted(packages))

    @property
    def found_fault(self) -> bool:
        """Tell whether klosdbg cannot do its work here. KVM may be absent: TCG does without."""
        return (
            any(t.required and t.version is None for t in self.tools)
            or any(version is None for _, version in self.packages)
            or any(p.accelerator == "tcg" and p.status != "ok" for p in self.probes)
        )


@dataclass(frozen=True, slots=True)
class Decoded:
    """What ``decode`` or a walk made of its input, and what is wrong with it.

    ``order`` tells how hexadecimal was read: as a number, or as bytes in memory; None for text.
    ``index`` counts what the same input held, ``reading`` is the order for people.
    """

    model: Model
    order: Literal["number", "memory"] | None = None
    findings: tuple[Finding, ...] = ()
    index: int = 0
    reading: str = ""

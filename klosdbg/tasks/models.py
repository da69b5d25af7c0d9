"""Models of hardware tasks."""

from dataclasses import dataclass

from klosdbg.x86.bits import bit
from klosdbg.x86.cpu import Cpu
from klosdbg.x86.descriptor import SystemSegment
from klosdbg.x86.selector import Selector
from klosdbg.x86.tss import MINIMUM_LIMIT, Tss

_NT = 14
_NAMES16 = {"eip": "ip", "eflags": "flags"}


@dataclass(frozen=True, slots=True)
class Task:
    """A task: the selector and descriptor of its TSS in the GDT, and the TSS as it is in memory.

    ``cpu`` is the processor that runs it, by its number ``processor``; None while it waits. What
    the TSS has saved of one that runs is how it was when it last waited. ``code_base`` is the
    linear base of the segment of its CS, through its own LDT; None where there is none.
    """

    selector: int
    descriptor: SystemSegment
    tss: Tss
    code_base: int | None = None
    processor: int | None = None
    cpu: Cpu | None = None

    @property
    def current(self) -> bool:
        """Tell whether a processor runs it."""
        return self.cpu is not None

    @property
    def busy(self) -> bool:
        """Tell whether it runs, or has called the task that does (or one that waits itself)."""
        return self.descriptor.busy

    @property
    def cs(self) -> int | None:
        """The selector of its code."""
        return self.cpu.segments["cs"].selector if self.cpu else self.tss.fields["cs"]

    @property
    def eip(self) -> int | None:
        """Where it goes on, in that segment."""
        return self.cpu.eip if self.cpu else self._saved("eip")

    @property
    def eflags(self) -> int | None:
        """Its flags."""
        return self.cpu.eflags if self.cpu else self._saved("eflags")

    @property
    def ldt(self) -> int | None:
        """The selector of its LDT."""
        return self.cpu.segments["ldtr"].selector if self.cpu else self.tss.fields["ldt"]

    @property
    def cr3(self) -> int | None:
        """Its page directory's physical address; None in a 16-bit TSS, which switches none."""
        return self.cpu.cr3 if self.cpu else self.tss.fields.get("cr3")

    @property
    def back_link(self) -> int | None:
        """The selector that its TSS holds for an ``iret``; it counts where ``nested`` holds."""
        return self.tss.fields["back_link"]

    @property
    def nested(self) -> bool:
        """Tell whether its ``iret`` goes back to the task that called it (EFLAGS.NT)."""
        return self.eflags is not None and bit(self.eflags, _NT)

    @property
    def linear(self) -> int | None:
        """The linear address where it goes on; None where its CS selects no segment."""
        if self.code_base is None or self.eip is None:
            return None
        return (self.code_base + self.eip) & 0xFFFF_FFFF

    @property
    def refusal(self) -> str:
        """Why no processor would switch to it, but for what is busy; empty where one would."""
        if self.current:
            return ""
        if not self.descriptor.present:
            return "absent: #NP"
        if self.descriptor.last_byte < MINIMUM_LIMIT[self.tss.bits]:
            return f"limit {self.descriptor.last_byte:#x}: #TS"
        if None in self.tss.fields.values():
            return "not mapped: #PF"
        if Selector(self.cs or 0).null:
            return "CS is null: #TS"
        return ""

    def _saved(self, name: str) -> int | None:
        return self.tss.fields[_NAMES16[name] if self.tss.bits == 16 else name]


@dataclass(frozen=True, slots=True)
class Tasks:
    """Every TSS in the GDT at ``base`` (linear), by selector. ``tr`` is this processor's TR.

    ``processors`` is how many the guest has.
    """

    base: int
    limit: int
    tr: int
    tasks: tuple[Task, ...]
    processors: int = 1

    @property
    def one_per_processor(self) -> bool:
        """Tell whether no task waits: each TSS is what a processor finds its inner stacks in."""
        return bool(self.tasks) and all(task.current for task in self.tasks)

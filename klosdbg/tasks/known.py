"""Hardware tasks behind the door: what generic rooms may know of a guest that has several."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from klosdbg.errors import KlosdbgError
from klosdbg.other_task import task_name
from klosdbg.ports import Target
from klosdbg.read import read_cpu
from klosdbg.system import Runs, System, SystemThread
from klosdbg.tasks.models import Task
from klosdbg.tasks.reading import read_gdt_bytes, read_tasks, tss_descriptors, why_no_task
from klosdbg.x86.cpu import GPR32, SEGMENTS, Cpu

if TYPE_CHECKING:
    from klosdbg.recording.discovery import EventPaths
    from klosdbg.recording.event_condition import TellMore
    from klosdbg.recording.stop_registers import QuickRegisters, ReadAhead
    from klosdbg.recording.stopping import Stops

_READ_AT_ONCE = 4096
_GPR16 = {f"e{name}": name for name in ("ax", "cx", "dx", "bx", "sp", "bp", "si", "di")}
_NAMES16 = _GPR16 | {"eip": "ip", "eflags": "flags"}


@dataclass(slots=True)
class TaskFinder:
    """Finds out whether a guest has hardware tasks, which is asked at every stop.

    A GDT of 4 KiB, which holds all the tasks of most systems, is read each time; a larger one so
    seldom that it costs no more: one of 64 KiB every sixteenth time, and when another task runs.
    """

    _key: tuple[int, int, int] | None = None
    _several: bool = False
    _asks: int = field(default=0)

    def find(self, target: Target) -> System | None:
        """Find the tasks; None where there are none, or as many as processors run."""
        try:
            cpu = read_cpu(target)
            if why_no_task(cpu) or not self._has_several(target, cpu):
                return None
        except KlosdbgError:
            return None
        return System(
            "hardware tasks",
            who_runs=partial(_who_runs, target),
            threads=partial(_threads, target),
            own_ldts=True,
            follow_events=partial(_follow_events, target),
            tell_at_stub=partial(_tell_at_stub, target),
        )

    def _has_several(self, target: Target, cpu: Cpu) -> bool:
        key = (cpu.gdtr.base, cpu.gdtr.limit, cpu.segments["tr"].selector)
        self._asks -= 1
        if key != self._key or self._asks <= 0:
            self._several = _several(target, cpu)
            self._key, self._asks = key, (cpu.gdtr.limit + 1) // _READ_AT_ONCE
        return self._several


def _several(target: Target, cpu: Cpu) -> bool:
    found = tss_descriptors(read_gdt_bytes(target, cpu))
    if len(found) < 2 or target.processors is None:
        return len(found) > 1
    return bool(found.keys() - {c.segments["tr"].selector & ~3 for c in target.processors()[1]})


def _who_runs(target: Target) -> Runs | None:
    cpu = read_cpu(target)
    tr = cpu.segments["tr"].selector
    return None if why_no_task(cpu) else Runs(task_name(tr), tid=tr & ~3)


def _threads(target: Target) -> Sequence[SystemThread]:
    found = read_tasks(target)
    cpu, several = read_cpu(target), found.processors > 1
    return [
        SystemThread(
            task.selector,
            task_name(task.selector),
            _doing(task, several),
            saved=None if task.selector == found.tr & ~3 else _saved(task, cpu),
            ldt=task.ldt,
        )
        for task in found.tasks
        if not task.refusal
    ]


def _doing(task: Task, several: bool) -> str:
    if task.current:
        return f"runs on processor {task.processor}" if several else "runs"
    if task.busy:
        return "busy: it called another task"
    return "waits to be switched to"


def _saved(task: Task, cpu: Cpu) -> dict[str, int]:
    """Name the registers that a task goes on with, or those of the processor that runs it.

    A 16-bit TSS has no CR3, which then stays, and no FS and GS, which are loaded as null.
    """
    if task.cpu:
        selectors = {name: task.cpu.segments[name].selector for name in SEGMENTS}
        own = {"eip": task.cpu.eip, "eflags": task.cpu.eflags, "cr3": task.cpu.cr3}
        return {name: task.cpu.gpr[name] for name in GPR32} | selectors | own
    fields = task.tss.fields
    names = _NAMES16 if task.tss.bits == 16 else {}
    wanted = (*GPR32, *SEGMENTS, "eip", "eflags")
    saved = {name: fields.get(names.get(name, name)) or 0 for name in wanted}
    return saved | {"cr3": cpu.cr3 if task.cr3 is None else task.cr3}


# The recorders disassemble: what needs none of them is quicker without.


def _follow_events(
    target: Target,
    memory: "ReadAhead",
    paths: "EventPaths",
    registers: "QuickRegisters",
    vectors: Collection[int],
) -> "Stops":
    from klosdbg.recording.plain_stops import PlainStops

    return PlainStops(memory, target, paths, registers, count(1), vectors, tasks=True)


def _tell_at_stub(target: Target) -> "TellMore":
    from klosdbg.tasks.at_stub import teller

    return teller(target)

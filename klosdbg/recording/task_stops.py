"""Events that a task gate takes: the processor saves the registers in the TSS that it leaves.

A task goes on where it left off: after its ``iret``, at the instruction behind that.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from klosdbg.errors import KlosdbgError
from klosdbg.events.event import Back, Event, Place, Resumed, Spent, Time, Transfer
from klosdbg.ports import Memory, Target
from klosdbg.read import read_cpu, read_tss
from klosdbg.recording.discovery import Stub
from klosdbg.recording.pending import Pending
from klosdbg.recording.saved_task import read_saved_task
from klosdbg.recording.stop_registers import QuickRegisters, Registers
from klosdbg.recording.task_runs import told
from klosdbg.x86.vectors import PUSH_ERROR_CODE

_GATE_SIZE = 8


Choose = Callable[[Place, list[Stub]], Stub | None]
"""Tells of which of several vectors an event is that hit somewhere; None: of one nobody wants."""


@dataclass(frozen=True, slots=True)
class _Task:
    """What task gates lead to: where the task begins next, and each ``iret`` that ends it.

    ``irets`` maps their linear addresses to what follows. ``stubs`` are of each vector's gate.
    """

    stubs: list[Stub]
    entry: int
    irets: Mapping[int, int]


class TaskStops:
    """Follow the tasks that gates lead to; ``wanted`` is where to stop.

    A task without an ``iret`` cannot come back: its event is one as it happens.
    ``depth`` tells how deep an event is that hit somewhere, among those that are no task's.
    """

    def __init__(
        self,
        memory: Memory,
        target: Target,
        registers: QuickRegisters,
        numbers: Iterator[int],
        choose: Choose,
        depth: Callable[[Place], int],
        tasks: bool,
    ) -> None:
        self._memory = memory
        self._target = target
        self._tells = tasks
        self._registers = registers
        self._numbers = numbers
        self._choose = choose
        self._depth = depth
        self._tasks: dict[int, _Task] = {}
        self._pending: dict[int, Pending] = {}
        self.wanted: frozenset[int] = frozenset()

    def follow(self, stubs: Iterable[Stub]) -> None:
        """Stop at these tasks, in place of the last ones."""
        self._tasks = {}
        for stub in sorted(stubs, key=lambda stub: stub.vector):
            irets = {e.address: e.after for e in stub.exits if e.kind == "iret"}
            task = self._tasks.setdefault(stub.selector, _Task([], stub.entry, irets))
            task.stubs.append(stub)
        self._want()

    def at(self, registers: Registers) -> list[Event]:
        """Note a stop at one of the wanted places; return the events that it ends."""
        selector = read_cpu(self._target).segments["tr"].selector & ~3
        task = self._tasks.get(selector)
        if task is None:
            return []
        if registers.pc in task.irets:
            self._tasks[selector] = replace(task, entry=task.irets[registers.pc])
            self._want()
            pending = self._pending.pop(selector, None)
            return [self._ended(pending, registers.pc)] if pending else []
        return self._begin(selector, task, registers) if registers.pc == task.entry else []

    def drop(self) -> list[Event]:
        """Give up the events that are under way, as having never come back."""
        dropped, self._pending = self._pending, {}
        return [pending.event for pending in dropped.values()]

    def _want(self) -> None:
        tasks = self._tasks.values()
        self.wanted = frozenset(at for task in tasks for at in (task.entry, *task.irets))

    def _begin(self, selector: int, task: _Task, registers: Registers) -> list[Event]:
        try:
            left, source = outgoing(self._target)
        except KlosdbgError:
            return []
        given_up = self._pending.get(selector)
        stub = self._choose(source, task.stubs)
        if stub is None or (given_up and given_up.event.source == source):
            return []
        event = switched(self._target, self._memory, self._registers, registers, stub, source)
        depth = self._depth(source) + len(self._pending.keys() - {selector})
        shared = len(task.stubs) > 1
        event = replace(
            event,
            seq=next(self._numbers),
            depth=depth,
            shared_stub=shared,
            **told(left if self._tells else None),
        )
        if not task.irets:
            return [event]
        self._pending[selector] = Pending(0, event, event.time.value)
        return [given_up.event] if given_up else []

    def _ended(self, pending: Pending, iret: int) -> Event:
        try:
            left, place = outgoing(self._target)
        except KlosdbgError:
            return pending.event
        hit, runs = pending.event, left if self._tells else None
        changed = place.linear != hit.source.linear or runs != hit.tid
        return pending.finished(
            back=Back("iret", None, iret),
            resumed=Resumed(place, changed, **told(runs)),
            spent=Spent(time.monotonic_ns() - pending.since, None),
        )


def switched(
    target: Target,
    memory: Memory,
    quick: QuickRegisters,
    registers: Registers,
    stub: Stub,
    source: Place,
) -> Event:
    """Make the event of a task switch, where its task begins; ``source`` is ``outgoing``'s."""
    cpu = read_cpu(target)
    width = stub.bits // 8 if stub.vector in PUSH_ERROR_CODE else 0
    error = memory.read_many([(registers.stack, width)])[0] if width else None
    out = Transfer(
        "task switch",
        cpu.idtr.base + stub.vector * _GATE_SIZE,
        source.cpl,
        registers.cpl,
        registers.cs,
        cpu.eip,
        registers.ss,
        registers.stack - quick.base(registers.ss) + width,
    )
    return Event(
        seq=0,
        time=Time(time.monotonic_ns(), "host-ns", perturbed=True),
        vector=stub.vector,
        error_code=None if error is None else int.from_bytes(error, "little"),
        source=source,
        stub=stub.entry,
        out=out,
    )


def outgoing(target: Target) -> tuple[int, Place]:
    """Say which task was switched from, by its selector, and where it stood.

    Its TSS is the back link of this one; ``CommandError`` where that is no TSS.
    """
    selector = read_tss(target).fields["back_link"] or 0
    return selector & ~3, read_saved_task(target, selector).place(target)

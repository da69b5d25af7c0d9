"""Events that a task gate takes: the processor saves the registers in the TSS that it leaves.

A task goes on where it left off: after its ``iret``, at the instruction behind that.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from klosdbg.errors import KlosdbgError
from klosdbg.ports import Memory, Target
from klosdbg.read import read_cpu, read_tss
from klosdbg.trace.discovery import Stub
from klosdbg.trace.event import Back, Event, Place, Resumed, Spent, Time, Transfer
from klosdbg.trace.flow import Flow
from klosdbg.trace.pending import Pending
from klosdbg.trace.registers import QuickRegisters, Registers
from klosdbg.trace.saved_task import read_saved_task
from klosdbg.x86.vectors import PUSH_ERROR_CODE

_GATE_SIZE = 8


@dataclass(frozen=True, slots=True)
class _Task:
    """What a task gate leads to: where the task begins next, and each ``iret`` that ends it.

    ``irets`` maps their linear addresses to what follows; ``shared``: by other gates as well.
    """

    stub: Stub
    entry: int
    irets: Mapping[int, int]
    shared: bool


class TaskStops:
    """Follow the tasks that gates lead to; ``wanted`` is where to stop.

    A task without an ``iret`` cannot come back: its event is one as it happens.
    """

    def __init__(
        self, memory: Memory, target: Target, registers: QuickRegisters, numbers: Iterator[int]
    ) -> None:
        self._memory = memory
        self._target = target
        self._registers = registers
        self._numbers = numbers
        self._tasks: dict[int, _Task] = {}
        self._pending: dict[int, Pending] = {}

    def follow(self, stubs: Iterable[Stub], flow: Flow) -> None:
        """Stop at these tasks, in place of the last ones; of several vectors it is the lowest."""
        found: dict[int, _Task] = {}
        for stub in stubs:
            known = found.get(stub.selector)
            irets = known.irets if known else dict(_irets(stub, flow))
            task = _Task(known.stub if known else stub, stub.entry, irets, known is not None)
            found[stub.selector] = task
        self._tasks = found

    @property
    def wanted(self) -> frozenset[int]:
        """The linear addresses to stop at next."""
        return frozenset(at for t in self._tasks.values() for at in (t.entry, *t.irets))

    def at(self, registers: Registers, outer: int) -> list[Event]:
        """Note a stop at one of them, of ``outer`` events under way; return what it ends."""
        tr = read_cpu(self._target).segments["tr"].selector & ~3
        task = self._tasks.get(tr)
        if task is None:
            return []
        if registers.pc in task.irets and tr in self._pending:
            return [self._complete(task, self._pending.pop(tr), registers.pc)]
        return self._begin(task, registers, outer) if registers.pc == task.entry else []

    def drop(self) -> list[Event]:
        """Give up the events that are under way, as having never come back."""
        dropped, self._pending = self._pending, {}
        return [pending.event for pending in dropped.values()]

    def _begin(self, task: _Task, registers: Registers, outer: int) -> list[Event]:
        try:
            event = switched(self._target, self._memory, self._registers, registers, task.stub)
        except KlosdbgError:
            return []
        event = replace(event, seq=next(self._numbers), depth=1 + outer, shared_stub=task.shared)
        if not task.irets:
            return [event]
        given_up = self._pending.pop(task.stub.selector, None)
        self._pending[task.stub.selector] = Pending(0, event, event.time.value)
        return [given_up.event] if given_up else []

    def _complete(self, task: _Task, pending: Pending, iret: int) -> Event:
        self._tasks[task.stub.selector] = replace(task, entry=task.irets[iret])
        source = pending.event.source
        place = outgoing(self._target, self._registers)
        return pending.finished(
            back=Back("iret", None, iret),
            resumed=Resumed(place, place.linear != source.linear),
            spent=Spent(time.monotonic_ns() - pending.since, None),
        )


def _irets(stub: Stub, flow: Flow) -> Iterator[tuple[int, int]]:
    for found in flow.exits(stub.entry, stub.bits):
        iret = flow.instruction(found.address, stub.bits)
        if found.kind == "iret" and iret is not None:
            yield found.address, found.address + iret.size


def switched(
    target: Target, memory: Memory, quick: QuickRegisters, registers: Registers, stub: Stub
) -> Event:
    """Make the event of a task switch, where its task begins.

    ``CommandError`` where the task that was left cannot be found.
    """
    cpu, source = read_cpu(target), outgoing(target, quick)
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
        cpu.stack_pointer + width,
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


def outgoing(target: Target, quick: QuickRegisters) -> Place:
    """Say where the task stood that was switched from: its TSS is the back link of this one."""
    left = read_saved_task(target, read_tss(target).fields["back_link"] or 0)
    place = quick.place(left.cs, left.eip, left.eflags, real=False)
    return replace(place, ss=left.ss, esp=left.esp)

"""Events of a KLOS that its event core never sees: a task gate's, and gates that lead past it."""

import time
from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import partial

from klosdbg.errors import CommandError
from klosdbg.ports import Memory, Target
from klosdbg.read import read_cpu, read_selector, read_tss
from klosdbg.trace.discovery import EventPaths, Stub
from klosdbg.trace.event import Event, MakesEvent, Place, Time, Transfer
from klosdbg.trace.klos_facts import KlosFacts, Running
from klosdbg.trace.klos_stops import KlosStops
from klosdbg.trace.plain_stops import PlainStops
from klosdbg.trace.registers import QuickRegisters, Registers, cpl_of
from klosdbg.x86.descriptor import SystemSegment
from klosdbg.x86.tss import decode_tss
from klosdbg.x86.vectors import PUSH_ERROR_CODE

_TSS_SIZE = 0x68
_GATE_SIZE = 8


class StopsBesideCore:
    """Follow a KLOS through its event core, and what goes beside it.

    A gate beside the core is followed as on any guest. A task switch is an event as it happens:
    the double fault, the only one that KLOS takes so, never comes back.
    """

    def __init__(
        self,
        memory: Memory,
        target: Target,
        paths: EventPaths,
        registers: QuickRegisters,
        facts: KlosFacts,
        numbers: Iterator[int],
        vectors: Collection[int],
    ) -> None:
        self._target = target
        self._memory = memory
        self._facts = facts
        self._numbers = numbers
        self._core = KlosStops(memory, paths, facts, numbers, vectors)
        chosen = {v: s for v, s in paths.stubs.items() if not vectors or v in vectors}
        self._tasks = {s.entry: s for s in chosen.values() if s.kind == "task-gate"}
        past = {v: s for v, s in chosen.items() if s.kind != "task-gate" and not _leaves(s)}
        plain = EventPaths(past, None)
        self._past = PlainStops(memory, target, plain, registers, numbers) if past else None
        self._beside = frozenset(self._tasks) | (self._past.wanted if self._past else frozenset())

    @property
    def wanted(self) -> frozenset[int]:
        """The linear addresses to stop at next."""
        return self._core.wanted | self._beside

    def guesses(self) -> list[tuple[int, int]]:
        """Say what memory the next stop will probably want, as ``(address, size)``."""
        return self._core.guesses()

    def at(self, registers: Registers) -> list[MakesEvent]:
        """Note a stop at one of the wanted places; return what makes the events that it ends."""
        if registers.pc in self._tasks:
            return [partial(replace, self._switched(registers, self._tasks[registers.pc]))]
        if self._past is not None and registers.pc in self._past.wanted:
            running = self._running()
            return [partial(self._told, make, running) for make in self._past.at(registers)]
        return self._core.at(registers)

    def drop(self) -> list[MakesEvent]:
        """Give up the events that are under way, as having never come back."""
        return self._core.drop() + (self._past.drop() if self._past else [])

    def _running(self) -> Running:
        return self._facts.running(*self._memory.read_many(self._facts.running_requests()))

    def _told(self, make: MakesEvent, running: Running) -> Event:
        event, pid, tid = make(), running.pid, running.tid
        name = self._facts.process(pid)
        resumed = event.resumed and replace(event.resumed, process=name, pid=pid, tid=tid)
        depth = running.depth + event.depth
        return replace(event, depth=depth, process=name, pid=pid, tid=tid, resumed=resumed)

    def _switched(self, registers: Registers, task: Stub) -> Event:
        """Make the event of a task switch: the processor saved the registers in the old TSS."""
        cpu, source = read_cpu(self._target), self._outgoing()
        esp = cpu.gpr["esp"]
        pushed = task.vector in PUSH_ERROR_CODE
        error = self._memory.read_many([(registers.stack, 4)])[0] if pushed else None
        out = Transfer(
            "task switch",
            cpu.idtr.base + task.vector * _GATE_SIZE,
            source.cpl,
            registers.cpl,
            registers.cs,
            cpu.eip,
            registers.ss,
            esp + 4 * pushed,
        )
        event = Event(
            seq=next(self._numbers),
            time=Time(time.monotonic_ns(), "host-ns", perturbed=True),
            vector=task.vector,
            error_code=None if error is None else int.from_bytes(error, "little"),
            source=source,
            stub=task.entry,
            out=out,
            stub_symbol=self._facts.symbol(task.entry),
        )
        return self._told(lambda: event, self._running())

    def _outgoing(self) -> Place:
        """Say where the task stood that was switched from: its TSS is the back link of this one."""
        link = read_tss(self._target).fields["back_link"] or 0
        segment = read_selector(self._target, link).descriptor
        if not isinstance(segment, SystemSegment):
            raise CommandError(f"the task's back link {link:#06x} is no TSS: see 'tss'")
        raw = self._target.linear.read(segment.base, _TSS_SIZE)
        saved = decode_tss(raw, 32, _TSS_SIZE - 1, segment.base).fields
        cs, eip, eflags = (saved[name] or 0 for name in ("cs", "eip", "eflags"))
        place = self._facts.place(cs, eip, saved["ss"], saved["esp"])
        return replace(place, cpl=cpl_of(cs, eflags))


def _leaves(stub: Stub) -> bool:
    return any(e.kind == "lret" for e in stub.exits)

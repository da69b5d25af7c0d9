"""Where to stop a guest of which nothing is known, and what each stop tells.

Each stub's first instruction, where the stack holds what the processor pushed, and each ``iret``
and far return that stubs reach. One with the stack where it was at the beginning ends the event;
a transfer to an outer ring before that is the way out to a handler, where a gate leads back.
Real mode has stops of its own, which mean nothing in protected mode, and the reverse.
"""

import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from klosdbg.errors import CommandError, KlosdbgError
from klosdbg.events.event import Back, Event, MakesEvent, Place, Resumed, Spent, Time, Transfer
from klosdbg.ports import Memory, Target
from klosdbg.recording.discovery import EventPaths, ReturnGate, Stub
from klosdbg.recording.flow import Exit, Flow
from klosdbg.recording.pending import Pending
from klosdbg.recording.shared_stubs import Arrival, funnel
from klosdbg.recording.stop_registers import QuickRegisters, Registers, cpl_of
from klosdbg.recording.task_runs import TaskRuns, told
from klosdbg.recording.task_stops import TaskStops

_STACK_SPAN = 64 << 10
_MOST_PENDING = 256
_FAR = ("iret", "lret")
_FLAGS_FIXED, _FLAGS_ZERO = 0x2, 0xFFC0_8028
_VM = 1 << 17
_PAGE_FAULT = 14
_INT = 0xCD


@dataclass(frozen=True, slots=True)
class _Frame:
    """What the processor pushed. ``at`` is the linear address of the saved EIP."""

    at: int
    eip: int
    cs: int
    eflags: int
    esp: int | None
    ss: int | None
    error_code: int | None


@dataclass(frozen=True, slots=True)
class _Places:
    """Where to stop in one mode, by linear address. ``bits`` is the width of what is pushed."""

    entries: Mapping[int, tuple[Arrival, ...]]
    exits: Mapping[int, Exit]
    gate: ReturnGate | None
    bits: int


class PlainStops:
    """Follow the events of any guest from stop to stop; ``wanted`` is where to stop next."""

    def __init__(
        self,
        memory: Memory,
        target: Target,
        paths: EventPaths,
        registers: QuickRegisters,
        numbers: Iterator[int],
        vectors: Collection[int] = (),
        tasks: bool = False,
    ) -> None:
        self._memory = memory
        self._target = target
        self._registers = registers
        self._vectors = vectors
        self._pending: dict[int, Pending] = {}
        self._numbers = numbers
        self._places: dict[bool, _Places] = {}
        self._runs = TaskRuns(target) if tasks else None
        self._tasks = TaskStops(
            memory, target, registers, numbers, self._asked_for, self._depth_under, tasks
        )
        self._in_task: frozenset[int] = frozenset()
        self.wanted: frozenset[int] = frozenset()
        self.follow(paths)
        if not (self._places[paths.real].entries or self._tasks.wanted):
            raise CommandError(_why_none(paths))

    def follow(self, paths: EventPaths) -> None:
        """Stop at these paths, in place of the last ones of the same mode."""
        inside = [s for _, s in sorted(paths.stubs.items()) if s.kind != "task-gate"]
        entries = {s.entry for s in inside if self._wants(s.vector)}
        own = [s for s in inside if s.entry in entries]
        exits = [e for e in (*paths.outward, *paths.inward) if e.kind in _FAR]
        self._places[paths.real] = _Places(
            funnel(own, Flow(self._target.linear)),
            {e.address: e for e in exits},
            paths.return_gate,
            max((s.bits for s in own), default=32),
        )
        places = self._places.values()
        self._in_task = frozenset(at for p in places for at in (*p.entries, *p.exits))
        if not paths.real:
            tasks = [s for s in paths.stubs.values() if s.kind == "task-gate"]
            wanted = {s.selector for s in tasks if self._wants(s.vector)}
            self._tasks.follow(s for s in tasks if s.selector in wanted)
        self.wanted = self._in_task | self._tasks.wanted

    def _depth_under(self, source: Place) -> int:
        """Tell how deep an event is that leaves a task there, by the frames above its stack."""
        stack = self._registers.base(source.ss or 0) + (source.esp or 0)
        return 1 + sum(0 <= at - stack < _STACK_SPAN for at in self._pending)

    def _wants(self, vector: int) -> bool:
        return not self._vectors or vector in self._vectors

    def guesses(self) -> list[tuple[int, int]]:
        """Guess nothing: the next stop may be anywhere."""
        return []

    def at(self, registers: Registers) -> list[MakesEvent]:
        """Note a stop at one of the wanted places; return what makes the events that it ends."""
        done: list[Event] = []
        if self._runs and not registers.real:
            done += self._switched(registers, self._runs)
        if registers.pc in self._tasks.wanted and not registers.real:
            done += self._tasks.at(registers)
            self.wanted = self._in_task | self._tasks.wanted
        places = self._places.get(registers.real)
        if places and registers.pc in places.entries:
            done += self._begin(registers, places.entries[registers.pc])
        if places and registers.pc in places.exits:
            done += self._leave(registers, places, places.exits[registers.pc])
        return [partial(replace, event) for event in done]

    def drop(self) -> list[MakesEvent]:
        """Give up the events that are under way, as having never come back."""
        dropped, self._pending = self._pending, {}
        events = [*(pending.event for pending in dropped.values()), *self._tasks.drop()]
        return [partial(replace, event) for event in events]

    def _begin(self, registers: Registers, arrivals: tuple[Arrival, ...]) -> list[Event]:
        stubs, stack = self._arrived(registers, arrivals)
        if not stubs:
            return []
        frame = read_frame(self._memory, stack, stubs[0], registers.cpl)
        if frame is None:
            return []
        stub = self._asked_for(self._place(frame, registers.real), stubs)
        if stub is None:
            return []
        own = self._own()
        gone = [p for p in own if 0 <= frame.at - p < _STACK_SPAN]
        abandoned = [self._pending.pop(p).event for p in gone]
        if len(self._pending) >= _MOST_PENDING:
            abandoned.append(self._pending.pop(next(iter(self._pending))).event)
        depth = 1 + sum(_encloses(p, frame, registers) for p in self._own().values())
        now = time.monotonic_ns()
        event = self._event(now, registers, stub, frame, depth, len(stubs) > 1)
        self._pending[frame.at] = Pending(frame.at, event, now, registers.cr3)
        return abandoned

    def _arrived(
        self, registers: Registers, arrivals: tuple[Arrival, ...]
    ) -> tuple[list[Stub], int]:
        """Tell which stubs it can be, by what they pushed, and where the processor's frame is."""
        width = arrivals[0].stub.bits // 8
        most = max(len(arrival.pushed) for arrival in arrivals)
        raw = self._memory.read_many([(registers.stack, most * width)])[0] if most else b""
        found = [a for a in arrivals if raw is not None and a.matches(_words(raw, width))]
        pushed = len(found[0].pushed) if found else 0
        return [a.stub for a in found], registers.stack + pushed * width

    def _event(
        self, now: int, registers: Registers, stub: Stub, frame: _Frame, depth: int, shared: bool
    ) -> Event:
        return Event(
            seq=next(self._numbers),
            time=Time(now, "host-ns", perturbed=True),
            vector=stub.vector,
            error_code=frame.error_code,
            source=self._place(frame, registers.real),
            stub=stub.entry,
            depth=depth,
            cr2=registers.cr2 if stub.vector == _PAGE_FAULT and not registers.real else None,
            shared_stub=shared,
            real=registers.real,
            **told(None if registers.real else self._task),
        )

    def _asked_for(self, source: Place, stubs: list[Stub]) -> Stub | None:
        """Tell which of several vectors it is: that of the ``int`` before, or the lowest wanted.

        None where it is one that nobody wants.
        """
        wanted = [s for s in stubs if self._wants(s.vector)]
        raw = self._memory.read_many([(source.linear - 2, 2)])[0] if len(stubs) > 1 else None
        asked = raw[1] if raw is not None and raw[0] == _INT else None
        known = any(s.vector == asked for s in stubs)
        return next((s for s in wanted if not known or s.vector == asked), None)

    def _place(self, frame: _Frame, real: bool) -> Place:
        place = self._registers.place(frame.cs, frame.eip, frame.eflags, real)
        return replace(place, ss=frame.ss, esp=frame.esp)

    def _leave(self, registers: Registers, places: _Places, found: Exit) -> list[Event]:
        ends = found.kind == "iret" or registers.real
        pending = self._pending.get(registers.stack) if ends else None
        if pending is not None:
            return [self._complete(registers, places, pending, found)]
        to = None if registers.real else self._outward(registers, places, found)
        pending = self._left(registers, found, places.gate)
        if to is None or pending is None:
            return []
        if pending.event.out is not None or (places.gate is None and found.kind == "iret"):
            whole = found.kind == "iret"
            return [self._complete(registers, places, pending, found)] if whole else []
        handler = self._registers.base(to.cs) + to.eip
        event = replace(pending.event, out=to, handler=handler)
        self._pending[pending.frame] = replace(pending, event=event)
        return []

    def _left(self, registers: Registers, found: Exit, gate: ReturnGate | None) -> Pending | None:
        """Find the event that a transfer to an outer ring belongs to.

        Where no gate leads back, an ``iret`` ends the last one that came from there: a system may
        have moved its frame to another stack.
        """
        own = self._own()
        if gate is None and found.kind == "iret":
            outer = [p for p in own.values() if p.event.source.cpl > registers.cpl]
            return outer[-1] if outer else None
        nearest = min((at for at in own if at >= registers.stack), default=0)
        return own.get(nearest)

    def _own(self) -> Mapping[int, Pending]:
        """Give the events under way in the task that runs, where there are tasks."""
        if self._task is None:
            return self._pending
        return {at: p for at, p in self._pending.items() if p.event.tid == self._task}

    @property
    def _task(self) -> int | None:
        return self._runs.selector if self._runs else None

    def _switched(self, registers: Registers, runs: TaskRuns) -> list[Event]:
        """Look who runs, and end the event whose handler has switched to that, if there is one.

        Its end is the first that is seen of that task: an ``iret`` says where its program goes on;
        anything else comes later, and its TSS says where the switch led to.
        """
        left = runs.look()
        inner = (p for p in reversed(self._pending.values()) if p.event.tid == left)
        pending = None if left is None else next(inner, None)
        if pending is None:
            return []
        del self._pending[pending.frame]
        places = self._places[False]
        found = places.exits.get(registers.pc)
        frame = None
        if found is not None and found.kind == "iret":
            frame = _read_pushed(self._memory, registers.stack, places.bits, registers.cpl)
        try:
            place = self._place(frame, real=False) if frame else runs.went_on()
        except KlosdbgError:
            return [pending.event]
        switch = Back("task-switch", runs.selector, place.linear)
        return [
            pending.finished(
                back=Back("iret", None, registers.pc) if frame else switch,
                tlb_flush=True if registers.cr3 != pending.cr3 else None,
                resumed=Resumed(place, changed=True, **told(runs.selector)),
                spent=Spent(time.monotonic_ns() - pending.since, None),
            )
        ]

    def _complete(
        self, registers: Registers, places: _Places, pending: Pending, found: Exit
    ) -> Event:
        del self._pending[pending.frame]
        event = pending.event
        frame = _read_pushed(self._memory, registers.stack, places.bits, registers.cpl)
        place = self._place(frame, registers.real) if frame else event.source
        gate = places.gate if event.out else None
        return pending.finished(
            back=Back("call-gate", gate.selector, gate.entry)
            if gate
            else Back("iret", None, found.address),
            tlb_flush=True if registers.cr3 != pending.cr3 else None,
            resumed=Resumed(place, place.linear != event.source.linear, **told(self._task)),
            spent=Spent(time.monotonic_ns() - pending.since, None),
        )

    def _outward(self, registers: Registers, places: _Places, found: Exit) -> Transfer | None:
        """Describe a transfer to an outer ring; None where it is none."""
        width = places.bits // 8
        raw = self._memory.read_many([(registers.stack, 5 * width)])[0]
        if raw is None:
            return None
        eip, cs, *rest = _words(raw, width)
        esp, ss = rest[1:3] if found.kind == "iret" else rest[:2]
        if cs & 3 <= registers.cpl:
            return None
        return Transfer(
            found.kind, found.address, registers.cpl, cs & 3, cs & 0xFFFF, eip, ss & 0xFFFF, esp
        )


def _why_none(paths: EventPaths) -> str:
    if not paths.real:
        return "none of these vectors has a gate that is present: see 'idt'"
    if not paths.stubs:
        return "the BIOS has not set up the IVT: let it run first ('until 0x7c00')"
    return "none of these vectors leads anywhere: see 'ivt'"


def _encloses(outer: Pending, frame: _Frame, registers: Registers) -> bool:
    """Tell whether a frame is nested: what comes from outside interrupts no ring-0 code.

    A BIOS changes stacks as it likes, and nothing else than events interrupts it.
    """
    if registers.real:
        return outer.event.real
    from_outside = cpl_of(frame.cs, frame.eflags) > registers.cpl
    near = 0 < outer.frame - frame.at < _STACK_SPAN
    return near and (not from_outside or outer.event.out is not None)


def read_frame(memory: Memory, stack: int, stub: Stub, cpl: int) -> _Frame | None:
    """Read what the processor pushed for a stub; None where the stack cannot be read.

    ``int n`` pushes no error code, so the flags tell where they lie.
    """
    bits, width = stub.bits, stub.bits // 8
    if stub.pushes_error_code:
        frame = _read_pushed(memory, stack + width, bits, cpl)
        if frame is not None and _are_flags(frame.eflags):
            raw = memory.read_many([(stack, min(width, 4))])[0]
            return (
                frame if raw is None else replace(frame, error_code=int.from_bytes(raw, "little"))
            )
    return _read_pushed(memory, stack, bits, cpl)


def _are_flags(value: int) -> bool:
    return bool(value & _FLAGS_FIXED) and not value & _FLAGS_ZERO


def _read_pushed(memory: Memory, at: int, bits: int, cpl: int) -> _Frame | None:
    width = bits // 8
    raws = memory.read_many([(at, 3 * width), (at + 3 * width, 2 * width)])
    if raws[0] is None:
        return None
    eip, cs, eflags = _words(raws[0], width)
    outer = bits == 64 or cs & 3 > cpl or eflags & _VM
    esp, ss = _words(raws[1], width) if outer and raws[1] is not None else (None, None)
    return _Frame(at, eip, cs & 0xFFFF, eflags, esp, None if ss is None else ss & 0xFFFF, None)


def _words(raw: bytes, width: int) -> list[int]:
    return [int.from_bytes(raw[i : i + width], "little") for i in range(0, len(raw), width)]

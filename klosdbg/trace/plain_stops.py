"""Where to stop a guest of which nothing is known, and what each stop tells.

Each stub's first instruction, where the stack holds what the processor pushed, and each ``iret``
and far return that stubs reach. An ``iret`` with the stack where it was at the beginning ends the
event; a transfer to an outer ring before that is the way out to a handler.
"""

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial

from klosdbg.errors import CommandError
from klosdbg.ports import Memory, Target
from klosdbg.trace.discovery import EventPaths, Stub
from klosdbg.trace.event import Back, Event, MakesEvent, Place, Resumed, Spent, Time, Transfer
from klosdbg.trace.flow import Exit, Flow
from klosdbg.trace.funnel import Arrival, funnel
from klosdbg.trace.pending import Pending
from klosdbg.trace.registers import QuickRegisters, Registers, cpl_of
from klosdbg.x86.vectors import PUSH_ERROR_CODE

_STACK_SPAN = 64 << 10
_MOST_PENDING = 256
_FAR = ("iret", "lret")
_FLAGS_FIXED, _FLAGS_ZERO = 0x2, 0xFFC0_8028
_VM = 1 << 17
_PAGE_FAULT = 14


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


class PlainStops:
    """Follow the events of any guest from stop to stop; ``wanted`` is where to stop."""

    def __init__(
        self,
        memory: Memory,
        target: Target,
        paths: EventPaths,
        registers: QuickRegisters,
        numbers: Iterator[int],
        vectors: Collection[int] = (),
    ) -> None:
        self._memory = memory
        self._registers = registers
        self._gate = paths.return_gate
        chosen = [s for v, s in sorted(paths.stubs.items()) if not vectors or v in vectors]
        own = [s for s in chosen if s.kind != "task-gate"]
        self._entries = funnel(own, Flow(target.linear))
        if not self._entries:
            raise CommandError("none of these vectors has a gate that stays in its task: see 'idt'")
        exits = [e for e in (*paths.outward, *paths.inward) if e.kind in _FAR]
        self._exits = {e.address: e for e in exits}
        self._pending: dict[int, Pending] = {}
        self._numbers = numbers
        self._bits = max(s.bits for s in chosen)
        self.wanted = frozenset(self._entries) | self._exits.keys()

    def guesses(self) -> list[tuple[int, int]]:
        """Guess nothing: the next stop may be anywhere."""
        return []

    def at(self, registers: Registers) -> list[MakesEvent]:
        """Note a stop at one of the wanted places; return what makes the events that it ends."""
        done: list[Event] = []
        if registers.pc in self._entries:
            done += self._begin(registers, self._entries[registers.pc])
        if registers.pc in self._exits:
            done += self._leave(registers, self._exits[registers.pc])
        return [partial(replace, event) for event in done]

    def drop(self) -> list[MakesEvent]:
        """Give up the events that are under way, as having never come back."""
        dropped, self._pending = self._pending, {}
        return [partial(replace, pending.event) for pending in dropped.values()]

    def _begin(self, registers: Registers, arrivals: tuple[Arrival, ...]) -> list[Event]:
        stubs, stack = self._arrived(registers, arrivals)
        if not stubs:
            return []
        stub = stubs[0]
        frame = read_frame(self._memory, stack, stub.vector, stub.bits, registers.cpl)
        if frame is None:
            return []
        gone = [p for p in self._pending if 0 <= frame.at - p < _STACK_SPAN]
        abandoned = [self._pending.pop(p).event for p in gone]
        if len(self._pending) >= _MOST_PENDING:
            abandoned.append(self._pending.pop(next(iter(self._pending))).event)
        depth = 1 + sum(self._encloses(p, frame, registers.cpl) for p in self._pending.values())
        now = time.monotonic_ns()
        event = self._event(now, registers, stub, frame, depth, len(stubs) > 1)
        self._pending[frame.at] = Pending(frame.at, event, now, registers.cr3)
        return abandoned

    @staticmethod
    def _encloses(outer: Pending, frame: _Frame, cpl: int) -> bool:
        """Tell whether a frame is nested: what comes from outside interrupts no ring-0 code."""
        from_outside = cpl_of(frame.cs, frame.eflags) > cpl
        near = 0 < outer.frame - frame.at < _STACK_SPAN
        return near and (not from_outside or outer.event.out is not None)

    def _arrived(
        self, registers: Registers, arrivals: tuple[Arrival, ...]
    ) -> tuple[list[Stub], int]:
        """Tell which stubs it can be, by what they pushed, and where the processor's frame is."""
        width = self._bits // 8
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
            source=self._place(frame),
            stub=stub.entry,
            out=None,
            handler=None,
            back=None,
            tlb_flush=None,
            eoi=None,
            resumed=None,
            depth=depth,
            process=None,
            cr2=registers.cr2 if stub.vector == _PAGE_FAULT else None,
            shared_stub=shared,
        )

    def _place(self, frame: _Frame) -> Place:
        linear = self._registers.linear(frame.cs, frame.eip, frame.eflags)
        cpl = cpl_of(frame.cs, frame.eflags)
        return Place(frame.cs, frame.eip, linear, cpl, frame.ss, frame.esp)

    def _leave(self, registers: Registers, found: Exit) -> list[Event]:
        pending = self._pending.get(registers.stack) if found.kind == "iret" else None
        if pending is not None:
            return [self._complete(registers, pending, found)]
        to = self._outward(registers, found)
        pending = self._pending.get(
            min((p for p in self._pending if p >= registers.stack), default=0)
        )
        if to is None or pending is None:
            return []
        if pending.event.out is not None:
            return [self._complete(registers, pending, found)] if found.kind == "iret" else []
        handler = self._registers.base(to.cs) + to.eip
        event = replace(pending.event, out=to, handler=handler)
        self._pending[pending.frame] = replace(pending, event=event)
        return []

    def _complete(self, registers: Registers, pending: Pending, found: Exit) -> Event:
        del self._pending[pending.frame]
        event = pending.event
        frame = _read_pushed(self._memory, registers.stack, self._bits, registers.cpl)
        place = self._place(frame) if frame else event.source
        gate = self._gate if event.out else None
        return pending.finished(
            back=Back("call-gate", gate.selector, gate.entry)
            if gate
            else Back("iret", None, found.address),
            tlb_flush=True if registers.cr3 != pending.cr3 else None,
            resumed=Resumed(place, place.linear != event.source.linear),
            spent=Spent(time.monotonic_ns() - pending.since, None),
        )

    def _outward(self, registers: Registers, found: Exit) -> Transfer | None:
        """Describe a transfer to an outer ring; None where it is none."""
        width = self._bits // 8
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


def read_frame(memory: Memory, stack: int, vector: int, bits: int, cpl: int) -> _Frame | None:
    """Read what the processor pushed for a vector; None where the stack cannot be read.

    ``int n`` pushes no error code, so the flags tell where they lie.
    """
    width = bits // 8
    if vector in PUSH_ERROR_CODE:
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

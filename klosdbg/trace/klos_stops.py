"""Where to stop a KLOS, and what each stop tells: two stops an event, three where it is nested.

The outward transfer is a breakpoint only while no event is under way, and its block's start instead
of it while one is; so the guest never resumes from an armed breakpoint, and needs no step off it.
"""

import struct
import time
from collections.abc import Collection
from dataclasses import dataclass
from itertools import count

from klosdbg.errors import CommandError
from klosdbg.klos.abi import KlosFrame
from klosdbg.klos.constants import Request
from klosdbg.klos.layout import decode, members, size_of
from klosdbg.ports import Memory
from klosdbg.trace.discovery import EventPaths
from klosdbg.trace.event import Event, Resumed, Spent, Time, Transfer
from klosdbg.trace.flow import Exit
from klosdbg.trace.klos_facts import ORIGINS, KlosFacts, Running, ends_interrupt, error_code_of
from klosdbg.trace.pending import Pending
from klosdbg.trace.registers import Registers

_FAR_RETURN = struct.Struct("<IIII")
_FRAME = size_of(KlosFrame)
_EIP = next(m.offset for m in members(KlosFrame) if m.name == "eip")


class KlosStops:
    """Follow the events of a KLOS from stop to stop; ``wanted`` is where to stop next.

    With ``vectors``, only their stubs are watched while no event is under way.
    """

    def __init__(
        self, memory: Memory, paths: EventPaths, facts: KlosFacts, vectors: Collection[int] = ()
    ) -> None:
        self._memory = memory
        self._last_stack = 0
        self._facts = facts
        self._out = {e.address: e for e in paths.outward if e.kind == "lret"}
        self._ends = {_where_it_ends(e): e.kind for e in paths.inward if "cli" not in e.before}
        if not self._out or not self._ends:
            raise CommandError("the event core has no far return out, or no way back: see 'klos'")
        blocks = {e.block for e in self._out.values() if e.block != e.address}
        self._before = _entries(paths, vectors) or frozenset(blocks)
        self._filtered = bool(vectors)
        self._vectors = frozenset(vectors)
        self._pending: list[Pending] = []
        self._numbers = count(1)
        self.wanted = self._idle()

    def guesses(self) -> list[tuple[int, int]]:
        """Say what memory the next stop will probably want, as ``(address, size)``."""
        if self._pending:
            return self._wanted_at_end(self._pending[-1].frame)
        return self._wanted_outward(self._last_stack)

    def _wanted_outward(self, stack: int) -> list[tuple[int, int]]:
        frame = (stack, _FAR_RETURN.size + _FRAME)
        return [frame, self._facts.esp0_request(), *self._facts.running_requests()]

    def _wanted_at_end(self, frame_at: int) -> list[tuple[int, int]]:
        return [(frame_at, _FRAME), *self._facts.running_requests()]

    def at(self, registers: Registers) -> list[Event]:
        """Note a stop at one of the wanted places; return the events that it ends."""
        if registers.pc in self._ends:
            return self._end(registers, self._ends[registers.pc])
        if registers.pc in self._out:
            return self._outward(registers, self._out[registers.pc])
        self.wanted = frozenset(self._out)
        return []

    def drop(self) -> list[Event]:
        """Give up the events that are under way, as having never come back."""
        dropped = [pending.event for pending in self._pending]
        self._pending, self.wanted = [], self._idle()
        return dropped

    def _idle(self) -> frozenset[int]:
        return self._before if self._filtered else frozenset(self._out)

    def _busy(self) -> frozenset[int]:
        return self._before | self._ends.keys()

    def _outward(self, registers: Registers, out: Exit) -> list[Event]:
        now = time.monotonic_ns()
        frame_at = registers.stack + _FAR_RETURN.size
        raw, esp0, *who = self._read(self._wanted_outward(registers.stack))
        self._last_stack = registers.stack
        eip, cs, esp, ss = _FAR_RETURN.unpack_from(raw)
        to = _Outward(eip, cs, esp, ss, int.from_bytes(esp0, "little"))
        frame = decode(KlosFrame, raw, _FAR_RETURN.size)
        gone = [p.event for p in self._pending if p.frame <= frame_at]
        self._pending = [p for p in self._pending if p.frame > frame_at]
        if not self._vectors or frame.vector in self._vectors:
            event = self._event(now, frame, to, out, self._facts.running(*who))
            self._pending.append(Pending(frame_at, event, now))
        self.wanted = self._busy() if self._pending else self._idle()
        return gone

    def _event(
        self, now: int, frame: KlosFrame, to: "_Outward", out: Exit, running: Running
    ) -> Event:
        facts = self._facts
        origin = ORIGINS.get(frame.origin, "program")
        stub = facts.stub(frame.vector)
        return Event(
            seq=next(self._numbers),
            time=Time(now, "host-ns", perturbed=True),
            vector=frame.vector,
            error_code=error_code_of(frame.vector, frame.error_code),
            source=facts.source(origin, frame.cs, frame.eip, frame.ss, frame.esp),
            stub=stub,
            out=Transfer(
                out.kind, out.address, 0, to.cs & 3, to.cs, to.eip, to.ss, to.esp, to.esp0
            ),
            handler=to.eip,
            back=None,
            tlb_flush=None,
            eoi=None,
            resumed=None,
            depth=running.depth,
            process=facts.process(running.pid),
            pid=running.pid,
            tid=running.tid,
            cr2=frame.cr2 if frame.vector == 14 else None,
            origin=origin,
            stub_symbol=facts.symbol(stub) if stub is not None else None,
            handler_symbol=facts.symbol(to.eip),
        )

    def _end(self, registers: Registers, kind: str) -> list[Event]:
        idle = kind == "hlt"
        frame_at = registers.stack - (0 if idle else _EIP)
        ended = [p for p in self._pending if p.frame == frame_at]
        gone = [p.event for p in self._pending if p.frame < frame_at]
        self._pending = [p for p in self._pending if p.frame > frame_at]
        done = [self._complete(p, frame_at, idle) for p in ended]
        self.wanted = self._busy() if self._pending else self._idle()
        return gone + done

    def _complete(self, pending: Pending, frame_at: int, idle: bool) -> Event:
        raw, *who = self._read(self._wanted_at_end(frame_at))
        frame, event = decode(KlosFrame, raw), pending.event
        running = self._facts.running(*who)
        place = self._facts.resumed_at(idle, frame.cs, frame.eip, frame.ss, frame.esp)
        changed = (place.eip, running.tid) != (event.source.eip, event.tid)
        name = self._facts.process(running.pid)
        return pending.finished(
            back=self._facts.back(),
            tlb_flush=bool(frame.request & Request.FLUSH),
            eoi=ends_interrupt(frame.vector),
            resumed=Resumed(place, changed, idle, name, running.pid, running.tid),
            spent=Spent(None, time.monotonic_ns() - pending.since),
        )

    def _read(self, requests: list[tuple[int, int]]) -> list[bytes]:
        found = self._memory.read_many(requests)
        if any(raw is None for raw in found):
            raise CommandError("the event core's stack cannot be read: is this another image?")
        return [raw for raw in found if raw is not None]


@dataclass(frozen=True, slots=True)
class _Outward:
    """What the outward far return pops, and TSS.ESP0 at that time."""

    eip: int
    cs: int
    esp: int
    ss: int
    esp0: int


def _where_it_ends(found: Exit) -> int:
    """Stop before the stack is left, and never between ``sti`` and ``hlt``."""
    return found.block if found.kind == "hlt" else found.address


def _entries(paths: EventPaths, vectors: Collection[int]) -> frozenset[int]:
    return frozenset(s.entry for v, s in paths.stubs.items() if v in vectors)

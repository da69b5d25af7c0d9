"""Where to stop a KLOS, and what each stop tells: two stops an event, three where it is nested.

The outward transfer is a breakpoint only while no event is under way, and its block's start instead
of it while one is; so the guest resumes from no armed breakpoint, and needs no step off it, but
where a nested event has ended.
What need not move stays armed: each packet costs as much as the work between two.
A stop keeps bytes; the event is built of them while the guest runs on.
"""

import struct
import time
from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import partial
from typing import NamedTuple, cast

from klosdbg.errors import CommandError
from klosdbg.events.event import Event, MakesEvent, Resumed, Spent, Time, Transfer
from klosdbg.klos.abi import KlosFrame
from klosdbg.klos.constants import Request
from klosdbg.klos.layout import decode, members, size_of
from klosdbg.klos.recorder.facts import (
    ORIGINS,
    KlosFacts,
    RunningThread,
    ends_interrupt,
    error_code_of,
)
from klosdbg.ports import Memory
from klosdbg.recording.discovery import EventPaths
from klosdbg.recording.flow import Exit
from klosdbg.recording.stop_registers import Registers

_FAR_RETURN = struct.Struct("<IIII")
_FRAME = size_of(KlosFrame)
_OFFSETS = {m.name: m.offset for m in members(KlosFrame)}
_VECTOR = slice(_FAR_RETURN.size + _OFFSETS["vector"], _FAR_RETURN.size + _OFFSETS["error_code"])


class KlosStops:
    """Follow the events of a KLOS from stop to stop; ``wanted`` is where to stop next.

    With ``vectors``, only their stubs are watched while no event is under way.
    """

    def __init__(
        self,
        memory: Memory,
        paths: EventPaths,
        facts: KlosFacts,
        numbers: Iterator[int],
        vectors: Collection[int] = (),
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
        self._vectors = frozenset(vectors)
        self._pending: list[_Outward] = []
        self._numbers = numbers
        self._leaving = frozenset(self._out) | self._ends.keys()
        self._idle = self._before if vectors else self._leaving
        self._busy = self._before | self._ends.keys()
        self.wanted = self._idle

    def guesses(self) -> list[tuple[int, int]]:
        """Say what memory the next stop will probably want, as ``(address, size)``."""
        if self._pending:
            return self._wanted_at_end(self._pending[-1])
        return self._wanted_outward(self._last_stack)

    def _wanted_outward(self, stack: int) -> list[tuple[int, int]]:
        frame = (stack, _FAR_RETURN.size + _FRAME)
        return [frame, self._facts.esp0_at, *self._facts.running_requests()]

    def _wanted_at_end(self, pending: "_Outward") -> list[tuple[int, int]]:
        return [(pending.frame, _FRAME), self._facts.running_requests()[0]]

    def at(self, registers: Registers) -> list[MakesEvent]:
        """Note a stop at one of the wanted places; return what makes the events that it ends."""
        if registers.pc in self._ends:
            return self._end(registers, self._ends[registers.pc])
        if registers.pc in self._out:
            return self._outward(registers, self._out[registers.pc])
        self.wanted = self._leaving
        return []

    def drop(self) -> list[MakesEvent]:
        """Give up the events that are under way, as having never come back."""
        dropped = [self._given_up(pending) for pending in self._pending]
        self._pending, self.wanted = [], self._idle
        return dropped

    def _outward(self, registers: Registers, out: Exit) -> list[MakesEvent]:
        now = time.monotonic_ns()
        frame_at = registers.stack + _FAR_RETURN.size
        raw, esp0, *who = self._read(self._wanted_outward(registers.stack))
        self._last_stack = registers.stack
        gone = [self._given_up(p) for p in self._pending if p.frame <= frame_at]
        if self._pending:
            self._pending = [p for p in self._pending if p.frame > frame_at]
        if not self._vectors or int.from_bytes(raw[_VECTOR], "little") in self._vectors:
            running = self._facts.running(*who)
            process = self._facts.process(running.pid)
            seq = next(self._numbers)
            self._pending.append(_Outward(seq, now, frame_at, out, raw, esp0, running, process))
        self.wanted = self._busy if self._pending else self._idle
        return gone

    def _end(self, registers: Registers, kind: str) -> list[MakesEvent]:
        idle = kind == "hlt"
        frame_at = registers.stack - (0 if idle else _OFFSETS["eip"])
        ended = [self._ended(p, idle) for p in self._pending if p.frame == frame_at]
        gone = [self._given_up(p) for p in self._pending if p.frame < frame_at]
        self._pending = [p for p in self._pending if p.frame > frame_at]
        self.wanted = self._busy if self._pending else self._idle - {registers.pc}
        return gone + ended

    def _given_up(self, pending: "_Outward") -> MakesEvent:
        return partial(self._event, pending)

    def _ended(self, pending: "_Outward", idle: bool) -> MakesEvent:
        raw, runs = self._read(self._wanted_at_end(pending))
        running = self._facts.still_running(runs, pending.running)
        process = self._facts.process(running.pid)
        end = _End(time.monotonic_ns(), idle, raw, running, process)
        return partial(self._whole_event, pending, end)

    def _event(self, pending: "_Outward") -> Event:
        facts, running, out = self._facts, pending.running, pending.out
        frame = decode(KlosFrame, pending.raw, _FAR_RETURN.size)
        eip, cs, esp, ss = _FAR_RETURN.unpack_from(pending.raw)
        esp0 = int.from_bytes(pending.esp0, "little")
        origin = ORIGINS.get(frame.origin, "program")
        stub = facts.stub(frame.vector)
        return Event(
            seq=pending.seq,
            time=Time(pending.since, "host-ns", perturbed=True),
            vector=frame.vector,
            error_code=error_code_of(frame.vector, frame.error_code),
            source=facts.source(origin, frame.cs, frame.eip, frame.ss, frame.esp),
            stub=stub,
            out=Transfer(out.kind, out.address, 0, cs & 3, cs, eip, ss, esp, esp0),
            handler=eip,
            depth=running.depth,
            process=pending.process,
            pid=running.pid,
            tid=running.tid,
            cr2=frame.cr2 if frame.vector == 14 else None,
            origin=origin,
            stub_symbol=facts.symbol(stub) if stub is not None else None,
            handler_symbol=facts.symbol(eip),
        )

    def _whole_event(self, pending: "_Outward", end: "_End") -> Event:
        frame, event, running = decode(KlosFrame, end.raw), self._event(pending), end.running
        place = self._facts.resumed_at(end.idle, frame.cs, frame.eip, frame.ss, frame.esp)
        changed = (place.eip, running.tid) != (event.source.eip, event.tid)
        return replace(
            event,
            back=self._facts.back(),
            tlb_flush=bool(frame.request & Request.FLUSH),
            eoi=ends_interrupt(self._facts.info, frame.vector),
            resumed=Resumed(place, changed, end.idle, end.process, running.pid, running.tid),
            spent=Spent(None, end.at - pending.since),
        )

    def _read(self, requests: list[tuple[int, int]]) -> list[bytes]:
        found = self._memory.read_many(requests)
        if None in found:
            raise CommandError("the event core's stack cannot be read: is this another image?")
        return cast(list[bytes], found)


class _Outward(NamedTuple):
    """What was read where an event left for its handler: ``since`` in ns, ``frame`` linear.

    ``raw`` is what the far return pops, and the frame behind it; ``esp0`` is TSS.ESP0's bytes.
    """

    seq: int
    since: int
    frame: int
    out: Exit
    raw: bytes
    esp0: bytes
    running: RunningThread
    process: str | None


class _End(NamedTuple):
    """What was read where an event ended: ``at`` in ns, ``raw`` is the frame's bytes."""

    at: int
    idle: bool
    raw: bytes
    running: RunningThread
    process: str | None


def _where_it_ends(found: Exit) -> int:
    """Stop before the stack is left, and never between ``sti`` and ``hlt``."""
    return found.block if found.kind == "hlt" else found.address


def _entries(paths: EventPaths, vectors: Collection[int]) -> frozenset[int]:
    return frozenset(s.entry for v, s in paths.stubs.items() if v in vectors)

"""The ring recorder: what KLOS's event core wrote down itself, read while the guest runs."""

from collections.abc import Iterator
from dataclasses import replace

from klosdbg.errors import CommandError, TargetRunning
from klosdbg.klos.abi import KlosEvent
from klosdbg.klos.constants import Event as Flag
from klosdbg.klos.layout import decode, size_of
from klosdbg.ports import StopEvent, Symbols, Target
from klosdbg.trace.discovery import EventPaths, discover
from klosdbg.trace.event import Event, Recorder, Resumed, Spent, Time, Transfer
from klosdbg.trace.klos_facts import ORIGINS, KlosFacts, error_code_of

_INTERVAL = 0.05
_HURRIED = 0.002
_BUSY = 1 / 32
_PAGE_FAULT = 14


class RingRecorder:
    """Drain the ring of ``klos_info``. ``lost`` counts events that the guest overwrote unread.

    ``CommandError`` where the guest is no KLOS. Starting writes to a guest whose ring is off.
    """

    kind: Recorder = "ring"
    interval: float | None = _INTERVAL
    place: int | None = None

    def __init__(self, target: Target, symbols: Symbols | None) -> None:
        self._target = target
        self._symbols = symbols
        self._facts: KlosFacts | None = None
        self._out: Transfer | None = None
        self._next = 1
        self._switched_on = False
        self.lost = 0
        self.stops = 0

    def start(self) -> None:
        """Begin with the next event; switch the ring on where it is off."""
        facts = self._facts = KlosFacts(self._target, self._symbols)
        self._out = _outward(discover(self._target))
        if not self._number(facts, "events_on"):
            self._switch(facts, 1)
            self._switched_on = True
        self._next = self._number(facts, "event_count") + 1

    def handle(self, _event: StopEvent) -> tuple[bool, list[Event]]:
        """Take no stop: none is wanted here."""
        return False, []

    def poll(self) -> list[Event]:
        """Read what has ended since the last time, in order of ``seq``."""
        if self._facts is None:
            return []
        before = self._next
        drained = list(self._drain(self._read(), waiting=True))
        filled = (self._next - before) / self._facts.info.events.count
        self.interval = _HURRIED if filled > _BUSY else _INTERVAL
        return drained

    def stop(self) -> list[Event]:
        """Read what is left, and leave the ring's switch as it was found."""
        if self._facts is None:
            return []
        left = list(self._drain(self._read(), waiting=False))
        if self._switched_on:
            self._switch(self._facts, 0)
        self._facts = None
        return left

    def _read(self) -> tuple[int, bytes, int]:
        assert self._facts is not None
        ring = self._facts.info.events
        if ring.entry_size < size_of(KlosEvent) or not ring.count:
            raise CommandError("klos_info.events makes no sense: see 'klos'")
        before = self._number(self._facts, "event_count")
        if before < self._next:
            return before, b"", before
        self._facts.learn_processes()
        raw = self._target.linear.read(ring.address, ring.count * ring.entry_size)
        return before, raw, self._number(self._facts, "event_count")

    def _drain(self, read: tuple[int, bytes, int], waiting: bool) -> Iterator[Event]:
        """Take entries up to the newest; ``waiting`` leaves off at one that is being filled."""
        newest, raw, after = read
        assert self._facts is not None
        ring = self._facts.info.events
        oldest = after - ring.count + 1
        if self._next < oldest:
            self.lost += min(oldest, newest + 1) - self._next
            self._next = min(oldest, newest + 1)
        while self._next <= newest:
            entry = decode(KlosEvent, raw, (self._next - 1) % ring.count * ring.entry_size)
            if entry.seq == self._next:
                yield self._event(entry)
            elif waiting:
                return
            self._next += 1

    def _event(self, entry: KlosEvent) -> Event:
        facts = self._facts
        assert facts is not None
        origin = ORIGINS.get(entry.origin, "program")
        source = facts.source(origin, entry.cs, entry.eip, entry.ss, entry.esp)
        stub = facts.stub(entry.vector)
        out = self._out and replace(self._out, eip=entry.handler, cs=facts.info.csos)
        return Event(
            seq=entry.seq,
            time=Time(entry.time_in, "tsc"),
            vector=entry.vector,
            error_code=error_code_of(entry.vector, entry.error_code),
            source=source,
            stub=stub,
            out=out,
            handler=entry.handler,
            back=facts.back(),
            tlb_flush=bool(entry.flags & Flag.FLUSHED),
            eoi=bool(entry.flags & Flag.EOI),
            resumed=self._resumed(facts, entry, source.eip),
            depth=entry.depth,
            process=facts.process(entry.pid),
            pid=entry.pid,
            tid=entry.tid,
            cr2=entry.cr2 if entry.vector == _PAGE_FAULT else None,
            origin=origin,
            spent=Spent(None, entry.time_out - entry.time_in),
            recorder="ring",
            stub_symbol=None if stub is None else facts.symbol(stub),
            handler_symbol=facts.symbol(entry.handler),
        )

    def _resumed(self, facts: KlosFacts, entry: KlosEvent, hit: int) -> Resumed:
        idle = bool(entry.flags & Flag.IDLE)
        place = facts.resumed_at(idle, facts.info.csos, entry.resumed_eip)
        changed = (place.eip, entry.resumed_tid) != (hit, entry.tid)
        name = facts.process(entry.resumed_pid)
        return Resumed(place, changed, idle, name, entry.resumed_pid, entry.resumed_tid)

    def _number(self, facts: KlosFacts, field: str) -> int:
        return int.from_bytes(self._target.linear.read(facts.offset(field), 4), "little")

    def _switch(self, facts: KlosFacts, value: int) -> None:
        if self._target.control is not None and self._target.control.running:
            raise TargetRunning
        if self._target.linear_writer is None:
            raise CommandError("the guest's event ring is off, and nothing here can be written")
        self._target.linear_writer.write(facts.offset("events_on"), value.to_bytes(4, "little"))


def _outward(paths: EventPaths) -> Transfer | None:
    out = next((e for e in paths.outward if e.kind == "lret"), None)
    return None if out is None else Transfer(out.kind, out.address, 0, 3, 0, 0)

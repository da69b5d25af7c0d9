"""The ring recorder: what KLOS's event core wrote down itself, read while the guest runs."""

import struct
from collections import deque
from collections.abc import Iterator
from contextlib import suppress

from klosdbg.errors import CommandError, TargetLost, TargetRunning
from klosdbg.events.event import Event, Recorder, Resumed, Spent, Time, Transfer
from klosdbg.klos.abi import KlosEvent
from klosdbg.klos.constants import Event as Flag
from klosdbg.klos.layout import decode, size_of
from klosdbg.klos.recorder.facts import ORIGINS, KlosFacts, error_code_of
from klosdbg.ports import StopEvent, Symbols, Target
from klosdbg.recording.discovery import EventPaths, discover

_INTERVAL = 0.01
_FETCH_EVERY = 128
_PAGE_FAULT = 14
# Plain numbers: an enumeration's own & makes an object each time.
_FLUSHED, _EOI, _IDLE = int(Flag.FLUSHED), int(Flag.EOI), int(Flag.IDLE)
_SEQ = struct.Struct("<I")
"""The first member of an entry."""


class RingRecorder:
    """Drain the ring of ``klos_info``. ``lost`` counts events that the guest overwrote unread.

    Entries are copied first and made events of later, since the guest does not wait for either.
    ``CommandError`` where the guest is no KLOS. Starting writes to a guest whose ring is off.
    """

    kind: Recorder = "ring"
    interval: float | None = _INTERVAL
    place: int | None = None

    def __init__(self, target: Target, symbols: Symbols | None) -> None:
        self._target = target
        self._symbols = symbols
        self._facts: KlosFacts | None = None
        self._lret: int | None = None
        self._copied: deque[bytes] = deque()
        self._next = 1
        self._switched_on = False
        self.lost = 0
        self.stops = 0

    def start(self) -> None:
        """Begin with the next event; switch the ring on where it is off.

        Raise ``CommandError`` where what KLOS says of its ring makes no sense.
        """
        facts = self._facts = KlosFacts(self._target, self._symbols)
        ring = facts.info.events
        if ring.entry_size < size_of(KlosEvent) or not ring.count:
            raise CommandError("klos_info.events makes no sense: see 'klos'")
        self._lret = _far_return(discover(self._target))
        if not self._number(facts, "events_on"):
            self._switch(facts, 1)
            self._switched_on = True
        self._next = self._number(facts, "event_count") + 1

    @property
    def ended(self) -> int:
        """How many events have been copied and not yet been made."""
        return len(self._copied)

    def handle(self, _event: StopEvent) -> bool:
        """Take no stop: none is wanted here."""
        return False

    def poll(self) -> Iterator[Event]:
        """Take what has ended since the last time, in order of ``seq``; what ends meanwhile waits.

        At most a ring full, so that whoever waits for the guest gets to look at the clock.
        """
        facts = self._facts
        if facts is None:
            return
        self._fetch(facts, waiting=True)
        for done in range(min(len(self._copied), facts.info.events.count)):
            if done % _FETCH_EVERY == _FETCH_EVERY - 1:
                self._fetch(facts, waiting=True)
            yield self._event(facts, self._copied.popleft())
        self.interval = 0.0 if self._copied else _INTERVAL

    def stop(self) -> Iterator[Event]:
        """Copy what is left, and leave the ring's switch as it was found; events are built later.

        Whoever has enough need not wait for those that came meanwhile.
        """
        facts, self._facts = self._facts, None
        if facts is None:
            return iter(())
        # What has been copied is whole, whatever became of the guest.
        with suppress(TargetLost):
            self._fetch(facts, waiting=False)
            if self._switched_on:
                self._switch(facts, 0)
        return self._rest(facts)

    def _rest(self, facts: KlosFacts) -> Iterator[Event]:
        while self._copied:
            yield self._event(facts, self._copied.popleft())

    def _fetch(self, facts: KlosFacts, waiting: bool) -> None:
        """Copy entries up to the newest; ``waiting`` leaves off at one that is being filled."""
        ring, newest = facts.info.events, self._number(facts, "event_count")
        if newest < self._next - 1:
            # The guest was reset, and counts anew: events, and processes too.
            self._next = 1
            facts.forget_names()
        first = max(self._next, newest - ring.count + 1)
        raw = self._entries(facts, first, newest)
        oldest = self._number(facts, "event_count") - ring.count + 1
        if self._next < oldest:
            self.lost += min(oldest, newest + 1) - self._next
            self._next = min(oldest, newest + 1)
        while self._next <= newest:
            at = (self._next - first) * ring.entry_size
            entry = raw[at : at + ring.entry_size]
            if _SEQ.unpack_from(entry)[0] == self._next:
                self._copied.append(entry)
            elif waiting:
                return
            self._next += 1

    def _entries(self, facts: KlosFacts, first: int, last: int) -> bytes:
        """Read the slots of events ``first`` to ``last``, which may go round the ring's end."""
        ring, raw = facts.info.events, b""
        while first <= last:
            slot = (first - 1) % ring.count
            count = min(last - first + 1, ring.count - slot)
            raw += facts.fixed.read(ring.address + slot * ring.entry_size, count * ring.entry_size)
            first += count
        return raw

    def _event(self, facts: KlosFacts, raw: bytes) -> Event:
        entry = decode(KlosEvent, raw)
        origin = ORIGINS.get(entry.origin, "program")
        source = facts.source(origin, entry.cs, entry.eip, entry.ss, entry.esp)
        stub = facts.stub(entry.vector)
        return Event(
            seq=entry.seq,
            time=Time(entry.time_stub, "tsc"),
            vector=entry.vector,
            error_code=error_code_of(entry.vector, entry.error_code),
            source=source,
            stub=stub,
            out=self._outward(facts, entry),
            handler=entry.handler,
            back=facts.back(),
            tlb_flush=bool(entry.flags & _FLUSHED),
            eoi=bool(entry.flags & _EOI),
            resumed=self._resumed(facts, entry, source.eip),
            depth=entry.depth,
            process=facts.process(entry.pid),
            pid=entry.pid,
            tid=entry.tid,
            cr2=entry.cr2 if entry.vector == _PAGE_FAULT else None,
            origin=origin,
            spent=Spent(entry.time_in - entry.time_stub, entry.time_out - entry.time_in),
            recorder="ring",
            stub_symbol=None if stub is None else facts.symbol(stub),
            handler_symbol=facts.symbol(entry.handler),
        )

    def _outward(self, facts: KlosFacts, entry: KlosEvent) -> Transfer | None:
        if self._lret is None:
            return None
        stack = entry.handler_ss, entry.handler_esp, entry.esp0
        return Transfer("lret", self._lret, 0, 3, facts.info.csos, entry.handler, *stack)

    def _resumed(self, facts: KlosFacts, entry: KlosEvent, hit: int) -> Resumed:
        idle = bool(entry.flags & _IDLE)
        place = facts.resumed_at(idle, facts.info.csos, entry.resumed_eip)
        changed = (place.eip, entry.resumed_tid) != (hit, entry.tid)
        name = facts.process(entry.resumed_pid)
        return Resumed(place, changed, idle, name, entry.resumed_pid, entry.resumed_tid)

    def _number(self, facts: KlosFacts, field: str) -> int:
        return int.from_bytes(facts.fixed.read(facts.offset(field), 4), "little")

    def _switch(self, facts: KlosFacts, value: int) -> None:
        if self._target.control is not None and self._target.control.running:
            raise TargetRunning
        if self._target.linear_writer is None:
            raise CommandError("the guest's event ring is off, and nothing here can be written")
        self._target.linear_writer.write(facts.offset("events_on"), value.to_bytes(4, "little"))


def _far_return(paths: EventPaths) -> int | None:
    return next((way.address for way in paths.outward if way.kind == "lret"), None)

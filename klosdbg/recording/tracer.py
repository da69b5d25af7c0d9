"""A recording under way: a recorder, a filter, a limit, and the events so far."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Protocol

from klosdbg.errors import CommandError
from klosdbg.events.event import Event, Recorder
from klosdbg.events.filters import EventFilter
from klosdbg.interrupts import interrupts_deferred
from klosdbg.ports import StopEvent, Symbols, Target
from klosdbg.recording.models import End, Recorded
from klosdbg.recording.stopping import Follow, StoppingRecorder

MOST_EVENTS = 1_000_000
_BATCH = 8192
NO_RING = "this guest keeps no events of its own: KLOS does, once it has booted (see 'klos')"


class EventSource(Protocol):
    """A recorder. ``interval`` is how often it wants its turn while the guest runs, in seconds.

    The stopping recorder's turn is a stop, the ring's ``poll``.
    """

    kind: Recorder
    interval: float | None
    place: int | None
    lost: int
    stops: int

    @property
    def ended(self) -> int:
        """How many events have ended, and are to be yielded."""

    def start(self) -> None:
        """Begin with the next event."""

    def handle(self, event: StopEvent) -> bool:
        """Take a stop: tell whether it was wanted here."""

    def poll(self) -> Iterator[Event]:
        """Yield what has ended since the last time; what is not taken is yielded the next time."""

    def stop(self) -> Iterator[Event]:
        """End at once, and yield what is left."""


class OwnRecorders(Protocol):
    """How events of a system that is known can be recorded better than those of any guest."""

    @property
    def ring(self) -> Callable[[], EventSource] | None:
        """Makes the recorder of what the system writes down itself."""

    @property
    def follow_events(self) -> Follow | None:
        """Makes the stops that its events need."""

    @property
    def own_ldts(self) -> bool:
        """Tell whether what runs has an LDT of its own."""


class Tracer:
    """Hand the events that pass a filter to ``keep``, up to ``limit`` of them.

    ``names`` are those of the vectors that only the guest's system names.
    """

    def __init__(
        self,
        source: EventSource,
        wanted: EventFilter,
        limit: int | None,
        keep: Callable[[Event], None],
        names: Mapping[int, str] | None = None,
    ) -> None:
        self._source = source
        self._wanted = wanted
        self._limit = min(limit or MOST_EVENTS, MOST_EVENTS)
        self._take = keep
        self._names = names or {}
        self.limit = limit
        self._began = time.monotonic()
        self._seen = 0
        self._kept = 0
        self._over = False
        source.start()

    @property
    def full(self) -> bool:
        """Tell whether it has as many events as were asked for."""
        return self._kept >= self._limit

    @property
    def interval(self) -> float | None:
        """How often the recorder wants its turn while the guest runs, in seconds; None: never."""
        return self._source.interval

    @property
    def stopping(self) -> bool:
        """Tell whether it stops the guest, so that the guest must not run unwatched."""
        return self._source.kind == "stopping"

    @property
    def place(self) -> int | None:
        """The linear address of the last stop that was wanted here."""
        return self._source.place

    def handle(self, event: StopEvent) -> bool:
        """Take a stop; tell whether it was wanted here, so that the guest may run on.

        What it ends is kept by the next ``poll``, but at once where that could be enough.
        """
        wanted = self._source.handle(event)
        if not wanted or self._kept + self._source.ended >= self._limit:
            self.poll()
        return wanted

    def poll(self) -> None:
        """Fetch what has ended since the last time."""
        self._keep(self._source.poll())

    def stop(self, end: End = "asked", tell: Callable[[int], None] | None = None) -> Recorded:
        """End the recording; the guest has to be stopped where the recorder stops it.

        ``tell`` is told how many events are to be kept still, which may take long: one more Ctrl-C
        leaves them out where Ctrl-C was the ``end``.
        """
        self._over = True
        try:
            with interrupts_deferred:
                left = self._source.stop()
            while not self.full and self._keep(islice(left, _BATCH)):
                if tell and self._source.ended:
                    tell(self._source.ended)
        except KeyboardInterrupt:
            if end != "interrupt":
                raise
        return self.state(end)

    def state(self, end: End = "running") -> Recorded:
        """Tell how it goes."""
        source, seconds = self._source, time.monotonic() - self._began
        left_out = source.ended if self._over and not self.full else 0
        return Recorded(
            self._kept, self._seen, source.lost, seconds, source.stops, source.kind, end, left_out
        )

    def _keep(self, events: Iterator[Event]) -> bool:
        """Keep those that are wanted until it is full; tell whether there were any."""
        before = self._seen
        while not self.full:
            # Ctrl-C comes before an event is taken from the recorder, or when it has been kept.
            with interrupts_deferred:
                event = next(events, None)
                if event is None:
                    break
                self._seen += 1
                named = with_name(event, self._names)
                if self._wanted.wants(named):
                    self._kept += 1
                    self._take(named)
        return self._seen > before


def with_name(event: Event, names: Mapping[int, str]) -> Event:
    """Give an event the name that the guest's system has for its vector."""
    name = None if event.real or event.own_name else names.get(event.vector)
    return replace(event, own_name=name) if name else event


def make_source(
    target: Target,
    symbols: Symbols | None,
    kind: Recorder | None,
    wanted: EventFilter,
    own: OwnRecorders,
) -> EventSource:
    """Make the recorder that was asked for; None: the system's own ring where it has one.

    Raise ``CommandError`` where it cannot record.
    """
    if target.control is None:
        raise CommandError(f"{target.name} cannot run: it is a recording ('events show' shows it)")
    if own.ring is not None and kind != "stopping":
        return own.ring()
    if kind == "ring":
        raise CommandError(NO_RING)
    if target.control.running:
        raise CommandError("the guest is running: 'interrupt' it, or record with --ring")
    return StoppingRecorder(target, symbols, wanted.vectors, own.follow_events, own.own_ldts)

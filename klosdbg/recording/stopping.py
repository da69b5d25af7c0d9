"""The stopping recorder: breakpoints at stubs and far transfers, and no others."""

from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import count
from typing import Protocol

from klosdbg.errors import CommandError, TargetLost
from klosdbg.events.event import Event, MakesEvent, Place, Recorder
from klosdbg.ports import RunControl, StopEvent, Symbols, Target
from klosdbg.recording.discovery import EventPaths, discover
from klosdbg.recording.live_idt import LOOK, LiveIdt
from klosdbg.recording.plain_stops import PlainStops
from klosdbg.recording.stop_registers import QuickRegisters, ReadAhead, Registers

_ANYWHERE = ("breakpoint", "step", "interrupt")


class Stops(Protocol):
    """Where to stop next, and what a stop there tells."""

    @property
    def wanted(self) -> frozenset[int]:
        """The linear addresses to stop at next."""

    def guesses(self) -> list[tuple[int, int]]:
        """Say what memory the next stop will probably want, as ``(address, size)``."""

    def at(self, registers: Registers) -> list[MakesEvent]:
        """Note a stop; return what makes the events that it ends."""

    def drop(self) -> list[MakesEvent]:
        """Give up the events that are under way."""


Follow = Callable[[ReadAhead, EventPaths, QuickRegisters, Collection[int]], Stops]
"""Makes the stops of a system that tells more than a guest of which nothing is known."""


class StoppingRecorder:
    """Record events by stopping the guest. ``start`` and ``stop`` need it stopped.

    ``place`` is the linear address of the last stop that it wanted, and ``stops`` counts those.
    Of a guest that is not known to keep its IDT, it wants a look every ``interval`` seconds.
    """

    kind: Recorder = "stopping"
    interval: float | None = None
    lost = 0

    def __init__(
        self,
        target: Target,
        symbols: Symbols | None,
        vectors: Collection[int] = (),
        follow: Follow | None = None,
        own_ldts: bool = False,
    ) -> None:
        self._target = target
        self._symbols = symbols
        self._vectors = vectors
        self._follows = follow
        self._memory = ReadAhead(target.linear_at_stop or target.linear)
        self._registers = QuickRegisters(target, self._memory, own_ldts)
        self._idt = LiveIdt(target)
        self._stops: Stops | None = None
        self._armed: set[int] = set()
        self._ended: deque[MakesEvent] = deque()
        self.place: int | None = None
        self.stops = 0

    def start(self) -> None:
        """Find where to stop, and set breakpoints there."""
        self._stops = self._choose(discover(self._target))
        if isinstance(self._stops, PlainStops):
            self.interval = LOOK
            self._idt.changed()
        self._arm(self._stops.wanted)

    @property
    def ended(self) -> int:
        """How many events have ended, and have not yet been made."""
        return len(self._ended)

    def handle(self, event: StopEvent) -> bool:
        """Take a stop; tell whether it was wanted here. ``poll`` returns the events it ends."""
        if self._stops is None or event.reason not in _ANYWHERE:
            return False
        registers = self._registers.read(self._stops.guesses())
        wanted = registers.pc in self._armed
        if wanted:
            self.stops += 1
            self.place = registers.pc
            if self._target.stands_at is not None:
                self._target.stands_at(registers.pc)
            self._ended += self._stops.at(registers)
        if isinstance(self._stops, PlainStops) and self._idt.due:
            self._follow(self._stops)
        self._arm(self._stops.wanted)
        return wanted

    def poll(self) -> Iterator[Event]:
        """Build the events that have ended; the guest may run meanwhile."""
        while self._ended:
            yield self._named(self._ended.popleft()())

    def stop(self) -> Iterator[Event]:
        """Take the breakpoints away; return the events that are left, those under way as well."""
        if self._stops is not None:
            self._ended += self._stops.drop()
        self._stops = None
        with suppress(TargetLost):
            self._arm(frozenset())
        return self.poll()

    def _follow(self, stops: PlainStops) -> None:
        """Look whether the guest has set up other gates; keep the last ones while it has none."""
        if not self._idt.changed():
            return
        self._registers.forget()
        with suppress(CommandError):
            stops.follow(discover(self._target))

    def _choose(self, paths: EventPaths) -> Stops:
        if self._follows is not None:
            return self._follows(self._memory, paths, self._registers, self._vectors)
        numbers = count(1)
        return PlainStops(
            self._memory, self._target, paths, self._registers, numbers, self._vectors
        )

    def _arm(self, wanted: frozenset[int]) -> None:
        control = self._control()
        for address in self._armed - wanted:
            control.remove(address)
            self._armed.discard(address)
        for address in wanted - self._armed:
            control.insert(address)
            self._armed.add(address)

    def _control(self) -> RunControl:
        if self._target.control is None:
            raise CommandError(f"{self._target.name} cannot run: it is a recording")
        return self._target.control

    def _named(self, event: Event) -> Event:
        if self._symbols is None or event.source.symbol is not None:
            return event
        name = self._symbols.name
        resumed = event.resumed
        return replace(
            event,
            source=self._placed(event.source),
            resumed=resumed and replace(resumed, place=self._placed(resumed.place)),
            stub_symbol=None if event.stub is None else name(event.stub),
            handler_symbol=None if event.handler is None else name(event.handler),
        )

    def _placed(self, place: Place) -> Place:
        assert self._symbols is not None
        return replace(place, symbol=self._symbols.name(place.linear))

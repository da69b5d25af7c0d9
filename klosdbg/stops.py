"""Who a stop belongs to: each stop of a target is taken once, by one owner that all share."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal, Protocol

from klosdbg.errors import KlosdbgError, TargetTimeout
from klosdbg.interrupts import interrupts_deferred
from klosdbg.ports import Registers, Reverse, RunControl, StopEvent, Target

_TURN = 0.02
_SIGINT = 2

Claim = Literal["stays", "passes"] | None
"""What a party says of a stop: it is to stay, it was its own and the guest may run on, or None."""


class NewStop:
    """A stop that nobody has been told of yet."""

    def __init__(self, event: StopEvent, registers: Registers) -> None:
        self.event = event
        self._registers = registers
        self._linear: int | None = None

    @property
    def linear(self) -> int:
        """The linear address of the instruction to be executed next; registers are read for it."""
        if self._linear is None:
            self._linear = self._registers.read().linear_pc
        return self._linear

    def is_at(self, linear: int) -> None:
        """Take note of where it is from one who has found out, so that nobody has to read."""
        self._linear = linear


class Party(Protocol):
    """Somebody who may want a stop: a session with its recorder and breakpoints, a client."""

    @property
    def interval(self) -> float | None:
        """How soon it wants a turn while the guest runs, in seconds; None: never."""

    @property
    def looks(self) -> bool:
        """Tell whether the guest has to be stopped for its turn."""

    @property
    def has_enough(self) -> bool:
        """Tell whether it waits for nothing more, so that a wait ends."""

    def claim(self, stop: NewStop) -> Claim:
        """Take a stop, and say whose it is."""

    def turn(self) -> None:
        """Do what can be done while the guest runs."""


class Sharers(Protocol):
    """Others to be served while one waits for the guest."""

    @property
    def interrupted(self) -> bool:
        """Tell whether somebody has asked for a stop that no wait has returned yet."""

    def serve(self, seconds: float) -> None:
        """Serve them, for at most so long."""


class Stops:
    """The run control of all who share a target, and the owner of its stops.

    A stop that is new is told to every party once, whoever let the guest run and whoever waits.
    Where one of them wants it to stay, or nobody knows it, it is returned; else the guest runs on.
    ``moved`` tells that the guest has run since ``take_stop``.
    """

    def __init__(self, control: RunControl, registers: Registers) -> None:
        self._control = control
        self._registers = registers
        self._parties: list[Party] = []
        self._sharers: Sharers | None = None
        self._is_new = False
        self._passes = False
        self._run_on: Callable[[], None] = self.resume
        self._raw: StopEvent | None = None
        self._told = StopEvent("interrupt", _SIGINT)
        self._heard = 0.0
        self.moved = False

    def join(self, party: Party) -> None:
        """Tell a party of each stop from now on."""
        self._parties.append(party)

    def leave(self, party: Party) -> None:
        """Tell a party of no more stops."""
        if party in self._parties:
            self._parties.remove(party)

    @contextmanager
    def serving(self, sharers: Sharers) -> Iterator[None]:
        """Serve others in each wait meanwhile."""
        before, self._sharers = self._sharers, sharers
        try:
            yield
        finally:
            self._sharers = before

    @property
    def served(self) -> bool:
        """Tell whether others are served in each wait."""
        return self._sharers is not None

    @property
    def running(self) -> bool:
        """Tell whether the guest runs now, noticing a stop that has already arrived."""
        return self._control.running

    def resume(self) -> None:
        """Let the guest run, stepping off a breakpoint under it first."""
        self._moves()
        self._run_on = self.resume
        self._control.resume()

    def wait(self, timeout: float | None) -> StopEvent:
        """Wait for a stop that is somebody's, and stop the guest where a recorder has enough."""
        return self.next_stop(timeout) or self.interrupt()

    def next_stop(self, timeout: float | None) -> StopEvent | None:
        """Wait for a stop that is somebody's; None once a recorder has enough while it runs.

        Raise ``TargetTimeout`` after ``timeout`` seconds; the guest runs on then.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            if self._sharers is None:
                self._give_turns()
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            seconds = self._slice(left)
            event = self._await(seconds) or self._look()
            if event is not None and not self._passes:
                return event
            if event is not None:
                self._run_on()
            elif any(party.has_enough for party in self._parties):
                return None
            elif left is not None and (seconds is None or left <= seconds):
                raise TargetTimeout(f"the guest still runs after {timeout:g} s")

    def poll(self) -> StopEvent | None:
        """Return the stop that is somebody's; None while the guest runs, or runs on."""
        if self._control.running:
            return None
        event = self._take(self._control.wait(0))
        if not self._passes:
            return event
        if self._sharers is not None and self._sharers.interrupted:
            return self._as_interrupt()
        self._run_on()
        return None

    def turn(self) -> None:
        """Give every party its turn while the guest runs, those that look at it as well."""
        if self._control.running:
            self._give_turns()
            self._look()

    def patience(self, longest: float) -> float:
        """Say how soon one of them wants its turn, in seconds."""
        wanted = (party.interval for party in self._parties)
        return min((i for i in wanted if i is not None), default=longest)

    def step(self) -> StopEvent:
        """Execute one instruction."""
        self._moves()
        return self._take(self._control.step())

    def interrupt(self) -> StopEvent:
        """Stop a running guest; a stop that was a recorder's alone is told as the interrupt."""
        event = self._take(self._control.interrupt())
        return self._as_interrupt() if self._passes else event

    def insert(self, address: int) -> None:
        """Set a breakpoint at a linear address; setting it twice counts twice."""
        self._control.insert(address)

    def remove(self, address: int) -> None:
        """Take away one setting of a breakpoint."""
        self._control.remove(address)

    def reset(self) -> StopEvent:
        """Reset the machine and stop at its first instruction."""
        self._moves()
        return self._take(self._control.reset())

    def take_stop(self) -> StopEvent | None:
        """Return the stop that ended the last run, once; None while there is nothing new."""
        event = self.poll() if self.moved else None
        if event is not None:
            self.moved = False
        return event

    def stopped_back(self, event: StopEvent) -> StopEvent:
        """Take the stop of a run backwards."""
        self._moves()
        return self._take(event)

    def runs_back(self, again: Callable[[], None]) -> None:
        """Note that the guest runs backwards, and what lets it run on so."""
        self._moves()
        self._run_on = again

    def _moves(self) -> None:
        self.moved = self._is_new = True
        self._passes = False

    def _take(self, event: StopEvent) -> StopEvent:
        """Tell the parties of a stop that is new; return it as it was told."""
        if self._is_new:
            self._is_new, self._heard = False, time.monotonic()
            self._raw = self._told = event
            with interrupts_deferred:
                claims = self._claims(NewStop(event, self._registers))
            self._passes = "passes" in claims and "stays" not in claims
        return self._told if event is self._raw else event

    def _claims(self, stop: NewStop) -> list[Claim]:
        """Tell each party; one that fails keeps the others from nothing."""
        claims: list[Claim] = []
        failure: KlosdbgError | None = None
        for party in tuple(self._parties):
            try:
                claims.append(party.claim(stop))
            except KlosdbgError as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return claims

    def _as_interrupt(self) -> StopEvent:
        self._passes = False
        self._told = replace(self._told, reason="interrupt", signal=_SIGINT)
        return self._told

    def _slice(self, left: float | None) -> float | None:
        """Say how long to wait at once, in seconds; None: until it stops."""
        most = _TURN if self._sharers is not None else None
        wanted = [party.interval for party in self._parties]
        return min((s for s in (*wanted, most, left) if s is not None), default=None)

    def _await(self, seconds: float | None) -> StopEvent | None:
        """Wait for a stop; None where the guest still runs."""
        if self._sharers is not None and self._control.running:
            self._sharers.serve(seconds or 0.0)
            seconds = 0.0
        try:
            return self._take(self._control.wait(seconds))
        except TargetTimeout:
            return None

    def _give_turns(self) -> None:
        for party in tuple(self._parties):
            party.turn()

    def _look(self) -> StopEvent | None:
        """Stop the guest for those that have to look at it; return a stop that is another's."""
        looking = [p.interval for p in self._parties if p.looks and p.interval is not None]
        if not looking or time.monotonic() - self._heard < min(looking):
            return None
        event = self._take(self._control.interrupt())
        if event.reason != "interrupt":
            return event
        self.resume()
        return None


class _Reverse:
    """Running backwards, of which the owner of the stops is told."""

    def __init__(self, reverse: Reverse, stops: Stops) -> None:
        self._reverse = reverse
        self._stops = stops

    def step_back(self) -> StopEvent:
        """Go back one instruction."""
        return self._stops.stopped_back(self._reverse.step_back())

    def resume_back(self) -> None:
        """Run backwards to a breakpoint, or to where the recording began."""
        self._reverse.resume_back()
        self._stops.runs_back(self.resume_back)

    def back_to_write(self, address: int, size: int) -> StopEvent:
        """Run backwards to the last write to a linear address, or to the beginning."""
        return self._stops.stopped_back(self._reverse.back_to_write(address, size))


def owning(target: Target) -> tuple[Target, Stops | None]:
    """Give a target's stops one owner, and return it: the one that it has already, if any.

    None for a target that cannot run.
    """
    if target.control is None or isinstance(target.control, Stops):
        return target, target.control
    stops = Stops(target.control, target.registers)
    reverse = _Reverse(target.reverse, stops) if target.reverse else None
    return replace(target, control=stops, reverse=reverse), stops

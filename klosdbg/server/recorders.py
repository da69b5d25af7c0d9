"""Recorders that run under the clients: told of each stop, and given turns while the guest runs."""

import time
from collections.abc import Iterable

from klosdbg.commands.recording import stop_tracer
from klosdbg.ports import RunControl, StopEvent
from klosdbg.session import Session


def recorded_at(sessions: Iterable[Session], event: StopEvent) -> int | None:
    """Tell the recorders of a stop; return its linear address where one of them wanted it.

    A recorder that has enough ends.
    """
    place = None
    for session in sessions:
        if session.tracer is not None:
            if session.tracer.handle(event):
                place = session.tracer.place
            if session.tracer.full:
                stop_tracer(session, "limit")
    return place


def patience(sessions: Iterable[Session], longest: float) -> float:
    """Say how soon one of them wants its turn while the guest runs, in seconds."""
    intervals = (s.tracer.interval for s in sessions if s.tracer is not None)
    return min((i for i in intervals if i is not None), default=longest)


class Turns:
    """Turns of the recorders of a running guest: to build events, and to look at its tables."""

    def __init__(self) -> None:
        self._looked = 0.0

    def take(self, control: RunControl, sessions: Iterable[Session]) -> None:
        """Give each its turn; one that looks at tables stops the guest for that moment."""
        recording = [(s, s.tracer) for s in sessions if s.tracer is not None]
        for _, tracer in recording:
            tracer.poll()
        looking = [s for s, tracer in recording if tracer.stopping and tracer.interval]
        if not looking or time.monotonic() - self._looked < patience(looking, 0.0):
            return
        event = control.interrupt()
        if event.reason == "interrupt":
            recorded_at(looking, event)
            control.resume()
        self._looked = time.monotonic()

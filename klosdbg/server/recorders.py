"""Recorders that run under the clients: told of each stop, and given turns while the guest runs."""

import math
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial

from klosdbg.errors import KlosdbgError, TargetLost
from klosdbg.ports import RunControl, StopEvent
from klosdbg.running.events import stop_tracer
from klosdbg.session import Session


def recorded_at(sessions: Iterable[Session], event: StopEvent) -> int | None:
    """Tell the recorders of a stop; return its linear address where one of them wanted it.

    A recorder that has enough ends, and so does one that fails: the clients cannot mend it.
    """
    place = None
    for session in sessions:
        tracer = session.tracer
        if tracer is not None and _try(session, partial(tracer.handle, event)):
            place = tracer.place
        if session.tracer is not None and session.tracer.full:
            stop_tracer(session, "limit")
    return place


def patience(sessions: Iterable[Session], longest: float) -> float:
    """Say how soon one of them wants its turn while the guest runs, in seconds."""
    intervals = (s.tracer.interval for s in sessions if s.tracer is not None)
    return min((i for i in intervals if i is not None), default=longest)


class Turns:
    """Turns of the recorders of a running guest: to build events, and to look at its tables."""

    def __init__(self) -> None:
        self._looked = -math.inf

    def take(self, control: RunControl, sessions: Iterable[Session]) -> None:
        """Give each its turn; one that looks at tables stops the guest for that moment."""
        recording = [session for session in sessions if session.tracer is not None]
        for session in recording:
            if session.tracer is not None:
                _try(session, session.tracer.poll)
        looking = [s for s in recording if s.tracer and s.tracer.stopping and s.tracer.interval]
        if not looking or time.monotonic() - self._looked < patience(looking, 0.0):
            return
        event = control.interrupt()
        if event.reason == "interrupt":
            recorded_at(looking, event)
            control.resume()
        self._looked = time.monotonic()


def _try(session: Session, turn: Callable[[], bool | None]) -> bool:
    try:
        return bool(turn())
    except TargetLost:
        raise
    except KlosdbgError as error:
        with suppress(KlosdbgError):
            stop_tracer(session, "stop")
        session.warn(f"the recording ended: {error}")
        return False

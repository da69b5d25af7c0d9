"""Recorders that run under the clients: one that has enough, or fails, is no client's matter."""

from collections.abc import Callable
from contextlib import suppress

from klosdbg.errors import KlosdbgError, TargetLost
from klosdbg.running.events import stop_tracer
from klosdbg.session import Session
from klosdbg.stops import Claim, NewStop


class Sharing:
    """A session of several that share a target, as a party to its stops.

    While none of its commands waits for the guest, its recorder ends by itself where it has enough,
    and where it fails: the others cannot mend it.
    """

    def __init__(self, session: Session, is_waiting: Callable[[], bool]) -> None:
        self._session = session
        self._is_waiting = is_waiting

    @property
    def interval(self) -> float | None:
        """How soon the recorder wants its turn while the guest runs, in seconds; None: never."""
        return self._session.interval

    @property
    def looks(self) -> bool:
        """Tell whether the recorder has to look at the stopped guest now and then."""
        return self._session.looks

    @property
    def has_enough(self) -> bool:
        """Tell whether a command of its waits for nothing more."""
        return self._is_waiting() and self._session.has_enough

    def claim(self, stop: NewStop) -> Claim:
        """Take a stop, and say whose it is."""
        session = self._session
        if self._is_waiting():
            return session.claim(stop)
        recorded = self._guarded(lambda: session.record(stop))
        if session.has_enough:
            stop_tracer(session, "limit")
        return session.claim_of_others(stop, recorded)

    def turn(self) -> None:
        """Let the recorder build events while the guest runs."""
        if self._is_waiting():
            self._session.turn()
            return
        self._guarded(self._session.turn)
        if self._session.has_enough:
            stop_tracer(self._session, "limit")

    def _guarded(self, act: Callable[[], bool | None]) -> bool:
        try:
            return bool(act())
        except TargetLost:
            raise
        except KlosdbgError as error:
            with suppress(KlosdbgError):
                stop_tracer(self._session, "stop")
            self._session.warn(f"the recording ended: {error}")
            return False

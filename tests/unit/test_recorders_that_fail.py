"""Recorders under the server's clients, where one fails or has enough."""

from typing import Any

import pytest
from klosdbg.errors import CommandError, TargetLost
from klosdbg.ports import StopEvent
from klosdbg.server.recorders import Sharing
from klosdbg.session import Session
from klosdbg.stops import NewStop
from tests.unit.klos.frozen import Registers, cpu

_STOP = StopEvent("breakpoint", 5)


class Tracer:
    """Wants every stop, or fails with an error."""

    stopping = True
    place = 0x1000

    def __init__(
        self, error: Exception | None = None, full: bool = False, interval: float | None = None
    ) -> None:
        self.full = full
        self.interval = interval
        self.ended: list[str] = []
        self._error = error

    def handle(self, _event: StopEvent) -> bool:
        return self._act()

    def poll(self) -> None:
        self._act()

    def stop(self, end: str, _tell: object) -> None:
        self.ended.append(end)

    def _act(self) -> bool:
        if self._error:
            raise self._error
        return True


def shared(tracer: Any, waiting: bool = False) -> tuple[Session, Sharing, list[str]]:
    said: list[str] = []
    session = Session()
    session.warn = said.append
    session.tracer = tracer
    tracer.stopping = tracer.interval is not None
    return session, Sharing(session, lambda: waiting), said


def new_stop() -> NewStop:
    return NewStop(_STOP, Registers(cpu()))


def test_one_that_fails_ends_and_is_nobodys_matter() -> None:
    session, party, said = shared(Tracer(CommandError("its stack cannot be read")))
    assert party.claim(new_stop()) is None
    assert said == ["the recording ended: its stack cannot be read"]
    assert session.tracer is None
    session, party, said = shared(Tracer(CommandError("once more")))
    party.turn()
    assert (session.tracer, said) == (None, ["the recording ended: once more"])


def test_one_that_a_command_waits_for_fails_the_command() -> None:
    _, party, said = shared(Tracer(CommandError("its stack cannot be read")), waiting=True)
    with pytest.raises(CommandError):
        party.claim(new_stop())
    with pytest.raises(CommandError):
        party.turn()
    assert said == []


def test_a_lost_target_is_everybodys() -> None:
    _, party, _ = shared(Tracer(TargetLost("gone")))
    with pytest.raises(TargetLost):
        party.claim(new_stop())


def test_one_that_has_enough_ends_and_the_guest_runs_on() -> None:
    for act, claimed in ((lambda p: p.claim(new_stop()), "passes"), (lambda p: p.turn(), None)):
        tracer = Tracer(full=True)
        session, party, _ = shared(tracer)
        assert not party.has_enough
        assert act(party) == claimed
        assert (session.tracer, tracer.ended) == (None, ["limit"])


def test_one_that_a_command_waits_for_stays_where_it_has_enough() -> None:
    session, party, _ = shared(Tracer(full=True), waiting=True)
    assert party.has_enough
    assert party.claim(new_stop()) == "stays"
    assert session.tracer is not None


def test_where_it_stopped_need_not_be_read() -> None:
    _, party, _ = shared(Tracer())
    stop = new_stop()
    assert party.claim(stop) == "passes"
    assert stop.linear == Tracer.place

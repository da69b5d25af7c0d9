"""Recorders under the server's clients, where one fails or has enough."""

from typing import Any

import pytest
from klosdbg.errors import CommandError, TargetLost
from klosdbg.ports import StopEvent
from klosdbg.server.recorders import Turns, patience, recorded_at
from klosdbg.session import Session

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


class Control:
    """Runs, and stops when it is told to."""

    running = True

    def __init__(self) -> None:
        self.done: list[str] = []

    def interrupt(self) -> StopEvent:
        self.done.append("interrupt")
        return StopEvent("interrupt", 2)

    def resume(self) -> None:
        self.done.append("resume")


def session(tracer: Any) -> tuple[Session, list[str]]:
    said: list[str] = []
    made = Session()
    made.warn = said.append
    made.tracer = tracer
    tracer.stopping = tracer.interval is not None
    return made, said


def test_one_that_fails_ends_and_the_others_go_on() -> None:
    bad, said = session(Tracer(CommandError("its stack cannot be read")))
    good, silent = session(Tracer())
    assert recorded_at([bad, good], _STOP) == 0x1000
    assert said == ["the recording ended: its stack cannot be read"]
    assert bad.tracer is None
    assert good.tracer is not None
    assert silent == []
    bad.tracer = Tracer(CommandError("once more"))  # type: ignore[assignment]
    bad.tracer.stopping = False  # type: ignore[misc]
    Turns().take(Control(), [bad, good])  # type: ignore[arg-type]
    assert said[1:] == ["the recording ended: once more"]


def test_a_lost_target_is_everybodys() -> None:
    lost, _ = session(Tracer(TargetLost("gone")))
    with pytest.raises(TargetLost):
        recorded_at([lost], _STOP)


def test_one_that_has_enough_ends() -> None:
    tracer = Tracer(full=True)
    full, _ = session(tracer)
    assert recorded_at([full], _STOP) == 0x1000
    assert (full.tracer, tracer.ended) == (None, ["limit"])


def test_one_that_looks_at_tables_stops_the_guest_now_and_then() -> None:
    looking, _ = session(Tracer(interval=60.0))
    control, turns = Control(), Turns()
    assert patience([looking], 1.0) == 60.0
    assert patience([], 1.0) == 1.0
    for _ in range(3):
        turns.take(control, [looking])  # type: ignore[arg-type]
    assert control.done == ["interrupt", "resume"]

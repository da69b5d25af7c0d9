"""Ctrl-C in the middle of a recorder's work: what the guest has told is told once, and whole."""

import signal
from types import MethodType

import pytest
from klosdbg.errors import TargetLost
from klosdbg.events.event import Event, Place
from klosdbg.events.filters import EventFilter
from klosdbg.recording.tracer import Tracer
from tests.unit.test_event_model import ENTRIES, Facts, Memory, happen, ring_of

MIDDLE = ENTRIES // 2


class Building(Facts):
    """Ctrl-C comes while an event is built."""

    built = 0

    def source(self, *frame: object) -> Place:
        self.built += 1
        if self.built == MIDDLE:
            signal.raise_signal(signal.SIGINT)
        return super().source(*frame)


@pytest.mark.parametrize("facts", [Facts, Building], ids=["kept", "built"])
def test_ctrl_c_loses_no_event(facts: type[Facts]) -> None:
    memory = Memory({})
    source = ring_of(memory)
    source.start = MethodType(lambda _: None, source)  # type: ignore[method-assign]
    source._facts = facts(memory)  # type: ignore[assignment]
    numbers: list[int] = []

    def keep(event: Event) -> None:
        if facts is Facts and event.seq == MIDDLE:
            signal.raise_signal(signal.SIGINT)
        numbers.append(event.seq)

    tracer = Tracer(source, EventFilter(), None, keep)
    happen(memory, *range(1, ENTRIES + 1), newest=ENTRIES)
    with pytest.raises(KeyboardInterrupt):
        tracer.poll()
    assert numbers == [*range(1, MIDDLE + 1)]
    tracer.stop()
    assert numbers == [*range(1, ENTRIES + 1)]
    assert (tracer.state().kept, tracer.state().lost) == (ENTRIES, 0)


def test_what_was_copied_outlives_the_guest(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory({})
    source = ring_of(memory)
    happen(memory, *range(1, ENTRIES + 1), newest=ENTRIES)
    assert next(source.poll()).seq == 1
    monkeypatch.setattr(memory, "read", gone)
    assert [event.seq for event in source.stop()] == [*range(2, ENTRIES + 1)]


def gone(*_where: object) -> bytes:
    raise TargetLost("QEMU ended")


def test_a_second_ctrl_c_leaves_out_what_is_to_come() -> None:
    memory = Memory({})
    source = ring_of(memory)
    source.start = MethodType(lambda _: None, source)  # type: ignore[method-assign]
    source._facts = Building(memory)  # type: ignore[assignment]
    tracer = Tracer(source, EventFilter(), None, lambda _: None)
    happen(memory, *range(1, ENTRIES + 1), newest=ENTRIES)
    recorded = tracer.stop("interrupt")
    assert (recorded.kept, recorded.lost, recorded.left_out) == (MIDDLE, 0, ENTRIES - MIDDLE)
    assert recorded.end == "interrupt"

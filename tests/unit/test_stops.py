"""Who a stop belongs to: each is told once, to everybody, and the guest runs on where it may."""

from dataclasses import dataclass, field, replace

import pytest
from klosdbg.errors import CommandError, TargetTimeout
from klosdbg.ports import Reverse, StopEvent, Target
from klosdbg.stops import Claim, NewStop, Stops, owning
from tests.unit.klos.frozen import Registers, cpu, target

_FOUND = StopEvent("interrupt", 2)


@dataclass
class Guest:
    """Run control of a guest that stops once a resume, until it has no more stops."""

    stops: list[StopEvent]
    last: StopEvent = _FOUND
    running: bool = False
    done: list[str] = field(default_factory=list)

    def resume(self) -> None:
        self.running = True
        self.done.append("resume")

    def wait(self, timeout: float | None) -> StopEvent:
        if self.running and not self.stops:
            raise TargetTimeout(f"the guest still runs after {timeout} s")
        if self.running:
            self.running, self.last = False, self.stops.pop(0)
        return self.last

    def interrupt(self) -> StopEvent:
        if self.running:
            self.running, self.last = False, StopEvent("interrupt", 2)
            self.done.append("interrupt")
        return self.last

    def step(self) -> StopEvent:
        self.last = StopEvent("step", 5)
        return self.last

    def insert(self, address: int) -> None:
        raise AssertionError

    remove = insert

    def reset(self) -> StopEvent:
        return self.last


@dataclass
class Party:
    """Says the same of each breakpoint, and notes what it was told."""

    says: Claim
    told: list[StopEvent] = field(default_factory=list)
    interval: float | None = None
    looks: bool = False
    has_enough: bool = False
    turns: int = 0
    failure: Exception | None = None

    def claim(self, stop: NewStop) -> Claim:
        self.told.append(stop.event)
        if self.failure is not None:
            raise self.failure
        return self.says if stop.event.reason == "breakpoint" else None

    def turn(self) -> None:
        self.turns += 1


def hits(count: int) -> list[StopEvent]:
    return [StopEvent("breakpoint", 5) for _ in range(count)]


def owner(guest: Guest, *parties: Party) -> Stops:
    stops = Stops(guest, Registers(cpu()))
    for party in parties:
        stops.join(party)
    return stops


def test_each_stop_is_told_once_to_everybody() -> None:
    """However often it is asked for: after Ctrl-C the last stop is looked at once more."""
    first, second = Party("stays"), Party(None)
    stops = owner(Guest(hits(2)), first, second)
    stops.resume()
    event = stops.wait(None)
    assert [stops.wait(0), stops.interrupt(), stops.poll(), stops.take_stop()] == [event] * 4
    assert stops.take_stop() is None
    assert first.told == second.told == [event]
    stops.resume()
    assert stops.wait(None) is not event
    assert len(first.told) == len(second.told) == 2
    assert stops.step().reason == "step"
    assert [each.reason for each in second.told] == ["breakpoint", "breakpoint", "step"]


@pytest.mark.parametrize(
    ("claims", "stays"),
    [
        ((), True),
        ((None, None), True),
        (("passes", None), False),
        ((None, "passes"), False),
        (("passes", "stays"), True),
        (("stays", "passes"), True),
    ],
)
def test_a_stop_stays_where_one_wants_it_or_nobody_knows_it(
    claims: tuple[Claim, ...], stays: bool
) -> None:
    guest = Guest([*hits(1), StopEvent("shutdown", 3)])
    stops = owner(guest, *map(Party, claims))
    stops.resume()
    assert stops.wait(None).reason == ("breakpoint" if stays else "shutdown")
    assert guest.done == ["resume"] * (1 if stays else 2)


def test_who_polls_lets_it_run_on_as_well() -> None:
    guest = Guest(hits(2))
    stops = owner(guest, Party("passes"))
    stops.resume()
    guest.wait(None)
    assert stops.poll() is None
    assert guest.running
    assert stops.moved


def test_a_recorders_own_stop_is_told_as_the_interrupt_that_met_it() -> None:
    """Who has asked for the stop is not left with a breakpoint that is nobody's."""
    guest = Guest(hits(1))
    stops = owner(guest, Party("passes"))
    stops.resume()
    guest.wait(None)
    assert stops.interrupt() == StopEvent("interrupt", 2)
    assert stops.poll() == stops.wait(0) == StopEvent("interrupt", 2)
    assert guest.done == ["resume"]


def test_a_stop_asked_for_while_one_was_looked_at_is_not_lost() -> None:
    """As 0x03 that comes while a false condition is being evaluated."""

    class Others:
        interrupted = True

        def serve(self, _seconds: float) -> None:
            raise AssertionError

    guest = Guest(hits(1))
    stops = owner(guest, Party("passes"))
    stops.resume()
    guest.wait(None)
    with stops.serving(Others()):
        assert stops.poll() == StopEvent("interrupt", 2)
    assert not guest.running


def test_one_that_fails_keeps_the_others_from_nothing() -> None:
    bad, good = Party(None, failure=CommandError("its stack cannot be read")), Party("passes")
    stops = owner(Guest(hits(1)), bad, good)
    stops.resume()
    with pytest.raises(CommandError):
        stops.wait(None)
    assert len(good.told) == 1
    assert stops.wait(None).reason == "breakpoint"


def test_the_guest_is_stopped_now_and_then_for_one_that_looks_at_it() -> None:
    party = Party(None, interval=0.001, looks=True)
    guest = Guest([])
    stops = owner(guest, party)
    stops.resume()
    with pytest.raises(TargetTimeout):
        stops.wait(0.05)
    assert guest.running
    assert party.turns
    assert {event.reason for event in party.told} == {"interrupt"}
    assert guest.done[:4] == ["resume", "interrupt", "resume", "interrupt"]
    assert stops.patience(1.0) == 0.001


def test_a_wait_ends_where_a_recorder_has_enough() -> None:
    """The guest runs on for who records it as it runs, and stops for who waits for a stop."""
    guest = Guest([])
    stops = owner(guest, Party(None, interval=0.001, has_enough=True))
    stops.resume()
    assert stops.next_stop(None) is None
    assert guest.running
    assert stops.wait(None).reason == "interrupt"


def test_one_that_has_left_is_told_nothing() -> None:
    party = Party("passes")
    stops = owner(Guest(hits(1)), party)
    stops.leave(party)
    stops.resume()
    stops.wait(None)
    assert party.told == []


def test_a_run_backwards_goes_on_backwards() -> None:
    class Back:
        count = 0

        def step_back(self) -> StopEvent:
            return StopEvent("step", 5)

        def resume_back(self) -> None:
            self.count += 1
            guest.running = True

        def back_to_write(self, _address: int, _size: int) -> StopEvent:
            return StopEvent("watchpoint", 5)

    guest, back, party = Guest([*hits(2), StopEvent("beginning of recording", 5)]), Back(), None
    wrapped, stops = owning(target_of(guest, back))
    assert stops is not None
    assert wrapped.reverse is not None
    party = Party("passes")
    stops.join(party)
    wrapped.reverse.resume_back()
    assert stops.wait(None).reason == "beginning of recording"
    assert (back.count, guest.done) == (3, [])
    assert wrapped.reverse.step_back().reason == "step"
    assert wrapped.reverse.back_to_write(0, 4).reason == "watchpoint"
    assert len(party.told) == 5


def target_of(guest: Guest, back: Reverse) -> Target:
    return replace(target(), control=guest, reverse=back)


def test_a_target_has_one_owner() -> None:
    first, stops = owning(target_of(Guest([]), None))  # type: ignore[arg-type]
    assert owning(first) == (first, stops)
    recording = replace(target(), control=None)
    assert owning(recording) == (recording, None)

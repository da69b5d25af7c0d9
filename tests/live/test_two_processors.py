"""Two processors that both run: whose stop it was, and that none is lost or made up."""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing

import pytest
from klosdbg.ports import RunControl, StopEvent, Target
from klosdbg.targets.qemu import QemuOptions, start_qemu
from tests.live.patience import PATIENCE, until
from tests.live.tiny import image, needs_qemu, symbols

pytestmark = [pytest.mark.qemu, needs_qemu]

LOOPS = ("first", "second")
COUNTERS = ("firsts", "seconds")
ROUNDS = 300


@pytest.fixture
def target() -> Iterator[Target]:
    """Both are in their loops, and processor 1 is at the beginning of its own."""
    options = QemuOptions(image=image("smp"), headless=True, extra_args=("-smp", "2"))
    with closing(start_qemu(options)) as started:
        assert run_to(started, "second") == StopEvent("breakpoint", 5, processor=1)
        yield started


def control(target: Target) -> RunControl:
    assert target.control is not None
    return target.control


def at(name: str) -> int:
    return symbols("smp")[name]


def value(target: Target, name: str) -> int:
    return int.from_bytes(target.linear.read(at(name), 4), "little")


def set_mode(target: Target, mode: int) -> None:
    assert target.linear_writer is not None
    target.linear_writer.write(at("mode"), mode.to_bytes(4, "little"))


def resume(target: Target) -> StopEvent:
    control(target).resume()
    return control(target).wait(PATIENCE)


def run_to(target: Target, name: str) -> StopEvent:
    control(target).insert(at(name))
    event = resume(target)
    control(target).remove(at(name))
    assert target.registers.read().linear_pc == at(name)
    return event


def places(target: Target) -> tuple[int, list[int]]:
    """Give the processor that stopped, and where each stands."""
    assert target.processors is not None
    stopped, cpus = target.processors()
    return stopped, [cpu.linear_pc for cpu in cpus]


def test_each_round_of_each_processor_is_one_stop_of_its_own(target: Target) -> None:
    for name in LOOPS:
        control(target).insert(at(name))
    before = [value(target, name) for name in COUNTERS]
    told: Counter[int | None] = Counter()
    for _ in range(ROUNDS):
        event = resume(target)
        assert event.reason == "breakpoint"
        assert event.processor in (0, 1)
        assert target.registers.read().linear_pc == at(LOOPS[event.processor])
        assert places(target)[0] == event.processor
        told[event.processor] += 1
    told[1] += 1  # by the fixture
    for number, name in enumerate(COUNTERS):
        done = value(target, name) - before[number]
        assert told[number] - done in (0, 1), "it may stand before its next round"


def test_a_step_is_that_of_the_processor_that_stopped(target: Target) -> None:
    for name in LOOPS:
        control(target).insert(at(name))
    for _ in range(ROUNDS):
        stopped, before = places(target)
        assert control(target).step() == StopEvent("step", 5, processor=stopped)
        now, after = places(target)
        assert now == stopped
        assert after[stopped] != before[stopped]
        assert after[1 - stopped] == before[1 - stopped]


def test_a_step_that_waits_for_the_other_processor_ends_where_it_leads(target: Target) -> None:
    """Also where the interrupt is on its way already, whenever it comes."""
    set_mode(target, 1)
    for _ in range(ROUNDS // 10):
        run_to(target, "waiting")
        assert control(target).step() == StopEvent("step", 5, processor=1)
        assert target.registers.read().linear_pc == at("called")


def test_what_stops_the_other_one_meanwhile_is_no_step(target: Target) -> None:
    """Nor is the step, which the wait ends later, a stop that nobody asked for."""
    set_mode(target, 2)
    run_to(target, "waiting")
    control(target).insert(at("first"))
    for _ in range(3):
        assert resume(target) == StopEvent("breakpoint", 5, processor=0)
        assert target.registers.read().linear_pc == at("first")
    control(target).remove(at("first"))
    control(target).insert(at("second"))
    set_mode(target, 1)
    for _ in range(3):
        assert resume(target) == StopEvent("breakpoint", 5, processor=1)
        assert target.registers.read().linear_pc == at("second")
    assert value(target, "calls") > 0


def test_the_step_of_a_processor_that_waits_may_end_at_the_other_ones_breakpoint(
    target: Target,
) -> None:
    set_mode(target, 2)
    control(target).insert(at("first"))
    control(target).insert(at("waiting"))
    until(lambda: resume(target).processor == 1)
    assert target.registers.read().linear_pc == at("waiting")
    assert control(target).step() == StopEvent("breakpoint", 5, processor=0)
    assert control(target).wait(0) == StopEvent("breakpoint", 5, processor=0)
    assert target.registers.read().linear_pc == at("first")
    control(target).remove(at("first"))
    control(target).remove(at("waiting"))
    set_mode(target, 1)
    control(target).insert(at("second"))
    assert resume(target) == StopEvent("breakpoint", 5, processor=1)
    assert target.registers.read().linear_pc == at("second")


def test_a_reset_stands_at_the_first_processor(target: Target) -> None:
    assert control(target).reset() == StopEvent("interrupt", 2, processor=0)
    assert places(target)[0] == 0
    assert target.registers.read().linear_pc == 0xFFFFFFF0
    assert control(target).step() == StopEvent("step", 5, processor=0)
    assert run_to(target, "second") == StopEvent("breakpoint", 5, processor=1)

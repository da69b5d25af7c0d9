"""Events that are hardware tasks, on a guest of which nothing is known (guests/task.S)."""

from collections.abc import Iterator

import pytest
from klosdbg.errors import CommandError
from klosdbg.events.event import Event
from tests.live.driver import Driver, assert_fits, driving
from tests.live.tiny import image, needs_qemu

pytestmark = [pytest.mark.qemu, needs_qemu]
TASK, SMALL, SHARED, FAULT = 0x20, 0x21, 0x22, 13
BASE, BAD_SELECTOR = 0x100000, 0x1230


@pytest.fixture
def driver() -> Iterator[Driver]:
    with driving(image("task")) as found:
        found.line("until loop")
        yield found


def count(driver: Driver, name: str) -> int:
    return int.from_bytes(driver.session.target.linear.read(driver.address(name), 2), "little")


def behind(driver: Driver, event: Event) -> int:
    """Where the guest stands at an event: behind each ``int``, and at the instruction that fails.

    The task's own ``int`` is in two places: where it began, and where it goes on.
    """
    loop, task = driver.address("loop"), driver.address("task")
    first = event.seq == 2
    places = {TASK: loop + 2, SHARED: loop + 4, FAULT: driver.address("bad")}
    return places.get(event.vector, task + 8 if first else task + 17)


def test_each_switch_is_an_event_and_comes_back(driver: Driver) -> None:
    """A task begins behind its iret from the second time on."""
    driver.line("events record -n 12")
    events = driver.session.events
    assert [event.vector for event in events] == [TASK, SMALL, SHARED, FAULT] * 3
    assert [event.seq for event in events] == list(range(1, 13))
    assert [event.depth for event in events] == [1, 2, 1, 1] * 3
    assert [event.shared_stub for event in events] == [False, True, True, False] * 3
    starts = {TASK: "task", SMALL: "small", SHARED: "small", FAULT: "fault"}
    for event in events:
        place, fault = behind(driver, event), event.vector == FAULT
        assert (event.source.linear, event.source.cs, event.source.cpl) == (place, 0x08, 0)
        assert event.error_code == (BAD_SELECTOR if fault else None)
        assert event.resumed is not None
        assert event.resumed.place.linear == place + (2 if fault else 0)
        assert event.resumed.changed == fault
        assert event.stub == driver.address(starts[event.vector])
        assert event.back is not None
        assert event.back.kind == "iret"
        assert driver.session.target.linear.read(event.back.address, 1) == b"\xcf"
    assert [event.process for event in events] == [
        "task 0x18",
        "task 0x20",
        "task 0x18",
        "task 0x18",
    ] * 3
    assert all(event.resumed and event.resumed.tid == event.tid for event in events)
    assert (count(driver, "task_count"), count(driver, "small_count")) == (3, 6)
    assert_fits(driver.line("events show --tree"))


def test_the_stack_that_a_task_begins_with(driver: Driver) -> None:
    """Of 16 bits, whatever the task that was left had in the upper half of ESP."""
    driver.line("events record -n 4")
    by_vector = {event.vector: event.out for event in driver.session.events}
    stack = driver.address("small_count") + 4 + 1024
    small, fault, task = (by_vector[vector] for vector in (SMALL, FAULT, TASK))
    assert small is not None
    assert fault is not None
    assert task is not None
    assert (small.ss, small.esp, small.cs) == (0x38, stack - BASE - 512, 0x30)
    assert (fault.ss, fault.esp) == (0x38, stack - BASE - 768)
    assert (task.ss, task.esp, task.instruction) == (0x10, stack - 256, "task switch")


@pytest.mark.parametrize("vector", [TASK, SMALL, SHARED, FAULT])
def test_only_the_task_that_is_wanted(driver: Driver, vector: int) -> None:
    driver.line(f"events record -n 3 -v {vector}")
    assert [event.vector for event in driver.session.events] == [vector] * 3


def test_a_recording_that_begins_inside_a_task(driver: Driver) -> None:
    """Its end is where it begins the next time."""
    driver.line("until task_in")
    driver.line(f"events record -n 3 -v {TASK}")
    assert [event.complete for event in driver.session.events] == [True] * 3


def test_a_vector_without_a_gate(driver: Driver) -> None:
    for line in ("b event 0x30", "b event 8"):
        with pytest.raises(CommandError, match="no gate that is present"):
            driver.line(line)
    with pytest.raises(CommandError, match="none of these vectors has a gate"):
        driver.line("events record -n 1 -v 0x30")


def test_a_stop_at_a_task(driver: Driver) -> None:
    """The event that begins is what the TSS that was left tells."""
    driver.line(f"b event {FAULT} if error_code == 0x9999")
    driver.line(f"b event {FAULT} if process == 'task 0x20'")
    told = f"error_code == {BAD_SELECTOR} and source.symbol == 'bad' and process == 'task 0x18'"
    driver.line(f"b event {FAULT} if {told}")
    stop = driver.models("c")
    assert (stop["linear"], stop["breakpoint"]) == (driver.address("fault"), 3)

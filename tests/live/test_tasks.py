"""Interrupts that are hardware tasks, on a guest of which nothing is known (guests/task.S)."""

from collections.abc import Iterator

import pytest
from klosdbg.errors import CommandError
from tests.live.driver import Driver, assert_fits, driving
from tests.live.tiny import image, needs_qemu

pytestmark = [pytest.mark.qemu, needs_qemu]
TASK, SMALL = 0x20, 0x21


@pytest.fixture
def driver() -> Iterator[Driver]:
    with driving(image("task")) as found:
        found.line("until loop")
        yield found


def count(driver: Driver, name: str) -> int:
    return int.from_bytes(driver.session.target.linear.read(driver.address(name), 2), "little")


def test_each_switch_is_an_event_and_comes_back(driver: Driver) -> None:
    """A task begins behind its iret from the second time on."""
    driver.line("events record -n 8")
    events = driver.session.events
    assert [event.vector for event in events] == [TASK, SMALL] * 4
    assert [event.seq for event in events] == list(range(1, 9))
    loop = driver.address("loop")
    for event in events:
        small = event.vector == SMALL
        start = driver.address("small" if small else "task")
        behind = loop + (4 if small else 2)
        assert (event.source.linear, event.source.cs, event.source.cpl) == (behind, 0x08, 0)
        assert event.resumed is not None
        assert (event.resumed.place.linear, event.resumed.changed) == (behind, False)
        assert (event.stub, event.error_code, event.depth) == (start, None, 1)
        assert event.out is not None
        assert (event.out.instruction, event.out.cs) == ("task switch", 0x30 if small else 0x08)
        assert event.back is not None
        assert event.back.kind == "iret"
        code = driver.session.target.linear.read(event.back.address, 1)
        assert code == b"\xcf"
    assert (count(driver, "task_count"), count(driver, "small_count")) == (4, 4)
    assert_fits(driver.line("events show --tree"))


def test_only_the_task_that_is_wanted(driver: Driver) -> None:
    driver.line("events record -n 3 -v 0x21")
    assert [event.vector for event in driver.session.events] == [SMALL] * 3


def test_a_vector_without_a_gate(driver: Driver) -> None:
    for line in ("b event 0x30", "b event 8"):
        with pytest.raises(CommandError, match="no gate that is present"):
            driver.line(line)


def test_a_stop_at_a_task(driver: Driver) -> None:
    """The event that begins is what the TSS that was left tells."""
    loop = driver.address("loop")
    driver.line(f"b event 0x21 if source.linear == {loop + 4} and out.cs == 0x30")
    driver.line(f"b event 0x20 if source.linear != {loop + 2}")
    stop = driver.models("c")
    assert (stop["linear"], stop["breakpoint"]) == (driver.address("small"), 1)

"""A processor that is halted with interrupts off: whoever looks at it is told so."""

import io
import json
from collections.abc import Iterator

import pytest
from klosdbg.errors import CommandError
from tests.live.driver import Driver, assert_fits, driving
from tests.live.tiny import image, needs_qemu

pytestmark = [pytest.mark.qemu, needs_qemu]
CLI_HLT = b"\xfa\xf4"
WORDS = "halted with interrupts off"


@pytest.fixture
def driver() -> Iterator[Driver]:
    """Stand where ``cli`` and ``hlt`` come next."""
    with driving(image("tiny")) as found:
        found.line("until loop")
        writer = found.session.target.linear_writer
        assert writer is not None
        writer.write(found.address("loop"), CLI_HLT)
        yield found


def test_a_step_says_so(driver: Driver) -> None:
    assert WORDS not in driver.line("s")
    shown = driver.line("s")
    assert f"  {WORDS}: only an NMI or a reset wakes it" in shown
    assert_fits(shown)
    again = driver.models("s")
    assert (again["halted"], again["symbol"]) == (True, "loop+0x2")


def test_many_steps_end_there(driver: Driver) -> None:
    assert driver.models("s 100")["halted"]
    assert driver.models("n 100")["halted"]
    assert driver.models("finish")["halted"]


def test_a_run_that_cannot_end_says_so(driver: Driver) -> None:
    driver.session.timeout = 0.5
    with pytest.raises(CommandError, match=rf"it stood at 0008:[0-9a-f]+ <loop\+0x2>, {WORDS}"):
        driver.line("c")


def test_silicon_judges_nothing_that_is_not_executed(driver: Driver) -> None:
    for judged in (2, 0):
        with pytest.raises(CommandError, match=WORDS):
            driver.line("silicon -n 100 --json")
        assert isinstance(driver.out, io.StringIO)
        report = json.loads(driver.out.getvalue())
        assert (report["end"], report["instructions"], report["refused"]) == ("halted", judged, [])


def test_one_that_an_interrupt_wakes_is_not_told_of(driver: Driver) -> None:
    writer = driver.session.target.linear_writer
    assert writer is not None
    writer.write(driver.address("loop"), b"\x90\xf4")
    assert driver.models("s 2")["halted"] is False

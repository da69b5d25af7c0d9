"""Steps where a processor waits: what ends the wait happens, and the system goes on."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from klosdbg.read import read_cpu
from tests.live.driver import KLOS, Driver, driving, needs_klos
from tests.live.tiny import needs_qemu

pytestmark = [pytest.mark.qemu, needs_qemu, needs_klos]
HLT = "core_idle+0x6"


@pytest.fixture
def driver() -> Iterator[Driver]:
    with driving(KLOS, append="seed=7") as found:
        found.line("until klos_ready")
        yield found


def alive(driver: Driver) -> bool:
    return bool(driver.models("mailbox ping 5")["result"] == 5)


def until_it_waits(driver: Driver) -> None:
    """Stop it while it idles: the next instruction is the one after hlt."""
    for _ in range(100):
        driver.line("c &")
        time.sleep(0.03)
        driver.line("interrupt")
        if read_cpu(driver.session.target).hlt:
            return
    raise AssertionError


def is_timer(stop: dict[str, Any]) -> bool:
    return (stop["symbol"], stop["reason"]) == ("Event32_Ring0Stub", "step")


def test_a_step_over_hlt_ends_at_the_stub(driver: Driver) -> None:
    driver.line("until core_idle")
    assert driver.models("s 2")["symbol"] == HLT
    assert is_timer(driver.models("s"))
    assert alive(driver)


@pytest.mark.parametrize("command", ["s", "n"])
def test_a_step_of_a_waiting_processor_ends_at_the_stub(driver: Driver, command: str) -> None:
    until_it_waits(driver)
    assert is_timer(driver.models(command))
    assert driver.models("s")["symbol"].startswith("Event32_Ring0Stub")
    assert alive(driver)


def test_a_breakpoint_at_hlt_is_passed(driver: Driver) -> None:
    driver.line(f"b {HLT}")
    assert driver.models("c")["symbol"] == HLT
    assert driver.models("c")["symbol"] == HLT
    driver.line("del 1")
    assert alive(driver)


def test_other_steps_keep_interrupts_away(driver: Driver) -> None:
    """Timers stand still while instructions that wait for nothing are executed one by one."""
    ticks = driver.models("klos")["tick_count"]
    driver.line("s 200")
    assert not read_cpu(driver.session.target).hlt
    assert driver.models("klos")["tick_count"] == ticks

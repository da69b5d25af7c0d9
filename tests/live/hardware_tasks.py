"""The guest whose tasks hardware switches (guests/tasks.S), and what QEMU itself says of it."""

import re
from dataclasses import dataclass

from tests.live.driver import Driver

MAIN, USER, FAR, SMALL, CALLEE, SHORT = range(0x18, 0x48, 8)
FAR_BASE = 0x40000000
LDTS = {USER: 0x48, FAR: 0x50, SMALL: 0x58}

_SEGMENT = re.compile(r"^([A-Z]{2,3}) *= *([0-9a-f]{4}) ([0-9a-f]{8}) ([0-9a-f]{8})", re.M)
_REGISTER = re.compile(r"\b(E[A-Z]{2}|EFL|CR[0-4]) *= *([0-9a-f]{8})")


@dataclass(frozen=True)
class Shown:
    """What ``info registers`` shows: general registers, and selector and base of segments."""

    registers: dict[str, int]
    segments: dict[str, tuple[int, int]]


def shown_by_qemu(driver: Driver) -> Shown:
    """Ask QEMU's monitor, and read it without klosdbg's parser."""
    monitor = driver.session.target.monitor
    assert monitor is not None
    text = monitor.command("info registers")
    registers = {name.lower(): int(value, 16) for name, value in _REGISTER.findall(text)}
    segments = {m[0]: (int(m[1], 16), int(m[2], 16)) for m in _SEGMENT.findall(text)}
    return Shown(registers, segments)


def run_to(driver: Driver, task: int) -> None:
    """Let the guest run until a task begins its round."""
    names = {MAIN: "main_on", USER: "user", FAR: "far", SMALL: "small", CALLEE: "callee"}
    address = driver.address(names[task]) + (FAR_BASE if task == FAR else 0)
    driver.line(f"until {address:#x}")

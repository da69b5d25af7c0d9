"""What counts as a stop after a reset: firmware that finds itself in RAM makes one of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, repeat

import pytest
from klosdbg.errors import TargetError, TargetLost
from klosdbg.ports import RunControl, StopEvent
from klosdbg.targets.rsp import greet
from klosdbg.targets.rsp_link import RspLink
from klosdbg.wire.rsp import encode
from tests.wire.fake_stub import REGISTERS, FakeStub, command, printed

SHUT_DOWN, BREAKPOINT = encode(b"T03thread:01;"), encode(b"T05thread:01;")
IN_FIRMWARE = REGISTERS.replace("CS =0008 00100000", "CS =f000 000f0000")


class Machine:
    """Notes how often it is reset; each run of it ends at its next stop.

    The stops are a stop reply and the registers there.
    """

    def __init__(self, stops: tuple[tuple[bytes, str], ...], lost_after: int) -> None:
        self.resets = 0
        self._replies = iter([reply for reply, _ in stops])
        self._registers = iter([registers for _, registers in stops])
        self._lost_after = lost_after
        self._now = IN_FIRMWARE

    def reset(self) -> None:
        self.resets += 1
        self._now = IN_FIRMWARE
        if self.resets > self._lost_after:
            raise TargetLost("no QMP")

    def run(self, _request: bytes) -> list[bytes]:
        self._now = next(self._registers)
        return [next(self._replies)]

    def registers(self, _request: bytes) -> list[bytes]:
        return printed(self._now)

    def general(self, _request: bytes) -> list[bytes]:
        return [encode(b"%08x00000000" % self.resets)]


@contextmanager
def after_a_reset(
    *stops: tuple[bytes, str], lost_after: int = 9
) -> Iterator[tuple[RunControl, Machine]]:
    machine = Machine(stops, lost_after)
    states = chain(["(shutdown)", "(shutdown)"], repeat("(prelaunch)"))
    stub = FakeStub(
        {
            command("info status"): lambda _: printed(f"VM status: paused {next(states)}\n"),
            command("info registers"): machine.registers,
            b"g": machine.general,
            command("system_reset"): printed(""),
            b"c": machine.run,
            b"s": machine.run,
        }
    )
    try:
        control = greet(RspLink(stub.client, "stub"), resets=machine).control
        control.reset()
        assert machine.resets == 1
        yield control, machine
    finally:
        stub.close()


def test_the_reset_that_firmware_makes_is_no_stop() -> None:
    with after_a_reset((SHUT_DOWN, IN_FIRMWARE), (BREAKPOINT, REGISTERS)) as (control, machine):
        control.resume()
        assert control.wait(20).reason == "breakpoint"
        assert machine.resets == 2


def test_it_is_none_for_who_asks_whether_the_guest_runs() -> None:
    with after_a_reset((SHUT_DOWN, IN_FIRMWARE), (BREAKPOINT, REGISTERS)) as (control, machine):
        control.resume()
        while control.running:
            assert machine.resets <= 2
        assert control.wait(0).reason == "breakpoint"


def test_firmware_makes_one() -> None:
    """One that makes more is in trouble."""
    with after_a_reset(*[(SHUT_DOWN, IN_FIRMWARE)] * 2) as (control, machine):
        control.resume()
        assert control.wait(20) == StopEvent("shutdown", 3)
        assert machine.resets == 2
        with pytest.raises(TargetError, match="has shut down"):
            control.resume()


def test_a_triple_fault_of_the_guest_is_its_own() -> None:
    with after_a_reset((SHUT_DOWN, REGISTERS)) as (control, machine):
        control.resume()
        assert control.wait(20).reason == "shutdown"
        assert machine.resets == 1


def test_a_guest_that_has_run_shuts_down_in_firmware() -> None:
    """It asked the firmware to."""
    stops = ((BREAKPOINT, IN_FIRMWARE), (BREAKPOINT, REGISTERS), (SHUT_DOWN, IN_FIRMWARE))
    with after_a_reset(*stops) as (control, machine):
        reasons = []
        for _ in stops:
            control.resume()
            reasons.append(control.wait(20).reason)
        assert reasons == ["breakpoint", "breakpoint", "shutdown"]
        assert machine.resets == 1


def test_a_step_into_the_reset_of_firmware_ends_at_the_first_instruction() -> None:
    with after_a_reset((SHUT_DOWN, IN_FIRMWARE), (BREAKPOINT, REGISTERS)) as (control, machine):
        assert control.step().reason == "step"
        assert machine.resets == 2
        control.resume()
        assert control.wait(20).reason == "breakpoint"


def test_a_lost_qmp_is_told() -> None:
    with after_a_reset((SHUT_DOWN, IN_FIRMWARE), lost_after=1) as (control, _):
        control.resume()
        with pytest.raises(TargetLost, match="no QMP"):
            control.wait(20)
        assert control.wait(0).reason == "shutdown"

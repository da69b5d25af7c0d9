"""A step that takes longer than the patience for one."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from klosdbg.ports import StopEvent
from klosdbg.targets import rsp_control
from klosdbg.targets.rsp import RspPorts, greet
from klosdbg.targets.rsp_link import RspLink
from klosdbg.wire.rsp import encode
from tests.wire.fake_stub import REGISTERS, FakeStub, command, printed

HALTED = REGISTERS.replace("HLT=0", "HLT=1").replace("EFL=00000002", "EFL=00000202")
LINEAR_PC = 0x101000


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rsp_control, "_STEP_PATIENCE", 0.05)


@contextmanager
def late(registers: str, *, executed: bool) -> Iterator[tuple[FakeStub, RspPorts]]:
    """A stub whose first step ends at an interrupt only, before or after its instruction."""
    general = b"00000000"

    def step(_request: bytes) -> list[bytes]:
        nonlocal general
        again = stub.requests.count(b"s") > 1
        general = b"00000001" if again or executed else general
        return [encode(b"T05thread:01;")] if again else []

    def interrupted(_request: bytes) -> list[bytes]:
        # The next step is answered, which may take longer than the patience that is tested.
        rsp_control._STEP_PATIENCE = 20.0
        return [encode(b"T02thread:01;")]

    answers = {
        b"s": step,
        b"\x03": interrupted,
        b"g": lambda _: [encode(general + b"00000000")],
        command("info registers"): printed(registers),
    }
    stub = FakeStub(answers)
    try:
        yield stub, greet(RspLink(stub.client, "stub"))
    finally:
        stub.close()


@pytest.mark.parametrize(("executed", "steps"), [(True, 1), (False, 2)])
def test_a_busy_host_only_delays_it(executed: bool, steps: int) -> None:
    with late(REGISTERS, executed=executed) as (stub, ports):
        assert ports.control.step() == StopEvent("step", 5)
        assert ports.control.wait(0) == StopEvent("step", 5)
        assert stub.requests.count(b"s") == steps


def test_a_resume_goes_on_behind_it() -> None:
    with late(REGISTERS, executed=False) as (stub, ports):
        ports.control.insert(LINEAR_PC)
        ports.control.resume()
        assert ports.control.running
        assert stub.requests.count(b"s") == 2


def test_a_processor_that_halts_is_interrupted() -> None:
    with late(HALTED, executed=True) as (stub, ports):
        assert ports.control.step() == StopEvent("interrupt", 2)
        assert stub.requests.count(b"s") == 1

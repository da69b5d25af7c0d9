"""When the client sleeps, which cannot be seen on the wire."""

import select
import signal
import time
from collections.abc import Iterator

import pytest
from klosdbg.errors import TargetTimeout
from klosdbg.targets import rsp_link
from klosdbg.targets.rsp import greet
from klosdbg.targets.rsp_link import RspLink
from klosdbg.wire.rsp import encode
from tests.wire.fake_stub import FakeStub

_STOP = encode(b"T05thread:01;")


@pytest.fixture
def stub() -> Iterator[FakeStub]:
    found = FakeStub({b"m": [encode(b"00")]})
    yield found
    found.close()


def later(_request: bytes) -> list[bytes]:
    time.sleep(0.01)
    return [encode(b"00")]


class Poll:
    """Notes how long each look may take."""

    def __init__(self, poll: select.poll) -> None:
        self.waits: list[float | None] = []
        self._poll = poll

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        self.waits.append(timeout)
        return self._poll.poll(timeout)


def test_waiting_for_a_stop_that_does_not_come_sleeps(stub: FakeStub) -> None:
    ports = greet(RspLink(stub.client, "stub"))
    for _ in range(3):
        ports.target.linear.read(0, 1)
    ports.control.resume()
    before = time.thread_time()
    with pytest.raises(TargetTimeout):
        ports.control.wait(0.4)
    assert time.thread_time() - before < 0.1


@pytest.mark.parametrize("several", [True, False])
def test_what_comes_soon_is_waited_for_awake(
    monkeypatch: pytest.MonkeyPatch, several: bool
) -> None:
    """Unless there is one processor alone, on which the stub would have to wait."""
    monkeypatch.setattr(rsp_link, "_AWAKE", 5.0)
    monkeypatch.setattr(rsp_link, "_SEVERAL_CPUS", several)
    stub = FakeStub({b"m": later})
    ports = greet(RspLink(stub.client, "stub"))
    ports.target.linear.read(0, 1)
    ports.stub.link._poll = poll = Poll(ports.stub.link._poll)  # type: ignore[assignment]
    for _ in range(5):
        ports.target.linear.read(0, 1)
    assert (set(poll.waits) == {0}) == several
    stub.close()


def test_ctrl_c_after_a_line_editor(stub: FakeStub) -> None:
    """It has a handler of its own while exchanges are made, and puts back the one that it found."""
    ports = greet(RspLink(stub.client, "stub"))
    found = signal.getsignal(signal.SIGINT)
    pressed: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _frame: pressed.append(number))
    ports.target.linear.read(0, 1)
    signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, found)
    assert pressed == [signal.SIGINT]
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)

"""The client against a stub that misbehaves."""

import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping

import pytest
from klosdbg.errors import (
    MemoryFault,
    ProtocolError,
    TargetError,
    TargetLost,
    TargetRunning,
    TargetTimeout,
)
from klosdbg.ports import StopEvent
from klosdbg.targets import rsp_control, rsp_link, rsp_stub
from klosdbg.targets.rsp import RspPorts, greet
from klosdbg.targets.rsp_link import RspLink
from klosdbg.wire.rsp import encode
from tests.wire.fake_stub import Answer, FakeStub, command, printed

OK = encode(b"OK")
SLOW_LIBRARIES = {"qemu.qmp", "capstone", "prompt_toolkit"}
LINEAR_PC = 0x101000

Start = Callable[..., tuple[FakeStub, RspPorts]]


@pytest.fixture
def start() -> Iterator[Start]:
    stubs: list[FakeStub] = []

    def begin(answers: Mapping[bytes, Answer] | None = None, first: bytes = b"") -> object:
        stub = FakeStub(answers, first)
        stubs.append(stub)
        return stub, greet(RspLink(stub.client, "stub"))

    yield begin  # type: ignore[misc]
    for stub in stubs:
        stub.close()


@pytest.fixture
def lose_patience(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Shorten the limits from then on; what has to be answered before may take its time."""

    def shorten() -> None:
        monkeypatch.setattr(rsp_link, "REPLY_TIMEOUT", 0.2)
        monkeypatch.setattr(rsp_control, "REPLY_TIMEOUT", 0.2)

    return shorten


class Pressed:
    """Presses Ctrl-C a moment after the first wait has begun."""

    def __init__(self, poll: select.poll) -> None:
        self._poll = poll
        self._waits = False

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        if timeout != 0 and not self._waits:
            self._waits = True
            main = threading.main_thread().ident
            threading.Timer(0.1, signal.pthread_kill, [main, signal.SIGINT]).start()
        return self._poll.poll(timeout)


def lost(call: Callable[[], object], kind: type[TargetLost] = TargetLost) -> str:
    with pytest.raises(kind) as caught:
        call()
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_silence_at_connect_means_that_another_debugger_is_there(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rsp_stub, "CONNECT_TIMEOUT", 0.2)
    assert "in use by another debugger?" in lost(lambda: start({b"qSupported": []}))


def test_silence_later_is_told_as_such(start: Start, lose_patience: Callable[[], None]) -> None:
    _, ports = start({b"m": []})
    lose_patience()
    assert "did not answer in 0.2 s" in lost(lambda: ports.target.linear.read(0, 4))
    assert "did not answer" in lost(ports.registers.read), "and it stays lost"


def test_half_a_packet_is_silence(start: Start, lose_patience: Callable[[], None]) -> None:
    _, ports = start({b"m": [b"$0011"]})
    lose_patience()
    assert "did not answer" in lost(lambda: ports.target.linear.read(0, 4))


@pytest.mark.parametrize("noise", [b"SSH-2.0-OpenSSH_9.2p1\r\n", b"HTTP/1.1 400 Bad Request\r\n"])
def test_another_protocol_is_named_as_none_of_ours(start: Start, noise: bytes) -> None:
    assert "is it a GDB stub?" in lost(lambda: start(first=noise), ProtocolError)


def test_a_hang_up_in_mid_reply_is_a_lost_target(start: Start) -> None:
    _, ports = start({b"m": [b"$00", FakeStub.HANG_UP]})
    assert "closed the connection" in lost(lambda: ports.target.linear.read(0, 4))
    ports.target.close()


def test_the_owner_says_why_the_stub_went_away() -> None:
    stub = FakeStub({b"m": [FakeStub.HANG_UP]})
    ports = greet(RspLink(stub.client, "stub", lambda: TargetLost("QEMU ended (signal 6)")))
    assert "signal 6" in lost(lambda: ports.target.linear.read(0, 4))
    stub.close()


def test_a_storm_of_refusals_ends(start: Start) -> None:
    stub, ports = start({b"p": [b"-"]})
    assert "corrupt" in lost(lambda: ports.stub.ask(b"p0"), ProtocolError)
    assert stub.requests.count(b"p0") == 4


def test_a_refused_packet_is_sent_again(start: Start) -> None:
    answers = iter([[b"-"], [encode(b"01000000")]])
    _, ports = start({b"p": lambda _request: next(answers)})
    assert ports.stub.ask(b"p0") == b"01000000"


def test_corrupt_replies_end_as_well(start: Start) -> None:
    _, ports = start({b"p": [b"$01#00"] * 4})
    assert "checksum 00" in lost(lambda: ports.stub.ask(b"p0"), ProtocolError)


@pytest.mark.parametrize("reply", [b"hello", b"00112", b"0x11", b"1\n11"])
def test_memory_that_is_not_hexadecimal_is_garbage(start: Start, reply: bytes) -> None:
    _, ports = start({b"m": [encode(reply)]})
    assert "memory in hexadecimal" in lost(lambda: ports.target.linear.read(0, 4), ProtocolError)


@pytest.mark.parametrize("reply", [b"E14", b"E.not mapped", b"", b"0011"])
def test_memory_that_is_not_whole_is_a_fault(start: Start, reply: bytes) -> None:
    _, ports = start({b"m": [encode(reply)]})
    with pytest.raises(MemoryFault, match="4 bytes at linear 0x00001000"):
        ports.target.linear.read(0x1000, 4)


@pytest.mark.parametrize("reply", [b"\xff\xfe" * 4, b"nonsense", b"00", b"", b"E01"])
def test_a_register_that_is_not_hexadecimal_is_garbage(start: Start, reply: bytes) -> None:
    _, ports = start({b"p1": [encode(reply)]})
    writer = ports.target.register_writer
    assert writer is not None
    with pytest.raises(ProtocolError, match="the value of cs was due"):
        writer.write("cs", 8)


def test_more_replies_than_requests_are_garbage(start: Start) -> None:
    _, ports = start({b"m": [encode(b"00") * 2]})
    assert "one reply a request" in lost(lambda: ports.target.linear.read(0, 1), ProtocolError)


def test_addresses_wrap_at_four_gigabytes(start: Start) -> None:
    stub, ports = start({b"m": [encode(b"00" * 0x800)]})
    ports.target.linear.read(0x1_0000_0000 - 0x800, 0x1000)
    assert stub.requests[-2:] == [b"mfffff800,800", b"m0,800"]


def test_a_stop_that_comes_late_does_not_shift_replies(start: Start) -> None:
    _, ports = start({b"m": [encode(b"T02thread:01;"), encode(b"2a")]})
    assert ports.target.linear.read(0, 1) == b"\x2a"


def test_a_stop_at_connect_tells_that_the_guest_was_running(start: Start) -> None:
    stub, ports = start(first=encode(b"T02thread:01;"))
    assert ports.stub.was_running
    ports.target.close()
    assert stub.requests[-1] == b"D"


def test_no_stop_at_connect_means_to_leave_without_resuming(start: Start) -> None:
    stub, ports = start()
    ports.control.insert(0x1000)
    ports.control.resume()
    ports.target.close()
    assert b"D" not in stub.requests
    assert b"z0,1000,1" in stub.requests
    assert stub.requests[-1] == b"Qqemu.PhyMemMode:0"


def test_the_question_mark_is_never_sent(start: Start) -> None:
    stub, _ = start()
    assert b"?" not in stub.requests, "QEMU answers it by deleting breakpoints"


def test_what_was_sticky_is_put_back(start: Start) -> None:
    stub, ports = start({b"qqemu.PhyMemMode": [encode(b"1")], b"qqemu.sstep": [encode(b"0x1")]})
    assert b"Qqemu.sstep=7" in stub.requests
    ports.target.close()
    assert stub.requests[-2:] == [b"Qqemu.PhyMemMode:1", b"Qqemu.sstep=1"]


def test_the_address_space_is_switched_only_when_it_changes(start: Start) -> None:
    stub, ports = start({b"m": [encode(b"00")]})
    assert ports.target.physical is not None
    for memory in (ports.target.linear, ports.target.physical, ports.target.physical):
        memory.read(0, 1)
    ports.target.linear.read(0, 1)
    switches = [request for request in stub.requests if request.startswith(b"Qqemu.Phy")]
    assert switches == [b"Qqemu.PhyMemMode:1", b"Qqemu.PhyMemMode:0"]


def test_while_the_guest_runs_nothing_is_sent(start: Start) -> None:
    stub, ports = start()
    ports.control.resume()
    refused: tuple[Callable[[], object], ...] = (
        lambda: ports.target.linear.read(0, 1),
        lambda: ports.monitor.command("info status"),
        ports.registers.read,
    )
    for call in refused:
        with pytest.raises(TargetRunning):
            call()
    for call in (ports.control.resume, ports.control.step, lambda: ports.control.insert(0)):
        with pytest.raises(TargetError, match="interrupt it before"):
            call()
    assert ports.control.running
    ports.control.interrupt()
    assert stub.requests[-2:] == [b"c", b"\x03"]


def test_a_move_of_breakpoints_and_the_resume_are_one_write(start: Start) -> None:
    stub, ports = start({b"c": [encode(b"T05thread:01;")]})
    ports.control.insert(LINEAR_PC)
    ports.control.insert(LINEAR_PC)
    ports.control.resume()
    assert ports.control.wait(10) == StopEvent("breakpoint", 5)
    ports.control.remove(LINEAR_PC)
    ports.control.remove(LINEAR_PC)
    ports.control.insert(0x2000)
    before = len(stub.requests)
    ports.control.resume()
    ports.control.wait(10)
    assert stub.requests[before:] == [b"z0,101000,1", b"Z0,2000,1", b"c"]


def test_a_breakpoint_under_the_program_counter_is_stepped_off(start: Start) -> None:
    stub, ports = start()
    ports.control.insert(LINEAR_PC)
    ports.control.insert(LINEAR_PC)
    ports.control.remove(LINEAR_PC)
    ports.control.resume()
    assert ports.control.running
    assert stub.requests[-5:] == [b"g", b"s", b"g", b"Z0,101000,1", b"c"]
    assert ports.control.interrupt() == StopEvent("breakpoint", 5)


def test_leaving_the_breakpoint_that_just_stopped_it_asks_for_no_hidden_state(start: Start) -> None:
    """The quick registers before and after the step tell whether it began at all."""
    stub, ports = start({b"c": [encode(b"T05thread:01;")]})
    ports.control.insert(0x2000)
    ports.control.resume()
    ports.control.wait(10)
    before = len(stub.requests)
    ports.control.resume()
    ports.control.wait(10)
    *stepped, resumed = stub.requests[before:]
    assert set(stepped) == {b"g", b"s"}
    assert resumed == b"c"


def test_removing_what_was_not_set_is_an_error(start: Start) -> None:
    _, ports = start()
    with pytest.raises(TargetError, match="no breakpoint at 0x00001000"):
        ports.control.remove(0x1000)


def test_a_refused_breakpoint_stops_the_guest_and_is_named(start: Start) -> None:
    _, ports = start({b"Z0,2000": [encode(b"E22")]})
    ports.control.insert(0x2000)
    with pytest.raises(TargetError, match="refused the breakpoint at 0x00002000"):
        ports.control.resume()
    assert not ports.control.running
    ports.control.resume()
    assert ports.control.running


@pytest.mark.parametrize(
    ("reply", "event"),
    [
        (b"T05thread:01;", StopEvent("breakpoint", 5)),
        (b"T05thread:01;watch:00300010;", StopEvent("watchpoint", 5, 0x300010)),
        (b"T02thread:01;", StopEvent("interrupt", 2)),
        (b"T03thread:01;", StopEvent("shutdown", 3)),
        (b"T0bthread:01;", StopEvent("signal", 11)),
        (b"W01", StopEvent("shutdown", 1)),
    ],
)
def test_stops_have_reasons(start: Start, reply: bytes, event: StopEvent) -> None:
    _, ports = start({b"c": [encode(reply)]})
    ports.control.resume()
    assert ports.control.wait(10) == event
    assert ports.control.wait(0) == event


def test_a_guest_that_shut_down_is_not_resumed(start: Start) -> None:
    _, ports = start({command("info status"): printed("VM status: paused (shutdown)\n")})
    for call in (ports.control.resume, ports.control.step):
        with pytest.raises(TargetError, match="'reset' starts it again"):
            call()


def test_waiting_ends_at_the_time_limit(start: Start) -> None:
    stub, ports = start()
    ports.control.resume()
    with pytest.raises(TargetTimeout, match=r"0\.05 s"):
        ports.control.wait(0.05)
    stub.send(encode(b"T05thread:01;"))
    assert ports.control.wait(10).reason == "breakpoint"


def test_a_stop_is_noticed_without_waiting(start: Start) -> None:
    stub, ports = start({b"m": [encode(b"00")]})
    ports.control.resume()
    stub.send(encode(b"T05thread:01;"))
    assert not ports.control.running
    assert ports.target.linear.read(0, 1) == b"\0"
    assert ports.control.interrupt() == StopEvent("breakpoint", 5)


def test_a_guest_that_never_stops_is_lost(start: Start, lose_patience: Callable[[], None]) -> None:
    _, ports = start({b"\x03": []})
    ports.control.resume()
    lose_patience()
    assert "did not stop" in lost(ports.control.interrupt)


def test_ctrl_c_while_waiting_leaves_the_stream_whole(start: Start) -> None:
    _, ports = start({b"m": [encode(b"2a")]})
    ports.control.resume()
    ports.stub.link._poll = Pressed(ports.stub.link._poll)  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        ports.control.wait(20)
    assert ports.control.interrupt() == StopEvent("interrupt", 2)
    assert ports.target.linear.read(0, 1) == b"\x2a"


def test_ctrl_c_in_an_exchange_waits_for_its_end(start: Start) -> None:
    def slowly(_request: bytes) -> list[bytes]:
        signal.raise_signal(signal.SIGINT)
        time.sleep(0.05)
        return [encode(b"2a")]

    _, ports = start({b"m0": slowly, b"m1": [encode(b"2b")]})
    with pytest.raises(KeyboardInterrupt):
        ports.target.linear.read(0, 1)
    assert ports.target.linear.read(1, 1) == b"\x2b"


def test_output_without_end_is_cut(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rsp_link, "_MAX_OUTPUT", 100)
    _, ports = start({command("info chatter"): [encode(b"O41") * 1000]})
    assert "without end" in lost(lambda: ports.monitor.command("info chatter"), ProtocolError)


def test_a_stub_without_a_description_is_refused(start: Start) -> None:
    assert "target.xml" in lost(lambda: start({b"qSupported": [encode(b"")]}), ProtocolError)


def test_a_selector_is_loaded_again_though_it_is_the_same(start: Start) -> None:
    values = {b"p1": [encode(b"08000000")], b"P": [OK]}
    stub, ports = start(values)
    assert ports.target.register_writer is not None
    ports.target.register_writer.write("cs", 8)
    writes = [request for request in stub.requests if request.startswith(b"P")]
    assert writes == [b"P1=00000000", b"P1=08000000"]


def test_a_register_that_does_not_take_the_value_is_told(start: Start) -> None:
    _, ports = start({b"p1": [encode(b"08000000")], b"P": [OK]})
    writer = ports.target.register_writer
    assert writer is not None
    with pytest.raises(TargetError, match="did not take 0x1f0"):
        writer.write("cs", 0x1F0)
    with pytest.raises(TargetError, match="cannot write 'gdtr'; it knows eax, cs"):
        writer.write("gdtr", 0)
    with pytest.raises(TargetError, match="does not fit"):
        writer.write("eax", 1 << 32)


def test_targets_import_no_slow_library_before_they_need_it() -> None:
    script = "import sys, klosdbg.targets.qemu, klosdbg.targets.live; print(*sys.modules)"
    imported = subprocess.check_output([sys.executable, "-c", script], text=True)
    assert not SLOW_LIBRARIES & set(imported.split())

"""The client against QEMU's own stub, and QMP beside it."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from klosdbg.errors import MemoryFault, TargetError, TargetLost, TargetRunning, TargetTimeout
from klosdbg.ports import RunControl, StopEvent, Target
from klosdbg.targets.live import connect
from klosdbg.targets.qemu import QemuOptions, QemuProcess, start_qemu
from klosdbg.targets.qmp import Qmp
from klosdbg.targets.qmp_ports import Exchange, QmpMemory
from klosdbg.targets.rsp_link import REPLY_TIMEOUT, RspLink
from tests.live.driver import stub
from tests.live.patience import PATIENCE, until
from tests.live.test_qemu import wait_until_dead
from tests.live.tiny import await_counting, image, needs_qemu, set_mode, symbols, value

pytestmark = [pytest.mark.qemu, needs_qemu]

CODE_BASE = 0x100000
END_OF_PAGES = 0x400000


@pytest.fixture
def target() -> Iterator[Target]:
    started = start_qemu(QemuOptions(image=image(), headless=True))
    yield started
    started.close()


def control(target: Target) -> RunControl:
    assert target.control is not None
    return target.control


def run_to(target: Target, name: str) -> StopEvent:
    control(target).insert(symbols()[name])
    control(target).resume()
    event = control(target).wait(PATIENCE)
    control(target).remove(symbols()[name])
    assert target.registers.read().linear_pc == symbols()[name]
    return event


def test_it_starts_at_the_reset_vector(target: Target) -> None:
    cpu = target.registers.read()
    assert cpu.linear_pc == 0xFFFFFFF0
    assert cpu.eip == 0xFFF0


def test_breakpoints_make_progress_where_the_code_base_is_not_zero(target: Target) -> None:
    loop = symbols()["loop"]
    control(target).insert(loop)
    counts = []
    for _ in range(5):
        control(target).resume()
        assert control(target).wait(PATIENCE) == StopEvent("breakpoint", 5)
        cpu = target.registers.read()
        assert (cpu.linear_pc, cpu.eip) == (loop, loop - CODE_BASE)
        assert cpu.segments["cs"].base == CODE_BASE
        counts.append(value(target, "counter"))
    assert counts == [0, 1, 2, 3, 4]


def test_two_breakpoints_take_turns_without_a_step(target: Target) -> None:
    here, there = symbols()["loop"], symbols()["loop_end"]
    run_to(target, "loop")
    for _ in range(20):
        control(target).insert(there)
        control(target).resume()
        assert control(target).wait(PATIENCE).reason == "breakpoint"
        assert target.registers.read().linear_pc == there
        control(target).remove(there)
        here, there = there, here
    assert value(target, "counter") == 10


def test_a_removed_breakpoint_no_longer_stops(target: Target) -> None:
    run_to(target, "loop")
    control(target).resume()
    until(lambda: value(target, "counter") > 10)
    with pytest.raises(TargetTimeout):
        control(target).wait(0.1)
    assert control(target).interrupt().reason == "interrupt"


def test_steps_execute_one_instruction_each(target: Target) -> None:
    run_to(target, "loop")
    before = target.registers.read().linear_pc
    assert control(target).step() == StopEvent("step", 5)
    assert target.registers.read().linear_pc == before + 6
    control(target).step()
    assert target.registers.read().linear_pc == symbols()["loop_end"]


def test_a_step_at_a_halt_ends(target: Target) -> None:
    run_to(target, "loop")
    set_mode(target, 1)
    run_to(target, "halted")
    assert control(target).step().reason in ("step", "interrupt")


def test_memory_is_read_whole_or_not_at_all(target: Target) -> None:
    run_to(target, "loop")
    with pytest.raises(MemoryFault):
        target.linear.read(END_OF_PAGES - 2, 4)
    pieces = target.linear.read_many(
        [(END_OF_PAGES - 8, 8), (END_OF_PAGES, 8), (CODE_BASE, 10_000)]
    )
    assert pieces[0] == bytes(8)
    assert pieces[1] is None
    assert pieces[2] is not None
    assert len(pieces[2]) == 10_000
    assert pieces[2][:4] == bytes.fromhex("02b0ad1b")
    assert target.physical is not None
    assert target.physical.read(CODE_BASE, 10_000) == pieces[2]
    assert target.physical.read(END_OF_PAGES, 8) == bytes(8)
    assert target.linear.read(CODE_BASE, 0) == b""


def test_registers_are_read_again_after_each_resume_and_write(target: Target) -> None:
    run_to(target, "loop")
    first = target.registers.read()
    assert target.registers.read() is first
    assert target.register_writer is not None
    target.register_writer.write("eax", 0x12345678)
    assert target.registers.read().gpr["eax"] == 0x12345678
    target.register_writer.write("cs", 0x08)
    assert target.registers.read().segments["cs"].base == CODE_BASE
    with pytest.raises(TargetError, match="did not take"):
        target.register_writer.write("ds", 0x1000)


def test_a_written_selector_is_loaded_from_the_table_as_it_is_now(target: Target) -> None:
    run_to(target, "loop")
    assert target.linear_writer is not None
    assert target.register_writer is not None
    target.linear_writer.write(symbols()["gdt"] + 0x10 + 7, b"\x55")
    assert target.registers.read().segments["es"].base == 0
    target.register_writer.write("es", 0x10)
    assert target.registers.read().segments["es"].base == 0x55000000


def test_writing_beyond_the_pages_is_a_fault(target: Target) -> None:
    run_to(target, "loop")
    assert target.linear_writer is not None
    with pytest.raises(MemoryFault, match="cannot write"):
        target.linear_writer.write(END_OF_PAGES, b"x")
    data = bytes(range(256)) * 20
    target.linear_writer.write(0x200000, data)
    assert target.linear.read(0x200000, len(data)) == data


def test_a_running_guest_is_read_without_stopping_it(target: Target) -> None:
    run_to(target, "loop")
    code = target.linear.read(CODE_BASE, 0x100)
    control(target).resume()
    first = value(target, "counter")
    until(lambda: value(target, "counter") > first)
    assert target.linear.read(CODE_BASE, 0x100) == code
    assert target.physical is not None
    assert target.physical.read(CODE_BASE, 0x100) == code
    assert target.registers.read().segments["cs"].base == CODE_BASE
    assert target.monitor is not None
    assert "running" in target.monitor.command("info status")
    with pytest.raises(MemoryFault):
        target.linear.read(END_OF_PAGES - 2, 4)
    pages = [(END_OF_PAGES - 0x1000, 0x1000), (END_OF_PAGES, 0x1000), (CODE_BASE, 0x100)]
    assert target.linear.read_many(pages) == [bytes(0x1000), None, code]
    assert control(target).running
    before = value(target, "ticks")
    until(lambda: value(target, "ticks") > before)
    assert control(target).running


def test_memory_is_read_by_the_monitor_where_no_file_can_be_shared(target: Target) -> None:
    class Unshared(Exchange):
        def read(self, *_arguments: object) -> None:
            return None

    run_to(target, "loop")
    code = target.linear.read(CODE_BASE, 100)
    control(target).resume()
    qmp = target.monitor._running  # type: ignore[union-attr]
    memory = QmpMemory(qmp, Unshared(), "linear")
    assert memory.read(CODE_BASE, 100) == code
    with pytest.raises(MemoryFault):
        memory.read(END_OF_PAGES - 2, 4)
    assert QmpMemory(qmp, Unshared(), "physical").read(CODE_BASE, 100) == code


def test_a_breakpoint_is_told_though_an_interrupt_comes_with_it(target: Target) -> None:
    """There are as many stops as the handler ran times, however often they meet."""
    run_to(target, "loop")
    control(target).insert(symbols()["tick"])
    before, told = value(target, "ticks"), 0
    for _ in range(500):
        control(target).resume()
        try:
            event = control(target).wait(0.001)
        except TargetTimeout:
            event = control(target).interrupt()
        told += event.reason == "breakpoint"
    is_at = target.registers.read().linear_pc == symbols()["tick"]
    assert told == value(target, "ticks") - before + is_at


def test_an_interrupt_stops_and_a_second_one_does_no_harm(target: Target) -> None:
    run_to(target, "loop")
    control(target).resume()
    assert control(target).interrupt() == StopEvent("interrupt", 2)
    assert control(target).interrupt() == StopEvent("interrupt", 2)
    assert not control(target).running


def test_a_triple_fault_is_a_shut_down_and_a_reset_revives(target: Target) -> None:
    run_to(target, "loop")
    set_mode(target, 2)
    control(target).resume()
    assert control(target).wait(PATIENCE) == StopEvent("shutdown", 3)
    assert value(target, "counter") == 1
    with pytest.raises(TargetError, match="'reset' starts it again"):
        control(target).resume()
    control(target).reset()
    assert target.registers.read().linear_pc == 0xFFFFFFF0
    run_to(target, "loop")
    assert value(target, "counter") == 0
    set_mode(target, 2)
    control(target).resume()
    assert control(target).wait(PATIENCE).reason == "shutdown"


@dataclass(frozen=True, slots=True)
class Foreign:
    """A QEMU that somebody else started."""

    gdb: str
    qmp: str
    pid: int

    def status(self) -> str:
        with closing(Qmp(self.qmp)) as qmp:
            return qmp.status()

    def start(self) -> None:
        with closing(Qmp(self.qmp)) as qmp:
            qmp.execute("cont")
        self.await_counting()

    def await_counting(self) -> None:
        """Wait until its guest goes on: no breakpoint is left that stops it."""
        with closing(Qmp(self.qmp)) as qmp:
            await_counting(qmp)


@contextmanager
def started(*arguments: str) -> Iterator[Foreign]:
    with stub(*arguments, running=False) as where:
        yield Foreign(where["gdb"], where["qmp"], int(where["pid"]))


@pytest.fixture
def foreign() -> Iterator[Foreign]:
    with started() as qemu:
        yield qemu


def test_128_kib_take_few_round_trips(foreign: Foreign, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[bytes] = []
    send = RspLink._send

    def note(link: RspLink, data: bytes) -> None:
        sent.append(data)
        send(link, data)

    target = connect(foreign.gdb)
    run_to(target, "loop")
    monkeypatch.setattr(RspLink, "_send", note)
    assert len(target.linear.read(CODE_BASE, 0x20000)) == 0x20000
    assert len(sent) < 8
    assert b"".join(sent).count(b"$m") >= 64
    target.close()


@pytest.mark.parametrize("through_qmp", [False, True])
def test_attach_leaves_a_stopped_guest_stopped(foreign: Foreign, through_qmp: bool) -> None:
    target = connect(foreign.gdb, foreign.qmp if through_qmp else None)
    run_to(target, "loop")
    control(target).insert(symbols()["loop"])
    control(target).resume()
    target.close()
    assert foreign.status() in ("paused", "debug")
    foreign.start()


@pytest.mark.parametrize("through_qmp", [False, True])
def test_attach_leaves_a_running_guest_running(foreign: Foreign, through_qmp: bool) -> None:
    foreign.start()
    target = connect(foreign.gdb, foreign.qmp if through_qmp else None)
    control(target).insert(symbols()["loop"])
    control(target).resume()
    assert control(target).wait(PATIENCE).reason == "breakpoint"
    target.close()
    foreign.await_counting()


def test_attach_leaves_a_guest_paused_that_was_paused_by_hand(foreign: Foreign) -> None:
    foreign.start()
    with closing(Qmp(foreign.qmp)) as qmp:
        qmp.execute("stop")
    connect(foreign.gdb, foreign.qmp).close()
    assert foreign.status() == "paused"


def test_without_qmp_a_running_guest_is_not_read(foreign: Foreign) -> None:
    target = connect(foreign.gdb)
    control(target).resume()
    with pytest.raises(TargetRunning, match="--stop"):
        target.linear.read(0, 4)
    assert control(target).running
    target.close()


@pytest.mark.parametrize("through_qmp", [False, True])
def test_a_reset_leaves_the_machine_as_it_was_started(foreign: Foreign, through_qmp: bool) -> None:
    target = connect(foreign.gdb, foreign.qmp if through_qmp else None)
    run_to(target, "loop")
    control(target).reset()
    assert target.registers.read().linear_pc == 0xFFFFFFF0
    run_to(target, "loop")
    set_mode(target, 2)
    run_to(target, "_start")
    target.close()


def test_a_machine_that_shuts_down_is_not_reset_without_qmp() -> None:
    with started("-action", "reboot=shutdown,shutdown=pause") as foreign:
        target = connect(foreign.gdb)
        run_to(target, "loop")
        with pytest.raises(TargetError, match="attach with --qmp"):
            control(target).reset()
        target.close()


def test_a_second_client_is_told_soon(foreign: Foreign) -> None:
    first = connect(foreign.gdb)
    began = time.monotonic()
    with pytest.raises(TargetLost, match="in use by another debugger") as caught:
        connect(foreign.gdb)
    assert time.monotonic() - began < REPLY_TIMEOUT
    assert caught.value.exit_code == 3
    first.close()


def test_qemu_that_dies_in_the_middle_of_a_command(foreign: Foreign) -> None:
    target = connect(foreign.gdb, foreign.qmp)
    control(target).resume()
    os.kill(foreign.pid, signal.SIGKILL)
    with pytest.raises(TargetLost, match="closed the connection"):
        control(target).wait(PATIENCE)
    with pytest.raises(TargetLost):
        target.linear.read(0, 4)
    target.close()


def test_qemu_that_is_told_to_quit() -> None:
    process = QemuProcess(QemuOptions(image=image(), headless=True))
    target = process.attach()
    assert target.monitor is not None
    target.monitor.command("quit")
    assert wait_until_dead(process.pid)
    with pytest.raises(TargetLost, match=r"QEMU ended \(status 0\)"):
        target.registers.read()
    target.close()


def test_nobody_listens(short_path: Path, dead_port: int) -> None:
    says = f"connection refused; start QEMU with '-gdb tcp::{dead_port}'"
    with pytest.raises(TargetLost, match=says):
        connect(f"127.0.0.1:{dead_port}")
    stub, qmp = f"unix:{short_path}/stub", f"unix:{short_path}/qmp"
    with pytest.raises(TargetLost, match="no such file"):
        connect(stub)
    with pytest.raises(TargetLost, match=f"no QMP at {qmp}"):
        connect(stub, qmp)


def test_two_processors_are_told_apart() -> None:
    target = start_qemu(QemuOptions(image=image(), headless=True, extra_args=("-smp", "2")))
    run_to(target, "loop")
    assert target.registers.read().segments["cs"].base == CODE_BASE
    target.close()

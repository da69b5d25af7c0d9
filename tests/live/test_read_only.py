"""Reading never changes the guest, and attaching leaves it as it was found."""

import io
import json
import re
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from klosdbg.commands import collect
from klosdbg.commands.base import split
from klosdbg.errors import CommandError, KlosdbgError, TargetRunning
from klosdbg.frontend import find_command
from klosdbg.session import Session
from klosdbg.targets.live import connect
from klosdbg.targets.qmp import Qmp
from klosdbg.targets.rsp_control import RspControl
from tests.live.driver import (
    KLOS,
    Driver,
    assert_fits,
    driving,
    klosdbg,
    needs_klos,
    state_of,
    stub,
)
from tests.live.patience import PATIENCE, until
from tests.live.tiny import await_counting, image, needs_qemu, symbols

pytestmark = [pytest.mark.qemu, needs_qemu]

READING = [
    "regs", "sregs", "cr", "gdt", "gdt 1", "gdt --all", "idt", "idt 32", "ivt", "sel 8",
    "sel cs", "walk loop",
    "port 0x3f8", "port 0x70/2", "mem loop", "mem ds:0x100000 48 -w 4", "mem phys:0x100000 16",
    "dis", "dis loop 4", "dis tick --bits 16", "sym loop", "sym 0x100010", "info b", "help",
]  # fmt: skip
ON_KLOS = [
    "regs", "sregs", "cr", "gdt", "ldt", "idt", "ivt", "sel dsos", "sel cs", "tss", "iomap",
    "walk cs:eip", "tasks", "tss 0x28", "ldt --of 0x30",
    "port 0x3f8/2", "mem klos_info", "mem phys:0x1000", "dis", "sym klos_ready", "klos", "console",
    "ps", "threads", "services", "handlers", "frames", "dsos", "dsos audit", "dsos gadgets",
    "snap", "diff 1",
]  # fmt: skip
NEEDS_A_RECORDING = {"capture mark"}
REFUSED = [
    "mem 0x900000", "walk phys:0x1000", "gdt 8192", "sel nonsense", "ldt", "tss", "dis 0x900000",
    "sym 0",
]  # fmt: skip
MIB = 1 << 20


@pytest.fixture
def tiny() -> Iterator[Driver]:
    """The tiny guest, counting, 16 MiB of memory."""
    with driving(image(), "-m", "16") as driver:
        driver.line("until loop")
        yield driver


def test_the_tiny_guest_stays_as_it_is(tiny: Driver) -> None:
    """Registers and all of memory are the same after every reading command."""
    before = state_of(tiny.session, 16 * MIB)
    for line in READING:
        assert_fits(tiny.line(line))
        assert tiny.models(line)["schema"].startswith("klosdbg/")
        assert state_of(tiny.session, 16 * MIB) == before, line


def test_a_refused_command_changes_nothing(tiny: Driver) -> None:
    """Neither does one that fails half-way."""
    before = state_of(tiny.session, 16 * MIB)
    for line in REFUSED:
        with pytest.raises(KlosdbgError):
            tiny.line(line)
        assert state_of(tiny.session, 16 * MIB) == before, line


@needs_klos
@pytest.mark.xdist_group("klos")
def test_klos_stays_as_it_is() -> None:
    """The same on KLOS, which has an LDT, a TSS, an I/O bitmap, and structures of its own."""
    with driving(KLOS, "-m", "32", append="seed=7") as driver:
        driver.line("until klos_ready")
        before = state_of(driver.session, 32 * MIB)
        for line in ON_KLOS:
            assert_fits(driver.line(line))
            assert json.loads(driver.line(f"{line} --json"))["schema"].startswith("klosdbg/")
            assert state_of(driver.session, 32 * MIB) == before, line


def test_no_reading_command_is_left_out() -> None:
    """The lists above name every command that reads, but those that add to a recording."""
    reading = {c.name for c in collect().values() if c.reads} - NEEDS_A_RECORDING
    assert reading <= {find_command(split(line))[0].name for line in READING + ON_KLOS}


@contextmanager
def events(path: str) -> Iterator[list[str]]:
    """Collect the names of QEMU's events from a QMP socket of one's own; full at the end."""
    names: list[str] = []
    with closing(socket.socket(socket.AF_UNIX)) as connection:
        connection.connect(path)
        connection.settimeout(PATIENCE)
        connection.sendall(b'{"execute": "qmp_capabilities"}')
        received = receive(connection, b'"return"')
        yield names
        connection.sendall(b'{"execute": "query-name", "id": "last"}')
        received += receive(connection, b'"last"')
    names += re.findall(r'"event": "(\w+)"', received.decode())


def receive(connection: socket.socket, wanted: bytes) -> bytes:
    received = b""
    while wanted not in received:
        received += connection.recv(4096)
    return received


def test_reads_of_a_running_guest_do_not_stop_it(short_path: Path) -> None:
    """They go through QMP: QEMU tells of no stop while they last. With ``--stop`` it does."""
    own = short_path / "events"
    with driving(image(), "-qmp", f"unix:{own},server=on,wait=off") as driver:
        driver.line("until loop")
        driver.line("c &")
        until_qemu_runs_it(driver)
        with events(str(own)) as quiet:
            for line in READING:
                driver.line(line)
        assert quiet == []
        said: list[str] = []
        driver.session.warn = said.append
        with events(str(own)) as stopped:
            driver.line("regs --stop")
            until_qemu_runs_it(driver)
        assert stopped == ["STOP", "RESUME"]
        assert said == ["regs: stopped the guest, read, and resumed it"]
        assert driver.session.control.running


def until_qemu_runs_it(driver: Driver) -> None:
    """Wait for what was told to the stub, which answers no resume."""
    monitor = driver.session.target.monitor
    assert monitor is not None
    until(lambda: "running" in monitor.command("info status"))


def test_what_needs_a_stopped_guest_says_so(tiny: Driver) -> None:
    """And ``interrupt`` stops it once."""
    tiny.line("c &")
    for line in ("s", "n", "b loop", "set eax 1", "until loop", "finish"):
        with pytest.raises(KlosdbgError, match="running"):
            tiny.line(line)
    assert tiny.models("interrupt")["reason"] == "interrupt"
    with pytest.raises(CommandError, match="stopped already"):
        tiny.line("interrupt")


def test_stop_does_not_pass_over_a_breakpoint(
    tiny: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A guest that reaches one while it is about to be stopped stays there."""
    said: list[str] = []
    tiny.session.warn = said.append
    tiny.line("b tick")
    tiny.line("c")
    with monkeypatch.context() as just_before:
        just_before.setattr(RspControl, "running", True)
        tiny.line("regs --stop")
    assert said == ["regs: the guest had just stopped by itself"]
    assert not tiny.session.control.running
    assert tiny.models("regs")["symbol"] == "tick"


def test_without_qmp_a_running_guest_needs_stop() -> None:
    """The refusal names ``--stop``, for every command that reads the guest."""
    with stub(running=True) as place:
        driver = Driver(Session(timeout=PATIENCE), io.StringIO())
        driver.session.attach(connect(place["gdb"]))
        driver.line("c &")
        for line in ("regs", "gdt", "mem 0x100000", "sel cs", "dis", "port 0x80"):
            with pytest.raises(TargetRunning, match="--stop"):
                driver.line(line)
            assert driver.models(f"{line} --stop")["schema"]
        driver.session.detach()


@pytest.mark.parametrize("through_qmp", [True, False])
@pytest.mark.parametrize("running", [True, False])
def test_attach_leaves_the_guest_as_it_was(running: bool, through_qmp: bool) -> None:
    """One that ran runs on, one that was stopped stays so, and no breakpoint is left."""
    with stub(running=running) as place:
        if running:
            with closing(Qmp(place["qmp"])) as connection:
                await_counting(connection)
        qmp = ["--qmp", place["qmp"]] if through_qmp else []
        breakpoints = [f"b {symbols()[name]:#x}" for name in ("loop", "tick", "loop_end")]
        commands = [*breakpoints, "regs", *(["c", "s"] if running else [])]
        words = [word for command in commands for word in ("-c", command)]
        result = klosdbg("attach", place["gdb"], *qmp, *words)
        assert (result.code, result.err) == (0, "")
        with closing(Qmp(place["qmp"])) as connection:
            assert (connection.status() == "running") == running
            if running:
                await_counting(connection)


def test_what_attach_leaves_is_the_state_it_found() -> None:
    """A stopped guest has the same registers and memory after a session that only reads."""
    with stub("-m", "16", running=False) as place:
        states = []
        for _ in range(2):
            session = Session(timeout=PATIENCE)
            session.attach(connect(place["gdb"], place["qmp"]))
            states.append(state_of(session, 16 * MIB))
            for line in ("regs", "sregs", "ivt", "mem 0xffff0 16", "dis", "port 0x80"):
                Driver(session, io.StringIO()).line(line)
            session.detach()
        assert states[0] == states[1]

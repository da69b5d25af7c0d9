"""KLOS and the machine around it: keyboard, serial port, NMI, double fault, and gdb's backtrace."""

import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from tests.build import make
from tests.live.driver import listens
from tests.live.klos import GUEST, IMAGE, qemu
from tests.live.tiny import needs_qemu

PATIENCE = 300.0

pytestmark = [pytest.mark.qemu, needs_qemu]


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    make(GUEST)


class Machine:
    """A running KLOS with a monitor, a serial line and a log of its console."""

    def __init__(self, directory: Path) -> None:
        self.log = directory / "console"
        self.monitor = connected(directory / "monitor")
        self.serial = connected(directory / "serial")

    def close(self) -> None:
        self.monitor.close()
        self.serial.close()

    def order(self, command: str) -> None:
        self.monitor.sendall(command.encode() + b"\n")

    def wait_for(self, wanted: str) -> str:
        deadline = time.monotonic() + PATIENCE
        while wanted not in (text := self.log.read_text(errors="replace")):
            assert time.monotonic() < deadline, f"no {wanted!r} in {text!r}"
            time.sleep(0.05)
        return text


def connected(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(path))
    return connection


def unix(path: Path) -> str:
    return f"unix:{path},server=on,wait=off"


def running_at(directory: Path) -> bool:
    return all(listens(directory / name) for name in ("monitor", "serial"))


@contextmanager
def machine(directory: Path, append: str) -> Iterator[Machine]:
    sockets = ["-monitor", unix(directory / "monitor"), "-serial", unix(directory / "serial")]
    line = qemu(append, *sockets, "-debugcon", f"file:{directory / 'console'}")
    process = subprocess.Popen(line, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PATIENCE
        while not (running_at(directory) and (directory / "console").exists()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        with closing(Machine(directory)) as running:
            yield running
    finally:
        process.kill()
        process.wait()


def test_the_keyboard_reaches_an_application(tmp_path: Path) -> None:
    with machine(tmp_path, "run=run:keys") as klos:
        klos.wait_for("type a line")
        for key in ("k", "shift-l", "o", "s", "spc", "shift-1", "ret"):
            klos.order(f"sendkey {key}")
        assert 'keys: "kLos !"' in klos.wait_for('"\n')


def test_the_serial_port_reaches_an_application(tmp_path: Path) -> None:
    with machine(tmp_path, "run=run:listen") as klos:
        klos.wait_for("send a line")
        klos.serial.sendall(b"over the wire\n")
        assert 'listen: "over the wire"' in klos.wait_for('"\n')


def test_an_nmi_ends_in_a_panic_record(tmp_path: Path) -> None:
    with machine(tmp_path, "run=run:keys") as klos:
        klos.wait_for("type a line")
        klos.order("nmi")
        assert "panic in the event core: non-maskable interrupt" in klos.wait_for("panic")


def klosdbg(*commands: str) -> str:
    line = [sys.executable, "-m", "klosdbg", "run", "--headless"]
    for command in commands:
        line += ["-c", command]
    return subprocess.run(line, capture_output=True, text=True, timeout=600).stdout


def test_a_double_fault_ends_in_a_panic_record() -> None:
    """With no stack for ring 0 the next event cannot be delivered: #PF, then #DF by task gate."""
    spoil = "set 0xff800f9c 0xf8001000"
    shown = klosdbg("until klos_ready", spoil, "until core_halt", "console", "klos")
    assert "panic in the event core: double fault" in shown
    assert re.search(r"booted .*panic", shown)


def gdb(*commands: str) -> str:
    """Let gdb drive a KLOS that it starts itself, through a pipe."""
    start = " ".join(qemu("seed=7", "-serial", "none", "-S", "-icount", "shift=0", "-gdb", "stdio"))
    line = ["gdb", "-q", "-nx", "-batch", "-ex", f"target remote | exec {start}", str(IMAGE)]
    # A gdb that leaves waits for what is at the pipe's other end, and QEMU outlives a connection.
    for command in (*commands, "kill"):
        line += ["-ex", command]
    return subprocess.run(line, capture_output=True, text=True, timeout=600).stdout


@pytest.mark.parametrize(
    ("stop", "first"),
    [
        ("do_print", "do_print"),
        ("schedule", "schedule"),
        ("event_commit", "event_commit"),
        ("Event48_Ring0Stub", None),
        ("core_save", None),
        ("core_out", None),
        ("core_resume", None),
    ],
)
def test_gdb_walks_from_an_event_into_the_application(stop: str, first: str | None) -> None:
    """Through the stub, the far-call pair and the change of stacks, up to the thread's first."""
    to_pong = ("tbreak klos_ready", "continue", "tbreak app_pong", "continue")
    shown = gdb(*to_pong, f"break *{stop}", "continue", "bt", "info frame")
    walked = re.findall(r"^#\d+ +(?:0x[0-9a-f]+ in )?([a-z]\w*) \(", shown, re.MULTILINE)
    assert {"app_ping", "app_pong"} & set(walked), shown
    # Some gdbs show what is inlined at a function's first instruction as a frame of its own.
    inlined = re.search(r"inlined into frame (\d+)", shown)
    assert first is None or walked[int(inlined[1]) if inlined else 0] == first
    assert "<signal handler called>" in shown
    assert "corrupt stack" not in shown

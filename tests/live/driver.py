"""klosdbg as people run it: one process for each command line, or a front end in this process."""

import hashlib
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from klosdbg.frontend import Frontend
from klosdbg.session import Session
from klosdbg.targets.qemu import QemuOptions, start_qemu
from klosdbg.wire.symbols import Image, SymbolTable
from tests.live.patience import PATIENCE
from tests.live.tiny import QEMU, image

KLOS = Path(__file__).parents[2] / "guest" / "build" / "klos.elf"
needs_klos = pytest.mark.skipif(not KLOS.exists(), reason="KLOS is not built: run 'make guest'")
WIDTH = 80
PACED = ("-icount", "shift=5,align=on")
"""An instruction in 32 ns at most: whoever reads the ring keeps up on a host with other work."""
_LISTENING = "00010000"


@dataclass(frozen=True, slots=True)
class Result:
    """How a run of klosdbg ended, and what it printed."""

    code: int
    out: str
    err: str


def klosdbg(*words: str, stdin: str = "", cwd: Path | None = None) -> Result:
    """Run klosdbg to its end, without a terminal."""
    done = subprocess.run(
        [sys.executable, "-m", "klosdbg", *words],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE,
        cwd=cwd,
    )
    return Result(done.returncode, done.stdout, done.stderr)


@contextmanager
def launched(*words: str) -> Iterator[subprocess.Popen[str]]:
    """Run klosdbg, and do not wait for its end: who leaves the context kills it."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    command = [sys.executable, "-m", "klosdbg", *words]
    with subprocess.Popen(command, text=True, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def run_tiny(*commands: str, stdin: str = "", extra: tuple[str, ...] = ()) -> Result:
    """Run commands on the tiny guest, stopped at its entry point."""
    chosen = [word for command in commands for word in ("-c", command)]
    return klosdbg("run", "--headless", "--image", str(image()), *extra, *chosen, stdin=stdin)


class Driver(Frontend):
    """A front end that keeps what it prints."""

    def line(self, line: str) -> str:
        """Run a command line and return what it printed."""
        assert isinstance(self.out, io.StringIO)
        self.out.seek(0)
        self.out.truncate()
        self.run_line(line)
        return self.out.getvalue()

    def models(self, line: str) -> Any:
        """Run a command line and return its JSON document."""
        (document,) = map(json.loads, self.line(f"{line} --json").splitlines())
        return document

    def address(self, name: str) -> int:
        """Return the linear address of a symbol."""
        assert self.session.symbols is not None
        found = self.session.symbols.address(name)
        assert found is not None
        return found


@contextmanager
def driving(path: Path | None, *extra: str, append: str = "") -> Iterator[Driver]:
    """Start a guest under a front end of this process; ``warnings`` are kept in the session."""
    session = Session(timeout=PATIENCE)
    if path:
        session.symbols = SymbolTable((Image(path.read_bytes(), str(path)),))
    options = QemuOptions(image=path, append=append, headless=True, extra_args=extra)
    session.attach(start_qemu(options))
    try:
        yield Driver(session, io.StringIO())
    finally:
        session.detach()


@contextmanager
def stub(*extra: str, running: bool) -> Iterator[dict[str, str]]:
    """Run QEMU without klosdbg, with the tiny guest; yield the sockets of its stub and its QMP."""
    with tempfile.TemporaryDirectory() as directory:
        gdb, qmp = f"{directory}/gdb", f"{directory}/qmp"
        command = [QEMU, "-display", "none", "-kernel", str(image()), "-net", "none", *extra]
        command += ["-gdb", f"unix:path={gdb},server=on,wait=off"]
        command += ["-qmp", f"unix:{qmp},server=on,wait=off", *([] if running else ["-S"])]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        try:
            while not (listens(qmp) and listens(gdb)):
                assert process.poll() is None
                time.sleep(0.003)
            yield {"gdb": f"unix:{gdb}", "qmp": f"unix:{qmp}", "pid": str(process.pid)}
        finally:
            process.kill()
            process.wait()


def listens(path: object) -> bool:
    """Tell whether somebody listens there, without a connection, of which a stub takes only one."""
    rows = map(str.split, Path("/proc/net/unix").read_text().splitlines())
    return any(row[-1] == str(path) and row[3] == _LISTENING for row in rows)


def state_of(target_session: Session, size: int) -> tuple[str, str]:
    """Take the registers as text, and the hash of ``size`` bytes of physical memory."""
    monitor = target_session.target.monitor
    assert monitor is not None
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "memory"
        monitor.command(f'pmemsave 0 {size} "{path}"')
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return monitor.command("info registers"), digest


def assert_fits(text: str) -> None:
    """Check that no line is wider than a terminal of 80 columns."""
    assert [line for line in text.splitlines() if len(line) > WIDTH] == []

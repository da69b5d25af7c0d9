"""How the server ends, and what it leaves: QEMU's death, SIGTERM, and what gdb is told."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from klosdbg.targets.qmp import Qmp
from tests.live.driver import KLOS, needs_klos, stub
from tests.live.patience import PATIENCE
from tests.live.serving import Raw, gdb, serving
from tests.live.tiny import await_counting, needs_qemu, symbols

pytestmark = [pytest.mark.qemu, needs_qemu]
needs_gdb = pytest.mark.skipif(shutil.which("gdb") is None, reason="no gdb: apt install gdb")

LOOP = symbols()["loop"]


@contextmanager
def server(directory: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a server that a test ends in its own way."""
    path = f"{directory}/s"
    command = [sys.executable, "-m", "klosdbg", "serve", *words, "--listen", f"unix:{path}"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("listening at")
            yield process, path
        finally:
            process.kill()


@pytest.mark.parametrize("running", [False, True], ids=["stopped", "running"])
def test_an_idle_server_notices_the_end_of_qemu(short_path: Path, running: bool) -> None:
    """Though nobody asks it anything; who waits for a stop is told."""
    with (
        stub(running=False) as sockets,
        server(short_path, sockets["gdb"]) as (process, path),
    ):
        client = Raw(path)
        if running:
            client.send(b"vCont;c")
            assert client.ask(b"qC").startswith(b"QC")
        os.kill(int(sockets["pid"]), signal.SIGKILL)
        if running:
            assert client.receive() == b"X09"
        assert client.socket.recv(1) == b""
        errors = process.communicate(timeout=PATIENCE)[1]
        client.close()
    assert process.returncode == 3
    assert errors.splitlines()[-1].startswith("klosdbg: lost unix:")
    assert "Traceback" not in errors


@pytest.mark.parametrize("running", [False, True], ids=["stopped", "running"])
def test_sigterm_leaves_the_guest_as_it_was(short_path: Path, running: bool) -> None:
    """No breakpoint stays in the stub, and a guest that ran before runs again."""
    with stub(running=running) as sockets:
        with server(short_path, sockets["gdb"], "--qmp", sockets["qmp"]) as (process, path):
            client = Raw(path)
            client.ask(b"?")
            assert client.ask(b"Z0,%x,1" % LOOP) == b"OK"
            assert client.stop(b"vCont;c").startswith(b"T05")
            process.send_signal(signal.SIGTERM)
            errors = process.communicate(timeout=PATIENCE)[1]
            client.close()
        assert process.returncode == 0, errors
        assert "Traceback" not in errors
        assert not Path(path).exists()
        with closing(Qmp(sockets["qmp"])) as qmp:
            if not running:
                assert qmp.status() in ("paused", "debug")
                qmp.execute("cont")
            await_counting(qmp)


@needs_gdb
@needs_klos
def test_gdb_is_told_what_a_command_did_behind_its_back() -> None:
    with serving("run", "--headless", "--append", "seed=1", "-c", "until klos_ready") as path:
        said = gdb(path, "p $pc", "monitor klos s", "p $pc", "maint flush register-cache", "p $pc",
                   "monitor klos set eax 7", "maint flush register-cache", "p $eax",
                   "monitor klos regs", image=KLOS)  # fmt: skip
    assert said.count("klosdbg: gdb has not seen that: 'maint flush register-cache'") == 2
    first, stale, fresh = re.findall(r"^\$[123] = .* (<.*>)", said, re.MULTILINE)
    assert first == stale != fresh
    assert "$4 = 7\n" in said

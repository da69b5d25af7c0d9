"""A server that a script runs beside other things."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.live.driver import stub
from tests.live.patience import PATIENCE
from tests.live.serving import Raw
from tests.live.tiny import needs_qemu

pytestmark = [pytest.mark.qemu, needs_qemu]


def test_sigterm_ends_it_where_ctrl_c_is_ignored(short_path: Path) -> None:
    """As behind ``&`` in a script; Ctrl-C that is meant for gdb does not end it."""
    path = f"{short_path}/s"
    script = f"trap '' INT; exec {sys.executable} -m klosdbg serve {{}} --listen unix:{path}"
    with (
        stub(running=True) as sockets,
        subprocess.Popen(
            ["sh", "-c", script.format(sockets["gdb"])],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("listening at")
            client = Raw(path)
            process.send_signal(signal.SIGINT)
            assert client.ask(b"qC").startswith(b"QC")
            process.send_signal(signal.SIGTERM)
            assert client.socket.recv(1) == b""
            client.close()
            errors = process.communicate(timeout=PATIENCE)[1]
        finally:
            process.kill()
    assert (process.returncode, errors) == (0, "")

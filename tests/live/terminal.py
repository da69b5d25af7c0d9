"""klosdbg on a terminal of its own: what is typed, and what a person would read."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests.live.patience import PATIENCE

CTRL_C, CTRL_D, TAB, UP, ENTER = "\x03", "\x04", "\t", "\x1b[A", "\r"
_ESCAPE = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|\].*?\x07|[()=>][A-Z0-9]?)")


class Terminal:
    """A pseudo-terminal with a program on it. ``raw`` is everything that it wrote."""

    def __init__(self, master: int, process: subprocess.Popen[bytes]) -> None:
        self.raw = b""
        self.process = process
        self._master = master
        self._seen = 0

    @property
    def text(self) -> str:
        """What was written since the last match, without escape sequences."""
        return _ESCAPE.sub("", self.raw.decode("utf-8", "replace"))[self._seen :]

    def type(self, keys: str) -> None:
        """Press keys at the prompt."""
        self._wait_until(signals=False)
        os.write(self._master, keys.encode())

    def interrupt(self) -> None:
        """Press Ctrl-C while a command runs."""
        self._wait_until(signals=True)
        # The line editor gives the terminal back a moment before it gives the signal back, and the
        # guest runs a moment later.
        for process in (self.process.pid, *children(self.process.pid)):
            _let_live(process, 10)
        os.write(self._master, CTRL_C.encode())

    def _wait_until(self, signals: bool) -> None:
        """Wait until the terminal makes signals of keys, as it does while a command runs."""
        while bool(termios.tcgetattr(self._master)[3] & termios.ISIG) != signals:
            assert self.process.poll() is None
            time.sleep(0.01)

    def line(self, line: str, answer: str) -> str:
        """Type a line, and wait for a part of the answer to it."""
        self.type(line + ENTER)
        return self.expect(answer)

    def expect(self, pattern: str) -> str:
        """Wait until the pattern has been written, and take everything up to its end."""
        deadline = time.monotonic() + PATIENCE
        while not (found := re.search(pattern, self.text)):
            assert self._read(deadline), f"no {pattern!r} in {self.text!r}"
        taken = self.text[: found.end()]
        self._seen += found.end()
        return taken

    def ends(self) -> int:
        """Leave with Ctrl-D, read to the end, and return the exit code."""
        self.type(CTRL_D)
        deadline = time.monotonic() + PATIENCE
        while self._read(deadline):
            pass
        return self.process.wait(PATIENCE)

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
        try:
            data = os.read(self._master, 1 << 16) if ready else b""
        except OSError:
            data = b""
        self.raw += data
        return bool(data)


@contextmanager
def on_terminal(
    *words: str, state: Path, columns: int = 100, output: IO[bytes] | None = None, **env: str
) -> Iterator[Terminal]:
    """Run klosdbg on a terminal; ``state`` is where it keeps its history, ``output`` its stdout."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    told = {"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1", "XDG_STATE_HOME": str(state)}
    inherited = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    process = subprocess.Popen(
        ["setsid", "--ctty", sys.executable, "-m", "klosdbg", *words],
        stdin=slave,
        stdout=output or slave,
        stderr=slave,
        env=inherited | told | env,
    )
    os.close(slave)
    try:
        yield Terminal(master, process)
    finally:
        process.terminate()
        process.wait(PATIENCE)
        os.close(master)


def _let_live(pid: int, hundredths: int) -> None:
    """Wait until a process has computed or slept so long: what it queues for a CPU counts not."""
    before, slept = _computed(pid)[1], 0
    while slept + _computed(pid)[1] - before < hundredths:
        time.sleep(0.01)
        slept += _computed(pid)[0] != "R"


def _computed(pid: int) -> tuple[str, int]:
    """Give a process's state, and how long it has run: in hundredths of a second."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return fields[0], (int(fields[11]) + int(fields[12])) * 100 // os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    """List a process's children."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

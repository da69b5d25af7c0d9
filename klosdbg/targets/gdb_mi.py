"""A gdb of the session's own, behind its machine interface (MI).

It is a client of a server in this process, in this thread: while gdb works, ``run`` serves it.
"""

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from pygdbmi.gdbmiparser import parse_response

from klosdbg.errors import CommandError
from klosdbg.targets.children import dies_with
from klosdbg.targets.host import not_installed
from klosdbg.targets.private_dir import PrivateDirectory
from klosdbg.wire.symbols import Image

_COMMAND = ("gdb", "-nx", "-q", "--interpreter=mi3", "-iex", "set auto-load off")
_SETTINGS = (
    "set confirm off",
    "set pagination off",
    "set width 0",
    "set debuginfod enabled off",
    "set breakpoint pending off",
    # So that klosdbg's own 'c' stops at gdb's breakpoints as well.
    "set breakpoint always-inserted on",
)
_TURN = 0.01
_PATIENCE = 20.0
_MOST_CTRL_C = 3
_CHUNK = 1 << 16
_PROMPT = b"(gdb)"


class Serving(Protocol):
    """The server that gdb is a client of; it waits for nobody."""

    @property
    def clients(self) -> Collection[object]:
        """Who is connected."""

    @property
    def breakpoints(self) -> tuple[int, ...]:
        """The linear addresses of the clients' breakpoints."""

    def fileno(self) -> int:
        """Name the descriptor that is ready when a client has something to say."""

    def turn(self) -> None:
        """Serve what has come."""

    def close(self) -> None:
        """Let the clients go."""


class Gdb:
    """A gdb process, and the server that ``serve`` makes for it at a socket that is its alone."""

    def __init__(self, serve: Callable[[Path], Serving], images: Sequence[Image]) -> None:
        self.resumed = False
        self._process = _spawn()
        self._directory = PrivateDirectory()
        self._socket = self._directory.path / "gdb"
        self._server = serve(self._socket)
        self._unread = b""
        self._ctrl_c = 0
        self._late = False
        self._ends: float | None = None
        self._seen: object = None
        with self._ending_on_failure():
            for line in (*_SETTINGS, *_loading(self._directory.path, images)):
                self._ask(line)

    @property
    def breakpoints(self) -> tuple[int, ...]:
        """The linear addresses of gdb's breakpoints."""
        return self._server.breakpoints

    @property
    def ended(self) -> bool:
        """Tell whether it is gone."""
        return self._process.poll() is not None

    def run(self, line: str, timeout: float | None) -> Iterator[str]:
        """Run a command of gdb's, and yield what it prints, in whole lines, as it comes.

        ``resumed`` tells then whether the guest ran. Ctrl-C goes to gdb, and when it has ended the
        command, ``KeyboardInterrupt`` is raised. ``CommandError`` is what gdb says is wrong.
        """
        self._ctrl_c, self.resumed = 0, False
        with self._ending_on_failure(), self._taking_ctrl_c():
            yield from self._answer(line, timeout)
        if self._ctrl_c:
            raise KeyboardInterrupt

    def see(self, state: object) -> None:
        """Have gdb look anew where this state of the guest is another than it last saw."""
        with self._ending_on_failure():
            if state is self._seen and self._server.clients:
                self._ask("maint flush dcache")
                return
            if self._server.clients:
                self._ask("disconnect")
            # A server with one client left would let the next one only look on.
            while self._server.clients:
                self._server.turn()
            self._ask(f"target remote {self._socket}")
        self._seen = state

    def saw(self, state: object) -> None:
        """Note the state that gdb has left the guest in."""
        self._seen = state

    def complete(self, line: str) -> list[str]:
        """List what gdb would make of the beginning of a line, each from the line's start."""
        record = self._result(f"-complete {_quoted(line)}")
        return list((record.get("payload") or {}).get("matches", ()))

    def close(self) -> None:
        """End gdb, its connection and its socket."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]
        self._server.close()
        self._directory.remove()

    @contextlib.contextmanager
    def _ending_on_failure(self) -> Iterator[None]:
        """End gdb where it would be left in the middle of a command."""
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            try:
                yield
            except CommandError:
                undo.pop_all()
                raise
            undo.pop_all()

    @contextlib.contextmanager
    def _taking_ctrl_c(self) -> Iterator[None]:
        previous = signal.signal(signal.SIGINT, lambda *_: self._interrupt())
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, previous)

    def _interrupt(self) -> None:
        self._ctrl_c += 1
        self._signal(signal.SIGKILL if self._ctrl_c >= _MOST_CTRL_C else signal.SIGINT)

    def _hurry(self) -> None:
        self._signal(signal.SIGKILL if self._late else signal.SIGINT)
        self._late, self._ends = True, time.monotonic() + _PATIENCE

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _ask(self, line: str) -> None:
        for _said in self._answer(line, _PATIENCE):
            pass

    def _result(self, command: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        with self._ending_on_failure():
            for record in self._records(command, _PATIENCE):
                if record["type"] == "result":
                    found = record
        return found

    def _answer(self, command: str, timeout: float | None) -> Iterator[str]:
        """Yield what is printed, in whole lines; an error's own words are in the error alone."""
        said, warned, error = "", "", None
        for record in self._records(_in_console(command), timeout):
            if record["type"] == "log":
                warned += record["payload"] or ""
            elif record["type"] in ("console", "target", "output"):
                said, warned = said + warned + _payload(record), ""
            elif record["type"] == "result" and record["message"] == "error":
                error = str(record["payload"].get("msg", "gdb failed"))
            whole, newline, said = said.rpartition("\n")
            if newline:
                yield whole + newline
        if error is None or warned.strip() != error.strip():
            said += warned
        if said:
            yield said
        if self._late:
            raise CommandError(
                f"gdb's {command!r} did not end within {timeout:g} s (--timeout 0 waits for ever)"
            )
        if error is not None:
            raise CommandError(f"gdb: {' '.join(error.split())}")

    def _records(self, command: str, timeout: float | None) -> Iterator[dict[str, Any]]:
        """Send a command, and yield records until gdb has a prompt again and the guest stands."""
        self._send(command)
        self._late, self._ends = False, None if timeout is None else time.monotonic() + timeout
        answered = running = False
        while True:
            line = self._line()
            if line.startswith(_PROMPT):
                if answered and not running:
                    return
                continue
            record = parse_response(line.decode("utf-8", "replace"))
            if record["message"] in ("running", "stopped") and record["type"] != "output":
                running = record["message"] == "running"
                self.resumed |= running
            if record["type"] == "result":
                answered = True
                running &= record["message"] != "error"
            yield record

    def _send(self, command: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(command.encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise self._is_gone() from None

    def _line(self) -> bytes:
        """Wait for a line of gdb's, and serve it meanwhile; interrupt it when its time is up."""
        while b"\n" not in self._unread:
            if self._ends is not None and time.monotonic() > self._ends:
                self._hurry()
            self._wait()
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _wait(self) -> None:
        assert self._process.stdout is not None
        said = self._process.stdout.fileno()
        ready, _, _ = select.select([said, self._server.fileno()], [], [], _TURN)
        self._server.turn()
        if said in ready:
            data = os.read(said, _CHUNK)
            if not data:
                raise self._is_gone()
            self._unread += data

    def _is_gone(self) -> CommandError:
        self.close()
        return CommandError("gdb has ended: 'gdb COMMAND' starts it again")


def _spawn() -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=dies_with(os.getpid()),
        )
    except FileNotFoundError:
        raise CommandError(not_installed("gdb")) from None
    except OSError as error:
        raise CommandError(f"cannot start gdb: {str(error.strerror).lower()}") from None


def _loading(directory: Path, images: Sequence[Image]) -> Iterator[str]:
    """Give gdb what klosdbg has read, whatever has become of the files since."""
    for number, image in enumerate(images):
        path = directory / f"{number}-{Path(image.source).name}"
        path.write_bytes(image.raw)
        verb = "add-symbol-file" if number else "symbol-file"
        yield f"{verb} {_quoted(str(path))} -o {image.base:#x}"


def _in_console(line: str) -> str:
    return f"-interpreter-exec console {_quoted(line)}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _payload(record: dict[str, Any]) -> str:
    text = record["payload"] or ""
    return text + "\n" if record["type"] == "output" else text

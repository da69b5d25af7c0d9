"""klosdbg serving a guest, and the clients that tests let at it."""

import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from klosdbg.wire.rsp import Codec, Packet, encode
from tests.live.patience import PATIENCE


@contextmanager
def serving(verb: str, *words: str, listen: str = "") -> Iterator[str]:
    """Run klosdbg with ``--listen``; yield the path of its socket, or its port of 127.0.0.1.

    It ends by Ctrl-C, with 0.
    """
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/s"
        where = listen or f"unix:{path}"
        command = [sys.executable, "-m", "klosdbg", verb, "--listen", where, *words]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith(b"listening at"):
                    break
            assert process.poll() is None, "it did not listen"
            yield line.decode().partition(": in gdb")[0].rpartition(":")[2]
            assert process.poll() is None, "the server ended before its clients"
        finally:
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=PATIENCE)
        assert b"Traceback" not in errors, errors.decode()
        assert process.returncode == 0, errors.decode()


def gdb(path: str, *commands: str, image: Path | None = None, line: str = "") -> str:
    """Run gdb on a stub to its end; return all that it printed."""
    words = ["gdb", "-nx", "-q", "-batch", *([str(image)] if image else [])]
    words += ["-ex", line] if line else []
    for command in ("set pagination off", "set width 0", f"target remote {path}", *commands):
        words += ["-ex", command]
    return subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",  # what it shows of packets is binary
        timeout=300,
    ).stdout


@dataclass
class Raw:
    """A client that speaks packets."""

    path: str
    replies: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.codec = Codec()
        with ExitStack() as undo:
            undo.callback(self.close)
            self.socket.connect(self.path)
            self.socket.settimeout(PATIENCE)
            self.ask(b"QStartNoAckMode")
            undo.pop_all()
        self.codec.start_no_ack_mode()

    def send(self, payload: bytes) -> None:
        """Send a packet."""
        self.socket.sendall(encode(payload))

    def receive(self) -> bytes:
        """Wait for a packet."""
        while not self.replies:
            data = self.socket.recv(1 << 16)
            assert data, "the server closed the connection"
            events = self.codec.feed(data)
            self.replies += [event.payload for event in events if isinstance(event, Packet)]
        return self.replies.pop(0)

    def ask(self, payload: bytes) -> bytes:
        """Send a packet and wait for its reply."""
        self.send(payload)
        return self.receive()

    def stop(self, action: bytes) -> bytes:
        """Resume, and wait for the stop, past what the console says."""
        reply = self.ask(action)
        while reply.startswith(b"O"):
            reply = self.receive()
        return reply

    def monitor(self, line: str) -> str:
        """Say something to the monitor."""
        said = ""
        reply = self.ask(b"qRcmd," + line.encode().hex().encode())
        while reply.startswith(b"O") and reply != b"OK":
            said += bytes.fromhex(reply[1:].decode()).decode()
            reply = self.receive()
        assert reply == b"OK", reply
        return said

    def close(self) -> None:
        """Vanish."""
        self.socket.close()

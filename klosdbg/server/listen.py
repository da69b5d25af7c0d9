"""Where the server listens: a unix socket in a private directory, or loopback."""

import contextlib
import os
import socket
import stat
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from klosdbg.errors import UsageError

_BACKLOG = 16


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening socket, the words that name it to a client, and what removes it."""

    socket: socket.socket
    name: str
    gdb: str
    close: Callable[[], None]


def listen(spec: str, *, exposed: bool = False) -> Listener:
    """Listen at ``unix:PATH`` or ``HOST:PORT``; ``exposed`` allows what others can reach.

    Port 0 takes a free one. ``UsageError`` for an address that others can reach, or cannot be had.
    """
    if spec.startswith("unix:"):
        return _listen_unix(Path(spec.removeprefix("unix:")), exposed)
    host, separator, port = spec.rpartition(":")
    if not separator or not port.isdigit():
        raise UsageError(f"cannot listen at {spec!r}: write unix:PATH or 127.0.0.1:PORT")
    return _listen_tcp(host.strip("[]") or "127.0.0.1", int(port), exposed)


def _listen_tcp(host: str, port: int, exposed: bool) -> Listener:
    if not exposed and not _is_loopback(host):
        raise UsageError(
            f"{host} can be reached from other machines: listen at 127.0.0.1:{port}, "
            "or add --expose if that is what you want"
        )
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        server = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        raise _refusal(f"{host}:{port}", error) from None
    name = f"{host}:{server.getsockname()[1]}"
    return Listener(server, name, name, server.close)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _listen_unix(path: Path, exposed: bool) -> Listener:
    directory = path.absolute().parent
    if not exposed and not _is_private(directory):
        raise UsageError(
            f"others can enter {directory}: listen in a directory of mode 700 that is yours, "
            "or add --expose if that is what you want"
        )
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_abandoned(path)
        server.bind(str(path))
        server.listen(_BACKLOG)
    except OSError as error:
        server.close()
        raise _refusal(f"unix:{path}", error) from None

    def close() -> None:
        server.close()
        with contextlib.suppress(OSError):
            path.unlink()

    return Listener(server, f"unix:{path}", str(path), close)


def _is_private(directory: Path) -> bool:
    try:
        status = directory.stat()
    except OSError as error:
        raise _refusal(f"unix:{directory}", error) from None
    return status.st_uid == os.getuid() and not stat.S_IMODE(status.st_mode) & 0o077


def _remove_abandoned(path: Path) -> None:
    """Remove the socket of a server that is gone; never a file, never one that answers."""
    if not path.exists() or not stat.S_ISSOCK(path.lstat().st_mode):
        return
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        except BlockingIOError:
            return


def _refusal(name: str, error: Exception) -> UsageError:
    reason = (getattr(error, "strerror", None) or str(error)).lower()
    return UsageError(f"cannot listen at {name}: {reason}: choose another address")

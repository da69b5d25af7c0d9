"""QEMU's machine protocol (QMP): the way to read a guest that runs.

The qemu.qmp library is asynchronous; it runs in a thread of its own, so that neither Ctrl-C nor
another event loop can cut a command in two. Library and connection wait for the first use.
"""

import asyncio
import re
import threading
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeVar

from klosdbg.errors import TargetError, TargetLost, UsageError

if TYPE_CHECKING:
    from qemu.qmp import QMPClient

CONNECT_TIMEOUT = 2.0
COMMAND_TIMEOUT = 10.0

_ERRNO = re.compile(r"^.*\[Errno -?\d+\] ")

_T = TypeVar("_T")


def qmp_address(spec: str) -> str | tuple[str, int]:
    """Parse ``unix:PATH`` or ``host:port`` into an address, or raise ``UsageError``."""
    if spec.startswith("unix:"):
        return spec.removeprefix("unix:")
    host, separator, port = spec.rpartition(":")
    if not separator or not port.isdigit():
        raise UsageError(f"{spec!r} is no QMP address: write unix:PATH or host:port")
    return host.strip("[]") or "localhost", int(port)


class Qmp:
    """A QMP connection, made when first used. Once lost, every use raises the same ``TargetLost``.

    ``explain`` may say why QEMU went away.
    """

    def __init__(self, spec: str, explain: Callable[[], TargetLost | None] = lambda: None) -> None:
        self._spec = spec
        self._address = qmp_address(spec)
        self._explain = explain
        self._worker: _Worker | None = None
        self._client: QMPClient | None = None
        self._lost: TargetLost | None = None

    def execute(self, command: str, **arguments: object) -> Any:
        """Run one command and return what it returns; ``TargetError`` when QEMU refuses it."""
        if self._lost:
            raise self._lost
        from qemu.qmp import ExecuteError, QMPError

        try:
            worker, client = self._connected()
            return worker.run(_execute(client, command, arguments), COMMAND_TIMEOUT)
        except ExecuteError as error:
            raise TargetError(f"QEMU refused {command}: {error}") from None
        except (QMPError, OSError, EOFError) as error:
            raise self._lose(error) from None

    def monitor(self, command: str) -> str:
        """Run a command of the human monitor and return what it printed, with plain line ends."""
        printed = self.execute("human-monitor-command", **{"command-line": command})
        return str(printed).replace("\r\n", "\n")

    def status(self) -> str:
        """Return the run state: ``running``, ``paused``, ``shutdown``, ..."""
        return str(self.execute("query-status")["status"])

    def reset(self) -> None:
        """Reset a machine whose resets are shut-downs (``-action reboot=shutdown``)."""
        self.execute("set-action", reboot="reset")
        try:
            self.execute("system_reset")
        finally:
            self.execute("set-action", reboot="shutdown")

    def close(self) -> None:
        """Close the connection and end its thread."""
        worker, self._worker = self._worker, None
        if worker:
            worker.stop(self._client)
        self._lost = self._lost or TargetLost(f"the QMP connection to {self._spec} is closed")

    def _connected(self) -> tuple["_Worker", "QMPClient"]:
        if self._worker is None or self._client is None:
            worker = _Worker()
            with ExitStack() as undo:
                undo.callback(worker.stop, None)
                connecting = asyncio.wait_for(_connect(self._address), CONNECT_TIMEOUT)
                self._client = worker.run(connecting, 2 * CONNECT_TIMEOUT)
                undo.pop_all()
            self._worker = worker
        return self._worker, self._client

    def _lose(self, error: Exception) -> TargetLost:
        first = (str(error).splitlines() or ["no reply"])[0]
        why = self._explain() or _ERRNO.sub("", first).lower()
        self._lost = TargetLost(
            f"no QMP at {self._spec}: {why}; is another client using it, or is QEMU without "
            f"'-qmp {self._spec},server=on,wait=off'?"
        )
        return self._lost


class _Worker:
    """An event loop in a thread of its own.

    Its exception handler says nothing: that QEMU has gone is told by the command that needs it.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda _loop, _context: None)
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="qmp")
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, _T], timeout: float) -> _T:
        """Run a coroutine to its end, or raise what it raises."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout)

    def stop(self, client: "QMPClient | None") -> None:
        """Disconnect, whatever state the connection is in, and end the thread."""
        if client:
            asyncio.run_coroutine_threadsafe(_disconnect(client), self._loop).result(2)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(2)
        self._loop.close()


async def _connect(address: str | tuple[str, int], tries: int = 5) -> "QMPClient":
    """Connect; once more where an event came before the answer that the library waits for."""
    from qemu.qmp import ConnectError, QMPClient
    from qemu.qmp.qmp_client import GreetingError, NegotiationError

    client = QMPClient("klosdbg")
    try:
        await client.connect(address)
    except ConnectError as error:
        if tries > 1 and isinstance(error.exc, GreetingError | NegotiationError):
            return await _connect(address, tries - 1)
        raise
    return client


async def _execute(client: "QMPClient", command: str, arguments: dict[str, object]) -> Any:
    client.events.clear()
    return await client.execute(command, arguments)


async def _disconnect(client: "QMPClient") -> None:
    from qemu.qmp import QMPError

    try:
        await asyncio.wait_for(client.disconnect(), 1)
    except (QMPError, OSError, EOFError):
        return

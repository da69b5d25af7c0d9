"""QEMU's machine protocol (QMP): the way to read a guest that runs.

The qemu.qmp library is asynchronous; it runs in a thread of its own, so that neither Ctrl-C nor
another event loop can cut a command in two. Library and connection wait for the first use.
"""

import asyncio
import re
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeVar

from klosdbg.errors import TargetError, TargetLost, UsageError

if TYPE_CHECKING:
    from qemu.qmp import Message, QMPClient

CONNECT_TIMEOUT = 2.0
COMMAND_TIMEOUT = 10.0

_ERRNO = re.compile(r"^.*\[Errno -?\d+\] ")
_RESET_TAIL = 0.02

_T = TypeVar("_T")


def qmp_address(spec: str) -> str | tuple[str, int]:
    """Parse ``unix:PATH`` or ``host:port`` into an address."""
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
        """Reset a machine whose resets are shut-downs (``-action reboot=shutdown``).

        SeaBIOS answers a reset with one of its own (or two in quick succession), which has to pass:
        resets are shut-downs again a moment after the first that comes from the guest, or as soon
        as somebody knows that the firmware has done (``settle``).
        """
        self.execute("set-action", reboot="reset")
        worker, client = self._connected()
        worker.start(_shut_down_after_next_reset(client))
        self.execute("system_reset")

    def settle(self) -> None:
        """Make resets shut-downs again."""
        worker, _ = self._connected()
        worker.cancel()
        self.execute("set-action", reboot="shutdown")

    def close(self) -> None:
        """Close the connection and end its thread."""
        worker, self._worker = self._worker, None
        if worker:
            worker.stop(self._client)
        self._lost = self._lost or TargetLost(f"the QMP connection to {self._spec} is closed")

    def _connected(self) -> tuple["_Worker", "QMPClient"]:
        if self._worker is None or self._client is None:
            from qemu.qmp import QMPClient

            worker, client = _Worker(), QMPClient("klosdbg")
            with ExitStack() as undo:
                undo.callback(worker.stop, client)
                worker.run(client.connect(self._address), CONNECT_TIMEOUT)
                undo.pop_all()
            self._worker, self._client = worker, client
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
        self._background: Future[None] | None = None

    def run(self, coroutine: Coroutine[Any, Any, _T], timeout: float) -> _T:
        """Run a coroutine to its end, or raise what it raises."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout)

    def start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine in the background; a later one takes the place of an earlier one."""
        self.cancel()
        self._background = asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def cancel(self) -> None:
        """End what runs in the background."""
        if self._background:
            self._background.cancel()

    def stop(self, client: "QMPClient | None") -> None:
        """Disconnect, whatever state the connection is in, and end the thread."""
        self.cancel()
        if client:
            asyncio.run_coroutine_threadsafe(_disconnect(client), self._loop).result(2)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(2)
        self._loop.close()


async def _execute(client: "QMPClient", command: str, arguments: dict[str, object]) -> Any:
    client.events.clear()
    return await client.execute(command, arguments)


async def _shut_down_after_next_reset(client: "QMPClient") -> None:
    with client.listener("RESET", _is_from_guest) as resets:
        await resets.get()
    await asyncio.sleep(_RESET_TAIL)
    await client.execute("set-action", {"reboot": "shutdown"})


def _is_from_guest(event: "Message") -> bool:
    details = event["data"]
    return isinstance(details, Mapping) and bool(details["guest"])


async def _disconnect(client: "QMPClient") -> None:
    from qemu.qmp import QMPError

    try:
        await asyncio.wait_for(client.disconnect(), 1)
    except (QMPError, OSError, EOFError):
        return

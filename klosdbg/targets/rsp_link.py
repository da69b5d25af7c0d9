"""One connection to a GDB stub: requests, replies in order, and stop replies apart from them."""

import math
import os
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import lru_cache

from klosdbg.errors import ProtocolError, TargetLost, UsageError
from klosdbg.interrupts import interrupts_deferred
from klosdbg.wire.rsp import (
    INTERRUPT,
    BadPacket,
    Codec,
    Junk,
    Nack,
    Packet,
    RspEvent,
    encode,
)
from klosdbg.wire.rsp_replies import garbage, is_stop

CONNECT_TIMEOUT = 2.0
REPLY_TIMEOUT = 10.0

_AWAKE = 0.002
"""Seconds. A processor that sleeps until a stop comes takes as long to be quick again as all else
that is done at the stop; so while they come this fast, it does not sleep."""
_SEVERAL_CPUS = len(os.sched_getaffinity(0)) > 1
_SEND_TIMEOUT = struct.pack("ll", int(REPLY_TIMEOUT), 0)
_WINDOW = 64
_FEW = 8
_RECEIVE = 1 << 16
_RETRIES = 3
_MAX_OUTPUT = 1 << 16


def open_socket(spec: str) -> socket.socket:
    """Connect to ``host:port`` or ``unix:PATH``, or raise ``TargetLost``.

    Raise ``UsageError`` for what is neither.
    """
    try:
        if spec.startswith("unix:"):
            return _open_unix(spec.removeprefix("unix:"))
        host, separator, port = spec.rpartition(":")
        if not separator or not port.isdigit():
            raise UsageError(f"{spec!r} is no target: write host:port or unix:PATH")
        connection = socket.create_connection((host.strip("[]") or "localhost", int(port)), 2)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise TargetLost(
            f"cannot connect to {spec}: {reason.lower()}; start QEMU with '-gdb {_option(spec)}'"
        ) from None


def _option(spec: str) -> str:
    if spec.startswith("unix:"):
        return f"{spec},server=on,wait=off"
    return f"tcp::{spec.rpartition(':')[2]}"


def _open_unix(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(CONNECT_TIMEOUT)
        connection.connect(path)
    except OSError:
        connection.close()
        raise
    return connection


class RspLink:
    """A connection to a stub. Once lost, every use raises the same ``TargetLost``.

    Ctrl-C is held back while an exchange is under way and is free while waiting for a stop.
    Acknowledgements wait for the next request, in one write with it: each write wakes the stub.
    ``explain`` may say why the stub went away.
    """

    def __init__(
        self,
        connection: socket.socket,
        name: str,
        explain: Callable[[], TargetLost | None] = lambda: None,
    ) -> None:
        connection.settimeout(None)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _SEND_TIMEOUT)
        self.name = name
        self._socket = connection
        self._explain = explain
        self._codec = Codec()
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)
        self._stops: deque[bytes] = deque()
        self._lost: TargetLost | None = None
        self._only_frame = b""
        self._retries = 0
        self._brief = False

    def request(
        self, payload: bytes, timeout: float = REPLY_TIMEOUT, silence: str | None = None
    ) -> bytes:
        """Send one request and return its reply; ``silence`` is what to say when none comes."""
        return self._exchange([payload], timeout, silence)[0]

    def pipeline(self, payloads: Sequence[bytes]) -> list[bytes]:
        """Send many requests with a window of them under way; return the replies in order."""
        return self._exchange(payloads, REPLY_TIMEOUT)

    def monitor(self, command: bytes) -> list[bytes]:
        """Send a ``qRcmd`` and return its console packets and then the final reply."""
        with interrupts_deferred:
            self._begin([command])
            self._send(self._only_frame)
            replies: list[bytes] = []
            while not replies or _is_output(replies[-1]):
                replies += self._receive(REPLY_TIMEOUT)
                if len(replies) > _MAX_OUTPUT:
                    raise self._lose(ProtocolError(f"{self.name} prints without end"))
            return replies

    def start_no_ack_mode(self) -> None:
        """Ask the stub to go without acknowledgements."""
        if self.request(b"QStartNoAckMode") == b"OK":
            self._codec.start_no_ack_mode()

    def resume(self, before: Sequence[bytes], action: bytes) -> list[bytes]:
        """Send requests and then ``c`` or ``s`` in one write; return the replies to the requests.

        Acknowledgements go ahead of the replies: a byte sent later would stop the guest.
        """
        with interrupts_deferred:
            self._begin([*before, action])
            self._stops.clear()
            early = _framed_few(tuple(before), self._codec.acknowledge_early(len(before)))
            self._send(self._codec.take_acks() + early + encode(action))
            replies: list[bytes] = []
            while len(replies) < len(before):
                replies += self._receive(REPLY_TIMEOUT)
            return replies

    def wait_stop(self, timeout: float | None) -> bool:
        """Wait until there is a stop reply to take; tell whether one came in ``timeout`` seconds.

        Nothing is lost on Ctrl-C.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._stops:
            remaining = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not self._readable(remaining):
                return False
            with interrupts_deferred:
                self._only_frame = b""
                self._take(self._read())
        return True

    @property
    def next_stop(self) -> bytes | None:
        """What ``take_stop`` would return."""
        return self._stops[0] if self._stops else None

    def take_stop(self) -> bytes | None:
        """Return a stop reply that has come: waited for, or unasked during an earlier exchange."""
        return self._stops.popleft() if self._stops else None

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when something comes unasked."""
        return self._socket.fileno()

    def check(self) -> None:
        """Take what has come unasked; raise ``TargetLost`` where the stub has gone."""
        if self._readable(0):
            with interrupts_deferred:
                self._only_frame = b""
                self._take(self._read())

    def send_interrupt(self) -> None:
        """Send the byte that stops a running guest."""
        with interrupts_deferred:
            self._send(INTERRUPT)

    def close(self) -> None:
        """Close the connection."""
        self._lost = self._lost or TargetLost(f"the connection to {self.name} is closed")
        self._socket.close()

    def _exchange(
        self, payloads: Sequence[bytes], timeout: float, silence: str | None = None
    ) -> list[bytes]:
        with interrupts_deferred:
            self._begin(payloads)
            replies: list[bytes] = []
            sent = 0
            while len(replies) < len(payloads):
                window = payloads[sent : len(replies) + _WINDOW]
                sent += len(window)
                if window:
                    self._send(self._codec.take_acks() + _frames(window))
                replies += self._receive(timeout, silence)
            if len(replies) > len(payloads):
                raise self._lose(garbage("one reply a request", replies[-1]))
            return replies

    def _begin(self, payloads: Sequence[bytes]) -> None:
        self._only_frame = encode(payloads[0]) if len(payloads) == 1 else b""
        self._retries = 0

    def _receive(self, timeout: float, silence: str | None = None) -> list[bytes]:
        remaining, deadline = timeout, time.monotonic() + timeout
        while True:
            if not self._readable(remaining):
                raise self._lose(
                    TargetLost(
                        silence or f"{self.name} did not answer in {timeout:g} s: is it hung?"
                    )
                )
            if replies := self._take(self._read()):
                return replies
            remaining = max(0.0, deadline - time.monotonic())

    def _readable(self, timeout: float | None) -> bool:
        if self._lost:
            raise self._lost
        if self._poll.poll(0):
            return True
        return timeout != 0 and self._comes(math.inf if timeout is None else timeout)

    def _comes(self, timeout: float) -> bool:
        """Wait until there is something to read, the first moment awake if that was enough."""
        began = time.monotonic()
        if self._brief and self._comes_soon(began + min(_AWAKE, timeout)):
            return True
        left = None if timeout == math.inf else 1000 * (began + timeout - time.monotonic())
        found = bool(self._poll.poll(left if left is None else max(0.0, left)))
        self._brief = found and _SEVERAL_CPUS and time.monotonic() - began < _AWAKE
        return found

    def _comes_soon(self, deadline: float) -> bool:
        while time.monotonic() < deadline:
            if self._poll.poll(0):
                return True
        return False

    def _read(self) -> bytes:
        try:
            data = self._socket.recv(_RECEIVE)
        except OSError:
            data = b""
        if not data:
            raise self._lose(self._gone())
        return data

    def _take(self, data: bytes) -> list[bytes]:
        replies = []
        for event in self._codec.feed(data):
            if not isinstance(event, Packet):
                self._handle(event)
            elif is_stop(event.payload):
                self._stops.append(event.payload)
            else:
                replies.append(event.payload)
        return replies

    def _handle(self, event: RspEvent) -> None:
        if isinstance(event, Junk):
            raise self._lose(garbage("a packet", event.data))
        if not isinstance(event, Nack | BadPacket):
            return
        self._retries += 1
        if not self._only_frame or self._retries > _RETRIES:
            reason = event.reason if isinstance(event, BadPacket) else "every packet refused"
            raise self._lose(ProtocolError(f"{self.name} sends corrupt packets ({reason})"))
        self._send(self._only_frame if isinstance(event, Nack) else self._codec.take_acks())

    def _send(self, data: bytes) -> None:
        if self._lost:
            raise self._lost
        try:
            self._socket.sendall(data)
        except OSError:
            if not self._stops:
                raise self._lose(self._gone()) from None

    def _gone(self) -> TargetLost:
        why = self._explain() or TargetLost("the stub closed the connection")
        again = "start it again with 'klosdbg run' or 'klosdbg attach'"
        return type(why)(f"lost {self.name}: {why}; {again}")

    def _lose(self, error: TargetLost) -> TargetLost:
        self._lost = error
        self._socket.close()
        return error


def _framed(payloads: tuple[bytes, ...], behind_each: bytes = b"") -> bytes:
    """Frame payloads for one write."""
    return b"".join(encode(payload) + behind_each for payload in payloads)


_framed_few = lru_cache(maxsize=64)(_framed)
"""What a loop over stops sends is the same again and again."""


def _frames(payloads: Sequence[bytes]) -> bytes:
    return (_framed_few if len(payloads) <= _FEW else _framed)(tuple(payloads))


def _is_output(payload: bytes) -> bool:
    return payload[:1] == b"O" and payload != b"OK"

"""One connection to a client: bytes in and out without ever blocking, in bounded memory."""

import socket
from collections import deque
from dataclasses import dataclass, field

from klosdbg.ports import WatchKind
from klosdbg.session import Session
from klosdbg.wire.agent import AgentExpression
from klosdbg.wire.rsp import Codec, RspEvent, encode

PACKET_SIZE = 0x4000
MOST_OUTPUT = 16 << 20
_PAUSE_OUTPUT = 1 << 20
_RECEIVE = 1 << 14
_MOST_NACKS = 16
_MOST_QUEUED = 256

Conditions = tuple[AgentExpression, ...]


class Gone(Exception):
    """Report that a client has closed its connection, or that it was closed for a reason."""


@dataclass(eq=False, slots=True)
class Client:
    """A connected client, what it has asked for, and how it likes its answers.

    ``greeted`` holds once it has sent a packet, ``waiting`` while it expects a stop reply,
    ``interrupted`` if it has asked for that with 0x03, ``busy`` while a command of its runs.
    ``breakpoints`` are its ``Z0`` and ``Z1`` packets: by kind and linear address the conditions of
    which one has to hold; none where it always stops.
    ``watchpoints`` are the other ``Z`` packets: kind, linear address, size. ``refused`` are those
    that it believes to be set, with the reason, which is said when it lets the guest run.
    """

    socket: socket.socket
    number: int
    session: Session
    codec: Codec = field(default_factory=lambda: Codec(run_length=False, limit=2 * PACKET_SIZE))
    events: deque[RspEvent] = field(default_factory=deque)
    breakpoints: dict[tuple[int, int], Conditions] = field(default_factory=dict)
    watchpoints: set[tuple[WatchKind, int, int]] = field(default_factory=set)
    refused: dict[tuple[WatchKind, int, int], str] = field(default_factory=dict)
    waiting: bool = False
    busy: bool = False
    greeted: bool = False
    interrupted: bool = False
    leaving: bool = False
    found_running: bool = False
    features: frozenset[str] = frozenset()
    physical: bool = False
    shows_threads: bool = True
    linear_pc: bool = True
    thread: int = 0
    document: tuple[tuple[str, str], bytes] = (("", ""), b"")
    _output: bytearray = field(default_factory=bytearray)
    _last: bytes = b""
    _nacks: int = 0

    @property
    def wants_to_read(self) -> bool:
        """Tell whether to read from it: not while it leaves our answers unread."""
        waiting = len(self.events) < (_MOST_QUEUED if self.busy else 1)
        return waiting and not self.full and not self.leaving

    @property
    def takes_console(self) -> bool:
        """Tell whether console text may come before a stop; radare2 takes it for the stop."""
        return "qRelocInsn" not in self.features or "swbreak" in self.features

    @property
    def hides_errors(self) -> bool:
        """Tell whether it shows no error of a watchpoint: gdb says "too many" whatever is wrong."""
        return "swbreak" in self.features

    @property
    def full(self) -> bool:
        """Tell whether it leaves so many answers unread that it has to wait for more."""
        return len(self._output) >= _PAUSE_OUTPUT

    @property
    def wants_to_write(self) -> bool:
        """Tell whether answers wait to be sent."""
        return bool(self._output)

    def receive(self) -> list[RspEvent]:
        """Take what has come, or raise ``Gone``."""
        try:
            data = self.socket.recv(_RECEIVE)
        except BlockingIOError:
            return []
        except OSError as error:
            raise Gone(str(error.strerror)) from None
        if not data:
            raise Gone("it closed the connection")
        events = self.codec.feed(data)
        self._queue(self.codec.take_acks())
        return events

    def reply(self, payload: bytes) -> None:
        """Send a packet, and keep it in case that the client asks for it again."""
        self._last = encode(payload)
        self._nacks = 0
        self._queue(self._last)

    def repeat(self) -> None:
        """Send the last packet again, or raise ``Gone`` for a client that never accepts it."""
        self._nacks += 1
        if self._nacks > _MOST_NACKS:
            raise Gone("it refused the same packet again and again")
        self._queue(self._last)

    def flush(self) -> None:
        """Send what the socket takes now, or raise ``Gone``."""
        try:
            sent = self.socket.send(self._output)
        except BlockingIOError:
            return
        except OSError as error:
            raise Gone(str(error.strerror)) from None
        del self._output[:sent]

    def _queue(self, data: bytes) -> None:
        self._output += data
        if len(self._output) > MOST_OUTPUT:
            raise Gone("it does not read its answers")

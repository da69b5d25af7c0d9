"""What a GDB remote stub answers: payload bytes to records. Garbage is a ``ProtocolError``."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from klosdbg.errors import ProtocolError

DEFAULT_PACKET_SIZE = 400
MAX_PACKET_SIZE = 0x20000

_SHOWN = 40
_HEX = re.compile(rb"[0-9a-fA-F]*")
_NUMBER = re.compile(r"[0-9a-fA-F]+")
_ERROR = re.compile(rb"E(?:[0-9a-fA-F]{2}|\..*)", re.DOTALL)
_STOPS = b"TSWX"
_STOP = re.compile(rb"(?:[TS][0-9a-fA-F]{2}|[WX][0-9a-fA-F])")
_WATCHES: dict[str, Literal["watch", "rwatch", "awatch"]] = {
    "watch": "watch",
    "rwatch": "rwatch",
    "awatch": "awatch",
}


@dataclass(frozen=True, slots=True)
class ThreadId:
    """A thread: ``pid`` is None without multiprocess; -1 means all, 0 means any."""

    tid: int
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class StopReply:
    """A stop reply. ``code`` is the signal, or for ``exited`` the exit status.

    ``registers`` are raw bytes by register number; ``watch`` is the kind and ``watch_address`` the
    address of the data that was touched; ``notes`` are the other pairs.
    """

    kind: Literal["stopped", "exited", "terminated"]
    code: int
    thread: ThreadId | None = None
    watch: Literal["watch", "rwatch", "awatch"] | None = None
    watch_address: int | None = None
    registers: Mapping[int, bytes] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Features:
    """What ``qSupported`` announced. ``announced_size`` is as sent; ``packet_size`` is clamped."""

    announced_size: int
    values: dict[str, str]
    supported: frozenset[str]

    @property
    def packet_size(self) -> int:
        """The longest packet to send or ask for, in bytes."""
        return max(64, min(self.announced_size, MAX_PACKET_SIZE))


def garbage(what: str, payload: bytes) -> ProtocolError:
    """Make the error for a payload that is not what was asked for."""
    shown = payload[:_SHOWN].decode("latin-1").encode("unicode_escape").decode()
    more = "..." if len(payload) > _SHOWN else ""
    return ProtocolError(f"the stub sent {shown + more!r} where {what} was due: is it a GDB stub?")


def is_error(payload: bytes) -> bool:
    """Tell whether a reply is ``Enn`` or ``E.text``."""
    return _ERROR.fullmatch(payload) is not None


def is_stop(payload: bytes) -> bool:
    """Tell whether a payload is a stop reply, which no other reply can be mistaken for."""
    return payload[:1] in _STOPS and _STOP.match(payload) is not None


def parse_hex(payload: bytes, what: str) -> bytes:
    """Decode a reply of hexadecimal digit pairs."""
    try:
        text = payload.decode("ascii")
        if not _HEX.fullmatch(payload):
            raise ValueError
        return bytes.fromhex(text)
    except ValueError:
        raise garbage(what, payload) from None


def parse_thread_id(text: str) -> ThreadId:
    """Parse ``1f``, ``-1``, ``p2.1``, ``p1.-1`` or ``p1`` (all its threads)."""
    match = re.fullmatch(r"(?:p(-1|[0-9a-fA-F]+)(?:\.(?=.)|$))?(-1|[0-9a-fA-F]+)?", text)
    if not match or not any(match.groups()):
        raise garbage("a thread-id", text.encode())
    pid, tid = match.groups()
    return ThreadId(int(tid or "-1", 16), None if pid is None else int(pid, 16))


@lru_cache(maxsize=64)
def parse_stop(payload: bytes) -> StopReply:
    """Parse a ``T``, ``S``, ``W`` or ``X`` stop reply; cached, as a tracer sees few kinds."""
    try:
        if not is_stop(payload):
            raise ValueError
        text = payload.decode("latin-1")
        if text[0] == "W":
            return StopReply("exited", int(text[1:].partition(";")[0], 16))
        if text[0] == "X":
            return StopReply("terminated", int(text[1:].partition(";")[0], 16))
        return _stopped(int(text[1:3], 16), text[3:])
    except ValueError:
        raise garbage("a stop reply", payload) from None


def _stopped(signal: int, text: str) -> StopReply:
    pairs = dict(_pair(item) for item in text.split(";") if item)
    watch = next((key for key in pairs if key in _WATCHES), None)
    numbered = {key for key in pairs if _NUMBER.fullmatch(key)}
    others = pairs.keys() - numbered - _WATCHES.keys() - {"thread"}
    return StopReply(
        "stopped",
        signal,
        parse_thread_id(pairs["thread"]) if "thread" in pairs else None,
        _WATCHES[watch] if watch else None,
        int(pairs[watch], 16) if watch else None,
        {int(key, 16): bytes.fromhex(pairs[key]) for key in numbered},
        {key: pairs[key] for key in others},
    )


def _pair(item: str) -> tuple[str, str]:
    key, separator, value = item.partition(":")
    if not separator:
        raise ValueError
    return key, value


def parse_features(payload: bytes) -> Features:
    """Parse a ``qSupported`` reply; unknown features are kept, ``PacketSize`` is hexadecimal."""
    values: dict[str, str] = {}
    supported: set[str] = set()
    for item in payload.decode("latin-1").split(";"):
        name, separator, value = item.partition("=")
        if separator:
            values[name] = value
        elif item.endswith("+"):
            supported.add(item[:-1])
    try:
        size = int(values.get("PacketSize", f"{DEFAULT_PACKET_SIZE:x}"), 16)
    except ValueError:
        raise garbage("a hexadecimal PacketSize", values["PacketSize"].encode("latin-1")) from None
    return Features(size, values, frozenset(supported))


def parse_vcont_actions(payload: bytes) -> frozenset[str]:
    """Parse a ``vCont?`` reply into the actions that the stub takes; empty where it takes none."""
    if not payload.startswith(b"vCont"):
        return frozenset()
    return frozenset(payload.decode("latin-1").split(";")[1:])


def parse_thread_list(payload: bytes) -> list[ThreadId]:
    """Parse ``m1,2`` of ``qfThreadInfo``; ``l`` is the empty end of the list."""
    if payload == b"l":
        return []
    if not payload.startswith(b"m"):
        raise garbage("a list of threads", payload)
    return [parse_thread_id(item) for item in payload[1:].decode("latin-1").split(",")]


class Transfer:
    """Read an object by ``qXfer`` in chunks: send ``request()``, pass the reply to ``feed()``.

    The next offset is the number of bytes received, whatever was asked for.
    """

    def __init__(self, kind: str, annex: str, chunk: int, limit: int = 1 << 20) -> None:
        self._prefix = f"qXfer:{kind}:read:{annex}:"
        self._chunk = chunk
        self._limit = limit
        self.data = b""
        self.done = False

    def request(self) -> bytes:
        """Build the next request."""
        return f"{self._prefix}{len(self.data):x},{self._chunk:x}".encode()

    def feed(self, reply: bytes) -> None:
        """Take a reply: ``m`` and data, more to come; ``l`` and data, the end.

        Raise ``ProtocolError`` for a stub that never ends.
        """
        if reply[:1] not in (b"m", b"l"):
            raise garbage(f"a reply to {self._prefix[:-1]}", reply)
        self.data += reply[1:]
        self.done = reply[:1] == b"l"
        if not self.done and (len(reply) == 1 or len(self.data) > self._limit):
            raise ProtocolError(f"the stub never ends its reply to {self._prefix[:-1]}")

"""The GDB remote serial protocol's framing, without I/O: bytes to events, payloads to bytes.

Client and server share it. ``Codec.feed`` takes bytes as they arrive, in pieces of any size; the
bytes that the peer must get in return (``+`` and ``-``) are collected in ``Codec.take_acks``::

    $payload#cs     a packet: escapes (} then byte ^ 0x20) and, in replies, runs (x*n)
    %payload#cs     a notification, never acknowledged
    + -             acknowledge a packet, ask for it again
    0x03            interrupt (client to server)

A receiver checks the sum over the raw bytes, then expands runs, then undoes escapes, in this order.
"""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

DEFAULT_LIMIT = 1 << 20
INTERRUPT = b"\x03"

_SPECIAL = re.compile(rb"[#$}*]")
_ESCAPED = re.compile(rb"}(.)", re.DOTALL)
_RUN = re.compile(rb"\*(.)", re.DOTALL)
_MARK = re.compile(rb"[$%+\-\x03]")
_SUM_BLOCK = 256
_SHORT = 40


@dataclass(frozen=True, slots=True)
class Packet:
    """A whole packet: its payload with runs expanded and escapes undone."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Notification:
    """A whole notification (``%Stop:...``)."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Ack:
    """The peer got our packet."""


@dataclass(frozen=True, slots=True)
class Nack:
    """The peer wants our last packet again."""


@dataclass(frozen=True, slots=True)
class Interrupt:
    """The byte 0x03 outside a packet."""


@dataclass(frozen=True, slots=True)
class BadPacket:
    """A packet that cannot be accepted, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Junk:
    """Bytes that belong to no packet."""

    data: bytes


_ACK = Ack()
RspEvent = Packet | Notification | Ack | Nack | Interrupt | BadPacket | Junk


class _Malformed(Exception):
    """Carry why a body cannot be decoded."""


def checksum(data: bytes) -> int:
    """Sum bytes modulo 256: in so short blocks Adler-32's low half is the plain sum, and quick."""
    total = 0
    for start in range(0, len(data), _SUM_BLOCK):
        total += zlib.adler32(data[start : start + _SUM_BLOCK], 0)
    return total & 0xFF


def escape(payload: bytes) -> bytes:
    """Escape exactly ``#``, ``$``, ``}`` and ``*``."""
    if not (b"#" in payload or b"$" in payload or b"}" in payload or b"*" in payload):
        return payload
    return _SPECIAL.sub(lambda match: b"}" + bytes([match[0][0] ^ 0x20]), payload)


def encode(payload: bytes) -> bytes:
    """Frame a payload as a packet."""
    return _encode_short(payload) if len(payload) <= _SHORT else _frame(payload)


def _frame(payload: bytes) -> bytes:
    body = escape(payload)
    return b"$%b#%02x" % (body, checksum(body))


_encode_short = lru_cache(maxsize=1024)(_frame)
"""What a loop over stops sends and gets is the same again and again."""


def _split_plain(data: bytes) -> tuple[Sequence[Ack | Packet], int, bytes]:
    """Split off the front what is framed as ``encode`` frames it: events, packets, and the rest."""
    events: list[Ack | Packet] = []
    packets = 0
    start = 0
    while True:
        first = start + data.startswith(b"+", start)
        end = data.find(b"#", first)
        body = data[first + 1 : end]
        if end < 0 or data[first : end + 3] != encode(body):
            return events, packets, data[start:]
        if first > start:
            events.append(_ACK)
        events.append(Packet(body))
        packets += 1
        start = end + 3


_split_short = lru_cache(maxsize=256)(_split_plain)


class Codec:
    """Turn a byte stream into events.

    ``run_length`` is true where replies are received: requests may hold a bare ``*``. ``limit`` is
    the longest body accepted, in bytes, before and after expansion. One codec, one connection.
    """

    def __init__(self, *, run_length: bool = True, limit: int = DEFAULT_LIMIT) -> None:
        self._run_length = run_length
        self._limit = limit
        self._buffer = bytearray()
        self._scanned = 0
        self._skipping = False
        self._acknowledging = True
        self._acks = bytearray()
        self._acks_sent_early = 0

    def start_no_ack_mode(self) -> None:
        """Stop acknowledging, and ignore stray acknowledgements from now on."""
        self._acknowledging = False

    def take_acks(self) -> bytes:
        """Return the acknowledgements to send for what was fed, once."""
        acks = bytes(self._acks)
        self._acks.clear()
        return acks

    def acknowledge_early(self, packets: int) -> bytes:
        """Return what acknowledges each of so many packets to come, for a peer that takes it now.

        A byte later would be too late.
        """
        if not self._acknowledging:
            return b""
        self._acks_sent_early += packets
        return b"+"

    def feed(self, data: bytes) -> list[RspEvent]:
        """Take received bytes and return the events that they complete."""
        events: list[RspEvent] = []
        if not self._buffer and not self._skipping and len(data) <= self._limit:
            data = self._feed_plain(data, events)
            if not data:
                return events
        self._buffer += data
        while self._buffer:
            found = self._next_event()
            if found is None:
                break
            events.extend(found)
        return events

    def _feed_plain(self, data: bytes, events: list[RspEvent]) -> bytes:
        """Take what is framed as ``encode`` frames it off the front; return the rest."""
        found, packets, rest = _split_short(data) if len(data) <= _SHORT else _split_plain(data)
        if self._acknowledging:
            events += found
            early = min(packets, self._acks_sent_early)
            self._acks_sent_early -= early
            self._acks += b"+" * (packets - early)
        else:
            events += [event for event in found if event is not _ACK]
        return rest

    def _next_event(self) -> list[RspEvent] | None:
        if self._skipping:
            return self._skip()
        first = self._buffer[0]
        if first in b"$%":
            return self._frame()
        if first in b"+-":
            del self._buffer[:1]
            if not self._acknowledging:
                return []
            return [Ack() if first == ord("+") else Nack()]
        if first == INTERRUPT[0]:
            del self._buffer[:1]
            return [Interrupt()]
        return [self._junk()]

    def _junk(self) -> Junk:
        match = _MARK.search(self._buffer)
        end = match.start() if match else len(self._buffer)
        junk = Junk(bytes(self._buffer[:end]))
        del self._buffer[:end]
        return junk

    def _frame(self) -> list[RspEvent] | None:
        end = self._buffer.find(b"#", max(1, self._scanned))
        if end < 0:
            self._scanned = len(self._buffer)
            return self._refuse_oversize() if self._scanned > self._limit + 1 else None
        if len(self._buffer) < end + 3:
            self._scanned = end
            return None
        kind = self._buffer[0]
        body, digits = bytes(self._buffer[1:end]), bytes(self._buffer[end + 1 : end + 3])
        del self._buffer[: end + 3]
        self._scanned = 0
        return [self._decode_frame(kind == ord("%"), body, digits)]

    def _refuse_oversize(self) -> list[RspEvent]:
        self._buffer.clear()
        self._scanned = 0
        self._skipping = True
        return [BadPacket(f"longer than {self._limit} bytes")]

    def _skip(self) -> list[RspEvent] | None:
        end = self._buffer.find(b"#")
        if end < 0:
            self._buffer.clear()
            return None
        if len(self._buffer) < end + 3:
            del self._buffer[:end]
            return None
        del self._buffer[: end + 3]
        self._skipping = False
        return []

    def _decode_frame(self, notification: bool, body: bytes, digits: bytes) -> RspEvent:
        try:
            payload = self._decode_body(body, digits)
        except _Malformed as error:
            if not notification:
                self._acknowledge(b"-")
            return BadPacket(str(error))
        if notification:
            return Notification(payload)
        self._acknowledge(b"+")
        return Packet(payload)

    def _acknowledge(self, sign: bytes) -> None:
        if not self._acknowledging:
            return
        if self._acks_sent_early:
            self._acks_sent_early -= 1
        else:
            self._acks += sign

    def _decode_body(self, body: bytes, digits: bytes) -> bytes:
        if len(body) > self._limit:
            raise _Malformed(f"longer than {self._limit} bytes")
        if not re.fullmatch(rb"[0-9a-fA-F]{2}", digits):
            raise _Malformed(f"checksum digits {digits!r}")
        if checksum(body) != int(digits, 16):
            raise _Malformed(f"checksum {digits.decode()} where {checksum(body):02x} is right")
        if self._run_length and b"*" in body:
            body = _expand_runs(body, self._limit)
        return _unescape(body) if b"}" in body else body


def _expand_runs(body: bytes, limit: int) -> bytes:
    expanded = bytearray()
    position = 0
    for match in _RUN.finditer(body):
        expanded += body[position : match.start()]
        position = match.end()
        if not expanded:
            raise _Malformed("a run of nothing")
        if not 0x20 <= match[1][0] <= 0x7E:
            raise _Malformed(f"run count {match[1]!r}")
        expanded += expanded[-1:] * (match[1][0] - 29)
        if len(expanded) > limit:
            raise _Malformed(f"longer than {limit} bytes")
    if b"*" in body[position:]:
        raise _Malformed("a run without a count")
    return bytes(expanded + body[position:])


def _unescape(body: bytes) -> bytes:
    if b"}" in _ESCAPED.sub(b"", body):
        raise _Malformed("an escape without a byte")
    return _ESCAPED.sub(lambda match: bytes([match[1][0] ^ 0x20]), body)

"""What a GDB client asks, for a server: payloads to records. Garbage is a ``ProtocolError``."""

import re
from dataclasses import dataclass

from klosdbg.errors import ProtocolError
from klosdbg.wire.rsp_replies import ThreadId, parse_hex, parse_thread_id

_BREAKPOINT = re.compile(rb"([zZ])([0-4]),([0-9a-fA-F]+),([0-9a-fA-F]+)")
_MEMORY = re.compile(
    rb"(?:(m)([0-9a-fA-F]+),([0-9a-fA-F]+)|([MX])([0-9a-fA-F]+),([0-9a-fA-F]+)[:,](.*))", re.DOTALL
)
_ACTION = re.compile(r"([cst]|[CS][0-9a-fA-F]{2}|r[0-9a-fA-F]+,[0-9a-fA-F]+)(?::(.+))?")


@dataclass(frozen=True, slots=True)
class BreakpointRequest:
    """A ``Z`` or ``z`` packet: ``kind`` 0 software, 1 hardware, 2 to 4 watch; ``size`` as sent."""

    insert: bool
    kind: int
    address: int
    size: int


@dataclass(frozen=True, slots=True)
class MemoryRequest:
    """An ``m``, ``M`` or ``X`` packet; ``data`` is None for a read."""

    address: int
    size: int
    data: bytes | None = None


@dataclass(frozen=True, slots=True)
class VContAction:
    """One action of ``vCont``; ``thread`` is None where it applies to all that no other names."""

    action: str
    signal: int | None = None
    thread: ThreadId | None = None


def _refuse(payload: bytes) -> ProtocolError:
    return ProtocolError(f"cannot understand the request {payload[:40]!r}")


def parse_breakpoint(payload: bytes) -> BreakpointRequest:
    """Parse ``Z1,189d67d8,3``; conditions and commands after a semicolon are the caller's."""
    match = _BREAKPOINT.fullmatch(payload.partition(b";")[0])
    if not match:
        raise _refuse(payload)
    sign, kind, address, size = match.groups()
    return BreakpointRequest(sign == b"Z", int(kind), int(address, 16), int(size, 16))


def parse_memory(payload: bytes) -> MemoryRequest:
    """Parse ``mADDR,LEN``, ``MADDR,LEN:HEX`` or ``XADDR,LEN:BINARY`` (or a comma for the colon)."""
    match = _MEMORY.fullmatch(payload)
    if not match:
        raise _refuse(payload)
    if match[1]:
        return MemoryRequest(int(match[2], 16), int(match[3], 16))
    data = match[7] if match[4] == b"X" else parse_hex(match[7], "data to write")
    if len(data) != int(match[6], 16):
        raise _refuse(payload)
    return MemoryRequest(int(match[5], 16), len(data), data)


def parse_vcont(payload: bytes) -> list[VContAction]:
    """Parse ``vCont;s:p1.1;c`` into its actions, in order: the first that names a thread wins."""
    actions = [_ACTION.fullmatch(item) for item in payload.decode("latin-1").split(";")[1:]]
    if not payload.startswith(b"vCont;") or not all(actions):
        raise _refuse(payload)
    return [_action(match[1], match[2]) for match in actions if match]


def _action(text: str, thread: str | None) -> VContAction:
    signal = int(text[1:], 16) if text[0] in "CS" else None
    return VContAction(text[0], signal, parse_thread_id(thread) if thread else None)

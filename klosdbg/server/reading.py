"""Answers that only read: registers, memory, and the documents of ``qXfer``."""

import re
from typing import Literal
from xml.sax.saxutils import escape, quoteattr

from klosdbg.errors import CommandError, MemoryFault, ProtocolError
from klosdbg.models import Address
from klosdbg.read import read_cpu, read_memory
from klosdbg.server.client import PACKET_SIZE, Client
from klosdbg.server.hub import Hub
from klosdbg.server.osdata import osdata
from klosdbg.server.registers import Described, cpu_values
from klosdbg.server.thread_memory import read_as_thread
from klosdbg.server.threads import saved_values
from klosdbg.wire.rsp_requests import MemoryRequest, parse_memory

_MOST_BYTES = PACKET_SIZE // 2
_TRANSFER = re.compile(rb"qXfer:([\w-]+):read:([\w.-]*):([0-9a-fA-F]{1,8}),([0-9a-fA-F]{1,8})")
_NUMBER = re.compile(rb"[0-9a-fA-F]{1,4}")


class BadRequest(Exception):
    """Report a request that cannot be understood."""


def values(hub: Hub, client: Client) -> dict[str, int]:
    """Read the registers of the thread that a client has chosen, by name."""
    thread = hub.thread(client)
    if thread.saved is not None:
        return saved_values(client.session.target, thread, hub.layout, client.linear_pc)
    if thread.cpu is not None:
        return cpu_values(thread.cpu, {}, hub.layout, client.linear_pc)
    target = client.session.target
    cpu = read_cpu(target)
    read_general = target.read_general
    general = dict(read_general()) if read_general and not hub.running else {}
    return cpu_values(cpu, general, hub.layout, client.linear_pc)


def read_all_registers(hub: Hub, client: Client, _payload: bytes) -> bytes:
    """Answer ``g``."""
    return hub.layout.encode_all(values(hub, client))


def read_register(hub: Hub, client: Client, payload: bytes) -> bytes:
    """Answer ``p``."""
    return hub.layout.encode(register(hub, payload[1:]), values(hub, client))


def register(hub: Hub, digits: bytes) -> Described:
    """Find a register by the hexadecimal digits of its number."""
    if not _NUMBER.fullmatch(digits) or int(digits, 16) >= len(hub.layout.registers):
        raise BadRequest
    return hub.layout.registers[int(digits, 16)]


def memory_request(payload: bytes) -> MemoryRequest:
    """Parse ``m``, ``M`` and ``X``, or raise ``BadRequest``."""
    try:
        return parse_memory(payload)
    except ProtocolError:
        raise BadRequest from None


def read_hex(hub: Hub, client: Client, payload: bytes) -> bytes:
    """Answer ``m``: as much as is mapped."""
    return _read(hub, client, payload).hex().encode()


def read_binary(hub: Hub, client: Client, payload: bytes) -> bytes:
    """Answer ``x``: as much as is mapped, after a ``b``."""
    return b"b" + _read(hub, client, b"m" + payload[1:])


def _read(hub: Hub, client: Client, payload: bytes) -> bytes:
    asked = memory_request(payload)
    return read_for(hub, client, asked.address, min(asked.size, _MOST_BYTES))


def read_for(hub: Hub, client: Client, address: int, size: int) -> bytes:
    """Read memory as the client's chosen thread sees it: as much as is mapped.

    Raise ``MemoryFault`` where nothing is.
    """
    space: Literal["linear", "physical"] = "physical" if client.physical else "linear"
    if not size:
        return b""
    if address >= 1 << 64:
        raise BadRequest
    target = client.session.target
    if client.thread and not client.physical:
        found = read_as_thread(target, hub.thread(client), address, size)
        if found == b"":
            raise MemoryFault("linear", address, size)
        if found is not None:
            return found
    return read_memory(target, Address(address, space), size, clip=True)


def transfer(hub: Hub, client: Client, payload: bytes) -> bytes | None:
    """Answer ``qXfer``: a part of a document, made anew when it is asked for from its start."""
    match = _TRANSFER.fullmatch(payload)
    if not match:
        return b""
    kind, annex = match[1].decode(), match[2].decode()
    start, size = int(match[3], 16), min(int(match[4], 16), _MOST_BYTES)
    if start == 0 or client.document[0] != (kind, annex):
        made = _document(hub, client, kind, annex)
        if made is None:
            return b""
        client.document = ((kind, annex), made)
    data = client.document[1]
    return (b"l" if start + size >= len(data) else b"m") + data[start : start + size]


def _document(hub: Hub, client: Client, kind: str, annex: str) -> bytes | None:
    if kind == "features":
        if annex != "target.xml":
            raise CommandError(f"there is no description {annex!r}")
        return hub.layout.target_xml
    if kind == "threads":
        return _threads(hub, client)
    if kind == "osdata":
        return _osdata(client, annex)
    if kind == "memory-map":
        return _memory_map(hub.layout.wide)
    return None


def _osdata(client: Client, annex: str) -> bytes:
    return osdata(client.session, annex)


def _threads(hub: Hub, client: Client) -> bytes:
    rows = "".join(
        f'<thread id="{t.number:x}" core="0" name={quoteattr(t.name)}>{escape(t.state)}</thread>'
        for t in hub.threads(client)
    )
    return f'<?xml version="1.0"?><threads>{rows}</threads>'.encode()


def _memory_map(wide: bool) -> bytes:
    """Make gdb's memory map: every linear address.

    gdb reads it once a connection and touches nothing that it leaves out, but a guest maps pages as
    it likes: a map of today's pages would hide tomorrow's.
    """
    tops = (1 << 32,) if not wide else (1 << 63, 1 << 64)
    starts = (0, *tops)
    regions = "".join(
        f'<memory type="ram" start="{start:#x}" length="{top - start:#x}"/>'
        for start, top in zip(starts, tops, strict=False)
    )
    return f'<?xml version="1.0"?><memory-map>{regions}</memory-map>'.encode()

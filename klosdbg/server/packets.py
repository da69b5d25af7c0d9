"""Packets to answers: what each request of a client does. docs/protocol.md lists them all."""

import re
from collections.abc import Callable

from klosdbg.errors import KlosdbgError, MemoryFault, ProtocolError, TargetRunning
from klosdbg.ports import StopEvent
from klosdbg.server import reading, regions, running, scanning
from klosdbg.server.client import PACKET_SIZE, Client, Gone
from klosdbg.server.hub import Hub, error_code
from klosdbg.server.monitor_commands import answer_monitor
from klosdbg.wire.rsp_replies import parse_thread_id

Answer = Callable[[Hub, Client, bytes], bytes | None]

_NAME = re.compile(rb"(?:q|Q|v|j)[A-Za-z0-9_.]*\??|.", re.DOTALL)
_OK = b"OK"
_FEATURES = (
    f"PacketSize={PACKET_SIZE:x};QStartNoAckMode+;qXfer:features:read+;qXfer:threads:read+;"
    "qXfer:osdata:read+;qXfer:memory-map:read+;vContSupported+;swbreak+;hwbreak+;binary-upload+;error-message+;"
    "ConditionalBreakpoints+"
).encode()
_BACKWARDS = b";ReverseStep+;ReverseContinue+"


def answer(hub: Hub, client: Client, payload: bytes) -> None:
    """Do what a packet asks, and reply; an unknown one gets the empty reply."""
    name = _NAME.match(payload)
    handler = _HANDLERS.get(name[0] if name else b"")
    reply = _guarded(handler, hub, client, payload) if handler else b""
    if reply is not None:
        client.reply(reply)


def _guarded(handler: Answer, hub: Hub, client: Client, payload: bytes) -> bytes | None:
    try:
        return handler(hub, client, payload)
    except reading.BadRequest:
        return b"E22"
    except KlosdbgError as error:
        code = error_code(error)
        wordy = "error-message" in client.features or payload[:1] in b"ZvcsCSPGMXb"
        plain = isinstance(error, MemoryFault | TargetRunning)
        return b"E%02x" % code if plain or not wordy else f"E.{error}".encode()


def _supported(hub: Hub, client: Client, payload: bytes) -> bytes:
    asked = payload.decode("latin-1").partition(":")[2].split(";")
    client.features = frozenset(name[:-1] for name in asked if name.endswith("+"))
    return _FEATURES + (_BACKWARDS if hub.target.reverse else b"")


def _no_ack(_hub: Hub, client: Client, _payload: bytes) -> bytes:
    client.codec.start_no_ack_mode()
    return _OK


def _ok(*_request: object) -> bytes:
    return _OK


def _why_stopped(hub: Hub, client: Client, _payload: bytes) -> bytes:
    if hub.running:
        if hub.controller is not client or hub.control is None:
            return hub.stop_reply(client, StopEvent("signal", 0))
        hub.control.interrupt()
        client.found_running = True
    return hub.stop_reply(client)


def _choose_thread(hub: Hub, client: Client, payload: bytes) -> bytes:
    try:
        wanted = parse_thread_id(payload[2:].decode("latin-1")).tid
    except ProtocolError:
        raise reading.BadRequest from None
    if payload[1:2] == b"c" or wanted <= 0:
        return _OK
    if all(thread.number != wanted for thread in hub.threads(client)):
        return b"E03"
    client.thread = wanted
    return _OK


def _current_thread(hub: Hub, client: Client, _payload: bytes) -> bytes:
    return b"QC%x" % hub.running_thread(client).number


def _first_threads(hub: Hub, client: Client, _payload: bytes) -> bytes:
    return b"m" + b",".join(b"%x" % thread.number for thread in hub.threads(client))


def _alive(hub: Hub, client: Client, payload: bytes) -> bytes:
    numbers = {b"%x" % thread.number for thread in hub.threads(client)}
    return _OK if payload[1:].lower() in numbers else b"E03"


def _describe_thread(hub: Hub, client: Client, payload: bytes) -> bytes:
    wanted = payload.partition(b",")[2].lower()
    for thread in hub.threads(client):
        if b"%x" % thread.number == wanted:
            return f"{thread.name}: {thread.state}".encode().hex().encode()
    return b"E03"


def _detach(hub: Hub, client: Client, _payload: bytes) -> bytes:
    if hub.controller is client:
        hub.release(client)
    client.leaving = True
    return _OK


def _kill(hub: Hub, client: Client, payload: bytes) -> bytes:
    _detach(hub, client, payload)
    if payload[:1] == b"k":
        raise Gone("it asked to be let go")
    return _OK


def _host(hub: Hub, *_request: object) -> bytes:
    machine, pointer = ("x86_64", 8) if hub.layout.wide else ("i386", 4)
    triple = f"{machine}-unknown-none".encode().hex()
    return f"triple:{triple};ptrsize:{pointer};endian:little;".encode()


def _physical_mode(_hub: Hub, client: Client, _payload: bytes) -> bytes:
    return b"%d" % client.physical


def _set_physical_mode(hub: Hub, client: Client, payload: bytes) -> bytes:
    if hub.target.physical is None or payload[-2:] not in (b":0", b":1"):
        return b"E22"
    client.physical = payload.endswith(b"1")
    return _OK


_HANDLERS: dict[bytes, Answer] = {
    b"?": _why_stopped,
    b"g": reading.read_all_registers,
    b"p": reading.read_register,
    b"m": reading.read_hex,
    b"x": reading.read_binary,
    b"G": running.write_all_registers,
    b"P": running.write_register,
    b"M": running.write_memory,
    b"X": running.write_memory,
    b"Z": running.change_breakpoint,
    b"z": running.change_breakpoint,
    b"c": running.resume,
    b"C": running.resume,
    b"s": running.resume,
    b"S": running.resume,
    b"b": running.go_back,
    b"vCont": running.resume_threads,
    b"vCont?": running.list_actions,
    b"H": _choose_thread,
    b"T": _alive,
    b"D": _detach,
    b"k": _kill,
    b"vKill": _kill,
    b"qSupported": _supported,
    b"QStartNoAckMode": _no_ack,
    b"QEnableErrorStrings": _ok,
    b"qSymbol": _ok,
    b"qAttached": lambda *_request: b"1",
    b"qC": _current_thread,
    b"qfThreadInfo": _first_threads,
    b"qsThreadInfo": lambda *_request: b"l",
    b"qThreadExtraInfo": _describe_thread,
    b"qXfer": reading.transfer,
    b"qRcmd": answer_monitor,
    b"qMemoryRegionInfo": regions.describe_region,
    b"qCRC": scanning.checksum_memory,
    b"qSearch": scanning.search_memory,
    b"qHostInfo": _host,
    b"qqemu.PhyMemMode": _physical_mode,
    b"Qqemu.PhyMemMode": _set_physical_mode,
}

"""Answers that need control: resuming, breakpoints, and writing."""

from klosdbg.errors import CommandError, ProtocolError
from klosdbg.read import read_cpu
from klosdbg.server.client import Client
from klosdbg.server.hub import Hub
from klosdbg.server.reading import BadRequest, memory_request, register, values
from klosdbg.server.registers import Described
from klosdbg.server.segment_load import LOADED, why_not_loaded
from klosdbg.server.watching import KINDS, add_watchpoint, remove_watchpoint
from klosdbg.wire.agent import parse_conditions
from klosdbg.wire.rsp_requests import VContAction, parse_breakpoint, parse_vcont

_FOLLOWS = (
    "klosdbg: this client observes: waiting for the controller's next stop "
    "(Ctrl-C ends the wait; 'monitor klos control' takes control)\n"
)
_MOST_ADDRESS = 1 << 64


def list_actions(*_request: object) -> bytes:
    """Answer ``vCont?``."""
    return b"vCont;c;C;s;S;t"


def resume(hub: Hub, client: Client, payload: bytes) -> bytes | None:
    """Answer ``c``, ``C``, ``s`` and ``S``; resuming elsewhere than at the PC is refused."""
    if payload[:1] in b"cs" and len(payload) > 1:
        raise BadRequest
    return _act(hub, client, payload[:1].lower() == b"s")


def resume_threads(hub: Hub, client: Client, payload: bytes) -> bytes | None:
    """Answer ``vCont``: the first action decides, as there is one processor."""
    try:
        first = parse_vcont(payload)[0]
    except ProtocolError:
        raise BadRequest from None
    if first.action == "t":
        return _stop(hub, client)
    steps = first.action in "sS"
    if steps:
        _require_running_thread(hub, client, first)
    return _act(hub, client, steps)


def _require_running_thread(hub: Hub, client: Client, action: VContAction) -> None:
    wanted = action.thread.tid if action.thread else 0
    if wanted > 0 and wanted != hub.running_thread(client).number:
        raise CommandError(f"thread {wanted} does not run: only what the processor executes steps")


def _act(hub: Hub, client: Client, steps: bool) -> bytes | None:
    if hub.controller is not client and not steps:
        client.waiting = True
        _say(client, _FOLLOWS)
        return None
    control = hub.require_control(client)
    if client.refused:
        return _stay(hub, client)
    if control.running:
        client.waiting = True
        return None
    if steps:
        control.step()
    else:
        control.resume()
    client.waiting = True
    return None


def _stay(hub: Hub, client: Client) -> bytes:
    """Do not let the guest run past what cannot be watched: say why, and report a stop."""
    for refusal in client.refused.values():
        _say(client, f"klosdbg: {refusal}\n")
    return b"T00thread:%x;" % hub.running_thread(client).number


def _say(client: Client, text: str) -> None:
    """Print a text in the client's console, while it waits for a stop."""
    if client.takes_console:
        client.reply(b"O" + text.encode().hex().encode())


def go_back(hub: Hub, client: Client, payload: bytes) -> bytes | None:
    """Answer ``bs`` and ``bc``; empty where the guest is no replay."""
    back = hub.target.reverse
    if back is None or payload not in (b"bs", b"bc"):
        return b""
    hub.require_control(client)
    if payload == b"bs":
        back.step_back()
    else:
        back.resume_back()
    client.waiting = True
    return None


def _stop(hub: Hub, client: Client) -> bytes:
    interrupt(hub, client)
    return b"OK"


def interrupt(hub: Hub, client: Client) -> None:
    """Do what the byte 0x03 asks: stop the guest, or end an observer's wait."""
    if hub.controller is client and hub.control:
        client.interrupted = client.waiting or client.busy
        if hub.control.running:
            hub.control.interrupt()
    elif client.waiting:
        client.waiting = False
        client.reply(b"T02thread:%x;" % hub.running_thread(client).number)


def change_breakpoint(hub: Hub, client: Client, payload: bytes) -> bytes:
    """Answer ``Z`` and ``z``: breakpoints, and watchpoints where they are safe."""
    try:
        asked = parse_breakpoint(payload)
        conditions = parse_conditions(payload.partition(b";")[2])
    except ProtocolError:
        raise BadRequest from None
    if asked.address >= _MOST_ADDRESS:
        raise BadRequest
    address = asked.address & hub.layout.address_mask
    if asked.kind in KINDS:
        change = add_watchpoint if asked.insert else remove_watchpoint
        change(hub, client, asked.kind, address, asked.size)
    elif asked.insert:
        hub.add_breakpoint(client, asked.kind, address, conditions)
    else:
        hub.remove_breakpoint(client, asked.kind, address)
    return b"OK"


def write_memory(hub: Hub, client: Client, payload: bytes) -> bytes:
    """Answer ``M`` and ``X``; raise ``CommandError`` where memory cannot be written."""
    asked = memory_request(payload)
    hub.require_control(client)
    if hub.target.linear_writer is None or client.physical:
        raise CommandError(f"{hub.target.name} cannot be written like this")
    if asked.address >= _MOST_ADDRESS:
        raise BadRequest
    if asked.data:
        hub.target.linear_writer.write(asked.address, asked.data)
    return b"OK"


def write_register(hub: Hub, client: Client, payload: bytes) -> bytes:
    """Answer ``P``."""
    number, _, digits = payload[1:].partition(b"=")
    chosen = register(hub, number)
    _write(hub, client, chosen, _value(chosen, digits))
    return b"OK"


def write_all_registers(hub: Hub, client: Client, payload: bytes) -> bytes:
    """Answer ``G``: write those that differ; klosdbg's own additions only with ``P``."""
    at, known = 1, values(hub, client)
    for chosen in hub.layout.registers:
        digits = payload[at : at + chosen.bits // 4]
        at += chosen.bits // 4
        if not digits or b"x" in digits or chosen.system:
            continue
        value = _value(chosen, digits)
        if known.get(chosen.name) != value:
            _write(hub, client, chosen, value)
    return b"OK"


def _value(chosen: Described, digits: bytes) -> int:
    try:
        raw = bytes.fromhex(digits.decode("ascii"))
    except (ValueError, UnicodeDecodeError):
        raise BadRequest from None
    if len(raw) != chosen.bits // 8:
        raise BadRequest
    return int.from_bytes(raw, "little")


def _write(hub: Hub, client: Client, chosen: Described, value: int) -> None:
    hub.require_control(client)
    writer = hub.target.register_writer
    if writer is None or not hub.thread(client).stopped:
        raise CommandError("only the registers of the running thread can be written")
    why = why_not_loaded(hub.target, chosen.name, value) if chosen.name in LOADED else None
    if why:
        raise CommandError(f"the processor would not load {value:#x} into {chosen.name}: {why}")
    pc = hub.layout.pc
    if chosen.name == pc and client.linear_pc:
        cpu = read_cpu(hub.target)
        value = value - (cpu.linear_pc - cpu.eip) & (1 << chosen.bits) - 1
    writer.write(pc if chosen.name == f"{pc}_offset" else chosen.name, value)

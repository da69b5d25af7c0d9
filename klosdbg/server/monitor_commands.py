"""The answer to ``qRcmd``, and the server's own commands."""

from collections.abc import Callable

from klosdbg.errors import CommandError, KlosdbgError, TargetLost, UsageError
from klosdbg.read import read_cpu
from klosdbg.server.client import Client
from klosdbg.server.hub import Hub
from klosdbg.server.monitor import HELP, READ_ONLY, check_read_only, run_klos
from klosdbg.x86.cpu import Cpu

_CHUNK = 2000
_MOST_SAID = 7 << 20
_MOVED = "klosdbg: gdb has not seen that: 'maint flush register-cache' makes it look again\n"
_STATES = {"on": True, "off": False}


def answer_monitor(hub: Hub, client: Client, payload: bytes) -> bytes:
    """Run what ``monitor`` was given; all that is said goes out as console text."""
    try:
        line = bytes.fromhex(payload.partition(b",")[2].decode("ascii")).decode()
    except ValueError:
        return b"E22"
    said = _cut(_said(hub, client, line.strip())).encode()
    for start in range(0, len(said), _CHUNK):
        client.reply(b"O" + said[start : start + _CHUNK].hex().encode())
    return b"OK"


def _cut(said: str) -> str:
    """Leave out what would be too much for a client to take at once."""
    if len(said) <= _MOST_SAID:
        return said
    shown = said[: said.rfind("\n", 0, _MOST_SAID) + 1]
    left = len(said) - len(shown)
    return f"{shown}klosdbg: {left} characters are left out: ask for less, or attach klosdbg\n"


def _said(hub: Hub, client: Client, line: str) -> str:
    word, _, rest = line.partition(" ")
    try:
        if word == "klos":
            return _klos(hub, client, rest.strip())
        if word in ("", "help"):
            return f"{HELP}\n  {', '.join(READ_ONLY)}\n"
        return _qemu(hub, line)
    except TargetLost:
        raise
    except KlosdbgError as error:
        return f"klosdbg: {error}\n"


def _qemu(hub: Hub, line: str) -> str:
    check_read_only(line)
    if hub.target.monitor is None:
        raise CommandError(f"{hub.target.name} has no monitor: only 'monitor klos CMD' works here")
    return hub.target.monitor.command(line)


def _klos(hub: Hub, client: Client, line: str) -> str:
    word, *rest = line.split() or [""]
    if word in _OWN:
        return _OWN[word](hub, client, rest) + "\n"
    if not line:
        return HELP + "\n"
    before = _registers(hub)
    client.busy = True
    try:
        said = run_klos(client, line, controls=hub.controller is client)
    finally:
        client.busy = client.interrupted = False
    return said if _registers(hub) == before else said + _MOVED


def _registers(hub: Hub) -> Cpu | None:
    """Read what a client has in its cache of registers; None while the guest runs."""
    return None if hub.running else read_cpu(hub.target)


def _control(hub: Hub, client: Client, _rest: list[str]) -> str:
    hub.take_control(client)
    return "this client has control"


def _release(hub: Hub, client: Client, _rest: list[str]) -> str:
    if hub.controller is not client:
        return "this client observes already"
    hub.release(client)
    return "this client observes; nobody has control"


def _clients(hub: Hub, client: Client, _rest: list[str]) -> str:
    return "\n".join(_describe(hub, client, other) for other in hub.clients)


def _describe(hub: Hub, client: Client, other: Client) -> str:
    role = "controls" if hub.controller is other else "observes"
    if other.waiting:
        role += ", waits for a stop"
    return f"{'*' if other is client else ' '} {other.number}  {role}"


def _threads(_hub: Hub, client: Client, rest: list[str]) -> str:
    client.shows_threads = _state(rest, "as-threads")
    client.thread = 0
    return "threads are shown" if client.shows_threads else "one thread: the processor"


def _linear_pc(_hub: Hub, client: Client, rest: list[str]) -> str:
    client.linear_pc = _state(rest, "linear-pc")
    meaning = "CS base + EIP" if client.linear_pc else "the processor's EIP"
    return f"the program counter is {meaning}; 'maint flush register-cache' makes gdb look again"


def _state(rest: list[str], name: str) -> bool:
    if len(rest) != 1 or rest[0] not in _STATES:
        raise UsageError(f"say 'monitor klos {name} on' or 'monitor klos {name} off'")
    return _STATES[rest[0]]


_OWN: dict[str, Callable[[Hub, Client, list[str]], str]] = {
    "control": _control,
    "release": _release,
    "clients": _clients,
    "as-threads": _threads,
    "linear-pc": _linear_pc,
}

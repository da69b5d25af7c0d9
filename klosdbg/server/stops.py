"""Stops that are news: who is told of one, and which ones no client hears of."""

from klosdbg.errors import KlosdbgError, MemoryFault, TargetLost
from klosdbg.models import Address
from klosdbg.ports import StopEvent
from klosdbg.read import read_cpu, read_memory
from klosdbg.server.client import Client, Conditions
from klosdbg.server.hub import Hub
from klosdbg.server.reading import values
from klosdbg.server.recorders import recorded_at
from klosdbg.session import Breakpoint, Session
from klosdbg.wire.agent import AgentExpression, Machine, evaluate


def take_news(hub: Hub) -> list[tuple[Client, bytes]]:
    """Make the stop replies for the clients that wait for one, where a stop is news."""
    event = hub.control.take_stop() if hub.control else None
    if event is None:
        return []
    told = [client for client in hub.clients if client.waiting]
    for client in told:
        client.waiting = client.interrupted = False
    return [(client, hub.stop_reply(client, event)) for client in told]


def is_quiet(hub: Hub, event: StopEvent) -> bool:
    """Tell whether a new stop is nobody's: a recorder's, or one where no condition holds.

    A session whose command waits for the guest looks itself at what it has set.
    """
    busy = [client.session for client in hub.clients if client.busy]
    recorded = recorded_at(hub.idle_sessions, event)
    if event.reason != "breakpoint":
        return False
    linear = read_cpu(hub.target).linear_pc if recorded is None else recorded
    if any(linear in s.awaited or s.tracer or _set_by(s, linear) for s in busy):
        return False
    ours = [b for session in hub.idle_sessions for b in _set_by(session, linear)]
    asked = _asked_by(hub.controller, linear) if hub.controller else []
    if recorded is None and not ours and not asked:
        return False
    return not any(b.holds() for b in ours) and not any(_is_wanted(hub, c) for c in asked)


def _set_by(session: Session, linear: int) -> list[Breakpoint]:
    return [b for b in session.breakpoints if b.address == linear]


def _asked_by(client: Client, linear: int) -> list[Conditions]:
    return [found for (_, at), found in client.breakpoints.items() if at == linear]


def _is_wanted(hub: Hub, conditions: Conditions) -> bool:
    assert hub.controller is not None
    machine = _machine(hub, hub.controller) if conditions else None
    return machine is None or any(_holds(condition, machine) for condition in conditions)


def _holds(condition: AgentExpression, machine: Machine) -> bool:
    """Tell whether a condition holds; one that cannot be evaluated does, as in gdb."""
    try:
        return evaluate(condition, machine) != 0
    except TargetLost:
        raise
    except KlosdbgError:
        return True


def _machine(hub: Hub, client: Client) -> Machine:
    """Make what a condition reads: the processor's registers and the memory that it sees."""
    client.thread = 0
    known: dict[str, int] = {}

    def register(number: int) -> int | None:
        if number >= len(hub.layout.registers):
            return None
        if not known:
            known.update(values(hub, client))
        return known.get(hub.layout.registers[number].name)

    def memory(address: int, size: int) -> bytes | None:
        try:
            return read_memory(hub.target, Address(address & hub.layout.address_mask), size)
        except MemoryFault:
            return None

    return Machine(register, memory)

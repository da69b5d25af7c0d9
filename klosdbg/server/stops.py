"""Stops that are news: who is told of one, and which one the breakpoint's condition keeps quiet."""

from klosdbg.errors import KlosdbgError, MemoryFault, TargetLost
from klosdbg.models import Address
from klosdbg.ports import StopEvent
from klosdbg.read import read_cpu, read_memory
from klosdbg.server.client import Client
from klosdbg.server.hub import Hub
from klosdbg.server.reading import values
from klosdbg.wire.agent import AgentExpression, Machine, evaluate

_SIGINT = 2


def take_news(hub: Hub) -> list[tuple[Client, bytes]]:
    """Make the stop replies for the clients that wait for one, where a stop is news.

    A guest that stopped at a breakpoint whose condition does not hold runs on.
    """
    event = hub.control.take_stop() if hub.control else None
    if event is None or hub.control is None:
        return []
    if hub.controller is not None and _is_quiet(hub, hub.controller, event):
        if not hub.controller.interrupted:
            hub.control.resume()
            return []
        event = StopEvent("interrupt", _SIGINT)
    told = [client for client in hub.clients if client.waiting]
    for client in told:
        client.waiting = client.interrupted = False
    return [(client, hub.stop_reply(client, event)) for client in told]


def _is_quiet(hub: Hub, client: Client, event: StopEvent) -> bool:
    if event.reason != "breakpoint" or not any(client.breakpoints.values()):
        return False
    linear = read_cpu(hub.target).linear_pc
    here = [
        client.breakpoints[kind, linear] for kind in (0, 1) if (kind, linear) in client.breakpoints
    ]
    if not here or not all(here) or any(b.address == linear for b in client.session.breakpoints):
        return False
    machine = _machine(hub, client)
    return not any(_holds(condition, machine) for conditions in here for condition in conditions)


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

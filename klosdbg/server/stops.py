"""Stops that are news, and those of the breakpoints that a client has set by packets."""

from klosdbg.errors import KlosdbgError, MemoryFault, TargetLost
from klosdbg.models import Address
from klosdbg.read import read_memory
from klosdbg.server.client import Client, Conditions
from klosdbg.server.hub import Hub
from klosdbg.server.reading import values
from klosdbg.stops import Claim, NewStop
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


class Controllers:
    """The breakpoints that the client in control has set by packets, as a party to the stops."""

    interval = None
    looks = False
    has_enough = False

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def turn(self) -> None:
        """Do nothing while the guest runs."""

    def claim(self, stop: NewStop) -> Claim:
        """Let the guest run on where none of the conditions at a breakpoint holds."""
        client = self._hub.controller
        if client is None or not client.breakpoints or stop.event.reason != "breakpoint":
            return None
        asked = [found for (_, at), found in client.breakpoints.items() if at == stop.linear]
        if not asked:
            return None
        return "stays" if any(_is_wanted(self._hub, each) for each in asked) else "passes"


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

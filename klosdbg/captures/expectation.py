"""What a script expects of what it recorded: an expression over events, console and registers."""

from collections.abc import Sequence
from typing import Protocol

from klosdbg.captures.models import Expectation
from klosdbg.events.event import Event
from klosdbg.events.expression import parse_expression
from klosdbg.ports import Target
from klosdbg.read import REGISTERS, read_cpu, read_register
from klosdbg.system import System

_OWN = ("events", "relocations", "console", "symbol", "process", "cpl")
_SHOWN = 60


class ExpectingSession(Protocol):
    """What this module needs of a session."""

    @property
    def target(self) -> Target:
        """The target, or a ``CommandError``."""

    @property
    def system(self) -> System:
        """What is known of the guest's system."""

    @property
    def process(self) -> str | None:
        """The name of the process that runs, where it is known."""

    @property
    def events(self) -> Sequence[Event]:
        """The events that were recorded."""

    def symbol(self, address: int) -> str | None:
        """Name a linear address."""


def check_expectation(session: ExpectingSession, text: str) -> Expectation:
    """Evaluate an expression; ``UsageError`` for one that makes no sense.

    Its names: ``events``, ``relocations`` (how many), ``console``, ``symbol`` and ``process`` where
    the processor stands, ``cpl``, and every register.
    """
    expression = parse_expression(text, (*_OWN, *REGISTERS))
    known = [name for name in (*_OWN, *REGISTERS) if name in expression.names]
    names = {name: _value(session, name) for name in known}
    held = bool(expression.value(names))
    return Expectation(expression.text, held, "" if held else _found(names))


def _value(session: ExpectingSession, name: str) -> object:
    if name == "events":
        return tuple(session.events)
    target = session.target
    if name == "relocations":
        return session.system.relocations
    if name == "console":
        raw = target.read_console() if target.read_console else b""
        return raw.decode("utf-8", "replace")
    if name == "process":
        return session.process
    if name in ("symbol", "cpl"):
        cpu = read_cpu(target)
        return session.symbol(cpu.linear_pc) if name == "symbol" else cpu.cpl
    return read_register(read_cpu(target), name)


def _found(names: dict[str, object]) -> str:
    parts = [
        f"{len(value)} events"
        if name == "events" and isinstance(value, tuple)
        else f"{name} is {_shown(value)}"
        for name, value in names.items()
    ]
    return ", ".join(parts)[:200]


def _shown(value: object) -> str:
    if isinstance(value, int):
        return f"{value:#x}"
    shown = repr(value)
    return shown if len(shown) <= _SHOWN else f"...{shown[-_SHOWN:]}"

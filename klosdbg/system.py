"""What a guest's system is known to mean, and the record that puts it together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from klosdbg.x86.selector import Selector


@dataclass(frozen=True, slots=True)
class Runs:
    """Who runs: the name of the process or task, and its numbers where the system has any."""

    name: str
    pid: int | None = None
    tid: int | None = None


@dataclass(frozen=True, slots=True)
class SystemProcess:
    """A process that has not ended; ``cr3`` is its page directory's physical address."""

    pid: int
    name: str
    cr3: int


@dataclass(frozen=True, slots=True)
class SystemThread:
    """A thread, or a task: ``doing`` says in words what it does.

    ``saved`` holds the registers of one that waits, by their SDM names; None where the processor
    holds them. ``ldt`` is the selector of its own LDT, None where all use the one in LDTR.
    """

    number: int
    name: str
    doing: str
    pid: int | None = None
    saved: Mapping[str, int] | None = None
    ldt: int | None = None


@dataclass(frozen=True, slots=True)
class System:
    """What is known of the system that a guest runs now. What it lacks is None or empty.

    ``selector_roles`` maps what selectors are for to their values, ``vector_names`` those vectors
    to names that the processor has none for. ``event_gate`` is the selector of the call gate that
    ends an event. ``who_runs``, ``processes`` and ``threads`` read the guest when they are called,
    and raise ``KlosdbgError`` where it cannot be read.
    """

    name: str
    selector_roles: Mapping[str, int] = field(default_factory=dict)
    vector_names: Mapping[int, str] = field(default_factory=dict)
    event_gate: int | None = None
    who_runs: Callable[[], Runs | None] | None = None
    processes: Callable[[], Sequence[SystemProcess]] | None = None
    threads: Callable[[], Sequence[SystemThread]] | None = None

    def slot_names(self, table: str) -> dict[int, str]:
        """Map indices of ``gdt`` or ``ldt`` to the roles of the selectors that select from it."""
        selectors = {role: Selector(value) for role, value in self.selector_roles.items()}
        return {s.index: role for role, s in selectors.items() if s.table == table and not s.null}


UNKNOWN = System("unknown")
"""A guest of which nothing is known."""

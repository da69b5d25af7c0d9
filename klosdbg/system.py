"""What a guest's system is known to mean, and the record that puts it together."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from klosdbg.ports import Symbols, Target
from klosdbg.x86.selector import Selector

if TYPE_CHECKING:
    from klosdbg.recording.event_condition import TellMore
    from klosdbg.recording.stopping import Follow
    from klosdbg.recording.tracer import EventSource

Row = Mapping[str, object]
"""A record of a list, by the names of its fields."""


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
    """What is known of the system that a guest runs now. What it lacks is None, empty or False.

    ``selector_roles`` maps what selectors are for to their values, ``vector_names`` those vectors
    to names that the processor has none for. ``event_gate`` is the selector of the call gate that
    ends an event, ``relocations`` how many there have been. ``own_ldts`` tells that what runs has
    an LDT of its own. ``symbols`` find this system again without a search.

    What is called reads the guest then, and raises ``KlosdbgError`` where it cannot be read.
    ``ring`` makes the recorder of what the system itself writes down of its events, and
    ``follow_events`` what follows them by stops; ``tell_at_stub`` makes what adds to an event that
    begins. ``tables`` are lists that no command shows, ``states`` what two states are compared by:
    fields by place. ``relocation_log`` yields records in order of their ``seq``.
    ``snapshot_readers`` yields what reads all of it through a target, code as well if asked to.
    """

    name: str
    selector_roles: Mapping[str, int] = field(default_factory=dict)
    vector_names: Mapping[int, str] = field(default_factory=dict)
    event_gate: int | None = None
    own_ldts: bool = False
    who_runs: Callable[[], Runs | None] | None = None
    processes: Callable[[], Sequence[SystemProcess]] | None = None
    threads: Callable[[], Sequence[SystemThread]] | None = None
    ring: "Callable[[], EventSource] | None" = None
    follow_events: "Follow | None" = None
    tell_at_stub: "Callable[[], TellMore] | None" = None
    tables: Mapping[str, Callable[[], Iterable[Row]]] = field(default_factory=dict)
    states: Mapping[str, Callable[[], Mapping[str, object]]] = field(default_factory=dict)
    relocations: int | None = None
    relocation_log: Callable[[], Sequence[Row]] | None = None
    snapshot_readers: Callable[[Target, bool], Iterable[Callable[[], object]]] | None = None
    symbols: Symbols | None = None

    def slot_names(self, table: str) -> dict[int, str]:
        """Map indices of ``gdt`` or ``ldt`` to the roles of the selectors that select from it."""
        selectors = {role: Selector(value) for role, value in self.selector_roles.items()}
        return {s.index: role for role, s in selectors.items() if s.table == table and not s.null}


class FindSystem(Protocol):
    """Finds out which system a guest runs; ``UNKNOWN`` is none that is known."""

    def __call__(self, target: Target, symbols: Symbols | None, search: bool = False) -> System:
        """Ask the guest; ``search`` lets it take as long as searching all memory does."""


UNKNOWN = System("unknown")
"""A guest of which nothing is known."""

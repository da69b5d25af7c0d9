"""The only mutable state: what a user is looking at, and how they want to see it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from klosdbg.errors import CommandError, KlosdbgError, TargetLost
from klosdbg.ports import Symbols, Target
from klosdbg.stop_cache import StopCache
from klosdbg.stops import Claim, NewStop, Party, Stops, owning
from klosdbg.system import UNKNOWN, System
from klosdbg.systems import find_system
from klosdbg.tasks.known import TaskFinder

if TYPE_CHECKING:
    from klosdbg.bench.measure import Loop, TracedGuest
    from klosdbg.captures.capture import Capture, RunFacts
    from klosdbg.captures.opened import Opened, Snapshot
    from klosdbg.events.event import Event
    from klosdbg.models import OwnImages
    from klosdbg.recording.tracer import Tracer
    from klosdbg.x86.enforcement import ProbeResult


@dataclass(slots=True)
class Breakpoint:
    """A breakpoint as the user set it; ``address`` is linear; ``condition`` has to hold at it."""

    number: int
    address: int
    wanted: str
    hits: int = 0
    condition: Callable[[], bool] | None = None

    def holds(self) -> bool:
        """Tell whether a stop at its address is one that was asked for.

        As in gdb, a condition that cannot be evaluated holds.
        """
        try:
            return self.condition is None or self.condition()
        except TargetLost:
            raise
        except KlosdbgError:
            return True


class Factories(Protocol):
    """What makes targets for commands that need another one than the session's."""

    def probe(self, accel: str, qemu: str) -> "ProbeResult":
        """Boot the probe guest under an accelerator and return what it found enforced."""

    def own_images(self) -> "OwnImages":
        """Say where KLOS and the other images of our own are, and which builds they are."""

    def version(self, program: str, package: str) -> str | None:
        """Return a host program's version; None where it is missing, empty where unknown."""

    def find(self, program: str) -> str | None:
        """Return the path of a host program; None where it is missing."""

    def system(self) -> str:
        """Name the host: distribution, kernel and architecture."""

    def host_cycles(self) -> dict[str, float]:
        """Time service calls on the host's own processor: TSC ticks by mechanism."""

    def guest(
        self, *, shared: bool, orders: str = "", counted: bool = False
    ) -> AbstractContextManager[Target]:
        """Boot KLOS to ``klos_ready``, with its RAM shared with us or not.

        It then carries out ``orders``; ``counted``: its clock is its count of instructions.
        """

    def symbols(self) -> Symbols:
        """Give the symbols of the image that ``guest`` boots."""

    def traced_guest(self, orders: str) -> "AbstractContextManager[TracedGuest]":
        """Boot KLOS behind a connection that learns what a recorder sends."""

    def gdb_loop(
        self, orders: str, places: Mapping[int, list[tuple[int, int]]]
    ) -> "AbstractContextManager[Loop]":
        """Boot KLOS under gdb with its Python breakpoints; ``TargetLost`` where there is no gdb."""

    def debugger(self, session: "Session") -> "Debugger":
        """Start a gdb on a server of the session's own, with the session's symbols."""


class Debugger(Protocol):
    """A gdb on the session's target. ``resumed`` tells that its last command let the guest run."""

    resumed: bool

    @property
    def ended(self) -> bool:
        """Tell whether it is gone."""

    @property
    def breakpoints(self) -> tuple[int, ...]:
        """The linear addresses of its breakpoints."""

    def see(self, state: object) -> None:
        """Have it look anew where this state of the guest is another than it last saw."""

    def saw(self, state: object) -> None:
        """Note the state that it has left the guest in."""

    def run(self, line: str, timeout: float | None) -> Iterator[str]:
        """Run a command and yield what it prints, in whole lines; ``CommandError`` if it fails."""

    def complete(self, line: str) -> list[str]:
        """List what the beginning of a line may become."""

    def close(self) -> None:
        """End it."""


@dataclass(slots=True)
class Session:
    """One user's session. Commands get it; front ends own it.

    ``in_background`` holds from ``c &`` until the stop that ends it has been shown. ``capture`` is
    the recording under way, ``opened`` the one that is looked at; ``taken`` holds the snapshots of
    a live session, ``shown`` is the number of the one that every command reads, or None, and
    ``describe`` tells a capture what was run. ``events`` are those of the last recording, or of the
    capture that is open; recorders hand them to ``add_event``.
    """

    factories: Factories | None = None
    symbols: Symbols | None = None
    json: bool = False
    color: bool = False
    timeout: float | None = None
    interactive: bool = False
    breakpoints: list[Breakpoint] = field(default_factory=list)
    warn: Callable[[str], None] = lambda _message: None
    leaving: bool = False
    in_background: bool = False
    stop_cache: StopCache = field(default_factory=StopCache)
    tasks: TaskFinder = field(default_factory=TaskFinder)
    tracer: "Tracer | None" = None
    awaited: set[int] = field(default_factory=set)
    progress: Callable[[str], None] = lambda _message: None
    describe: "Callable[[], RunFacts] | None" = None
    capture: "Capture | None" = None
    opened: "Opened | None" = None
    taken: "dict[int, Snapshot]" = field(default_factory=dict)
    events: "list[Event]" = field(default_factory=list)
    shown: int | None = None
    debugger: Debugger | None = None
    _shown_target: Target | None = None
    _located: Symbols | None = None
    _party: Party | None = None
    _stops: Stops | None = None
    _target: Target | None = None
    _next_breakpoint: int = 1

    @property
    def target(self) -> Target:
        """The target, or a ``CommandError`` that says how to get one."""
        if self._target is None:
            raise CommandError("no target: start one with 'klosdbg run' or 'klosdbg attach'")
        return self._shown_target or self._target

    @property
    def live(self) -> Target:
        """The target itself, whatever snapshot is being looked at."""
        shown, self._shown_target = self._shown_target, None
        try:
            return self.target
        finally:
            self._shown_target = shown

    @property
    def system(self) -> System:
        """What is known of the system that the guest runs: found anew at each stop that asks.

        A reset, or a guest that has booted meanwhile, cannot be missed so.
        """
        if self._target is None:
            return UNKNOWN
        target, symbols = self.target, self._located or self.symbols
        try:
            cpu = target.registers.read()
        except KlosdbgError:
            return UNKNOWN
        return self.stop_cache.get(cpu, "system", lambda: self._find(target, symbols))

    def _find(self, target: Target, symbols: Symbols | None) -> System:
        return find_system(target, symbols, tasks=self.tasks)

    def search_system(self) -> System:
        """Tell what is known of the guest's system, searching all memory for it if need be.

        What a search has found is found without one from then on.
        """
        cpu = self.target.registers.read()
        system = self.stop_cache.get(cpu, "searched", lambda: self.system_of(self.target))
        if system.symbols is not self.symbols:
            self._located = system.symbols
        return system

    def system_of(self, target: Target) -> System:
        """Tell what is known of a target's system, searching all its memory for it if need be."""
        return find_system(target, self._located or self.symbols, search=True)

    @property
    def process(self) -> str | None:
        """The name of the process or task that runs, read once a stop; None where none is known."""
        who_runs = self.system.who_runs
        if who_runs is None:
            return None
        runs = self.stop_cache.get(self.target.registers.read(), "who_runs", who_runs)
        return runs.name if runs else None

    @property
    def snapshots(self) -> "Mapping[int, Snapshot]":
        """The snapshots by number: of the capture that is open, or of this session."""
        return self.opened.snapshots if self.opened else self.taken

    def add_event(self, event: "Event") -> None:
        """Take an event that a recorder finished, and let a capture write it down at once."""
        self.events.append(event)
        if self.capture is not None:
            self.capture.event(event, first=len(self.events) == 1)

    def look_at(self, number: int | None, target: Target | None) -> None:
        """Let every command read a snapshot; None is the target itself."""
        self.shown, self._shown_target = number, target

    @property
    def has_target(self) -> bool:
        """Tell whether there is a target."""
        return self._target is not None

    @property
    def control(self) -> Stops:
        """The target's run control, or a ``CommandError`` where it cannot run."""
        if self._stops is None or self.target.control is None:
            hint = " ('at now' goes back to the guest)" if self._shown_target else ""
            raise CommandError(f"{self.target.name} cannot run: it is a recording{hint}")
        return self._stops

    def attach(self, target: Target, party: Party | None = None) -> None:
        """Take a target; its stops are told to ``party`` instead, where that is given."""
        self._target, self._stops = owning(target)
        self._party = party or self
        if self._stops is not None:
            self._stops.join(self._party)

    @property
    def interval(self) -> float | None:
        """How soon the recorder wants its turn while the guest runs, in seconds; None: never."""
        return self.tracer.interval if self.tracer is not None else None

    @property
    def looks(self) -> bool:
        """Tell whether the recorder has to look at the stopped guest now and then."""
        return self.tracer is not None and self.tracer.stopping

    @property
    def has_enough(self) -> bool:
        """Tell whether the recorder has as many events as were asked for."""
        return self.tracer is not None and self.tracer.full

    def turn(self) -> None:
        """Let the recorder build events while the guest runs."""
        if self.tracer is not None:
            self.tracer.poll()

    def claim(self, stop: NewStop) -> Claim:
        """Say whose a stop is: the recorder's, a breakpoint's, of a command that waits for it."""
        wanted = self.record(stop)
        return "stays" if self.has_enough else self.claim_of_others(stop, wanted)

    def record(self, stop: NewStop) -> bool:
        """Tell the recorder of a stop, and whether it was wanted there."""
        tracer = self.tracer
        if tracer is None or not tracer.handle(stop.event):
            return False
        if tracer.place is not None:
            stop.is_at(tracer.place)
        return True

    def claim_of_others(self, stop: NewStop, recorded: bool) -> Claim:
        """Say whose a stop is that the recorder has been told of, and wanted or not."""
        if stop.event.reason != "breakpoint":
            return None
        otherwise: Claim = "passes" if recorded else None
        if not (self.breakpoints or self.awaited):
            return otherwise
        if stop.linear in self.awaited:
            return "stays"
        here = [b for b in self.breakpoints if b.address == stop.linear]
        if not here:
            return otherwise
        return "stays" if any(b.holds() for b in here) else "passes"

    def detach(self) -> None:
        """Leave the target as it was found: breakpoints removed, running if it ran."""
        if self._target is not None:
            target, self._target = self._target, None
            if self._stops is not None and self._party is not None:
                self._stops.leave(self._party)
            self._stops = None
            self.look_at(None, None)
            self.breakpoints.clear()
            self.tracer = None
            self.in_background = False
            try:
                self.leave_debugger()
            finally:
                target.close()

    def leave_debugger(self) -> None:
        """End the gdb that the session has started, if any."""
        if self.debugger is not None:
            debugger, self.debugger = self.debugger, None
            debugger.close()

    def symbol(self, address: int) -> str | None:
        """Name a linear address as ``symbol+offset``, or None."""
        return self.symbols.name(address) if self.symbols else None

    def add_breakpoint(
        self, address: int, wanted: str, condition: Callable[[], bool] | None = None
    ) -> Breakpoint:
        """Set a breakpoint at a linear address."""
        self.control.insert(address)
        breakpoint = Breakpoint(self._next_breakpoint, address, wanted, condition=condition)
        self._next_breakpoint += 1
        self.breakpoints.append(breakpoint)
        return breakpoint

    def delete_breakpoint(self, breakpoint: Breakpoint) -> None:
        """Take a breakpoint away."""
        self.control.remove(breakpoint.address)
        self.breakpoints.remove(breakpoint)

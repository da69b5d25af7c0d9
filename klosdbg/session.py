"""The only mutable state: what a user is looking at, and how they want to see it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from klosdbg.errors import CommandError
from klosdbg.klos.cache import StopCache
from klosdbg.ports import RunControl, Symbols, Target


@dataclass(slots=True)
class Breakpoint:
    """A breakpoint as the user set it; ``address`` is linear."""

    number: int
    address: int
    wanted: str
    hits: int = 0


class Factories(Protocol):
    """What makes targets for commands that need another one than the session's."""

    def probe(self, accel: str, qemu: str) -> object:
        """Boot the probe guest under an accelerator and return what it found enforced."""

    def version(self, program: str, package: str) -> str | None:
        """Return a host program's version; None where it is missing, empty where unknown."""

    def host_cycles(self) -> dict[str, float]:
        """Time service calls on the host's own processor: TSC ticks by mechanism."""


@dataclass(slots=True)
class Session:
    """One user's session. Commands get it; front ends own it.

    ``in_background`` holds from ``c &`` until the stop that ends it has been shown.
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
    _target: Target | None = None
    _next_breakpoint: int = 1

    @property
    def target(self) -> Target:
        """The target, or a ``CommandError`` that says how to get one."""
        if self._target is None:
            raise CommandError("no target: start one with 'klosdbg run' or 'klosdbg attach'")
        return self._target

    @property
    def has_target(self) -> bool:
        """Tell whether there is a target."""
        return self._target is not None

    @property
    def control(self) -> RunControl:
        """The target's run control, or a ``CommandError`` where it cannot run."""
        if self.target.control is None:
            raise CommandError(f"{self.target.name} cannot run: it is a recording")
        return self.target.control

    def attach(self, target: Target) -> None:
        """Take a target."""
        self._target = target

    def detach(self) -> None:
        """Leave the target as it was found: breakpoints removed, running if it ran."""
        if self._target is not None:
            target, self._target = self._target, None
            self.breakpoints.clear()
            self.in_background = False
            target.close()

    def symbol(self, address: int) -> str | None:
        """Name a linear address as ``symbol+offset``, or None."""
        return self.symbols.name(address) if self.symbols else None

    def add_breakpoint(self, address: int, wanted: str) -> Breakpoint:
        """Set a breakpoint at a linear address."""
        self.control.insert(address)
        breakpoint = Breakpoint(self._next_breakpoint, address, wanted)
        self._next_breakpoint += 1
        self.breakpoints.append(breakpoint)
        return breakpoint

    def delete_breakpoint(self, breakpoint: Breakpoint) -> None:
        """Take a breakpoint away."""
        self.control.remove(breakpoint.address)
        self.breakpoints.remove(breakpoint)

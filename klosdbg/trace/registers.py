"""Reading few registers quickly at a stop, by one set of names."""

from collections.abc import Mapping
from dataclasses import dataclass

from klosdbg.errors import KlosdbgError
from klosdbg.ports import Memory, Target
from klosdbg.read import read_cpu, read_selector

_VM = 1 << 17
_NAMES = frozenset(("eip", "rip", "esp", "rsp", "cs", "ss", "cr2", "cr3"))
_WIDE = (("eip", "rip"), ("esp", "rsp"))


@dataclass(frozen=True, slots=True)
class Registers:
    """Where the guest stands. ``pc`` and ``stack`` are linear; ``cpl`` is CS's RPL."""

    pc: int
    stack: int
    cs: int
    ss: int
    cr2: int
    cr3: int

    @property
    def cpl(self) -> int:
        """The privilege level, outside virtual 8086 mode."""
        return self.cs & 3


class ReadAhead:
    """A stopped guest's memory, of which some was read together with the registers."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._held: dict[tuple[int, int], bytes | None] = {}

    def hold(self, requests: list[tuple[int, int]], found: list[bytes | None]) -> None:
        """Keep what was read at this stop, in place of the last one's."""
        self._held = dict(zip(requests, found, strict=True))

    def read(self, address: int, size: int) -> bytes:
        """Read exactly ``size`` bytes, or raise ``MemoryFault``."""
        return self._memory.read(address, size)

    def read_many(self, requests: list[tuple[int, int]]) -> list[bytes | None]:
        """Read several ``(address, size)`` ranges; None where one faults."""
        missing = [request for request in requests if request not in self._held]
        if missing:
            self._held |= zip(missing, self._memory.read_many(missing), strict=True)
        return [self._held[request] for request in requests]


class QuickRegisters:
    """Read the registers of a stopped guest. Bases of segments are looked up once."""

    def __init__(self, target: Target, ahead: "ReadAhead | None" = None) -> None:
        self._target = target
        self._ahead = ahead
        self._bases: dict[int, int] = {}

    def read(self, guesses: list[tuple[int, int]] | None = None) -> Registers:
        """Read the registers that an event is told by, and memory that may be wanted with them."""
        values = self._values(guesses or [])
        cs, ss = values["cs"], values["ss"]
        return Registers(
            pc=self.base(cs) + _wide(values, *_WIDE[0]),
            stack=self.base(ss) + _wide(values, *_WIDE[1]),
            cs=cs,
            ss=ss,
            cr2=values.get("cr2", 0),
            cr3=values.get("cr3", 0),
        )

    def base(self, selector: int) -> int:
        """Give a segment's linear base; 0 where there is no such segment."""
        if selector not in self._bases:
            self._bases[selector] = self._find_base(selector)
        return self._bases[selector]

    def linear(self, cs: int, eip: int, eflags: int) -> int:
        """Give the linear address of an instruction in a program with these flags."""
        return (cs << 4) + eip if eflags & _VM else self.base(cs) + eip

    def _values(self, guesses: list[tuple[int, int]]) -> Mapping[str, int]:
        if self._target.read_at_stop is not None and self._ahead is not None:
            values, found = self._target.read_at_stop(_NAMES, guesses)
            self._ahead.hold(guesses, found)
            return values
        if self._ahead is not None:
            self._ahead.hold([], [])
        if self._target.read_general is not None:
            return self._target.read_general(_NAMES)
        cpu = read_cpu(self._target)
        selectors = {n: s.selector for n, s in cpu.segments.items()}
        return {**cpu.gpr, **selectors, "eip": cpu.eip, "cr2": cpu.cr2, "cr3": cpu.cr3}

    def _find_base(self, selector: int) -> int:
        cpu = read_cpu(self._target)
        if cpu.long_mode:
            return 0
        held = [s for s in cpu.segments.values() if s.selector == selector and s.present]
        if held:
            return held[0].base
        try:
            return int(getattr(read_selector(self._target, selector).descriptor, "base", 0))
        except KlosdbgError:
            return 0


def cpl_of(cs: int, eflags: int) -> int:
    """Give the privilege level of a program with this CS and these flags."""
    return 3 if eflags & _VM else cs & 3


def _wide(values: Mapping[str, int], narrow: str, wide: str) -> int:
    return values[narrow] if narrow in values else values[wide]

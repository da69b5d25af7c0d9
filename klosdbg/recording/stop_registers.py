"""Reading few registers quickly at a stop, by one set of names."""

from collections.abc import Mapping
from typing import NamedTuple

from klosdbg.errors import KlosdbgError
from klosdbg.events.event import Place
from klosdbg.ports import Memory, Target
from klosdbg.read import read_cpu, read_selector
from klosdbg.x86.bits import bit
from klosdbg.x86.cpu import Cpu

_VM = 1 << 17
_PE = 1
_TI = 4
_WHOLE = (1 << 64) - 1
_NAMES = frozenset(("eip", "rip", "esp", "rsp", "cs", "ss", "cr0", "cr2", "cr3"))


class Registers(NamedTuple):
    """Where the guest stands. ``pc`` and ``stack`` are linear; ``real`` is real mode."""

    pc: int
    stack: int
    cs: int
    ss: int
    cr2: int
    cr3: int
    real: bool = False

    @property
    def cpl(self) -> int:
        """The privilege level, outside virtual 8086 mode: CS's RPL."""
        return 0 if self.real else self.cs & 3


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
    """Read the registers of a stopped guest. Segments are looked up once.

    Where tasks have ``own_ldts``, those of an LDT are looked up anew when there is another one.
    """

    def __init__(
        self, target: Target, ahead: "ReadAhead | None" = None, own_ldts: bool = False
    ) -> None:
        self._target = target
        self._ahead = ahead
        self._own_ldts = own_ldts
        self._ldt: tuple[int, int] | None = None
        self._segments: dict[int, tuple[int, int]] = {}

    def read(self, guesses: list[tuple[int, int]] | None = None) -> Registers:
        """Read the registers that an event is told by, and memory that may be wanted with them."""
        values = self._values(guesses or [])
        if self._own_ldts:
            self._notice_ldt()
        cs, ss = values["cs"], values["ss"]
        pc = values["eip"] if "eip" in values else values["rip"]
        stack = values["esp"] if "esp" in values else values["rsp"]
        real = not values["cr0"] & _PE
        if real:
            pc, stack = (cs << 4) + pc, (ss << 4) + (stack & 0xFFFF)
        else:
            base, mask = self._segment(ss)
            pc, stack = self.base(cs) + pc, base + (stack & mask)
        return Registers(pc, stack, cs, ss, values.get("cr2", 0), values.get("cr3", 0), real)

    def _notice_ldt(self) -> None:
        ldtr = read_cpu(self._target).segments["ldtr"]
        held = (ldtr.selector, ldtr.base)
        if held != self._ldt:
            self._segments = {s: place for s, place in self._segments.items() if not s & _TI}
            self._ldt = held

    def forget(self) -> None:
        """Look the segments up anew: the guest has changed its tables."""
        self._segments = {}

    def base(self, selector: int) -> int:
        """Give a segment's linear base; 0 where there is no such segment."""
        return self._segment(selector)[0]

    def place(self, cs: int, eip: int, eflags: int, real: bool) -> Place:
        """Say where a program with these flags stood, in real mode or not."""
        if real or eflags & _VM:
            return Place(cs, eip, (cs << 4) + eip, 0 if real else 3)
        return Place(cs, eip, self.base(cs) + eip, cs & 3)

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
        return {**cpu.gpr, **selectors, **_control(cpu)}

    def _segment(self, selector: int) -> tuple[int, int]:
        """Give a segment's linear base, and which bits of ESP count where it is the stack."""
        if selector not in self._segments:
            self._segments[selector] = self._find_segment(selector)
        return self._segments[selector]

    def _find_segment(self, selector: int) -> tuple[int, int]:
        cpu = read_cpu(self._target)
        if cpu.long_mode:
            return 0, _WHOLE
        held = [s for s in cpu.segments.values() if s.selector == selector and s.present]
        if held:
            return held[0].base, _WHOLE if bit(held[0].flags, 22) else 0xFFFF
        try:
            found = read_selector(self._target, selector).descriptor
        except KlosdbgError:
            return 0, _WHOLE
        return int(getattr(found, "base", 0)), _WHOLE if getattr(found, "db", True) else 0xFFFF


def cpl_of(cs: int, eflags: int) -> int:
    """Give the privilege level of a program with this CS and these flags."""
    return 3 if eflags & _VM else cs & 3


def _control(cpu: Cpu) -> Mapping[str, int]:
    return {"eip": cpu.eip, "cr0": cpu.cr0, "cr2": cpu.cr2, "cr3": cpu.cr3}

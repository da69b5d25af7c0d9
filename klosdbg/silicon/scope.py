"""What part of the guest's instructions a run is about, and how to stop where that begins."""

from collections.abc import Mapping
from typing import Protocol

from klosdbg.errors import CommandError
from klosdbg.ports import Symbols, Target
from klosdbg.read import read_cpu
from klosdbg.recording.stop_registers import QuickRegisters
from klosdbg.system import System, SystemProcess
from klosdbg.x86.cpu import Cpu
from klosdbg.x86.disasm import disassemble
from klosdbg.x86.paging import paging_of

_SHORT_RANGE = 0x800


class Scope(Protocol):
    """A part of what the guest executes; outside it the guest runs at full speed."""

    def holds(self, cpu: Cpu) -> bool:
        """Tell whether the next instruction belongs to it."""

    def left(self, linear: int, size: int) -> None:
        """Note the instruction, of ``size`` bytes, after which the guest was outside."""

    def entries(self) -> set[int]:
        """List the linear addresses at which the guest may come (back) into it."""


class Everywhere:
    """All instructions."""

    def holds(self, _cpu: Cpu) -> bool:
        """Tell that the next instruction belongs to it."""
        return True

    def left(self, linear: int, size: int) -> None:
        """Note nothing: there is no outside."""

    def entries(self) -> set[int]:
        """List nothing: there is no outside."""
        return set()


class InRange:
    """A range of linear addresses, both ends included.

    A short one can be entered at every instruction; a longer one at its symbols, and where it was
    left by a call or an interrupt.
    """

    def __init__(self, target: Target, symbols: Symbols | None, first: int, last: int) -> None:
        self._target, self._symbols = target, symbols
        self._first, self._last = first, last
        self._entries = self._places()

    def holds(self, cpu: Cpu) -> bool:
        """Tell whether the next instruction lies in the range."""
        return self._has(cpu.linear_pc)

    def left(self, linear: int, size: int) -> None:
        """Note where the guest may come back to: the instruction, or the one after it."""
        self._entries |= {place for place in (linear, linear + size) if self._has(place)}

    def entries(self) -> set[int]:
        """List where the range may be entered."""
        return self._entries

    def _has(self, linear: int) -> bool:
        return self._first <= linear <= self._last

    def _places(self) -> set[int]:
        names = self._symbols.names() if self._symbols else []
        places = [self._symbols.address(name) for name in names] if self._symbols else []
        starts = {self._first, *(p for p in places if p is not None and self._has(p))}
        if self._last - self._first >= _SHORT_RANGE:
            return starts
        begins = sorted(starts)
        ends = [*(start - 1 for start in begins[1:]), self._last]
        return {a for cut in zip(begins, ends, strict=True) for a in self._sweep(*cut)}

    def _sweep(self, start: int, last: int) -> list[int]:
        bits = read_cpu(self._target).code_bits
        code = self._target.linear.read(start, last - start + 1)
        return [i.address for i in disassemble(code, start, bits, len(code))]


class InProcess:
    """What a process executes, the OS in its address space included.

    While it does not run, the saved registers of its threads say where it goes on.
    ``CommandError`` where the system has no processes, or none or several of that name or number.
    """

    def __init__(self, target: Target, system: System, wanted: str) -> None:
        self._registers = QuickRegisters(target)
        self._read_threads = system.threads
        self._process = _find(system, wanted)

    def holds(self, cpu: Cpu) -> bool:
        """Tell whether the process's address space is in use."""
        paging = paging_of(cpu)
        return paging is not None and paging.root == self._process.cr3

    def left(self, linear: int, size: int) -> None:
        """Note nothing: the contexts are up to date."""

    def entries(self) -> set[int]:
        """List where its threads go on; raise ``CommandError`` once it has ended."""
        threads = self._read_threads() if self._read_threads else ()
        waiting = [t.saved for t in threads if t.pid == self._process.pid and t.saved]
        if not waiting:
            name = self._process.name
            raise CommandError(f"process {name} has no thread to go on: it has ended (see 'ps')")
        return {self._goes_on(saved) for saved in waiting}

    def _goes_on(self, saved: Mapping[str, int]) -> int:
        place = self._registers.place(saved["cs"], saved["eip"], saved["eflags"], real=False)
        return place.linear


def _find(system: System, wanted: str) -> SystemProcess:
    if system.processes is None:
        raise CommandError("no processes are known here: KLOS has to have booted ('ps')")
    alive = system.processes()
    found = [process for process in alive if wanted in (process.name, str(process.pid))]
    if len(found) == 1:
        return found[0]
    there = ", ".join(f"{process.pid} {process.name}" for process in alive)
    many = "more than one process" if found else "no process"
    raise CommandError(f"{many} is {wanted!r}: there are {there}")

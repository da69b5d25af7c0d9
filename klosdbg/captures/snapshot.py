"""Taking a snapshot: read what the reading commands read, and keep what was read.

The readers run against the target through memories that note what passes. So an opened capture
holds what ``gdt``, ``klos`` and the others need, because it was they who said so.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace

from klosdbg.captures.opened import HeldRegisters
from klosdbg.errors import KlosdbgError
from klosdbg.other_task import read_ldt_of, read_tss_of
from klosdbg.paged import PageTables
from klosdbg.ports import Memory, Target
from klosdbg.read import (
    read_gdt,
    read_idt,
    read_ivt,
    read_ldt,
    read_pages,
    read_segment_states,
    read_tss,
)
from klosdbg.system import System
from klosdbg.tasks.reading import read_tasks
from klosdbg.wire.bundle import Snapshot
from klosdbg.x86.cpu import Cpu
from klosdbg.x86.paging import PAGE, Paging, paging_of

_BEFORE, _CODE, _STACK = 512, 4096, 4096
_MOST_TABLES = 256
_MOST_TASKS = 64


@dataclass(frozen=True, slots=True)
class Moment:
    """When and why a snapshot is taken; ``events`` is how many were recorded before it."""

    number: int
    why: str
    seconds: float = 0.0
    events: int = 0


@dataclass(slots=True)
class _Noted:
    """A memory that keeps what is read of it: whole pages, or what was asked for alone."""

    memory: Memory
    whole_pages: bool
    pages: dict[int, bytes | None] = field(default_factory=dict)
    asked: list[tuple[int, int]] = field(default_factory=list)

    def read(self, address: int, size: int) -> bytes:
        """Read exactly ``size`` bytes, or raise ``MemoryFault``."""
        found = self.read_many([(address, size)])[0]
        return self.memory.read(address, size) if found is None else found

    def read_many(self, requests: list[tuple[int, int]]) -> list[bytes | None]:
        """Read several ``(address, size)`` ranges; None where one faults."""
        wanted = {page for request in requests for page in _pages_of(*request)}
        missing = sorted(wanted - set(self.pages))
        raws = self.memory.read_many([(page, PAGE) for page in missing]) if missing else []
        self.pages.update(zip(missing, raws, strict=True))
        self.asked += requests
        return [self._join(*request) for request in requests]

    def _join(self, address: int, size: int) -> bytes | None:
        parts = [self.pages[page] for page in _pages_of(address, size)]
        if any(part is None for part in parts):
            return None
        start = address % PAGE
        return b"".join(part for part in parts if part)[start : start + size]

    def kept(self) -> dict[int, bytes | memoryview]:
        """Give what is to be stored."""
        if self.whole_pages:
            return {at: raw for at, raw in self.pages.items() if raw is not None}
        return dict(self._ranges())

    def _ranges(self) -> Iterator[tuple[int, bytes]]:
        end = 0
        for address, size in sorted(self.asked):
            start = max(address, end)
            end = max(end, address + size)
            for page in _pages_of(start, end - start):
                raw = self.pages[page]
                first, last = max(start, page), min(end, page + PAGE)
                if raw is not None:
                    yield first, raw[first - page : last - page]


def _pages_of(address: int, size: int) -> range:
    return range(address - address % PAGE, address + size, PAGE) if size > 0 else range(0)


def take_snapshot(target: Target, system: System, moment: Moment, redact: bool = False) -> Snapshot:
    """Read registers, tables, page tables, code, stack and what the system has of its own.

    ``redact`` keeps structures alone: no code, no stack, and nothing that lies beside a structure.
    """
    cpu = target.registers.read()
    linear = _Noted(target.linear, not redact)
    physical = _Noted(target.physical, not redact) if target.physical else None
    noted = replace(target, registers=HeldRegisters(cpu), linear=linear, physical=physical)
    for step in _steps(noted, cpu, system, redact):
        with suppress(KlosdbgError):
            step()
    return Snapshot(
        number=moment.number,
        why=moment.why,
        seconds=moment.seconds,
        events=moment.events,
        cpu=cpu,
        linear=linear.kept(),
        physical=physical.kept() if physical else {},
    )


def _steps(
    target: Target, cpu: Cpu, system: System, redact: bool
) -> Iterator[Callable[[], object]]:
    for reader in (read_gdt, read_ldt, read_idt, read_ivt, read_tss, read_segment_states):
        yield lambda reader=reader: reader(target)  # type: ignore[misc]
    yield lambda: _read_tasks(target)
    yield lambda: _read_page_tables(target.physical, paging_of(cpu))
    yield lambda: _read_address_spaces(target.physical, cpu, system)
    if system.snapshot_readers is not None:
        yield from system.snapshot_readers(target, not redact)
    if not redact:
        yield lambda: _touch(target.linear, cpu.linear_pc - _BEFORE, _BEFORE + _CODE)
        stack = cpu.segments["ss"].base + cpu.stack_pointer
        yield lambda: _touch(target.linear, stack - _BEFORE, _BEFORE + _STACK)


def _read_tasks(target: Target) -> None:
    """Read what ``tasks`` reads, and the first tasks' whole TSSs and LDTs."""
    for task in read_tasks(target).tasks[:_MOST_TASKS]:
        for reader in (read_tss_of, read_ldt_of):
            with suppress(KlosdbgError):
                reader(target, task.selector)


def _touch(memory: Memory, address: int, size: int) -> None:
    start = max(0, address)
    read_pages(memory, start, max(0, address + size - start))


def _read_address_spaces(memory: Memory | None, cpu: Cpu, system: System) -> None:
    for process in system.processes() if system.processes else ():
        _read_page_tables(memory, paging_of(cpu, process.cr3))


def _read_page_tables(memory: Memory | None, paging: Paging | None) -> None:
    if memory is not None and paging is not None:
        PageTables(memory).read_all(paging, _MOST_TABLES)

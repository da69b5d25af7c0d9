"""What leads from an event to its handler and back, found in the live tables and the code alone."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeGuard

from klosdbg.errors import CommandError, KlosdbgError
from klosdbg.ports import Target
from klosdbg.read import read_cpu, read_gdt, read_idt, read_ivt, read_ldt, read_selector
from klosdbg.recording.flow import Exit, Flow
from klosdbg.recording.saved_task import read_saved_task
from klosdbg.x86.cpu import Cpu
from klosdbg.x86.descriptor import Descriptor, Gate, SystemSegment
from klosdbg.x86.table import Table
from klosdbg.x86.vectors import PUSH_ERROR_CODE

_WAYS_BACK = ("iret", "hlt")


@dataclass(frozen=True, slots=True)
class Stub:
    """What a vector's gate leads to. ``entry`` is linear; ``exits`` are the far transfers reached.

    ``bits`` is the width of what the processor pushes; a task gate pushes no more than an error
    code, and ``selector`` is its TSS's. ``kind`` is ``ivt`` in real mode, which has no gates.
    """

    vector: int
    kind: str
    dpl: int
    selector: int
    entry: int
    bits: int
    exits: tuple[Exit, ...]

    @property
    def pushes_error_code(self) -> bool:
        """Tell whether the processor pushes an error code; in real mode it never does."""
        return self.kind != "ivt" and self.vector in PUSH_ERROR_CODE


@dataclass(frozen=True, slots=True)
class ReturnGate:
    """A call gate that ring 3 may use, and the ways on from where it leads (``entry``, linear)."""

    selector: int
    entry: int
    exits: tuple[Exit, ...]


@dataclass(frozen=True, slots=True)
class EventPaths:
    """Every stub by vector, and the gate that handlers return through, if there is one.

    ``real``: these are real mode's, found in the IVT.
    """

    stubs: Mapping[int, Stub]
    return_gate: ReturnGate | None
    real: bool = False

    @property
    def outward(self) -> tuple[Exit, ...]:
        """The far transfers that stubs reach, each once, in order of address; no task's."""
        return _unique(s.exits for s in self.stubs.values() if s.kind != "task-gate")

    @property
    def inward(self) -> tuple[Exit, ...]:
        """How an event ends that came back through the gate."""
        gate = self.return_gate
        return tuple(e for e in gate.exits if e.kind in _WAYS_BACK) if gate else ()


def discover(target: Target) -> EventPaths:
    """Follow the live IDT, in real mode the IVT; ``CommandError`` where no gate of it is used."""
    cpu = read_cpu(target)
    if cpu.mode in ("real", "unreal"):
        flow = Flow(target.linear)
        return EventPaths({stub.vector: stub for stub in _vectors(target, flow)}, None, real=True)
    tables = list(_tables(target))
    flow = Flow(target.linear, tasks=sum(map(_tasks, tables)) > 1)
    idt = read_idt(target)
    stubs = {stub.vector: stub for stub in _stubs(target, cpu, idt, flow)}
    if not stubs:
        raise CommandError("no gate of the IDT is present: let the guest set them up first ('c')")
    return EventPaths(stubs, _return_gate(tables, cpu, flow))


def _stubs(target: Target, cpu: Cpu, idt: Table, flow: Flow) -> Iterator[Stub]:
    for entry in idt.expanded().entries:
        gate = entry.descriptor
        if not isinstance(gate, Gate) or not gate.present:
            continue
        if gate.kind == "task-gate":
            yield from _task(target, entry.index, gate, flow)
        elif (base := _base(idt.bases, cpu, gate)) is not None:
            start = (base + gate.offset) & _mask(gate.bits)
            exits = flow.exits(start, gate.bits)
            yield Stub(
                entry.index,
                gate.kind,
                gate.dpl,
                gate.target_selector,
                start,
                gate.bits,
                exits,
            )


def _vectors(target: Target, flow: Flow) -> Iterator[Stub]:
    for vector, (segment, offset) in enumerate(read_ivt(target).vectors):
        if segment or offset:
            start = (segment << 4) + offset
            yield Stub(vector, "ivt", 0, segment, start, 16, flow.exits(start, 16, segment))


def _base(bases: Mapping[int, int], cpu: Cpu, gate: Gate) -> int | None:
    return 0 if cpu.long_mode else bases.get(gate.target_selector & ~3)


def _mask(bits: int) -> int:
    return (1 << 64) - 1 if bits == 64 else (1 << 32) - 1


def _task(target: Target, vector: int, gate: Gate, flow: Flow) -> Iterator[Stub]:
    with suppress(KlosdbgError):
        selector = gate.target_selector & ~3
        task = read_saved_task(target, selector)
        code = read_selector(task.seen_from(target), task.cs).descriptor
        start = (getattr(code, "base", 0) + task.eip) & _mask(32)
        exits = flow.exits(start, 32 if getattr(code, "db", True) else 16)
        yield Stub(vector, gate.kind, gate.dpl, selector, start, task.bits, exits)


def _return_gate(tables: list[Table], cpu: Cpu, flow: Flow) -> ReturnGate | None:
    """Find the DPL-3 call gate whose code comes to an ``iret``: where a handler comes back to."""
    found = (_followed(flow, cpu, *gate) for gate in _call_gates(tables))
    return next((gate for gate in found if any(e.kind == "iret" for e in gate.exits)), None)


def _followed(flow: Flow, cpu: Cpu, selector: int, gate: Gate, base: int) -> ReturnGate:
    start = (0 if cpu.long_mode else base) + gate.offset & _mask(gate.bits)
    return ReturnGate(selector | 3, start, flow.exits(start, gate.bits))


def _tables(target: Target) -> Iterator[Table]:
    for read in (read_gdt, read_ldt):
        with suppress(KlosdbgError):
            yield read(target)


def _tasks(table: Table) -> int:
    """Count the TSSs that hardware can switch to."""
    found = ((e.count, e.descriptor) for e in table.entries)
    return sum(n for n, d in found if isinstance(d, SystemSegment) and d.bits in (16, 32))


def _call_gates(tables: list[Table]) -> Iterator[tuple[int, Gate, int]]:
    for table in tables:
        for entry in table.entries:
            gate = entry.descriptor
            if _usable(gate):
                base = table.bases.get(gate.target_selector & ~3, 0)
                yield table.selector(entry.index), gate, base


def _usable(gate: Descriptor) -> TypeGuard[Gate]:
    return isinstance(gate, Gate) and gate.kind == "call-gate" and gate.present and gate.dpl == 3


def _unique(groups: Iterable[tuple[Exit, ...]]) -> tuple[Exit, ...]:
    found = {e.address: e for group in groups for e in group}
    return tuple(found[address] for address in sorted(found))

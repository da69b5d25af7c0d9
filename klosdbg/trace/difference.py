"""Comparing two states of a target by field: registers, tables, TSS, and what KLOS says."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass

from klosdbg.errors import KlosdbgError
from klosdbg.klos.find import find_klos
from klosdbg.klos.processes import read_processes, read_threads
from klosdbg.ports import Symbols, Target
from klosdbg.read import read_cpu, read_gdt, read_idt, read_ldt, read_tss
from klosdbg.trace.capture_models import Difference, FieldChange
from klosdbg.x86.cpu import Cpu
from klosdbg.x86.descriptor import Descriptor, Empty
from klosdbg.x86.table import Table

Value = int | str | None
Fields = Mapping[str, Value]
Entries = Mapping[str, Fields]

_CONTROL = ("eip", "eflags", "cpl", "cr0", "cr2", "cr3", "cr4", "efer", "hlt")
_DERIVED = ("last_byte", "readable", "writable", "conforming", "expand_down", "accessed", "busy")
_LEFT_OUT = ("raw", "low", "high", "upper")


def compare(
    before: tuple[str, Target], after: tuple[str, Target], symbols: Symbols | None
) -> Difference:
    """Compare two states, each with its name; what one of them lacks is named, not guessed."""
    changes: list[FieldChange] = []
    uncompared = []
    for name, reader in _READERS.items():
        try:
            old, new = reader(before[1], symbols), reader(after[1], symbols)
        except KlosdbgError:
            uncompared.append(name)
            continue
        changes += _changes(old, new)
    return Difference(before[0], after[0], tuple(changes), tuple(uncompared))


def _changes(old: Entries, new: Entries) -> Iterator[FieldChange]:
    for where in [*old, *(w for w in new if w not in old)]:
        mine, theirs = old.get(where, {}), new.get(where, {})
        if mine == theirs:
            continue
        for name in [*mine, *(n for n in theirs if n not in mine)]:
            if mine.get(name) != theirs.get(name):
                yield FieldChange(where, name, mine.get(name), theirs.get(name))


def _registers(target: Target, _symbols: Symbols | None) -> Entries:
    cpu = read_cpu(target)
    entries: dict[str, Fields] = {"registers": {**cpu.gpr, **_picked(cpu, _CONTROL)}}
    for name, register in cpu.segments.items():
        entries[name] = {n: v for n, v in _flat(register) if n != "name"}
    for name, table in (("gdtr", cpu.gdtr), ("idtr", cpu.idtr)):
        entries[name] = dict(_flat(table))
    return entries


def _picked(cpu: Cpu, names: tuple[str, ...]) -> Fields:
    return {name: int(getattr(cpu, name)) for name in names}


def _table(read: Callable[[Target], Table]) -> Callable[[Target, Symbols | None], Entries]:
    def entries(target: Target, _symbols: Symbols | None) -> Entries:
        table = read(target)
        name = table.kind
        return {
            f"{name}[{entry.index:#x}]": descriptor_fields(entry.descriptor)
            for entry in table.expanded().entries
            if not isinstance(entry.descriptor, Empty)
        }

    return entries


def descriptor_fields(descriptor: Descriptor) -> Fields:
    """Give a descriptor's fields under the manual's names, kind first."""
    derived = {n: getattr(descriptor, n) for n in _DERIVED if hasattr(descriptor, n)}
    stored = {n: v for n, v in _flat(descriptor) if n not in _LEFT_OUT}
    return {"kind": descriptor.kind, **stored, **derived}


def _tss(target: Target, _symbols: Symbols | None) -> Entries:
    tss = read_tss(target)
    ports = ", ".join(f"{a:#x}-{b:#x}" for a, b in tss.io.allowed) or "none"
    return {"tss": {**tss.fields, "ports": ports}}


def _klos(target: Target, symbols: Symbols | None) -> Entries:
    return {"klos": dict(_flat(find_klos(target, symbols).info))}


def _processes(target: Target, symbols: Symbols | None) -> Entries:
    found = read_processes(target, symbols, True).processes
    return {f"process {p.pid}": dict(_flat(p)) for p in found}


def _threads(target: Target, symbols: Symbols | None) -> Entries:
    found = read_threads(target, symbols).threads
    return {f"thread {t.thread.tid}": dict(_flat(t.thread)) for t in found}


def _flat(model: object) -> Iterator[tuple[str, Value]]:
    for field in fields(model):  # type: ignore[arg-type]
        value = getattr(model, field.name)
        if is_dataclass(value):
            yield from ((f"{field.name}.{n}", v) for n, v in _flat(value))
        elif isinstance(value, int | str):
            yield field.name, value
        elif value is not None:
            yield field.name, ", ".join(map(str, value))


_READERS: dict[str, Callable[[Target, Symbols | None], Entries]] = {
    "registers": _registers,
    "gdt": _table(read_gdt),
    "ldt": _table(read_ldt),
    "idt": _table(read_idt),
    "tss": _tss,
    "klos": _klos,
    "processes": _processes,
    "threads": _threads,
}

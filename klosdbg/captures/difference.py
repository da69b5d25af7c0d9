"""Comparing two states of a target by field: registers, tables, TSS, and what KLOS says."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from itertools import groupby

from klosdbg.captures.models import Difference, FieldChange
from klosdbg.errors import CommandError, KlosdbgError
from klosdbg.klos.find import find_klos
from klosdbg.klos.processes import read_processes, read_threads
from klosdbg.klos.system import read_handlers, read_services
from klosdbg.ports import Symbols, Target
from klosdbg.read import read_cpu, read_gdt, read_idt, read_ldt, read_tss
from klosdbg.x86.cpu import Cpu
from klosdbg.x86.descriptor import Descriptor, Empty
from klosdbg.x86.table import Table

Value = int | str | None
Fields = Mapping[str, Value]
Entries = Mapping[str, Fields]
_AtIndex = tuple[int, FieldChange]
_Comparer = Callable[[Target, Target, Symbols | None], list[FieldChange]]

_CONTROL = ("eip", "eflags", "cpl", "cr0", "cr2", "cr3", "cr4", "efer", "hlt")
_DERIVED = ("last_byte", "readable", "writable", "conforming", "expand_down", "accessed", "busy")
_LEFT_OUT = ("raw", "low", "high", "upper")


def compare(
    before: tuple[str, Target], after: tuple[str, Target], symbols: Symbols | None
) -> Difference:
    """Compare two states, each with its name; what one of them lacks is named, not guessed."""
    changes: list[FieldChange] = []
    uncompared = []
    for name, comparer in _COMPARERS.items():
        try:
            changes += comparer(before[1], after[1], symbols)
        except KlosdbgError:
            uncompared.append(name)
    return Difference(before[0], after[0], tuple(changes), tuple(uncompared))


def _by_field(read: Callable[[Target, Symbols | None], Entries]) -> _Comparer:
    def changes(before: Target, after: Target, symbols: Symbols | None) -> list[FieldChange]:
        return list(_changes(read(before, symbols), read(after, symbols)))

    return changes


def _changes(old: Entries, new: Entries) -> Iterator[FieldChange]:
    for where in [*old, *(w for w in new if w not in old)]:
        yield from _entry_changes(where, old.get(where, {}), new.get(where, {}))


def _entry_changes(where: str, old: Fields, new: Fields) -> Iterator[FieldChange]:
    if old != new:
        for name in [*old, *(n for n in new if n not in old)]:
            if old.get(name) != new.get(name):
                yield FieldChange(where, name, old.get(name), new.get(name))


def _tables(read: Callable[[Target], Table]) -> _Comparer:
    def changes(before: Target, after: Target, _symbols: Symbols | None) -> list[FieldChange]:
        sides = [_expanded(read, target) for target in (before, after)]
        if sides[0] is None and sides[1] is None:
            raise CommandError("there is no such table")
        old, new = ({} if table is None else _slots(table) for table in sides)
        kind = next(table.kind for table in sides if table)
        changes = [*_edited(kind, old, new), *_come_and_gone(kind, old, new)]
        return [change for _, change in sorted(changes, key=lambda pair: pair[0])]

    return changes


def _expanded(read: Callable[[Target], Table], target: Target) -> Table | None:
    try:
        return read(target).expanded()
    except KlosdbgError:
        return None


def _slots(table: Table) -> dict[int, Descriptor]:
    return {e.index: e.descriptor for e in table.entries if not isinstance(e.descriptor, Empty)}


def _edited(
    kind: str, old: Mapping[int, Descriptor], new: Mapping[int, Descriptor]
) -> Iterator[_AtIndex]:
    for index, mine in old.items():
        theirs = new.get(index)
        if theirs is not None and mine.kind == theirs.kind and mine.raw != theirs.raw:
            fields = descriptor_fields(mine), descriptor_fields(theirs)
            yield from ((index, c) for c in _entry_changes(f"{kind}[{index:#x}]", *fields))


def _come_and_gone(
    kind: str, old: Mapping[int, Descriptor], new: Mapping[int, Descriptor]
) -> Iterator[_AtIndex]:
    """Tell of entries that one side lacks or has of another kind: neighbours alike, as one."""
    lone = sorted(i for i in {*old, *new} if _kind(old.get(i)) != _kind(new.get(i)))
    sides = [(index, old.get(index), new.get(index)) for index in lone]
    for _, run in groupby(enumerate(sides), key=lambda pair: _like(pair[0], *pair[1])):
        (first, mine, theirs), *others = [side for _, side in run]
        last = f"..{others[-1][0]:#x}" if others else ""
        where = f"{kind}[{first:#x}{last}]"
        yield first, FieldChange(where, "entry", _told(mine), _told(theirs))


def _like(at: int, index: int, old: Descriptor | None, new: Descriptor | None) -> object:
    return index - at, _told(old), _told(new)


def _kind(descriptor: Descriptor | None) -> str | None:
    return None if descriptor is None else descriptor.kind


def _told(descriptor: Descriptor | None) -> str | None:
    if descriptor is None:
        return None
    present = "" if descriptor.present else "not-present "
    base = getattr(descriptor, "base", None)
    span = f", base {base:#x}, limit {getattr(descriptor, 'limit', 0):#x}" if base else ""
    return f"{present}{descriptor.kind}, dpl {descriptor.dpl}{span}"


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


def _services(target: Target, symbols: Symbols | None) -> Entries:
    table = read_services(target, symbols).table
    return {f"service_table[{n:#x}]": {"service": at} for n, at in enumerate(table)}


def _handlers(target: Target, symbols: Symbols | None) -> Entries:
    rows = read_handlers(target, symbols, True).rows
    return {f"handler_table[{row.vector:#x}]": {"handler": row.handler} for row in rows}


def _flat(model: object) -> Iterator[tuple[str, Value]]:
    for field in fields(model):  # type: ignore[arg-type]
        value = getattr(model, field.name)
        if is_dataclass(value):
            yield from ((f"{field.name}.{n}", v) for n, v in _flat(value))
        elif isinstance(value, int | str):
            yield field.name, value
        elif value is not None:
            yield field.name, ", ".join(map(str, value))


_COMPARERS: dict[str, _Comparer] = {
    "registers": _by_field(_registers),
    "gdt": _tables(read_gdt),
    "ldt": _tables(read_ldt),
    "idt": _tables(read_idt),
    "tss": _by_field(_tss),
    "klos": _by_field(_klos),
    "processes": _by_field(_processes),
    "threads": _by_field(_threads),
    "services": _by_field(_services),
    "handlers": _by_field(_handlers),
}

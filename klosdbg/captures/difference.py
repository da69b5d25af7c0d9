"""Comparing two states of a target by field: registers, tables, TSS, and what KLOS says."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from itertools import groupby

from klosdbg.captures.models import Difference, FieldChange
from klosdbg.errors import CommandError, KlosdbgError
from klosdbg.ports import Target
from klosdbg.read import read_cpu, read_gdt, read_idt, read_ldt, read_tss
from klosdbg.system import System
from klosdbg.x86.cpu import Cpu
from klosdbg.x86.descriptor import Descriptor, Empty
from klosdbg.x86.table import Table

Value = int | str | None
Fields = Mapping[str, Value]
Entries = Mapping[str, Fields]
_AtIndex = tuple[int, FieldChange]
_Comparer = Callable[[Target, Target], list[FieldChange]]

_CONTROL = ("eip", "eflags", "cpl", "cr0", "cr2", "cr3", "cr4", "efer", "hlt")
_DERIVED = ("last_byte", "readable", "writable", "conforming", "expand_down", "accessed", "busy")
_LEFT_OUT = ("raw", "low", "high", "upper")


def compare(
    before: tuple[str, Target],
    after: tuple[str, Target],
    system_of: Callable[[Target], System],
) -> Difference:
    """Compare two states, each with its name; what one of them lacks is named, not guessed."""
    changes: list[FieldChange] = []
    uncompared = []
    systems = system_of(before[1]), system_of(after[1])
    for name, compare_both in _comparisons(before[1], after[1], *systems):
        try:
            changes += compare_both()
        except KlosdbgError:
            uncompared.append(name)
    return Difference(before[0], after[0], tuple(changes), tuple(uncompared))


def _comparisons(
    before: Target, after: Target, old: System, new: System
) -> Iterator[tuple[str, Callable[[], list[FieldChange]]]]:
    for name, comparer in _COMPARERS.items():
        yield name, partial(comparer, before, after)
    for name in dict.fromkeys((*old.states, *new.states)):
        yield name, partial(_changes_of_state, name, old, new)


def _changes_of_state(name: str, old: System, new: System) -> list[FieldChange]:
    sides = [_state(system, name) for system in (old, new)]
    return list(_changes(*sides))


def _state(system: System, name: str) -> Entries:
    if name not in system.states:
        raise CommandError(f"{system.name} has no {name}")
    return {where: _fields(state) for where, state in system.states[name]().items()}


def _fields(state: object) -> Fields:
    return state if isinstance(state, Mapping) else dict(_flat(state))


def _by_field(read: Callable[[Target], Entries]) -> _Comparer:
    def changes(before: Target, after: Target) -> list[FieldChange]:
        return list(_changes(read(before), read(after)))

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
    def changes(before: Target, after: Target) -> list[FieldChange]:
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


def _registers(target: Target) -> Entries:
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


def _tss(target: Target) -> Entries:
    tss = read_tss(target)
    ports = ", ".join(f"{a:#x}-{b:#x}" for a, b in tss.io.allowed) or "none"
    return {"tss": {**tss.fields, "ports": ports}}


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
}

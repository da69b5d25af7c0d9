"""Views of descriptor tables: the GDT, an LDT, the IDT, and the real-mode IVT."""

import textwrap
from collections.abc import Iterator

from klosdbg.views.base import WIDTH, Style, columns, data, hex64, text
from klosdbg.views.descriptors import attributes, based, descriptor_data, is_wide, kind_of
from klosdbg.x86.descriptor import Descriptor, Empty, Gate, Segment, SystemSegment
from klosdbg.x86.table import Entry, Ivt, Table

_COLORS = {"code": "green", "data": "cyan", "reserved": "red"}


@text.register
def _(model: Table, style: Style) -> str:
    lines = [_head(model, style), *_rows(model, style), *_notes(model)]
    if len(model.entries) == 1 and model.entries[0].count == 1:
        lines += ["", _detail(model, model.entries[0], style)]
    return "\n".join(lines)


def _detail(table: Table, entry: Entry, style: Style) -> str:
    gate = entry.descriptor
    base = target_address(table, gate) - gate.offset if isinstance(gate, Gate) else 0
    return text(entry, based(style, base))


def _head(table: Table, style: Style) -> str:
    what = "vectors" if table.kind == "idt" else "slots"
    base = style.address(table.base, _digits(table.base))
    return f"{style.paint('bold', table.kind.upper())} at {base}, limit {table.limit:#x}: " + (
        f"{table.slots} {what}"
    )


def _rows(table: Table, style: Style) -> Iterator[str]:
    wide = any(is_wide(entry.descriptor) for entry in table.entries)
    if any(entry.count == 1 for entry in table.entries):
        yield style.paint("dim", _heading(table, wide))
    for entry in table.entries:
        label = _label(table, entry)
        if entry.count > 1:
            yield from _joined(label, _run(table, entry, style))
        else:
            yield _single(label, table, entry, style, wide)


def _heading(table: Table, wide: bool) -> str:
    first = "vector        " if table.kind == "idt" else "index  sel "
    gap = " " * 8 * wide
    place = (
        f"{'target':{13 + 8 * wide}}"
        if table.kind == "idt"
        else (f"base     {gap}limit    last byte")
    )
    return f"{first}  {'kind':{_kind_width(table)}}  {place}  dpl"


def _kind_width(table: Table) -> int:
    return 17 if table.kind == "idt" else 12


def _label(table: Table, entry: Entry) -> str:
    if table.kind != "idt":
        return f"{entry.index:5}  {table.selector(entry.index):04x}"
    name = entry.name if entry.name and len(entry.name) <= 4 else ""
    return f"{entry.index:4} {entry.index:#04x}  {name:4}"


def _single(label: str, table: Table, entry: Entry, style: Style, wide: bool) -> str:
    descriptor = entry.descriptor
    kind = kind_of(descriptor)
    width = _kind_width(table)
    painted = style.paint(_COLORS.get(descriptor.kind, ""), kind) if _painted(descriptor) else kind
    if isinstance(descriptor, Empty):
        return f"{label}  {painted}" + (f"  ({entry.name})" if _shows_name(table, entry) else "")
    place = _place(descriptor, table, wide)
    lead = f"{label}  {kind:{width}}  {place}  {descriptor.dpl}  "
    words = ", ".join(_words(table, entry, style))
    lines = textwrap.wrap(words, WIDTH - len(lead), break_on_hyphens=False) or [""]
    padded = painted + " " * (width - len(kind))
    head = f"{label}  {padded}  {place}  {descriptor.dpl}  {lines[0]}".rstrip()
    return "\n".join((head, *(" " * len(lead) + line for line in lines[1:])))


def _painted(descriptor: Descriptor) -> bool:
    return descriptor.kind in _COLORS


def _place(descriptor: Descriptor, table: Table, wide: bool) -> str:
    address = 16 if wide else 8
    width = 5 + address if table.kind == "idt" else 19 + address
    if isinstance(descriptor, Segment | SystemSegment):
        unit = "G" if descriptor.g else " "
        limits = f"{descriptor.limit:05x} {unit}  {descriptor.last_byte:08x}"
        return f"{descriptor.base:0{address}x}  {limits}"
    if isinstance(descriptor, Gate):
        return f"{descriptor.target_selector:04x}:{descriptor.offset:0{address}x}".ljust(width)
    return f"{int.from_bytes(descriptor.raw, 'little'):#018x}".ljust(width)


def _words(table: Table, entry: Entry, style: Style) -> Iterator[str]:
    if _shows_name(table, entry):
        yield entry.name or ""
    yield from attributes(entry.descriptor)
    if isinstance(entry.descriptor, Gate) and entry.descriptor.kind != "task-gate":
        symbol = style.symbol(target_address(table, entry.descriptor))
        if symbol:
            yield f"<{symbol}>"


def _shows_name(table: Table, entry: Entry) -> bool:
    return bool(entry.name) and (table.kind != "idt" or len(entry.name or "") > 4)


def target_address(table: Table, gate: Gate) -> int:
    """Give the linear address that a gate leads to, by the base of the segment that it names."""
    return table.bases.get(gate.target_selector & ~3, 0) + gate.offset


def _run(table: Table, entry: Entry, style: Style) -> str:
    descriptor = entry.descriptor
    counted = f"{entry.count} {'vectors' if table.kind == 'idt' else 'slots'}"
    if isinstance(descriptor, Empty):
        return f"{counted}: empty"
    if not descriptor.present:
        return f"{counted}: not-present {descriptor.kind}, dpl {descriptor.dpl}"
    shown = f"{counted}: {kind_of(descriptor)}, dpl {descriptor.dpl}"
    if isinstance(descriptor, Gate):
        shown += f", {descriptor.target_selector:04x}:{descriptor.offset:08x}"
    if isinstance(descriptor, Segment | SystemSegment):
        shown += f", base {descriptor.base:#x}, last byte {descriptor.last_byte:#x}"
    return ", ".join((shown, *_words(table, entry, style)))


def _joined(label: str, words: str) -> Iterator[str]:
    lead = f"{label}  "
    lines = textwrap.wrap(words, WIDTH - len(lead), break_on_hyphens=False)
    yield lead + lines[0]
    yield from (" " * len(lead) + line for line in lines[1:])


def _notes(table: Table) -> Iterator[str]:
    for first, last in table.missing:
        which = f"entry {first} is" if first == last else f"entries {first} to {last} are"
        yield f"{which} not mapped: using one raises #PF"
    if table.cut:
        yield f"the limit ends inside entry {table.slots}: using it raises #GP"
    if not table.slots and not table.cut:
        yield "the limit reaches no entry"


def _digits(address: int) -> int:
    return 8 if address < 1 << 32 else 16


@data.register
def _(model: Table, style: Style) -> dict[str, object]:
    return {
        "schema": f"klosdbg/{model.kind}/1",
        "table": model.kind,
        "base": hex64(model.base) if model.long_mode else model.base,
        "limit": model.limit,
        "entries": [_in_table(model, entry, style) for entry in model.entries],
        "missing": [list(span) for span in model.missing],
        "cut": model.cut,
    }


def _in_table(table: Table, entry: Entry, style: Style) -> dict[str, object]:
    selector = None if table.kind == "idt" else table.selector(entry.index)
    place = {"index": entry.index, "count": entry.count, "selector": selector}
    document = place | descriptor_data(entry.descriptor, style) | {"name": entry.name}
    if "symbol" in document and isinstance(entry.descriptor, Gate):
        document["symbol"] = style.symbol(target_address(table, entry.descriptor))
    return document


@text.register
def _(model: Ivt, style: Style) -> str:
    head = (
        f"{style.paint('bold', 'IVT')} at {style.address(model.base)}: {len(model.vectors)} vectors"
    )
    rows = [("vector", "seg:off", "linear")]
    rows += [
        (_span_of(first, last), f"{segment:04x}:{offset:04x}", _linear(segment, offset, style))
        for first, last, segment, offset in _ivt_runs(model)
    ]
    return f"{head}\n{columns(rows, right='r')}"


def _span_of(first: int, last: int) -> str:
    return f"{first:#04x}" if first == last else f"{first:#04x}-{last:#04x}"


def _linear(segment: int, offset: int, style: Style) -> str:
    return style.address((segment << 4) + offset)


def _ivt_runs(ivt: Ivt) -> Iterator[tuple[int, int, int, int]]:
    first = 0
    for vector, target in enumerate(ivt.vectors):
        if vector + 1 == len(ivt.vectors) or ivt.vectors[vector + 1] != target:
            yield first, vector, *target
            first = vector + 1


@data.register
def _(model: Ivt, style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/ivt/1",
        "table": "ivt",
        "base": model.base,
        "entries": [
            {
                "index": first,
                "count": last - first + 1,
                "segment": segment,
                "offset": offset,
                "linear": (segment << 4) + offset,
                "symbol": style.symbol((segment << 4) + offset),
            }
            for first, last, segment, offset in _ivt_runs(model)
        ],
    }

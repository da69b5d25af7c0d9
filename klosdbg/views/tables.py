"""Views of descriptor tables: GDT, LDT, IDT, one entry of them, and the real-mode IVT."""

from collections.abc import Iterator

from klosdbg.views.base import Style, columns, data, hex64, text
from klosdbg.x86.descriptor import Descriptor, Empty, Gate, Reserved, Segment, SystemSegment
from klosdbg.x86.table import Entry, Ivt, Table
from klosdbg.x86.vectors import vector_name

_IVT_TARGETS_A_LINE = 4


@text.register
def _(model: Table, style: Style) -> str:
    head = f"{style.paint('bold', model.kind.upper())} at {style.address(model.base)}, "
    head += f"limit {model.limit:#x}: {_counted(model.slots, 'slot')}"
    rows = [_row(model, entry, style) for entry in model.entries]
    return "\n".join([head, columns([_heading(model), *rows], right="r"), *_remarks(model, style)])


def _heading(model: Table) -> tuple[str, ...]:
    if model.kind == "idt":
        return "vector", "kind", "dpl", "target"
    return "index", "sel", "kind", "dpl", "base", "last_byte", "attributes"


def _row(model: Table, entry: Entry, style: Style) -> tuple[str, ...]:
    last = entry.index + entry.count - 1
    place = str(entry.index) if entry.count == 1 else f"{entry.index}-{last}"
    selector = () if model.kind == "idt" else (f"{model.selector(entry.index):04x}",)
    if entry.count > 1:
        return place, *selector, _run(entry, style)
    found = entry.descriptor
    *cells, end = _cells(found, style)
    if not found.present and not isinstance(found, Empty):
        end = f"absent {end}"
    name = style.paint("green", entry.name or "")
    return place, *selector, found.kind, str(found.dpl), *cells, f"{end} {name}".strip()


def _run(entry: Entry, style: Style) -> str:
    found = entry.descriptor
    slots = _counted(entry.count, "slot")
    if isinstance(found, Empty):
        return f"{slots}: empty"
    absent = "" if found.present else "not-present "
    shown = f"{slots}: {absent}{found.kind}, dpl {found.dpl}"
    return f"{shown}, {what(found, style)}" if found.present else shown


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _remarks(model: Table, style: Style) -> Iterator[str]:
    for first, last in model.missing:
        yield style.paint("yellow", f"  {first}-{last}: their memory is not mapped")
    if model.cut:
        yield style.paint("yellow", "  the limit ends inside an entry, which cannot be used")


def what(descriptor: Descriptor, style: Style) -> str:
    """Say in one line what a descriptor describes, its kind and DPL left out."""
    cells = _cells(descriptor, style)
    if isinstance(descriptor, Segment | SystemSegment):
        return f"base {cells[0]} last_byte {cells[1]} {cells[2]}".rstrip()
    return cells[0]


def _cells(descriptor: Descriptor, style: Style) -> tuple[str, ...]:
    match descriptor:
        case Segment():
            return *_extent(descriptor), _segment_attributes(descriptor)
        case SystemSegment():
            return *_extent(descriptor), "busy" if descriptor.busy else ""
        case Gate():
            return (_target(descriptor, style),)
        case Reserved():
            return (f"type {descriptor.type:#x}, s={int(descriptor.s)}",)
        case _:
            return ("",)


def _extent(segment: Segment | SystemSegment) -> tuple[str, str]:
    digits = 16 if isinstance(segment, SystemSegment) and segment.bits == 64 else 8
    return f"{segment.base:0{digits}x}", f"{segment.last_byte:08x}"


def _segment_attributes(segment: Segment) -> str:
    if segment.executable:
        words = ["execute/read" if segment.readable else "execute-only"]
    else:
        words = ["read/write" if segment.writable else "read-only"]
    words += ["conforming"] * segment.conforming + ["expand-down"] * segment.expand_down
    size = "64" if segment.l and segment.executable else "32" if segment.db else "16"
    return " ".join([*words, size])


def _target(gate: Gate, style: Style) -> str:
    if gate.kind == "task-gate":
        return f"-> TSS {gate.target_selector:04x}"
    name = style.symbol(gate.offset)
    symbol = f" {style.paint('cyan', f'<{name}>')}" if name else ""
    extra = f" params {gate.params}" if gate.params else f" ist {gate.ist}" if gate.ist else ""
    digits = {16: 4, 64: 16}.get(gate.bits, 8)
    return f"-> {gate.target_selector:04x}:{gate.offset:0{digits}x}{symbol}{extra}"


@data.register
def _(model: Table, style: Style) -> dict[str, object]:
    return {
        "schema": f"klosdbg/{model.kind}/1",
        "table": model.kind,
        "base": model.base if model.base < 1 << 32 else hex64(model.base),
        "limit": model.limit,
        "slots": model.slots,
        "cut": model.cut,
        "missing": [list(part) for part in model.missing],
        "entries": [
            entry_data(entry, style, None if model.kind == "idt" else model.selector(entry.index))
            for entry in model.entries
        ],
    }


@text.register
def _(model: Entry, style: Style) -> str:
    found = model.descriptor
    present = "" if found.present or isinstance(found, Empty) else "not-present "
    head = f"{style.paint('bold', present + found.kind)}, dpl {found.dpl}"
    raw = int.from_bytes(found.raw, "little")
    lines = [f"{head}  (raw {raw:#0{len(found.raw) * 2 + 2}x})", what(found, style)]
    if isinstance(found, Segment):
        lines += [_flags(found), _valid(found)]
    return "\n".join(f"  {line}" if i else line for i, line in enumerate(filter(None, lines)))


def _flags(segment: Segment) -> str:
    accessed = "accessed" if segment.accessed else "not accessed"
    flags = f"g={segment.g:d} d/b={segment.db:d} l={segment.l:d} avl={segment.avl:d}"
    return f"limit field {segment.limit:#x}, {flags}, {accessed}"


def _valid(segment: Segment) -> str:
    offsets = segment.valid_offsets
    return "valid offsets: " + (f"{offsets[0]:#x} to {offsets[1]:#x}" if offsets else "none")


@data.register
def _(model: Entry, style: Style) -> dict[str, object]:
    return {"schema": "klosdbg/descriptor/1", **entry_data(model, style, None)}


def entry_data(entry: Entry, style: Style, selector: int | None) -> dict[str, object]:
    """Show an entry as one item of a table's ``entries``."""
    found = entry.descriptor
    return {
        "index": entry.index,
        "count": entry.count,
        "selector": selector,
        **descriptor_data(found, style),
        "name": entry.name,
    }


def descriptor_data(found: Descriptor, style: Style) -> dict[str, object]:
    """Show a descriptor's fields under the manual's names."""
    common: dict[str, object] = {
        "raw": f"{int.from_bytes(found.raw, 'little'):#0{len(found.raw) * 2 + 2}x}",
        "kind": found.kind,
        "dpl": found.dpl,
        "present": found.present,
        "type": found.type,
    }
    match found:
        case Segment():
            return common | _segment_data(found)
        case SystemSegment():
            return common | _system_data(found)
        case Gate():
            return common | _gate_data(found, style)
        case _:
            return common


def _segment_data(segment: Segment) -> dict[str, object]:
    fields = (
        "base", "limit", "last_byte", "readable", "writable", "conforming", "expand_down",
        "accessed", "db", "l", "g", "avl",
    )  # fmt: skip
    return {name: getattr(segment, name) for name in fields}


def _system_data(segment: SystemSegment) -> dict[str, object]:
    fields = ("limit", "last_byte", "db", "l", "g", "avl", "reserved")
    shown = {name: getattr(segment, name) for name in fields}
    shown["base"] = hex64(segment.base) if segment.bits == 64 else segment.base
    return shown if segment.kind == "ldt" else shown | {"bits": segment.bits, "busy": segment.busy}


def _gate_data(gate: Gate, style: Style) -> dict[str, object]:
    shown: dict[str, object] = {
        "target_selector": gate.target_selector,
        "offset": hex64(gate.offset) if gate.bits == 64 else gate.offset,
        "params": gate.params,
        "bits": gate.bits,
        "symbol": None if gate.kind == "task-gate" else style.symbol(gate.offset),
    }
    return shown | {"ist": gate.ist} if gate.bits == 64 else shown


@text.register
def _(model: Ivt, style: Style) -> str:
    head = f"{style.paint('bold', 'IVT')} at {model.base:#07x}, {len(model.vectors)} vectors"
    cells = [
        f"{vector:02x} {segment:04x}:{offset:04x}"
        for vector, (segment, offset) in enumerate(model.vectors)
    ]
    lines = [
        cells[at : at + _IVT_TARGETS_A_LINE] for at in range(0, len(cells), _IVT_TARGETS_A_LINE)
    ]
    return "\n".join([head, columns(lines, indent="  ")])


@data.register
def _(model: Ivt, style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/ivt/1",
        "base": model.base,
        "vectors": [
            {
                "vector": vector,
                "name": vector_name(vector),
                "segment": segment,
                "offset": offset,
                "linear": segment * 16 + offset,
                "symbol": style.symbol(segment * 16 + offset),
            }
            for vector, (segment, offset) in enumerate(model.vectors)
        ],
    }

"""Views of one descriptor, and the words and fields that views of tables share."""

from collections.abc import Iterator
from functools import singledispatch

from klosdbg.views.base import Style, data, hex64, text
from klosdbg.x86.descriptor import Descriptor, Empty, Gate, Reserved, Segment, SystemSegment
from klosdbg.x86.table import Entry


def kind_of(descriptor: Descriptor) -> str:
    """Name a kind with what it lets pass and its size: ``code r-x 32``, ``call-gate 32``."""
    if isinstance(descriptor, Segment):
        width = "64" if descriptor.l else "32" if descriptor.db else "16"
        return f"{descriptor.kind} {_access(descriptor)} {width}"
    if isinstance(descriptor, Gate) and descriptor.bits:
        return f"{descriptor.kind} {descriptor.bits}"
    return descriptor.kind


def _access(segment: Segment) -> str:
    allowed = {"r": segment.readable, "w": segment.writable, "x": segment.executable}
    return "".join(letter if holds else "-" for letter, holds in allowed.items())


def attributes(descriptor: Descriptor) -> Iterator[str]:
    """Yield what is out of the ordinary about a descriptor, in words."""
    if not isinstance(descriptor, Empty) and not descriptor.present:
        yield "not present"
    if isinstance(descriptor, Segment):
        yield from _segment_attributes(descriptor)
    elif isinstance(descriptor, SystemSegment) and descriptor.busy:
        yield "busy"
    elif isinstance(descriptor, Gate):
        if descriptor.params:
            yield f"{descriptor.params} parameters"
        if descriptor.ist:
            yield f"ist {descriptor.ist}"
    elif isinstance(descriptor, Reserved):
        yield f"type {descriptor.type:#x}"


def _segment_attributes(segment: Segment) -> Iterator[str]:
    holds = {
        "expand-down": segment.expand_down,
        "conforming": segment.conforming,
        "accessed": segment.accessed,
        "avl": segment.avl,
    }
    yield from (word for word, true in holds.items() if true)


def is_wide(descriptor: Descriptor) -> bool:
    """Tell a descriptor of 16 bytes, whose address has 64 bits."""
    return len(descriptor.raw) == 16


def raw_number(descriptor: Descriptor) -> str:
    """Show a descriptor's bytes as one number, its leading zeros included."""
    return f"{int.from_bytes(descriptor.raw, 'little'):#0{2 * len(descriptor.raw) + 2}x}"


def in_one_line(descriptor: Descriptor, style: Style, target_base: int = 0) -> str:
    """Say in one line what a descriptor is; ``target_base`` as in ``what``."""
    if isinstance(descriptor, Empty):
        return descriptor.kind
    absent = "" if descriptor.present else "not-present "
    shown = f"{absent}{descriptor.kind}, dpl {descriptor.dpl}"
    return f"{shown}, {what(descriptor, style, target_base)}".rstrip(", ")


def what(descriptor: Descriptor, style: Style, target_base: int = 0) -> str:
    """Say in one line what a descriptor spans or leads to; kind, DPL and presence are left out.

    ``target_base`` is the linear base of the segment that a gate leads to.
    """
    words = [w for w in attributes(descriptor) if w != "not present"]
    if isinstance(descriptor, Segment | SystemSegment):
        span = f"base {descriptor.base:#x}, last byte {descriptor.last_byte:#x}"
        access = [_access(descriptor)] if isinstance(descriptor, Segment) else []
        return ", ".join((*access, span, *words))
    return ", ".join((*describe(descriptor, based(style, target_base)), *words))


def based(style: Style, base: int) -> Style:
    """Name offsets into a segment by the symbols at its linear base + offset."""
    return Style(lambda offset: style.symbol(base + offset), style.color)


@text.register
def _(model: Entry, style: Style) -> str:
    descriptor = model.descriptor
    name = f" ({model.name})" if model.name else ""
    head = f"{style.paint('bold', kind_of(descriptor))} = {raw_number(descriptor)}{name}"
    if isinstance(descriptor, Empty):
        return f"{head}\n  using it raises #GP"
    privilege = f"dpl {descriptor.dpl}"
    words = ", ".join((privilege, *_entry_words(descriptor)))
    lines = [f"  {line}" for line in describe(descriptor, style)]
    return "\n".join((head, *lines, f"  {words}"))


def _entry_words(descriptor: Descriptor) -> Iterator[str]:
    if descriptor.present:
        yield "present"
    yield from attributes(descriptor)


@singledispatch
def describe(_descriptor: Descriptor, _style: Style) -> list[str]:
    """Say in lines of text what a descriptor spans or leads to."""
    return []


@describe.register
def _(descriptor: Segment, style: Style) -> list[str]:
    return [*_span(descriptor, style), _valid(descriptor)]


@describe.register
def _(descriptor: SystemSegment, style: Style) -> list[str]:
    return list(_span(descriptor, style))


@describe.register
def _(descriptor: Gate, style: Style) -> list[str]:
    digits = 16 if is_wide(descriptor) else 8
    if descriptor.kind == "task-gate":
        return [f"to the TSS that selector {descriptor.target_selector:#06x} selects"]
    offset = style.address(descriptor.offset, digits)
    return [f"to selector {descriptor.target_selector:#06x}, offset {offset}"]


def _span(descriptor: Segment | SystemSegment, style: Style) -> Iterator[str]:
    digits = 16 if is_wide(descriptor) else 8
    unit = "x 4 KiB (g=1)" if descriptor.g else "bytes (g=0)"
    yield f"base {style.address(descriptor.base, digits)}"
    yield f"limit {descriptor.limit:#x} {unit}, last byte {descriptor.last_byte:#x}"


def _valid(segment: Segment) -> str:
    if segment.valid_offsets is None:
        return "no offset is valid"
    first, last = segment.valid_offsets
    return f"valid offsets {first:#x} to {last:#x}"


@data.register
def _(model: Entry, style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/descriptor/1",
        "index": model.index,
        "count": model.count,
        **descriptor_data(model.descriptor, style),
        "name": model.name,
    }


def descriptor_data(descriptor: Descriptor, style: Style) -> dict[str, object]:
    """Show a descriptor's bytes and fields; its place in a table is the caller's to add."""
    document: dict[str, object] = {
        "raw": raw_number(descriptor),
        "kind": descriptor.kind,
        "dpl": descriptor.dpl,
        "present": descriptor.present,
        **_fields(descriptor),
    }
    if isinstance(descriptor, Gate) and descriptor.kind != "task-gate":
        document["symbol"] = style.symbol(descriptor.offset)
    return document


@singledispatch
def _fields(_descriptor: Descriptor) -> dict[str, object]:
    return {}


@_fields.register
def _(descriptor: Segment) -> dict[str, object]:
    return {
        **_span_fields(descriptor),
        "readable": descriptor.readable,
        "writable": descriptor.writable,
        "conforming": descriptor.conforming,
        "expand_down": descriptor.expand_down,
        "accessed": descriptor.accessed,
    }


@_fields.register
def _(descriptor: SystemSegment) -> dict[str, object]:
    fields = _span_fields(descriptor)
    if descriptor.kind != "ldt":
        fields |= {"bits": descriptor.bits, "busy": descriptor.busy}
    return fields | {"reserved": descriptor.reserved}


@_fields.register
def _(descriptor: Gate) -> dict[str, object]:
    wide = is_wide(descriptor)
    return {
        "bits": descriptor.bits,
        "type": descriptor.type,
        "target_selector": descriptor.target_selector,
        "offset": hex64(descriptor.offset) if wide else descriptor.offset,
        "params": descriptor.params,
        "ist": descriptor.ist,
        "low5": descriptor.low5,
        "high3": descriptor.high3,
        "unused": descriptor.unused,
        "reserved": descriptor.reserved,
    }


@_fields.register
def _(descriptor: Reserved) -> dict[str, object]:
    upper = hex64(descriptor.upper) if is_wide(descriptor) else descriptor.upper
    return {
        "type": descriptor.type,
        "s": descriptor.s,
        "low": descriptor.low,
        "high": descriptor.high,
        "upper": upper,
    }


def _span_fields(descriptor: Segment | SystemSegment) -> dict[str, object]:
    return {
        "base": hex64(descriptor.base) if is_wide(descriptor) else descriptor.base,
        "limit": descriptor.limit,
        "last_byte": descriptor.last_byte,
        "type": descriptor.type,
        "db": descriptor.db,
        "l": descriptor.l,
        "g": descriptor.g,
        "avl": descriptor.avl,
    }

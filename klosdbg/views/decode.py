"""Views of what ``decode`` shows: flags, error codes, selectors, paging entries and walks."""

import textwrap
from collections.abc import Iterator

from klosdbg.models import Decoded
from klosdbg.views.base import WIDTH, Style, columns, data, hex64, text
from klosdbg.views.findings import finding_data, finding_lines
from klosdbg.x86.errorcode import ErrorCode
from klosdbg.x86.flags import Field, Flags
from klosdbg.x86.paging import PageEntry, Walk
from klosdbg.x86.selector import Selector
from klosdbg.x86.vectors import vector_name

SIZES = {1 << 12: "4 KiB", 1 << 21: "2 MiB", 1 << 22: "4 MiB", 1 << 30: "1 GiB"}
"""Names of the sizes of pages."""


@text.register
def _(model: Decoded, style: Style) -> str:
    parts = [text(model.model, style), finding_lines(model.findings, style)]
    if model.reading and model.index == 0:
        parts.insert(0, style.paint("dim", f"read as {model.reading}"))
    return "\n".join(filter(None, parts))


@data.register
def _(model: Decoded, style: Style) -> dict[str, object]:
    document = data(model.model, style)
    if model.order:
        document["order"] = model.order
    return document | {"findings": [finding_data(found) for found in model.findings]}


@text.register
def _(model: Flags, style: Style) -> str:
    rows = [_flag_row(field, model.fields[field.name]) for field in reversed(model.set_fields)]
    clear = [name for name, value in model.fields.items() if not value]
    lines = [_flags_head(model, style), columns(rows, indent="  ", right="rlr")]
    lines.append(_wrapped("clear: ", " ".join(clear)))
    return "\n".join(filter(None, lines))


def _flags_head(model: Flags, style: Style) -> str:
    named = f"{style.paint('bold', model.register)} = {model.raw:#0{model.layout.digits + 2}x}"
    if not model.reserved:
        return named
    return f"{named}  {style.paint('yellow', f'reserved bits differ: {model.reserved:#x}')}"


def _flag_row(field: Field, value: int) -> tuple[str, str, str, str]:
    place = str(field.low) if field.high == field.low else f"{field.high}:{field.low}"
    return place, field.name, str(value), field.meaning


@data.register
def _(model: Flags, _style: Style) -> dict[str, object]:
    return {
        "schema": f"klosdbg/{model.register}/1",
        "register": model.register,
        "raw": hex64(model.raw),
        **model.fields,
        "reserved": hex64(model.reserved),
    }


@text.register
def _(model: ErrorCode, style: Style) -> str:
    name = f"{_vector(model.vector)} " if model.vector is not None else ""
    fields = "  ".join(f"{field}={value}" for field, value in model.fields.items())
    lines = [f"{style.paint('bold', f'{name}error code')} = {model.raw:#06x}"]
    lines += [f"  {fields}"] if fields else []
    lines.append(_wrapped("  ", model.explanation))
    if model.doubt:
        lines.append(_wrapped("  ", style.paint("yellow", model.doubt)))
    return "\n".join(lines)


def _vector(vector: int) -> str:
    return vector_name(vector) or f"vector {vector:#x}"


@data.register
def _(model: ErrorCode, _style: Style) -> dict[str, object]:
    document: dict[str, object] = {
        "schema": "klosdbg/errorcode/1",
        "raw": hex64(model.raw),
        "vector": model.vector,
        "form": model.form,
        **model.fields,
    }
    if model.form == "selector":
        document |= {"table": model.table, "selector": model.selector}
    return document | {
        "reserved": hex64(model.reserved),
        "explanation": model.explanation,
        "doubt": model.doubt,
    }


@text.register
def _(model: Selector, style: Style) -> str:
    named = f"{style.paint('bold', 'selector')} = {model.raw:#06x}"
    if model.null:
        return f"{named}  null, rpl {model.rpl}"
    at = f"at offset {model.byte_offset:#x}"
    return f"{named}  {model.table.upper()} entry {model.index} {at}, rpl {model.rpl}"


@data.register
def _(model: Selector, _style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/selector/1",
        "raw": hex64(model.raw),
        "selector": model.raw,
        "index": model.index,
        "ti": model.ti,
        "table": model.table,
        "rpl": model.rpl,
        "null": model.null,
        "byte_offset": model.byte_offset,
    }


@text.register
def _(model: PageEntry, style: Style) -> str:
    digits = 8 if model.narrow else 16
    named = f"{style.paint('bold', model.name)} = {model.raw:#0{digits + 2}x}"
    lines = [f"{named}  {model.mode} paging, level {model.level}"]
    if not model.present:
        return "\n".join((*lines, "  not present: the processor ignores every other bit"))
    lines.append(f"  {_entry_target(model)}")
    lines.append(_wrapped("  ", " ".join(_entry_words(model))))
    if not model.maps_page and not model.root_pdpte:
        lines.append("  R/W and U/S count only if every level has them, XD if any level has it")
    return "\n".join(lines)


def _entry_target(entry: PageEntry) -> str:
    if entry.page_size:
        return f"{SIZES[entry.page_size]} page at physical {entry.address:#x}"
    return f"next table at physical {entry.address:#x}"


def _entry_words(entry: PageEntry) -> Iterator[str]:
    yield "present"
    if not entry.root_pdpte:
        yield "writable" if entry.writable else "read-only"
        yield "user" if entry.user else "supervisor"
    shown = {
        "no-execute": entry.nx,
        "write-through": entry.pwt,
        "cache-disabled": entry.pcd,
        "accessed": entry.accessed and not entry.root_pdpte,
        "dirty": entry.dirty and entry.maps_page,
        "global": entry.global_ and entry.maps_page,
        "pat": entry.pat,
    }
    yield from (word for word, holds in shown.items() if holds)
    if entry.avl or entry.high_avl:
        yield f"avl={entry.avl:#x}" + (f",{entry.high_avl:#x}" if entry.high_avl else "")
    if entry.protection_key and entry.maps_page:
        yield f"key={entry.protection_key}"


@data.register
def _(model: PageEntry, _style: Style) -> dict[str, object]:
    return {"schema": "klosdbg/pte/1", **_entry_data(model)}


def _entry_data(entry: PageEntry) -> dict[str, object]:
    return {
        "mode": entry.mode,
        "level": entry.level,
        "name": entry.name,
        "raw": hex64(entry.raw),
        "present": entry.present,
        "writable": entry.writable,
        "user": entry.user,
        "pwt": entry.pwt,
        "pcd": entry.pcd,
        "accessed": entry.accessed,
        "dirty": entry.dirty,
        "bit7": entry.bit7,
        "global": entry.global_,
        "avl": entry.avl,
        "high_avl": entry.high_avl,
        "protection_key": entry.protection_key,
        "nx": entry.nx,
        "pat": entry.pat,
        "page_size": entry.page_size,
        "frame": hex64(entry.frame),
        "address": hex64(entry.address),
        "reserved": hex64(entry.reserved),
    }


@text.register
def _(model: Walk, style: Style) -> str:
    digits = 8 if model.paging.mode in ("32-bit", "PSE", "PAE") else 16
    head = f"linear {style.address(model.linear, digits)}, {model.paging.mode} paging"
    rows = [
        (
            step.entry.name,
            f"[{step.index}]",
            f"at {step.address:#x}",
            f"{step.entry.raw:#0{(8 if step.entry.narrow else 16) + 2}x}",
            _rights(step.entry),
        )
        for step in model.steps
    ]
    return "\n".join(filter(None, (head, columns(rows, indent="  ", right="lr"), _end(model))))


def _rights(entry: PageEntry) -> str:
    if not entry.present:
        return "not present"
    if entry.root_pdpte:
        return "present"
    rights = f"{'rw' if entry.writable else 'ro'} {'user' if entry.user else 'supervisor'}"
    return rights + (" nx" if entry.nx else "")


def _end(model: Walk) -> str:
    if model.physical is None or model.page_size is None:
        return _wrapped("  ", f"not mapped: {model.why}")
    who = "user" if model.user else "supervisor"
    how = "writable" if model.writable else "read-only"
    rights = f"{who}, {how}{', no execute' if model.nx else ''}"
    return f"  physical {model.physical:#x}: {rights}, {SIZES[model.page_size]} page"


@data.register
def _(model: Walk, _style: Style) -> dict[str, object]:
    mapped = model.physical is not None
    return {
        "schema": "klosdbg/walk/1",
        "linear": hex64(model.linear),
        "mode": model.paging.mode,
        "entries": [
            {"index": step.index, "at": hex64(step.address), **_entry_data(step.entry)}
            for step in model.steps
        ],
        "physical": hex64(model.physical) if model.physical is not None else None,
        "page_size": model.page_size,
        "user": model.user if mapped else None,
        "writable": model.writable if mapped else None,
        "nx": model.nx if mapped else None,
        "why": model.why,
    }


def _wrapped(lead: str, words: str) -> str:
    return textwrap.fill(
        words,
        WIDTH,
        initial_indent=lead,
        subsequent_indent=" " * len(lead),
        break_on_hyphens=False,
    )

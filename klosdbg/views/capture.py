"""Views of capturing: how a capture stands, its snapshots, and what differs between two."""

import textwrap
from collections.abc import Iterator
from itertools import groupby

from klosdbg.captures.models import (
    CaptureNote,
    CaptureState,
    CaptureSummary,
    DamagedSnapshot,
    Difference,
    Expectation,
    Exported,
    FieldChange,
    SnapshotInfo,
    SnapshotList,
)
from klosdbg.views.base import WIDTH, Style, address_data, columns, data, printable, text

_SHORT = 23
_DAMAGE = 62
_MOST = 2000
_LINKED = ("handler", "service")


@text.register
def _(model: CaptureState, _style: Style) -> str:
    done = "recording into" if model.state == "recording" else "captured"
    counts = f"{_count(model.events, 'event')}, {_count(model.snapshots, 'snapshot')}"
    return f"{done} {model.where}: {counts}, {model.seconds:.1f} s"


@data.register
def _(model: CaptureState, _style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/capture/1",
        "state": model.state,
        "file": model.where,
        "events": model.events,
        "snapshots": model.snapshots,
        "seconds": round(model.seconds, 3),
    }


@text.register
def _(model: CaptureNote, _style: Style) -> str:
    return _filled(f"{model.seconds:9.3f} s  {_line(model.kind, 20)}: ", model.text, 4)


@data.register
def _(model: CaptureNote, _style: Style) -> dict[str, object]:
    return {"schema": "klosdbg/note/1", **_note_data(model)}


@text.register
def _(model: SnapshotInfo, style: Style) -> str:
    return columns([_snapshot_row(model, style)])


@data.register
def _(model: SnapshotInfo, _style: Style) -> dict[str, object]:
    return {"schema": "klosdbg/snapshot/1", **_snapshot_data(model)}


@text.register
def _(model: SnapshotList, style: Style) -> str:
    if not model.snapshots:
        return "no snapshots: 'snap' takes one"
    return columns(row for s in model.snapshots for row in _snapshot_rows(s, style))


@data.register
def _(model: SnapshotList, _style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/snapshots/1",
        "snapshots": [
            _damaged_data(s) if isinstance(s, DamagedSnapshot) else _snapshot_data(s)
            for s in model.snapshots
        ],
    }


@text.register
def _(model: Difference, style: Style) -> str:
    lines = [f"{model.before} -> {model.after}: {_count(len(model.changes), 'field')} differ"]
    for where, changes in groupby(model.changes, key=lambda c: c.where):
        lines.append(style.paint("bold", where))
        lines += _changes(list(changes), style)
    if model.uncompared:
        names = ", ".join(model.uncompared)
        lines.append(_filled("not compared, since one of them cannot be read: ", names, 2))
    return "\n".join(lines)


@data.register
def _(model: Difference, _style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/diff/1",
        "before": model.before,
        "after": model.after,
        "changes": [
            {
                "where": c.where,
                "field": c.field,
                "before": _plain(c.before),
                "after": _plain(c.after),
            }
            for c in model.changes
        ],
        "uncompared": list(model.uncompared),
    }


@text.register
def _(model: CaptureSummary, style: Style) -> str:
    facts = [_fact(name, value, style) for name, value in model.facts.items()]
    counts = ", ".join(
        (
            _count(model.events, "event"),
            _count(model.relocations, "relocation"),
            _count(model.snapshots, "snapshot"),
        )
    )
    notes = [text(note, style) for note in model.notes]
    damage = [style.paint("red", _filled("damage: ", model.damage, 2))] if model.damage else []
    return "\n".join([f"{model.name}: {counts}", *facts, *damage, *notes])


@data.register
def _(model: CaptureSummary, _style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/capture-info/1",
        "file": model.name,
        **model.facts,
        "events": model.events,
        "relocations": model.relocations,
        "snapshots": model.snapshots,
        "notes": [_note_data(note) for note in model.notes],
        "damage": model.damage,
    }


@text.register
def _(model: Expectation, style: Style) -> str:
    told = "held" if model.held else "did not hold"
    verdict = style.paint("green" if model.held else "red", told)
    return verdict + _filled(f"{told}: ", model.expression, 4).removeprefix(told)


@data.register
def _(model: Expectation, _style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/expectation/1",
        "expression": model.expression,
        "held": model.held,
        "found": model.found,
    }


@text.register
def _(model: Exported, _style: Style) -> str:
    what = "the report" if model.format == "html" else _count(model.events, "event")
    return f"wrote {model.file}: {what} as {model.format}, {model.size} bytes"


@data.register
def _(model: Exported, _style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/export/1",
        "format": model.format,
        "file": model.file,
        "events": model.events,
        "size": model.size,
    }


def _note_data(note: CaptureNote) -> dict[str, object]:
    return {"kind": note.kind, "text": note.text, "seconds": note.seconds}


def _snapshot_rows(
    snapshot: SnapshotInfo | DamagedSnapshot, style: Style
) -> Iterator[tuple[str, ...]]:
    if not isinstance(snapshot, DamagedSnapshot):
        yield _snapshot_row(snapshot, style)
        return
    words = textwrap.wrap(_line(f"{snapshot.damage} ({snapshot.why})", _MOST), _DAMAGE)
    heads = [(f"{snapshot.number:>4}", f"{snapshot.seconds:8.3f} s"), *[("", "")] * len(words)]
    yield from ((*head, style.paint("red", line)) for head, line in zip(heads, words, strict=False))


def _damaged_data(snapshot: DamagedSnapshot) -> dict[str, object]:
    return {
        "number": snapshot.number,
        "why": snapshot.why,
        "seconds": snapshot.seconds,
        "damage": snapshot.damage,
    }


def _snapshot_row(snapshot: SnapshotInfo, style: Style) -> tuple[str, ...]:
    symbol = f" <{_line(snapshot.symbol, 20)}>" if snapshot.symbol else ""
    return (
        f"{'*' if snapshot.shown else ' '}{snapshot.number:>3}",
        f"{snapshot.seconds:8.3f} s",
        f"{snapshot.cs:04x}:{snapshot.eip:08x}{style.paint('cyan', symbol)}",
        _line(snapshot.why, 24),
    )


def _snapshot_data(snapshot: SnapshotInfo) -> dict[str, object]:
    return {
        "number": snapshot.number,
        "why": snapshot.why,
        "seconds": round(snapshot.seconds, 6),
        "events": snapshot.events,
        "cs": snapshot.cs,
        "eip": address_data(snapshot.eip),
        "symbol": snapshot.symbol,
        "size": snapshot.size,
        "shown": snapshot.shown,
    }


def _changes(changes: list[FieldChange], style: Style) -> Iterator[str]:
    """Align short values; what is too long for a line is broken."""
    rows = [(change.field, *_values(change, style)) for change in changes]
    for short, run in groupby(rows, key=lambda row: max(map(len, row)) <= _SHORT):
        if short:
            yield columns(((name, old, f"-> {new}") for name, old, new in run), indent="  ")
        else:
            yield from (line for row in run for line in _broken(*row))


def _broken(name: str, old: str, new: str) -> list[str]:
    line = f"  {name}  {old}  -> {new}"
    return (
        [line]
        if len(line) <= WIDTH
        else [_filled(f"  {name}  ", old, 4), _filled("    -> ", new, 7)]
    )


def _values(change: FieldChange, style: Style) -> tuple[str, str]:
    values = change.before, change.after
    linked = change.field in _LINKED
    names = [style.symbol(v) if linked and isinstance(v, int) else None for v in values]
    shown = [_line(v, _MOST) for v in change.shown]
    old, new = (f"{v} <{name}>" if name else v for v, name in zip(shown, names, strict=True))
    return old, new


def _plain(value: int | str | None) -> int | str | None:
    wide = isinstance(value, int) and not isinstance(value, bool) and value >= 1 << 53
    return f"{value:#x}" if wide else value


def _fact(name: str, value: str, style: Style) -> str:
    head = f"  {name:11}  "
    filled = _filled(head, value, len(head))
    return f"  {style.paint('dim', name)}{filled[2 + len(name) :]}"


def _filled(head: str, words: str, indent: int) -> str:
    """Break what does not fit into lines, which are indented."""
    lead = " " * indent
    flat = head + _line(words, _MOST)
    return textwrap.fill(flat, WIDTH, subsequent_indent=lead, break_on_hyphens=False)


def _line(string: str, width: int) -> str:
    flat = " ".join(printable(string.encode("utf-8", "replace")).split())
    return flat if len(flat) <= width else flat[: width - 3] + "..."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

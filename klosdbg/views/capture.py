"""Views of capturing: how a capture stands, its snapshots, and what differs between two."""

from itertools import groupby

from klosdbg.trace.capture_models import (
    CaptureNote,
    CaptureState,
    CaptureSummary,
    Difference,
    Expectation,
    Exported,
    FieldChange,
    SnapshotInfo,
    SnapshotList,
)
from klosdbg.views.base import Style, address_data, columns, data, printable, text

_WORDS = 44


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
    return f"{model.seconds:9.3f} s  {model.kind}: {_line(model.text)}"


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
    return columns([_snapshot_row(s, style) for s in model.snapshots])


@data.register
def _(model: SnapshotList, _style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/snapshots/1",
        "snapshots": [_snapshot_data(s) for s in model.snapshots],
    }


@text.register
def _(model: Difference, style: Style) -> str:
    lines = [f"{model.before} -> {model.after}: {_count(len(model.changes), 'field')} differ"]
    for where, changes in groupby(model.changes, key=lambda c: c.where):
        lines.append(style.paint("bold", where))
        lines.append(columns((_change_row(c) for c in changes), indent="  "))
    if model.uncompared:
        lines.append(f"not compared, since one of them cannot be read: {_list(model.uncompared)}")
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
    facts = columns([(style.paint("dim", n), _line(v, 64)) for n, v in model.facts.items()], "  ")
    counts = ", ".join(
        (
            _count(model.events, "event"),
            _count(model.relocations, "relocation"),
            _count(model.snapshots, "snapshot"),
        )
    )
    notes = [text(note, style) for note in model.notes]
    damage = [style.paint("red", f"damage: {_line(model.damage, 70)}")] if model.damage else []
    return "\n".join([f"{model.name}: {counts}", facts, *damage, *notes])


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
    verdict = style.paint("green", "held") if model.held else style.paint("red", "did not hold")
    return f"{verdict}: {_line(model.expression, 64)}"


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


def _snapshot_row(snapshot: SnapshotInfo, style: Style) -> tuple[str, ...]:
    symbol = f" <{snapshot.symbol:.24}>" if snapshot.symbol else ""
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


def _change_row(change: FieldChange) -> tuple[str, str, str]:
    before, after = (change_value(change.field, v) for v in (change.before, change.after))
    if max(len(before), len(after)) > 24:
        return change.field, before[:_WORDS], f"-> {after[:24]}"
    return change.field, before, f"-> {after}"


def change_value(field: str, value: int | str | None) -> str:
    """Show the value of a field that differs."""
    if value is None:
        return "(none)"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return _line(value, 60) or '""'
    return f"{value:#x}" if value > 9 else str(value)


def _plain(value: int | str | None) -> int | str | None:
    wide = isinstance(value, int) and not isinstance(value, bool) and value >= 1 << 53
    return f"{value:#x}" if wide else value


def _line(string: str, width: int = _WORDS) -> str:
    flat = " ".join(printable(string.encode("utf-8", "replace")).split())
    return flat if len(flat) <= width else flat[: width - 3] + "..."


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(names)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

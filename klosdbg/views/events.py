"""Views of events: one a line, as a tree from stub to return, and as statistics."""

import shutil
import textwrap
from collections.abc import Iterator

from klosdbg.events.document import event_data
from klosdbg.events.event import Event, Place, Transfer
from klosdbg.events.statistics import EventStatistics, VectorStatistics
from klosdbg.events.tree import EventHeading, EventRow, EventTree, RecordingHeading
from klosdbg.recording.models import Finished, Recorded
from klosdbg.views.base import Style, columns, data, text

_UNITS = {"tsc": "TSC ticks", "instructions": "instructions", "host-ns": "ns of the host"}
_ENDS = {
    "running": "recording",
    "limit": "recorded",
    "asked": "recorded",
    "stop": "recorded, then something else stopped the guest",
    "time-out": "recorded until the time-out",
    "interrupt": "recorded until Ctrl-C",
}
_DEEPEST_SHOWN = 4
_NARROWEST = 60
_VECTOR = 9
_ERROR = 11
_RING = 4
_SHORTEST = 8
_LONGEST_SOURCE = 40
_CONTINUED = " " * 11
_ALONE = EventHeading()


@text.register
def _(model: Event, style: Style) -> str:
    return text(EventRow(model, _ALONE), style)


@text.register
def _(model: RecordingHeading, style: Style) -> str:
    return style.paint("bold", f"recording {model.number}")


@data.register
def _(_model: RecordingHeading, _style: Style) -> dict[str, object]:
    return {}


@text.register
def _(model: EventHeading, style: Style) -> str:
    names = ("vector", "error", "process", "ring", "source", "outcome")
    widths = _widths(model)
    lead = "seq".rjust(widths[0])
    cells = [n.ljust(width) for n, width in zip(names, widths[1:], strict=False) if width]
    return style.paint("bold", " ".join([lead, *cells, names[-1]])[: _columns()])


@text.register
def _(model: EventRow, style: Style) -> str:
    event, heading = model.event, model.heading
    seq, vector, error, process, ring, source = _widths(heading)
    indent = "  " * min(event.depth - 1, _DEEPEST_SHOWN)
    cells = [
        f"{event.seq:>{seq}}",
        _cut(f"{indent}{_vector(event)}", vector).ljust(vector),
        *([_error(event).ljust(error)] if error else []),
        *([_cut(event.process or "", process).ljust(process)] if process else []),
        f"{event.source.cpl}".ljust(ring),
    ]
    before = " ".join(cells)
    left = _columns() - len(before) - 1
    return f"{before} {_fitted(event, style, source, left)}".rstrip()


def _columns() -> int:
    return max(_NARROWEST, shutil.get_terminal_size().columns)


def _widths(heading: EventHeading) -> tuple[int, int, int, int, int, int]:
    """Give the widths of the columns before the last: what source and outcome leave, those get."""
    seq = max(3, len(f"{heading.last}"))
    vector = _VECTOR + 2 * min(heading.deepest - 1, _DEEPEST_SHOWN)
    error = _ERROR if heading.errors else 0
    wide = _columns()
    process = min(max(len("process"), heading.process), wide // 6) if heading.process else 0
    used = seq + vector + error + process + _RING + 3 + bool(error) + bool(process)
    return seq, vector, error, process, _RING, min(_LONGEST_SOURCE, (wide - used) * 9 // 20)


def _fitted(event: Event, style: Style, wanted: int, left: int) -> str:
    """Show source and outcome; of what is too long, the end tells most: an offset, a process."""
    name, offset = _split(event.source, style)
    handler, marks = _outcome(event, style)
    over = len(f"{name}{offset} {handler} {marks}".strip()) - left
    handler = _cut(handler, max(_SHORTEST, len(handler) - max(0, over)))
    outcome = f"{handler} {marks}".strip()
    least = _SHORTEST
    if marks and least + len(f"{offset} {outcome}") > left:
        outcome, least = marks, _SHORTEST // 2
    name = _cut(name, max(least, left - len(f"{offset} {outcome}")))
    width = max(0, min(wanted, left - 1 - len(outcome)))
    return _cut(f"{(name + offset).ljust(width)} {outcome}", left)


def _split(place: Place, style: Style) -> tuple[str, str]:
    """Take a place apart: what of it can be cut, and what cannot."""
    shown = _where(place, style)
    name, plus, offset = shown.partition("+")
    return ("", shown) if ":" in name else (name, plus + offset)


def _vector(event: Event) -> str:
    name = event.name
    if event.real:
        return _bios(event.vector)
    return f"{event.vector} {name}" if name else f"{event.vector}"


def _bios(vector: int) -> str:
    """Write a vector as everybody does who calls a BIOS."""
    return f"int {vector:02x}h"


def _error(event: Event) -> str:
    error = event.error
    if event.vector == 14 and event.cr2 is not None:
        return f"{event.cr2:#010x}"
    if error is None:
        return ""
    if error.form == "selector":
        return f"{error.table}[{error.index:#x}]" if not error.null else "0"
    return f"{error.raw:#x}"


def _where(place: Place, style: Style) -> str:
    name = place.symbol or style.symbol(place.linear)
    return name or (f"{place.eip:x}" if place.eip >> 32 else f"{place.cs:04x}:{place.eip:08x}")


def _outcome(event: Event, style: Style) -> tuple[str, str]:
    handler = "" if event.handler is None else _name(event.handler, event.handler_symbol, style)
    if event.resumed is None:
        return handler, "never came back"
    resumed, marks = event.resumed, []
    if resumed.idle:
        marks.append("idle")
    elif resumed.changed:
        place = _where(resumed.place, style)
        moved = resumed.process and resumed.process != event.process
        marks.append(f"=> {resumed.process if moved else place}")
    marks += ["flush"] if event.tlb_flush else []
    return handler, " ".join(marks)


def _name(address: int, symbol: str | None, style: Style) -> str:
    return symbol or style.symbol(address) or f"{address:#010x}"


def _cut(string: str, width: int) -> str:
    return string if len(string) <= width else string[: max(0, width - 2)] + ".."


@data.register
def _(model: Event, _style: Style) -> dict[str, object]:
    return event_data(model)


@data.register
def _(model: EventRow, _style: Style) -> dict[str, object]:
    return event_data(model.event)


@data.register
def _(_model: EventHeading, _style: Style) -> dict[str, object]:
    return {}


@text.register
def _(model: EventTree, style: Style) -> str:
    return "\n".join(row for line in _tree(model, style, "") for row in _wrapped(line))


def _wrapped(line: str) -> list[str]:
    indent = line[: len(line) - len(line.lstrip())][: _columns() // 2]
    rest = f"{indent}{_CONTINUED}"
    return textwrap.wrap(line.lstrip(), _columns(), initial_indent=indent, subsequent_indent=rest)


def _tree(model: EventTree, style: Style, indent: str) -> Iterator[str]:
    event = model.event
    who = f" in {event.process}" if event.process else ""
    error = f": {event.error.explanation}" if event.error else ""
    yield f"{indent}#{event.seq} {_vector(event)}{who} at {_where_long(event.source, style)}"
    if error:
        yield f"{indent}  error {event.error_code:#x}{error}"
    if event.cr2 is not None:
        yield f"{indent}  cr2 {event.cr2:#010x}"
    if event.stub is not None:
        yield f"{indent}  stub     {_name(event.stub, event.stub_symbol, style)}"
    if event.out is not None:
        yield f"{indent}  out      {_transfer(event.out, style)}"
    if event.handler is not None:
        yield f"{indent}  handler  {_name(event.handler, event.handler_symbol, style)}"
    for nested in model.nested:
        yield from _tree(nested, style, indent + "    ")
    if event.back is not None:
        yield f"{indent}  back     {_back(event)}"
    yield f"{indent}  resumed  {_resumed(event, style)}"


def _where_long(place: Place, style: Style) -> str:
    name = place.symbol or style.symbol(place.linear)
    shown = f"ring {place.cpl}, {place.cs:04x}:{place.eip:08x}"
    return f"{shown} <{name}>" if name else shown


def _transfer(out: Transfer, style: Style) -> str:
    at = style.symbol(out.address) or f"{out.address:#010x}"
    stack = "" if out.esp is None or out.ss is None else f", stack {out.ss:04x}:{out.esp:08x}"
    esp0 = "" if out.esp0 is None else f", esp0 {out.esp0:#x}"
    return f"{out.instruction} at {at}, ring {out.from_cpl} to {out.to_cpl}{stack}{esp0}"


def _back(event: Event) -> str:
    assert event.back is not None
    parts = [event.back.kind.replace("-", " ")]
    if event.back.selector is not None:
        parts[0] += f" {event.back.selector:#06x}"
    parts += ["TLB flushed"] if event.tlb_flush else []
    parts += ["end of interrupt"] if event.eoi else []
    return ", ".join(parts)


def _resumed(event: Event, style: Style) -> str:
    resumed = event.resumed
    if resumed is None:
        return "never came back"
    if resumed.idle:
        return "nowhere: the processor waits"
    who = f"{resumed.process}, " if resumed.process else ""
    return who + ("" if resumed.changed else "where it hit: ") + _where_long(resumed.place, style)


@data.register
def _(model: EventTree, style: Style) -> dict[str, object]:
    return event_data(model.event) | {
        "schema": "klosdbg/event-tree/1",
        "nested": [data(nested, style) for nested in model.nested],
    }


@text.register
def _(model: Recorded, style: Style) -> str:
    shown = f"{_ENDS[model.end]}: {model.kept} events"
    if model.seen != model.kept:
        shown += f" of {model.seen} seen"
    shown += f" in {model.seconds:.2f} s, {model.recorder} recorder"
    if model.stops:
        shown += f", {model.stops} stops"
    if model.lost:
        shown += "\n" + style.paint("yellow", f"{model.lost} more were overwritten unread")
    if model.left_out:
        shown += "\n" + style.paint("yellow", f"{model.left_out} more were left out, at Ctrl-C")
    return shown


@data.register
def _(model: Recorded, _style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/recording/1",
        "events": model.kept,
        "seen": model.seen,
        "lost": model.lost + model.left_out,
        "seconds": round(model.seconds, 6),
        "stops": model.stops,
        "recorder": model.recorder,
        "end": model.end,
    }


@text.register
def _(model: Finished, style: Style) -> str:
    shown = text(model.recorded, style)
    return f"{shown}\n{text(model.stop, style)}" if model.stop else shown


@data.register
def _(model: Finished, style: Style) -> dict[str, object]:
    stop = data(model.stop, style) if model.stop else None
    return data(model.recorded, style) | {"stop": stop}


@text.register
def _(model: EventStatistics, _style: Style) -> str:
    head = ("vector", "", "count", "share", "median", "99 %", "slowest", "its seq")
    table = columns([head, *map(_row, model.vectors)], right="r rrrrrr")
    notes = [f"{model.total} events"]
    if model.incomplete:
        notes.append(f"{model.incomplete} never came back")
    if model.unit:
        notes.append(f"times in {_UNITS[model.unit]}")
    lines = [table, ", ".join(notes)]
    if model.perturbed:
        lines.append("the recorder's own stops are in the times")
    return "\n".join(lines)


def _row(row: VectorStatistics) -> tuple[str, ...]:
    numbers = (row.median, row.percentile_99, row.slowest, row.slowest_seq)
    shown = ["" if number is None else f"{number}" for number in numbers]
    name = _bios(row.vector) if row.real else row.name or ""
    return (f"{row.vector}", name, f"{row.count}", f"{row.share:.1%}", *shown)


@data.register
def _(model: EventStatistics, _style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/event-statistics/1",
        "total": model.total,
        "incomplete": model.incomplete,
        "unit": model.unit,
        "perturbed": model.perturbed,
        "vectors": [
            {
                "vector": row.vector,
                "name": row.name,
                "real": row.real,
                "count": row.count,
                "share": row.share,
                "median": row.median,
                "percentile_99": row.percentile_99,
                "slowest": row.slowest,
                "slowest_seq": row.slowest_seq,
            }
            for row in model.vectors
        ],
    }

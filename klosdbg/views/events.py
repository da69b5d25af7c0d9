"""Views of events: one a line, as a tree from stub to return, and as statistics."""

from collections.abc import Iterator

from klosdbg.trace.event import Event, Place, Transfer
from klosdbg.trace.event_data import event_data
from klosdbg.trace.statistics import EventStatistics, VectorStatistics
from klosdbg.trace.tracer import Finished, Recorded
from klosdbg.trace.tree import EventTree
from klosdbg.views.base import Style, columns, data, text
from klosdbg.x86.vectors import vector_name

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


@text.register
def _(model: Event, style: Style) -> str:
    lead = "  " * min(model.depth - 1, _DEEPEST_SHOWN)
    cells = (
        f"{model.seq:>6}",
        f"{lead}{_vector(model)}".ljust(8)[:14],
        _cut(_error(model), 10).ljust(10),
        _cut(model.process or "", 9).ljust(9),
        _cut(_where(model.source, style), 20).ljust(20),
    )
    return f"{' '.join(cells)} {_cut(_outcome(model, style), 79 - len(' '.join(cells)))}".rstrip()


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
    at = f"{place.eip:x}" if place.eip >> 32 else f"{place.cs:04x}:{place.eip:08x}"
    return f"{place.cpl} {name or at}"


def _outcome(event: Event, style: Style) -> str:
    handler = "" if event.handler is None else _name(event.handler, event.handler_symbol, style)
    if event.resumed is None:
        return f"{handler} never came back".strip()
    resumed, marks = event.resumed, []
    if resumed.idle:
        marks.append("idle")
    elif resumed.changed:
        marks.append(f"=> {resumed.process or _where(resumed.place, style)}")
    marks += ["flush"] if event.tlb_flush else []
    return " ".join([handler, *marks]).strip()


def _name(address: int, symbol: str | None, style: Style) -> str:
    return symbol or style.symbol(address) or f"{address:#010x}"


def _cut(string: str, width: int) -> str:
    return string if len(string) <= width else string[: max(0, width - 2)] + ".."


@data.register
def _(model: Event, _style: Style) -> dict[str, object]:
    return event_data(model)


@text.register
def _(model: EventTree, style: Style) -> str:
    return "\n".join(line[:80].rstrip() for line in _tree(model, style, ""))


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
    return shown


@data.register
def _(model: Recorded, _style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/recording/1",
        "events": model.kept,
        "seen": model.seen,
        "lost": model.lost,
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
    name = _bios(row.vector) if row.real else vector_name(row.vector) or ""
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
                "name": None if row.real else vector_name(row.vector),
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

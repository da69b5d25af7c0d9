"""The drawings of a report, as SVG: the timeline, the maps of the tables, the I/O map."""

from collections.abc import Iterator, Sequence
from html import escape

from klosdbg.events.event import Event
from klosdbg.x86.descriptor import Gate, Segment, SystemSegment
from klosdbg.x86.iobitmap import PORTS, IoBitmap
from klosdbg.x86.table import Entry, Table

MOST_DRAWN = 2000
_WIDTH, _LABEL, _LANE = 960, 190, 26
_CELLS, _CELL = 128, 7
_ROW = 256
_UNITS = {"tsc": "TSC ticks", "instructions": "instructions", "host-ns": "ms of the host"}
_MILLION = 1_000_000


def timeline(events: Sequence[Event]) -> str:
    """Draw when each event hit, in which process and ring, and how long its handler took."""
    drawn = events[:MOST_DRAWN]
    first = min(e.time.value for e in drawn)
    last = max(e.time.value + _length(e) for e in drawn)
    lanes = _lanes(drawn)
    height = len(lanes) * _LANE + 40
    scale = (_WIDTH - _LABEL - 20) / max(1, last - first)
    parts = [*_grid(lanes, height), *_axis(first, last, height, drawn[0].time.unit)]
    for event in drawn:
        parts += _marks(event, lanes, _LABEL + 10 + (event.time.value - first) * scale, scale)
    return _svg("timeline of the events", _WIDTH, height, parts)


def lane_of(event: Event) -> str:
    """Name the lane that an event hit in: its process and ring."""
    process = event.process or ("idle" if event.origin == "idle" else "system")
    return f"{process}, ring {event.source.cpl}"


def _lanes(events: Sequence[Event]) -> list[str]:
    hit = list(dict.fromkeys(lane_of(event) for event in events))[:30]
    return [*hit, "stubs, ring 0", "handlers, ring 3"]


def _length(event: Event) -> int:
    return (event.spent.stub or 0) + (event.spent.handler or 0)


def _grid(lanes: list[str], height: int) -> Iterator[str]:
    for number, lane in enumerate(lanes):
        y = number * _LANE
        if number % 2 == 0:
            yield f'<rect class="band" x="0" y="{y}" width="{_WIDTH}" height="{_LANE}"/>'
        shown = lane if len(lane) <= 26 else f"{lane[:25]}…"
        yield f'<text x="8" y="{y + 17}">{escape(shown)}</text>'
    yield f'<line class="rule" x1="{_LABEL}" y1="0" x2="{_LABEL}" y2="{height - 40}"/>'


def _axis(first: int, last: int, height: int, unit: str) -> Iterator[str]:
    room = _WIDTH - _LABEL - 20
    for quarter in range(5):
        x = _LABEL + 10 + room * quarter / 4
        value = (last - first) * quarter // 4 // (_MILLION if unit == "host-ns" else 1)
        anchor = "end" if quarter == 4 else "middle" if quarter else "start"
        yield f'<line class="rule" x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="{height - 36}"/>'
        yield f'<text x="{x:.1f}" y="{height - 22}" text-anchor="{anchor}">{value:,}</text>'
    words = f"{_UNITS.get(unit, unit)} since the first event"
    yield f'<text x="{_LABEL + 10}" y="{height - 6}" class="faint">{words}</text>'


def _marks(event: Event, lanes: list[str], x: float, scale: float) -> Iterator[str]:
    title = f"<title>{escape(_title(event))}</title>"
    kind = kind_of(event)
    lane = lane_of(event)
    if lane in lanes:
        y = lanes.index(lane) * _LANE
        yield f'<rect class="{kind}" x="{x:.1f}" y="{y + 4}" width="2" height="18">{title}</rect>'
    stub, handler = event.spent.stub, event.spent.handler
    bars = ((len(lanes) - 2, 0, stub), (len(lanes) - 1, stub or 0, handler))
    inset = min(event.depth - 1, 4) * 3
    for number, start, length in bars:
        at, wide = x + start * scale, max(1.5, (length or 0) * scale)
        y, high = number * _LANE + 4 + inset, 18 - inset
        style = f"{kind}{'' if length is not None else ' unmeasured'}"
        place = f'x="{at:.1f}" y="{y}" width="{wide:.1f}" height="{high}"'
        yield f'<rect class="{style}" {place}>{title}</rect>'


def _title(event: Event) -> str:
    error = f", error code {event.error_code:#x}" if event.error_code is not None else ""
    place = f"{event.source.cs:04x}:{event.source.eip:08x}"
    return f"{event.seq}: {event.vector} {event.name or 'interrupt'}{error} at {place}"


def kind_of(event: Event) -> str:
    """Sort an event for colour: fault, irq or call."""
    if event.vector < 32:
        return "fault"
    return "irq" if event.vector < 48 else "call"


def table_map(table: Table) -> str:
    """Draw each slot of a table as a cell, coloured by what it holds."""
    rows = max(1, -(-table.slots // _CELLS))
    parts: list[str] = []
    for entry in table.entries:
        parts += _run(entry, slot_kind(entry), rows)
    parts.append(_mesh(rows))
    for entry in table.entries:
        if entry.name and entry.count == 1:
            x, y = entry.index % _CELLS * _CELL, entry.index // _CELLS * _CELL
            box = f'x="{x - 1}" y="{y - 1}" width="{_CELL + 1}" height="{_CELL + 1}"'
            parts.append(f'<rect class="named" {box}><title>{escape(entry.name)}</title></rect>')
    return _svg(f"map of the {table.kind.upper()}", _CELLS * _CELL, rows * _CELL, parts)


def _mesh(rows: int) -> str:
    wide, high = _CELLS * _CELL, rows * _CELL
    across = "".join(f"M0 {y * _CELL - 0.5}H{wide}" for y in range(1, rows + 1))
    down = "".join(f"M{x * _CELL - 0.5} 0V{high}" for x in range(1, _CELLS + 1))
    return f'<path class="mesh" d="{across}{down}"/>'


def _run(entry: Entry, kind: str, rows: int) -> Iterator[str]:
    title = f"{entry.index:#x}: {entry.descriptor.kind}" + (f" {entry.name}" if entry.name else "")
    index, left = entry.index, min(entry.count, rows * _CELLS - entry.index)
    while left > 0:
        x = index % _CELLS
        whole = x == 0 and left >= _CELLS
        lines = left // _CELLS if whole else 1
        across = _CELLS if whole else min(left, _CELLS - x)
        place = f'x="{x * _CELL}" y="{index // _CELLS * _CELL}"'
        size = f'width="{across * _CELL - 1}" height="{lines * _CELL - 1}"'
        yield f'<rect class="{kind}" {place} {size}><title>{escape(title)}</title></rect>'
        index, left = index + across * lines, left - across * lines


def slot_kind(entry: Entry) -> str:
    """Sort a slot for colour: empty, absent, code, data, system or gate."""
    descriptor = entry.descriptor
    if descriptor.kind == "empty":
        return "empty"
    if not descriptor.present:
        return "absent"
    if isinstance(descriptor, Segment):
        return "code" if descriptor.executable else "data"
    if isinstance(descriptor, SystemSegment):
        return "system"
    return "gate" if isinstance(descriptor, Gate) else "absent"


def io_map(bitmap: IoBitmap) -> str:
    """Draw the ports, 256 in a row; those that are allowed are coloured."""
    high, parts = PORTS // _ROW, []
    for first, last in bitmap.allowed:
        for row in range(first // _ROW, last // _ROW + 1):
            start, end = max(first, row * _ROW), min(last, row * _ROW + _ROW - 1)
            place = f'x="{start % _ROW * 3}" y="{row * 2}" width="{(end - start + 1) * 3}"'
            title = f"<title>{first:#x}-{last:#x}</title>"
            parts.append(f'<rect class="open" {place} height="2">{title}</rect>')
    back = f'<rect class="empty" x="0" y="0" width="{_ROW * 3}" height="{high * 2}"/>'
    return _svg("I/O map", _ROW * 3, high * 2, [back, *parts])


def _svg(label: str, width: int, height: int, parts: Sequence[str]) -> str:
    head = f'<svg role="img" aria-label="{escape(label)}" viewBox="0 0 {width} {height}"'
    return f'{head} width="{width}" height="{height}">{"".join(parts)}</svg>'

"""The view of relocations as they happen: both tables as a map, the trail of the last hops."""

from collections import Counter
from collections.abc import Iterator, Mapping

from klosdbg.klos.dsos_models import WatchFrame
from klosdbg.klos.statistics import even_p
from klosdbg.views.base import Style, data, text
from klosdbg.views.relocations import place, relocation_data
from klosdbg.x86.selector import Selector

_CELLS = 64
_SLOTS = 8
_SHADES = " .:-=+*#%@"
_HOME = "\x1b[H\x1b[J"
_LEAST_FOR_TEST = 320


@text.register
def _(model: WatchFrame, style: Style) -> str:
    """Redraw the whole picture on a terminal; else list what is new, and draw at the end."""
    if style.color:
        return _HOME + "\n".join([*_head(model, style), *_maps(model, style)])
    lines = [
        f"{r.entry.seq}: {place(r.old)} -> {place(r.new)}, {r.cause}, pid {r.entry.pid}"
        for r in model.new
    ]
    if model.last:
        lines += [*_head(model, style), *_maps(model, style)]
    return "\n".join(lines)


def _head(model: WatchFrame, style: Style) -> Iterator[str]:
    rate = model.total / model.seconds if model.seconds else 0.0
    lost = f", {model.lost} of them overwritten unread" if model.lost else ""
    yield f"{model.total} relocations in {model.seconds:.1f} s, {rate:.1f} a second{lost}"
    counts = {table: _in_table(model, table) for table in ("gdt", "ldt")}
    yield f"to the GDT {counts['gdt']}, to the LDT {counts['ldt']}"
    if sum(model.bins) >= _LEAST_FOR_TEST:
        yield f"slots evenly used: p = {even_p(model.bins):.3f} (chi-square, 64 bins)"
    trail = " <- ".join(place(Selector(s)) for s in model.trail[:3])
    yield style.paint("bold", trail)


def _in_table(model: WatchFrame, table: str) -> int:
    return sum(n for selector, n in model.slots.items() if Selector(selector).table == table)


def _maps(model: WatchFrame, style: Style) -> Iterator[str]:
    hops = {selector: str(i + 1) for i, selector in reversed(list(enumerate(model.trail)))}
    for table, slots in (("gdt", model.gdt_slots), ("ldt", model.ldt_slots)):
        yield f"{table.upper()}, {_SLOTS} slots a character; 1 is DSOS, 2 where it was before, ..."
        counts, marks = Counter[int](), dict[int, str]()
        for selector, count in model.slots.items():
            if Selector(selector).table == table:
                counts[Selector(selector).index // _SLOTS] += count
        for selector, mark in hops.items():
            if Selector(selector).table == table:
                marks[Selector(selector).index // _SLOTS] = mark
        yield from _rows(-(-slots // _SLOTS), counts, marks, style)


def _rows(
    cells: int, counts: Mapping[int, int], marks: Mapping[int, str], style: Style
) -> Iterator[str]:
    for start in range(0, cells, _CELLS):
        row = range(start, min(start + _CELLS, cells))
        shown = "".join(_cell(counts.get(at, 0), marks.get(at), style) for at in row)
        yield f"{start * _SLOTS:5} |{shown}|"


def _cell(count: int, mark: str | None, style: Style) -> str:
    if mark:
        return style.paint("green" if mark == "1" else "cyan", mark)
    return _SHADES[min(count, len(_SHADES) - 1)]


@data.register
def _(model: WatchFrame, style: Style) -> dict[str, object]:
    return {
        "schema": "klosdbg/dsos-watch/1",
        "total": model.total,
        "lost": model.lost,
        "seconds": model.seconds,
        "bins": list(model.bins),
        "trail": list(model.trail),
        "relocations": [relocation_data(r, style) for r in model.new],
    }

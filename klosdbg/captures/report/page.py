"""The report as HTML. Everything that came from a guest or a file is escaped."""

import html
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from klosdbg.captures.models import Difference
from klosdbg.captures.report.drawing import MOST_DRAWN, io_map, slot_kind, table_map, timeline
from klosdbg.captures.report.facts import ReportFacts
from klosdbg.captures.report.stylesheet import STYLE
from klosdbg.captures.report.summary import summary
from klosdbg.events.event import Event
from klosdbg.wire.bundle import VERSIONS, seconds_of
from klosdbg.x86.table import Table

_MOST_ROWS = 500
_MOST_CHANGES = 400
_MOST_VALUE = 200
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_KEYS = {
    "timeline": (("fault", "exception"), ("irq", "hardware interrupt"), ("call", "other vector")),
    "tables": (
        ("code", "code"),
        ("data", "data"),
        ("system", "LDT, TSS"),
        ("gate", "gate"),
        ("absent", "not present"),
        ("empty", "empty"),
        ("named", "known to KLOS"),
    ),
    "ports": (("open", "allowed"), ("empty", "refused")),
}


def report_page(facts: ReportFacts) -> str:
    """Make the whole page."""
    sections = [
        ("events", "Events", list(_events(facts.events))),
        ("tables", "Descriptor tables", list(_tables(facts))),
        ("changes", "What changed", list(_differences(facts.differences))),
        ("ports", "I/O ports", list(_ports(facts))),
        ("record", "Record", list(_record(facts))),
    ]
    shown = [(name, title, parts) for name, title, parts in sections if parts]
    links = " ".join(f'<a href="#{name}">{title}</a>' for name, title, _ in shown)
    body = "".join(
        f'<section id="{name}"><h2>{title}</h2>{"".join(parts)}</section>'
        for name, title, parts in shown
    )
    lines = "".join(f"<li>{_text(line)}</li>" for line in summary(facts))
    damage = f'<p class="bad">Damaged: {_text(facts.damage)}</p>' if facts.damage else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_text(facts.name)}</title><style>{STYLE}</style></head><body>"
        f"<h1>{_text(facts.name)}</h1>{damage}<ol>{lines}</ol><nav>{links}</nav>{body}"
        "</body></html>\n"
    )


def _events(events: Sequence[Event]) -> Iterator[str]:
    if not events:
        return
    yield _key("timeline")
    yield _wide(timeline(events))
    if len(events) > MOST_DRAWN:
        yield _faint(f"The first {MOST_DRAWN} of {len(events)} events are drawn.")
    if any(event.time.perturbed for event in events[:MOST_DRAWN]):
        yield _faint("The recorder stopped the guest, so that times say little.")
    half = _MOST_ROWS // 2
    shown = events if len(events) <= _MOST_ROWS else [*events[:half], *events[-half:]]
    heads = ("#", "vector", "error", "process", "ring", "hit at", "handler", "resumed", "depth")
    yield _table(heads, map(_event_row, shown), "tall", numbers=(0, 8))
    if len(events) > _MOST_ROWS:
        yield _faint(f"{half} at either end of {len(events)} are listed: 'events show' has all.")


def _event_row(event: Event) -> tuple[str, ...]:
    place = event.source
    resumed = event.resumed
    back = "never" if resumed is None else f"{resumed.place.cs:04x}:{resumed.place.eip:08x}"
    if resumed is not None and resumed.changed:
        back += " (changed)"
    handler = "" if event.handler is None else event.handler_symbol or f"{event.handler:#010x}"
    return (
        str(event.seq),
        f"{event.vector} {event.name or ''}",
        "" if event.error_code is None else f"{event.error_code:#x}",
        event.process or event.origin,
        str(place.cpl),
        f"{place.cs:04x}:{place.eip:08x} {place.symbol or ''}",
        handler,
        back,
        str(event.depth),
    )


def _tables(facts: ReportFacts) -> Iterator[str]:
    if facts.tables:
        yield _faint("As the last snapshot has them: each cell is a slot, 128 in a row.")
        yield _key("tables")
    for table in facts.tables:
        yield f"<h3>{table.kind.upper()} at {table.base:#010x}: {_use(table)}</h3>"
        yield _wide(table_map(table))
        named = [
            (f"{e.index:#x}", f"{table.selector(e.index):#06x}", e.name, e.descriptor.kind)
            for e in table.entries
            if e.name
        ]
        if named:
            yield _table(("index", "selector", "role", "kind"), named)


def _use(table: Table) -> str:
    """Count the slots; those that are absent are fillers, which a relocation may take."""
    kinds = Counter[str]()
    for entry in table.entries:
        kinds[slot_kind(entry)] += entry.count
    free, absent = kinds["empty"], kinds["absent"]
    used = kinds.total() - free - absent
    return f"{used} used, {absent} absent, {free} free"


def _differences(differences: Sequence[Difference]) -> Iterator[str]:
    for difference in differences:
        changes = difference.changes
        title = f"{difference.before} → {difference.after}: {len(changes)} fields"
        yield f"<h3>{_text(title)}</h3>"
        rows = [(c.where, c.field, *map(_short, c.shown)) for c in changes[:_MOST_CHANGES]]
        if rows:
            yield _table(("where", "field", "before", "after"), rows, "tall")
        if len(changes) > len(rows):
            yield _faint(f"{len(changes) - len(rows)} more: 'diff' lists them.")


def _short(value: str) -> str:
    return value if len(value) <= _MOST_VALUE else f"{value[: _MOST_VALUE - 3]}..."


def _value(value: object) -> str:
    """Show a field of a record that may hold anything."""
    if isinstance(value, int):
        return f"{value:#x}" if value > 9 else str(value)
    return "(none)" if value is None else _short(str(value))


def _ports(facts: ReportFacts) -> Iterator[str]:
    if facts.iomap is None:
        return
    ranges = facts.iomap.allowed
    yield _faint("The I/O bitmap of the last snapshot's TSS: 256 ports in a row, port 0 on top.")
    yield _key("ports")
    yield _wide(io_map(facts.iomap))
    words = ", ".join(f"{a:#x}" if a == b else f"{a:#x}-{b:#x}" for a, b in ranges[:100])
    yield f"<p>Allowed: {_text(words) or 'none'}</p>"


def _record(facts: ReportFacts) -> Iterator[str]:
    if facts.relocations:
        names = ("seq", "old_selector", "new_selector", "cause", "sites", "pid", "eip")
        rows = [tuple(_value(r.get(n)) for n in names) for r in facts.relocations[-_MOST_ROWS:]]
        yield "<h3>Relocations</h3>" + _table(names, rows, "tall")
    if facts.moments:
        rows = [
            (str(m.number), f"{m.seconds:.3f} s", f"{m.cs:04x}:{m.eip:08x}", m.symbol or "", m.why)
            for m in facts.moments
        ]
        yield "<h3>Snapshots</h3>" + _table(("#", "time", "at", "symbol", "why"), rows)
    if facts.notes:
        rows = [
            (f"{_seconds(n)} s", _value(n.get("kind")), str(n.get("text", ""))[:500])
            for n in facts.notes[-_MOST_ROWS:]
        ]
        yield "<h3>Commands and notes</h3>" + _table(("time", "kind", "text"), rows, "tall wrap")
    if facts.console:
        yield f'<h3>Console</h3><div class="wide tall"><pre>{_text(facts.console)}</pre></div>'
    manifest = facts.manifest
    named = (*VERSIONS, "target", "image", "image_sha256", "started")
    rows = [(name, str(getattr(manifest, name))) for name in named if getattr(manifest, name)]
    rows.append(("command", " ".join(manifest.command_line)))
    yield "<h3>Versions</h3>" + _table(("what", "value"), rows, "wrap")


def _seconds(note: dict[str, object]) -> str:
    seconds = seconds_of(note.get("seconds"))
    return "?" if seconds is None else f"{seconds:.3f}"


def _table(
    heads: Sequence[str],
    rows: Iterable[Sequence[str | None]],
    style: str = "",
    numbers: Sequence[int] = (),
) -> str:
    def cell(kind: str, at: int, content: str | None) -> str:
        number = ' class="number"' if at in numbers else ""
        return f"<{kind}{number}>{_text(content or '')}</{kind}>"

    def line(kind: str, cells: Sequence[str | None]) -> str:
        return f"<tr>{''.join(cell(kind, at, c) for at, c in enumerate(cells))}</tr>"

    body = "".join(line("td", row) for row in rows)
    head = f"<thead>{line('th', heads)}</thead>"
    return f'<div class="wide {style}"><table>{head}<tbody>{body}</tbody></table></div>'


def _key(name: str) -> str:
    entries = (
        f'<span><svg width="11" height="11"><rect class="{kind}" x="1" y="1" width="9" height="9"/>'
        f"</svg>{words}</span>"
        for kind, words in _KEYS[name]
    )
    return f'<div class="key">{"".join(entries)}</div>'


def _wide(drawing: str) -> str:
    return f'<div class="wide">{drawing}</div>'


def _faint(words: str) -> str:
    return f'<p class="faint">{_text(words)}</p>'


def _text(words: str) -> str:
    shown = "".join(c if c in "\n\t" or c.isprintable() else "\ufffd" for c in words)
    return html.escape(shown)

"""Events for other programs: JSON, CSV, and the trace-event format that Perfetto opens."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from klosdbg.events.document import event_data
from klosdbg.events.event import Event

_MICROSECOND = 1000
_STUB, _HANDLER, _PROGRAM = 1, 2, 3
_Process = tuple[str, int]
_LANES = {_STUB: "stub, ring 0", _HANDLER: "handler, ring 3", _PROGRAM: "hit here"}
_OWN = 1 << 20
"""Where the ids of processes that have no pid begin; 0 is Perfetto's own, for an idle processor."""

_COLUMNS: Mapping[str, Callable[[Event], object]] = {
    "seq": lambda e: e.seq,
    "time": lambda e: e.time.value,
    "unit": lambda e: e.time.unit,
    "perturbed": lambda e: e.time.perturbed,
    "vector": lambda e: e.vector,
    "name": lambda e: e.name,
    "error_code": lambda e: e.error_code,
    "depth": lambda e: e.depth,
    "process": lambda e: e.process,
    "pid": lambda e: e.pid,
    "tid": lambda e: e.tid,
    "cpl": lambda e: e.source.cpl,
    "cs": lambda e: e.source.cs,
    "eip": lambda e: e.source.eip,
    "symbol": lambda e: e.source.symbol,
    "cr2": lambda e: e.cr2,
    "stub": lambda e: e.stub,
    "stub_symbol": lambda e: e.stub_symbol,
    "handler": lambda e: e.handler,
    "handler_symbol": lambda e: e.handler_symbol,
    "tlb_flush": lambda e: e.tlb_flush,
    "eoi": lambda e: e.eoi,
    "resumed_cs": lambda e: e.resumed.place.cs if e.resumed else None,
    "resumed_eip": lambda e: e.resumed.place.eip if e.resumed else None,
    "resumed_process": lambda e: e.resumed.process if e.resumed else None,
    "changed": lambda e: e.resumed.changed if e.resumed else None,
    "spent_stub": lambda e: e.spent.stub,
    "spent_handler": lambda e: e.spent.handler,
    "recorder": lambda e: e.recorder,
    "recording": lambda e: e.recording,
}


def export_json(events: Iterable[Event]) -> str:
    """Give the events as one JSON document: ``klosdbg/events/1``."""
    document = {"schema": "klosdbg/events/1", "events": [event_data(e) for e in events]}
    return json.dumps(document, indent=1) + "\n"


def export_csv(events: Iterable[Event]) -> str:
    """Give the events as CSV (RFC 4180), a heading first; numbers are decimal."""
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(_COLUMNS)
    writer.writerows([_cell(column(e)) for column in _COLUMNS.values()] for e in events)
    return written.getvalue()


def _cell(value: object) -> object:
    """Keep a spreadsheet from taking a guest's text for a formula."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return int(value) if isinstance(value, bool) else value


def export_perfetto(events: Sequence[Event]) -> str:
    """Give the events as the trace-event format: a track each for program, stub and handler.

    The format counts microseconds; a thousand units of the recorder's own time become one.
    """
    first = min((e.time.value for e in events), default=0)
    pids = _pids(events)
    slices = [part for event in events for part in _slices(event, first, pids)]
    units = sorted({e.time.unit for e in events})
    document = {
        "traceEvents": [*_names(pids), *slices],
        "displayTimeUnit": "ns",
        "otherData": {"unit": ", ".join(units), "units a microsecond": _MICROSECOND},
    }
    return json.dumps(document) + "\n"


def _pids(events: Iterable[Event]) -> dict[_Process, int]:
    pids: dict[_Process, int] = {}
    for event in events:
        pid = event.pid or 0
        pids.setdefault(_process(event), pid if 0 < pid < _OWN else _OWN + len(pids))
    return pids


def _process(event: Event) -> _Process:
    """Tell processes of one name apart by their pids."""
    nobody = "idle" if event.origin == "idle" else "system"
    name = event.process or (f"pid {event.pid}" if event.pid else nobody)
    return name, event.pid or 0


def _tid(pid: int, lane: int) -> int:
    """Give a track an id that no other process's has: threads are known by it alone."""
    return pid * (len(_LANES) + 1) + lane


def _names(pids: Mapping[_Process, int]) -> Iterator[dict[str, Any]]:
    for (name, _), pid in pids.items():
        yield {"ph": "M", "pid": pid, "name": "process_name", "args": {"name": name}}
        for lane, title in _LANES.items():
            common = {"ph": "M", "pid": pid, "tid": _tid(pid, lane)}
            yield {**common, "name": "thread_name", "args": {"name": title}}


def _slices(event: Event, first: int, pids: Mapping[_Process, int]) -> Iterator[dict[str, Any]]:
    name = f"{event.vector} {event.name or 'interrupt'}"
    start = (event.time.value - first) / _MICROSECOND
    pid = pids[_process(event)]
    common = {"name": name, "cat": _kind(event), "pid": pid}
    args = {k: v for k, v in event_data(event).items() if k not in ("schema", "name")}
    yield {**common, "ph": "i", "s": "t", "tid": _tid(pid, _PROGRAM), "ts": start, "args": args}
    stub = (event.spent.stub or 0) / _MICROSECOND
    if event.spent.stub is not None:
        yield {**common, "ph": "X", "tid": _tid(pid, _STUB), "ts": start, "dur": stub}
    if event.spent.handler is not None:
        length = event.spent.handler / _MICROSECOND
        yield {**common, "ph": "X", "tid": _tid(pid, _HANDLER), "ts": start + stub, "dur": length}


def _kind(event: Event) -> str:
    return "exception" if event.vector < 32 else "interrupt"

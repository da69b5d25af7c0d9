"""The rules of the Trace Event Format, as its definition and Perfetto's importer have them.

Written from those, and not from our exporter: whatever keeps the rules passes.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NoReturn

Row = dict[str, Any]
PHASES = set("BEXiICbnestfPNODMVvRc()")
NAMES = {"process_name", "process_labels", "thread_name"}
ORDERS = {"process_sort_index", "thread_sort_index"}
FLOWS = set("stf")
SCOPES = {"g", "p", "t"}
LARGEST_ID = (1 << 31) - 1


def violations(text: str) -> list[str]:
    """List what is wrong with a trace; empty where Perfetto shows all of it."""
    document = json.loads(text, parse_constant=_refuse)
    rows = document if isinstance(document, list) else document["traceEvents"]
    found = [] if isinstance(document, list) else list(_of_document(document))
    for number, row in enumerate(rows):
        found += [f"event {number}: {problem}" for problem in _of_row(row)]
    return found or [*_of_names(rows), *_of_slices(rows), *_of_flows(rows)]


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _of_document(document: Row) -> Iterator[str]:
    if document.get("displayTimeUnit", "ms") not in ("ms", "ns"):
        yield "displayTimeUnit is neither ms nor ns"


def _of_row(row: Row) -> Iterator[str]:
    phase = row.get("ph")
    if phase not in PHASES:
        yield f"ph {phase!r} is no phase"
    if phase != "E" and not (isinstance(row.get("name"), str) and row["name"]):
        yield "no name"
    if not isinstance(row.get("cat", ""), str):
        yield "cat is no text"
    if not isinstance(row.get("args", {}), dict):
        yield "args is no object"
    for name in ("pid", "tid"):
        optional = phase == "M" and row.get("name", "").startswith("process_") and name == "tid"
        if not (optional and name not in row) and not _is_id(row.get(name)):
            yield f"{name} {row.get(name)!r} is no id"
    if phase != "M" and not _is_time(row.get("ts")):
        yield f"ts {row.get('ts')!r} is no time"
    yield from _of_phase(row)


def _of_phase(row: Row) -> Iterator[str]:
    phase, args = row.get("ph"), row.get("args", {})
    if phase == "X" and not _is_time(row.get("dur")):
        yield f"dur {row.get('dur')!r} is no duration"
    if phase in ("i", "I") and row.get("s", "t") not in SCOPES:
        yield f"s {row['s']!r} is no scope"
    if phase in FLOWS and not isinstance(row.get("id"), int | str):
        yield "a flow without an id"
    if phase == "f" and row.get("bp", "e") != "e":
        yield f"bp {row['bp']!r} is no binding point"
    if phase == "M" and row.get("name") in NAMES and not isinstance(args.get("name"), str):
        yield f"{row['name']} without args.name"
    if phase == "M" and row.get("name") in ORDERS and not _is_whole(args.get("sort_index")):
        yield f"{row['name']} without args.sort_index"
    if phase == "M" and row.get("name") not in NAMES | ORDERS:
        yield f"metadata {row.get('name')!r} is unknown"


def _of_names(rows: list[Row]) -> Iterator[str]:
    """Every process and thread is named once, and no thread is of two processes."""
    named: dict[tuple[str, object], int] = defaultdict(int)
    for row in rows:
        if row["ph"] == "M":
            named[row["name"], row["pid" if row["name"].startswith("process_") else "tid"]] += 1
    yield from (f"{what} of {who} comes {n} times" for (what, who), n in named.items() if n > 1)
    owners: dict[int, set[int]] = defaultdict(set)
    for row in rows:
        if "tid" in row:
            owners[row["tid"]].add(row["pid"])
    for tid, pids in owners.items():
        if len(pids) > 1:
            yield f"thread {tid} is of {len(pids)} processes"
        if ("thread_name", tid) not in named:
            yield f"thread {tid} has no name"
    for pid in {row["pid"] for row in rows}:
        if ("process_name", pid) not in named:
            yield f"process {pid} has no name"


def _of_slices(rows: list[Row]) -> Iterator[str]:
    """Slices of a thread nest, counted in whole nanoseconds as Perfetto does."""
    tracks: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        if row["ph"] in ("B", "E", "X"):
            tracks[row["tid"]].append(row)
    for tid, track in tracks.items():
        yield from _of_begins(tid, [row for row in track if row["ph"] != "X"])
        open_until: list[int] = []
        spans = [(_ns(r["ts"]), _ns(r["dur"])) for r in track if r["ph"] == "X"]
        for start, length in sorted(spans, key=lambda span: (span[0], -span[1])):
            while open_until and open_until[-1] <= start:
                open_until.pop()
            if open_until and start + length > open_until[-1]:
                yield f"thread {tid}: the slice at {start} ns ends after the one around it"
            open_until.append(start + length)


def _of_begins(tid: int, rows: list[Row]) -> Iterator[str]:
    depth, last = 0, 0.0
    for row in rows:
        if row["ts"] < last:
            yield f"thread {tid}: B and E are not in order of time"
        last, depth = row["ts"], depth + (1 if row["ph"] == "B" else -1)
        if depth < 0:
            yield f"thread {tid}: E without B"
    if depth > 0:
        yield f"thread {tid}: B without E"


def _of_flows(rows: list[Row]) -> Iterator[str]:
    flows: dict[tuple[object, ...], list[Row]] = defaultdict(list)
    for row in rows:
        if row["ph"] in FLOWS:
            flows[row.get("cat"), row["name"], row["id"]].append(row)
    for key, parts in flows.items():
        shape = "".join(r["ph"] for r in sorted(parts, key=lambda r: float(r["ts"])))
        if (shape[0], shape[-1], set(shape[1:-1]) - {"t"}) != ("s", "f", set()):
            yield f"flow {key} is {shape}"


def _ns(microseconds: float) -> int:
    return int(microseconds * 1000)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_id(value: object) -> bool:
    """Tell an id of a process or thread; 0 is Perfetto's, for an idle processor."""
    return isinstance(value, int) and _is_whole(value) and 0 < value <= LARGEST_ID


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0

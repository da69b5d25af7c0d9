"""The report of a capture and its exports: whole, harmless, and loading nothing."""

import csv
import io
import json
import re
import resource
from argparse import Namespace
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from klosdbg.captures.opened import Opened
from klosdbg.captures.report.facts import gather
from klosdbg.captures.report.page import _use, report_page
from klosdbg.captures.report.stylesheet import STYLE
from klosdbg.commands import collect
from klosdbg.errors import CommandError
from klosdbg.events.document import event_data, event_of
from klosdbg.events.event import Event, Place, Resumed, Spent, Time
from klosdbg.events.export import export_csv, export_json, export_perfetto
from klosdbg.session import Session
from klosdbg.system import UNKNOWN
from klosdbg.targets.capture import open_capture
from klosdbg.wire.bundle import EVENTS, NOTES, RELOCATIONS
from klosdbg.x86.table import decode_table
from tests.unit.test_bundle import record

EVIL = '"><script src=http://evil.example/x.js></script><img src=x onerror=alert(1)>'


def event(seq: int, vector: int = 14, process: str | None = "ping", **more: object) -> Event:
    """Make an event."""
    place = Place(0x1B, 0x1000 + seq, 0x1000 + seq, 3, symbol=f"main+{seq:#x}")
    made = Event(
        seq=seq,
        time=Time(1000 * seq, "tsc"),
        vector=vector,
        error_code=6 if vector == 14 else None,
        source=place,
        stub=0xC0104000,
        out=None,
        handler=0xC010D000,
        back=None,
        tlb_flush=None,
        eoi=None,
        resumed=Resumed(place, changed=False),
        depth=1 + seq % 3,
        process=process,
        pid=2,
        spent=Spent(10, 200),
        handler_symbol="event_page_fault",
    )
    return event_of(event_data(made) | more)


@pytest.fixture
def capture(tmp_path: Path) -> Opened:
    """A capture with events, relocations and notes, all with markup in their texts."""
    recording = record(tmp_path / "bug.klos", lines=0)
    for seq in range(1, 40):
        recording.line(EVENTS, event_data(event(seq, 14 if seq % 2 else 32, EVIL)))
    recording.line(RELOCATIONS, {"seq": 1, "old_selector": 7, "new_selector": 15, "cause": EVIL})
    recording.line(NOTES, {"kind": "expect", "text": EVIL, "held": False})
    recording.manifest = replace(recording.manifest, python=EVIL, gdb=f"gdb {EVIL}")
    path = recording.finish({"console.log": EVIL.encode() + b"\x1b[2J\0"}, EVIL)
    return Opened(EVIL, open_capture(path))


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.handlers: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [v or "" for n, v in attrs if n in ("src", "href", "data", "xlink:href")]
        self.handlers += [n for n, _ in attrs if n.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_it_loads_nothing_and_runs_nothing(capture: Opened) -> None:
    """No script, no link that leaves the page, no handler; what a guest says is text."""
    shown = report_page(gather(capture, None, lambda _target: UNKNOWN))
    page = Page(shown)
    assert set(page.tags) & {"script", "img", "link", "iframe", "object", "embed", "form"} == set()
    assert [link for link in page.links if not link.startswith("#")] == []
    assert page.handlers == []
    assert re.findall(r"@import|url\(", shown) == []
    assert "default-src 'none'" in shown
    assert EVIL in "".join(page.words)
    assert f"gdb {EVIL}" in "".join(page.words)
    assert "\x1b" not in shown


def test_it_says_what_happened_in_five_lines(capture: Opened) -> None:
    """Five lines, a timeline, the events, the relocations and what was expected."""
    shown = report_page(gather(capture, None, lambda _target: UNKNOWN))
    assert Page(shown.split("<nav>")[0]).tags.count("li") == 5
    assert 'aria-label="timeline of the events"' in shown
    assert "39 events: 20 × #PF" in shown
    assert "1 of 1 expectations failed" in shown
    assert "relocated 1 time, the last time from 0x0007 to 0x000f" in shown


def test_an_empty_capture_has_a_report(tmp_path: Path) -> None:
    """What is not there is left out."""
    path = record(tmp_path / "bug.klos", lines=0).finish({}, "stopped")
    shown = report_page(
        gather(Opened("bug.klos", open_capture(path)), None, lambda _target: UNKNOWN)
    )
    assert "No events were recorded." in shown
    assert "timeline of the events" not in shown


def test_a_long_recording_has_a_bounded_report(tmp_path: Path) -> None:
    """Ten thousand events: a table of both ends, a drawing of the first."""
    recording = record(tmp_path / "bug.klos", lines=0)
    for seq in range(1, 10_001):
        recording.line(EVENTS, event_data(event(seq)))
    opened = Opened("bug.klos", open_capture(recording.finish({}, "stopped")))
    shown = report_page(gather(opened, None, lambda _target: UNKNOWN))
    assert len(shown) < 3 << 20
    assert "250 at either end of 10000 are listed" in shown


def test_it_fits_a_narrow_window(capture: Opened) -> None:
    """Links break between one another; what is wider has a box of its own that scrolls."""
    nav = (
        report_page(gather(capture, None, lambda _target: UNKNOWN))
        .partition("<nav>")[2]
        .partition("</nav>")[0]
    )
    assert nav.count("<a ") == nav.count("</a> <a ") + 1 > 1
    assert "nowrap" not in next(line for line in STYLE.splitlines() if line.startswith("nav a"))


def test_fillers_are_not_counted_as_used() -> None:
    """Slots are used, absent or free."""
    raws = (0, 0x00CFF3000000FFFF, 0x00CF73000000FFFF, 0x00CF73000000FFFF)
    table = decode_table("gdt", 0, 31, [(0, b"".join(raw.to_bytes(8, "little") for raw in raws))])
    assert _use(table) == "1 used, 2 absent, 1 free"


def test_an_export_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """A part of a file would be taken for the whole; what is no file stays where it is."""
    session = Session(events=[event(1)])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for place in (tmp_path / "e.json", Path("/dev/full")):
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
        try:
            with pytest.raises(CommandError, match=f"cannot write {place}: "):
                collect()["export"].run(session, Namespace(format="json", file=str(place)))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not any(tmp_path.iterdir())
    assert Path("/dev/full").exists()


def test_csv() -> None:
    """One row an event, a heading first; no cell is a formula."""
    rows = list(csv.DictReader(io.StringIO(export_csv([event(1), event(2, 32, "=cmd()")]))))
    assert [row["seq"] for row in rows] == ["1", "2"]
    assert rows[0]["error_code"] == "6"
    assert rows[1]["process"] == "'=cmd()"


def test_json() -> None:
    """The documents of the events under one schema."""
    document = json.loads(export_json([event(1)]))
    assert document["schema"] == "klosdbg/events/1"
    assert event_of(document["events"][0]) == event(1)


def test_perfetto() -> None:
    """Slices have a start and a length in microseconds, on named tracks."""
    document = json.loads(export_perfetto([event(1), event(3, 32, None)]))
    slices = [e for e in document["traceEvents"] if e["ph"] == "X"]
    assert [(s["ts"], s["dur"]) for s in slices[:2]] == [(0.0, 0.01), (0.01, 0.2)]
    assert all(s["dur"] >= 0 and s["pid"] for s in slices)
    names = {e["args"]["name"] for e in document["traceEvents"] if e["ph"] == "M"}
    assert {"ping", "pid 2", "stub, ring 0", "handler, ring 3"} <= names
    assert json.loads(export_perfetto([]))["traceEvents"] == []

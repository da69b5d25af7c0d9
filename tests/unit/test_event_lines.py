"""Events as lines: the room that a terminal has, what is cut first, filters that leave nothing."""

import io
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from klosdbg.commands.base import split
from klosdbg.commands.events import event_stop
from klosdbg.errors import CommandError, UsageError
from klosdbg.events.document import event_data, event_of
from klosdbg.events.event import Event, Place, Resumed
from klosdbg.events.filters import EventFilter
from klosdbg.events.statistics import statistics
from klosdbg.events.tree import event_trees
from klosdbg.frontend import Frontend, find_command
from klosdbg.recording.models import Recorded
from klosdbg.recording.tracer import Tracer, with_name
from klosdbg.running.events import _progress
from klosdbg.session import Session
from klosdbg.views import Style, data, text
from tests.unit.klos.frozen import symbols, target
from tests.unit.test_event_model import BARE, vary

NAMES = {32: "IRQ 0", 48: "commit"}
AWAY = Resumed(Place(0x1B, 0x402000, 0x402000, 3), True, process="pong")
LONG = Place(0x1B, 0x401000, 0x401000, 3, symbol="critical_section_leave+0x32")
ABSENT = vary(
    vector=11,
    error_code=0x14AB << 3 | 4,
    process="relocation",
    source=LONG,
    resumed=AWAY,
    handler_symbol="event_absent",
)
SWITCH = replace(BARE, seq=8, vector=48, resumed=AWAY, process="ping", source=LONG, tlb_flush=True)


def shell(*events: Event, **settings: object) -> Frontend:
    session = Session(**settings)  # type: ignore[arg-type]
    session.events = list(events)
    return Frontend(session, io.StringIO())


def lines(frontend: Frontend, line: str) -> list[str]:
    assert isinstance(frontend.out, io.StringIO)
    frontend.out.truncate(0)
    frontend.out.seek(0)
    frontend.run_line(line)
    return frontend.out.getvalue().splitlines()


@pytest.fixture(params=[60, 80, 120, 200])
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("COLUMNS", str(request.param))
    return int(request.param)


def test_lines_are_as_wide_as_the_terminal(width: int) -> None:
    """The error's index, the offset and where it went on are there at any width."""
    heading, first, second = lines(shell(ABSENT, SWITCH), "events show")
    assert " ".join(heading.split()) == "seq vector error process ring source outcome"
    assert max(map(len, (heading, first, second))) <= width
    assert "ldt[0x14ab]" in first
    for shown in (first, second):
        assert "+0x32" in shown
        assert "=> p" in shown
    assert ("critical_section_leave+0x32" in first) == (width > 80)
    assert ("flush" in second) == (width > 60)


def test_a_tree_loses_nothing(width: int) -> None:
    """What is too long goes on in another line."""
    shown = text(event_trees([vary(depth=1), vary(depth=2)])[0], Style())
    assert max(map(len, shown.splitlines())) <= width
    assert "esp0 0xc0310000" in " ".join(shown.split())


def test_a_page_fault_may_be_a_fetch() -> None:
    """With I/D clear the code does not say which, in KLOS's 32-bit paging never."""
    fault = vary(vector=14, error_code=4, cr2=0x401000)
    shown = lines(shell(fault), "events show --tree")
    said = "error 0x4: user read or instruction fetch: the page is not present"
    assert any(said in line for line in shown)


def test_json_has_no_heading() -> None:
    documents = list(map(json.loads, lines(shell(ABSENT, SWITCH), "events show --json")))
    assert [found["vector"] for found in documents] == [11, 48]


def test_the_system_names_its_vectors() -> None:
    """In the model, the document and back, the statistics and the text; an exception keeps its."""
    named = with_name(SWITCH, NAMES)
    assert named.name == "commit"
    assert event_data(named)["name"] == "commit"
    assert "own_name" not in event_data(named)
    assert event_of(json.loads(json.dumps(event_data(named)))) == named
    assert event_of(event_data(ABSENT)) == ABSENT
    assert "48 commit" in text(named, Style())
    assert statistics([named]).vectors[0].name == "commit"
    found = data(statistics([named]), Style())["vectors"]
    assert [row["name"] for row in found] == ["commit"]  # type: ignore[attr-defined]
    assert with_name(replace(SWITCH, real=True), NAMES).name is None
    assert with_name(replace(SWITCH, vector=50), NAMES).name is None


class Source:
    """A recorder that has seen one event."""

    kind, interval, place, lost, stops, ended = "ring", None, None, 0, 0, 0

    def start(self) -> None:
        pass

    def poll(self) -> Iterator[Event]:
        return iter([SWITCH, BARE])


def test_a_recording_has_the_names_too() -> None:
    """So that filters know them, and a capture."""
    kept: list[Event] = []
    tracer = Tracer(Source(), EventFilter(), None, kept.append, NAMES)  # type: ignore[arg-type]
    tracer.poll()
    assert [event.name for event in kept] == ["commit", "IRQ 0"]


def test_vectors_of_a_klos_are_named_at_sight() -> None:
    """A recording that has no names gets them where ``klos_info`` can be read."""
    frontend = shell(SWITCH, symbols=symbols())
    frontend.session.attach(target())
    (document,) = map(json.loads, lines(frontend, "events show --json"))
    named = lines(frontend, "handlers --all")
    assert document["name"]
    assert any(document["name"] in row for row in named)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("events show -n -5", "at least one"),
        ("events show -n 0", "at least one"),
        ("events show --range 9..5", "ends before it begins"),
        ("events record -n 3 --ring --stopping", "exclude each other"),
        ("events show --if 'source.bogus == 1'", "no 'bogus' there"),
    ],
)
def test_what_is_refused(line: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        shell(ABSENT).run_line(line)


@pytest.mark.parametrize("command", ["show", "show --tree", "show --json", "stats"])
def test_filters_that_leave_nothing_say_so(command: str) -> None:
    said: list[str] = []
    frontend = shell(ABSENT, SWITCH, warn=said.append)
    lines(frontend, f"events {command} --process nosuch")
    assert said == ["none of 2 events passes the filter"]


@pytest.mark.parametrize(
    ("condition", "named"),
    [
        ("spent.handler > 1", "spent"),
        ("tlb_flush", "tlb_flush"),
        ("resumed.changed or back.kind == 'iret'", "back, resumed"),
        ("eoi", "eoi"),
        ("not complete", "complete"),
    ],
)
def test_a_stub_does_not_know_what_comes_later(condition: str, named: str) -> None:
    command, rest = find_command(split(f"b event 14 if {condition}", keep_quotes=True))
    args = command.parse(rest)
    assert args is not None
    with pytest.raises(UsageError, match=f"not known yet at a stub: {named}:"):
        event_stop(Session(), args)


def test_only_the_vector_is_required() -> None:
    with pytest.raises(UsageError, match=r"required: VECTOR \(see"):
        shell().run_line("b event")


@pytest.mark.parametrize("line", ["events start", "events follow -n 2", "events record -n 2"])
def test_a_recording_cannot_record(line: str) -> None:
    frontend = shell(symbols=symbols())
    frontend.session.attach(replace(target(), control=None))
    with pytest.raises(CommandError, match="cannot run: it is a recording"):
        frontend.run_line(line)


def test_progress_counts_what_is_seen() -> None:
    recorded = Recorded(0, 168, 0, 1.0, 0, "stopping", "running")
    assert _progress(recorded) == "0 of 168 events, 168/s, 1 s"
    assert _progress(replace(recorded, kept=168)) == "168 events, 168/s, 1 s"


def test_a_ctrl_c_reaches_what_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it comes while a line is printed."""
    told: list[str] = []

    def followed() -> Iterator[Event]:
        try:
            yield SWITCH
        except KeyboardInterrupt:
            told.append("interrupted")
            raise

    frontend = shell(interactive=True)
    monkeypatch.setattr("klosdbg.commands.events.start_tracer", lambda *_: None)
    monkeypatch.setattr("klosdbg.commands.events.follow", lambda _: followed())
    monkeypatch.setattr(Frontend, "_print", stop_now)
    frontend.run_line("events follow -n 1")
    assert told == ["interrupted"]


def stop_now(*_: object) -> None:
    raise KeyboardInterrupt

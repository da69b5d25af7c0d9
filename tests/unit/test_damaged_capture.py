"""Looking at a capture of which parts are damaged: what is sound is shown, and the rest named."""

import json
from argparse import Namespace
from pathlib import Path

import pytest
from klosdbg.captures.opened import Opened
from klosdbg.commands import collect
from klosdbg.commands.capture import show_capture
from klosdbg.errors import DataError
from klosdbg.events.document import event_data
from klosdbg.session import Session
from klosdbg.targets.capture import open_capture
from klosdbg.views import Style, data, text
from klosdbg.wire.bundle import EVENTS, SYMBOLS
from tests.unit.test_bundle import record
from tests.unit.test_report import event


@pytest.fixture
def damaged(tmp_path: Path) -> Session:
    """A session that looks at a capture whose second snapshot has no registers."""
    recording = record(tmp_path / "bug.klos", lines=0)
    recording.append(SYMBOLS, b"[]")
    recording.line("snapshots.jsonl", {"number": 3, "seconds": 10**400, "events": 1})
    (recording.directory / "snapshots/002/registers.json").write_text("{}")
    session = Session()
    show_capture(session, Opened("bug", open_capture(recording.finish({}, "stopped"))))
    return session


def test_a_damaged_snapshot_costs_no_other(damaged: Session) -> None:
    """It is listed with what is wrong beside it, and the one before is what is looked at."""
    listed = collect()["snaps"].run(damaged, Namespace())
    shown, document = text(listed, Style()).splitlines(), data(listed, Style())
    assert shown[0].startswith("*  1     0.500 s  000b:c0101000")
    assert shown[1].startswith("   2     1.000 s  snapshots/002/registers.json is damaged: gpr is")
    assert " ".join(" ".join(shown[1:]).split()).endswith("gpr is missing (why 2)")
    assert json.dumps(document).count('"damage"') == 1
    with pytest.raises(DataError, match=r"2 cannot be read: .* missing: 'snaps' lists the others"):
        collect()["at"].run(damaged, Namespace(number="2"))
    assert damaged.opened
    assert damaged.opened.bundle.damage[:1] == ["symbols.json is damaged: it is no JSON object"]
    assert len(damaged.opened.bundle.damage) == 3


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"vector": 10**30}, "event.vector cannot be '1000"),
        ({"vector": 256}, "there is no vector 256"),
        ({"seq": -1}, "no event has the number -1"),
        ({"recording": -1}, "no event has the number -1"),
        ({"spent": {"stub": 10**400, "handler": None}}, "event.spent.stub cannot be '1000"),
    ],
)
def test_an_event_of_impossible_numbers(tmp_path: Path, more: dict[str, object], says: str) -> None:
    """It is left out, and said to be."""
    recording = record(tmp_path / "bug.klos", lines=0)
    for document in (event_data(event(1)), event_data(event(2)) | more):
        recording.line(EVENTS, document)
    opened = Opened("bug", open_capture(recording.finish({}, "stopped")))
    assert [event.seq for event in opened.events] == [1]
    assert says in opened.bundle.damage_line()

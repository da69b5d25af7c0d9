"""What `export perfetto` writes of the real guest keeps the Trace Event Format's rules."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.live.driver import KLOS, Driver, driving, needs_klos
from tests.live.tiny import needs_qemu
from tests.traceformat import violations

pytestmark = [pytest.mark.qemu, needs_qemu, needs_klos]


@pytest.fixture
def driver() -> Iterator[Driver]:
    with driving(KLOS, append="seed=7") as found:
        found.line("until klos_ready")
        yield found


@pytest.mark.parametrize("recorder", ["--ring", "--stopping"])
def test_a_trace_of_the_guest(driver: Driver, tmp_path: Path, recorder: str) -> None:
    """Nested events, idling, processes of one name: each slice is shown, each track has a name."""
    driver.line(f"events start {recorder}")
    for line in ("mailbox run nesting", "mailbox run touch 4", "mailbox run touch 4"):
        driver.line(line)
    driver.line("events stop")
    path = tmp_path / "trace.json"
    driver.line(f"export perfetto {path}")
    text = path.read_text()
    assert violations(text) == []
    events = driver.session.events
    assert {1, 2} <= {event.depth for event in events}
    rows = json.loads(text)["traceEvents"]
    assert sum(row["ph"] == "i" for row in rows) == len(events)
    handled = sum(event.spent.handler is not None for event in events)
    counted = sum(event.spent.stub is not None for event in events)
    assert sum(row["ph"] == "X" for row in rows) == handled + counted
    names = [row["args"]["name"] for row in rows if row["name"] == "process_name"]
    assert names.count("touch") == 2
    first = min(event.time.value for event in events)
    by_seq = {row["args"]["seq"]: row["ts"] for row in rows if row["ph"] == "i"}
    for event in events:
        assert by_seq[event.seq] == pytest.approx((event.time.value - first) / 1000)

"""klosdbg bench: its rows, measured for real. Ratios are its own business: machines are loaded."""

import json
from pathlib import Path

import pytest
from klosdbg.bench.models import Bench, Measured
from klosdbg.commands.bench import bench_recorder
from klosdbg.errors import TargetLost
from klosdbg.factories import LocalFactories
from klosdbg.views.base import Style, data, text
from tests.live.driver import assert_fits, klosdbg, needs_klos
from tests.live.tiny import needs_qemu

pytestmark = [pytest.mark.qemu, needs_qemu, needs_klos]

ROWS = {
    "shared-ram",
    "pipeline",
    "decode-linear",
    "decode-again",
    "trace-bare",
    "trace-gdb",
    "ring",
}
STYLE = Style(color=False)


def test_every_row_is_measured() -> None:
    """Each ratio is there with what is wanted of it, and the exit code says whether all hold."""
    ran = klosdbg("bench", "--json")
    rows = {row["name"]: row for row in json.loads(ran.out)["measured"]}
    assert set(rows) == ROWS
    assert all(row["ratio"] > 0 for row in rows.values())
    for row in rows.values():
        good = row["ratio"] >= row["wanted"] if row["at_least"] else row["ratio"] <= row["wanted"]
        assert row["holds"] == good
    assert ran.code == (0 if all(row["holds"] for row in rows.values()) else 1)
    assert rows["ring"]["ratio"] < 1.05, "counted in instructions, which no load changes"


def test_packets_an_event() -> None:
    """Two stops an event: registers and memory in one write, breakpoints and 'c' in another."""
    with LocalFactories().traced_guest("run:touch:1000000") as guest:
        record = bench_recorder(guest)
        record(40)
        before = guest.packets()
        record(400)
        discovering = guest.packets() - before
        record(800)
        events = (800 - 400) / 2
        assert guest.packets() - before - 2 * discovering <= 22 * events
        both = {guest.symbols.address(name) for name in ("core_out", "core_resume")}
        began = guest.places().keys() - both
        assert guest.places().keys() - began == both
        assert len(began) <= 3, "one place a recording, wherever the guest stood"


def test_without_gdb(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The row says what could not be measured, and is no fault."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TargetLost, match="gdb is not installed: see 'klosdbg doctor'"):
        LocalFactories().gdb_loop("", {}).__enter__()
    bench = Bench((Measured("trace-gdb", "gdb is not installed: see 'klosdbg doctor'", None, 1.5),))
    assert not bench.found_fault
    assert_fits(text(bench, STYLE))
    assert "not installed" in text(bench, STYLE)
    assert data(bench, STYLE)["measured"][0]["holds"] is None

"""docs/a-bug-report.md, from both ends."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.build import make
from tests.live.klos import GUEST
from tests.live.tiny import needs_qemu

DOCS = Path(__file__).parents[2] / "docs"
SCRIPT = DOCS / "a-bug-report.klosdbg"

pytestmark = [pytest.mark.qemu, needs_qemu]


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the one who sees the bug sends."""
    make(GUEST)
    path = tmp_path_factory.mktemp("report") / "clock.klos"
    line = [sys.executable, "-m", "klosdbg", "capture", "-o", str(path), "--headless"]
    subprocess.run([*line, "--append", "seed=7", "-x", str(SCRIPT)], check=True)
    return path


def opened(capture: Path, *commands: str, json_lines: bool = False) -> str:
    """Open it where there is no QEMU."""
    line = [sys.executable, "-m", "klosdbg", "open", str(capture)]
    line += ["--json"] if json_lines else []
    for command in commands:
        line += ["-c", command]
    nothing = {**os.environ, "PATH": str(capture.parent)}
    ran = subprocess.run(line, env=nothing, capture_output=True, text=True, check=True)
    return ran.stdout


def documents(capture: Path, *commands: str) -> list[dict[str, Any]]:
    return [json.loads(row) for row in opened(capture, *commands, json_lines=True).splitlines()]


def test_the_events_show_when_the_handler_changed(capture: Path) -> None:
    events = documents(capture, "events show")
    assert [e["handler_symbol"] for e in events] == ["event_timer"] * 8 + ["event_trap"] * 8
    assert events[8]["process"] == "count"
    assert not any(e["resumed"]["changed"] for e in events[8:])


def test_the_event_core_is_not_to_blame(capture: Path) -> None:
    shown = opened(capture, "events show --tree")
    assert "handler  event_trap" in shown
    assert "back     call gate 0x003b, end of interrupt" in shown


def test_nobody_counts_the_ticks(capture: Path) -> None:
    """Eight interrupts, and the counter is no field that differs."""
    shown = opened(capture, "diff 2 3")
    assert "event_count" in shown
    assert "tick_count" not in shown
    assert shown.splitlines()[-2] == "handler_table[0x20]"
    assert shown.splitlines()[-1].endswith("<event_trap>")


def test_the_table_of_handlers_names_the_cause(capture: Path) -> None:
    before, after = opened(capture, "at 2", "handlers"), opened(capture, "at 3", "handlers")
    timer = next(row for row in before.splitlines() if "IRQ 0" in row)
    assert timer.endswith("<event_timer>")
    wrong = [row.split()[-1] for row in after.splitlines() if "IRQ 0" in row or " trap " in row]
    assert wrong == ["<event_trap>", "<event_trap>"]


def test_the_page_quotes_commands_that_work(capture: Path) -> None:
    """Every command that the page shows is one of those that were tried here."""
    quoted = [
        row.strip().removeprefix("$ klosdbg open clock.klos ")
        for row in (DOCS / "a-bug-report.md").read_text().splitlines()
        if row.strip().startswith("$ klosdbg open")
    ]
    assert len(quoted) == 5
    for words in quoted:
        assert opened(capture, *(w.strip("' ") for w in words.split("-c") if w.strip()))

"""The validator of traces finds what is wrong with one."""

import json
from typing import Any

import pytest
from tests.traceformat import violations

PROCESS = {"ph": "M", "pid": 1, "name": "process_name", "args": {"name": "p"}}
THREAD = {"ph": "M", "pid": 1, "tid": 5, "name": "thread_name", "args": {"name": "t"}}
HERE = {"name": "n", "pid": 1, "tid": 5}
SLICE = {**HERE, "ph": "X", "ts": 1.5, "dur": 10}
FLOW = {**HERE, "cat": "c", "id": 7}


def problems(*rows: dict[str, Any]) -> list[str]:
    return violations(json.dumps({"traceEvents": [PROCESS, THREAD, *rows]}))


@pytest.mark.parametrize(
    "rows",
    [
        (),
        (SLICE, {**SLICE, "ts": 2, "dur": 3}, {**SLICE, "ts": 20}),
        ({**HERE, "ph": "B", "ts": 1}, {**HERE, "ph": "E", "ts": 2}),
        ({**FLOW, "ph": "s", "ts": 1}, {**FLOW, "ph": "f", "ts": 2, "bp": "e"}),
        ({**HERE, "ph": "i", "ts": 1, "s": "g"},),
    ],
)
def test_what_keeps_the_rules(rows: tuple[dict[str, Any], ...]) -> None:
    assert problems(*rows) == []


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({**SLICE, "ph": "?"}, "no phase"),
        ({**SLICE, "ts": "1"}, "no time"),
        ({**SLICE, "dur": -1}, "no duration"),
        ({**SLICE, "pid": "system"}, "no id"),
        ({**SLICE, "tid": 6}, "thread 6 has no name"),
        ({**SLICE, "pid": 2}, "thread 5 is of 2 processes"),
        ({**HERE, "ph": "i", "ts": 1, "s": "x"}, "no scope"),
        ({**HERE, "ph": "E", "ts": 1}, "E without B"),
        ({**HERE, "ph": "B", "ts": 1}, "B without E"),
        ({**FLOW, "ph": "f", "ts": 1}, "flow"),
        ({**FLOW, "ph": "s", "ts": 1}, "flow"),
        ({**THREAD, "args": {}}, "without args.name"),
        (THREAD, "comes 2 times"),
    ],
)
def test_what_breaks_one(row: dict[str, Any], says: str) -> None:
    assert any(says in problem for problem in problems(row))


def test_slices_that_do_not_nest() -> None:
    assert "ends after" in problems(SLICE, {**SLICE, "ts": 5})[0]

"""klosdbg's answers to cases from the field: every expected key is answered, and equal."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.answers import pages, segments, state, system, typed

CASES = Path(__file__).parent.parent / "cases"
ANSWERS = {**segments.ANSWERS, **system.ANSWERS, **state.ANSWERS, **pages.ANSWERS, **typed.ANSWERS}
ELSEWHERE = ("rsp",)
"""The kinds of cases that other tests answer."""
PROSE = ("diagnosis", "note")


def load(path: Path) -> dict[str, Any]:
    case: dict[str, Any] = yaml.safe_load(path.read_text())
    return case


def plain(value: Any) -> Any:
    """Make numbers of ``0x`` strings and of truth values, and leave prose out."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items() if k not in PROSE}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, str) and value.startswith("0x") and " " not in value:
        return int(value, 16)
    return int(value) if isinstance(value, bool) else value


PATHS = [path for path in sorted(CASES.glob("*.yaml")) if load(path)["kind"] not in ELSEWHERE]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_case(path: Path) -> None:
    """The answer has the expected keys, no more and no fewer, with the expected values."""
    case = load(path)
    answer = ANSWERS[case["id"][:3]](case["input"])
    assert plain(answer) == plain(case["expected"])


def test_every_answer_has_its_case() -> None:
    """No answer outlives its case."""
    assert sorted(ANSWERS) == [path.name[:3] for path in PATHS]

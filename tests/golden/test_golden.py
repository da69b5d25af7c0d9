"""The text and the JSON of every view are what they were; ``make golden`` writes them anew."""

import json
import os
from pathlib import Path

import pytest
from klosdbg.views import Style, data, text
from tests.golden.models import MODELS, symbol

EXPECTED = Path(__file__).parent / "expected"
STYLE = Style(symbol)


def shown(name: str) -> str:
    """Show a model as text, and under it as JSON."""
    document = json.dumps(data(MODELS[name], STYLE), indent=1)
    return f"{text(MODELS[name], STYLE)}\n\n{document}\n"


@pytest.mark.parametrize("name", MODELS)
def test_views(name: str) -> None:
    """Text fits 80 columns, the document has its schema, and both are as expected."""
    path = EXPECTED / f"{name}.txt"
    if os.environ.get("KLOSDBG_GOLDEN") == "write":
        path.write_text(shown(name), encoding="utf-8")
    assert shown(name) == path.read_text(encoding="utf-8")
    assert max(map(len, text(MODELS[name], STYLE).split("\n"))) <= 80
    assert data(MODELS[name], STYLE)["schema"].startswith("klosdbg/")  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", MODELS)
def test_colour_changes_no_layout(name: str) -> None:
    """With colour the text is the same, apart from the colour."""
    import re

    coloured = text(MODELS[name], Style(symbol, color=True))
    assert re.sub(r"\x1b\[\d+m", "", coloured) == text(MODELS[name], STYLE)


def test_every_file_has_its_model() -> None:
    """No expectation outlives its model."""
    assert {path.stem for path in EXPECTED.iterdir()} == set(MODELS)

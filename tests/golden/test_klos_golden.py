"""What KLOS's views and the tools' views show is what it was; ``make golden`` writes it anew."""

import json
import os
import re
from pathlib import Path

import pytest
from klosdbg.views import Style, data, text
from tests.golden import klos_models, tool_models

EXPECTED = Path(__file__).parent / "expected-klos"
MODELS = klos_models.MODELS | tool_models.MODELS
STYLE = Style(klos_models.symbol)
WIDTH = 80


def shown(name: str) -> str:
    """Show a model as text, and under it as JSON."""
    document = json.dumps(data(MODELS[name], STYLE), indent=1)
    return f"{text(MODELS[name], STYLE)}\n\n{document}\n"


@pytest.mark.parametrize("name", MODELS)
def test_views(name: str) -> None:
    """Text and document are as expected; the text fits 80 columns."""
    path = EXPECTED / f"{name}.txt"
    if os.environ.get("KLOSDBG_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(shown(name), encoding="utf-8")
    assert shown(name) == path.read_text(encoding="utf-8")
    assert all(len(line) <= WIDTH for line in text(MODELS[name], STYLE).splitlines())
    assert str(data(MODELS[name], STYLE)["schema"]).startswith("klosdbg/")


@pytest.mark.parametrize("name", MODELS)
def test_colour_changes_no_layout(name: str) -> None:
    """Colour codes are all that a terminal gets more."""
    coloured = text(MODELS[name], Style(klos_models.symbol, color=True))
    assert re.sub(r"\x1b\[\d+m", "", coloured) == text(MODELS[name], STYLE)


def test_every_file_has_its_model() -> None:
    """No expectation outlives its model."""
    assert {path.stem for path in EXPECTED.iterdir()} == set(MODELS)

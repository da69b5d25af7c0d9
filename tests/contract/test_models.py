"""What every model that has a view promises, so that the front end knows what to make of it."""

from dataclasses import is_dataclass

import pytest
from klosdbg.models import MayFail
from klosdbg.views import data, text
from klosdbg.x86.findings import FindsFaults

MODELS = sorted({*text.registry, *data.registry} - {object}, key=lambda model: model.__qualname__)

every_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__qualname__)


@every_model
def test_a_model_is_a_dataclass_with_both_views(model: type) -> None:
    """A command may return it; it is shown to people and to programs."""
    assert is_dataclass(model)
    assert text.dispatch(model) is not text.dispatch(object)
    assert data.dispatch(model) is not data.dispatch(object)


@every_model
def test_a_model_says_by_its_type_what_may_be_wrong(model: type) -> None:
    """A failure or a fault that has no type is neither an error nor an exit code."""
    assert ("failure" in dir(model)) == issubclass(model, MayFail)
    assert ("found_fault" in dir(model)) == issubclass(model, FindsFaults)

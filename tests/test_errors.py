"""What twinrun raises is told apart by type, carries its facts and pickles."""

from __future__ import annotations

import datetime
import pickle
import threading
from importlib import import_module

import pytest

from twinrun._pickling import Unpicklable
from twinrun.errors import ConfigurationError, MismatchError, needing
from twinrun.observation import Observation
from twinrun.result import Result


def result_of(value: object) -> Result:
    """Make a Result of the control alone."""
    return Result(
        id="0123",
        experiment="pricing.quote",
        started_at=datetime.datetime(2024, 2, 29, tzinfo=datetime.UTC),
        context={},
        order=("control",),
        control=Observation(name="control", value=value, duration_ns=1),
        candidates=(),
        comparisons=(),
    )


class OwnMismatchError(MismatchError):
    """A user's own mismatch error."""


def test_a_configuration_error_is_a_value_error() -> None:
    """Code that guards against wrong values catches it."""
    with pytest.raises(ValueError, match="sample"):
        raise ConfigurationError("sample must be within 0..1")


def test_a_mismatch_error_is_an_assertion_error_that_carries_its_result() -> None:
    """Test runners show it as a failed assertion."""
    result = result_of(1)
    error = MismatchError("they differ", result)
    assert isinstance(error, AssertionError)
    assert error.result is result
    assert str(error) == "they differ"


@pytest.mark.parametrize("cls", [MismatchError, OwnMismatchError])
def test_a_mismatch_error_pickles_whatever_its_result_holds(cls: type[MismatchError]) -> None:
    """It keeps its type, its text and its result."""
    error = cls("they differ", result_of(threading.Lock()))
    loaded = pickle.loads(pickle.dumps(error))
    assert type(loaded) is cls
    assert str(loaded) == "they differ"
    assert loaded.result.experiment == "pricing.quote"
    assert type(loaded.result.control.value) is Unpicklable


def test_a_package_that_is_missing_is_told_of_and_nothing_else_that_is() -> None:
    """What the extra brings has its sentence; a part or another package is missing as it is."""
    with pytest.raises(ConfigurationError, match=r"^get it$"), needing("nowhere", "get it"):
        import_module("nowhere.at_all")
    with pytest.raises(ModuleNotFoundError, match="elsewhere"), needing("nowhere", "get it"):
        import_module("elsewhere")

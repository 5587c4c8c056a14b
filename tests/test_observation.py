"""An Observation says what one behaviour did, and never calls the value's own code."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinrun._pickling import Unpicklable
from twinrun.observation import NOTHING, Nothing, Observation


class Untouchable:
    """A value that raises whatever is asked of it."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"asked for {name}")

    def __repr__(self) -> str:
        raise AssertionError("repr")

    def __bool__(self) -> bool:
        raise AssertionError("bool")

    def __eq__(self, other: object) -> bool:
        raise AssertionError("==")

    __hash__ = None  # type: ignore[assignment]


class HiddenError(Exception):
    """An exception that can't be shown."""

    def __str__(self) -> str:
        raise AssertionError("str")

    __repr__ = __str__


def test_none_is_a_value_and_nothing_is_none_at_all() -> None:
    """A behaviour that returned None differs from one that returned nothing."""
    assert Observation(name="a", value=None, duration_ns=1).value is None
    assert Observation(name="a", duration_ns=1).value is NOTHING


def test_nothing_is_one_object_everywhere() -> None:
    """Copies and pickles of the sentinel are the sentinel; it is false and says its name."""
    for again in (copy.copy(NOTHING), copy.deepcopy(NOTHING), pickle.loads(pickle.dumps(NOTHING))):
        assert again is NOTHING
    assert list(Nothing) == [NOTHING]
    assert not NOTHING
    assert repr(NOTHING) == "NOTHING"


@given(st.integers(min_value=0, max_value=2**62))
def test_a_duration_is_seconds(nanoseconds: int) -> None:
    """`duration` is `duration_ns` in seconds."""
    assert Observation(name="a", duration_ns=nanoseconds).duration == nanoseconds / 1e9


def test_raised_tells_an_exception_from_a_value() -> None:
    """An exception that was returned was not raised."""
    assert Observation(name="a", exception=ValueError(), duration_ns=1).raised
    assert not Observation(name="a", value=ValueError(), duration_ns=1).raised


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: {"value": Untouchable()}, "returned Untouchable"),
        (lambda: {"exception": HiddenError()}, "raised HiddenError"),
        (lambda: {"value": None}, "returned NoneType"),
        (dict, "returned nothing"),
    ],
)
def test_repr_names_types_without_calling_the_value(
    make: Callable[[], dict[str, Any]], text: str
) -> None:
    """Not one call into the value's own code is made."""
    observation = Observation(name="a", duration_ns=1_500_000, **make())
    assert repr(observation) == f"<Observation 'a' {text} in 1.500 ms>"


def test_it_is_immutable_and_has_no_dict() -> None:
    """Values are frozen and slotted."""
    observation = Observation(name="a", duration_ns=1)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        observation.name = "b"  # type: ignore[misc]
    assert not hasattr(observation, "__dict__")


def test_it_is_compared_by_identity() -> None:
    """Comparing and hashing never reach the values inside."""
    one, two = (Observation(name="a", value=Untouchable(), duration_ns=1) for _ in range(2))
    assert one == one
    assert one != two
    assert len({one, two}) == 2


def test_a_pickle_keeps_every_field() -> None:
    """What pickles comes back as it was."""
    error = ValueError("no")
    fields: dict[str, Any] = {
        "name": "a",
        "value": {"x": [1, 2]},
        "exception": error,
        "duration_ns": 7,
        "cpu_time": 0.25,
        "traceback": "Traceback …",
        "raised_at": "shop:price",
        "arguments": {"cart": [1], 1: 2},
    }
    loaded = pickle.loads(pickle.dumps(Observation(**fields)))
    assert (type(loaded.exception), loaded.exception.args) == (ValueError, ("no",))
    assert {**attrs.asdict(loaded), "exception": error} == fields


@pytest.mark.parametrize("make", [threading.Lock, lambda: lambda: None, Untouchable])
def test_it_pickles_whatever_it_holds(make: Callable[[], Any]) -> None:
    """What can't be pickled is a placeholder in the pickle only."""
    hostile = make()
    observation = Observation(name="a", value=hostile, duration_ns=7)
    loaded = pickle.loads(pickle.dumps(observation))
    assert type(loaded.value) is Unpicklable
    assert (loaded.name, loaded.duration_ns) == ("a", 7)
    assert observation.value is hostile


def test_nothing_stays_nothing_through_a_pickle() -> None:
    """An observation without a value still has none after loading."""
    assert pickle.loads(pickle.dumps(Observation(name="a", duration_ns=1))).value is NOTHING

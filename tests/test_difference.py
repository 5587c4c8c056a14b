"""A Difference names one place at which two values differ."""

from __future__ import annotations

import pickle
import threading

import attrs
import pytest

from twinrun._pickling import Unpicklable
from twinrun.difference import Difference, DifferenceKind
from twinrun.observation import NOTHING


class Unshown:
    """A value that can't be shown."""

    def __repr__(self) -> str:
        raise AssertionError("repr")


def test_the_kinds_are_text() -> None:
    """A kind can be stored and read back as text."""
    assert {str(kind) for kind in DifferenceKind} == {
        "changed",
        "added",
        "removed",
        "type",
        "raised",
    }
    assert DifferenceKind("type") is DifferenceKind.TYPE


def test_repr_shows_the_place_and_not_the_values() -> None:
    """Raw values may be secret, huge or hostile: none is shown."""
    difference = Difference("$.price", DifferenceKind.CHANGED, Unshown(), "secret")
    assert repr(difference) == "<Difference changed at $.price>"


def test_the_missing_side_is_nothing() -> None:
    """What was added has nothing on the control's side; None is a value."""
    added = Difference("$.x", DifferenceKind.ADDED, candidate=None)
    assert added.control is NOTHING
    assert added.candidate is None


def test_it_is_immutable() -> None:
    """Values are frozen."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Difference("$", DifferenceKind.CHANGED).path = "$.x"  # type: ignore[misc]


def test_a_pickle_gives_an_equal_difference() -> None:
    """Paths, kinds, values and missing sides survive."""
    difference = Difference("$[0]", DifferenceKind.REMOVED, control={"a": (1, None)})
    loaded = pickle.loads(pickle.dumps(difference))
    assert loaded == difference
    assert loaded.candidate is NOTHING
    assert type(loaded.kind) is DifferenceKind


def test_it_pickles_whatever_it_holds() -> None:
    """A value that can't travel is a placeholder; the other side comes back."""
    difference = Difference("$", DifferenceKind.TYPE, threading.Lock(), 3)
    loaded = pickle.loads(pickle.dumps(difference))
    assert type(loaded.control) is Unpicklable
    assert loaded.candidate == 3

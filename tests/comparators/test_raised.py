"""The default comparison of two exceptions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinrun.comparators import same_error

KINDS = st.sampled_from([ValueError, TypeError, KeyError, UnicodeError, SystemExit])
ERRORS = st.builds(lambda kind, text: kind(text), KINDS, st.sampled_from(["", "a", "b"]))


@given(ERRORS, ERRORS)
def test_errors_are_the_same_by_type_and_message(one: BaseException, two: BaseException) -> None:
    """Neither alone is enough."""
    assert same_error(one, two) is ((type(one), str(one)) == (type(two), str(two)))


def test_a_subclass_is_another_type() -> None:
    """A caller that catches the one may miss the other."""
    assert not same_error(UnicodeError("x"), ValueError("x"))


def test_a_claimed_class_does_not_count() -> None:
    """`type()` decides, not `__class__`."""

    class Disguised(Exception):
        @property
        def __class__(self) -> Any:
            return ValueError

    assert isinstance(Disguised(), ValueError)
    assert not same_error(Disguised("x"), ValueError("x"))
    assert not same_error(ValueError("x"), Disguised("x"))


def test_what_a_message_raises_escapes_and_the_same_object_needs_none() -> None:
    """Whoever asked decides what becomes of it."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise LookupError

    error = Mute()
    assert same_error(error, error)
    with pytest.raises(LookupError):
        same_error(Mute(), Mute())

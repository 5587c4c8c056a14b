"""The default comparison of two values."""

from __future__ import annotations

from typing import Any

import numpy
import pytest
from hypothesis import given

from strategies import pairs, plain
from twinrun.comparators import equal, exact
from twinrun.comparators._verdicts import same_classes

NAN = float("nan")


@given(pairs(plain()))
def test_plain_values_are_equal_as_python_says(pair: tuple[Any, Any]) -> None:
    """`==` is the oracle on plain data without NaN."""
    assert equal(*pair) is (pair[0] == pair[1])


@given(pairs(plain(allow_nan=True)))
def test_values_are_equal_exactly_where_nothing_differs(pair: tuple[Any, Any]) -> None:
    """The answer and the differences never contradict each other."""
    assert equal(*pair) is not bool(equal.differences(*pair))


def test_nan_and_arrays_are_equal_by_content() -> None:
    """What `==` can't tell, the walk does."""
    assert equal([NAN], [float("nan")])
    assert equal({"a": numpy.array([1.0, NAN])}, {"a": numpy.array([1.0, NAN])})
    assert not equal(numpy.array([1, 2]), numpy.array([1, 3]))


class Counting:
    """A value that counts how often it is asked for equality."""

    def __init__(self) -> None:
        self.asked = 0

    def __eq__(self, other: object) -> bool:
        self.asked += 1
        return isinstance(other, Counting)

    __hash__ = None  # type: ignore[assignment]


def test_equal_values_cost_one_comparison_and_identical_ones_none() -> None:
    """Nothing is walked where one `==` says True."""
    value = Counting()
    assert equal([value], [Counting()])
    assert value.asked == 1
    assert equal.differences([value], [Counting()]) == ()
    assert value.asked == 2
    assert equal(value, value)
    assert value.asked == 2


def test_an_eq_that_raises_only_at_the_top_does_not_decide() -> None:
    """A nested `==` that raises RecursionError is no reason not to compare."""
    one: Any = 1
    two: Any = 1
    for _ in range(5_000):
        one, two = [one], [two]
    assert equal(one, two)
    assert not equal(one, [two])


class Raising:
    """A value whose `==` raises."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __eq__(self, other: object) -> bool:
        raise self.error

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize("error", [ValueError(), KeyboardInterrupt(), SystemExit()], ids=repr)
def test_what_eq_raises_escapes(error: BaseException) -> None:
    """Whoever asked decides what becomes of it."""
    for ask in (equal, equal.differences):
        with pytest.raises(type(error)) as caught:
            ask([Raising(error)], [1])
        assert caught.value is error


def test_its_repr_is_its_name() -> None:
    """It reads well where options are shown."""
    assert repr(equal) == "equal"


@given(pairs(plain(allow_nan=True)))
def test_exact_values_are_equal_and_of_the_same_classes(pair: tuple[Any, Any]) -> None:
    """What is told of each place by hand is the oracle."""
    control, candidate = pair
    assert exact(control, candidate) == identical(control, candidate)
    assert exact(control, candidate) is not bool(exact.differences(control, candidate))


def identical(a: Any, b: Any) -> bool:
    """Say by hand whether two values are the same in content and class."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        keys = {(type(key), key) for key in a} == {(type(key), key) for key in b}
        return keys and all(identical(part, b[key]) for key, part in a.items())
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(identical, a, b))
    if isinstance(a, complex):
        return identical(a.real, b.real) and identical(a.imag, b.imag)
    return bool(a == b or (a != a and b != b))


@pytest.mark.parametrize(
    ("control", "candidate", "told"),
    [
        ({"a": [1, True, (None, b"x")]}, {"a": [1, True, (None, b"x")]}, True),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": 1, 2: 2}, {2: 2, "a": 1}, False),
        ([1, [True]], [1, [1]], False),
        ({1: 2}, {True: 2}, False),
        ([(1,)], [(1.0,)], False),
        ([[0] * 60_000] * 2, [[0] * 60_000] * 2, False),
        ([{1}], [{1}], False),
        (1, 1, True),
        (1, 1.0, False),
    ],
    ids=lambda value: repr(value)[:12],
)
def test_a_quick_look_at_equal_values_tells_classes_or_nothing(
    control: Any, candidate: Any, told: bool
) -> None:
    """It never says yes for values of two classes."""
    assert control == candidate
    assert same_classes(control, candidate) is told

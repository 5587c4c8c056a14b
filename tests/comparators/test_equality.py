"""The default comparison of two values."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterator
from decimal import Decimal
from random import Random
from typing import Any, NamedTuple
from unittest.mock import ANY

import attrs
import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import pairs, plain
from twinrun.comparators import equal, exact, loose
from twinrun.comparators._glances import confused
from twinrun.comparators._verdicts import same_classes

NAN = float("nan")


@given(pairs(plain()))
def test_plain_values_are_equal_as_python_says(pair: tuple[Any, Any]) -> None:
    """`==` is the oracle on plain data without NaN; but a truth value is no number."""
    if equal(*pair) is not (pair[0] == pair[1]):
        assert loose(*pair)
        assert not exact(*pair)
        assert not truths_alike(*pair)


def truths_alike(a: Any, b: Any) -> bool:
    """Say by hand of two equal values whether truth values stand at the same places in both."""
    if isinstance(a, dict):
        return all(truths_alike(part, b[key]) for key, part in a.items())
    if isinstance(a, list | tuple):
        return all(map(truths_alike, a, b))
    return isinstance(a, bool) is isinstance(b, bool)


def turned(value: Any, random: Random) -> Any:
    """Build a value again with some of its truth values as numbers, and the reverse."""
    if isinstance(value, dict):
        return {key: turned(part, random) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(turned(part, random) for part in value)
    if isinstance(value, bool | int) and value in (0, 1) and random.random() < 0.2:
        return int(value) if isinstance(value, bool) else bool(value)
    return value


@given(plain(), st.randoms(use_true_random=False))
def test_what_a_glance_finds_the_walk_finds_too(value: Any, random: Random) -> None:
    """The verdict and the differences agree, and are right of all that a glance takes in."""
    other = turned(value, random)
    assert value == other
    found = equal.differences(value, other)
    assert equal(value, other) is not bool(found)
    assert all(isinstance(d.control, bool) is not isinstance(d.candidate, bool) for d in found)
    if truths_alike(value, other):
        assert not found
    if isinstance(value, dict | list | tuple) and confused(value, other):
        assert found


@attrs.frozen
class Line:
    """An attrs class."""

    sku: str
    gift: Any


@dataclasses.dataclass
class Order:
    """A dataclass."""

    lines: Any


class Named(NamedTuple):
    """A named tuple."""

    gift: Any


class Own:
    """A class that says itself what it equals."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Own) and bool(self.value == other.value)

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda truth: [truth], "$[0]"),
        (lambda truth: (None, "a", truth), "$[2]"),
        (lambda truth: {"a": {"b": {"c": truth}}}, "$.a.b.c"),
        (lambda truth: {**dict.fromkeys("abcdefgh", 1.5), "gift": truth}, "$.gift"),
        (lambda truth: [Line("a", truth)], "$[0].gift"),
        (lambda truth: Order([Line("a", truth)] * 99), "$.lines[0].gift"),
        (lambda truth: {"order": Named(truth)}, "$.order.gift"),
        (lambda truth: collections.OrderedDict(a=truth), "$.a"),
        (lambda truth: [{"n": n, "gift": truth} for n in range(1_000)], "$[0].gift"),
        (lambda truth: ({"a": n, "b": [str(n)], "c": truth} for n in range(9)), "$[0].c"),
    ],
)
def test_a_truth_value_within_equal_values_is_no_number(
    make: Callable[[Any], Any], path: str
) -> None:
    """A glance at what `==` calls equal finds it, and the walk then says where it is."""
    for control, candidate in ((True, 1), (0, False), (numpy.True_, 1), (True, 1.0)):
        one, two = (as_list(make(value)) for value in (control, candidate))
        assert one == two
        assert not equal(one, two)
        first = equal.differences(one, two)[0]
        assert (first.path, first.control, first.candidate) == (path, control, candidate)
        assert loose(one, two)
        assert loose.differences(one, two) == ()


def as_list(value: Any) -> Any:
    """Make a list of what is made one by one."""
    return list(value) if isinstance(value, Iterator) else value


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ([1], [1.0]),
        ([Decimal(1)], [1]),
        ([True], [numpy.True_]),
        ([ANY], [True]),
        ({True}, {1}),
        ({True: 2}, {1: 2}),
        ([Own(True)], [Own(1)]),
        ([0, 0, 0, True], [0, 0, 0, 1]),
        ({n: n for n in range(64)} | {"gift": True}, {n: n for n in range(64)} | {"gift": 1}),
    ],
    ids=lambda value: repr(value)[:9],
)
def test_what_a_glance_leaves_to_eq(one: Any, two: Any) -> None:
    """Numbers, keys, members of sets, classes with an `==` of their own, and what is far away."""
    assert equal(one, two)
    assert equal.differences(one, two) == ()


class Unhashable(type):
    """A metaclass that answers nothing."""

    def __hash__(cls) -> int:
        raise AssertionError("a class was asked for its hash")

    def __eq__(cls, other: object) -> bool:
        raise AssertionError("a class was asked for equality")


class Odd(metaclass=Unhashable):
    """An instance of a class that can't be looked up."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


def test_a_glance_that_fails_says_nothing() -> None:
    """What `==` calls equal stays so."""
    assert equal([Odd()], [Odd()])
    assert equal(Odd(), Odd())
    assert equal.differences({"a": Odd()}, {"a": Odd()}) == ()


class Asked(dict[str, Any]):
    """A dict that may only be asked for equality."""

    def __getitem__(self, key: str) -> Any:
        raise AssertionError(f"it was asked for {key}")

    __iter__ = keys = values = items = get = __getitem__  # type: ignore[assignment]


def test_a_glance_calls_no_method_that_a_subclass_overrides() -> None:
    """It reads dicts, lists and tuples as the built-in types do."""
    assert equal([Asked(a=1)], [Asked(a=1)])
    assert not equal([Asked(a=True)], [Asked(a=1)])


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

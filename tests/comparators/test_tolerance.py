"""Numbers and times that are nearly the same."""

from __future__ import annotations

import datetime
import decimal
import fractions
import math
from typing import Any

import numpy
import pandas
import polars
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinrun.comparators import approx, equal, exact, ignoring, loose
from twinrun.errors import ConfigurationError

D = decimal.Decimal
NAN, INF = float("nan"), float("inf")
MOMENT = datetime.datetime(2024, 1, 31, 12)
UTC = datetime.UTC
EAST = datetime.timezone(datetime.timedelta(hours=2))


@pytest.mark.parametrize(
    ("control", "candidate"),
    [
        (1.0, 1.01),
        (1, 1.01),
        (D("1.00"), D("1.01")),
        (D("1.00"), 1.01),
        (fractions.Fraction(1, 3), 0.3333),
        (1 + 1j, 1.005 + 1j),
        (10**400, 10**400),
        (NAN, NAN),
        (INF, INF),
        (numpy.float32(1), 1.01),
        (numpy.int64(1), D("1.01")),
        ([{"a": (1.0,)}], [{"a": (1.01,)}]),
        (datetime.timedelta(seconds=1), datetime.timedelta(seconds=1.01)),
        (MOMENT, MOMENT + datetime.timedelta(seconds=0.01)),
        (MOMENT.replace(tzinfo=UTC), MOMENT.replace(hour=14, tzinfo=EAST, microsecond=9)),
        (MOMENT.time(), MOMENT.time().replace(microsecond=10)),
        (numpy.array([1.0, NAN, 3.0]), numpy.array([1.01, NAN, 2.99])),
        (numpy.array([[1, 2]]), numpy.array([[1.01, 2]])),
        (pandas.DataFrame({"a": [1.0, NAN]}), pandas.DataFrame({"a": [1.01, NAN]})),
        (pandas.Series([1.0]), pandas.Series([1.01])),
        (polars.DataFrame({"a": [1.0]}), polars.DataFrame({"a": [1.01]})),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_within_the_distance_is_equal(control: Any, candidate: Any) -> None:
    """Numbers of any kind, alone or inside, and times by their seconds."""
    near = approx(abs=0.0101)
    assert near(control, candidate)
    assert near(candidate, control)
    assert near.differences([control], [candidate]) == ()


@pytest.mark.parametrize(
    ("control", "candidate"),
    [
        (1.0, 1.02),
        (1.0, NAN),
        (1.0, INF),
        (D("NaN"), D(1)),
        (D("Infinity"), 1.0),
        (10**400, 10**400 + 1),
        (10**400, 1.0),
        (True, 1.005),
        ("1.0", "1.001"),
        ("1.0", 1.0),
        (MOMENT, MOMENT + datetime.timedelta(seconds=0.02)),
        (MOMENT, MOMENT.replace(tzinfo=UTC)),
        (MOMENT.date(), MOMENT.date() + datetime.timedelta(days=1)),
        (MOMENT.time(), MOMENT.time().replace(second=1)),
        (datetime.timedelta(seconds=1), 1.0),
        ({1.0}, {1.001}),
        ({1.0: 1}, {1.001: 1}),
        (numpy.array([1.0, 2]), numpy.array([1.0, 3])),
        (numpy.array([1.0]), [1.0]),
        (pandas.Series([1.0]), pandas.Series([1.0, 1.0])),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_further_away_differs(control: Any, candidate: Any) -> None:
    """And so do values that have no distance; nothing raises."""
    near = approx(abs=0.0101)
    assert not near(control, candidate)
    assert near.differences(control, candidate) != ()


FINITE = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(FINITE, FINITE, st.floats(1e-6, 1), st.floats(0, 1))
def test_floats_are_compared_as_by_math_isclose(a: float, b: float, rel: float, abs: float) -> None:
    """The standard library is the oracle."""
    assert approx(rel=rel, abs=abs)(a, b) == math.isclose(a, b, rel_tol=rel, abs_tol=abs)


@given(st.decimals(-100, 100, places=4), st.decimals(-100, 100, places=4))
def test_decimals_are_compared_without_rounding(a: decimal.Decimal, b: decimal.Decimal) -> None:
    """The tolerance is the decimal that was written, not the float nearest to it."""
    assert approx(abs=0.1)(a, b) == (abs(a - b) <= D("0.1"))


def test_a_share_is_one_of_the_larger_number() -> None:
    """And nothing for moments; timedeltas have a size."""
    assert approx(rel=0.1)(90, 100)
    assert not approx(rel=0.1)(89, 100)
    assert approx(rel=0.1)(datetime.timedelta(90), datetime.timedelta(100))
    assert not approx(rel=0.1)(MOMENT, MOMENT + datetime.timedelta(seconds=1))


def test_only_what_is_not_near_is_told() -> None:
    """With its path and both numbers."""
    (found,) = approx(abs=0.1).differences({"a": 1.0, "b": 1.0}, {"a": 1.05, "b": 2.0})
    assert (found.path, found.control, found.candidate) == ("$.b", 1.0, 2.0)


def test_items_that_are_nearly_equal_are_aligned() -> None:
    """An insertion among them is one difference."""
    ours, theirs = [float(n) for n in range(100)], [n + 0.001 for n in range(-1, 100)]
    (found,) = approx(abs=0.01).differences(ours, theirs)
    assert (found.kind, found.path) == ("added", "$[0]")


def test_a_container_with_its_own_eq_may_be_nearly_equal() -> None:
    """Its parts decide where its `==` says no."""

    class Vector(list[float]):
        def __eq__(self, other: object) -> bool:
            return list.__eq__(self, other)

        __hash__ = None  # type: ignore[assignment]

    assert approx(abs=0.1)(Vector([1.0]), Vector([1.05]))
    assert not approx(abs=0.1)(Vector([1.0]), Vector([1.5]))


@pytest.mark.parametrize(
    "options",
    [{}, {"rel": 0}, {"abs": -1}, {"rel": NAN}, {"abs": INF}, {"rel": "1"}, {"abs": True}],
    ids=repr,
)
def test_a_wrong_tolerance_is_refused(options: Any) -> None:
    """None at all, too; the error says what is accepted."""
    with pytest.raises(ConfigurationError, match=r"accepted|needs a tolerance"):
        approx(**options)


def test_it_varies_comparators_by_content_only() -> None:
    """Others can't be told what is near."""
    with pytest.raises(ConfigurationError, match="comparator by content"):
        approx(abs=1, compare=max)  # type: ignore[arg-type]
    assert approx(abs=1, compare=ignoring("$.b"))({"a": 1, "b": 1}, {"a": 2, "b": 9})
    assert not approx(abs=1, compare=exact)([1], [1.5])
    assert approx(abs=1, compare=exact)([1.0], [1.5])
    assert approx(abs=1, compare=loose)([True], [1])


def test_its_repr_is_how_it_was_made() -> None:
    """Tolerances that are 0 and the usual comparator are left out."""
    assert repr(approx(rel=1e-9)) == "approx(rel=1e-09)"
    assert repr(approx(rel=0.5, abs=2)) == "approx(rel=0.5, abs=2)"
    assert repr(approx(abs=1, compare=ignoring("$.b"))) == "approx(abs=1, compare=ignoring('$.b'))"
    assert approx(abs=1, compare=equal).rules.accepts

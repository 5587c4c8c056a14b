"""Comparators for numbers that are nearly the same."""

from __future__ import annotations

import datetime
import numbers
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import attrs

from twinrun.comparators._content import Content, content_of, derived
from twinrun.comparators._verdicts import both_numbers, is_boolean
from twinrun.comparators.equality import equal
from twinrun.errors import ConfigurationError

__all__ = ["approx"]


def approx(*, rel: float = 0.0, abs: float = 0.0, compare: Content = equal) -> Content:
    """Take numbers anywhere inside two values for equal where they are near each other.

    That is where they differ by no more than `abs`, or than `rel` times the larger one's size.
    Elements of arrays and frames are numbers, too, and timedeltas by their seconds; two datetimes
    or times may be `abs` seconds apart, and `rel` is no measure for them. Integers are taken
    exactly, Decimals as such, infinities equal only themselves, NaN equals NaN, truth values are
    no numbers. Members of a set and keys are never near.

    Raises ConfigurationError unless one of both is above 0 and neither is below it.
    """
    tolerance = {"rel": rel, "abs": abs}
    for name, value in tolerance.items():
        if type(value) not in (int, float) or not 0 <= value < float("inf"):
            raise ConfigurationError(
                f"approx({name}={value!r}): a finite number that is not below 0 is accepted"
            )
    if not rel and not abs:
        raise ConfigurationError(
            "approx() needs a tolerance above 0: rel=1e-9 for a share of the number, abs=0.01 for "
            "a distance"
        )
    content = content_of(compare, "approx")
    shown = [f"{name}={value!r}" for name, value in tolerance.items() if value]
    accepts = (*content.rules.accepts, _Near(rel, abs))
    return derived(content, "approx", shown, accepts=accepts)


@attrs.frozen
class _Near:
    """Says whether two values that differ are numbers or times near each other."""

    rel: float
    abs: float

    def __call__(self, a: Any, b: Any) -> bool:
        """Whether they are; values of any other kind are not."""
        kinds = type(a), type(b)
        if all(issubclass(kind, datetime.timedelta) for kind in kinds):
            return self.near(a.total_seconds(), b.total_seconds())
        if kinds[0] is kinds[1] and issubclass(kinds[0], datetime.datetime | datetime.time):
            return self.at_one_time(a, b)
        if not both_numbers(a, b) or is_boolean(kinds[0]) or is_boolean(kinds[1]):
            return False
        return bool(a == a and b == b and self.near(*_of_one_kind(a, b)))

    def near(self, a: Any, b: Any) -> bool:
        """Whether two numbers of one kind are near each other."""
        distance, size = abs(a - b), max(abs(a), abs(b))
        if not distance < float("inf"):
            return False
        make = _maker(distance)
        return bool(distance <= make(self.abs) or distance <= make(self.rel) * size)

    def at_one_time(self, a: Any, b: Any) -> bool:
        """Whether two moments, or two times of a day, are near each other."""
        if issubclass(type(a), datetime.time):
            day = datetime.date(2000, 1, 1)
            a, b = datetime.datetime.combine(day, a), datetime.datetime.combine(day, b)
        if (a.utcoffset() is None) is not (b.utcoffset() is None):
            return False
        return bool(abs(a - b) <= datetime.timedelta(seconds=self.abs))


def _of_one_kind(a: Any, b: Any) -> tuple[Any, Any]:
    """Make two numbers ones that can be subtracted from each other, exactly where that can be."""
    if type(a) is type(b) or any(not issubclass(type(x), numbers.Real | Decimal) for x in (a, b)):
        return a, b
    finite = [abs(x) != float("inf") for x in (a, b)]
    return (_exactly(a), _exactly(b)) if all(finite) else (float(a), float(b))


def _exactly(number: Any) -> Any:
    """Give a finite number as a fraction."""
    known = issubclass(type(number), numbers.Rational | Decimal)
    return Fraction(number) if known else Fraction(float(number))


def _maker(distance: Any) -> Callable[[float], Any]:
    """Give what makes a tolerance comparable with, and multipliable by, such a number."""
    if issubclass(type(distance), Decimal):
        return lambda tolerance: Decimal(repr(tolerance))
    if issubclass(type(distance), numbers.Rational):
        return lambda tolerance: Fraction(repr(tolerance))
    return float

"""Numbers for people."""

from __future__ import annotations

import datetime
import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinrun.reports import figures

UNITS = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),  # noqa: RUF001
        (0.0, "0 ns"),
        (1e-12, "0.00100 ns"),
        (4.2e-8, "42.0 ns"),
        (0.000_001, "1.00 µs"),
        (0.000_999_4, "999 µs"),
        (0.000_999_6, "1.00 ms"),
        (0.001_234, "1.23 ms"),
        (0.009_996, "10.0 ms"),
        (0.123_4, "123 ms"),
        (0.999_7, "1.00 s"),
        (59.96, "60.0 s"),
        (12_345.0, "12,300 s"),
    ],
)
def test_durations_have_three_digits(seconds: float | None, text: str) -> None:
    """A duration has three significant digits, and the unit that makes it 1 to 999."""
    assert figures.duration(seconds) == text


@given(st.floats(min_value=1e-9, max_value=999, allow_nan=False))
def test_a_duration_reads_back(seconds: float) -> None:
    """What is written is within half a unit of the third digit, and never a thousand of a unit."""
    number, unit = figures.duration(seconds).split(" ")
    assert float(number) * UNITS[unit] == pytest.approx(seconds, rel=0.005_1)
    assert float(number) < 1000


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.314, "1.31×"), (1.0, "1.00×"), (0.052_34, "0.0523×"), (1234.0, "1,230×"), (None, "–")],  # noqa: RUF001
)
def test_ratios_have_three_digits(value: float | None, text: str) -> None:
    """A ratio has three significant digits."""
    assert figures.ratio(value) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 0, "–"),  # noqa: RUF001
        (0, 7, "0 %"),
        (7, 7, "100 %"),
        (1, 2, "50.0 %"),
        (99_996, 100_000, "99.996 %"),
        (10**15 - 1, 10**15, "99.9999999999999 %"),
        (1, 10**9, "0.0000001 %"),
        (9_995, 10_000, "99.95 %"),
    ],
)
def test_percentages_are_never_rounded_to_all_or_nothing(part: int, whole: int, text: str) -> None:
    """100 % means all and 0 % none; anything between has the digits that it takes."""
    assert figures.percentage(part, whole) == text


@given(st.integers(1, 10**18).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_a_percentage_says_all_only_of_all(numbers: tuple[int, int]) -> None:
    """It reads as 0 or 100 exactly where it is, and is right to half its last digit."""
    part, whole = numbers
    text = figures.percentage(part, whole)
    written = Fraction(text.removesuffix(" %"))
    assert (written == 100) == (part == whole)
    assert (written == 0) == (part == 0)
    digits = len(text.removesuffix(" %").partition(".")[2])
    assert abs(written - Fraction(100 * part, whole)) <= Fraction(1, 2 * 10**digits)


def test_counts_have_thousands_apart() -> None:
    """Large counts can be read at a glance."""
    assert figures.count(12_345_678) == "12,345,678"


def test_moments_are_utc() -> None:
    """A moment of another zone is written in UTC, to the second."""
    zone = datetime.timezone(datetime.timedelta(hours=5))
    when = datetime.datetime(2026, 1, 1, 3, 0, 0, 999, zone)
    assert figures.moment(when) == "2025-12-31 22:00:00"


@given(st.floats(min_value=1e-300, max_value=1e300))
def test_any_positive_ratio_is_written(value: float) -> None:
    """However small or large, a ratio is written in plain digits."""
    assert re.fullmatch(r"[\d,.]+×", figures.ratio(value))  # noqa: RUF001

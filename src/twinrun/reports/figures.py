"""Numbers as a person reads them: three significant digits, and never a false 0 or 100 %."""

from __future__ import annotations

import datetime
import math
from fractions import Fraction

__all__ = ["NONE", "count", "duration", "moment", "percentage", "ratio"]

NONE = "–"  # noqa: RUF001
"""Stands where there is no number to show."""

_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


def _three_digits(value: float) -> str:
    """Write a number from 0 upwards with three significant digits, and with thousands apart."""
    if value == 0:
        return "0"
    digits = 2 - math.floor(math.log10(value))
    rounded = round(value, digits)
    digits = 2 - math.floor(math.log10(rounded))  # 9.996 has become 10.00
    return f"{rounded:,.{max(digits, 0)}f}"


def count(number: int) -> str:
    """Write a count with its thousands apart: `12,345`."""
    return f"{number:,}"


def duration(seconds: float | None) -> str:
    """Write seconds in the unit that suits them: `1.23 ms`."""
    if seconds is None:
        return NONE
    for scale, unit in _UNITS:
        # 999.6 µs would be written as 1,000 µs, and is 1.00 ms.
        if seconds >= scale * 0.9995:
            return f"{_three_digits(seconds / scale)} {unit}"
    scale, unit = _UNITS[-1]
    return f"{_three_digits(seconds / scale)} {unit}"


def ratio(value: float | None) -> str:
    """Write candidate / control: `1.31×`."""  # noqa: RUF002
    return NONE if value is None else f"{_three_digits(value)}×"  # noqa: RUF001


def percentage(part: int, whole: int) -> str:
    """Write a share with as many digits as it takes not to say 0 % or 100 % where it is neither."""
    if whole == 0:
        return NONE
    if part in (0, whole):
        return f"{100 * part // whole} %"
    exact = Fraction(100 * part, whole)
    digits = 1
    while (rounded := round(exact, digits)) in (0, 100):
        digits += 1
    return f"{_decimal(rounded, digits)} %"


def _decimal(value: Fraction, digits: int) -> str:
    """Write a fraction that has at most so many decimal places."""
    whole, rest = divmod(int(value * 10**digits), 10**digits)
    return f"{whole:,}.{rest:0{digits}d}"


def moment(when: datetime.datetime) -> str:
    """Write a moment to the second, in UTC; one without a time zone is taken as UTC."""
    if when.tzinfo is not None:
        when = when.astimezone(datetime.UTC)
    return when.strftime("%Y-%m-%d %H:%M:%S")

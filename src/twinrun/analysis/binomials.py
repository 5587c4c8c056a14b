"""Probabilities of counts: how likely k of n are at a rate, to the last digits a float has."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

__all__ = ["at_least", "at_most", "check", "log_beta", "log_probability", "turning_point"]

_HALF_LOG_TAU: Final = math.log(math.tau) / 2
_LARGE: Final = 15.0  # from here on five terms of Stirling's series are exact
_NOTHING: Final = 1e-17  # a term that no longer changes the sum


def check(k: int, n: int, alpha: float) -> None:
    """Refuse, with a ValueError, what is no count of n or no probability of error."""
    if not 0 <= k <= n:
        raise ValueError(f"a count of {n} lies within 0..{n}, not {k!r}")
    if not 0 < alpha < 1:
        raise ValueError(f"a probability of error lies between 0 and 1, not {alpha!r}")


def log_probability(k: int, n: int, p: float) -> float:
    """Give ln P(X = k) for k of n at the rate p, 0 <= k <= n, 0 < p < 1.

    Loader, "Fast and accurate computation of binomial probabilities" (2000): the saddle point
    expansion, which keeps its digits where differences of `lgamma` lose theirs (n above 1e8).
    """
    if k == 0:
        return n * math.log1p(-p)
    if k == n:
        return n * math.log(p)
    corrections = _stirling_error(n) - _stirling_error(k) - _stirling_error(n - k)
    deviance = _deviance(k, n * p) + _deviance(n - k, n * (1 - p))
    spread = 2 * _HALF_LOG_TAU + math.log(k) + math.log1p(-k / n)
    return corrections - deviance - spread / 2


def at_most(k: int, n: int, p: float) -> float:
    """Give P(X <= k) for k of n at the rate p, 0 < p < 1."""
    if k < 0 or k >= n:
        return float(k >= n)
    if k > n * p:
        return 1.0 - at_least(k + 1, n, p)
    term = total = 1.0
    for i in range(k, 0, -1):
        term *= i * (1 - p) / ((n - i + 1) * p)
        total += term
        if term < total * _NOTHING:
            break
    return min(1.0, math.exp(log_probability(k, n, p)) * total)


def at_least(k: int, n: int, p: float) -> float:
    """Give P(X >= k) for k of n at the rate p, 0 < p < 1."""
    if k <= 0 or k > n:
        return float(k <= 0)
    if k < n * p:
        return 1.0 - at_most(k - 1, n, p)
    term = total = 1.0
    for i in range(k, n):
        term *= (n - i) * p / ((i + 1) * (1 - p))
        total += term
        if term < total * _NOTHING:
            break
    return min(1.0, math.exp(log_probability(k, n, p)) * total)


def log_beta(x: float, y: float) -> float:
    """Give ln B(x, y) for x, y > 0.

    By Stirling's series with `log1p`, as in Didonato and Morris, "Algorithm 708", ACM TOMS 18
    (1992), 360-373, so that a small x beside a large y loses no digits.
    """
    x, y = sorted((x, y))
    total = x + y
    if y < _LARGE:
        return math.lgamma(x) + math.lgamma(y) - math.lgamma(total)
    if x < _LARGE:
        small = math.lgamma(x) + x - x * math.log(total)
    else:
        small = x * math.log(x / total) - math.log(x) / 2 + _HALF_LOG_TAU + _stirling_error(x)
    large = _stirling_error(y) - (y - 0.5) * math.log1p(x / y)
    return small + large - _stirling_error(total)


def turning_point(is_beyond: Callable[[float], bool], low: float, high: float) -> float:
    """Give the least float above `low`, at most `high`, that is beyond; those above it are too."""
    while low < (middle := (low + high) / 2) < high:
        if is_beyond(middle):
            high = middle
        else:
            low = middle
    return high


def _stirling_error(x: float) -> float:
    """Give ln Gamma(x + 1) less Stirling's approximation of it."""
    if x < _LARGE:
        return math.lgamma(x + 1) - (x + 0.5) * math.log(x) + x - _HALF_LOG_TAU
    square = x * x
    series = 1 / 1260 - (1 / 1680 - 1 / 1188 / square) / square
    return (1 / 12 - (1 / 360 - series / square) / square) / x


def _deviance(x: float, mean: float) -> float:
    """Give x ln(x / mean) + mean - x without cancellation: Loader's `bd0`."""
    difference, total = x - mean, x + mean
    if abs(difference) >= 0.1 * total:
        return x * math.log(x / mean) - difference
    ratio = difference / total
    term, series = 2 * x * ratio, difference * ratio
    for odd in range(3, 1000, 2):
        term *= ratio * ratio
        further = series + term / odd
        if further == series:
            break
        series = further
    return series

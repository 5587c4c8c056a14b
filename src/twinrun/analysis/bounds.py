"""Exact bounds of a rate and of a quantile, for one look at a number of runs fixed beforehand.

Whoever looks again and again needs those of `twinrun.analysis.sequential`.
"""

from __future__ import annotations

import math
from bisect import bisect_left

from twinrun.analysis.binomials import at_least, at_most, check, turning_point

__all__ = ["interval", "lower", "ranks", "runs_needed", "upper"]


def upper(k: int, n: int, alpha: float) -> float:
    """Give the upper bound of a rate after k of n, wrong with probability `alpha` at the most.

    Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the
    binomial", Biometrika 26 (1934), 404-413: P(X <= k) is `alpha` at the bound. For k = 0 it is
    1 - alpha^(1/n), close to 3/n at 95 %: the rule of three (Hanley and Lippman-Hand, JAMA 249
    (1983), 1743-1745).

    Raises:
        ValueError: k is not within 0..n, or alpha not between 0 and 1.
    """
    check(k, n, alpha)
    if k == n:
        return 1.0
    if k == 0:
        return -math.expm1(math.log(alpha) / n)
    return turning_point(lambda p: at_most(k, n, p) <= alpha, k / n, 1.0)


def lower(k: int, n: int, alpha: float) -> float:
    """Give the lower bound of a rate after k of n: P(X >= k) is `alpha` there; see `upper`.

    Raises:
        ValueError: k is not within 0..n, or alpha not between 0 and 1.
    """
    check(k, n, alpha)
    if k == 0:
        return 0.0
    if k == n:
        return math.exp(math.log(alpha) / n)
    return turning_point(lambda p: at_least(k, n, p) > alpha, 0.0, k / n)


def interval(k: int, n: int, alpha: float) -> tuple[float, float]:
    """Give both bounds of a rate after k of n, each at half of `alpha`; see `upper`."""
    return lower(k, n, alpha / 2), upper(k, n, alpha / 2)


def runs_needed(limit: float, alpha: float) -> int:
    """Give how many runs, all without a mismatch, bring the upper bound down to a limit."""
    if not 0 < limit < 1:
        raise ValueError(f"a limit lies between 0 and 1, not {limit!r}")
    check(0, 0, alpha)
    return math.ceil(math.log(alpha) / math.log1p(-limit))


def ranks(n: int, q: float, alpha: float) -> tuple[int, int]:
    """Give the ranks (from 1) of the values that hold the q-quantile of n between them.

    0 and n + 1 stand for no bound. The number of values up to the quantile is binomial, whatever
    their distribution: David and Nagaraja, *Order Statistics* (3rd edition, 2003), section 7.1.

    Raises:
        ValueError: q or alpha is not between 0 and 1.
    """
    if not 0 < q < 1:
        raise ValueError(f"a quantile lies between 0 and 1, not {q!r}")
    check(0, n, alpha)
    middle = math.floor(n * q)
    below = range(1, middle + 1)  # the last of these ranks that is seldom too high
    low = bisect_left(below, True, key=lambda rank: at_most(rank - 1, n, q) > alpha / 2)
    above = range(middle + 1, n + 1)
    high = bisect_left(above, True, key=lambda rank: at_least(rank, n, q) <= alpha / 2)
    return low, middle + 1 + high

"""Bounds that hold however often one looks: at every run, every day, and when one stops on them.

All of them are e-processes: what a gambler has won who bets, at fair odds, that a rate is not what
it is said to be. Whatever he does, and whenever he stops, the probability that he ever has
1 / alpha times his stake is alpha at the most if it is (Ville, *Étude critique de la notion de
collectif*, 1939).
"""

from __future__ import annotations

import enum
import math
from bisect import bisect_left
from typing import Final

import attrs

from twinrun.analysis.binomials import check, log_beta, turning_point

__all__ = [
    "Decision",
    "Gate",
    "confidence_sequence",
    "log_likelihood_ratio",
    "log_mixture",
    "ranks",
    "sprt",
]

_FAR: Final = 10.0  # the gate's quick bet is on a rate so many times below the limit
_JEFFREYS: Final = 0.5


def log_mixture(k: int, n: int, p: float, a: float, b: float) -> float:
    """Give the logarithm of what is won on "the rate is not p" by a Beta(a, b) mixture of bets.

    Robbins, "Statistical methods related to the law of the iterated logarithm", Annals of
    Mathematical Statistics 41 (1970), 1397-1409; for counts, Howard, Ramdas, McAuliffe and Sekhon,
    "Time-uniform, nonparametric, nonasymptotic confidence sequences", Annals of Statistics 49
    (2021), 1055-1080.
    """
    won = log_beta(a + k, b + n - k) - log_beta(a, b)
    for count, probability in ((k, p), (n - k, 1.0 - p)):
        if count and probability <= 0.0:
            return math.inf
    return won - (k * math.log(p) if k else 0.0) - ((n - k) * math.log1p(-p) if n - k else 0.0)


def confidence_sequence(
    k: int, n: int, alpha: float, a: float = 1.0, b: float = 1.0
) -> tuple[float, float]:
    """Give both bounds of a rate after k of n, wrong at any time with probability `alpha`.

    They hold the rates against which the mixture has won less than 1 / alpha. It is narrowest near
    the rate a / (a + b): for a limit p, a = 1 and b = 1 / p, chosen before there are data.

    Raises:
        ValueError: k is not within 0..n, alpha not between 0 and 1, or a or b not above 0.
    """
    check(k, n, alpha)
    if not (a > 0 and b > 0):
        raise ValueError(f"a and b are above 0, not {a!r} and {b!r}")
    most = -math.log(alpha)
    rate = k / n if n else 0.0
    low = high = rate
    if k:
        low = turning_point(lambda p: log_mixture(k, n, p, a, b) < most, 0.0, rate)
    if k < n:
        high = turning_point(lambda p: log_mixture(k, n, p, a, b) >= most, rate, 1.0)
    return (low, high) if n else (0.0, 1.0)


class Decision(enum.StrEnum):
    """What a sequential test says so far."""

    SAFE = "safe"
    UNSAFE = "unsafe"
    GO_ON = "go on"


def log_likelihood_ratio(k: int, n: int, limit: float, hoped: float) -> float:
    """Give how much likelier k of n are at the hoped rate than at the limit, as a logarithm."""
    return k * math.log(hoped / limit) + (n - k) * (math.log1p(-hoped) - math.log1p(-limit))


def sprt(k: int, n: int, limit: float, hoped: float, alpha: float, beta: float) -> Decision:
    """Decide between the limit and a hoped rate below it, after any number of runs.

    Wald, "Sequential tests of statistical hypotheses", Annals of Mathematical Statistics 16
    (1945), 117-186. It says safe at a rate of the limit or above with probability `alpha`, and
    unsafe at the hoped rate or below with probability `beta`, at the most. What lies between the
    two may go either way.
    """
    ratio = log_likelihood_ratio(k, n, limit, hoped)
    if ratio >= -math.log(alpha):
        return Decision.SAFE
    return Decision.UNSAFE if ratio <= math.log(beta) else Decision.GO_ON


@attrs.frozen
class Gate:
    """Judges a rate against a limit at every look; both numbers are chosen before there are data.

    Half of the stake is on Wald's test of the limit against a tenth of it, which opens first where
    nothing mismatches (3,800 runs for a limit of 0.1 % at 95 %); half is on the mixture, which
    opens in the end for any rate below the limit. The mean of two e-processes is one. `upper` is at
    the limit or below exactly where the gate is open.
    """

    limit: float
    alpha: float

    def evidence(self, k: int, n: int, p: float) -> float:
        """Give the logarithm of what is won on "the rate is below p", for p above k / n."""
        if p >= 1.0:
            return math.inf if k < n else -math.inf
        quick = log_likelihood_ratio(k, n, p, p / _FAR)
        steady = log_mixture(k, n, p, 1.0, 1.0 / self.limit)
        most = max(quick, steady)
        return most + math.log((math.exp(quick - most) + math.exp(steady - most)) / 2)

    def is_open(self, k: int, n: int) -> bool:
        """Whether the rate is below the limit, as far as k of n tell."""
        return k < n * self.limit and self.evidence(k, n, self.limit) >= -math.log(self.alpha)

    def upper(self, k: int, n: int) -> float:
        """Give the upper bound of the rate after k of n."""
        check(k, n, self.alpha)
        if k == n:
            return 1.0
        most = -math.log(self.alpha)
        return turning_point(lambda p: self.evidence(k, n, p) >= most, k / n, 1.0)

    def lower(self, k: int, n: int) -> float:
        """Give the lower bound of the rate after k of n, from a mixture that suits any rate."""
        return confidence_sequence(k, n, self.alpha, _JEFFREYS, _JEFFREYS)[0]

    def needed(self, k: int, n: int) -> int:
        """Give how many more runs, all without a mismatch, would open the gate."""
        check(k, n, self.alpha)
        if self.is_open(k, n):
            return 0
        too_few, enough = 0, 1
        while not self.is_open(k, n + enough):
            too_few, enough = enough, 2 * enough
        while enough - too_few > 1:
            middle = (too_few + enough) // 2
            too_few, enough = (too_few, middle) if self.is_open(k, n + middle) else (middle, enough)
        return enough


def ranks(n: int, q: float, alpha: float) -> tuple[int, int]:
    """Give the ranks (from 1) of the values that hold the q-quantile of n between them.

    0 and n + 1 stand for no bound. As `twinrun.analysis.bounds.ranks`, but true at every look:
    Howard and Ramdas, "Sequential estimation of quantiles with applications to A/B testing and
    best-arm identification", Bernoulli 28 (2022), 1704-1728, with the mixture as the bound.

    Raises:
        ValueError: q or alpha is not between 0 and 1.
    """
    if not 0 < q < 1:
        raise ValueError(f"a quantile lies between 0 and 1, not {q!r}")
    check(0, n, alpha)
    most = -math.log(alpha)
    middle = math.floor(n * q)

    def is_common(k: int) -> bool:
        return log_mixture(k, n, q, _JEFFREYS, _JEFFREYS) < most

    low = bisect_left(range(middle), True, key=is_common)
    high = bisect_left(range(middle + 1, n + 1), True, key=lambda k: not is_common(k))
    return low, middle + 1 + high

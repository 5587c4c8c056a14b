"""How much longer a candidate takes than the control, by quantiles and run by run, at every look.

Both come from histograms, so that an edge of a bucket stands for what lies inside: an interval is
never narrower than two buckets, 4.4 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs

from twinrun.analysis.sequential import confidence_sequence, ranks
from twinrun.histogram import SCALE, Histogram

__all__ = [
    "SlowerRuns",
    "medians_by_order",
    "orders_disagree",
    "quantile_interval",
    "ratio_interval",
    "slower_runs",
]

_MEDIAN = 0.5


def quantile_interval(histogram: Histogram, q: float, alpha: float) -> tuple[float, float]:
    """Give bounds of the q-quantile of what is being counted, in the histogram's unit.

    They are values whose ranks hold it between them (see `twinrun.analysis.sequential.ranks`), and
    wrong at any time with probability `alpha` at the most. Of too few values they are 0 and inf.
    """
    low, high = ranks(histogram.count, q, alpha)
    return (
        _edges(histogram, low)[0] if low else 0.0,
        _edges(histogram, high)[1] if high <= histogram.count else math.inf,
    )


def ratio_interval(
    candidate: Histogram, control: Histogram, q: float, alpha: float
) -> tuple[float, float]:
    """Give bounds of candidate / control, of the q-quantiles of both; each side has half of alpha.

    That holds whether or not the two depend on each other, as those of the same runs do.
    """
    low, high = quantile_interval(candidate, q, alpha / 2)
    control_low, control_high = quantile_interval(control, q, alpha / 2)
    return (
        low / control_high if control_high else math.inf,
        high / control_low if control_low else math.inf,
    )


@attrs.frozen
class SlowerRuns:
    """The share of runs in which the candidate took more than so many times the control.

    `least` and `most` of the `runs` did, since the factor lies within a bucket; `lower` and `upper`
    bound the share among all runs.
    """

    runs: int
    least: int
    most: int
    lower: float
    upper: float


def slower_runs(ratios: Mapping[str, Histogram], factor: float, alpha: float) -> SlowerRuns:
    """Count the runs in which candidate / control is above a factor, and bound their share.

    It is the sign test (Dixon and Mood, "The statistical sign test", Journal of the American
    Statistical Association 41 (1946), 557-566), true at every look. The second side finds warm
    caches, so that each order in which the two ran is bounded apart, by its part of alpha, and
    counts for as much as the other, however many runs it has.
    """
    orders = [histogram for histogram in ratios.values() if histogram.count]
    counts = [(_above(each, factor), each.count) for each in orders]
    share = alpha / max(len(orders), 1)
    bounds = [
        (
            confidence_sequence(least, runs, share, _MEDIAN, _MEDIAN)[0],
            confidence_sequence(most, runs, share, _MEDIAN, _MEDIAN)[1],
        )
        for (least, most), runs in counts
    ]
    return SlowerRuns(
        runs=sum(runs for _, runs in counts),
        least=sum(least for (least, _), _ in counts),
        most=sum(most for (_, most), _ in counts),
        lower=math.fsum(low for low, _ in bounds) / len(bounds) if bounds else 0.0,
        upper=math.fsum(high for _, high in bounds) / len(bounds) if bounds else 1.0,
    )


def medians_by_order(
    ratios: Mapping[str, Histogram], alpha: float
) -> dict[str, tuple[float, float]]:
    """Give bounds of the median of candidate / control, apart for each order in which they ran."""
    orders = {order: ratios[order] for order in sorted(ratios) if ratios[order].count}
    share = alpha / max(len(orders), 1)
    return {order: quantile_interval(each, _MEDIAN, share) for order, each in orders.items()}


def orders_disagree(medians: Mapping[str, tuple[float, float]]) -> bool:
    """Whether no one ratio lies within the bounds of every order."""
    lows = [low for low, _ in medians.values()]
    highs = [high for _, high in medians.values()]
    return bool(lows) and max(lows) > min(highs)


def _above(histogram: Histogram, factor: float) -> tuple[int, int]:
    """Count the values that are above a factor for certain, and those that may be."""
    certain = sum(n for index, n in histogram.counts.items() if _edge(index) >= factor)
    possible = sum(n for index, n in histogram.counts.items() if _edge(index + 1) > factor)
    return certain, possible


def _edges(histogram: Histogram, rank: int) -> tuple[float, float]:
    """Give both edges of the bucket that holds the value of a rank (from 1)."""
    left = rank - histogram.zero
    if left <= 0:
        return 0.0, 0.0
    index = 0
    for index in sorted(histogram.counts):
        left -= histogram.counts[index]
        if left <= 0:
            break
    return _edge(index), _edge(index + 1)


def _edge(index: int) -> float:
    """Give the lower edge of a bucket, which is the upper one of that before."""
    return float(2.0 ** (index * 2.0**-SCALE))

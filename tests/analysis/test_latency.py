"""Bounds of how much longer a candidate takes: they hold what is true, at every look."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinrun.analysis.latency import (
    medians_by_order,
    orders_disagree,
    quantile_interval,
    ratio_interval,
    slower_runs,
)
from twinrun.analysis.sequential import confidence_sequence, ranks
from twinrun.histogram import Histogram
from twinrun.tally import CONTROL_FIRST, CONTROL_LAST

SECONDS = st.lists(st.floats(1e-6, 60), min_size=1, max_size=300)
QUANTILES = st.sampled_from([0.5, 0.9, 0.99])


@given(SECONDS, QUANTILES, st.floats(0.001, 0.3))
def test_a_quantile_lies_between_the_values_of_its_ranks(
    seconds: list[float], q: float, alpha: float
) -> None:
    """No further out than the edges of their buckets, 2.2 %."""
    low, high = quantile_interval(Histogram.of(seconds), q, alpha)
    first, last = ranks(len(seconds), q, alpha)
    exact = [0.0, *sorted(seconds), math.inf]
    assert exact[first] / 1.0219 <= low <= exact[first]
    assert exact[last] <= high <= exact[last] * 1.0219


@given(SECONDS, SECONDS, QUANTILES)
def test_a_ratio_is_as_far_as_both_sides_allow(
    candidate: list[float], control: list[float], q: float
) -> None:
    """The bounds turn over where the sides are exchanged."""
    sides = Histogram.of(candidate), Histogram.of(control)
    low, high = ratio_interval(*sides, q, 0.05)
    other_low, other_high = ratio_interval(*reversed(sides), q, 0.05)
    assert 0 <= low <= high
    assert low == pytest.approx(1 / other_high if other_high else math.inf)
    assert high == pytest.approx(1 / other_low if other_low else math.inf)


def test_too_few_runs_bound_nothing() -> None:
    """Ten runs say nothing of the p99, and none nothing at all."""
    few = Histogram.of([0.001] * 10)
    assert quantile_interval(few, 0.99, 0.05)[1] == math.inf
    assert ratio_interval(few, few, 0.99, 0.05)[1] == math.inf
    assert ratio_interval(Histogram(), Histogram(), 0.5, 0.05) == (0, math.inf)


def test_durations_of_zero_have_no_ratio() -> None:
    """A clock that does not tick bounds nothing."""
    zero, some = Histogram.of([0.0] * 500), Histogram.of([0.1] * 500)
    assert quantile_interval(zero, 0.5, 0.05) == (0, 0)
    assert ratio_interval(some, zero, 0.5, 0.05) == (math.inf, math.inf)
    assert ratio_interval(zero, some, 0.5, 0.05) == (0, 0)


def test_the_bounds_hold_the_true_ratio_and_close_in_on_it() -> None:
    """Of two log-normal sides with a ratio of 1.1, in all of 40 trials of growing size."""
    generator = random.Random(20_26)
    for q in (0.5, 0.9):
        for trial in range(20):
            sides = [
                Histogram.of([factor * generator.lognormvariate(-7, 0.5) for _ in range(2000)])
                for factor in (1.1, 1.0)
            ]
            low, high = ratio_interval(*sides, q, 0.05)
            assert low < 1.1 < high, trial
    assert high - low < 0.5


def test_slower_runs_are_counted_run_by_run() -> None:
    """Where the factor lies within a bucket, its runs may be slower or not."""
    ratios = {CONTROL_FIRST: Histogram.of([0.5] * 30 + [1.1] * 5 + [2.0] * 10)}
    slower = slower_runs(ratios, 1.1, 0.05)
    assert (slower.runs, slower.least, slower.most) == (45, 10, 15)
    assert slower.lower == confidence_sequence(10, 45, 0.05, 0.5, 0.5)[0]
    assert slower.upper == confidence_sequence(15, 45, 0.05, 0.5, 0.5)[1]


def test_each_order_counts_for_as_much_as_the_other() -> None:
    """Many runs in the order that suits the candidate don't outvote the few in the other."""
    ratios = {
        CONTROL_FIRST: Histogram.of([0.8] * 9000 + [1.3] * 1000),
        CONTROL_LAST: Histogram.of([1.3] * 1000),
    }
    slower = slower_runs(ratios, 1.1, 0.05)
    assert slower.most == 2000
    assert slower.lower > 0.5


def test_of_no_runs_any_share_may_be_slower() -> None:
    """Nothing was measured, nothing is bounded."""
    for ratios in ({}, {CONTROL_FIRST: Histogram()}):
        slower = slower_runs(ratios, 1.1, 0.05)
        assert (slower.runs, slower.lower, slower.upper) == (0, 0, 1)


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=50), st.floats(0.2, 5))
def test_the_exact_number_of_slower_runs_lies_between_the_counts(
    values: list[float], factor: float
) -> None:
    """Whatever the factor."""
    slower = slower_runs({CONTROL_FIRST: Histogram.of(values)}, factor, 0.05)
    assert slower.least <= sum(value > factor for value in values) <= slower.most


def test_orders_disagree_where_no_ratio_suits_both() -> None:
    """The bounds of both medians are apart; with one order there is nothing to disagree with."""
    apart = {
        CONTROL_LAST: Histogram.of([1.2] * 1000),
        CONTROL_FIRST: Histogram.of([0.8] * 1000),
    }
    medians = medians_by_order(apart, 0.05)
    assert list(medians) == [CONTROL_FIRST, CONTROL_LAST]
    assert orders_disagree(medians)
    alike = medians_by_order({order: Histogram.of([0.8] * 1000) for order in apart}, 0.05)
    assert not orders_disagree(alike)
    assert not orders_disagree({})
    assert not orders_disagree(medians_by_order({CONTROL_FIRST: apart[CONTROL_FIRST]}, 0.05))
    assert medians_by_order({CONTROL_FIRST: Histogram()}, 0.05) == {}

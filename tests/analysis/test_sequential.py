"""Bounds that hold at every look: against vectors, by their laws, and by what peeking does."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinrun.analysis import bounds, sequential
from twinrun.analysis.binomials import at_least, at_most, log_probability
from twinrun.analysis.sequential import (
    Decision,
    Gate,
    confidence_sequence,
    log_likelihood_ratio,
    log_mixture,
    sprt,
)

ALPHAS = st.floats(1e-4, 0.4)
LIMITS = st.floats(1e-5, 0.3)


@st.composite
def counts(draw: st.DrawFn, most: int = 100_000) -> tuple[int, int]:
    """Draw k of n, small counts as often as large ones."""
    n = draw(st.integers(1, most))
    return min(n, draw(st.one_of(st.integers(0, 5), st.integers(0, n)))), n


@pytest.mark.parametrize(
    ("a", "b", "k", "n", "low", "high"),
    [
        (0.5, 0.5, 0, 1000, 0, 0.00699750252143),
        (0.5, 0.5, 5, 1000, 0.000539304165844, 0.0180038588713),
        (0.5, 0.5, 50, 1000, 0.0287199172596, 0.0792395818109),
        (0.5, 0.5, 3, 1_000_000, 3.80162681e-08, 1.861979828618e-05),
        (1, 100, 0, 1000, 0, 0.00537910805327),
        (1, 100, 5, 10_000, 6.39927891853e-05, 0.00170448565456),
        (1, 1, 0, 1000, 0, 0.00985559915729),
    ],
)
def test_the_confidence_sequence_is_that_of_the_mixture(
    a: float, b: float, k: int, n: int, low: float, high: float
) -> None:
    """At 95 %, to all digits of what was computed elsewhere."""
    assert confidence_sequence(k, n, 0.05, a, b) == pytest.approx((low, high), rel=1e-9)


@pytest.mark.parametrize(("k", "won"), [(5, -2.141239172), (0, 6.023968271), (50, 37.61045552)])
def test_the_mixture_wins_by_how_far_a_rate_is_off(k: int, won: float) -> None:
    """Against 1 %, after 1,000 runs."""
    assert log_mixture(k, 1000, 0.01, 0.5, 0.5) == pytest.approx(won, rel=1e-9)


@pytest.mark.parametrize(
    ("k", "n", "ratio", "decision"),
    [
        (0, 1000, 0.900495333250, Decision.GO_ON),
        (0, 3327, 2.99594797372, Decision.SAFE),
        (1, 5000, 2.19899107792, Decision.GO_ON),
        (5, 10_000, -2.51247460913, Decision.GO_ON),
        (6, 10_000, -5.6, Decision.UNSAFE),
    ],
)
def test_the_sequential_test_decides_between_two_rates(
    k: int, n: int, ratio: float, decision: Decision
) -> None:
    """0.1 % against 0.01 %: with one mismatch it waits for longer."""
    found = log_likelihood_ratio(k, n, 1e-3, 1e-4)
    assert found == pytest.approx(ratio, rel=1e-11 if k < 6 else 1)
    assert sprt(k, n, 1e-3, 1e-4, 0.0501, 0.05) is decision


@given(st.integers(1, 10**6), ALPHAS, st.floats(1, 1e6))
def test_without_a_mismatch_the_bound_has_a_closed_form(n: int, alpha: float, b: float) -> None:
    """1 - (alpha b / (b + n))^(1 / n)."""
    low, high = confidence_sequence(0, n, alpha, 1, b)
    assert low == 0
    assert high == pytest.approx(-math.expm1(math.log(alpha * b / (b + n)) / n), rel=1e-9)


@given(counts(), ALPHAS, ALPHAS, LIMITS)
def test_bounds_move_with_what_is_counted(
    counted: tuple[int, int], alpha: float, other: float, limit: float
) -> None:
    """More mismatches raise both, more runs lower both, more confidence moves them apart."""
    k, n = counted
    gate = Gate(limit, alpha)
    low, high = gate.lower(k, n), gate.upper(k, n)
    assert 0 <= low <= k / n <= high <= 1
    assert gate.upper(k, n + 1) <= high
    assert gate.lower(k, n + 1) <= low
    if k < n:
        assert gate.upper(k + 1, n) >= high
        assert gate.lower(k + 1, n) >= low
    less, more = Gate(limit, min(alpha, other)), Gate(limit, max(alpha, other))
    assert less.lower(k, n) <= more.lower(k, n)
    assert less.upper(k, n) >= more.upper(k, n)


@given(counts(), ALPHAS)
def test_what_holds_at_every_look_is_wider_than_what_holds_at_one(
    counted: tuple[int, int], alpha: float
) -> None:
    """The price of looking whenever one likes."""
    k, n = counted
    low, high = confidence_sequence(k, n, alpha)
    one_low, one_high = bounds.interval(k, n, alpha)
    assert low <= one_low * (1 + 1e-9)
    assert high >= one_high * (1 - 1e-9)


@given(counts(), ALPHAS, LIMITS)
def test_the_gate_is_open_where_the_upper_bound_is_within_the_limit(
    counted: tuple[int, int], alpha: float, limit: float
) -> None:
    """Bound and test never contradict each other."""
    k, n = counted
    gate = Gate(limit, alpha)
    upper = gate.upper(k, n)
    if abs(upper - limit) > 1e-12:
        assert gate.is_open(k, n) is (upper < limit)


@given(counts(10_000), ALPHAS, LIMITS)
def test_the_runs_that_are_needed_open_the_gate_and_no_fewer(
    counted: tuple[int, int], alpha: float, limit: float
) -> None:
    """With one run less, it is closed."""
    k, n = counted
    gate = Gate(limit, alpha)
    needed = gate.needed(k, n)
    assert gate.is_open(k, n + needed)
    assert needed == 0 or not gate.is_open(k, n + needed - 1)


@pytest.mark.parametrize(("limit", "needed"), [(1e-2, 379), (1e-3, 3802), (1e-4, 38_032)])
def test_without_a_mismatch_the_gate_opens_soon(limit: float, needed: int) -> None:
    """After 1.27 times as many runs as a single look would need."""
    assert Gate(limit, 0.05).needed(0, 0) == needed
    assert needed < 1.28 * bounds.runs_needed(limit, 0.05)


def test_the_gate_opens_in_the_end_for_any_rate_below_the_limit() -> None:
    """The test of two rates alone would never open at 80 % of the limit."""
    gate = Gate(1e-2, 0.05)
    assert gate.is_open(8_000, 1_000_000)
    assert sprt(8_000, 1_000_000, 1e-2, 1e-3, 0.05, 0.05) is Decision.UNSAFE
    assert gate.lower(12_000, 1_000_000) > 1e-2


@given(st.integers(0, 2000), st.floats(0.01, 0.999), ALPHAS)
def test_lasting_ranks_hold_those_for_one_look(n: int, q: float, alpha: float) -> None:
    """And the rank of the quantile itself."""
    low, high = sequential.ranks(n, q, alpha)
    inner_low, inner_high = bounds.ranks(n, q, alpha)
    assert 0 <= low <= inner_low <= n * q < inner_high <= high <= n + 1


def test_the_rarest_rate_that_a_policy_may_ask_for_has_its_numbers() -> None:
    """However many mismatches there were, and more runs than fit into 64 bits."""
    gate = Gate(1e-12, 0.01)
    assert gate.needed(0, 0) == pytest.approx(5.3e12, rel=0.1)
    assert gate.needed(10**8, 10**9) > 2**66
    assert gate.lower(10**8, 10**9) > 0.09


def test_more_than_half_is_told_from_half() -> None:
    """The sign test of durations: 48 % of 10,000 is less than half, 45 % of 1,000 not yet."""
    assert confidence_sequence(450, 1000, 0.05, 0.5, 0.5)[1] == pytest.approx(0.507737112144)
    assert confidence_sequence(4800, 10_000, 0.05, 0.5, 0.5)[1] == pytest.approx(0.499779514845)
    assert bounds.upper(460, 1000, 0.05) == pytest.approx(0.486486533646)
    assert bounds.upper(480, 1000, 0.05) == pytest.approx(0.506505221983)
    assert bounds.upper(4800, 10_000, 0.05) == pytest.approx(0.488271221289)


def test_before_there_are_runs_anything_may_be() -> None:
    """Nothing is known of none; what never matched may be always wrong."""
    assert confidence_sequence(0, 0, 0.05) == (0, 1)
    assert (Gate(0.01, 0.05).lower(0, 0), Gate(0.01, 0.05).upper(0, 0)) == (0, 1)
    assert Gate(0.01, 0.05).upper(7, 7) == 1
    assert sequential.ranks(0, 0.5, 0.05) == (0, 1)
    assert log_mixture(1, 1, 0.0, 1, 1) == log_mixture(0, 1, 1.0, 1, 1) == math.inf


@pytest.mark.parametrize(
    ("call", "arguments", "said"),
    [
        (confidence_sequence, (3, 2, 0.05), "within 0..2, not 3"),
        (confidence_sequence, (1, 2, 1.0), "between 0 and 1, not 1.0"),
        (confidence_sequence, (1, 2, 0.05, 0, 1), "a and b are above 0, not 0 and 1"),
        (Gate(0.1, 0.05).upper, (3, 2), "within 0..2, not 3"),
        (Gate(0.1, 0.05).needed, (-1, 2), "within 0..2, not -1"),
        (sequential.ranks, (5, 0.0, 0.05), "a quantile lies between 0 and 1, not 0.0"),
    ],
)
def test_what_is_no_count_or_probability_is_refused(
    call: Any, arguments: tuple[Any, ...], said: str
) -> None:
    """The text says what was given and what is accepted."""
    with pytest.raises(ValueError, match=said):
        call(*arguments)


RATE, HORIZON = 0.01, 100_000
MANY = 80  # mismatches that never come between two looks at which it could open


def ever(is_safe: Callable[[int, int], bool], horizon: int = HORIZON) -> float:
    """How likely a test ever says safe, by exact dynamic programming over every run.

    The true rate is RATE, and so is the limit: each time that it says safe, it is wrong.
    """
    left, said, n = np.ones(1), 0.0, 0  # `left[k]`: after n runs, and it never said safe
    for k in range(horizon):
        runs = range(n, horizon + 1)
        opens = n + bisect_left(runs, True, key=lambda m, k=k: is_safe(k, m))
        if opens > horizon:
            return said
        gained = range(min(opens - n, MANY) + 1)
        more = np.exp([log_probability(j, opens - n, RATE) for j in gained])
        left, n = np.convolve(left, more), opens
        left = left[: np.flatnonzero(left > 1e-18)[-1] + 1]
        said += left[k]  # fewer have said it before
        left[: k + 1] = 0.0
    raise AssertionError("unreachable: the horizon comes first")


@pytest.fixture(scope="module")
def peeked() -> dict[str, float]:
    """How often each test is wrong that is asked after every one of 100,000 runs."""
    gate, steady = Gate(RATE, 0.05), math.log(20)
    tests: dict[str, Callable[[int, int], bool]] = {
        "Clopper-Pearson": lambda k, n: at_most(k, n, RATE) <= 0.05,
        "confidence sequence": lambda k, n: (
            k < n * RATE and log_mixture(k, n, RATE, 1, 1 / RATE) >= steady
        ),
        "sequential test": lambda k, n: sprt(k, n, RATE, RATE / 10, 0.05, 0.05) is Decision.SAFE,
        "gate": gate.is_open,
    }
    return {name: ever(test) for name, test in tests.items()}


def test_a_bound_for_one_look_is_wrong_in_40_percent_of_cases_when_it_is_looked_at_daily(
    peeked: dict[str, float],
) -> None:
    """Clopper-Pearson says 95 %, and once in a hundred thousand runs calls the limit safe."""
    assert peeked["Clopper-Pearson"] == pytest.approx(0.405, abs=0.002)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("confidence sequence", 0.030), ("sequential test", 0.050), ("gate", 0.040)],
)
def test_a_bound_for_every_look_keeps_its_word(
    peeked: dict[str, float], name: str, wrong: float
) -> None:
    """At 95 %, in 5 % of cases at the most."""
    assert peeked[name] == pytest.approx(wrong, abs=0.001)
    assert peeked[name] <= 0.05


def test_both_tails_are_counted_at_a_single_look() -> None:
    """What is asked once keeps its word: the simulation is fair to it."""
    n = 2000
    k = max(k for k in range(40) if at_most(k, n, RATE) <= 0.05)
    assert ever(lambda j, m: m >= n and j <= k, n) == pytest.approx(at_most(k, n, RATE))
    assert at_least(k + 1, n, RATE) == pytest.approx(1 - at_most(k, n, RATE))

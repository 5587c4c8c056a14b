"""Exact bounds for one look: against vectors from elsewhere, and by their laws."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinrun.analysis import bounds
from twinrun.analysis.binomials import at_least, at_most, log_beta, log_probability

# k, n, alpha, upper, lower; computed with 40 digits.
CLOPPER_PEARSON = [
    (0, 10, 0.05, 0.258865550893052, 0.0),
    (0, 100, 0.05, 0.0295130496070399, 0.0),
    (0, 2995, 0.05, 0.000999744420901142, 0.0),
    (0, 4603, 0.01, 0.00099997116735839, 0.0),
    (1, 100, 0.05, 0.0465598114535389, 0.000512801416262292),
    (1, 10_000, 0.05, 0.000474297659165437, 5.1293162837673e-06),
    (2, 1000, 0.05, 0.00628228454672343, 0.000355476133477597),
    (3, 1_000_000, 0.05, 7.75363809884006e-06, 8.17691930546318e-07),
    (5, 100, 0.025, 0.112834911105463, 0.0164318791820522),
    (10, 1000, 0.01, 0.0200426059008789, 0.00414029806514473),
    (50, 1000, 0.05, 0.0628634035123797, 0.0391635359255893),
    (100, 1_000_000, 0.001, 0.000134921962960929, 7.19223712939528e-05),
    (1000, 1_000_000_000, 0.05, 1.05360309389509e-06, 9.48559873306408e-07),
]
PROBABILITIES = st.floats(1e-4, 0.5)
RATES = st.floats(1e-9, 1 - 1e-9)


@st.composite
def counts(draw: st.DrawFn, most: int = 3000) -> tuple[int, int]:
    """Draw k of n, small counts as often as large ones."""
    n = draw(st.integers(1, most))
    return min(n, draw(st.one_of(st.integers(0, 5), st.integers(0, n)))), n


@pytest.mark.parametrize(("k", "n", "alpha", "upper", "lower"), CLOPPER_PEARSON)
def test_the_bounds_are_those_of_clopper_and_pearson(
    k: int, n: int, alpha: float, upper: float, lower: float
) -> None:
    """To 14 digits, up to a thousand million runs."""
    assert bounds.upper(k, n, alpha) == pytest.approx(upper, rel=1e-14)
    assert bounds.lower(k, n, alpha) == pytest.approx(lower, rel=1e-14)


@pytest.mark.parametrize(
    ("limit", "needed"),
    [
        (1e-2, (299, 459, 688)),
        (1e-3, (2995, 4603, 6905)),
        (1e-4, (29_956, 46_050, 69_075)),
        (1e-5, (299_572, 460_515, 690_773)),
        (1e-6, (2_995_731, 4_605_168, 6_907_752)),
    ],
)
def test_a_limit_needs_its_number_of_runs(limit: float, needed: tuple[int, ...]) -> None:
    """It is the least number that brings the bound there, at 95, 99 and 99.9 %."""
    for alpha, n in zip((0.05, 0.01, 0.001), needed, strict=True):
        assert bounds.runs_needed(limit, alpha) == n
        assert bounds.upper(0, n, alpha) <= limit < bounds.upper(0, n - 1, alpha)


@given(st.integers(30, 10**9))
def test_no_mismatch_at_all_gives_the_rule_of_three(n: int) -> None:
    """The 95 % bound is a little below 3 / n."""
    assert 0.95 * 3 / n < bounds.upper(0, n, 0.05) < 3 / n


@given(counts(), PROBABILITIES)
def test_bounds_hold_the_rate_that_was_seen(counted: tuple[int, int], alpha: float) -> None:
    """0 <= lower <= k / n <= upper <= 1, and both sides at once are wider than each alone."""
    k, n = counted
    low, high = bounds.interval(k, n, alpha)
    assert 0 <= low <= bounds.lower(k, n, alpha) <= k / n <= bounds.upper(k, n, alpha) <= high <= 1


@given(counts(), PROBABILITIES, PROBABILITIES)
def test_bounds_move_with_what_is_counted(
    counted: tuple[int, int], alpha: float, other: float
) -> None:
    """More mismatches raise both, more runs lower both, more confidence moves them apart."""
    k, n = counted
    low, high = bounds.lower(k, n, alpha), bounds.upper(k, n, alpha)
    if k < n:
        assert bounds.lower(k + 1, n, alpha) > low
        assert bounds.upper(k + 1, n, alpha) > high or high == 1
    assert bounds.lower(k, n + 1, alpha) <= low
    assert bounds.upper(k, n + 1, alpha) < high or k == n
    less, more = sorted((alpha, other))
    assert bounds.lower(k, n, less) <= bounds.lower(k, n, more)
    assert bounds.upper(k, n, less) >= bounds.upper(k, n, more)


@given(counts(), PROBABILITIES, RATES)
def test_a_rate_is_out_of_bounds_where_its_test_says_so(
    counted: tuple[int, int], alpha: float, rate: float
) -> None:
    """Above the upper bound, so few are seen with probability alpha at the most."""
    k, n = counted
    for beyond, tail in (
        (rate - bounds.upper(k, n, alpha), at_most(k, n, rate)),
        (bounds.lower(k, n, alpha) - rate, at_least(k, n, rate)),
    ):
        if abs(beyond) > 1e-12:
            assert (tail <= alpha * (1 + 1e-9)) if beyond > 0 else (tail >= alpha * (1 - 1e-9))


@given(counts(), PROBABILITIES)
def test_the_two_bounds_mirror_each_other(counted: tuple[int, int], alpha: float) -> None:
    """What bounds mismatches from above bounds matches from below."""
    k, n = counted
    assert bounds.lower(n - k, n, alpha) == pytest.approx(1 - bounds.upper(k, n, alpha), abs=1e-12)


@given(st.integers(1, 200), RATES)
def test_all_probabilities_add_up_to_one(n: int, rate: float) -> None:
    """Of each count, and of the two sides of any cut."""
    each = [math.exp(log_probability(k, n, rate)) for k in range(n + 1)]
    assert math.fsum(each) == pytest.approx(1)
    for k in (0, n // 3, n):
        assert at_most(k, n, rate) == pytest.approx(math.fsum(each[: k + 1]), rel=1e-9)
        assert at_least(k, n, rate) == pytest.approx(math.fsum(each[k:]), rel=1e-9)


def test_a_count_that_cannot_be_has_no_probability() -> None:
    """Fewer than none never, more than all never."""
    assert (at_most(-1, 5, 0.3), at_most(5, 5, 0.3), at_most(9, 5, 0.3)) == (0, 1, 1)
    assert (at_least(0, 5, 0.3), at_least(6, 5, 0.3), at_least(-2, 5, 0.3)) == (1, 0, 1)


@given(st.floats(0.1, 1e6), st.floats(0.1, 1e6))
def test_the_beta_function_keeps_its_recurrence(x: float, y: float) -> None:
    """B(x + 1, y) = B(x, y) x / (x + y), small and large arguments beside each other."""
    step = log_beta(x + 1, y) - log_beta(x, y)
    assert step == pytest.approx(math.log(x / (x + y)), abs=1e-12 * (1 + abs(log_beta(x, y))))
    assert log_beta(x, y) == log_beta(y, x)


@pytest.mark.parametrize(("x", "y"), [(2, 3), (1, 14), (7, 40), (20, 30), (3, 10**6)])
def test_the_beta_function_is_exact_for_whole_numbers(x: int, y: int) -> None:
    """B(x, y) = 1 / (x C(x + y - 1, x))."""
    assert log_beta(x, y) == pytest.approx(-math.log(x * math.comb(x + y - 1, x)), rel=1e-14)


@pytest.mark.parametrize(
    ("n", "q", "expected"),
    [
        (1000, 0.5, (469, 532)),
        (1000, 0.95, (936, 964)),
        (1000, 0.99, (983, 997)),
        (10_000, 0.99, (9880, 9920)),
        (10_000, 0.999, (9983, 9997)),
    ],
)
def test_ranks_hold_a_quantile_between_them(n: int, q: float, expected: tuple[int, int]) -> None:
    """Two-sided, at 95 %."""
    assert bounds.ranks(n, q, 0.05) == expected


@given(st.integers(0, 500), st.floats(0.01, 0.99), PROBABILITIES)
def test_ranks_are_the_innermost_that_are_seldom_wrong(n: int, q: float, alpha: float) -> None:
    """Each side is wrong with alpha / 2 at the most, and one rank further in with more."""
    low, high = bounds.ranks(n, q, alpha)
    assert 0 <= low <= n * q < high <= n + 1
    for at, tail in ((low, at_most(low - 1, n, q)), (high, at_least(high, n, q))):
        assert tail <= alpha / 2 or at in (0, n + 1)
    assert at_most(low, n, q) > alpha / 2 or low == math.floor(n * q)
    assert at_least(high - 1, n, q) > alpha / 2 or high == math.floor(n * q) + 1


def test_before_there_are_runs_anything_may_be() -> None:
    """Nothing is known of none."""
    assert bounds.interval(0, 0, 0.05) == (0, 1)
    assert bounds.ranks(0, 0.5, 0.05) == (0, 1)


@pytest.mark.parametrize(
    ("call", "arguments", "said"),
    [
        (bounds.upper, (3, 2, 0.05), "within 0..2, not 3"),
        (bounds.lower, (-1, 2, 0.05), "within 0..2, not -1"),
        (bounds.upper, (1, 2, 0), "between 0 and 1, not 0"),
        (bounds.lower, (1, 2, float("nan")), "not nan"),
        (bounds.runs_needed, (0, 0.05), "a limit lies between 0 and 1, not 0"),
        (bounds.runs_needed, (0.1, 1), "a probability of error lies between 0 and 1"),
        (bounds.ranks, (5, 1.0, 0.05), "a quantile lies between 0 and 1, not 1.0"),
    ],
)
def test_what_is_no_count_or_probability_is_refused(
    call: Any, arguments: tuple[Any, ...], said: str
) -> None:
    """The text says what was given and what is accepted."""
    with pytest.raises(ValueError, match=said):
        call(*arguments)

"""A histogram's buckets are OpenTelemetry's; its quantiles are within 1.1 %; merging is adding."""

from __future__ import annotations

import json
import math
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinrun.histogram import SCALE, Histogram, bucket_index

BASE = 2 ** (2**-SCALE)

measured = st.floats(min_value=1e-9, max_value=1e9)
values = st.lists(st.just(0.0) | measured, max_size=60)
histograms = st.builds(Histogram.of, values)


@pytest.mark.parametrize(
    ("value", "index"), [(0.001, -319), (0.005, -245), (0.0123, -204), (1.0, -1), (60, 189)]
)
def test_an_index_is_that_of_opentelemetrys_exponential_histogram(value: float, index: int) -> None:
    """The published vectors at scale 5 hold, one by one and counted in bulk."""
    assert bucket_index(value) == index
    assert Histogram.of([value]).counts == {index: 1}


@given(measured)
def test_a_bucket_holds_what_lies_above_its_base_and_up_to_the_next(value: float) -> None:
    """Bucket i holds base**i < value <= base**(i + 1), up to the last digits of a float."""
    index = bucket_index(value)
    assert BASE**index < value * (1 + 1e-12)
    assert value <= BASE ** (index + 1) * (1 + 1e-12)


@given(st.integers(min_value=-1000, max_value=1000))
def test_powers_of_two_close_their_bucket(exponent: int) -> None:
    """The upper end belongs to the bucket, the lower to the one before."""
    assert bucket_index(2.0**exponent) == exponent * 2**SCALE - 1


def exact_quantile(sample: list[float], q: float) -> float:
    """The value at rank ceil(q * n)."""
    return sorted(sample)[max(1, math.ceil(q * len(sample))) - 1]


@given(
    st.lists(st.just(0.0) | measured, min_size=1, max_size=200),
    st.floats(min_value=0, max_value=1),
)
def test_a_quantile_is_within_1_1_percent_of_the_exact_one(sample: list[float], q: float) -> None:
    """The relative error is bounded for any sample and any q; zero is exact."""
    exact = exact_quantile(sample, q)
    assert Histogram.of(sample).quantile(q) == pytest.approx(exact, rel=0.011, abs=0)


def test_the_stated_error_is_reached_and_not_exceeded() -> None:
    """The bound of 1.083 % is that of a bucket's ends, so it is no looser than it must be."""
    edge = Histogram.of([1.0]).quantile(0.5)
    assert edge is not None
    assert abs(edge - 1.0) == pytest.approx(0.01083, abs=1e-5)


@given(histograms.filter(lambda histogram: histogram.count), st.data())
def test_quantiles_never_fall_as_q_rises(histogram: Histogram, data: st.DataObject) -> None:
    """A higher q gives no smaller value."""
    low, high = sorted(data.draw(st.tuples(*[st.floats(min_value=0, max_value=1)] * 2)))
    low_value, high_value = histogram.quantile(low), histogram.quantile(high)
    assert low_value is not None
    assert high_value is not None
    assert low_value <= high_value


def test_nothing_has_no_quantile() -> None:
    """An empty histogram counts nothing and knows no quantile."""
    assert Histogram().quantile(0.5) is None
    assert Histogram().count == 0
    assert Histogram.of([]) == Histogram()


@pytest.mark.parametrize("q", [-0.1, 1.1, math.nan])
def test_a_quantile_outside_0_to_1_is_refused(q: float) -> None:
    """The error says what is accepted."""
    with pytest.raises(ValueError, match=r"0\.\.1"):
        Histogram.of([1.0]).quantile(q)


@pytest.mark.parametrize("wrong", [-1.0, -math.inf, math.inf, math.nan])
@pytest.mark.parametrize("company", [[], [0.0], [2.0], [0.0, 2.0]])
def test_what_is_no_finite_number_from_0_is_refused(wrong: float, company: list[float]) -> None:
    """The error names the wrong value, whatever stands beside it."""
    with pytest.raises(ValueError, match=str(wrong)):
        Histogram.of([*company, wrong])


def test_the_smallest_and_the_largest_float_have_buckets_and_quantiles() -> None:
    """67,137 buckets are all that can exist, so the size is bounded."""
    smallest, largest = math.ulp(0.0), math.nextafter(math.inf, 0)
    assert bucket_index(largest) - bucket_index(smallest) + 1 == 67_137
    assert Histogram.of([smallest]).quantile(0.5) == smallest
    assert Histogram.of([largest]).quantile(0.5) == pytest.approx(largest, rel=0.011)


def test_a_microsecond_to_a_minute_needs_828_buckets() -> None:
    """What durations really need is small."""
    assert bucket_index(60) - bucket_index(1e-6) + 1 == 828


@given(values)
def test_of_counts_every_value(sample: list[float]) -> None:
    """Nothing is lost; zeros are counted apart; any iterable serves."""
    histogram = Histogram.of(iter(sample))
    assert histogram.count == len(sample)
    assert histogram.zero == sample.count(0.0)
    assert all(count > 0 for count in histogram.counts.values())


@given(values, values)
def test_merging_is_counting_both(a: list[float], b: list[float]) -> None:
    """of(a) + of(b) == of(a + b)."""
    assert Histogram.of(a) + Histogram.of(b) == Histogram.of(a + b)


@given(histograms, histograms, histograms)
def test_addition_is_commutative_and_associative_with_an_identity(
    a: Histogram, b: Histogram, c: Histogram
) -> None:
    """Parts may be merged in any order and grouping."""
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert a + Histogram() == a


@given(histograms, histograms)
def test_subtraction_undoes_addition(a: Histogram, b: Histogram) -> None:
    """(a + b) - b == a, so what came since an earlier state can be told."""
    assert (a + b) - b == a
    assert a - a == Histogram()


@given(histograms, histograms)
def test_adding_changes_neither_part(a: Histogram, b: Histogram) -> None:
    """A sum is a new histogram."""
    before = (dict(a.counts), dict(b.counts), a.zero, b.zero)
    _ = a + b, a - b
    assert (a.counts, b.counts, a.zero, b.zero) == before


@pytest.mark.parametrize("other", [1, None, {}])
def test_only_histograms_are_added(other: Any) -> None:
    """Anything else is a TypeError."""
    with pytest.raises(TypeError):
        Histogram() + other
    with pytest.raises(TypeError):
        Histogram() - other


@given(histograms)
def test_a_histogram_survives_json(histogram: Histogram) -> None:
    """from_dict(as_dict) is the identity, through JSON text too."""
    assert Histogram.from_dict(histogram.as_dict()) == histogram
    assert Histogram.from_dict(json.loads(json.dumps(histogram.as_dict()))) == histogram


def test_another_scale_is_refused() -> None:
    """Counts of other buckets are never taken for ours."""
    with pytest.raises(ValueError, match="scale 4"):
        Histogram.from_dict({**Histogram().as_dict(), "scale": 4})


def test_it_is_immutable() -> None:
    """Values are frozen."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Histogram().zero = 1  # type: ignore[misc]

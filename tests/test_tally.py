"""Tallies of threads, processes and minutes are added, exactly."""

from __future__ import annotations

import json
import pickle
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinrun.histogram import Histogram
from twinrun.paired import PairCounts, PairedRuns
from twinrun.result import BASELINE, Outcome
from twinrun.tally import CONTROL_FIRST, CONTROL_LAST, Tally

names = st.sampled_from(["control", "api", "sql", BASELINE, "größe"])
numbers = st.integers(min_value=1, max_value=10**12)
counts = st.dictionaries(st.sampled_from(["sampled_out", "isolate", "queue_full"]), numbers)
histograms = st.builds(
    Histogram.of, st.lists(st.floats(min_value=1e-9, max_value=1e9), min_size=1, max_size=5)
)
pair_counts = st.builds(PairCounts, numbers, numbers, numbers)
paired_runs = st.builds(
    PairedRuns,
    runs=numbers,
    whole=pair_counts,
    places=st.dictionaries(st.sampled_from(["$ changed", "$.a added"]), pair_counts),
    groups=st.dictionaries(st.sampled_from(["0a", "1b"]), pair_counts),
    uncounted=st.dictionaries(st.sampled_from(["places", "groups"]), numbers),
)
tallies = st.builds(
    Tally,
    experiments=st.integers(min_value=0, max_value=10**12),
    outcomes=st.dictionaries(
        names, st.dictionaries(st.sampled_from(Outcome), numbers, min_size=1), max_size=3
    ),
    candidate_errors=st.dictionaries(names, numbers, max_size=3),
    skipped=counts,
    failures=counts,
    dropped=counts,
    durations=st.dictionaries(names, histograms, max_size=3),
    ratios=st.dictionaries(
        names,
        st.dictionaries(st.sampled_from([CONTROL_FIRST, CONTROL_LAST]), histograms, min_size=1),
        max_size=2,
    ),
    ignored=st.dictionaries(
        names,
        st.dictionaries(st.sampled_from(["path('$.a')", "known"]), numbers, min_size=1),
        max_size=2,
    ),
    unstable=st.dictionaries(names, numbers, max_size=3),
    paired=st.dictionaries(names, paired_runs, max_size=2),
)


@given(tallies, tallies, tallies)
def test_addition_is_commutative_and_associative_with_an_identity(
    a: Tally, b: Tally, c: Tally
) -> None:
    """Parts may be merged in any order and grouping."""
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert a + Tally() == a


@given(tallies, tallies)
def test_subtraction_undoes_addition(a: Tally, b: Tally) -> None:
    """(a + b) - b == a, so what came between two readings can be told."""
    assert (a + b) - b == a
    assert a - a == Tally()


@given(tallies, tallies)
def test_every_count_of_a_sum_is_the_sum_of_the_counts(a: Tally, b: Tally) -> None:
    """No count is lost, whichever side it stands on."""
    both = a + b
    assert both.experiments == a.experiments + b.experiments
    assert both.runs == a.runs + b.runs
    for outcome in Outcome:
        assert both.count(outcome) == a.count(outcome) + b.count(outcome)
    for field in ("candidate_errors", "skipped", "failures", "dropped"):
        ours, theirs, sums = (getattr(tally, field) for tally in (a, b, both))
        assert sums == {
            key: ours.get(key, 0) + theirs.get(key, 0) for key in ours.keys() | theirs.keys()
        }
    nothing = Histogram()
    for name in a.durations.keys() | b.durations.keys():
        parts = a.durations.get(name, nothing) + b.durations.get(name, nothing)
        assert both.durations[name] == parts


@given(tallies, tallies)
def test_adding_changes_neither_part(a: Tally, b: Tally) -> None:
    """A sum is a new tally."""
    before = (a.as_dict(), b.as_dict())
    _ = a + b, a - b
    assert (a.as_dict(), b.as_dict()) == before


@given(tallies)
def test_runs_are_experiments_and_skipped_runs(tally: Tally) -> None:
    """The counts add up."""
    assert tally.runs == tally.experiments + sum(tally.skipped.values())


def test_a_baseline_counts_apart() -> None:
    """A candidate's outcomes are counted over all candidates, without the baseline's."""
    tally = Tally(
        outcomes={
            "api": {Outcome.MISMATCHED: 2},
            "sql": {Outcome.MISMATCHED: 3, Outcome.MATCHED: 1},
            BASELINE: {Outcome.MISMATCHED: 100},
        }
    )
    assert tally.count(Outcome.MISMATCHED) == 5
    assert tally.count(Outcome.MATCHED) == 1
    assert tally.count(Outcome.TIMED_OUT) == 0


@given(tallies)
def test_a_tally_survives_json_and_pickle(tally: Tally) -> None:
    """from_dict(as_dict) is the identity, through JSON text too."""
    assert Tally.from_dict(tally.as_dict()) == tally
    assert Tally.from_dict(json.loads(json.dumps(tally.as_dict()))) == tally
    assert pickle.loads(pickle.dumps(tally)) == tally


def test_outcomes_read_back_are_outcomes() -> None:
    """Text becomes the enumeration's members again."""
    read = Tally.from_dict(Tally(outcomes={"api": {Outcome.IGNORED: 1}}).as_dict())
    assert [type(outcome) for outcome in read.outcomes["api"]] == [Outcome]


def test_a_tally_written_before_rules_were_counted_is_read() -> None:
    """Older stores stay readable."""
    data = Tally(experiments=3, outcomes={"api": {Outcome.IGNORED: 3}}).as_dict()
    del data["ignored"]
    assert Tally.from_dict(data) == Tally(experiments=3, outcomes={"api": {Outcome.IGNORED: 3}})


@pytest.mark.parametrize("other", [1, None, Histogram()])
def test_only_tallies_are_added(other: Any) -> None:
    """Anything else is a TypeError."""
    with pytest.raises(TypeError):
        Tally() + other
    with pytest.raises(TypeError):
        Tally() - other


def test_it_is_immutable() -> None:
    """Values are frozen."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Tally().experiments = 1  # type: ignore[misc]

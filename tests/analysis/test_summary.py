"""From readings of a store to a summary."""

from __future__ import annotations

import datetime
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinrun.analysis.summary import Example, Quantiles, Raised, example, observed, read, summarise
from twinrun.histogram import Histogram
from twinrun.observation import NOTHING
from twinrun.result import BASELINE, Outcome
from twinrun.store import ExperimentRecord, GroupRecord, Mismatch, Store, TallyIncrement
from twinrun.tally import CONTROL_FIRST, CONTROL_LAST, Tally

NOW = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)
RECORD = ExperimentRecord(name="x", first_seen=NOW, last_seen=NOW + datetime.timedelta(hours=1))
NAMES = st.sampled_from(["api", "sql", BASELINE])
TALLIES = st.builds(
    Tally,
    experiments=st.integers(0, 9),
    outcomes=st.dictionaries(
        NAMES, st.dictionaries(st.sampled_from(list(Outcome)), st.integers(1, 10**9))
    ),
    candidate_errors=st.dictionaries(NAMES, st.integers(1, 99)),
    skipped=st.dictionaries(st.sampled_from(["sample", "isolate"]), st.integers(1, 99)),
)


def group(fingerprint: str, count: int, candidate: str = "api") -> GroupRecord:
    """Make a group's record."""
    return GroupRecord(
        experiment="x",
        fingerprint=fingerprint,
        candidate=candidate,
        outcome="mismatched",
        reason=None,
        kinds=("changed",),
        paths=("$",),
        control_exception=None,
        candidate_exception=None,
        count=count,
        first_seen=NOW,
        last_seen=NOW,
        state="new",
    )


@given(TALLIES)
def test_every_count_of_the_tally_is_told(tally: Tally) -> None:
    """Runs, skipped runs, outcomes and errors are those of the tally, candidate by candidate."""
    summary = summarise(RECORD, tally, [], {})
    told = [*summary.candidates, *([summary.baseline] if summary.baseline else [])]
    assert (summary.runs, summary.experiments) == (tally.runs, tally.experiments)
    assert summary.skipped == tally.skipped
    assert {c.name for c in told} == {*tally.outcomes, *tally.candidate_errors}
    for candidate in told:
        counts = tally.outcomes.get(candidate.name, {})
        assert all(candidate.outcomes[outcome] == counts.get(outcome, 0) for outcome in Outcome)
        assert candidate.judged == sum(counts.values())
        assert candidate.errors == tally.candidate_errors.get(candidate.name, 0)


@given(TALLIES)
def test_the_match_rate_counts_all_that_was_judged(tally: Tally) -> None:
    """It is matched / judged, whatever else the outcome was; None where nothing was judged."""
    for candidate in summarise(RECORD, tally, [], {}).candidates:
        if candidate.judged == 0:
            assert candidate.match_rate is None
        else:
            assert candidate.match_rate == candidate.outcomes[Outcome.MATCHED] / candidate.judged


def test_a_baseline_stands_apart() -> None:
    """The control against itself is none of the candidates."""
    tally = Tally(outcomes={BASELINE: {Outcome.MATCHED: 1}, "api": {Outcome.MISMATCHED: 1}})
    summary = summarise(RECORD, tally, [], {})
    assert [c.name for c in summary.candidates] == ["api"]
    assert summary.baseline is not None
    assert summary.baseline.match_rate == 1


def test_quantiles_are_the_histograms() -> None:
    """Durations and ratios are read from the tally; the whole ratio is that of both orders."""
    first, last = Histogram.of([1.0, 1.5, 2.0]), Histogram.of([3.0] * 9)
    tally = Tally(
        outcomes={"api": {Outcome.MATCHED: 12}},
        durations={"control": Histogram.of([0.1, 0.2]), "api": Histogram.of([0.3])},
        ratios={"api": {CONTROL_FIRST: first, CONTROL_LAST: last}},
    )
    summary = summarise(RECORD, tally, [], {})
    (api,) = summary.candidates
    assert summary.controls == {"control": Quantiles.of(tally.durations["control"])}
    assert api.seconds == Quantiles.of(tally.durations["api"])
    assert api.ratio == Quantiles.of(first + last)
    assert api.ratio.count == 12
    assert api.ratio_by_order == {
        CONTROL_FIRST: Quantiles.of(first),
        CONTROL_LAST: Quantiles.of(last),
    }


def test_quantiles_of_nothing_are_none() -> None:
    """Where nothing was measured there is no number."""
    assert Quantiles.of(Histogram()) == Quantiles(0, None, None, None)


def test_a_control_may_have_any_name() -> None:
    """What was never judged as a candidate was the control."""
    tally = Tally(
        outcomes={"new": {Outcome.MATCHED: 1}},
        durations={"old": Histogram.of([1]), "new": Histogram.of([1])},
    )
    assert list(summarise(RECORD, tally, [], {}).controls) == ["old"]


def test_shares_are_of_the_same_candidate() -> None:
    """A group's share is its part of what its candidate's groups count, listed or not."""
    groups = [group("a", 60), group("b", 39, "sql"), group("c", 20), group("d", 1, "sql")]
    summary = summarise(RECORD, Tally(), groups, {"a": None, "b": None})
    assert [(g.record.fingerprint, g.share) for g in summary.groups] == [("a", 0.75), ("b", 0.975)]
    assert summary.group_count == 4
    assert [c.name for c in summary.candidates] == ["api", "sql"]


@pytest.mark.parametrize(
    ("observation", "side"),
    [
        ({"value": None, "exception": None}, None),
        ({"value": [1], "exception": None}, [1]),
        ({"exception": None}, NOTHING),
        ({"exception": {"type": "ValueError", "message": "no"}}, Raised("ValueError", "no")),
    ],
)
def test_a_side_is_a_value_or_raised_or_nothing(observation: dict[str, Any], side: Any) -> None:
    """None stays a value; what was raised and what is not there are told apart from it."""
    assert observed(observation) == side


def payload(control: dict[str, Any], candidate: dict[str, Any], *differences: Any) -> Any:
    """Make the part of a payload that an example is taken from."""
    return {"control": control, "candidate": {**candidate, "differences": list(differences)}}


def test_an_example_is_the_first_difference() -> None:
    """Where both sides returned, one place is shown; a side that is absent is NOTHING."""
    difference = {"path": "$.a", "kind": "removed", "control": 1}
    other = {"path": "$.b", "kind": "changed", "control": 1, "candidate": 2}
    given_payload = payload({"value": {"a": 1}}, {"value": {}}, difference, other)
    assert example(given_payload) == Example("$.a", "removed", 1, NOTHING)


def test_an_example_of_raising_shows_both_outcomes() -> None:
    """Where one side raised, what the sides came to is shown as a whole."""
    raised = {"exception": {"type": "KeyError", "message": "'a'"}}
    difference = {"path": "$", "kind": "raised"}
    shown = example(payload({"value": {"a": 1}}, raised, difference))
    assert shown == Example("$", "raised", {"a": 1}, Raised("KeyError", "'a'"))


def test_an_example_without_differences_shows_both_outcomes() -> None:
    """Where nothing was compared, such as where the time ran out, both sides are shown."""
    assert example(payload({"value": 1}, {})) == Example(None, None, 1, NOTHING)


def test_read_takes_everything_from_the_store(tmp_path: Any) -> None:
    """A store's experiment is read with its largest groups, each with its first example."""
    tally = Tally(experiments=3, outcomes={"api": {Outcome.MISMATCHED: 3}})
    difference = {"path": "$", "kind": "changed", "control": 1, "candidate": 2}
    kept = payload({"value": 1}, {"value": 2}, difference)
    with Store(tmp_path / "a.db") as store:
        store.write(
            [TallyIncrement(experiment="x", process="p", recorded_at=NOW, tally=tally)],
            [
                Mismatch(
                    experiment="x",
                    candidate="api",
                    fingerprint=fingerprint,
                    outcome="mismatched",
                    result_id=f"{number}",
                    recorded_at=NOW,
                    payload=kept,
                    host="h",
                    pid=1,
                )
                for number, fingerprint in enumerate(["a", "b", "b"])
            ],
        )
        summary = read(store, store.experiments()[0], limit=1)
    (listed,) = summary.groups
    assert (summary.name, summary.first_seen, summary.runs) == ("x", NOW, 3)
    assert (listed.record.fingerprint, listed.record.count, listed.total) == ("b", 2, 3)
    assert listed.example == Example("$", "changed", 1, 2)
    assert summary.group_count == 2


def test_an_experiment_was_seen_when_its_groups_were() -> None:
    """What a store knows of the experiment itself may lag behind."""
    later = attrs.evolve(group("a", 1), last_seen=RECORD.last_seen + datetime.timedelta(seconds=9))
    assert summarise(RECORD, Tally(), [later], {}).last_seen == later.last_seen
    assert summarise(RECORD, Tally(), [group("a", 1)], {}).last_seen == RECORD.last_seen

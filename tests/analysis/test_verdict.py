"""Verdicts: ready only where all is shown, not ready where one thing is beyond for certain."""

from __future__ import annotations

import datetime
import math
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinrun.analysis.against import Between, Pardon
from twinrun.analysis.policy import Policy
from twinrun.analysis.verdict import (
    AgeCheck,
    HiddenCheck,
    InconclusiveCheck,
    PairedCheck,
    QuantileCheck,
    RateCheck,
    RunsCheck,
    Status,
    Verdict,
    candidates,
    judge,
    read,
    worst,
)
from twinrun.analysis.window import Window
from twinrun.paired import Divergence, PairCounter, PairCounts, PairedRuns
from twinrun.result import Outcome
from twinrun.store import GroupRecord, Mismatch, Store, TallyIncrement
from twinrun.tally import CONTROL_FIRST, Tally
from verdicts import NOON, group, tally

DAY = datetime.timedelta(days=1)


def verdict_on(
    counted: Tally, groups: list[GroupRecord] | None = None, *, age: Any = None, **policy: Any
) -> Verdict:
    """Judge what was counted over all time."""
    window = Window(
        age=age or datetime.timedelta(),
        members={each.fingerprint: Between(each.count, each.count) for each in groups or []},
    )
    return judge("prices", "candidate", counted, groups or [], Policy(**policy), window)


def check_of(verdict: Verdict, name: str) -> Any:
    """Give the one check of a name."""
    [found] = [check for check in verdict.checks if check.name == name]
    return found


def test_a_candidate_without_a_mismatch_is_ready_after_enough_runs() -> None:
    """3,802 for one in a thousand at 95 %; with one fewer the evidence is not enough."""
    ready, early = verdict_on(tally(3802)), verdict_on(tally(3801))
    assert ready.status is Status.READY
    assert early.status is Status.NOT_ENOUGH_EVIDENCE
    check = check_of(early, "mismatches")
    assert isinstance(check, RateCheck)
    assert (check.needed, check.runs, check.limit) == (1, 3801, 0.001)
    assert check_of(ready, "mismatches").upper <= 0.001 < check.upper


def test_a_candidate_that_mismatches_too_often_is_not_ready() -> None:
    """The lower bound is beyond the limit."""
    verdict = verdict_on(tally(1000, {Outcome.MISMATCHED: 30}))
    assert verdict.status is Status.NOT_READY
    assert check_of(verdict, "mismatches").lower > 0.01


def test_errors_are_asked_for_apart_where_the_policy_says_so() -> None:
    """A candidate may differ more often than it may fail."""
    groups = [group("aa", 60, candidate_exception="KeyError")]
    counted = tally(10_000, {Outcome.MISMATCHED: 60}, candidate_errors={"candidate": 60})
    lax = {"max_mismatch_rate": 0.02}
    assert verdict_on(counted, groups, **lax).status is Status.READY
    strict = verdict_on(counted, groups, **lax, max_error_rate=0.001)
    assert strict.status is Status.NOT_READY
    assert check_of(strict, "errors").counted == Between(60, 60)
    assert check_of(strict, "mismatches").status is Status.READY


def test_what_could_not_be_compared_leaves_too_little_evidence() -> None:
    """However good the rest is."""
    some = tally(100_000, {Outcome.INCONCLUSIVE: 1000})
    assert verdict_on(some).status is Status.READY
    many = verdict_on(tally(100_000, {Outcome.INCONCLUSIVE: 1100}))
    assert many.status is Status.NOT_ENOUGH_EVIDENCE
    check = check_of(many, "inconclusive")
    assert isinstance(check, InconclusiveCheck)
    assert (check.counted, check.judged) == (Between(1100, 1100), 101_100)
    assert verdict_on(tally(100_000)).checks == (
        check_of(verdict_on(tally(100_000)), "mismatches"),
    )


def test_runs_and_time_are_asked_for() -> None:
    """A policy may want a week's rhythm in it."""
    policy = {"min_runs": 50_000, "min_age": "7d"}
    verdict = verdict_on(tally(40_000), age=6 * DAY, **policy)
    assert verdict.status is Status.NOT_ENOUGH_EVIDENCE
    runs, age = check_of(verdict, "runs"), check_of(verdict, "age")
    assert isinstance(runs, RunsCheck)
    assert isinstance(age, AgeCheck)
    assert (runs.runs, runs.limit, age.age, age.limit) == (40_000, 50_000, 6 * DAY, 7 * DAY)
    assert verdict_on(tally(50_000), age=7 * DAY, **policy).status is Status.READY
    bad = verdict_on(tally(1000, {Outcome.MISMATCHED: 100}), **policy)
    assert bad.status is Status.NOT_READY, "what is beyond the policy need not wait"


@pytest.mark.parametrize(
    ("slower", "status"),
    [(1.0, "ready"), (1.5, "not ready"), (1.2, "not enough evidence")],
)
def test_a_quantile_is_within_its_limit_beyond_it_or_too_near(slower: float, status: str) -> None:
    """Each quantile has its own limit."""
    verdict = verdict_on(
        tally(10_000, slower=slower, timed=10_000), max_latency_ratio={"p50": 1.2, "p99": 1.2}
    )
    assert verdict.status == status
    check = check_of(verdict, "p99")
    assert isinstance(check, QuantileCheck)
    assert check.lower <= slower <= check.upper
    assert (check.runs, check.limit) == (10_000, 1.2)


def test_durations_that_were_never_measured_are_no_evidence() -> None:
    """Neither for nor against."""
    verdict = verdict_on(tally(10_000), max_latency_ratio={"p50": 1.2}, max_paired_ratio=1.1)
    assert verdict.status is Status.NOT_ENOUGH_EVIDENCE
    assert check_of(verdict, "p50").upper == math.inf
    assert check_of(verdict, "paired").slower.upper == 1


@pytest.mark.parametrize(("slower", "status"), [(1.0, "ready"), (1.3, "not ready")])
def test_half_of_the_runs_may_be_slower_than_the_paired_ratio(slower: float, status: str) -> None:
    """A few hundred runs tell."""
    verdict = verdict_on(tally(10_000, slower=slower, timed=400), max_paired_ratio=1.1)
    assert verdict.status == status
    assert isinstance(check_of(verdict, "paired"), PairedCheck)


def test_durations_of_other_candidates_and_the_baseline_are_none_of_the_controls() -> None:
    """The control is what was never judged."""
    counted = tally(10_000, timed=10_000)
    noisy = {
        "outcomes": {**counted.outcomes, "other": {Outcome.MATCHED: 9}, "baseline": {}},
        "durations": {
            **counted.durations,
            "other": tally(1, timed=50_000, slower=9).durations["candidate"],
            "baseline": tally(1, timed=50_000, slower=9).durations["candidate"],
        },
    }
    many = Tally(experiments=10_000, ratios=counted.ratios, **noisy)
    limit = {"max_latency_ratio": {"p50": 1.2}}
    assert verdict_on(many, **limit).checks == verdict_on(counted, **limit).checks


def paired(candidate: int, baseline: int, runs: int) -> dict[str, PairedRuns]:
    """Make the pairs of one noisy group."""
    counts = PairCounts(0, candidate, baseline)
    return {
        "candidate": PairedRuns(
            runs=runs, whole=counts, groups={"noisy": counts}, places={"$.total changed": counts}
        )
    }


def test_noise_does_not_count_against_the_candidate() -> None:
    """The control differs from itself there as often; how much that may hide is bounded."""
    groups = [group("noisy", 500)]
    counted = tally(50_000, {Outcome.MISMATCHED: 500})
    assert verdict_on(counted, groups).status is Status.NOT_READY
    known = tally(50_000, {Outcome.MISMATCHED: 500}, paired=paired(98, 103, 10_000))
    verdict = verdict_on(known, groups)
    assert verdict.status is Status.READY
    assert verdict.against is not None
    assert verdict.against.pardoned[Pardon.NOISE] == Between(500, 500)
    hidden = check_of(verdict, "noise")
    assert isinstance(hidden, HiddenCheck)
    assert 0 <= hidden.lower < hidden.upper < 0.01
    assert hidden.pairs == 10_000


def test_too_few_pairs_may_hide_a_defect() -> None:
    """Six to one could be noise, and could be a candidate that is wrong in each hundredth run."""
    groups = [group("noisy", 100)]
    counted = tally(10_000, {Outcome.MISMATCHED: 100}, paired=paired(6, 1, 500))
    verdict = verdict_on(counted, groups)
    assert verdict.status is Status.NOT_ENOUGH_EVIDENCE
    assert check_of(verdict, "noise").upper > 0.01
    assert verdict_on(counted, groups, max_hidden_rate=0.1).status is Status.READY


def scattered(pairs: int) -> tuple[Tally, list[GroupRecord]]:
    """Count a candidate that is another control; the noise makes a new group each time."""
    counter = PairCounter()
    places = frozenset({"$.total changed"})
    for n in range(pairs):
        counter.add(Divergence(places, f"c{n}"), Divergence(places, f"b{n}"))
    read = {"candidate": counter.reading()}
    groups = [group(f"c{n}", 1) for n in range(pairs)]
    return tally(pairs, {Outcome.MISMATCHED: pairs}, paired=read), groups


@pytest.mark.parametrize("pairs", [50, 95, 1_200])
def test_noise_that_is_scattered_over_many_groups_hides_no_defect(pairs: int) -> None:
    """Groups that only the baseline fell into are the control's noise, told apart or not."""
    hidden = check_of(verdict_on(*scattered(pairs)), "noise")
    assert hidden.lower == 0
    assert hidden.upper < 6 / pairs + 0.01


def test_a_defect_is_not_hidden_by_groups_that_are_accepted_or_the_candidates() -> None:
    """What the control falls into there is not taken off what the candidate does elsewhere."""
    groups = [group("noisy", 60), group("aa", 60, state="accepted")]
    counts = {"noisy": PairCounts(0, 60, 40), "aa": PairCounts(0, 10, 400)}
    read = {"candidate": PairedRuns(runs=10_000, groups=counts)}
    counted = tally(10_000, {Outcome.MISMATCHED: 120}, paired=read)
    assert check_of(verdict_on(counted, groups), "noise").upper > 0.002
    # Where the candidate never fell into it, it is the control's noise.
    assert check_of(verdict_on(counted, groups[:1]), "noise").upper == 0


def test_pairs_of_older_tallies_that_were_not_told_apart_may_all_be_the_candidates() -> None:
    """They were counted for both sides together."""
    uppers = []
    for uncounted in ({}, {"groups": 900}):
        pairs = attrs.evolve(paired(98, 103, 10_000)["candidate"], uncounted=uncounted)
        counted = tally(50_000, {Outcome.MISMATCHED: 500}, paired={"candidate": pairs})
        hidden = check_of(verdict_on(counted, [group("noisy", 500)]), "noise")
        assert hidden.lower == 0
        uppers.append(hidden.upper)
    assert uppers[0] < 0.01
    assert uppers[1] > 0.08


def test_a_count_that_is_not_known_decides_only_where_both_ends_agree() -> None:
    """As of a group that began before the window."""
    groups = [group("aa", 400, state="accepted")]
    counted = tally(100_000, {Outcome.MISMATCHED: 400})

    def within(least: int, most: int) -> Status:
        window = Window(since=NOON, members={"aa": Between(least, most)})
        return judge("prices", "candidate", counted, groups, Policy(), window).status

    assert within(400, 400) is Status.READY
    assert within(0, 400) is Status.NOT_ENOUGH_EVIDENCE
    assert within(0, 20) is Status.NOT_READY


def test_an_experiment_without_a_candidate_is_not_ready_for_one() -> None:
    """There is nothing to judge."""
    window = Window()
    verdict = judge("prices", None, Tally(skipped={"sample": 9}), [], Policy(), window)
    assert verdict.status is Status.NOT_ENOUGH_EVIDENCE
    assert (verdict.against, verdict.runs, verdict.skipped) == (None, 9, {"sample": 9})
    none = judge("prices", "candidate", Tally(), [], Policy(), window)
    assert [type(check) for check in none.checks] == [RunsCheck]


@given(st.integers(0, 20_000), st.integers(0, 300), st.floats(1e-4, 0.1))
def test_more_mismatches_never_make_a_verdict_better(runs: int, wrong: int, limit: float) -> None:
    """Nor fewer runs without one."""

    def status(matched: int, mismatched: int) -> int:
        counted = tally(matched, {Outcome.MISMATCHED: mismatched})
        return list(Status).index(verdict_on(counted, max_mismatch_rate=limit).status)

    assert status(runs, wrong) <= status(runs, wrong + 1)
    if status(runs, wrong) == 0:
        assert status(runs + 1000, wrong) == 0


def test_the_worst_of_several_decides() -> None:
    """Not ready before not enough evidence before ready."""
    assert worst([]) is Status.READY
    assert worst([Status.READY, Status.NOT_ENOUGH_EVIDENCE]) is Status.NOT_ENOUGH_EVIDENCE
    assert worst([Status.NOT_READY, *Status]) is Status.NOT_READY


def test_candidates_are_those_that_were_judged() -> None:
    """The baseline is none."""
    outcomes = {name: {Outcome.MATCHED: 1} for name in ("b", "baseline", "a")}
    assert candidates(Tally(outcomes=outcomes)) == ["a", "b"]
    assert candidates(Tally()) == []


@pytest.fixture
def store(tmp_path: Path) -> Any:
    """Give a store with two days and two releases of an experiment."""
    with Store(tmp_path / "t.db") as opened:
        for day, release, matched, wrong in ((0, "v1", 100, 15), (1, "v2", 3900, 0)):
            counted = tally(matched, {Outcome.MISMATCHED: wrong} if wrong else {})
            at = NOON + day * DAY
            increment = TallyIncrement(
                experiment="prices", process="p", recorded_at=at, tally=counted, release=release
            )
            found = [
                Mismatch(
                    experiment="prices",
                    candidate="candidate",
                    fingerprint="f00d",
                    outcome="mismatched",
                    kinds=("changed",),
                    paths=("$.total",),
                    result_id=f"{day}-{n}",
                    recorded_at=at,
                    payload={"candidate": {"differences": []}, "control": {}},
                    host="h",
                    pid=1,
                    release=release,
                )
                for n in range(wrong)
            ]
            opened.write([increment], found)
        yield opened


def test_a_store_is_read_as_a_whole_from_a_moment_on_or_of_one_release(store: Store) -> None:
    """What was mended is behind, once one counts from there."""
    [whole] = read(store, "prices", Policy())
    assert (whole.status, whole.runs, whole.window.age) == (Status.NOT_READY, 4015, DAY)
    for window in ({"since": NOON + DAY / 2}, {"release": "v2"}):
        [later] = read(store, "prices", Policy(), **window)  # type: ignore[arg-type]
        assert (later.status, later.runs, later.window.age) == (Status.READY, 3900, 0 * DAY)
        assert later.against is not None
        assert later.against.mismatches == Between(0, 0)
    [accepted] = read(store, "prices", Policy(accepted=["f0"]), release="v1")
    assert accepted.against is not None
    assert accepted.against.pardoned[Pardon.ACCEPTED] == Between(15, 15)


def test_each_candidate_of_a_store_is_judged_or_those_that_are_named(store: Store) -> None:
    """An experiment that is not there has none."""
    assert [each.candidate for each in read(store, "prices", Policy())] == ["candidate"]
    assert [each.candidate for each in read(store, "prices", Policy(), only=["x"])] == ["x"]
    [nothing] = read(store, "nobody", Policy())
    assert (nothing.candidate, nothing.status) == (None, Status.NOT_ENOUGH_EVIDENCE)


def test_medians_are_told_by_order() -> None:
    """So that whoever reads them sees what warm caches do."""
    verdict = verdict_on(tally(100, slower=1.3, timed=2000))
    low, high = verdict.medians[CONTROL_FIRST]
    assert low <= 1.3 <= high

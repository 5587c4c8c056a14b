"""The verdict on a candidate: may it take over, and if not, what is in the way or wanting."""

from __future__ import annotations

import datetime
import enum
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import TypeAlias

import attrs

from twinrun.analysis.against import Against, Between, Pardon, pardons, weigh
from twinrun.analysis.latency import SlowerRuns, medians_by_order, ratio_interval, slower_runs
from twinrun.analysis.noise import Noise, Source, judged
from twinrun.analysis.policy import Policy, quantile
from twinrun.analysis.sequential import Gate, confidence_sequence
from twinrun.analysis.window import Window, open_window
from twinrun.histogram import Histogram
from twinrun.paired import PairedRuns
from twinrun.result import BASELINE
from twinrun.store import GroupRecord, Store
from twinrun.tally import Tally

__all__ = [
    "AgeCheck",
    "Check",
    "HiddenCheck",
    "InconclusiveCheck",
    "PairedCheck",
    "QuantileCheck",
    "RateCheck",
    "RunsCheck",
    "Status",
    "Verdict",
    "candidates",
    "judge",
    "read",
    "worst",
]


class Status(enum.StrEnum):
    """Whether a candidate may take over, or meets one thing that is asked of it."""

    READY = "ready"
    NOT_ENOUGH_EVIDENCE = "not enough evidence"
    NOT_READY = "not ready"


def worst(statuses: Iterable[Status]) -> Status:
    """Give the worst of several; ready of none."""
    return max(statuses, key=list(Status).index, default=Status.READY)


@attrs.frozen(kw_only=True)
class RateCheck:
    """How often runs differ (`name` is "mismatches") or fail ("errors"), with its bounds.

    `timed_out` of the `counted` had no answer in time. `needed` more runs, in all of which nothing
    is counted, would do.
    """

    status: Status
    name: str
    counted: Between
    timed_out: Between
    runs: int
    lower: float
    upper: float
    limit: float
    needed: int


@attrs.frozen(kw_only=True)
class QuantileCheck:
    """The bounds of candidate / control, of one quantile of their durations (`name` is "p99")."""

    status: Status
    name: str
    runs: int
    lower: float
    upper: float
    limit: float


@attrs.frozen(kw_only=True)
class PairedCheck:
    """In how many runs the candidate took more than `limit` times as long as the control."""

    status: Status
    slower: SlowerRuns
    limit: float
    name: str = "paired"


@attrs.frozen(kw_only=True)
class InconclusiveCheck:
    """In how many of the judged runs nothing could be compared."""

    status: Status
    counted: Between
    judged: int
    limit: float
    name: str = "inconclusive"


@attrs.frozen(kw_only=True)
class HiddenCheck:
    """How much more often the candidate may differ in what is put down to noise.

    `lower` and `upper` bound by how much of all runs it does so more often than the control from
    itself, as far as `pairs` runs tell in which both were seen.
    """

    status: Status
    pairs: int
    lower: float
    upper: float
    limit: float
    name: str = "noise"


@attrs.frozen(kw_only=True)
class RunsCheck:
    """How many runs were compared, and how many are asked for."""

    status: Status
    runs: int
    limit: int
    name: str = "runs"


@attrs.frozen(kw_only=True)
class AgeCheck:
    """Over what time runs were counted, and over what time they are asked for."""

    status: Status
    age: datetime.timedelta
    limit: datetime.timedelta
    name: str = "age"


Check: TypeAlias = (
    RateCheck | QuantileCheck | PairedCheck | InconclusiveCheck | HiddenCheck | RunsCheck | AgeCheck
)


@attrs.frozen(kw_only=True)
class Verdict:
    """Whether one candidate of an experiment may take over, by a policy.

    It is ready if every check is, and not ready if one of them is not. `candidate` is None where no
    candidate was ever judged. `runs` counts every call, `skipped` those that ran the control alone,
    by reason; `dropped` is what publishers could not keep. `against` is what was counted,
    `medians` bound the median of candidate / control by which side ran first.
    """

    experiment: str
    candidate: str | None
    policy: Policy
    window: Window
    checks: tuple[Check, ...]
    runs: int
    experiments: int
    skipped: Mapping[str, int]
    dropped: Mapping[str, int]
    against: Against | None = None
    medians: Mapping[str, tuple[float, float]] = attrs.field(factory=dict)

    @property
    def status(self) -> Status:
        """The worst of the checks."""
        return worst(check.status for check in self.checks)


def candidates(tally: Tally) -> list[str]:
    """Name the candidates that were judged, by name; the baseline is none."""
    return sorted(tally.outcomes.keys() - {BASELINE})


def read(
    store: Store,
    experiment: str,
    policy: Policy,
    *,
    since: datetime.datetime | None = None,
    release: str | None = None,
    only: Sequence[str] = (),
) -> list[Verdict]:
    """Judge the candidates of an experiment in a store, each or only those that are named.

    Counted is all of it, or what came from the minute of `since` on, or of one release of the
    application.

    Raises:
        ConfigurationError: what the policy accepts begins several groups.
    """
    tally, groups = store.tally(experiment, since, release), store.groups(experiment)
    window = open_window(store, experiment, tally, groups, since, release)
    names: Sequence[str | None] = only or candidates(tally) or [None]
    return [judge(experiment, name, tally, groups, policy, window) for name in names]


def judge(
    experiment: str,
    candidate: str | None,
    tally: Tally,
    groups: Sequence[GroupRecord],
    policy: Policy,
    window: Window,
) -> Verdict:
    """Judge one candidate by what was counted of it within a window; look as often as you like.

    `groups` are all groups of the experiment; None stands for an experiment without a candidate.
    """
    against = None
    checks = list(_floors(0, window.age, policy))
    if candidate is not None:
        noise = judged(tally.paired.get(candidate, PairedRuns()))
        pardoned = pardons(groups, candidate, policy, noise)
        own = {group.fingerprint for group in groups if group.candidate == candidate}
        against = weigh(tally, candidate, groups, pardoned, window.members)
        checks = [
            *_floors(against.runs, window.age, policy),
            *_rates(against, policy),
            *_inconclusive(against, policy),
            *_hidden(noise, pardoned, own, policy),
            *_quantiles(tally, candidate, policy),
            *_paired(tally, candidate, policy),
        ]
    return Verdict(
        experiment=experiment,
        candidate=candidate,
        policy=policy,
        window=window,
        checks=tuple(checks),
        runs=tally.runs,
        experiments=tally.experiments,
        skipped=tally.skipped,
        dropped=tally.dropped,
        against=against,
        medians=medians_by_order(tally.ratios.get(candidate or "", {}), policy.alpha),
    )


def _floors(runs: int, age: datetime.timedelta, policy: Policy) -> Iterable[Check]:
    """Ask for runs, one at the least, and for the time that they took."""
    least = max(policy.min_runs, 1)
    if policy.min_runs or not runs:
        yield RunsCheck(status=_enough(runs >= least), runs=runs, limit=least)
    if policy.min_age:
        yield AgeCheck(status=_enough(age >= policy.min_age), age=age, limit=policy.min_age)


def _rates(against: Against, policy: Policy) -> Iterable[Check]:
    """Bound the rates of mismatches and of errors."""
    if not against.runs:
        return
    yield _rate("mismatches", against.mismatches, policy.max_mismatch_rate, against, policy)
    if policy.max_error_rate is not None:
        yield _rate("errors", against.errors, policy.max_error_rate, against, policy)


def _rate(name: str, counted: Between, limit: float, against: Against, policy: Policy) -> Check:
    """Bound one rate, by the least and the most that may have been counted."""
    gate, runs = Gate(limit, policy.alpha), against.runs
    lower, upper = gate.lower(counted.least, runs), gate.upper(counted.most, runs)
    return RateCheck(
        status=_within(gate.is_open(counted.most, runs), lower > limit),
        name=name,
        counted=counted,
        timed_out=against.timed_out,
        runs=runs,
        lower=lower,
        upper=upper,
        limit=limit,
        needed=gate.needed(counted.most, runs),
    )


def _inconclusive(against: Against, policy: Policy) -> Iterable[Check]:
    """Ask that what could not be compared is little beside what could."""
    judged = against.runs + against.inconclusive.most
    if against.inconclusive.most:
        share = against.inconclusive.most / judged
        yield InconclusiveCheck(
            status=_enough(share <= policy.max_inconclusive_rate),
            counted=against.inconclusive,
            judged=judged,
            limit=policy.max_inconclusive_rate,
        )


def _hidden(
    noise: Noise | None, pardoned: Mapping[str, Pardon], own: Set[str], policy: Policy
) -> Iterable[Check]:
    """Bound by how much the candidate may be worse in what is put down to noise.

    `own` are the groups that the candidate ever fell into. Pairs that were not told apart make the
    bounds wider.
    """
    groups = {group for group, why in pardoned.items() if why is Pardon.NOISE}
    if noise is None or not groups:
        return
    alone = sum(noise.groups[group].counts.candidate for group in groups & noise.groups.keys())
    # What the control alone ever fell into is its noise, too.
    control = sum(
        finding.counts.baseline
        for group, finding in noise.groups.items()
        if group in groups or (group not in own and finding.source is not Source.CANDIDATE)
    )
    control += noise.uncounted.get("baseline_groups", 0)
    untold = noise.uncounted.get("groups", 0)
    # A group that the control alone fell into may have a place that is the candidate's.
    own_places = [f.counts for f in noise.places.values() if f.source is Source.CANDIDATE]
    doubtful = sum(each.both + each.baseline for each in own_places)
    lower = _excess(alone, control, noise.runs, policy)[0]
    upper = _excess(alone + untold, max(control - doubtful, 0), noise.runs, policy)[1]
    limit = policy.max_hidden_rate
    yield HiddenCheck(
        status=_within(upper <= limit, lower > limit),
        pairs=noise.runs,
        lower=max(lower, 0.0),
        upper=max(upper, 0.0),
        limit=limit,
    )


def _excess(candidate: int, control: int, runs: int, policy: Policy) -> tuple[float, float]:
    """Bound by how much one rate is above the other."""
    ours, theirs = (
        confidence_sequence(min(n, runs), runs, policy.alpha / 2, 0.5, 0.5)
        for n in (candidate, control)
    )
    return ours[0] - theirs[1], ours[1] - theirs[0]


def _quantiles(tally: Tally, candidate: str, policy: Policy) -> Iterable[Check]:
    """Bound the ratio of each quantile that the policy has a limit for."""
    judged = {*tally.outcomes, *tally.ratios}
    controls = (tally.durations[name] for name in tally.durations if name not in judged)
    control = sum(controls, Histogram())
    own = tally.durations.get(candidate, Histogram())
    for name, limit in policy.max_latency_ratio.items():
        low, high = ratio_interval(own, control, quantile(name), policy.alpha)
        yield QuantileCheck(
            status=_within(high <= limit, low > limit),
            name=name,
            runs=min(own.count, control.count),
            lower=low,
            upper=high,
            limit=limit,
        )


def _paired(tally: Tally, candidate: str, policy: Policy) -> Iterable[Check]:
    """Ask whether the candidate takes that much longer in half of the runs at the most."""
    if policy.max_paired_ratio is not None:
        limit = policy.max_paired_ratio
        slower = slower_runs(tally.ratios.get(candidate, {}), limit, policy.alpha)
        status = _within(slower.upper <= 0.5, slower.lower > 0.5)
        yield PairedCheck(status=status, slower=slower, limit=limit)


def _within(is_within: bool, is_beyond: bool) -> Status:
    """Say what bounds tell of a limit."""
    if is_within:
        return Status.READY
    return Status.NOT_READY if is_beyond else Status.NOT_ENOUGH_EVIDENCE


def _enough(is_enough: bool) -> Status:
    """Say what a count tells that only has to be large."""
    return Status.READY if is_enough else Status.NOT_ENOUGH_EVIDENCE

"""What a store holds of an experiment, in one value: how often, how alike, how fast."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import attrs

from twinrun.analysis.noise import Finding, Noise, judged
from twinrun.analysis.wholes import sides
from twinrun.histogram import Histogram
from twinrun.observation import NOTHING
from twinrun.paired import PairedRuns
from twinrun.result import BASELINE, Outcome
from twinrun.store import ExperimentRecord, GroupRecord, Store, controls
from twinrun.store.controls import Change
from twinrun.tally import Tally

__all__ = [
    "CandidateSummary",
    "Example",
    "ExperimentSummary",
    "GroupSummary",
    "Quantiles",
    "Raised",
    "example",
    "finding",
    "observed",
    "read",
    "summarise",
]


@attrs.frozen
class Quantiles:
    """Three quantiles of a histogram, each within 1.083 % of the exact one; None of nothing."""

    count: int
    p50: float | None
    p90: float | None
    p99: float | None

    @classmethod
    def of(cls, histogram: Histogram) -> Self:
        """Read the quantiles of a histogram, in its unit."""
        p50, p90, p99 = (histogram.quantile(q) for q in (0.5, 0.9, 0.99))
        return cls(histogram.count, p50, p90, p99)


@attrs.frozen(kw_only=True)
class CandidateSummary:
    """How one candidate did beside the control.

    `outcomes` has every outcome, with 0 where there was none; `ignored` tells by rule, the most
    frequent first, how many of the ignored ones it had part in. `seconds` are its durations;
    `ratio` is candidate / control within a run, `ratio_by_order` the same apart for runs in which
    the control ran first and last. `unstable` mismatches did not repeat; `noise` tells what is the
    candidate's from what the control differs in from itself, None where no baseline ran.
    """

    name: str
    outcomes: Mapping[Outcome, int]
    errors: int
    seconds: Quantiles
    ratio: Quantiles
    ratio_by_order: Mapping[str, Quantiles]
    ignored: Mapping[str, int] = attrs.field(factory=dict)
    unstable: int = 0
    noise: Noise | None = None

    @property
    def judged(self) -> int:
        """How many runs this candidate was judged in, whatever the outcome."""
        return sum(self.outcomes.values())

    @property
    def match_rate(self) -> float | None:
        """Matched runs as a share of all judged ones, 0..1; None where none was judged."""
        return self.outcomes[Outcome.MATCHED] / self.judged if self.judged else None


@attrs.frozen
class Raised:
    """What stands in a value's place where an exception was raised: its type and its text."""

    type: str
    message: str


@attrs.frozen
class Example:
    """One difference as it was seen.

    Each side is a cleaned value, a `Raised`, or `NOTHING` where that side has nothing. `path` and
    `kind` are None where there is no difference to point at, such as where the time ran out.
    """

    path: str | None
    kind: str | None
    control: Any
    candidate: Any


@attrs.frozen(kw_only=True)
class GroupSummary:
    """Runs that did not match for one cause.

    `total` is what all groups of its candidate come to; `example` is taken from the first exemplar,
    None where none was kept; `finding` says whether it is noise, None where that is not measured.
    """

    record: GroupRecord
    total: int
    example: Example | None
    finding: Finding | None = None

    @property
    def share(self) -> float:
        """This group's part of all that its candidate's groups count, 0..1."""
        return self.record.count / self.total if self.total else 0.0


@attrs.frozen(kw_only=True)
class ExperimentSummary:
    """All that is known of one experiment.

    `controls` are the durations of whatever was the control, in seconds: mostly one, `"control"`.
    `candidates` are sorted by name; `baseline` (the control against itself) stands apart.
    `groups` are the largest ones, of `group_count`.
    """

    name: str
    first_seen: datetime.datetime
    last_seen: datetime.datetime
    runs: int
    experiments: int
    skipped: Mapping[str, int]
    failures: Mapping[str, int]
    dropped: Mapping[str, int]
    controls: Mapping[str, Quantiles]
    candidates: tuple[CandidateSummary, ...]
    baseline: CandidateSummary | None
    groups: tuple[GroupSummary, ...]
    group_count: int
    said: Change | None = None
    """What people said of it last, while it runs."""


def _candidate(name: str, tally: Tally) -> CandidateSummary:
    """Read what a tally holds of one candidate."""
    outcomes = tally.outcomes.get(name, {})
    ratios = tally.ratios.get(name, {})
    return CandidateSummary(
        name=name,
        outcomes={outcome: outcomes.get(outcome, 0) for outcome in Outcome},
        errors=tally.candidate_errors.get(name, 0),
        seconds=Quantiles.of(tally.durations.get(name, Histogram())),
        ratio=Quantiles.of(sum(ratios.values(), Histogram())),
        ratio_by_order={order: Quantiles.of(ratios[order]) for order in sorted(ratios)},
        ignored=_by_count(tally.ignored.get(name, {})),
        unstable=tally.unstable.get(name, 0),
        noise=judged(tally.paired.get(name, PairedRuns())),
    )


def _candidate_names(tally: Tally, groups: Iterable[GroupRecord]) -> list[str]:
    """Name every candidate that anything is known of, the baseline last."""
    names = {*tally.outcomes, *tally.candidate_errors, *tally.ratios}
    names.update(group.candidate for group in groups)
    return sorted(names, key=lambda name: (name == BASELINE, name))


def _controls(tally: Tally) -> dict[str, Quantiles]:
    """Read the durations of the control: of every name that was never judged as a candidate."""
    judged = {*tally.outcomes, *tally.ratios}
    return {
        name: Quantiles.of(tally.durations[name])
        for name in sorted(tally.durations)
        if name not in judged
    }


def summarise(
    record: ExperimentRecord,
    tally: Tally,
    groups: Sequence[GroupRecord],
    examples: Mapping[str, Example | None],
) -> ExperimentSummary:
    """Say what the readings of a store come to.

    `groups` are all groups of the experiment; only those that have a key in `examples`, by their
    fingerprint, are listed.
    """
    names = _candidate_names(tally, groups)
    candidates = {name: _candidate(name, tally) for name in names}
    listed = [group for group in groups if group.fingerprint in examples]
    totals = dict.fromkeys(names, 0)
    for group in groups:
        totals[group.candidate] += group.count
    return ExperimentSummary(
        name=record.name,
        first_seen=record.first_seen,
        last_seen=max([record.last_seen, *(group.last_seen for group in groups)]),  # it may lag
        runs=tally.runs,
        experiments=tally.experiments,
        skipped=_by_count(tally.skipped),
        failures=_by_count(tally.failures),
        dropped=_by_count(tally.dropped),
        controls=_controls(tally),
        baseline=candidates.get(BASELINE),
        candidates=tuple(each for name, each in candidates.items() if name != BASELINE),
        groups=tuple(
            GroupSummary(
                record=group,
                total=totals[group.candidate],
                example=examples[group.fingerprint],
                finding=_finding(candidates[group.candidate].noise, group),
            )
            for group in listed
        ),
        group_count=len(groups),
    )


def finding(group: GroupRecord, tally: Tally) -> Finding | None:
    """Say whose a group of mismatches is; None where that is not measured."""
    return _finding(judged(tally.paired.get(group.candidate, PairedRuns())), group)


def _finding(noise: Noise | None, group: GroupRecord) -> Finding | None:
    return None if noise is None else noise.of_group(group)


def _by_count(counts: Mapping[str, int]) -> dict[str, int]:
    """Order counts, the largest first."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def observed(observation: Mapping[str, Any]) -> Any:
    """Say what one side of a payload came to: a cleaned value, `Raised` or `NOTHING`."""
    exception = observation.get("exception")
    if exception is not None:
        return Raised(exception["type"], exception["message"])
    return observation.get("value", NOTHING)


def example(payload: Mapping[str, Any]) -> Example:
    """Pick what is shown of an exemplar: both outcomes if either raised, else one difference."""
    control, candidate = observed(payload["control"]), observed(payload["candidate"])
    differences = payload["candidate"]["differences"]
    if not differences:
        return Example(None, None, control, candidate)
    first = differences[0]
    if not isinstance(control, Raised) and not isinstance(candidate, Raised):
        control, candidate = sides(payload, first)
    return Example(first["path"], first["kind"], control, candidate)


def read(store: Store, record: ExperimentRecord, limit: int) -> ExperimentSummary:
    """Read one experiment's summary from a store, with at most so many groups, the largest."""
    groups = store.groups(record.name)
    examples: dict[str, Example | None] = {}
    for group in groups[:limit]:
        kept = store.exemplars(group.fingerprint)
        examples[group.fingerprint] = example(kept[0].payload) if kept else None
    with store.reading() as connection:
        said = next(iter(controls.last(connection, record.name)), None)
    made = summarise(record, store.tally(record.name), groups, examples)
    return attrs.evolve(made, said=said)

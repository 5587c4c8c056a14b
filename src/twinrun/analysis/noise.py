"""Tells a candidate's own differences from the noise of the control, which differs from itself."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from twinrun.paired import PairCounts, PairedRuns
from twinrun.result import Outcome
from twinrun.store import GroupRecord

__all__ = ["LEVEL", "Finding", "Noise", "Source", "judged", "mcnemar", "rejected"]

LEVEL: Final = 0.01
"""The share of readings in which anything may be put down to a candidate that is no worse.

It holds for all places and groups of a candidate together, and apart for its whole values."""


class Source(enum.StrEnum):
    """Whose a difference is."""

    CANDIDATE = "candidate"
    NOISE = "noise"
    UNDECIDED = "undecided"


@attrs.frozen(kw_only=True)
class Finding:
    """What the pairs say of one place or group, or of all together.

    `source` is the candidate where it differs alone more often than chance lets it, noise where it
    does not and the control differs from itself there too, and otherwise undecided: there are too
    few pairs. `p` is the probability of as many or more where the candidate is no worse.
    """

    runs: int
    counts: PairCounts
    p: float
    source: Source

    @property
    def candidate_rate(self) -> float:
        """The share of pairs in which the candidate differs from the control, 0..1."""
        return (self.counts.both + self.counts.candidate) / self.runs

    @property
    def baseline_rate(self) -> float:
        """The share of pairs in which the control differs from itself, 0..1."""
        return (self.counts.both + self.counts.baseline) / self.runs


@attrs.frozen(kw_only=True)
class Noise:
    """What is known of one candidate: all together, by place (`"$.total changed"`), by group."""

    runs: int
    level: float
    whole: Finding
    places: Mapping[str, Finding]
    groups: Mapping[str, Finding]
    uncounted: Mapping[str, int]

    def of_group(self, group: GroupRecord) -> Finding | None:
        """Say whose a group of mismatches is, whether or not a pair fell into it.

        It is the candidate's where any of its places is. Where all of them are noise, so is what
        can't be told of the group itself: noise at several places combines to many groups. What
        is not known of its places (`"$ cut"`, `"$ more"`) is no noise. None where it is of no
        mismatches.
        """
        if group.outcome != Outcome.MISMATCHED:
            return None
        own = self.groups.get(group.fingerprint)
        if own is None:
            nothing = PairCounts()
            own = Finding(runs=self.runs, counts=nothing, p=1.0, source=Source.UNDECIDED)
        places = zip(group.paths, group.kinds, strict=False)
        known = [self.places.get(f"{path} {kind}") for path, kind in places]
        sources = {Source.UNDECIDED if each is None else each.source for each in known}
        if Source.CANDIDATE in sources:
            return attrs.evolve(own, source=Source.CANDIDATE)
        if own.source is Source.UNDECIDED and sources == {Source.NOISE}:
            return attrs.evolve(own, source=Source.NOISE)
        return own


def mcnemar(candidate: int, baseline: int) -> float:
    """Give P(Bin(n, 1/2) >= candidate), n being both numbers together: the exact one-sided test.

    Of pairs in which just one of both differs, each is as likely the candidate as the baseline if
    the candidate is but another control. McNemar, "Note on the sampling error of the difference
    between correlated proportions or percentages", Psychometrika 12 (1947), 153-157, in its exact
    form, which is a sign test. The relative error is below 1e-8 up to a million pairs.
    """
    n = candidate + baseline
    if 2 * candidate <= n:  # the other tail is the short one
        return 1.0 - mcnemar(baseline + 1, candidate - 1) if candidate else 1.0
    log_first = math.lgamma(n + 1) - math.lgamma(candidate + 1) - math.lgamma(baseline + 1)
    term = total = 1.0
    for k in range(candidate, n):
        term *= (n - k) / (k + 1)
        total += term
        if term < total * 1e-17:
            break
    return min(1.0, math.exp(log_first - n * math.log(2) + math.log(total)))


def rejected(counts: Iterable[PairCounts], level: float = LEVEL) -> list[bool]:
    """Say of each whether the candidate differs there more often than the control itself.

    The level holds for all of them together: Holm, "A simple sequentially rejective multiple test
    procedure", Scandinavian Journal of Statistics 6 (1979), 65-70. In each of its steps those that
    have too few pairs ever to be told cost the others nothing: Tarone, "A modified Bonferroni
    method for discrete data", Biometrics 46 (1990), 515-522; so it never rejects less than Holm's.
    """
    tests = list(counts)
    least = {n: 0.5 ** min(each.candidate + each.baseline, 1000) for n, each in enumerate(tests)}
    ps = [mcnemar(each.candidate, each.baseline) for each in tests]
    found = [False] * len(tests)
    while least:
        share = 1
        while sum(p <= level / share for p in least.values()) > share:
            share += 1
        told = [n for n in least if ps[n] <= level / share]
        if not told:
            break
        for n in told:
            found[n] = True
            del least[n]
    return found


def judged(paired: PairedRuns, level: float = LEVEL) -> Noise | None:
    """Say of everything that was counted in pairs whose it is; None where there were no pairs."""
    if not paired.runs:
        return None
    named = [("place", *item) for item in paired.places.items()]
    named += [("group", *item) for item in paired.groups.items()]
    real = rejected((counts for _, _, counts in named), level)
    found: dict[str, dict[str, Finding]] = {"place": {}, "group": {}}
    for (kind, key, counts), is_real in zip(named, real, strict=True):
        found[kind][key] = _finding(paired.runs, counts, is_real)
    [is_worse] = rejected([paired.whole], level)
    return Noise(
        runs=paired.runs,
        level=level,
        whole=_finding(paired.runs, paired.whole, is_worse),
        places=found["place"],
        groups=found["group"],
        uncounted=paired.uncounted,
    )


def _finding(runs: int, counts: PairCounts, is_real: bool) -> Finding:
    """Say whose a difference is; noise is only what the control itself has shown."""
    shown = counts.both + counts.baseline > 0
    source = Source.CANDIDATE if is_real else Source.NOISE if shown else Source.UNDECIDED
    p = mcnemar(counts.candidate, counts.baseline)
    return Finding(runs=runs, counts=counts, p=p, source=source)

"""Counts and latencies of every run of an experiment: exact, bounded, addable."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, Final, Self, TypeVar

import attrs

from twinrun.histogram import Histogram
from twinrun.paired import PairedRuns
from twinrun.result import BASELINE, Outcome

__all__ = ["CONTROL_FIRST", "CONTROL_LAST", "Tally"]

CONTROL_FIRST: Final = "control-first"
CONTROL_LAST: Final = "control-last"

V = TypeVar("V")
W = TypeVar("W")


def _merged(
    a: Mapping[str, V], b: Mapping[str, V], add: Callable[[V, V], V], zero: V
) -> dict[str, V]:
    """Combine two mappings key by key, leaving out what comes to nothing."""
    both = {key: add(a.get(key, zero), b.get(key, zero)) for key in {**a, **b}}
    return {key: value for key, value in both.items() if value != zero}


def _mapped(mapping: Mapping[Any, V], function: Callable[[V], W]) -> dict[str, W]:
    """Apply a function to a mapping's values, its keys as plain text in order."""
    return {str(key): function(mapping[key]) for key in sorted(mapping)}


_NOTHING_COUNTED: Mapping[Any, Any] = {}


@attrs.frozen(kw_only=True)
class Tally:
    """What every run of one experiment came to, whether or not it was published.

    - `experiments`: runs in which candidates ran; `runs` = experiments + skipped, always.
    - `outcomes[candidate][Outcome]`: how often each candidate was judged how.
    - `candidate_errors[candidate]`: how often a candidate raised.
    - `ignored[candidate][rule]`: how many of its ignored outcomes a rule had part in. Where several
      rules ignored one together, each of them counts.
    - `unstable[candidate]`: how many of its mismatches did not repeat, with `recheck`.
    - `paired[candidate]`: its runs in which the baseline was judged, too: which of them differed.
    - `skipped[reason]`: runs of the control alone; `failures[operation]`: callbacks that raised;
      `dropped[reason]`: records that a publisher could not keep.
    - `durations[name]`: seconds of the control and of each candidate, in experiments.
    - `ratios[candidate][order]`: candidate / control within a run, apart for runs in which the
      control ran first (`"control-first"`) and last (`"control-last"`): the second side finds
      warm caches.

    Tallies of threads, processes and minutes are added: `a + b`. `later - earlier` is what came
    between two readings of the same tally.
    """

    experiments: int = 0
    outcomes: Mapping[str, Mapping[Outcome, int]] = attrs.field(factory=dict)
    candidate_errors: Mapping[str, int] = attrs.field(factory=dict)
    skipped: Mapping[str, int] = attrs.field(factory=dict)
    failures: Mapping[str, int] = attrs.field(factory=dict)
    dropped: Mapping[str, int] = attrs.field(factory=dict)
    durations: Mapping[str, Histogram] = attrs.field(factory=dict)
    ratios: Mapping[str, Mapping[str, Histogram]] = attrs.field(factory=dict)
    ignored: Mapping[str, Mapping[str, int]] = attrs.field(factory=dict)
    unstable: Mapping[str, int] = attrs.field(factory=dict)
    paired: Mapping[str, PairedRuns] = attrs.field(factory=dict)

    @property
    def runs(self) -> int:
        """How often the experiment was called: experiments and skipped runs."""
        return self.experiments + sum(self.skipped.values())

    def count(self, outcome: Outcome) -> int:
        """How often any candidate (not the baseline) was judged so."""
        return sum(
            counts.get(outcome, 0) for name, counts in self.outcomes.items() if name != BASELINE
        )

    def __add__(self, other: Self) -> Self:
        if not isinstance(other, Tally):
            return NotImplemented
        return self._combined(other, operator.add)

    def __sub__(self, earlier: Self) -> Self:
        """Give what came since an earlier reading of the same tally."""
        if not isinstance(earlier, Tally):
            return NotImplemented
        return self._combined(earlier, operator.sub)

    def _combined(self, other: Self, add: Callable[[Any, Any], Any]) -> Self:
        def nested_counts(a: Mapping[Any, int], b: Mapping[Any, int]) -> Mapping[Any, int]:
            return _merged(a, b, add, 0)

        def nested_histograms(
            a: Mapping[str, Histogram], b: Mapping[str, Histogram]
        ) -> Mapping[str, Histogram]:
            return _merged(a, b, add, Histogram())

        return type(self)(
            experiments=add(self.experiments, other.experiments),
            outcomes=_merged(self.outcomes, other.outcomes, nested_counts, _NOTHING_COUNTED),
            candidate_errors=_merged(self.candidate_errors, other.candidate_errors, add, 0),
            skipped=_merged(self.skipped, other.skipped, add, 0),
            failures=_merged(self.failures, other.failures, add, 0),
            dropped=_merged(self.dropped, other.dropped, add, 0),
            durations=nested_histograms(self.durations, other.durations),
            ratios=_merged(self.ratios, other.ratios, nested_histograms, _NOTHING_COUNTED),
            ignored=_merged(self.ignored, other.ignored, nested_counts, _NOTHING_COUNTED),
            unstable=_merged(self.unstable, other.unstable, add, 0),
            paired=_merged(self.paired, other.paired, add, PairedRuns()),
        )

    def as_dict(self) -> dict[str, Any]:
        """Give the tally as JSON-ready data, which `from_dict` reads."""
        return {
            "experiments": self.experiments,
            "outcomes": _mapped(self.outcomes, lambda counts: _mapped(counts, int)),
            "candidate_errors": _mapped(self.candidate_errors, int),
            "skipped": _mapped(self.skipped, int),
            "failures": _mapped(self.failures, int),
            "dropped": _mapped(self.dropped, int),
            "durations": _mapped(self.durations, Histogram.as_dict),
            "ratios": _mapped(self.ratios, lambda orders: _mapped(orders, Histogram.as_dict)),
            "ignored": _mapped(self.ignored, lambda rules: _mapped(rules, int)),
            "unstable": _mapped(self.unstable, int),
            "paired": _mapped(self.paired, PairedRuns.as_dict),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `as_dict` gave, of an earlier version too."""
        return cls(
            experiments=data["experiments"],
            outcomes={
                name: {Outcome(outcome): n for outcome, n in counts.items()}
                for name, counts in data["outcomes"].items()
            },
            candidate_errors=dict(data["candidate_errors"]),
            skipped=dict(data["skipped"]),
            failures=dict(data["failures"]),
            dropped=dict(data["dropped"]),
            durations=_mapped(data["durations"], Histogram.from_dict),
            ratios=_mapped(data["ratios"], lambda orders: _mapped(orders, Histogram.from_dict)),
            ignored=_mapped(data.get("ignored", {}), dict),
            unstable=dict(data.get("unstable", {})),
            paired=_mapped(data.get("paired", {}), PairedRuns.from_dict),
        )

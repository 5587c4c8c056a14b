"""Runs in which a candidate and the baseline met the same call: which of them differed, and where.

Both are compared with the control. Where the candidate is no worse than the control itself, it and
the baseline are alike: each differs alone as often as the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from operator import add, sub
from typing import Any, Final, Self, TypeAlias

import attrs

__all__ = ["CUT", "LIMIT", "MORE", "Divergence", "PairCounter", "PairCounts", "PairedRuns"]

LIMIT: Final = 200
"""How many places, and how many groups, of one candidate are told apart in one process."""

CUT: Final = "cut"
"""The kind that stands at `$` for all that a comparator no longer looked at: `"$ cut"`."""

MORE: Final = "more"
"""The kind that stands at `$` in a group of mismatches for differences that were not kept.

No pair is ever counted there, so that what is not told of such a group stays undecided."""

_SIDES: Final = ("both_", "", "baseline_")  # by the position in `PairCounts`
_Combine: TypeAlias = Callable[[int, int], int]


@attrs.frozen
class Divergence:
    """Where one side of a pair differed from the control: at which places, in which group."""

    places: frozenset[str]
    group: str


@attrs.frozen
class PairCounts:
    """In how many pairs both differed from the control, the candidate alone, the baseline alone."""

    both: int = 0
    candidate: int = 0
    baseline: int = 0

    def combined(self, other: Self, combine: _Combine) -> Self:
        """Combine count by count."""
        return type(self)(*map(combine, self.as_list(), other.as_list()))

    def as_list(self) -> list[int]:
        """Give the three counts in their order."""
        return [self.both, self.candidate, self.baseline]


@attrs.frozen(kw_only=True)
class PairedRuns:
    """What the runs came to in which one candidate and the baseline were both judged.

    - `runs`: how many pairs there were; in those counted nowhere below, neither differed.
    - `whole`: pairs in which they differed anywhere at all.
    - `places`: the same by generalised path and kind, `"$.items[*].price changed"`; paths are
      cleaned like those that are stored. Where not all that differs in the candidate was found, the
      pair is the candidate's alone, at `"$ cut"`: what was not looked at counts.
    - `groups`: by fingerprint; a baseline's group is that which the candidate's would be.
    - `uncounted`: what came when there were `LIMIT` places or groups already: `"places"` and
      `"groups"` at which the candidate alone differed, with `"both_"` or `"baseline_"` before them
      for the others. Older tallies have all of them under the two bare names.
    """

    runs: int = 0
    whole: PairCounts = PairCounts()
    places: Mapping[str, PairCounts] = attrs.field(factory=dict)
    groups: Mapping[str, PairCounts] = attrs.field(factory=dict)
    uncounted: Mapping[str, int] = attrs.field(factory=dict)

    def __add__(self, other: Self) -> Self:
        if not isinstance(other, PairedRuns):
            return NotImplemented
        return self._combined(other, add)

    def __sub__(self, earlier: Self) -> Self:
        if not isinstance(earlier, PairedRuns):
            return NotImplemented
        return self._combined(earlier, sub)

    def _combined(self, other: Self, combine: _Combine) -> Self:
        uncounted = {
            key: combine(self.uncounted.get(key, 0), other.uncounted.get(key, 0))
            for key in {**self.uncounted, **other.uncounted}
        }
        return type(self)(
            runs=combine(self.runs, other.runs),
            whole=self.whole.combined(other.whole, combine),
            places=_combined(self.places, other.places, combine),
            groups=_combined(self.groups, other.groups, combine),
            uncounted={key: n for key, n in uncounted.items() if n},
        )

    def as_dict(self) -> dict[str, Any]:
        """Give it as JSON-ready data, which `from_dict` reads."""
        return {
            "runs": self.runs,
            "whole": self.whole.as_list(),
            "places": {key: self.places[key].as_list() for key in sorted(self.places)},
            "groups": {key: self.groups[key].as_list() for key in sorted(self.groups)},
            "uncounted": {key: self.uncounted[key] for key in sorted(self.uncounted)},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `as_dict` gave."""
        return cls(
            runs=data["runs"],
            whole=PairCounts(*data["whole"]),
            places={key: PairCounts(*counts) for key, counts in data.get("places", {}).items()},
            groups={key: PairCounts(*counts) for key, counts in data.get("groups", {}).items()},
            uncounted=dict(data.get("uncounted", {})),
        )


def _combined(
    ours: Mapping[str, PairCounts], theirs: Mapping[str, PairCounts], combine: _Combine
) -> dict[str, PairCounts]:
    """Combine key by key, leaving out what comes to nothing."""
    none = PairCounts()
    both = {
        key: ours.get(key, none).combined(theirs.get(key, none), combine)
        for key in {**ours, **theirs}
    }
    return {key: counts for key, counts in both.items() if counts != none}


class PairCounter:
    """Counts pairs as they come; the first `LIMIT` places and groups are told apart."""

    def __init__(self) -> None:
        self._runs = 0
        self._whole = [0, 0, 0]
        self._by: dict[str, dict[str, list[int]]] = {"places": {}, "groups": {}}
        self._uncounted: Counter[str] = Counter()

    def add(
        self,
        candidate: Divergence | None = None,
        baseline: Divergence | None = None,
    ) -> None:
        """Count one pair; a side that did not differ gives None."""
        self._runs += 1
        which = _which(candidate is not None, baseline is not None)
        if which is None:
            return
        self._whole[which] += 1
        for kind, known in self._by.items():
            ours, theirs = _keys(kind, candidate), _keys(kind, baseline)
            for key in sorted(ours | theirs):
                place = _which(key in ours, key in theirs)
                assert place is not None
                if key not in known and len(known) >= LIMIT:
                    self._uncounted[_SIDES[place] + kind] += 1
                    continue
                known.setdefault(key, [0, 0, 0])[place] += 1

    def reading(self) -> PairedRuns:
        """Give what was counted."""
        by = {
            kind: {key: PairCounts(*counts) for key, counts in known.items()}
            for kind, known in self._by.items()
        }
        return PairedRuns(
            runs=self._runs,
            whole=PairCounts(*self._whole),
            uncounted=dict(self._uncounted),
            places=by["places"],
            groups=by["groups"],
        )


def _keys(kind: str, side: Divergence | None) -> frozenset[str]:
    """Give the places or the group at which a side differed, if it did."""
    if side is None:
        return frozenset()
    return side.places if kind == "places" else frozenset({side.group})


def _which(candidate: bool, baseline: bool) -> int | None:
    """Give the position in `PairCounts` of a pair by who differed; None where neither did."""
    if candidate and baseline:
        return 0
    return 1 if candidate else 2 if baseline else None

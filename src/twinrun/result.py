"""What one experiment found out: the observations of one run, compared."""

from __future__ import annotations

import datetime
import enum
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from twinrun._pickling import pack, type_name
from twinrun.difference import Difference
from twinrun.observation import Observation

__all__ = ["BASELINE", "Comparison", "Outcome", "Recheck", "Result"]

BASELINE = "baseline"
"""The name under which the control is run once more, to see how much it differs from itself."""


class Outcome(enum.StrEnum):
    """How one candidate was judged against the control."""

    MATCHED = "matched"
    MISMATCHED = "mismatched"
    IGNORED = "ignored"
    TIMED_OUT = "timed_out"
    INCONCLUSIVE = "inconclusive"


class Recheck(enum.StrEnum):
    """What became of a mismatch when both sides ran once more, and who gave something else then."""

    REPEATED = "repeated"
    CONTROL = "control"
    CANDIDATE = "candidate"
    BOTH = "both"


@attrs.frozen(eq=False, repr=False)
class Comparison:
    """One candidate, judged.

    `reason` is a short text, None where the outcome is matched or mismatched; `fingerprint` names
    the group of mismatches with the same cause, None unless the outcome is mismatched or ignored.

    `ignored_by` names the rules that ignored differences, and `ignored_differences` holds these.
    Where the outcome is ignored, they are all of `differences`; in a mismatch, they stand beside
    those that count.

    `recheck` says of a mismatch whether it repeats, None where that was not asked or can't be told.
    It does where one of its places is the same the second time, on each side.
    """

    candidate: Observation
    outcome: Outcome
    reason: str | None = None
    differences: tuple[Difference, ...] = ()
    fingerprint: str | None = None
    ignored_by: tuple[str, ...] = ()
    ignored_differences: tuple[Difference, ...] = ()
    recheck: Recheck | None = None

    @property
    def unstable(self) -> bool:
        """Whether it is a mismatch that did not repeat."""
        return self.recheck not in (None, Recheck.REPEATED)

    def __repr__(self) -> str:
        return f"<Comparison {self.candidate.name!r} {self.outcome}>"


@attrs.frozen(eq=False, repr=False, kw_only=True)
class Result:
    """What one run of an experiment found out.

    `started_at` is UTC; `order` holds the names as they ran; `candidates` and `comparisons` stand
    as they were given, a baseline last. A Result keeps no frame alive and makes no reference cycle
    of its own: the control's exception, which belongs to the caller, is represented by a twin. It
    always pickles: what can't be pickled is an `Unpicklable` in the pickle.
    """

    id: str
    experiment: str
    started_at: datetime.datetime
    context: Mapping[str, Any]
    order: tuple[str, ...]
    control: Observation
    candidates: tuple[Observation, ...]
    comparisons: tuple[Comparison, ...]
    _clean: Callable[[Any], Any] | None = None
    _capture: str = "values"

    @property
    def matched(self) -> bool:
        """Whether every candidate matched; a baseline does not count. True where there is none."""
        return all(c.outcome is Outcome.MATCHED for c in self._judged())

    @property
    def mismatched(self) -> bool:
        """Whether any candidate mismatched; a baseline does not count."""
        return any(c.outcome is Outcome.MISMATCHED for c in self._judged())

    @property
    def ignored(self) -> bool:
        """Whether any candidate's difference was ignored, which is not the same as a match."""
        return any(c.outcome is Outcome.IGNORED for c in self._judged())

    def _judged(self) -> tuple[Comparison, ...]:
        """Give the comparisons that count: all but the baseline's."""
        return tuple(c for c in self.comparisons if c.candidate.name != BASELINE)

    def __repr__(self) -> str:
        outcomes = ", ".join(f"{c.candidate.name}: {c.outcome}" for c in self.comparisons)
        return f"<Result of {self.experiment!r} ({outcomes or 'control only'})>"

    def __reduce__(self) -> tuple[Any, ...]:
        context = [(pack(key), pack(value)) for key, value in self.context.items()]
        return _result, (
            self.id,
            self.experiment,
            self.started_at,
            context,
            self.order,
            self.control,
            self.candidates,
            self.comparisons,
            pack(self._clean),
            self._capture,
        )


def _result(
    id: str,
    experiment: str,
    started_at: datetime.datetime,
    context: list[tuple[Any, Any]],
    order: tuple[str, ...],
    control: Observation,
    candidates: tuple[Observation, ...],
    comparisons: tuple[Comparison, ...],
    clean: Any,
    capture: str,
) -> Result:
    """Rebuild a Result from its pickle."""
    return Result(
        id=id,
        experiment=experiment,
        started_at=started_at,
        context=_mapping(context),
        order=order,
        control=control,
        candidates=candidates,
        comparisons=comparisons,
        clean=clean,
        capture=capture,
    )


def _mapping(pairs: list[tuple[Any, Any]]) -> Mapping[Any, Any]:
    """Rebuild a context; a loaded key that can no longer be hashed is replaced by its type."""
    context: dict[Any, Any] = {}
    for key, value in pairs:
        try:
            context[key] = value
        except Exception:
            context[type_name(key)] = value
    return context

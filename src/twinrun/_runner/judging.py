"""Compares one candidate's observation with the control's."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from types import CoroutineType
from typing import Any, Final, TypeAlias

import attrs

from twinrun import tracebacks
from twinrun._runner.arguments import changed
from twinrun._runner.containment import contained, report
from twinrun._runner.ignoring import unignored
from twinrun._runner.isolation import is_one_shot
from twinrun._runner.recipe import Recipe
from twinrun.difference import Difference, DifferenceKind, Differences
from twinrun.fingerprints import fingerprint
from twinrun.observation import NOTHING, Observation
from twinrun.result import Comparison, Outcome

__all__ = ["Judge", "judge", "judge_late"]

_ONE_SHOT: Final = "one-shot values can't be compared without using them up"

Judge: TypeAlias = Callable[[Recipe, Observation, Observation, Mapping[str, Any]], Comparison]
"""Judges a candidate beside a control, given the run's context."""


def judge(
    recipe: Recipe,
    control: Observation,
    candidate: Observation,
    context: Mapping[str, Any],
    at: str = "$",
) -> Comparison:
    """Judge a candidate; both observations still hold the real exceptions.

    The run's context is for ignore rules. What is judged may be a part of all that they did: the
    one that is found `at` this path.
    """
    late = judge_late(recipe, candidate)
    if late is not None:
        return late
    operation = "compare_errors" if control.raised and candidate.raised else "compare"
    try:
        if control.exception is None and candidate.exception is None:
            differences = _compare_values(recipe, control.value, candidate.value)
            if differences is None:
                return Comparison(candidate, Outcome.INCONCLUSIVE, _ONE_SHOT)
        else:
            differences = _compare_errors(recipe, control, candidate)
        if recipe.compare_arguments is not None:
            operation = "compare_arguments"
            differences = changed(recipe.compare_arguments, control, candidate, differences)
        if not differences:
            return Comparison(candidate, Outcome.MATCHED)
        placed = [d if at == "$" else attrs.evolve(d, path=at + d.path[1:]) for d in differences]
        found = Differences(placed, getattr(differences, "cut", None))
        return _differing(recipe, control, candidate, context, found)
    except BaseException as error:
        if not contained(error):
            raise
        report(recipe.name, operation, error, recipe.on_failure)
        reason = f"{operation} raised {tracebacks.type_name(type(error))}"
        return Comparison(candidate, Outcome.INCONCLUSIVE, reason)
    finally:
        if candidate.value is not control.value:
            _close_unawaited(candidate.value)


def judge_late(recipe: Recipe, candidate: Observation) -> Comparison | None:
    """Judge a candidate that took too long; None where it did not."""
    limit = recipe.timeout
    if limit is None or candidate.duration <= limit:
        return None
    late = attrs.evolve(candidate, value=NOTHING, exception=None, raised_at=None, arguments=None)
    return Comparison(late, Outcome.TIMED_OUT, f"took longer than {limit:g} s")


def _compare_values(recipe: Recipe, control: Any, candidate: Any) -> Sequence[Difference] | None:
    """Say what differs between two returned values; None where they are used up by looking."""
    if (control is NOTHING) != (candidate is NOTHING):  # one of two streams has no such item
        kind = DifferenceKind.ADDED if control is NOTHING else DifferenceKind.REMOVED
        return (Difference("$", kind, control, candidate),)
    find = getattr(recipe.compare, "differences", None)
    if find is None:
        if recipe.compare(control, candidate):
            return ()
        same_type = type(control) is type(candidate)
        kind = DifferenceKind.CHANGED if same_type else DifferenceKind.TYPE
        return (Difference("$", kind, control, candidate),)
    if control is not candidate and (is_one_shot(type(control)) or is_one_shot(type(candidate))):
        return None
    found: Sequence[Difference] = find(control, candidate)
    return found


def _close_unawaited(value: Any) -> None:
    """Close a candidate's coroutine that nobody will await, so that it doesn't warn of that."""
    if type(value) is CoroutineType and inspect.getcoroutinestate(value) == inspect.CORO_CREATED:
        value.close()


def _compare_errors(
    recipe: Recipe, control: Observation, candidate: Observation
) -> Sequence[Difference]:
    """Say what differs where at least one of both raised."""
    a, b = control.exception, candidate.exception
    if b is None:
        _close_unawaited(candidate.value)
    if a is not None and b is not None and recipe.compare_errors(a, b):
        return ()
    sides = (control.value if a is None else a, candidate.value if b is None else b)
    return (Difference("$", DifferenceKind.RAISED, *sides),)


def _differing(
    recipe: Recipe,
    control: Observation,
    candidate: Observation,
    context: Mapping[str, Any],
    differences: Differences,
) -> Comparison:
    """Ask the ignore rules about differences, and name the group of those that count."""
    left: Differences = differences
    rules: tuple[str, ...] = ()
    if recipe.ignore:
        left, rules = unignored(recipe, control, candidate, context, differences)
    group = fingerprint(recipe.name, candidate.name, left or differences, control, candidate)
    if not left:
        reason = f"ignored by {'; '.join(rules)}"
        found = differences, group, rules, tuple(differences)
        return Comparison(candidate, Outcome.IGNORED, reason, *found)
    kept = set(map(id, left))
    ignored = tuple([d for d in differences if id(d) not in kept]) if rules else ()
    return Comparison(candidate, Outcome.MISMATCHED, None, left, group, rules, ignored)

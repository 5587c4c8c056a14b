"""Asks the ignore rules of an experiment about what differs."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, Final

from twinrun._runner.containment import contained, report
from twinrun._runner.recipe import Recipe
from twinrun.difference import Difference, DifferenceKind, Differences
from twinrun.ignores import Rule, name_of
from twinrun.observation import Observation
from twinrun.typing import Ignore

__all__ = ["unignored"]

_MANY_ENDED: Final = 1000
_ANY: Final = Difference("$", DifferenceKind.CHANGED)  # for rules that look at none


def unignored(
    recipe: Recipe,
    control: Observation,
    candidate: Observation,
    context: Mapping[str, Any],
    differences: Differences,
) -> tuple[Differences, tuple[str, ...]]:
    """Give the differences that count, none where all are ignored, and who ignored the others.

    Where a comparator did not find all that differs, no rule that looks at differences one by one
    can say that all are ignored: if it covers those that were found, they count nevertheless.
    """
    left, names = differences, []
    for rule in recipe.ignore:
        try:
            rest = _asked(recipe, rule, (control, candidate), context, left)
            if rest is None or len(rest) < len(left):
                names.append(name_of(rule))
        except BaseException as error:
            if not contained(error):
                raise
            report(recipe.name, "ignore", error, recipe.on_failure)
            continue
        if rest is None or not (rest or left.cut):
            return Differences(), tuple(names)
        left = rest
    return (left, tuple(names)) if left else (differences, ())


def _asked(
    recipe: Recipe,
    rule: Ignore | Rule,
    seen: tuple[Observation, Observation],
    context: Mapping[str, Any],
    left: Differences,
) -> Differences | None:
    """Give the differences that a rule leaves, None where it ignores whatever differs."""
    if not isinstance(rule, Rule):
        return None if rule(*seen) else left
    now = datetime.datetime.now(datetime.UTC)
    _say_what_ended(recipe, rule, now)
    if rule.whole:
        return None if rule.covers(_ANY, *seen, context, now) else left
    return Differences((d for d in left if not rule.covers(d, *seen, context, now)), left.cut)


_ended: Final[set[tuple[str, str]]] = set()


def _say_what_ended(recipe: Recipe, rule: Rule, now: datetime.datetime) -> None:
    """Warn once, for each experiment, of a rule that does not hold any longer."""
    for each in rule.expired(now):
        said = recipe.name, repr(each)
        if said in _ended:
            continue
        if len(_ended) > _MANY_ENDED:
            _ended.clear()
        _ended.add(said)
        from twinrun._logging import warn

        warn("ignore.expired", experiment=recipe.name, rule=str(each), until=str(each.until))

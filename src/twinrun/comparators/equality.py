"""Comparison by content: the default comparator, and what all its variants are made of."""

from __future__ import annotations

from typing import Any, Final

import attrs

from twinrun.comparators._rules import USUAL, Rules
from twinrun.comparators._verdicts import plainly_equal, same_classes
from twinrun.comparators.structural import differences
from twinrun.difference import Differences
from twinrun.errors import ConfigurationError

__all__ = ["Content", "budgeted", "content_of", "derived", "equal", "exact", "loose"]


@attrs.frozen(repr=False, eq=False)
class Content:
    """A comparator by content: equality that survives NaN, arrays, cycles and any depth.

    Made by the functions of this package, which say in `text` what it is.
    """

    text: str
    rules: Rules = USUAL

    def __call__(self, control: Any, candidate: Any) -> bool:
        """Whether the two values are equal; raises what `structural.differences` raises."""
        if control is candidate or self._trusted(control, candidate):
            return True
        return not differences(*self._projected(control, candidate), limit=1, rules=self.rules)

    def differences(self, control: Any, candidate: Any) -> Differences:
        """Say what differs: nothing exactly where the two values are equal."""
        if self._trusted(control, candidate):
            return Differences()
        return differences(*self._projected(control, candidate), rules=self.rules)

    def _trusted(self, control: Any, candidate: Any) -> bool:
        """Whether one `==` says all there is to say."""
        rules = self.rules
        if rules.trusts_eq:
            return plainly_equal(control, candidate, rules.loose)
        if rules.fields:
            return False
        return plainly_equal(control, candidate, True) and same_classes(control, candidate)

    def _projected(self, control: Any, candidate: Any) -> tuple[Any, Any]:
        """Make of both values what is compared."""
        for project in self.rules.projections:
            control, candidate = project(control, candidate)
        return control, candidate

    def __repr__(self) -> str:
        return self.text


equal: Final = Content("equal")
"""The default comparator: `==`, and where that is not True, the content, as the walk finds it.

What one `==` of the whole calls True is equal, so a list takes an array of one element for it, and
`[True]` is equal to `[1]`; but wherever two values are looked at by themselves, as the whole ones
are, a truth value is no number."""

exact: Final = Content("exact", Rules(exact=True))
"""Content and classes: `1` is not `1.0`, `[True]` not `[1]`, a tuple no list; NaN equals NaN.

It looks at every value, which takes some 20 times as long as `==` where two values are equal."""

loose: Final = Content("loose", Rules(loose=True))
"""Like `equal`, but a truth value is a number, as for Python: `True` is `1`."""


def budgeted(
    compare: Content = equal,
    *,
    nodes: int | None = None,
    depth: int | None = None,
    differences: int | None = None,
    seconds: float | None = None,
) -> Content:
    """Compare like `compare`, but look at no more than this; what is not given stays as it was.

    `nodes` counts pairs of values (1,000,000), `depth` containers around a value (1,000,000),
    `differences` those that are listed (100), `seconds` (10.0) are by the clock. What was cut off
    is told by `Differences.cut`; where nothing differed before, `BudgetExceededError` is raised.
    """
    given = {"nodes": nodes, "depth": depth, "differences": differences, "seconds": seconds}
    changed: dict[str, Any] = {n: value for n, value in given.items() if value is not None}
    content = content_of(compare, "budgeted")
    budget = attrs.evolve(content.rules.budget, **changed)
    return derived(content, "budgeted", [f"{n}={v!r}" for n, v in changed.items()], budget=budget)


def content_of(compare: Any, name: str) -> Content:
    """Give a comparator by content, or refuse another one that can't be varied."""
    if not isinstance(compare, Content):
        raise ConfigurationError(
            f"{name}(compare={compare!r}): a comparator by content is accepted: equal, exact, "
            "loose, or what approx, unordered, ignoring and the others made of one"
        )
    return compare


def derived(content: Content, name: str, arguments: list[str], **changes: Any) -> Content:
    """Make a variant of a comparator whose repr is the call that made it."""
    shown = arguments if content is equal else [*arguments, f"compare={content!r}"]
    return Content(f"{name}({', '.join(shown)})", attrs.evolve(content.rules, **changes))

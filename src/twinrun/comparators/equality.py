"""Comparison by content: the default comparator, a stricter and a looser one."""

from __future__ import annotations

from typing import Any, Final

import attrs

from twinrun.comparators._content import Content, content_of, derived
from twinrun.comparators._rules import Rules

__all__ = ["budgeted", "equal", "exact", "loose"]


equal: Final = Content("equal")
"""The default comparator: `==`, and where that is not True, the content, as the walk finds it.

What one `==` of two values of one class calls True is equal, but a truth value is no number: it is
looked for wherever two values are looked at by themselves, and at a glance in the first parts of
what `==` calls equal. So `[True]` is not equal to `[1]`, but a truth value far inside may be."""

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

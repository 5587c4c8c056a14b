"""The circumstances of a run: who goes first, and what is to be remembered of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twinrun._accounts import dice
from twinrun._runner.containment import contained, report
from twinrun._runner.recipe import Recipe

__all__ = ["context_of", "ordered"]


def ordered(recipe: Recipe, control: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Give the order of the names; a failing callable leaves it to chance."""
    order = recipe.order
    if callable(order):
        try:
            chosen_order = tuple(order(names))
            if sorted(chosen_order) != sorted(names):
                raise ValueError(f"order gave {chosen_order!r}, which is no order of {names!r}")
            return chosen_order
        except BaseException as error:
            if not contained(error):
                raise
            report(recipe.name, "order", error, recipe.on_failure)
    shuffled = list(names)
    dice.shuffle(shuffled)
    if order == "control-first":
        shuffled.sort(key=lambda name: name != control)
    elif order == "control-last":
        shuffled.sort(key=lambda name: name == control)
    return tuple(shuffled)


def context_of(
    recipe: Recipe, given: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Mapping[str, Any]:
    """Make the context: the recipe's, and over it the run's own; what fails is left out."""
    context: dict[str, Any] = {}
    for source in (recipe.context, given):
        if source is None:
            continue
        try:
            if callable(source) and not isinstance(source, Mapping):
                source = source(*args, **kwargs)
            if not isinstance(source, Mapping):
                raise TypeError(f"a context must be a mapping, not a {type(source).__qualname__}")
            context.update(source)
        except BaseException as error:
            if not contained(error):
                raise
            report(recipe.name, "context", error, recipe.on_failure)
    return context

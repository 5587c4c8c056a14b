"""Chooses, once, the function that runs an experiment: as little as its options need."""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from typing import Any, Final

import attrs

from twinrun import settings
from twinrun._kinds import Kind
from twinrun._runner.background import execute
from twinrun._runner.behaviours import Lineup
from twinrun._runner.gates import coin_of
from twinrun._runner.handover import handover, is_simple
from twinrun._runner.quick import quick
from twinrun._runner.recipe import Recipe
from twinrun._runner.scope import scope
from twinrun.comparators import equal
from twinrun.errors import ConfigurationError
from twinrun.settings import is_evidence_only

__all__ = ["runner"]

_STREAMED: Final = frozenset({Kind.GENERATOR, Kind.ASYNC_GENERATOR})


def runner(recipe: Recipe, lineup: Lineup) -> Callable[..., Any]:
    """Choose, once, the function that runs these behaviours."""
    if lineup.kind in _STREAMED:
        return _streamed(recipe, lineup)
    if lineup.kind is Kind.COROUTINE:
        return _awaited(recipe, lineup)
    if lineup.kind is not Kind.PLAIN:
        raise ConfigurationError(
            f"the control of {recipe.name!r} is a {lineup.kind.value}; "
            "this version runs plain functions only"
        )
    reason = _never(recipe, lineup)
    if reason is not None:
        return _alone(recipe, lineup, reason)
    if recipe.mode != "inline" and is_simple(recipe, lineup):
        return handover(recipe, lineup)
    if _is_simple(recipe, lineup):
        return quick(recipe, lineup)
    run = _thorough(recipe, lineup)
    return _dark(recipe, lineup, run) if recipe.sample == 0 else run


def _streamed(recipe: Recipe, lineup: Lineup) -> Callable[..., Any]:
    """Choose the function for generators; what it needs is loaded where there are any."""
    from twinrun._runner.streams import functions

    if recipe.compare_arguments is not None:
        raise ConfigurationError(
            f"the control of {recipe.name!r} is a {lineup.kind.value}, whose arguments may change "
            "while its caller looks at its items; compare_arguments is for functions that return"
        )
    if recipe.recheck:
        raise ConfigurationError(
            f"the control of {recipe.name!r} is a {lineup.kind.value}: its caller decides how far "
            "it goes, and what is sent into it, which can't be done again; recheck is for "
            "functions that return"
        )
    reason = _never(recipe, lineup)
    if reason is not None:
        return functions.as_kind(_alone(recipe, lineup, reason), lineup.kind)
    run = functions.runner(recipe, lineup)
    return functions.as_kind(_dark(recipe, lineup, run), lineup.kind) if recipe.sample == 0 else run


def _awaited(recipe: Recipe, lineup: Lineup) -> Callable[..., Any]:
    """Choose the function for coroutine functions; asyncio is loaded where there are any."""
    from twinrun._runner.quick_awaited import alone, quick_awaited

    reason = _never(recipe, lineup)
    if reason is not None:
        return alone(_alone(recipe, lineup, reason))
    return quick_awaited(recipe, lineup, _is_simple(recipe, lineup))


def _never(recipe: Recipe, lineup: Lineup) -> str | None:
    """Give the reason for which no call can ever be an experiment."""
    if settings.current.off:
        return "disabled"
    if recipe.enabled is False:
        return "enabled"
    return None if lineup.candidates or recipe.baseline else "no candidate"


def _is_simple(recipe: Recipe, lineup: Lineup) -> bool:
    """Say whether a matching run needs nothing but two calls, two clocks and `==`."""
    return (
        len(lineup.candidates) == 1
        and recipe.mode == "inline"
        and recipe.circuit is None
        and recipe.enabled is True
        and not callable(recipe.sample)
        and not callable(recipe.order)
        and not callable(recipe.isolate)
        and recipe.isolate != "deepcopy"
        and recipe.compare is equal
        and recipe.compare_arguments is None
        and not callable(recipe.context)
        and not (recipe.baseline or recipe.recheck or recipe.cpu_time)
        and not recipe.raise_on_mismatch
        and all(map(is_evidence_only, recipe.publishers or ()))
        and recipe.sample_by is None
        and recipe.run_if is None
        and recipe.timeout is None
        and recipe.before_run is None
        and recipe.after_run is None
    )


def _alone(recipe: Recipe, lineup: Lineup, reason: str) -> Callable[..., Any]:
    """Make the function for an experiment that is off for good."""
    control, current = lineup.control, settings.current
    reasons = {None: reason, "disabled": "disabled", "enabled": "enabled"}
    ticks = {blocked: recipe.account.ticker(r).ticks for blocked, r in reasons.items()}

    def run(*args: Any, **kwargs: Any) -> Any:
        next(ticks[current.blocked])
        return control(*args, **kwargs)

    return run


def _dark(recipe: Recipe, lineup: Lineup, live: Callable[..., Any]) -> Callable[..., Any]:
    """Make the function for an experiment that is off until live control says a share."""
    control, account, current = lineup.control, recipe.account, settings.current
    coin = account.coin(0.0)

    def run(*args: Any, **kwargs: Any) -> Any:
        if account.word is None and current.blocked is None:
            answer = next(coin.answers, 2)
            if not answer or (answer == 2 and not coin.ask()):
                return control(*args, **kwargs)
        return live(*args, **kwargs)

    return run


def _thorough(recipe: Recipe, lineup: Lineup) -> Callable[..., Any]:
    """Make the function that honours every option."""
    control, account, current = lineup.control, recipe.account, settings.current
    coin, is_drawn = coin_of(recipe), recipe.sample != 1
    sampled = attrs.evolve(recipe, is_sampled=True)
    ticks = {reason: account.ticker(reason).ticks for reason in ("disabled", "enabled", "reentry")}
    plain, active = current.plain, account.active

    def run(*args: Any, **kwargs: Any) -> Any:
        chosen = recipe
        if current.blocked is not None:
            next(ticks[current.blocked])
            return control(*args, **kwargs)
        if coin is not None and plain.is_open and (is_drawn or account.word is not None):
            if get_ident() in active or scope.get() is not None:
                next(ticks["reentry"])
                return control(*args, **kwargs)
            answer = next(coin.answers, 2)
            if not answer or (answer == 2 and not coin.ask()):
                return control(*args, **kwargs)
            chosen = sampled
        ending = execute(chosen, lineup, args, kwargs)
        if ending is None:
            return control(*args, **kwargs)
        if ending.error is None:
            return ending.value
        try:
            raise ending.before_raise()
        finally:
            ending.after_raise()

    return run

"""Makes, once, the function that a decorated generator function becomes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from threading import get_ident
from types import FunctionType
from typing import Any, Final

from twinrun import settings
from twinrun._kinds import Kind
from twinrun._runner.behaviours import Lineup
from twinrun._runner.gates import admits, coin_of
from twinrun._runner.recipe import Recipe
from twinrun._runner.scope import is_controlling, scope

__all__ = ["as_kind", "runner"]


_FLAGS: Final = {
    Kind.GENERATOR: inspect.CO_GENERATOR,
    Kind.ASYNC_GENERATOR: inspect.CO_ASYNC_GENERATOR,
}


def runner(recipe: Recipe, lineup: Lineup) -> Callable[..., Any]:
    """Make the function that calls these behaviours.

    Whether a call is an experiment is decided at the call. Where it is none, the control's own
    generator is what the caller gets: nothing could behave more like it, or cost less.
    """
    control, current = lineup.control, settings.current
    account, is_awaited = recipe.account, lineup.kind is Kind.ASYNC_GENERATOR
    ticks = {r: account.ticker(r).ticks for r in ("disabled", "enabled", "reentry")}
    driven = _driver(lineup.kind)

    def run(*args: Any, **kwargs: Any) -> Any:
        if current.blocked is not None:
            next(ticks[current.blocked])
        elif is_awaited and is_controlling(account):
            next(ticks["reentry"])
        elif admits(recipe, lineup, args, kwargs):
            return driven(recipe, lineup, args, kwargs)
        return control(*args, **kwargs)

    active, coin, gate = account.active, coin_of(recipe), current.plain
    if coin is None or recipe.run_if is not None:
        return as_kind(run, lineup.kind)

    def toss(*args: Any, **kwargs: Any) -> Any:
        inside = get_ident() in active or (is_awaited and is_controlling(account))
        if inside or not gate.is_open or scope.get() is not None:
            return run(*args, **kwargs)
        answer = next(coin.answers, 2)
        if not answer or (answer == 2 and not coin.ask()):
            return control(*args, **kwargs)
        return driven(recipe, lineup, args, kwargs)

    return as_kind(toss, lineup.kind)


def _driver(kind: Kind) -> Callable[..., Any]:
    """Give what makes the caller's generator; asyncio is loaded where there are async ones."""
    if kind is Kind.GENERATOR:
        from twinrun._runner.streams.inline import driven
    else:
        from twinrun._runner.streams.asynchronous import driven  # type: ignore[assignment]
    return driven


def as_kind(function: Any, kind: Kind) -> Callable[..., Any]:
    """Mark a plain function that gives generators as a generator function.

    It is what `inspect` and everybody who asks it looks at; the interpreter doesn't.
    """
    code = function.__code__.replace(co_flags=function.__code__.co_flags | _FLAGS[kind])
    return FunctionType(code, function.__globals__, function.__name__, None, function.__closure__)

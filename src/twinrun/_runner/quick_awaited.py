"""The run function for coroutine functions: quick to decide, quick where both simply match."""

from __future__ import annotations

from asyncio import Task
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from functools import partial
from time import perf_counter_ns
from types import CoroutineType
from typing import Any, Final

import attrs

from twinrun import settings
from twinrun._accounts import Pairs, dice
from twinrun._kinds import Kind, kind_of
from twinrun._runner.asynchronous import execute
from twinrun._runner.awaiting import (
    calling,
    cancels_of,
    control_raised,
    current_task,
    is_awaitable,
)
from twinrun._runner.behaviours import Lineup
from twinrun._runner.containment import contained
from twinrun._runner.driving import Drive
from twinrun._runner.endings import Ending
from twinrun._runner.gates import coin_of
from twinrun._runner.isolation import shared_types
from twinrun._runner.publishing import conclude_awaited
from twinrun._runner.quick import own_arguments, run_of
from twinrun._runner.recipe import Recipe
from twinrun._runner.reporting import fold
from twinrun._runner.scope import CANDIDATE, HOOK, Controlling, controlling, scope
from twinrun.typing import Behaviour

__all__ = ["alone", "quick_awaited"]


def alone(run_alone: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Make a coroutine function of one that counts and gives the control's coroutine."""

    async def run(*args: Any, **kwargs: Any) -> Any:
        return await run_alone(*args, **kwargs)

    return run


def quick_awaited(
    recipe: Recipe, lineup: Lineup, is_simple: bool
) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Make the run function; `is_simple` says that options need no look at a matching run."""
    control, account, current = lineup.control, recipe.account, settings.current
    coin, is_drawn = coin_of(recipe), recipe.sample != 1
    surely = partial(execute, attrs.evolve(recipe, is_sampled=coin is not None), lineup)
    ticks = {reason: account.ticker(reason).ticks for reason in ("disabled", "enabled", "reentry")}
    pair = _pair(recipe, lineup) if is_simple else None
    plain, is_enabled = current.plain, recipe.enabled is True
    gate = current.quiet if recipe.publishers is None else plain
    inside, within = scope.get, controlling.get

    async def run(*args: Any, **kwargs: Any) -> Any:
        if is_enabled and plain.is_open:
            if inside() is not None or ((mark := within()) is not None and mark.is_of(account)):
                next(ticks["reentry"])
                return await control(*args, **kwargs)
            if coin is not None and (is_drawn or account.word is not None):
                answer = next(coin.answers, 2)
                if not answer or (answer == 2 and not coin.ask()):
                    return await control(*args, **kwargs)
            begin = pair if pair is not None and gate.is_open else surely
            ending = await begin(args, kwargs)
        elif current.blocked is not None:
            next(ticks[current.blocked])
            return await control(*args, **kwargs)
        else:
            ending = await execute(recipe, lineup, args, kwargs)
        if ending is None:
            return await control(*args, **kwargs)
        if ending.error is None:
            return ending.value
        try:
            raise ending.before_raise()
        finally:
            ending.after_raise()

    return run


def _pair(recipe: Recipe, lineup: Lineup) -> Callable[..., Coroutine[Any, Any, Ending | None]]:
    """Make what runs both sides, and concludes a run that simply matches by an append."""
    [(name, candidate)] = lineup.candidates.items()
    account, control = recipe.account, lineup.control
    pairs = account.pairs(lineup.control_name, name)
    names = lineup.control_name, name
    begin: Any = Drive.quickly if kind_of(candidate) is Kind.COROUTINE else _driven
    flip, is_sharing = _FLIPS[str(recipe.order)], recipe.isolate == "share"

    async def pair(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Ending | None:
        own: Any = (args, kwargs)
        if not (is_sharing or _are_shared(args, kwargs)):
            own = own_arguments(recipe, lineup, args, kwargs)
            if own is None:
                return None
        context, task = copy_context(), current_task()
        first, start = flip(1), perf_counter_ns()
        try:
            if not first:
                other, other_ns = await begin(candidate, *own, context, task)
                if other.error is not None:
                    other.put_by()
            cancels = cancels_of(task)
            began = perf_counter_ns()
            try:
                with Controlling(account):
                    value = control(*args, **kwargs)
                    if type(value) is CoroutineType or is_awaitable(value):
                        value = await value
            except BaseException as error:
                taken = perf_counter_ns() - began
                raised = control_raised(task, cancels, error)
                if raised is None:
                    raise
                ending = raised
            else:
                taken = perf_counter_ns() - began
                ending = Ending(value)
            if first:
                other, other_ns = await begin(candidate, *own, context, task)
            is_same = _are_same(ending, other, pairs)
        except BaseException:  # aimed at the caller
            account.skip("interrupted")
            raise
        if is_same:
            buffer = pairs.control_first if first else pairs.control_last
            buffer.append((taken, other_ns))
            if len(buffer) >= account.limit:
                fold(recipe)
        else:
            facts = taken, other_ns, first, start
            try:
                await conclude_awaited(run_of(recipe, *names, ending, other, *facts))
            finally:
                other.give_up()
        return ending

    return pair


async def _driven(
    function: Behaviour,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    context: Context,
    _: Task[Any] | None,
) -> tuple[Ending, int]:
    """Drive a candidate that may give something to await."""
    context.run(scope.set, CANDIDATE)
    drive = Drive(calling(function, args, kwargs), context)
    return await drive, drive.taken_ns


_FLIPS: Final[dict[str, Callable[[int], int]]] = {
    "random": dice.getrandbits,
    "control-first": int,
    "control-last": (0).__mul__,
}
"""What gives, called with 1, whether the control is the first."""

_shared: Final = shared_types()


def _are_shared(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Say whether the candidate may have the very arguments."""
    try:
        return _shared.issuperset(map(type, args)) and (
            not kwargs or _shared.issuperset(map(type, kwargs.values()))
        )
    except BaseException as error:  # of a metaclass that can't be hashed
        if not contained(error):
            raise
        return False


def _are_same(ending: Ending, other: Ending, pairs: Pairs) -> bool:
    """Say whether both returned what is the same at first sight."""
    if ending.error is not None or other.error is not None:
        return False
    value, another = ending.value, other.value
    if value is another:
        return True
    try:
        scope.set(HOOK)  # what `==` calls is no experiment
        return (
            (value == another) is True
            and type(value) is type(another)
            and (not pairs.is_due or pairs.is_match(value, another))
        )
    except BaseException as error:
        if not contained(error):
            raise
        return False
    finally:
        scope.set(None)

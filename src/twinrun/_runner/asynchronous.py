"""Runs in the caller's task, one behaviour after the other; each may be awaited."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from time import perf_counter_ns
from typing import Any

from twinrun import settings
from twinrun._runner.awaiting import (
    Metered,
    calling,
    cancellations,
    is_awaitable,
    shorten,
)
from twinrun._runner.behaviours import Lineup
from twinrun._runner.containment import contained
from twinrun._runner.driving import Drive
from twinrun._runner.endings import Ending
from twinrun._runner.gates import Call, Plan, prepare
from twinrun._runner.inline import Turns
from twinrun._runner.recipe import Recipe
from twinrun._runner.scope import Controlling, is_controlling
from twinrun._runner.steps import Run, observed, result_of
from twinrun.observation import Observation
from twinrun.result import Result

__all__ = ["alone", "control_alone", "execute", "is_awaitable", "thorough"]


def alone(run_alone: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Make a coroutine function of one that counts and gives the control's coroutine."""

    async def run(*args: Any, **kwargs: Any) -> Any:
        return await run_alone(*args, **kwargs)

    return run


def thorough(recipe: Recipe, lineup: Lineup) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Make the function that honours every option."""
    control = lineup.control
    current = settings.current
    ticks = {reason: recipe.account.ticker(reason).ticks for reason in ("disabled", "enabled")}

    async def run(*args: Any, **kwargs: Any) -> Any:
        if current.blocked is not None:
            next(ticks[current.blocked])
            return await control(*args, **kwargs)
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


async def execute(
    recipe: Recipe,
    lineup: Lineup,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    context: Any = None,
    observe: bool = False,
) -> Ending | None:
    """Run an experiment; None, counted, where the control must run alone."""
    if is_controlling(recipe.account) and settings.current.blocked != "disabled":
        recipe.account.skip("reentry")
        return None
    plan = prepare(recipe, lineup, args, kwargs, context)
    return None if plan is None else await _execute(plan, observe)


async def _execute(plan: Plan, observe: bool) -> Ending:
    """Run a plan's calls in their order, then conclude."""
    turns = Turns(plan)
    for call in plan.calls:
        turns.before(call)
        run = _run_control if call.context is None else _run_candidate
        turns.after(call, *await run(plan.recipe, call))
    return turns.conclude(observe)


async def control_alone(recipe: Recipe, lineup: Lineup) -> Result:
    """Run the control and nothing else, and say what it did."""
    began = perf_counter_ns()
    call = Call(lineup.control_name, lineup.control, (), {})
    _, observation = await _run_control(recipe, call, is_counted=True)
    run = Run(
        recipe=recipe,
        control=observation,
        candidates=(),
        order=(call.name,),
        context={},
        began_ns=began,
    )
    return result_of(run, ())


async def _run_control(
    recipe: Recipe, call: Call, is_counted: bool = False
) -> tuple[Ending, Observation]:
    """Run the control in the caller's own context, marked so that recursion runs it alone."""
    is_aimed = cancellations()
    metered = Metered(calling(call)) if recipe.cpu_time else None
    start = perf_counter_ns()
    try:
        with Controlling(recipe.account):
            if metered is None:
                value = call.function(*call.args, **call.kwargs)
                value = await value if is_awaitable(value) else value
            else:
                value = await metered
    except BaseException as error:
        taken = perf_counter_ns() - start
        if not contained(error) or is_aimed(error):
            if not is_counted:
                recipe.account.skip("interrupted")
            raise
        shorten(error)
        ending = Ending(None, error)
    else:
        taken = perf_counter_ns() - start
        ending = Ending(value)
    spent = None if metered is None else metered.cpu_ns
    return ending, observed(call.name, ending.value, ending.error, taken, spent)


async def _run_candidate(recipe: Recipe, call: Call) -> tuple[Ending, Observation]:
    """Run a candidate in its own context, and no longer than it may take."""
    assert call.context is not None
    drive = Drive(calling(call), call.context, limit=recipe.timeout, cpu=recipe.cpu_time)
    try:
        ending = await drive
    except BaseException:
        recipe.account.skip("interrupted")
        raise
    return ending, observed(call.name, ending.value, ending.error, drive.taken_ns, drive.cpu_ns)

"""Runs what is awaited: in the caller's task, one behaviour after the other, or in its mode."""

from __future__ import annotations

from time import perf_counter_ns
from typing import Any

import attrs

from twinrun import settings
from twinrun._runner import tasks
from twinrun._runner.awaiting import calling, is_awaitable, run_control
from twinrun._runner.behaviours import Lineup
from twinrun._runner.driving import Drive
from twinrun._runner.endings import Ending
from twinrun._runner.gates import Call, Plan, prepare
from twinrun._runner.inline import Turns
from twinrun._runner.publishing import conclude_awaited
from twinrun._runner.rechecking import judged_once, rechecked
from twinrun._runner.recipe import Recipe, raises
from twinrun._runner.scope import is_controlling
from twinrun._runner.steps import Run, observed, result_of
from twinrun.observation import Observation
from twinrun.result import Result

__all__ = ["control_alone", "execute", "is_awaitable"]


async def execute(
    recipe: Recipe,
    lineup: Lineup,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    context: Any = None,
    observe: bool = False,
) -> Ending | None:
    """Run an experiment in its mode; None, counted, where the control must run alone.

    Only `observe` waits for candidates off the caller's path. Where a mismatch raises, everything
    is done inline.
    """
    if is_controlling(recipe.account) and settings.current.blocked != "disabled":
        recipe.account.skip("reentry")
        return None
    if recipe.mode != "inline" and not raises(recipe):
        return await tasks.execute(recipe, lineup, args, kwargs, context, observe)
    plan = prepare(recipe, lineup, args, kwargs, context)
    return None if plan is None else await _execute(plan, observe)


async def _execute(plan: Plan, observe: bool) -> Ending:
    """Run a plan's calls in their order, then conclude."""
    recipe, turns = plan.recipe, Turns(plan)
    try:
        for call in plan.calls:
            turns.before(call)
            stack = None
            if call.context is None:
                side = run_control(recipe, call.function, call.args, call.kwargs)
                ending, taken, spent = await side
            else:
                ending, taken, spent, stack = await _run_candidate(recipe, call)
            # No name here for what holds an exception: that leads back to this frame.
            turns.after(call, ending, _seen(call, ending, taken, spent, stack))
    except BaseException:  # aimed at the caller
        recipe.account.skip("interrupted")
        raise
    try:
        if plan.again:
            turns.ending.result = await conclude_awaited(await _rechecked(turns, observe))
        else:
            turns.ending.result = await conclude_awaited(turns.over(observe))
        return turns.ending
    finally:
        turns.let_go()


async def _rechecked(turns: Turns, observe: bool) -> Run:
    """Make the run that is over; run once more what differs, and say whether that repeats."""
    run = turns.over(observe)
    try:
        return await _run_again(turns, judged_once(run))
    except (RecursionError, MemoryError):  # of our own: the caller has its outcome all the same
        return run
    except BaseException:  # aimed at the caller
        run.recipe.account.skip("interrupted")
        raise


async def _run_again(turns: Turns, run: Run) -> Run:
    """Run once more what differs in a run that was judged."""
    again: dict[str, Observation] = {}
    with turns.spared():
        for call in turns.plan.again:
            if call.name in run.doubts:
                ending, taken, spent, stack = await _run_candidate(run.recipe, call)
                again[call.name] = _seen(call, ending, taken, spent, stack)
                ending.give_up()
    return rechecked(run, again) if again else run


async def _run_candidate(recipe: Recipe, call: Call) -> tuple[Ending, int, int | None, str | None]:
    """Run a candidate in its own context, and no longer than it may take.

    Gives how it ended, its nanoseconds, and where it stood if it was given up.
    """
    assert call.context is not None
    called = calling(call.function, call.args, call.kwargs)
    drive = Drive(called, call.context, limit=recipe.timeout, cpu=recipe.cpu_time)
    ending = await drive
    return ending, drive.taken_ns, drive.cpu_ns, drive.stack


def _seen(
    call: Call, ending: Ending, taken: int, spent: int | None, stack: str | None
) -> Observation:
    """Say what a behaviour did and, where it was given up, where it stood."""
    made = observed(call.name, ending.value, ending.error, taken, spent, call.arguments)
    return made if stack is None else attrs.evolve(made, traceback=stack)


async def control_alone(recipe: Recipe, lineup: Lineup) -> Result:
    """Run the control and nothing else, and say what it did."""
    began = perf_counter_ns()
    name = lineup.control_name
    ending, taken, spent = await run_control(recipe, lineup.control, (), {})
    run = Run(
        recipe=recipe,
        control=observed(name, ending.value, ending.error, taken, spent),
        candidates=(),
        order=(name,),
        context={},
        began_ns=began,
    )
    return result_of(run, ())

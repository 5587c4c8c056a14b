"""Runs candidates as tasks of the running event loop, beside the control or after it."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import AbstractEventLoop, Future, Task
from collections.abc import Callable, Coroutine
from functools import partial
from time import perf_counter_ns
from typing import Any, Final

from twinrun import settings
from twinrun._forks import after_fork_in_child
from twinrun._runner.abandoned import put_away
from twinrun._runner.awaiting import calling, run_control
from twinrun._runner.background import kept
from twinrun._runner.behaviours import Lineup
from twinrun._runner.driving import Drive
from twinrun._runner.endings import Ending
from twinrun._runner.gates import Call
from twinrun._runner.pending import Part, Pending, begin
from twinrun._runner.recipe import Recipe
from twinrun._runner.scope import CANDIDATE, scope
from twinrun._runner.steps import observed
from twinrun._wakeups import Wakeup
from twinrun.observation import Observation

__all__ = ["TaskWakeup", "execute", "started"]

_CLOSED: Final = "loop closed"
"""Why a run is skipped whose candidates ended with their event loop."""

_under_way: dict[AbstractEventLoop, dict[Task[None], Pending]] = {}
"""The tasks under way by their loops, which themselves hold them but weakly."""

_rerunning: dict[AbstractEventLoop, dict[Pending, Task[dict[str, Observation]] | None]] = {}
"""The runs whose behaviours run once more, by their loops, with the task once it is started."""


async def execute(
    recipe: Recipe,
    lineup: Lineup,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    context: Any,
    observe: bool,
) -> Ending | None:
    """Run an experiment in mode concurrent or background; None where the control must run alone."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:  # an event loop that is not asyncio's
        recipe.account.skip("no loop")
        return None
    _let_go()
    run = begin(recipe, lineup, args, kwargs, context)
    if run is None:
        return None
    run.rerun = partial(_rerun, loop)
    run.waiter = waiter = TaskWakeup(loop) if observe else None
    tasks: list[Task[None]] = []
    try:
        if recipe.mode == "concurrent":
            tasks += started(run, loop, _run_candidate)
        run.order.append(run.control_name)
        run.began_ns = perf_counter_ns()
        ending, taken, spent = await run_control(recipe, lineup.control, args, kwargs)
        run.control_over(kept(run, ending, taken, spent))
        if recipe.mode != "concurrent":
            tasks += started(run, loop, _run_candidate)
        if waiter is not None:
            await waiter.future
            ending.result = run.result
        return ending
    except BaseException:  # aimed at the caller
        run.give_up("interrupted")
        if not loop.is_closed():
            for task in tasks:
                task.cancel()
        raise


def started(
    run: Pending,
    loop: AbstractEventLoop,
    run_part: Callable[[Part], Coroutine[Any, Any, None]],
) -> list[Task[None]]:
    """Start a task for each candidate.

    Not by the loop's task factory, which might let it run before the control.
    """
    under_way = _under_way.setdefault(loop, {})
    tasks: list[Task[None]] = []
    for part in run.parts:
        task: Any = Task(run_part(part), loop=loop, name=f"twinrun {run.recipe.name} {part.name}")
        task._log_destroy_pending = False  # if its loop forgets it, it is counted instead
        under_way[task] = run
        task.add_done_callback(_finished)
        tasks.append(task)
    return tasks


async def _run_candidate(part: Part) -> None:
    """Run a candidate in its own context, and no longer than it may take."""
    run, recipe = part.run, part.run.recipe
    if run.is_over:
        return
    if run.permit is not None and not run.permit.holds():  # paused while this was to begin
        run.give_up("paused")
        return
    assert run.caller is not None
    context = run.caller.copy()
    context.run(scope.set, CANDIDATE)
    run.order.append(part.name)
    called = calling(part.function, part.args, part.kwargs)
    drive = Drive(called, context, limit=recipe.timeout, cpu=True, is_alone=True)
    ending = await drive
    part.cpu_ns = drive.cpu_ns or 0
    if drive.is_expired:
        assert recipe.timeout is not None
        part.expire(recipe.timeout, drive.taken_ns, drive.stack)
    else:
        spent = drive.cpu_ns if recipe.cpu_time else None
        facts = drive.taken_ns, spent, part.arguments
        part.over(observed(part.name, ending.value, ending.error, *facts))


def _rerun(loop: AbstractEventLoop, run: Pending, calls: tuple[Call, ...]) -> None:
    """Have behaviours run once more in a task of the loop; a worker asks for it."""
    runs = _rerunning.setdefault(loop, {})
    runs[run] = None
    try:
        loop.call_soon_threadsafe(_start_again, runs, loop, run, calls)
    except RuntimeError:  # it was closed
        _go_on(runs, run, {})


def _start_again(
    runs: dict[Pending, Any], loop: AbstractEventLoop, run: Pending, calls: tuple[Call, ...]
) -> None:
    """Start the task in which they run."""
    task: Any = Task(_run_again(run, calls), loop=loop, name=f"twinrun {run.recipe.name} again")
    task._log_destroy_pending = False
    runs[run] = task
    task.add_done_callback(partial(_finished_again, runs, run))


async def _run_again(run: Pending, calls: tuple[Call, ...]) -> dict[str, Observation]:
    """Run behaviours in their own contexts, each no longer than a candidate may take."""
    seen: dict[str, Observation] = {}
    for call in calls:
        if not run.ends:  # it was given up
            break
        assert call.context is not None
        called = calling(call.function, call.args, call.kwargs)
        limit = run.recipe.timeout
        drive = Drive(called, call.context, limit=limit, cpu=True, is_alone=True)
        ending = await drive
        if drive.is_expired:
            break
        facts = drive.taken_ns, drive.cpu_ns, call.arguments
        seen[call.name] = observed(call.name, ending.value, ending.error, *facts)
    return seen


def _finished_again(
    runs: dict[Pending, Any], run: Pending, task: Task[dict[str, Observation]]
) -> None:
    """Tell the run what its behaviours did; nothing, if the task did not come to its end."""
    ended = not task.cancelled() and task.exception() is None
    _go_on(runs, run, task.result() if ended else {})


def _go_on(runs: dict[Pending, Any], run: Pending, seen: dict[str, Observation]) -> None:
    """Have the run go on, once."""
    if runs.pop(run, run) is not run:
        run.seen_again(seen)


def _finished(task: Task[None]) -> None:
    """Let go of a task that is over; its run, if the task did not come to its end, is too."""
    loop = task.get_loop()
    tasks = _under_way.get(loop, {})
    run = tasks.pop(task, None)
    if not tasks:
        _under_way.pop(loop, None)
    ended = not task.cancelled() and task.exception() is None
    if run is not None and not ended:
        run.give_up(_CLOSED if task.cancelled() else "internal")


def _let_go(deadline: float = 0.0) -> bool:
    """Let go of the tasks of event loops that were closed while they were under way."""
    for loop in list(_under_way):
        if loop.is_closed():
            for task, run in _under_way.pop(loop, {}).items():
                run.give_up(_CLOSED)
                put_away(task.get_coro())
    for loop in list(_rerunning):
        if loop.is_closed():
            runs = _rerunning.pop(loop, {})
            for run, again in list(runs.items()):
                if again is not None:
                    put_away(again.get_coro())
                _go_on(runs, run, {})
    return True


settings.under_way.insert(0, _let_go)  # the pool waits for what is admitted


class _Forks:
    """Forgets, in a forked child, what is under way in the parent."""

    def after_fork(self) -> None:
        runs = [run for tasks in _under_way.values() for run in tasks.values()]
        for run in [*runs, *[run for again in _rerunning.values() for run in again]]:
            run.claim()
            run.is_over = True


_forks: Final = _Forks()
after_fork_in_child(_forks)


class TaskWakeup(Wakeup):
    """Wakes a task, from whatever thread."""

    __slots__ = ("future",)

    def __init__(self, loop: AbstractEventLoop) -> None:
        self.future: Future[None] = loop.create_future()

    def set(self) -> None:
        """Wake the task, unless its loop was closed."""
        with contextlib.suppress(RuntimeError):
            self.future.get_loop().call_soon_threadsafe(_wake, self.future)


def _wake(future: Future[None]) -> None:
    if not future.done():
        future.set_result(None)

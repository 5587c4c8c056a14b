"""Runs plain functions with their candidates on the pool's threads, beside or after the control."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable
from functools import partial
from math import inf
from time import perf_counter_ns, thread_time_ns
from typing import Any, Final

from twinrun import tracebacks
from twinrun._runner import inline
from twinrun._runner.arguments import Arguments
from twinrun._runner.behaviours import Lineup
from twinrun._runner.containment import contained, report
from twinrun._runner.endings import Ending
from twinrun._runner.gates import Call, prepare
from twinrun._runner.isolation import UnsharableError, copied, copied_value, shared_types
from twinrun._runner.pending import Part, Pending, begin
from twinrun._runner.pool import pool
from twinrun._runner.recipe import Recipe, raises
from twinrun._runner.scope import CANDIDATE, HOOK, scope
from twinrun._runner.steps import observed, reached
from twinrun._wakeups import Wakeup
from twinrun.observation import NOTHING, Observation
from twinrun.result import Comparison, Outcome

__all__ = ["execute", "kept", "kept_error", "kept_value", "run_candidate"]

_shared: Final = shared_types()


def execute(
    recipe: Recipe,
    lineup: Lineup,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    context: Any = None,
    observe: bool = False,
) -> Ending | None:
    """Run an experiment in its mode; None, counted, where the control must run alone.

    Only `observe` waits for the candidates. Where a mismatch raises, everything is done inline.
    """
    if recipe.mode == "inline" or raises(recipe):
        plan = prepare(recipe, lineup, args, kwargs, context)
        return None if plan is None else inline.execute(plan, observe)
    run = begin(recipe, lineup, args, kwargs, context)
    if run is None:
        return None
    if run.again:
        run.rerun = _rerun
    if observe:
        run.waiter = Wakeup()
    try:
        ending = _run_control(run, lineup, args, kwargs)
        if run.waiter is not None:
            run.waiter.wait(inf)
            ending.result = run.result
        return ending
    except BaseException:  # aimed at the caller
        run.give_up("interrupted")
        raise


def _run_control(
    run: Pending, lineup: Lineup, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Ending:
    """Run the control on this thread, and see to it that the candidates run on others."""
    recipe = run.recipe
    jobs = [partial(run_candidate, part) for part in run.parts]
    is_beside = recipe.mode == "concurrent"
    if is_beside:
        _submit(run, jobs)
    active, here = recipe.account.active, threading.get_ident()
    cpu = thread_time_ns() if recipe.cpu_time else None
    run.order.append(run.control_name)
    run.began_ns = start = perf_counter_ns()
    try:
        active.add(here)  # inside, since a signal's handler may raise right after it
        value = lineup.control(*args, **kwargs)
    except BaseException as error:
        taken = perf_counter_ns() - start
        if not contained(error):
            raise
        ending = Ending(None, error)
    else:
        taken = perf_counter_ns() - start
        ending = Ending(value)
    finally:
        active.discard(here)
    spent = None if cpu is None else thread_time_ns() - cpu
    run.control_over(kept(run, ending, taken, spent))
    if not is_beside:
        _submit(run, jobs)
    return ending


def _submit(run: Pending, jobs: Iterable[Callable[[], None]]) -> None:
    """Queue the candidates; where no thread can be had, the whole run is given up."""
    for job in jobs:
        reason = pool.submit(job)
        if reason is not None:
            run.give_up(reason)


def kept(run: Pending, ending: Ending, taken: int, cpu_ns: int | None) -> Observation:
    """Say what the control did, in copies that the caller can't change and that hold no frame."""
    arguments = None if run.arguments is None else _kept_arguments(run, run.arguments)
    if ending.error is not None:
        return kept_error(run, ending.error, taken, cpu_ns, arguments)
    value = ending.value
    if type(value) not in _shared:
        value = kept_value(run, value)
    return observed(run.control_name, value, None, taken, cpu_ns, arguments)


def kept_error(
    run: Pending,
    error: BaseException,
    taken: int,
    cpu_ns: int | None = None,
    arguments: Arguments | None = None,
) -> Observation:
    """Say what the control raised, by a twin: the caller's exception would keep its frames."""
    run.foreign |= reached(error, chained=True)
    return Observation(
        name=run.control_name,
        exception=tracebacks.twin(error),
        duration_ns=taken,
        cpu_time=None if cpu_ns is None else cpu_ns / 1e9,
        traceback=tracebacks.text(error),
        raised_at=tracebacks.place(error),
        arguments=arguments,
    )


def kept_value(run: Pending, value: Any) -> Any:
    """Copy the control's value; where it can't be, nothing can be said of the candidates."""
    if run.recipe.isolate == "containers":
        return _kept(run, copied_value, value)
    copies = _kept(run, partial(_copied_by_user, run.recipe), (value,))
    return NOTHING if copies is NOTHING else copies[0]


def _kept_arguments(run: Pending, arguments: Arguments) -> Arguments | None:
    """Copy what the control did to its arguments, in the way in which candidates got theirs."""
    copies = _kept(run, partial(_copied_by_user, run.recipe), tuple(arguments.values()))
    return None if copies is NOTHING else dict(zip(arguments, copies, strict=True))


def _kept(run: Pending, copy: Callable[[Any], Any], value: Any) -> Any:
    """Copy for the comparison; where that fails, NOTHING, and the run is judged by nothing."""
    recipe = run.recipe
    try:
        return copy(value)
    except UnsharableError:
        pass
    except BaseException as error:
        if not contained(error):
            raise
        report(recipe.name, "isolate", error, recipe.on_failure)
    run.judged = _undecided
    return NOTHING


def _copied_by_user(recipe: Recipe, values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Copy values by code that is not ours, which may meet experiments."""
    inside = scope.get()
    try:
        scope.set(HOOK)  # inside, since a signal's handler may raise right after it
        return copied(values, {}, recipe.isolate, False)[0]
    finally:
        scope.set(inside)


def _undecided(
    recipe: Recipe, control: Observation, candidate: Observation, context: object
) -> Comparison:
    """Judge a candidate whose control's value could not be kept."""
    return Comparison(candidate, Outcome.INCONCLUSIVE, "isolate")


def run_candidate(part: Part) -> None:
    """Run a candidate on a worker, in its own context, and conclude its run if it is the last."""
    run = part.run
    recipe = run.recipe
    if run.is_over:
        return
    if pool.is_stuck(recipe.account):
        run.give_up("stuck")
        return
    if run.permit is not None and not run.permit.holds():  # paused while this was queued
        run.give_up("paused")
        return
    assert run.caller is not None
    context = run.caller.copy()
    context.run(scope.set, CANDIDATE)
    run.order.append(part.name)
    cpu = thread_time_ns()
    start = perf_counter_ns()
    if recipe.timeout is not None:
        late = partial(_expire, part, recipe.timeout, start, threading.get_ident())
        pool.limit(recipe.timeout, late, recipe.account)
    value, error = None, None
    try:
        value = context.run(part.function, *part.args, **part.kwargs)
    except BaseException as raised:  # on a thread of ours nothing is aimed at a caller
        error = raised
    taken = perf_counter_ns() - start
    pool.unlimit()
    part.cpu_ns = thread_time_ns() - cpu
    spent = part.cpu_ns if recipe.cpu_time else None
    seen = observed(part.name, value, error, taken, spent, part.arguments)
    part.over(seen, on_worker=True)


def _expire(part: Part, seconds: float, start: int, thread: int) -> bool:
    """Abandon a candidate that takes too long, and say where it stands."""
    taken = perf_counter_ns() - start
    stack = tracebacks.stack(sys._current_frames().get(thread), run_candidate.__code__)
    return part.expire(seconds, taken, stack)


def _rerun(run: Pending, calls: tuple[Call, ...]) -> None:
    """Run behaviours once more, on the worker that found them to differ."""
    seen: dict[str, Observation] = {}
    for call in calls:
        if not run.ends or not run.in_time(partial(_run_again, run, call, seen)):
            return
    run.seen_again(seen, on_worker=True)


def _run_again(run: Pending, call: Call, seen: dict[str, Observation]) -> None:
    """Run one of them in its own context."""
    assert call.context is not None
    cpu, start = thread_time_ns(), perf_counter_ns()
    value, error = None, None
    try:
        value = call.context.run(call.function, *call.args, **call.kwargs)
    except BaseException as raised:  # on a thread of ours nothing is aimed at a caller
        error = raised
    taken, spent = perf_counter_ns() - start, thread_time_ns() - cpu
    seen[call.name] = observed(call.name, value, error, taken, spent, call.arguments)

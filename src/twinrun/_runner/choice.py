"""Chooses, once, the function that runs an experiment: as little as its options need."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from time import perf_counter_ns
from typing import Any

from twinrun import settings
from twinrun._accounts import dice
from twinrun._runner import isolation
from twinrun._runner.behaviours import Lineup
from twinrun._runner.containment import contained
from twinrun._runner.endings import Ending
from twinrun._runner.gates import Skip, isolated, prepare
from twinrun._runner.inline import execute
from twinrun._runner.recipe import Recipe
from twinrun._runner.reporting import fold
from twinrun._runner.scope import CANDIDATE, reentered, scope
from twinrun._runner.steps import Run, conclude, observed
from twinrun.comparators import equal
from twinrun.settings import is_evidence_only

__all__ = ["runner"]


def runner(recipe: Recipe, lineup: Lineup) -> Callable[..., Any]:
    """Choose, once, the function that runs these behaviours."""
    reason = _never(recipe, lineup)
    if reason is not None:
        return _alone(recipe, lineup, reason)
    return _quick(recipe, lineup) if _is_simple(recipe, lineup) else _thorough(recipe, lineup)


def _never(recipe: Recipe, lineup: Lineup) -> str | None:
    """Give the reason for which no call can ever be an experiment."""
    if settings.current.off:
        return "disabled"
    if recipe.enabled is False:
        return "enabled"
    if not lineup.candidates and not recipe.baseline:
        return "no candidate"
    return "sample" if recipe.sample == 0 else None


def _is_simple(recipe: Recipe, lineup: Lineup) -> bool:
    """Say whether a matching run needs nothing but two calls, two clocks and `==`."""
    return (
        len(lineup.candidates) == 1
        and recipe.enabled is True
        and not callable(recipe.sample)
        and not callable(recipe.order)
        and not callable(recipe.isolate)
        and recipe.isolate != "deepcopy"
        and recipe.compare is equal
        and not callable(recipe.context)
        and not (recipe.baseline or recipe.cpu_time or recipe.raise_on_mismatch)
        and all(map(is_evidence_only, recipe.publishers or ()))
        and recipe.sample_by is None
        and recipe.run_if is None
        and recipe.timeout is None
        and recipe.before_run is None
        and recipe.after_run is None
    )


def _alone(recipe: Recipe, lineup: Lineup, reason: str) -> Callable[..., Any]:
    """Make the function for an experiment that is off for good."""
    control = lineup.control
    ticks = recipe.account.ticker(reason).ticks

    def run(*args: Any, **kwargs: Any) -> Any:
        next(ticks)
        return control(*args, **kwargs)

    return run


def _thorough(recipe: Recipe, lineup: Lineup) -> Callable[..., Any]:
    """Make the function that honours every option."""
    control = lineup.control
    current = settings.current
    ticks = {reason: recipe.account.ticker(reason).ticks for reason in ("disabled", "enabled")}

    def run(*args: Any, **kwargs: Any) -> Any:
        if current.blocked is not None:
            next(ticks[current.blocked])
            return control(*args, **kwargs)
        plan = prepare(recipe, lineup, args, kwargs)
        if plan is None:
            return control(*args, **kwargs)
        ending = execute(plan)
        if ending.error is None:
            return ending.value
        try:
            raise ending.before_raise()
        finally:
            ending.after_raise()

    return run


def _quick(recipe: Recipe, lineup: Lineup) -> Callable[..., Any]:
    """Make the function for one candidate and options that a matching run needs no look at.

    A run that turns out otherwise is concluded like any other. Here everything stands in one
    function, and names are bound outside of it, because this is what hot paths pay for.
    """
    control, control_name = lineup.control, lineup.control_name
    [(name, candidate)] = lineup.candidates.items()
    account, current = recipe.account, settings.current
    gate = current.quiet if recipe.publishers is None else current.plain
    ticks = {r: account.ticker(r).ticks for r in ("disabled", "enabled", "reentry", "isolate")}
    share: Any = recipe.sample
    coin = account.coin(share) if share < 1 else None
    pairs = account.pairs(control_name, name)
    orders = _orders(recipe.order)
    shared = isolation.shared_types() if recipe.isolate == "containers" else None
    get_scope, set_scope, reset_scope = scope.get, scope.set, scope.reset
    clock, flip = perf_counter_ns, dice.getrandbits

    def run(*args: Any, **kwargs: Any) -> Any:
        if not gate.is_open:
            if current.blocked is not None:
                next(ticks[current.blocked])
                return control(*args, **kwargs)
            plan = prepare(recipe, lineup, args, kwargs)
            if plan is None:
                return control(*args, **kwargs)
            ending = execute(plan)
        else:
            outer = get_scope()
            if outer is not None and reentered(recipe, outer):
                next(ticks["reentry"])
                return control(*args, **kwargs)
            if coin is not None:
                answer = next(coin.answers, 2)
                if not answer or (answer == 2 and not coin.ask()):
                    return control(*args, **kwargs)
            own_args, own_kwargs = args, kwargs
            if shared is not None:
                skip = False
                try:
                    for each in args:
                        if type(each) not in shared:
                            own_args, own_kwargs = isolated(recipe, lineup, args, kwargs)
                            break
                    else:
                        if kwargs and not shared.issuperset(map(type, kwargs.values())):
                            own_args, own_kwargs = isolated(recipe, lineup, args, kwargs)
                except BaseException as error:
                    if not (type(error) is Skip or contained(error)):
                        raise
                    skip = True
                if skip:
                    next(ticks["isolate"])
                    return control(*args, **kwargs)
            value = other = None
            raised: Ending | None = None
            ended: Ending | None = None
            order = orders[flip(1)]
            token = set_scope(CANDIDATE)
            inside = [recipe, outer]
            try:
                run_candidate = copy_context().run
                set_scope(inside)
                for is_control in order:
                    if is_control:
                        if raised is not None:
                            raised.put_by()
                        start = clock()
                        try:
                            value = control(*args, **kwargs)
                            control_ns = clock() - start
                        except BaseException as error:
                            control_ns = clock() - start
                            if not contained(error):
                                raise
                            ended = Ending(None, error)
                    else:
                        start = clock()
                        try:
                            other = run_candidate(candidate, *own_args, **own_kwargs)
                            candidate_ns = clock() - start
                        except BaseException as error:
                            candidate_ns = clock() - start
                            if not contained(error):
                                raise
                            raised = Ending(None, error)
            except BaseException:
                account.skip("interrupted")
                raise
            finally:
                reset_scope(token)
                inside.clear()
            same = False
            if ended is None and raised is None:
                try:
                    same = value is other or (value == other) is True
                except BaseException as error:
                    if not contained(error):
                        raise
            if same:
                buffer = pairs.control_first if order[0] else pairs.control_last
                buffer.append((control_ns, candidate_ns))
                if len(buffer) >= account.limit:
                    fold(recipe)
                return value
            ending = ended or Ending(value)
            raised = raised or Ending(other)
            if raised.error is not None and raised.error is not ending.error:
                raised.give_back()
            conclude(
                Run(
                    recipe=recipe,
                    control=observed(control_name, value, ending.error, control_ns),
                    candidates=(observed(name, other, raised.error, candidate_ns),),
                    order=(control_name, name) if order[0] else (name, control_name),
                    context=recipe.context,  # type: ignore[arg-type]
                    began_ns=start,
                )
            )
            raised.let_go()
        if ending.error is None:
            return ending.value
        try:
            raise ending.before_raise()
        finally:
            ending.after_raise()

    return run


def _orders(order: Any) -> tuple[tuple[bool, bool], tuple[bool, bool]]:
    """Give the orders (True is the control) to choose from by a bit."""
    first, last = (True, False), (False, True)
    if order == "random":
        return first, last
    return (first, first) if order == "control-first" else (last, last)

"""The run function for one candidate off the caller's path, where the caller is asked for nothing.

Its caller leaves what the candidate needs, and goes on; all else is made on a worker.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import copy_context
from sys import exc_info
from time import perf_counter_ns
from typing import Any, Final

from twinrun import settings
from twinrun._runner.background import execute, kept_error, kept_value, run_candidate
from twinrun._runner.behaviours import Lineup
from twinrun._runner.breaking import REFUSED, Permit
from twinrun._runner.containment import contained
from twinrun._runner.gates import Skip, isolated
from twinrun._runner.isolation import shared_types
from twinrun._runner.pending import Pending
from twinrun._runner.pool import pool
from twinrun._runner.recipe import Recipe
from twinrun._runner.scope import scope

__all__ = ["handover", "is_simple"]

_shared: Final = shared_types()
_SKIPS: Final = ("disabled", "enabled", "reentry", "internal")


def is_simple(recipe: Recipe, lineup: Lineup) -> bool:
    """Say whether the caller of a run has nothing to do but to leave its arguments."""
    return (
        len(lineup.candidates) == 1
        and recipe.enabled is True
        and recipe.isolate in ("containers", "share")
        and not callable(recipe.sample)
        and not callable(recipe.context)
        and recipe.compare_arguments is None
        and not (recipe.baseline or recipe.cpu_time or recipe.raise_on_mismatch)
        and recipe.sample_by is None
        and recipe.run_if is None
        and recipe.before_run is None
    )


class _Route:
    """What every run of one experiment goes through, before and after its control."""

    def __init__(self, recipe: Recipe, lineup: Lineup) -> None:
        self._recipe = recipe
        self._account = recipe.account
        self._lineup = lineup
        self._control_name = lineup.control_name
        self._names = tuple(lineup.candidates)
        [self._candidate] = lineup.candidates.values()
        self._is_beside = recipe.mode == "concurrent"
        self._is_shared = recipe.isolate == "share"
        self._circuit = recipe.circuit
        self._permit = None if recipe.circuit is None else Permit(recipe.circuit, REFUSED)
        self.work = self._work  # bound once

    def leave(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Pending | None:
        """Leave what the candidate needs; None, counted, where the control must run alone."""
        run = None
        try:
            permit = self._permit
            if self._circuit is not None:
                number = self._circuit.admit()
                if number != permit.number:  # type: ignore[union-attr]
                    permit = self._permit = Permit(self._circuit, number)
            run = Pending(self._recipe, self._control_name, self._names, permit)
            if permit is not None and permit.number == REFUSED:
                raise Skip("paused")
            reason = pool.admit(self._account, run)
            if reason is not None:
                raise Skip(reason)
            if not (self._is_shared or _are_shared(args, kwargs)):
                args, kwargs = isolated(self._recipe, self._lineup, args, kwargs)
            run.args = args
            run.kwargs = kwargs
            run.caller = copy_context()
            if exc_info()[1] is not None:
                run.spare_handled()
            run.work = self.work
            if self._is_beside:
                reason = pool.submit(run)
                if reason is not None:
                    raise Skip(reason)
            return run
        except RecursionError:
            if run is None:
                raise
            pool.forsaken.append(run)
            return None
        except BaseException as error:
            if run is not None:
                run.give_up(_reason(error))
            if not (type(error) is Skip or contained(error)):
                raise
            return None

    def receive(self, run: Pending, value: Any, taken: int) -> None:
        """Take what the control returned."""
        try:
            if type(value) in _shared or self._is_shared:
                run.value = value
            else:
                run.value = kept_value(run, value)
            run.taken_ns = taken
            if self._is_beside:
                run.arrived(on_worker=False)
                return
            reason = pool.submit(run)
            if reason is not None:
                raise Skip(reason)
        except RecursionError:
            raise
        except BaseException as error:
            run.give_up(_reason(error))
            if not (type(error) is Skip or contained(error)):
                raise

    def receive_error(self, run: Pending, error: BaseException, taken: int) -> None:
        """Take what the control raised."""
        try:
            if not contained(error):
                raise Skip("interrupted")
            run.control = kept_error(run, error, taken)
            self.receive(run, None, taken)
        except RecursionError:
            raise
        except BaseException as own:
            run.give_up(_reason(own))
            if not (type(own) is Skip or contained(own)):
                raise

    def _work(self, run: Pending) -> None:
        """Be done by a worker: run the candidate."""
        part = run.only_part(self._candidate)
        run.context = self._recipe.context  # type: ignore[assignment]
        if not self._is_beside:
            run.order.append(run.control_name)
            run.arrived(on_worker=True)
        run_candidate(part)


def _reason(error: BaseException) -> str:
    """Say why a run is skipped for which this was raised."""
    if type(error) is Skip:
        return str(error.args[0])
    return "internal" if contained(error) else "interrupted"


def _are_shared(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Say by a cheap look whether nothing among the arguments needs a copy."""
    try:
        for value in args:
            if type(value) not in _shared:
                return False
        for value in kwargs.values():  # noqa: SIM110, a generator costs three times as much
            if type(value) not in _shared:
                return False
        return True
    except Exception:  # of a metaclass that can't be hashed
        return False


def handover(recipe: Recipe, lineup: Lineup) -> Callable[..., Any]:
    """Make the run function."""
    account, current, control = recipe.account, settings.current, lineup.control
    gate, active = current.plain, account.active
    ticks = {r: account.ticker(r).ticks for r in _SKIPS}
    share: Any = recipe.sample
    coin = account.coin(share) if share < 1 else None
    route = _Route(recipe, lineup)
    leave, receive, receive_error = route.leave, route.receive, route.receive_error
    forsaken = pool.forsaken  # by C alone, where the stack is at its end
    get_ident, get_scope, clock = threading.get_ident, scope.get, perf_counter_ns

    def run(*args: Any, **kwargs: Any) -> Any:
        if not gate.is_open:
            if current.blocked is not None:
                next(ticks[current.blocked])
                return control(*args, **kwargs)
            ending = execute(recipe, lineup, args, kwargs)
            if ending is None:
                return control(*args, **kwargs)
            if ending.error is None:
                return ending.value
            try:
                raise ending.before_raise()
            finally:
                ending.after_raise()
        here = get_ident()
        if here in active or get_scope() is not None:
            next(ticks["reentry"])
            return control(*args, **kwargs)
        if coin is not None:
            answer = next(coin.answers, 2)
            if not answer or (answer == 2 and not coin.ask()):
                return control(*args, **kwargs)
        start, pending = 0, None
        try:
            pending = leave(args, kwargs)
        except RecursionError:
            next(ticks["internal"])
        if pending is None:
            return control(*args, **kwargs)
        try:
            active.add(here)  # inside, since a signal's handler may raise right after it
            start = clock()
            value = control(*args, **kwargs)
            taken = clock() - start
        except BaseException as error:
            try:
                receive_error(pending, error, clock() - start)
            except RecursionError:
                forsaken.append(pending)
            raise
        finally:
            active.discard(here)
        try:
            receive(pending, value, taken)
        except RecursionError:
            forsaken.append(pending)
        return value

    return run

"""The run function for one candidate off the caller's path, where the caller is asked for nothing.

Its caller leaves what the candidate needs, and goes on; all else is made on a worker. Like `quick`,
it is made from a text.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextvars import copy_context
from time import perf_counter_ns
from typing import Any, Final

from twinrun import settings
from twinrun._accounts import Account
from twinrun._runner.background import execute, kept_error, kept_value, run_candidate
from twinrun._runner.behaviours import Lineup
from twinrun._runner.containment import contained
from twinrun._runner.gates import Skip, isolated
from twinrun._runner.isolation import shared_types
from twinrun._runner.pending import Pending
from twinrun._runner.pool import pool
from twinrun._runner.recipe import Recipe
from twinrun._runner.reporting import attend
from twinrun._runner.scope import scope
from twinrun._runner.templates import Template

__all__ = ["handover", "is_simple"]

_TEMPLATE_LINE: Final = 33  # where the text begins
_TEMPLATE: Final = """
def run({parameters}):
    if not _gate.is_open:
        if _current.blocked is not None:
            _next(_ticks[_current.blocked])
            return _control({passing})
        _ending = _execute(_recipe, _lineup, {args}, {kwargs})
        if _ending is None:
            return _control({passing})
        if _ending.error is None:
            return _ending.value
        try:
            raise _ending.before_raise()
        finally:
            _ending.after_raise()
    _here = _get_ident()
    if _here in _active or _get_scope() is not None:
        _next(_ticks["reentry"])
        return _control({passing})
    if {sampled}:
        _answer = _next(_coin.answers, 2)
        if not _answer or (_answer == 2 and not _coin.ask()):
            return _control({passing})
    _start, _run = 0, None
    try:
        _permit = {permit}
        if {refused}:
            _next(_ticks["paused"])
        else:
            _run = _Left()
            _run.ends = [0]
            _run.recipe = _recipe
            _run.permit = _permit
            if _account.limit == 1:
                _attend(_recipe)  # here, while publishers can start their threads
            _reason = _admit(_account, _run)
            if _reason is not None:
                _run = _run.give_up(_reason)
            else:
                if {shared}:
                    _run.args = {args}
                    _run.kwargs = {kwargs}
                else:
                    _run.args, _run.kwargs = _isolated(_recipe, _lineup, {args}, {kwargs})
                _run.caller = _copy_context()
                if _handled() is not None:
                    _run.spare_handled()
                _run.work = _work
                if {beside}:
                    _run.arrivals = [0, 1]
                    _reason = _submit(_run)
                    if _reason is not None:
                        _run = _run.give_up(_reason)
    except _RecursionError:
        if _run is None:
            _next(_ticks["internal"])
        else:
            _forsaken.append(_run)  # by C alone, where the stack is at its end
            _run = None
    except _BaseException as _error:
        if not _left_out(_account, _run, _error):
            raise
        _run = None
    if _run is None:
        return _control({passing})
    try:
        _active.add(_here)  # inside, since a signal's handler may raise right after it
        _start = _clock()
        _value = _control({passing})
        _taken = _clock() - _start
    except _BaseException as _error:
        try:
            _receive_error(_run, _error, _clock() - _start)
        except _RecursionError:
            _forsaken.append(_run)
        except _BaseException:  # of a signal's handler, once more
            _run.give_up("interrupted")
            raise
        finally:
            _active.discard(_here)
        raise
    try:
        _active.discard(_here)  # inside, as above
        _run.value = _value if {kept} else _kept_value(_run, _value)
        _run.taken_ns = _taken
        if {beside}:
            _run.arrived(False)
        else:
            _reason = _submit(_run)
            if _reason is not None:
                _run.give_up(_reason)
    except _RecursionError:
        _forsaken.append(_run)
    except _BaseException as _error:
        if not _left_out(_account, _run, _error):
            raise
    return _value
"""

_HANDOVER: Final = Template(_TEMPLATE, __file__, _TEMPLATE_LINE)
_SKIPS: Final = ("disabled", "enabled", "internal", "paused", "reentry")


def is_simple(recipe: Recipe, lineup: Lineup) -> bool:
    """Say whether the caller of a run has nothing to do but to leave its arguments."""
    return (
        len(lineup.candidates) == 1
        and recipe.enabled is True
        and recipe.isolate in ("containers", "share")
        and not callable(recipe.sample)
        and not callable(recipe.context)
        and recipe.compare_arguments is None
        and not (recipe.baseline or recipe.recheck or recipe.cpu_time)
        and not recipe.raise_on_mismatch
        and recipe.sample_by is None
        and recipe.run_if is None
        and recipe.before_run is None
    )


def handover(recipe: Recipe, lineup: Lineup) -> Callable[..., Any]:
    """Make the run function."""
    share: Any = recipe.sample
    is_shared = recipe.isolate == "share"
    names = {
        **_NAMES,
        **_names(recipe, lineup),
        "_coin": recipe.account.coin(share),
    }
    return _HANDOVER.made(
        lineup.control,
        names,
        share=is_shared,
        sampled=share < 1 or "_account.word is not None",
        beside=recipe.mode == "concurrent",
        kept=is_shared or "_type(_value) in _shared",
        permit="None" if recipe.circuit is None else "_circuit.open or _circuit.permit()",
        refused="False" if recipe.circuit is None else "_permit is None",
    )


def _names(recipe: Recipe, lineup: Lineup) -> dict[str, Any]:
    """Bind the names of the template that differ between experiments."""
    account, route = recipe.account, _Route(recipe, lineup)
    return {
        "_account": account,
        "_circuit": recipe.circuit,
        "_active": account.active,
        "_control": lineup.control,
        "_lineup": lineup,
        "_receive_error": route.receive_error,
        "_recipe": recipe,
        "_ticks": {reason: account.ticker(reason).ticks for reason in _SKIPS},
        "_work": route.work,
    }


class _Left(Pending):
    """A run as its caller leaves it: what is not set yet stands in its class."""

    __init__ = object.__init__


class _Route:
    """What a run of one experiment goes through where its caller only starts it, if at all."""

    def __init__(self, recipe: Recipe, lineup: Lineup) -> None:
        self._recipe = recipe
        self._control_name = lineup.control_name
        self._names = tuple(lineup.candidates)
        [self._candidate] = lineup.candidates.values()
        self._is_beside = recipe.mode == "concurrent"

    def receive_error(self, run: Pending, error: BaseException, taken: int) -> None:
        """Take what the control raised."""
        try:
            if not contained(error):
                raise Skip("interrupted")
            run.control_name = self._control_name
            run.control = kept_error(run, error, taken)
            if self._is_beside:
                run.arrived(on_worker=False)
                return
            reason = pool.submit(run)
            if reason is not None:
                raise Skip(reason)
        except RecursionError:
            raise
        except BaseException as own:
            if not _left_out(self._recipe.account, run, own):
                raise

    def work(self, run: Pending) -> None:
        """Be done by a worker: run the candidate."""
        run.control_name = self._control_name
        run.names = self._names
        run.context = self._recipe.context  # type: ignore[assignment]
        part = run.only_part(self._candidate)
        if not self._is_beside:
            run.arrivals = [0]  # the control is over
            run.order.append(run.control_name)
        run_candidate(part)


def _left_out(account: Account, run: Pending | None, error: BaseException) -> bool:
    """Count a run as skipped for which this was raised; say whether that stays with us."""
    stays = type(error) is Skip or contained(error)
    reason = "internal" if stays else "interrupted"
    if type(error) is Skip:
        reason = error.args[0]
    if run is None:
        account.skip(reason)
    else:
        run.give_up(reason)
    return stays


_NAMES: Final[dict[str, Any]] = {
    "__builtins__": __builtins__,
    "__name__": __name__,
    "_BaseException": BaseException,
    "_Left": _Left,
    "_RecursionError": RecursionError,
    "_admit": pool.admit,
    "_attend": attend,
    "_clock": perf_counter_ns,
    "_copy_context": copy_context,
    "_current": settings.current,
    "_execute": execute,
    "_forsaken": pool.forsaken,
    "_gate": settings.current.plain,
    "_get_ident": threading.get_ident,
    "_get_scope": scope.get,
    "_handled": sys.exception,
    "_isolated": isolated,
    "_kept_value": kept_value,
    "_left_out": _left_out,
    "_map": map,
    "_next": next,
    "_shared": shared_types(),
    "_submit": pool.submit,
    "_type": type,
}

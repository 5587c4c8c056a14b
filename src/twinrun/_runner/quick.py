"""The run function for what most experiments are: one candidate, and nothing asked of a match.

It is made from a text, with what the options decide already decided. A run that does not simply
match is concluded like any other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import copy_context
from time import perf_counter_ns
from typing import Any, Final

from twinrun import settings
from twinrun._accounts import dice
from twinrun._runner.behaviours import Lineup
from twinrun._runner.containment import contained
from twinrun._runner.endings import Ending
from twinrun._runner.gates import Skip, isolated, prepare
from twinrun._runner.inline import execute
from twinrun._runner.isolation import shared_types
from twinrun._runner.recipe import Recipe
from twinrun._runner.reporting import fold
from twinrun._runner.scope import CANDIDATE, scope
from twinrun._runner.steps import Run, conclude, observed
from twinrun._runner.templates import Template

__all__ = ["ORDERS", "own_arguments", "quick", "run_of"]

_TEMPLATE_LINE: Final = 32  # where the text begins
_TEMPLATE: Final = """
def run({parameters}):
    if not _gate.is_open:
        if _current.blocked is not None:
            _next(_ticks[_current.blocked])
            return _control({passing})
        _plan = _prepare(_recipe, _lineup, {args}, {kwargs})
        if _plan is None:
            return _control({passing})
        _ending = _execute(_plan)
    else:
        _here = _get_ident()
        if _here in _active or _get_scope() is not None:
            _next(_ticks["reentry"])
            return _control({passing})
        if {sampled}:
            _answer = _next(_coin.answers, 2)
            if not _answer or (_answer == 2 and not _coin.ask()):
                return _control({passing})
        _own = None
        try:
            _share = {shared}
        except _BaseException as _error:  # of a metaclass that can't be hashed
            if not _contained(_error):
                raise
            _share = False
        if not _share:
            _own = _isolated(_recipe, _lineup, {args}, {kwargs})
            if _own is None:
                return _control({passing})
        _value = _other = _ended = _raised = None
        _run = _copy_context().run
        _run(_set_scope, _CANDIDATE)
        _first = {control_first}
        try:
            _active.add(_here)
            if _first:
                _start = _clock()
                try:
                    _value = _control({passing})
                    _turn = _again = _clock()
                except _BaseException as _error:
                    _turn = _clock()
                    if not _contained(_error):
                        raise
                    _ended = _Ending(None, _error)
                    _again = _clock()
                try:
                    if _own is None:
                        _other = _run(_candidate, {passing})
                    else:
                        _other = _run(_candidate, *_own[0], **_own[1])
                    _candidate_ns = _clock() - _again
                except _BaseException as _error:
                    _candidate_ns = _clock() - _again
                    if not _contained(_error):
                        raise
                    _raised = _Ending(None, _error)
                _control_ns = _turn - _start
            else:
                _start = _clock()
                try:
                    if _own is None:
                        _other = _run(_candidate, {passing})
                    else:
                        _other = _run(_candidate, *_own[0], **_own[1])
                    _turn = _again = _clock()
                except _BaseException as _error:
                    _turn = _clock()
                    if not _contained(_error):
                        raise
                    _raised = _Ending(None, _error)
                    _raised.put_by()
                    _again = _clock()
                try:
                    _value = _control({passing})
                    _control_ns = _clock() - _again
                except _BaseException as _error:
                    _control_ns = _clock() - _again
                    if not _contained(_error):
                        raise
                    _ended = _Ending(None, _error)
                _candidate_ns = _turn - _start
            _same = False
            if _ended is None and _raised is None:
                try:
                    _same = _value is _other or (
                        _type(_value) is _type(_other)
                        and (_value == _other) is True
                        and (not _pairs.is_due or _pairs.is_match(_value, _other))
                    )
                except _BaseException as _error:
                    if not _contained(_error):
                        raise
        except _BaseException:
            _account.skip("interrupted")
            raise
        finally:
            _active.discard(_here)
        if _same:
            _buffer = _pairs.control_first if _first else _pairs.control_last
            _buffer.append((_control_ns, _candidate_ns))
            if _len(_buffer) >= _account.limit:
                _fold(_recipe)
            return _value
        _ending = _ended or _Ending(_value)
        _conclude(_ending, _raised or _Ending(_other), _control_ns, _candidate_ns, _first, _start)
    if _ending.error is None:
        return _ending.value
    try:
        raise _ending.before_raise()
    finally:
        _ending.after_raise()
"""

_QUICK: Final = Template(_TEMPLATE, __file__, _TEMPLATE_LINE)

ORDERS: Final = {
    "random": "_flip(1)",
    "control-first": "True",
    "control-last": "False",
}
"""What says, in the text, whether the control is the first."""


def quick(recipe: Recipe, lineup: Lineup) -> Callable[..., Any]:
    """Make the run function for one candidate and options that a matching run needs no look at."""
    share: Any = recipe.sample
    names = {
        **_NAMES,
        **_names(recipe, lineup),
        "_coin": recipe.account.coin(share),
    }
    return _QUICK.made(
        lineup.control,
        names,
        share=recipe.isolate == "share",
        sampled=share < 1 or "_account.word is not None",
        control_first=ORDERS[str(recipe.order)],
    )


def _names(recipe: Recipe, lineup: Lineup) -> dict[str, Any]:
    """Bind the names of the template that differ between experiments."""
    [(name, candidate)] = lineup.candidates.items()
    account, current = recipe.account, settings.current
    return {
        "_account": account,
        "_active": account.active,
        "_candidate": candidate,
        "_conclude": _concluder(recipe, lineup.control_name, name),
        "_control": lineup.control,
        "_gate": current.quiet if recipe.publishers is None else current.plain,
        "_lineup": lineup,
        "_pairs": account.pairs(lineup.control_name, name),
        "_recipe": recipe,
        "_ticks": {r: account.ticker(r).ticks for r in ("disabled", "enabled", "reentry")},
    }


def own_arguments(
    recipe: Recipe, lineup: Lineup, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Give the candidate's own arguments; None, counted, where the control must run alone."""
    try:
        return isolated(recipe, lineup, args, kwargs)
    except BaseException as error:
        if not (type(error) is Skip or contained(error)):
            raise
        recipe.account.skip("isolate")
        return None


def _concluder(recipe: Recipe, control: str, candidate: str) -> Callable[..., None]:
    """Make the function that concludes a run which did not simply match."""

    def conclude_run(ending: Ending, other: Ending, *facts: int) -> None:
        try:
            conclude(run_of(recipe, control, candidate, ending, other, *facts))
        finally:
            other.give_up()

    return conclude_run


def run_of(
    recipe: Recipe,
    control: str,
    candidate: str,
    ending: Ending,
    other: Ending,
    control_ns: int,
    other_ns: int,
    first: int,
    start: int,
) -> Run:
    """Make the run of a control and a candidate that are over."""
    if other.error is not None and other.error is not ending.error:
        other.give_back()
    return Run(
        recipe=recipe,
        control=observed(control, ending.value, ending.error, control_ns),
        candidates=(observed(candidate, other.value, other.error, other_ns),),
        order=(control, candidate) if first else (candidate, control),
        context=recipe.context,  # type: ignore[arg-type]
        began_ns=start,
    )


_NAMES: Final[dict[str, Any]] = {
    "__builtins__": __builtins__,
    "__name__": __name__,
    "_BaseException": BaseException,
    "_CANDIDATE": CANDIDATE,
    "_Ending": Ending,
    "_clock": perf_counter_ns,
    "_contained": contained,
    "_copy_context": copy_context,
    "_current": settings.current,
    "_execute": execute,
    "_flip": dice.getrandbits,
    "_fold": fold,
    "_get_ident": threading.get_ident,
    "_get_scope": scope.get,
    "_isolated": own_arguments,
    "_len": len,
    "_map": map,
    "_next": next,
    "_prepare": prepare,
    "_set_scope": scope.set,
    "_shared": shared_types(),
    "_type": type,
}

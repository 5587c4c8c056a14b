"""The run function for coroutine functions: quick to decide, quick where both simply match.

Where options need no look at a matching run it is made from a text, like `quick`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextvars import copy_context
from functools import partial
from inspect import CO_COROUTINE
from time import perf_counter_ns
from types import CoroutineType, FunctionType
from typing import Any, Final

import attrs

from twinrun import settings
from twinrun._accounts import dice
from twinrun._runner.asynchronous import execute
from twinrun._runner.awaiting import calling, control_raised, current_task, is_awaitable
from twinrun._runner.behaviours import Lineup
from twinrun._runner.containment import contained
from twinrun._runner.driving import Drive
from twinrun._runner.endings import Ending
from twinrun._runner.gates import coin_of
from twinrun._runner.isolation import shared_types
from twinrun._runner.publishing import conclude_awaited
from twinrun._runner.quick import ORDERS, own_arguments, run_of
from twinrun._runner.recipe import Recipe
from twinrun._runner.reporting import fold
from twinrun._runner.scope import HOOK, Controlling, controlling, scope
from twinrun._runner.templates import Template
from twinrun.typing import Behaviour

__all__ = ["alone", "quick_awaited"]

_TEMPLATE_LINE: Final = 39  # where the text begins
_TEMPLATE: Final = """
async def run({parameters}):
    if _gate.is_open:
        if _get_scope() is not None or (
            (_within := _get_controlling()) is not None and _within.is_of(_account)
        ):
            _next(_ticks["reentry"])
            return await _control({passing})
        if {sampled}:
            _answer = _next(_coin.answers, 2)
            if not _answer or (_answer == 2 and not _coin.ask()):
                return await _control({passing})
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
                return await _control({passing})
        _value = _other = _ended = _raised = _drive = None
        _context = _copy_context()
        _task = _current_task()
        while _within is not None and _within.owner is None:  # a control that is over
            _within = _within.outer
        _mark = _Mark()
        _mark.owner, _mark.outer = _account, _within
        _first = {control_first}
        _start = _turn = _clock()
        try:
            if not _first:
                try:
                    _coroutine = {coroutine}
                    _other, _raised, _drive = _begin(_coroutine, _context, _task, _turn)
                except _BaseException as _error:  # the arguments don't fit
                    if not _contained(_error):
                        raise
                    _raised = _Ending(None, _error)
                if _drive is not None:
                    _raised = await _drive
                    if _raised.error is None:
                        _other, _raised = _raised.value, None
                if _raised is not None:
                    _raised.put_by()
                _turn = _clock()
            _cancels = 0
            if _task is not None:
                _cancels = _task.cancelling() - (_getattr(_task, "_must_cancel", False) is True)
            try:
                _set_controlling(_mark)  # inside, since a signal's handler may raise right after it
                _value = _control({passing})
                if _type(_value) is _CoroutineType or _is_awaitable(_value):
                    _value = await _value
            except _BaseException as _error:
                _ended = _control_raised(_task, _cancels, _error)
                if _ended is None:
                    raise
            finally:
                _over = _clock()
                _mark.owner = None
                _set_controlling(_within)
            if _first:
                _turn = _over
                try:
                    _coroutine = {coroutine}
                    _other, _raised, _drive = _begin(_coroutine, _context, _task, _turn)
                except _BaseException as _error:  # the arguments don't fit
                    if not _contained(_error):
                        raise
                    _raised = _Ending(None, _error)
                if _drive is not None:
                    _raised = await _drive
                    if _raised.error is None:
                        _other, _raised = _raised.value, None
                _over = _clock()
            _same = _value is _other
            if _ended is not None or _raised is not None:
                _same = False
            elif not _same and _type(_value) is _type(_other):
                try:
                    _set_scope(_HOOK)  # what `==` calls is no experiment
                    _same = (_value == _other) is True and (
                        not _pairs.is_due or _pairs.is_match(_value, _other)
                    )
                except _BaseException as _error:
                    if not _contained(_error):
                        raise
                finally:
                    _set_scope(None)
        except _BaseException:  # aimed at the caller
            _account.skip("interrupted")
            raise
        if _same:
            if _first:
                _buffer = _pairs.control_first
                _buffer.append((_turn - _start, _over - _turn))
            else:
                _buffer = _pairs.control_last
                _buffer.append((_over - _turn, _turn - _start))
            if _len(_buffer) >= _account.limit:
                _fold(_recipe)
            return _value
        _ending = _ended or _Ending(_value)
        _raised = _raised or _Ending(_other)
        _before, _after = _turn - _start, _over - _turn
        _taken = (_before, _after) if _first else (_after, _before)
        await _conclude(_ending, _raised, *_taken, _first, _start)
    elif _current.blocked is not None:
        _next(_ticks[_current.blocked])
        return await _control({passing})
    else:
        _ending = await _execute(_recipe, _lineup, {args}, {kwargs})
        if _ending is None:
            return await _control({passing})
    if _ending.error is None:
        return _ending.value
    try:
        raise _ending.before_raise()
    finally:
        _ending.after_raise()
"""

_DIRECT: Final = "_candidate({passing}) if _own is None else _candidate(*_own[0], **_own[1])"
_INDIRECT: Final = "_calling(_candidate, *(_own or ({args}, {kwargs})))"
_PAIR: Final = Template(_TEMPLATE, __file__, _TEMPLATE_LINE)


def alone(run_alone: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Make a coroutine function of one that counts and gives the control's coroutine."""

    async def run(*args: Any, **kwargs: Any) -> Any:
        return await run_alone(*args, **kwargs)

    return run


def quick_awaited(
    recipe: Recipe, lineup: Lineup, is_simple: bool
) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Make the run function; `is_simple` says that options need no look at a matching run."""
    return _quick(recipe, lineup) if is_simple else _decided(recipe, lineup)


def _decided(recipe: Recipe, lineup: Lineup) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Make the run function that honours every option, and decides without them where it can."""
    control, account, current = lineup.control, recipe.account, settings.current
    coin, is_drawn = coin_of(recipe), recipe.sample != 1
    surely = partial(execute, attrs.evolve(recipe, is_sampled=coin is not None), lineup)
    ticks = {reason: account.ticker(reason).ticks for reason in ("disabled", "enabled", "reentry")}
    plain, is_enabled = current.plain, recipe.enabled is True
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
            ending = await surely(args, kwargs)
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


def _quick(recipe: Recipe, lineup: Lineup) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Make the run function for one candidate, where a matching run is concluded by an append."""
    [(name, candidate)] = lineup.candidates.items()
    account, current = recipe.account, settings.current
    share: Any = recipe.sample
    names = {
        **_NAMES,
        "_account": account,
        "_candidate": candidate,
        "_coin": account.coin(share),
        "_conclude": _concluder(recipe, lineup.control_name, name),
        "_control": lineup.control,
        "_gate": current.quiet if recipe.publishers is None else current.plain,
        "_lineup": lineup,
        "_pairs": account.pairs(lineup.control_name, name),
        "_recipe": recipe,
        "_ticks": {r: account.ticker(r).ticks for r in ("disabled", "enabled", "reentry")},
    }
    return _PAIR.made(
        lineup.control,
        names,
        share=recipe.isolate == "share",
        sampled=share < 1 or "_account.word is not None",
        coroutine=_DIRECT if _is_direct(candidate) else _INDIRECT,
        control_first=ORDERS[str(recipe.order)],
    )


class _Mark(Controlling):
    """Marks a control; its owner, and what is around it, are set by the text."""

    __slots__ = ()
    __init__ = object.__init__


def _concluder(
    recipe: Recipe, control: str, candidate: str
) -> Callable[..., Coroutine[Any, Any, None]]:
    """Make what concludes a run that did not simply match."""

    async def conclude_run(ending: Ending, other: Ending, *facts: int) -> None:
        try:
            await conclude_awaited(run_of(recipe, control, candidate, ending, other, *facts))
        finally:
            other.give_up()

    return conclude_run


def _is_direct(candidate: Behaviour) -> bool:
    """Say whether calling this makes a coroutine, and runs nothing."""
    return type(candidate) is FunctionType and bool(candidate.__code__.co_flags & CO_COROUTINE)


_NAMES: Final[dict[str, Any]] = {
    "__builtins__": __builtins__,
    "__name__": __name__,
    "_BaseException": BaseException,
    "_CoroutineType": CoroutineType,
    "_Ending": Ending,
    "_HOOK": HOOK,
    "_Mark": _Mark,
    "_begin": Drive.quickly,
    "_calling": calling,
    "_clock": perf_counter_ns,
    "_contained": contained,
    "_control_raised": control_raised,
    "_copy_context": copy_context,
    "_current": settings.current,
    "_current_task": current_task,
    "_execute": execute,
    "_flip": dice.getrandbits,
    "_fold": fold,
    "_get_controlling": controlling.get,
    "_get_scope": scope.get,
    "_getattr": getattr,
    "_is_awaitable": is_awaitable,
    "_isolated": own_arguments,
    "_len": len,
    "_map": map,
    "_next": next,
    "_set_controlling": controlling.set,
    "_set_scope": scope.set,
    "_shared": shared_types(),
    "_type": type,
}

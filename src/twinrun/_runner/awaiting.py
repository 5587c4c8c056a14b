"""What has to be known of awaitables and tasks to await a behaviour as its caller would."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError, Task
from collections.abc import Callable, Coroutine, Generator, Iterator
from functools import partial
from inspect import CO_ITERABLE_COROUTINE
from time import perf_counter_ns, thread_time_ns
from types import CoroutineType, GeneratorType
from typing import Any, Final

from twinrun import tracebacks
from twinrun._runner.containment import contained
from twinrun._runner.endings import Ending
from twinrun._runner.recipe import Recipe
from twinrun._runner.scope import Controlling
from twinrun.typing import Behaviour

__all__ = [
    "Metered",
    "awaited_by",
    "calling",
    "cancellations",
    "cancels_of",
    "control_raised",
    "current_task",
    "is_aimed",
    "is_awaitable",
    "is_to_be_cancelled",
    "run_control",
    "shorten",
    "where",
    "without_frame",
]

_traceback: Final[Any] = BaseException.__dict__["__traceback__"]
_names: Final[Any] = type.__dict__["__dict__"].__get__
_mro: Final[Any] = type.__dict__["__mro__"].__get__


def is_awaitable(value: Any) -> bool:
    """Say whether `await` takes a value, without asking its class anything."""
    cls = type(value)
    if cls is CoroutineType:
        return True
    if cls is GeneratorType:
        return bool(value.gi_code.co_flags & CO_ITERABLE_COROUTINE)
    return any("__await__" in _names(each) for each in _mro(cls))


async def calling(function: Behaviour, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a behaviour and, where it gives something to await, await that."""
    value = function(*args, **kwargs)
    return await value if is_awaitable(value) else value


async def run_control(
    recipe: Recipe, function: Behaviour, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Ending, int, int | None]:
    """Run the control in the caller's own context, marked so that recursion runs it alone.

    Gives how it ended, and its nanoseconds by the clock and, where wanted, of CPU time. Raises what
    is aimed at the caller.
    """
    task = current_task()
    cancels = cancels_of(task)
    metered = Metered(calling(function, args, kwargs)) if recipe.cpu_time else None
    start = perf_counter_ns()
    try:
        with Controlling(recipe.account):
            if metered is None:
                value = function(*args, **kwargs)
                value = await value if is_awaitable(value) else value
            else:
                value = await metered
    except BaseException as error:
        taken = perf_counter_ns() - start
        raised = control_raised(task, cancels, error)
        if raised is None:
            raise
        ending = raised
    else:
        taken = perf_counter_ns() - start
        ending = Ending(value)
    return ending, taken, None if metered is None else metered.cpu_ns


def control_raised(task: Task[Any] | None, cancels: int, error: BaseException) -> Ending | None:
    """Give how a control ended that raises; None where that is aimed at the caller."""
    if not contained(error) or is_aimed(task, cancels, error):
        return None
    shorten(error)
    return Ending(None, error)


def current_task() -> Task[Any] | None:
    """Give the task that runs now; None where there is none of asyncio's."""
    try:
        return asyncio.current_task()
    except RuntimeError:  # no event loop, or not one of asyncio's
        return None


def is_to_be_cancelled(task: Task[Any] | None) -> bool:
    """Say whether a task has been cancelled and not been told so yet."""
    return getattr(task, "_must_cancel", False) is True


def cancellations() -> Callable[[BaseException], bool]:
    """Give what says, of an exception raised from now on, whether the caller is being cancelled."""
    task = current_task()
    return partial(is_aimed, task, cancels_of(task))


def cancels_of(task: Task[Any] | None) -> int:
    """Say how many cancellations the task has met by now."""
    return 0 if task is None else task.cancelling() - is_to_be_cancelled(task)


def is_aimed(task: Task[Any] | None, cancels: int, error: BaseException) -> bool:
    """Say whether what a control raised ends its caller's task, and is none of its own.

    `cancels` is how many cancellations the task had met when the control began.
    """
    if type(error) is GeneratorExit:  # it was raised right there where the coroutine is closed
        trace = _traceback.__get__(error)
        return trace is None or trace.tb_next is None
    if task is None or not issubclass(type(error), CancelledError):
        return False
    return task.cancelling() > cancels


def without_frame(error: BaseException) -> BaseException:
    """Take the frame of ours that caught it off the traceback of what is to be thrown on."""
    _traceback.__set__(error, _traceback.__get__(error).tb_next)
    return error


def shorten(error: BaseException) -> None:
    """Leave but one frame of ours in the traceback of what a behaviour has raised."""
    trace = _traceback.__get__(error)
    while trace.tb_next is not None and trace.tb_next.tb_frame.f_code in _OWN:
        trace = trace.tb_next
    _traceback.__set__(error, trace)


def awaited_by(coroutine: Any) -> Iterator[Any]:
    """Give a coroutine and, one inside the other, those that it waits for."""
    inner = {CoroutineType: "cr_await", GeneratorType: "gi_yieldfrom"}
    while type(coroutine) in inner:
        yield coroutine
        coroutine = getattr(coroutine, inner[type(coroutine)])


def where(coroutine: Any) -> str | None:
    """Say where a suspended behaviour stands, without any values; None where it is over."""
    inside = [
        each.cr_frame if type(each) is CoroutineType else each.gi_frame
        for each in awaited_by(coroutine)
    ]
    return tracebacks.standing([f for f in inside if f is not None and f.f_code not in _OWN])


class Metered:
    """Awaits a coroutine and adds up the CPU time of its steps, without what runs in between."""

    __slots__ = ("_coroutine", "cpu_ns")

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = coroutine
        self.cpu_ns = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        """Hand on what the coroutine waits for, and what is thrown into it meanwhile."""
        coroutine = self._coroutine
        thrown: BaseException | None = None
        try:
            while True:
                began = thread_time_ns()
                try:
                    awaited = coroutine.send(None) if thrown is None else coroutine.throw(thrown)
                except StopIteration as stop:
                    return stop.value
                finally:
                    self.cpu_ns += thread_time_ns() - began
                try:
                    thrown = None
                    yield awaited
                except GeneratorExit:
                    coroutine.close()
                    raise
                except BaseException as error:
                    thrown = without_frame(error)
        finally:
            thrown = None  # it leads back to this frame


_OWN: Final = frozenset({calling.__code__, Metered.__await__.__code__})

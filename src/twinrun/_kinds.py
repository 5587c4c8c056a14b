"""What calling a function gives: a value, a coroutine, or a stream of values."""

from __future__ import annotations

import enum
import inspect
from functools import partial
from types import FunctionType, MethodType
from typing import Any, Final

__all__ = ["Kind", "is_unwaited", "kind_of"]


class Kind(enum.Enum):
    """What calling a function gives."""

    PLAIN = "plain function"
    COROUTINE = "coroutine function"
    GENERATOR = "generator function"
    ASYNC_GENERATOR = "async generator function"


_FLAGS: Final = (
    (inspect.CO_ASYNC_GENERATOR, Kind.ASYNC_GENERATOR),
    (inspect.CO_COROUTINE, Kind.COROUTINE),
    (inspect.CO_ITERABLE_COROUTINE, Kind.COROUTINE),  # what `types.coroutine` made of a generator
    (inspect.CO_GENERATOR, Kind.GENERATOR),
)


def kind_of(function: Any) -> Kind:
    """Say what calling this gives, as far as it can be told without calling it.

    Looks through partials and bound methods, and at the `__call__` of an object's class.
    """
    while True:
        if type(function) is partial:
            function = function.func
        elif type(function) is MethodType:
            function = function.__func__
        else:
            break
    if type(function) is FunctionType:
        if inspect.iscoroutinefunction(function):  # also what is only marked as one
            return Kind.COROUTINE
    else:
        function = getattr(type(function), "__call__", None)  # noqa: B004, the method is meant
    if type(function) is FunctionType:
        flags = function.__code__.co_flags
        return next((kind for flag, kind in _FLAGS if flags & flag), Kind.PLAIN)
    return Kind.PLAIN


def is_unwaited(function: Any) -> bool:
    """Say whether calling this gives a coroutine or a generator instead of doing its work."""
    return kind_of(function) is not Kind.PLAIN

"""What users registered for types of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from twinrun._types import mro
from twinrun.cleaners._walk import Reader, Walk
from twinrun.errors import ConfigurationError
from twinrun.tracebacks import type_name

__all__ = ["register_cleaner", "registered"]

F = TypeVar("F", bound=Callable[[Any], Any])

_NATIVE: Final = (type(None), bool, int, float, str, list, dict, tuple, object)

# By identity, since a type's metaclass may define `__hash__`; the type is kept beside.
_registered: dict[int, tuple[type, Reader]] = {}


def register_cleaner(kind: type) -> Callable[[F], F]:
    """Say how values of a type, and of types made from it, become what is stored and shown::

        @register_cleaner(Money)
        def money(value):
            return {"amount": str(value.amount), "currency": value.currency}

    What the function gives is cleaned and scrubbed as any value is, with the type's name put before
    it. Where the function raises, the value is named by its type alone. A later registration of the
    same type takes the place of an earlier one.

    Raises:
        ConfigurationError: `kind` is no class, or one of those that JSON has itself (`int`, `str`,
            `list`, `dict` …); or what is decorated can't be called.
    """
    if not isinstance(kind, type):
        raise ConfigurationError(f"register_cleaner takes a class, not {kind!r}")
    if any(kind is native for native in _NATIVE):
        raise ConfigurationError(
            f"{type_name(kind)} is always read as it is; register a class of your own"
        )

    def register(function: F) -> F:
        if not callable(function):
            raise ConfigurationError(f"a cleaner is a callable of one value, not {function!r}")
        _registered[id(kind)] = (kind, _reader(function))
        return function

    return register


def registered(kind: type) -> Reader | None:
    """Give what was registered for a type, or for the nearest one that it is made from."""
    if not _registered:
        return None
    found = (_registered.get(id(cls)) for cls in mro(kind))
    return next((entry[1] for entry in found if entry is not None), None)


def _reader(function: Callable[[Any], Any]) -> Reader:
    """Contain a user's function, and clean what it gives."""

    def read(walk: Walk, value: Any, kind: type) -> Any:
        try:
            made = function(value)
        except (SystemExit, GeneratorExit) as error:
            raise RuntimeError("a cleaner tried to end the program") from error
        if made is value:
            raise RuntimeError("a cleaner gave what it was given")
        if type(made) is dict and all(type(key) is str for key in made):
            return walk.tagged(kind, walk.fields(made.items(), is_data=True))
        return walk.tagged(kind, {"value": walk.value(made)})

    return read

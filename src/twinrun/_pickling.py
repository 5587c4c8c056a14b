"""Makes a value pickle always: what can't travel becomes a placeholder, in the pickle only."""

from __future__ import annotations

import pickle
from typing import Any

import attrs

__all__ = ["Packed", "Unpicklable", "pack", "type_name"]

_ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes})


@attrs.frozen
class Unpicklable:
    """What stands in a loaded value for something that could not be pickled or loaded.

    `type` is the qualified name of the original's type, `reason` the name of the error's type.
    """

    type: str
    reason: str


class Packed:
    """A value pickled by itself, so that its failure to load harms nothing around it."""

    __slots__ = ("data", "type")

    def __init__(self, type_name: str, data: bytes) -> None:
        self.type = type_name
        self.data = data

    def __reduce__(self) -> tuple[Any, ...]:
        return _load, (self.type, self.data)


def type_name(value: object) -> str:
    """The name of a value's type, read past any metaclass; always a plain str."""
    return str.__str__(type.__dict__["__name__"].__get__(type(value)))


def _type_name(value: object) -> str:
    """The name of a value's type with its module, read past any metaclass."""
    cls = type(value)
    name = str.__str__(type.__dict__["__qualname__"].__get__(cls))
    try:
        module = type.__dict__["__module__"].__get__(cls)
    except Exception:  # a class may have lost its __module__
        return name
    return f"{module}.{name}" if type(module) is str else name


def pack(value: Any) -> Any:
    """Give something that pickles for certain and loads as `value` where that is possible."""
    if type(value) in _ATOMS:
        return value
    try:
        return Packed(_type_name(value), pickle.dumps(value, pickle.HIGHEST_PROTOCOL))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a hostile __reduce__ may raise anything
        return Unpicklable(_type_name(value), _type_name(error))


def _load(type_name: str, data: bytes) -> Any:
    """Load one packed value, or say why it could not be loaded."""
    try:
        return pickle.loads(data)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return Unpicklable(type_name, _type_name(error))

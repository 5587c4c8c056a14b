"""Reads the public fields of objects, without one call into their own code."""

from __future__ import annotations

import sys
import types
from typing import Any

from twinrun.comparators._parts import MISSING, Pairs
from twinrun.comparators._shapes import compared_fields
from twinrun.comparators._verdicts import class_attribute

__all__ = ["field_pairs"]

_HEAP_TYPE = 1 << 9  # of a class's flags: made by a class statement, not in C


def field_pairs(a: Any, b: Any) -> Pairs | bool:
    """Pair the public fields of two objects by name; False where one of them has none."""
    left, right = _public(a), _public(b)
    if not left or not right:
        return False
    names = [*left, *(name for name in right if name not in left)]
    return ((name, left.get(name, MISSING), right.get(name, MISSING)) for name in names)


def _public(value: Any) -> dict[str, Any]:
    """Give an object's fields whose names have no underscore in front; a dict's keys are fields."""
    cls = type(value)
    if cls is dict:
        return value if all(type(key) is str for key in value) else {}
    if not cls.__flags__ & _HEAP_TYPE or issubclass(cls, _values()):
        return {}
    declared = compared_fields(cls)
    if declared is not None:
        found = {name: _read(value, name) for name, _ in declared}
    elif issubclass(cls, tuple):
        _, names = class_attribute(cls, "_fields")
        found = dict(zip(names or (), tuple.__iter__(value), strict=False))
    else:
        found = {**_slots(value), **_instance_dict(value)}
    return {name: part for name, part in found.items() if name[:1] != "_" and part is not MISSING}


def _values() -> tuple[type, ...]:
    """Give the classes whose instances are single values, whatever they are made of."""
    enum = getattr(sys.modules.get("enum"), "Enum", None)
    return (BaseException, str, bytes, int, float, dict, list, *([enum] if enum else []))


def _read(value: Any, name: str) -> Any:
    """Read one declared field past the class's own code."""
    own = _instance_dict(value)
    return own[name] if name in own else _slots(value).get(name, MISSING)


def _instance_dict(value: Any) -> dict[str, Any]:
    """Give an object's own dict, if it has one."""
    for base in type.__dict__["__mro__"].__get__(type(value)):
        found = type.__dict__["__dict__"].__get__(base).get("__dict__")
        if type(found) is types.GetSetDescriptorType:
            own: dict[str, Any] = found.__get__(value)
            return own
    return {}


def _slots(value: Any) -> dict[str, Any]:
    """Give the slots of an object that are filled, the outermost base's first."""
    found = {}
    for base in reversed(type.__dict__["__mro__"].__get__(type(value))):
        for name, descriptor in type.__dict__["__dict__"].__get__(base).items():
            if type(descriptor) is types.MemberDescriptorType:
                try:
                    found[name] = descriptor.__get__(value)
                except AttributeError:  # it was never filled
                    continue
    return found

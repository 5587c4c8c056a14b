"""Says of two values without parts whether they are the same, and what kind of value each is."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, Final

from twinrun._pickling import type_name

__all__ = [
    "both_numbers",
    "class_attribute",
    "has_nan",
    "is_boolean",
    "is_nan",
    "is_number",
    "plain_verdict",
    "plainly_equal",
    "same",
    "same_classes",
]


def class_attribute(cls: type, name: str) -> tuple[type, Any]:
    """Find an attribute in a class and its bases, past any metaclass: its owner and itself."""
    for owner in type.__dict__["__mro__"].__get__(cls):
        attributes = type.__dict__["__dict__"].__get__(owner)
        if name in attributes:
            return owner, attributes[name]
    return object, None


def same(a: Any, b: Any) -> bool:
    """Compare two values by `==`, but NaN equals NaN; raises what `==` or `bool` raises."""
    return plain_verdict(a, b) or _both_nan(a, b)


def plain_verdict(a: Any, b: Any) -> bool:
    """Ask `==` and give its truth; raises TypeError where it gives a container, which has none."""
    verdict = a == b
    if type(verdict) is not bool:
        cls = type(verdict)
        if class_attribute(cls, "__bool__")[1] is None and class_attribute(cls, "__len__")[1]:
            raise TypeError(f"== gave a {type_name(verdict)}, which says neither yes nor no")
    return bool(verdict)


def _both_nan(a: Any, b: Any) -> bool:
    """Whether both are "not a number", or complex numbers whose parts are the same."""
    import numbers

    complexes = [issubclass(type(x), numbers.Complex) for x in (a, b)]
    reals = [issubclass(type(x), numbers.Real) for x in (a, b)]
    if all(complexes) and not all(reals):
        return same(a.real, b.real) and same(a.imag, b.imag)
    return is_nan(a) and is_nan(b)


def is_nan(value: Any) -> bool:
    """Whether a value is "not a number", or numpy's "not a time"."""
    dates: Any = getattr(sys.modules.get("numpy"), "datetime64", ())
    return (is_number(type(value)) or issubclass(type(value), dates)) and bool(value != value)


def has_nan(value: Any) -> bool:
    """Whether NaN, which keeps `==` from saying yes, is a value or among a container's parts."""
    parts = value.values() if type(value) is dict else value
    if type(value) not in (dict, list, tuple):
        parts = (value,)
    return any(type(part) is float and part != part for part in parts)


def both_numbers(a: Any, b: Any) -> bool:
    """Whether two values are numbers, whoever made their classes."""
    return is_number(type(a)) and is_number(type(b))


def is_number(cls: type) -> bool:
    """Whether a class is one of numbers, whoever made it."""
    import numbers

    return issubclass(cls, numbers.Number)


def is_boolean(cls: type) -> bool:
    """Whether a class is that of truth values, Python's or numpy's."""
    return cls is bool or cls is getattr(sys.modules.get("numpy"), "bool_", bool)


def plainly_equal(a: Any, b: Any, loose: bool) -> bool:
    """Whether one `==` of two values of one class, or of two numbers, says True.

    Values of two classes are left to a closer look: `==` between them may do anything (that of a
    polars series and a list that holds itself ends the process). Truth values are numbers only
    where `loose`.
    """
    if type(a) is not type(b) and not (type(a) in _NUMBERS[loose] and type(b) in _NUMBERS[loose]):
        return False
    try:
        return (a == b) is True
    except Exception:  # whoever looks closer finds out whether this hides a real difference
        return False


_NUMBERS: Final = (frozenset({int, float, complex}), frozenset({bool, int, float, complex}))
_ATOMS: Final = frozenset({type(None), bool, int, float, str, bytes})
_MOST: Final = 100_000


def same_classes(a: Any, b: Any) -> bool:
    """Whether two plain values that `==` calls equal are of the same classes everywhere.

    False where this quick look can't tell: for anything but plain containers and atoms, dicts whose
    keys stand in another order, and very large values.
    """
    left = _MOST
    waiting = [(a, b)]
    while waiting:
        a, b = waiting.pop()
        cls = type(a)
        pairs: Iterable[tuple[Any, Any]] | None = None
        if cls is dict and type(b) is dict:
            if [*map(type, a)] == [*map(type, b)]:
                pairs = ((x, b[key]) for key, x in a.items())
        elif cls in (list, tuple) and type(b) is cls:
            pairs = zip(a, b, strict=False)
        if pairs is None:
            return cls in _ATOMS and type(b) is cls
        left -= len(a)
        if left < 0:
            return False
        for x, y in pairs:
            if type(x) is not type(y):
                return False
            if type(x) not in _ATOMS:
                waiting.append((x, y))
    return True

"""Takes what `==` calls equal for equal, but for truth values in the place of numbers.

Asking after the class of every leaf costs several times as much as `==`, so that only a glance is
had: it costs no more for a large value than for one of 64 leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from itertools import islice
from typing import Any, Final

from twinrun.comparators._parts import Items
from twinrun.comparators._shapes import shape_of
from twinrun.comparators._verdicts import is_boolean, is_number, plainly_equal

__all__ = ["ATOMS", "confused", "seem_equal", "settling"]

ATOMS: Final = frozenset({type(None), bool, int, float, str, bytes})
"""Classes whose instances have no parts."""

_VALUES: Final = 64  # that a glance takes in
_ITEMS: Final = 3  # of one sequence: what is wrong with all records is wrong with the first ones


def seem_equal(a: Any, b: Any, loose: bool) -> bool:
    """Whether one `==` says True, and a glance finds no truth value against a number."""
    return plainly_equal(a, b, loose) and (loose or not confused(a, b))


def settling(items: Items, loose: bool) -> Callable[[Any, Any], bool]:
    """Give what says at little cost that two items are equal: by `==` where the first ones are."""
    first = list(zip(items.control[:_ITEMS], items.candidate[:_ITEMS], strict=False))
    wary = any(plainly_equal(x, y, loose) and not seem_equal(x, y, loose) for x, y in first)
    return partial(seem_equal, loose=loose) if wary else _equal


def _equal(a: Any, b: Any) -> bool:
    return type(a) is type(b) and (a == b) is True


def confused(a: Any, b: Any) -> bool:
    """Whether at a glance a truth value stands against a number somewhere in two equal values.

    It goes level by level through dicts, lists, tuples and the fields of attrs and dataclasses: the
    first 3 items of each sequence, all entries and fields, 64 values in all.
    """
    try:
        return type(a) not in ATOMS and _confused(a, b)
    except Exception:  # of a value's own code, or since a container changes meanwhile
        return False


def _confused(a: Any, b: Any) -> bool:
    left, waiting = _VALUES, [(a, b)]
    for a, b in waiting:
        count, pairs = _pairs(a, b)
        if count > left:
            pairs = islice(pairs, left)
        left -= count
        for x, y in pairs:
            if x is not y:
                kind = type(x)
                if kind is not type(y):
                    if _unlike(kind, type(y)):
                        return True
                elif kind not in ATOMS:
                    waiting.append((x, y))
        if left <= 0:
            break
    return False


def _unlike(cls: type, other: type) -> bool:
    """Whether one of two classes is of truth values, the other one of numbers."""
    if is_boolean(cls):
        return is_number(other) and not is_boolean(other)
    return is_boolean(other) and is_number(cls)


def _pairs(a: Any, b: Any) -> tuple[int, Iterable[tuple[Any, Any]]]:
    """Pair the parts of two equal values of one class, where they are cheap to have."""
    cls: Any = type(a)
    if cls is dict:
        return len(a), zip(a.values(), map(b.__getitem__, a), strict=True)
    if cls is list or cls is tuple:
        return _ITEMS, zip(a[:_ITEMS], b, strict=False)
    if cls in ATOMS:
        return 0, ()
    expand = _expanding(cls)
    if expand is None:
        return 0, ()
    parts = expand(a, b)
    if isinstance(parts, Items):
        return _ITEMS, zip(parts.control[:_ITEMS], parts.candidate, strict=False)
    pairs = [(x, y) for _, x, y in islice(parts, _VALUES)]
    return len(pairs), pairs


@lru_cache(maxsize=256)
def _expanding(cls: type) -> Any:
    """Give what pairs the parts of a class's instances; None where they are not cheap to have."""
    shape = shape_of(cls)
    known = shape.fields or (issubclass(cls, (dict, list, tuple)) and not shape.own_eq)
    return shape.expand if known else None

"""Follows the paths of differences into the values, to tell a program's names from its data.

A path names fields, which belong to the program, and keys, which belong to the data.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from datetime import date, datetime
from decimal import Decimal
from itertools import islice
from typing import Any, Final
from uuid import UUID

from twinrun.cleaners._own import classes, own_fields
from twinrun.cleaners._walk import Walk
from twinrun.patterns import split, step
from twinrun.tracebacks import type_name

__all__ = ["ANY", "comparable", "has_named_pair", "nearest_name", "shown"]

ANY: Final = "[*]"
"""Stands for a step that may not be shown."""

_UNKNOWN: Final[Any] = object()
_KEYS: Final = 2_000  # of a dict, among which the one of a path is looked for
_PARTS: Final = 10_000  # of a value that is compared
_DEPTH: Final = 20

_LEAVES: Final = frozenset(
    map(id, (type(None), bool, int, float, complex, str, bytes, Decimal, date, datetime, UUID))
)


def shown(
    walk: Walk, path: str, values: tuple[Any, Any], allows: Callable[[str], bool] | None
) -> str:
    """Give a path in which keys of the data are `[*]`, but those that are allowed by name.

    Where the root has a name, as `$args` has, a first step that is one is a parameter's.
    """
    root, *steps = split(path)
    made = [root]
    for each, *parents in zip(steps, *(_parents(walk, v, steps) for v in values), strict=False):
        named = allows is not None and _name(each) != "" and allows(_name(each))
        own = any(_is_own(walk, parent, each) for parent in parents)
        own = own or (root != "$" and len(made) == 1 and not each.startswith('["'))
        made.append(each if named or own else ANY)
    return "".join(made)


def has_named_pair(walk: Walk, path: str, values: tuple[Any, Any]) -> bool:
    """Whether a path leads to the second of a pair of which the first announces a secret."""
    if "[1]" not in path:
        return False
    steps = split(path)[1:]
    return any(
        each == "[1]"
        and type(parent) in (list, tuple)
        and len(parent) == 2
        and type(parent[0]) is str
        and walk.is_secret(parent[0])
        for value in values
        for each, parent in zip(steps, _parents(walk, value, steps), strict=False)
    )


def nearest_name(path: str) -> str:
    """Give the last name in a path; the whole value stands under `value`."""
    return next((name for name in map(_name, reversed(split(path)[1:])) if name), "value")


def comparable(walk: Walk, value: Any) -> Any:
    """Give a value as one of built-in types that can be compared without a call into its code.

    Raises `LookupError` where it is too large.
    """
    left = [_PARTS]

    def plain(value: Any, depth: int) -> Any:
        kind = type(value)
        if id(kind) in _LEAVES:
            return value
        left[0] -= 1
        if depth > _DEPTH or left[0] < 0:
            raise LookupError("too large to be compared")
        if kind is list or kind is tuple:
            left[0] -= len(value)
            return kind(plain(each, depth + 1) for each in value[: _PARTS + 1])
        if kind is dict:
            pairs: Any = islice(value.items(), _PARTS + 1)
            left[0] -= len(value)
            return {k: plain(v, depth + 1) for k, v in pairs if id(type(k)) in _LEAVES}
        pairs = _named_items(value, kind) or own_fields(walk, value, kind)
        return {n: plain(part, depth + 1) for n, part in pairs} or f"<{type_name(kind)}>"

    return plain(value, 0)


def _name(each: str) -> str:
    """Give a step's name, empty where it is an index."""
    if each.startswith("."):
        return each[1:]
    return each[2:-2] if each.startswith('["') else ""


def _parents(walk: Walk, value: Any, steps: list[str]) -> Iterator[Any]:
    """Give what each step is taken from, as far as it can be followed."""
    for each in steps:
        yield value
        value = next((part for name, part in _parts(walk, value) if name == each), _UNKNOWN)


def _parts(walk: Walk, value: Any) -> Iterator[tuple[str, Any]]:
    """Give what is inside a value, each part with its step."""
    kind = type(value)
    if issubclass(kind, dict):
        pairs = islice(dict.items(value), _KEYS)
        yield from ((step(key), part) for key, part in pairs if type(key) in (str, int))
    elif issubclass(kind, list | tuple | deque):
        base: Any = next(base for base in (list, tuple, deque) if issubclass(kind, base))
        yield from ((f"[{n}]", part) for n, part in enumerate(base.__iter__(value)))
        yield from ((step(name), part) for name, part in _named_items(value, kind))
    elif value is not _UNKNOWN:
        yield from ((step(name), part) for name, part in own_fields(walk, value, kind))


def _named_items(value: Any, kind: type) -> list[tuple[str, Any]]:
    """Give the items of a named tuple by their names."""
    if kind is tuple or not issubclass(kind, tuple):
        return []
    names = next((own["_fields"] for _, own in classes(kind) if "_fields" in own), None)
    if type(names) is not tuple or not all(type(name) is str for name in names):
        return []
    return list(zip(names, tuple.__iter__(value), strict=False))


def _is_own(walk: Walk, parent: Any, each: str) -> bool:
    """Whether a step is an index or a field, and no key of the data."""
    if parent is _UNKNOWN or issubclass(type(parent), dict):
        return False
    return any(name == each for name, _ in _parts(walk, parent))

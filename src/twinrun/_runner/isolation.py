"""Copies of the arguments for each candidate, so that it can't change what the control sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

__all__ = [
    "LIMIT",
    "UnsharableError",
    "copied",
    "copied_value",
    "copied_within",
    "is_one_shot",
    "is_shared",
    "shared_types",
]

LIMIT: Final = 100_000
"""How many elements the copied containers of one call may have in all."""

_ATOMS: Final = frozenset({type(None), bool, int, float, complex, str, bytes, type, range})
_COPIED: Final = frozenset({list, dict, tuple, set, bytearray})
_TEXTS: Final = frozenset({str, bytes})
_BYTES: Final = 64
"""How many bytes of a bytearray count as one element: about what costs as much to copy."""

_names: Final[Any] = type.__dict__["__dict__"].__get__
_DEPTH = 200
_KNOWN_TYPES = 10_000

_shared: set[type] = set(_ATOMS)


def shared_types() -> set[type]:
    """Give the types known to go to candidates as they are; the set grows as types are met."""
    return _shared


class UnsharableError(Exception):
    """The arguments can't be isolated within bounds; that is no failure, the run is skipped."""


def is_one_shot(cls: type) -> bool:
    """Say whether values of a type are used up by reading them, as iterators and coroutines are.

    Reads the classes' own dictionaries, so that no metaclass of the user's is asked.
    """
    return any(
        "__next__" in _names(base) or "__await__" in _names(base)
        for base in type.__dict__["__mro__"].__get__(cls)
    )


def is_shared(cls: type) -> bool:
    """Say whether values of exactly this type go to the candidate as they are."""
    if cls in _shared:
        return True
    if cls in _COPIED:
        return False
    if is_one_shot(cls):
        return False
    if len(_shared) > _KNOWN_TYPES:  # classes made on the fly must not be kept alive by us
        _shared.intersection_update(_ATOMS)
    _shared.add(cls)
    return True


def copied(
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    isolate: str | Callable[[Any], Any],
    keep_first: bool,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Give one candidate's own arguments; `keep_first` shares the first, which is `self`.

    Raises:
        UnsharableError: there is an iterator among them, or they are too large or too deep.
    """
    if isolate == "share":
        return args, kwargs
    kept, rest = (args[:1], args[1:]) if keep_first else ((), args)
    if callable(isolate):
        return (
            kept + tuple(isolate(value) for value in rest),
            {key: isolate(value) for key, value in kwargs.items()},
        )
    if isolate == "deepcopy":
        from copy import deepcopy

        for value in (*rest, *kwargs.values()):
            if not is_shared(type(value)) and type(value) not in _COPIED:
                raise UnsharableError
        new_rest, new_kwargs = deepcopy((rest, kwargs))
        return kept + new_rest, new_kwargs
    memo: dict[int, Any] = {_LEFT: LIMIT}
    return (
        kept + tuple([v if type(v) in _shared else _copy(v, memo, 0) for v in rest]),
        {key: v if type(v) in _shared else _copy(v, memo, 0) for key, v in kwargs.items()},
    )


def copied_value(value: Any) -> Any:
    """Copy one value as `"containers"` does; those that hold no other ones cost least.

    Raises:
        UnsharableError: it is an iterator, or it is or holds one, or is too large or too deep.
    """
    cls = type(value)
    if (cls is dict or cls is list) and len(value) <= LIMIT:
        for item in value.values() if cls is dict else value:
            if type(item) not in _shared:
                break
        else:
            return value.copy()
    return _copy(value, {_LEFT: LIMIT}, 0)


def copied_within(value: Any, left: int) -> tuple[Any, int]:
    """Copy one value as `"containers"` does, and give how many of the elements left are left then.

    The value itself is one; texts count like bytearrays. What is negative then was too much.

    Raises:
        UnsharableError: it is an iterator, or it is or holds one, or is too large or too deep.
    """
    cls = type(value)
    parts = value.values() if cls is dict else value if cls is list else (value,)
    left -= 1 + sum([len(each) // _BYTES for each in parts if type(each) in _TEXTS])
    if cls in _shared:
        return value, left
    memo: dict[int, Any] = {_LEFT: left}
    return _copy(value, memo, 0), memo[_LEFT]


_LEFT: Final = 0  # no object's id; under it the memo keeps how many more elements may be copied


def _copy(value: Any, memo: dict[int, Any], depth: int) -> Any:
    """Copy exactly the mutable built-in containers, keeping aliases and cycles."""
    cls = type(value)
    if cls not in _COPIED:
        if is_shared(cls):
            return value
        raise UnsharableError
    known = memo.get(id(value))
    if known is not None:
        return known
    memo[_LEFT] -= len(value) // _BYTES if cls is bytearray else len(value)
    if memo[_LEFT] < 0 or depth > _DEPTH:
        raise UnsharableError
    if cls is set or cls is bytearray:
        return memo.setdefault(id(value), value.copy())
    if cls is tuple:
        return _copy_tuple(value, memo, depth)
    new = memo[id(value)] = value.copy()
    for key, item in value.items() if cls is dict else enumerate(value):
        kind = type(item)
        if kind in _shared or (kind is tuple and _shared.issuperset(map(type, item))):
            continue
        new[key] = _copy(item, memo, depth + 1)
    return new


def _copy_tuple(value: tuple[Any, ...], memo: dict[int, Any], depth: int) -> tuple[Any, ...]:
    """Copy a tuple only where it holds something that was copied."""
    if _shared.issuperset(map(type, value)):
        return value
    items = [_copy(item, memo, depth + 1) for item in value]
    if all(new is old for new, old in zip(items, value, strict=True)):
        return value
    # A cycle through this tuple has made its copy meanwhile.
    new: tuple[Any, ...] = memo.setdefault(id(value), tuple(items))
    return new

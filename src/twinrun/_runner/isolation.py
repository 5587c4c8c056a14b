"""Copies of the arguments for each candidate, so that it can't change what the control sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

__all__ = ["UnsharableError", "copied", "is_one_shot", "is_shared", "shared_types"]

LIMIT: Final = 100_000
"""How many elements the copied containers of one call may have in all."""

_ATOMS: Final = frozenset({type(None), bool, int, float, complex, str, bytes, type, range})
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
        "__next__" in vars(base) or "__await__" in vars(base)
        for base in type.__dict__["__mro__"].__get__(cls)
    )


def is_shared(cls: type) -> bool:
    """Say whether values of exactly this type go to the candidate as they are."""
    if cls in _shared:
        return True
    if cls in _COPIERS:
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
    for value in (*rest, *kwargs.values()):
        if type(value) not in _shared and is_one_shot(type(value)):
            raise UnsharableError
    if isolate == "deepcopy":
        from copy import deepcopy

        new_rest, new_kwargs = deepcopy((rest, kwargs))
        return kept + new_rest, new_kwargs
    copier = _Copier()
    return (
        kept + tuple(copier.copy(value, 0) for value in rest),
        {key: copier.copy(value, 0) for key, value in kwargs.items()},
    )


class _Copier:
    """Copies exactly the mutable built-in containers, keeping aliases and cycles."""

    __slots__ = ("left", "memo")

    def __init__(self) -> None:
        self.left = LIMIT
        self.memo: dict[int, Any] = {}

    def copy(self, value: Any, depth: int) -> Any:
        """Copy one value, or share it where it is no such container."""
        cls = type(value)
        if is_shared(cls):
            return value
        copier = _COPIERS.get(cls)
        if copier is None or depth > _DEPTH:
            raise UnsharableError
        known = self.memo.get(id(value))
        if known is not None:
            return known
        self.left -= len(value)
        if self.left < 0:
            raise UnsharableError
        return copier(self, value, depth + 1)


def _copy_list(copier: _Copier, value: list[Any], depth: int) -> list[Any]:
    """Copy a list; one that holds nothing to copy is copied in one step."""
    new = copier.memo[id(value)] = value.copy()
    if not _shared.issuperset(map(type, new)):
        for index, item in enumerate(new):
            new[index] = copier.copy(item, depth)
    return new


def _copy_dict(copier: _Copier, value: dict[Any, Any], depth: int) -> dict[Any, Any]:
    """Copy a dict; its keys are hashable and so shared."""
    new = copier.memo[id(value)] = value.copy()
    if not _shared.issuperset(map(type, new.values())):
        for key, item in list(new.items()):
            copy = copier.copy(item, depth)
            if copy is not item:
                new[key] = copy
    return new


def _copy_tuple(copier: _Copier, value: tuple[Any, ...], depth: int) -> tuple[Any, ...]:
    """Copy a tuple only where it holds something that was copied."""
    if _shared.issuperset(map(type, value)):
        return value
    items = [copier.copy(item, depth) for item in value]
    if all(new is old for new, old in zip(items, value, strict=True)):
        return value
    # A cycle through this tuple has made its copy meanwhile.
    new: tuple[Any, ...] = copier.memo.setdefault(id(value), tuple(items))
    return new


def _copy_flat(copier: _Copier, value: Any, depth: int) -> Any:
    """Copy a set or a bytearray, whose elements need no copy."""
    new = copier.memo[id(value)] = value.copy()
    return new


_COPIERS: dict[type, Callable[[_Copier, Any, int], Any]] = {
    list: _copy_list,
    dict: _copy_dict,
    tuple: _copy_tuple,
    set: _copy_flat,
    bytearray: _copy_flat,
}

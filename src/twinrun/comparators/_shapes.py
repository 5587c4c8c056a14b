"""Says, for each class, how two of its instances are compared."""

from __future__ import annotations

import collections
import functools
import itertools
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from twinrun.comparators._libraries import library_shape
from twinrun.comparators._parts import HERE, MISSING, WHOLE, Items, Pairs, Shape
from twinrun.comparators._verdicts import class_attribute, is_nan, same

__all__ = ["compared_fields", "shape_of", "unlike_keys"]


def shape_of(cls: type) -> Shape:
    """Find out how the instances of a class are compared."""
    owner, eq = class_attribute(cls, "__eq__")
    for family, expand in _CONTAINERS.items():
        if issubclass(cls, family):
            if owner is collections.OrderedDict:
                return Shape(dict, _ordered_entries)
            family = set if family is frozenset else family
            return Shape(family, expand, own_eq=owner not in _CONTAINERS)
    bases = type.__dict__["__mro__"].__get__(cls)
    if Mapping in bases or cls is types.MappingProxyType:
        return Shape(dict, _entries, own_eq=owner not in (Mapping, types.MappingProxyType))
    if cls in _LISTED or (Sequence in bases and owner is object):
        return Shape(cls, _listed if cls in _LISTED else _endless)
    if owner is object:
        if issubclass(cls, BaseException):
            return Shape(cls, _arguments)
        fields = compared_fields(cls)
    else:
        fields = compared_fields(owner) if _is_generated(eq) else None
    if fields is not None:
        return Shape(cls, lambda a, b: _field_pairs(fields, a, b), fields=True)
    return library_shape(cls) or Shape(cls, same)


def _is_generated(eq: Any) -> bool:
    """Whether an `__eq__` was written by attrs or dataclasses, so that the fields tell it all."""
    return type(eq) is types.FunctionType and (
        eq.__code__.co_filename.startswith("<attrs generated")
        or eq.__code__.co_qualname == "__create_fn__.<locals>.__eq__"  # made by dataclasses
    )


def compared_fields(cls: type) -> list[tuple[str, Any]] | None:
    """Name the compared fields of an attrs class or dataclass, each with its key function."""
    _, fields = class_attribute(cls, "__attrs_attrs__")
    if fields is not None:
        return [(field.name, field.eq_key) for field in fields if field.eq]
    _, fields = class_attribute(cls, "__dataclass_fields__")
    if fields is not None:
        return [(f.name, None) for f in sys.modules["dataclasses"].fields(cls) if f.compare]
    return None


def _field_pairs(fields: list[tuple[str, Any]], a: Any, b: Any) -> Pairs:
    """Pair the fields of two instances of one class; a field may be unset."""
    for name, key in fields:
        left, right = getattr(a, name, MISSING), getattr(b, name, MISSING)
        if key is not None and left is not MISSING and right is not MISSING:
            left, right = key(left), key(right)
        yield name, left, right


def _arguments(a: BaseException, b: BaseException) -> Pairs:
    """Pair the arguments of two exceptions of one type."""
    args = BaseException.__dict__["args"].__get__
    yield "args", args(a), args(b)


def _entries(a: Any, b: Any) -> Pairs:
    """Pair the entries of two mappings, in the control's order, what was added last."""
    if not (issubclass(type(a), dict) and issubclass(type(b), dict)):
        return _any_entries(a, b)
    return _dict_entries(a, b)


def _dict_entries(a: dict[Any, Any], b: dict[Any, Any]) -> Pairs:
    """Pair the entries of two dicts, whatever their classes say of themselves."""
    get = b.get if type(b) is dict else functools.partial(dict.get, b)
    for key, value in dict.items(a):
        yield key, value, get(key, MISSING)
    for key, value in dict.items(b):
        if not dict.__contains__(a, key):
            yield key, MISSING, value


def _any_entries(a: Any, b: Any) -> Pairs:
    """Pair the entries of two mappings, one of which is no dict; it may have no end."""
    for key in a:
        yield key, a[key], b.get(key, MISSING)
    for key in b:
        if key not in a:
            yield key, MISSING, b[key]


def _ordered_entries(a: dict[Any, Any], b: dict[Any, Any]) -> Pairs:
    """Pair the entries of two dicts; between two ordered ones the order counts as well."""
    yield from _entries(a, b)
    ordered = all(issubclass(type(side), collections.OrderedDict) for side in (a, b))
    if ordered and dict.keys(a) == dict.keys(b) and list(a) != list(b):
        yield WHOLE, a, b


def _elements(a: Any, b: Any) -> Pairs:
    """Name what only one of two sets has; a set has no places, so NaN stands for any NaN."""
    left, right = frozenset(a), frozenset(b)
    removed, added = left - right, right - left
    nans = min(sum(map(is_nan, removed)), sum(map(is_nan, added)))
    for element in _after_nans(removed, nans):
        yield HERE, element, MISSING
    for element in _after_nans(added, nans):
        yield HERE, MISSING, element


def unlike_keys(a: Any, b: Any) -> Pairs:
    """Pair the keys, or members, of two containers that are equal but of two classes."""
    if len(set(map(type, a)).union(map(type, b))) == 1:
        return
    others = {key: key for key in b}
    for key in a:
        other = others.get(key, MISSING)
        if other is not MISSING and type(other) is not type(key):
            yield HERE, key, other


def _after_nans(elements: frozenset[Any], nans: int) -> Iterator[Any]:
    """Give all elements but so many NaNs."""
    for element in elements:
        if nans and is_nan(element):
            nans -= 1
        else:
            yield element


def _items(a: list[Any], b: list[Any]) -> Items:
    """Give the items of two lists, whatever their classes say of themselves."""
    if type(a) is type(b) is list:
        return Items(a, b)
    return Items(list.__getitem__(a, slice(None)), list.__getitem__(b, slice(None)))


def _tuple_items(a: tuple[Any, ...], b: tuple[Any, ...]) -> Pairs | Items:
    """Give the items of two tuples, by name where both are of one class that names them."""
    left, right = tuple.__iter__(a), tuple.__iter__(b)
    if type(a) is type(b) is not tuple:
        _, names = class_attribute(type(a), "_fields")
        if type(names) is tuple and len(names) == tuple.__len__(a):
            return zip(names, left, right, strict=False)
    if type(a) is type(b) is tuple:
        return Items(a, b)
    return Items([*left], [*right])


def _listed(a: Any, b: Any) -> Items:
    """Give the items of two sequences that are known to have an end."""
    return Items([*a], [*b])


def _endless(a: Any, b: Any) -> Pairs:
    """Pair the items of two sequences by index, one by one."""
    pairs = itertools.zip_longest(a, b, fillvalue=MISSING)
    return ((index, *pair) for index, pair in enumerate(pairs))


_LISTED = {collections.deque, collections.UserList}
_CONTAINERS: dict[type, Callable[[Any, Any], Pairs | Items]] = {
    dict: _entries,
    list: _items,
    tuple: _tuple_items,
    set: _elements,
    frozenset: _elements,
}

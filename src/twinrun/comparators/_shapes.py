"""Says, for each class, how two of its instances are compared."""

from __future__ import annotations

import collections
import itertools
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import attrs

from twinrun._pickling import type_name

__all__ = [
    "HERE",
    "MISSING",
    "WHOLE",
    "Pairs",
    "Shape",
    "both_numbers",
    "plain_verdict",
    "same",
    "shape_of",
]

MISSING: Any = object()
"""Stands for the part that one side does not have."""
HERE: Any = object()
WHOLE: Any = object()

Pairs: TypeAlias = Iterator[tuple[Any, Any, Any]]
"""(key, control's part, candidate's part). `HERE` is the key of what has no place of its own,
`WHOLE` that of two containers which differ though no part of them does."""


@attrs.frozen
class Shape:
    """How the instances of one class are compared.

    `family` tells which other instances are of the same kind, `expand` gives the pairs of their
    parts or, where there are none, whether they are the same. `own_eq` marks containers whose class
    has its own `__eq__`; `opaque` ones must never meet the `==` of another family.
    """

    family: Any
    expand: Callable[[Any, Any], Pairs | bool]
    own_eq: bool = False
    opaque: bool = False


def shape_of(cls: type) -> Shape:
    """Find out how the instances of a class are compared."""
    owner, eq = _class_attribute(cls, "__eq__")
    for family, expand in _CONTAINERS.items():
        if issubclass(cls, family):
            if owner is collections.OrderedDict:
                return Shape(dict, _ordered_entries)
            family = set if family is frozenset else family
            return Shape(family, expand, own_eq=owner not in _CONTAINERS)
    if owner is object:
        if issubclass(cls, BaseException):
            return Shape(cls, _arguments)
        fields = _fields(cls)
    else:
        fields = _fields(owner) if _is_generated(eq) else None
    if fields is not None:
        return Shape(cls, lambda a, b: _field_pairs(fields, a, b))
    return _library_shape(cls) or Shape(cls, same)


def _class_attribute(cls: type, name: str) -> tuple[type, Any]:
    """Find an attribute in a class and its bases, past any metaclass: its owner and itself."""
    for owner in type.__dict__["__mro__"].__get__(cls):
        attributes = type.__dict__["__dict__"].__get__(owner)
        if name in attributes:
            return owner, attributes[name]
    return object, None


def _is_generated(eq: Any) -> bool:
    """Whether an `__eq__` was written by attrs or dataclasses, so that the fields tell it all."""
    return type(eq) is types.FunctionType and (
        eq.__code__.co_filename.startswith("<attrs generated")
        or eq.__code__.co_qualname == "__create_fn__.<locals>.__eq__"  # made by dataclasses
    )


def _fields(cls: type) -> list[tuple[str, Any]] | None:
    """Name the compared fields of an attrs class or dataclass, each with its key function."""
    _, fields = _class_attribute(cls, "__attrs_attrs__")
    if fields is not None:
        return [(field.name, field.eq_key) for field in fields if field.eq]
    _, fields = _class_attribute(cls, "__dataclass_fields__")
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


def _entries(a: dict[Any, Any], b: dict[Any, Any]) -> Pairs:
    """Pair the entries of two dicts, in the control's order, what was added last."""
    for key, value in dict.items(a):
        yield key, value, dict.get(b, key, MISSING)
    for key, value in dict.items(b):
        if not dict.__contains__(a, key):
            yield key, MISSING, value


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
    nans = min(sum(map(_is_nan, removed)), sum(map(_is_nan, added)))
    for element in _after_nans(removed, nans):
        yield HERE, element, MISSING
    for element in _after_nans(added, nans):
        yield HERE, MISSING, element


def _after_nans(elements: frozenset[Any], nans: int) -> Iterator[Any]:
    """Give all elements but so many NaNs."""
    for element in elements:
        if nans and _is_nan(element):
            nans -= 1
        else:
            yield element


def _items(a: list[Any], b: list[Any]) -> Pairs:
    """Pair the items of two lists by index."""
    return _indexed(list.__iter__(a), list.__iter__(b), list.__len__(a), list.__len__(b))


def _tuple_items(a: tuple[Any, ...], b: tuple[Any, ...]) -> Pairs:
    """Pair the items of two tuples, by name where both are of one class that names them."""
    left, right = tuple.__iter__(a), tuple.__iter__(b)
    if type(a) is type(b) is not tuple:
        _, names = _class_attribute(type(a), "_fields")
        if type(names) is tuple and len(names) == tuple.__len__(a):
            return zip(names, left, right, strict=False)
    return _indexed(left, right, tuple.__len__(a), tuple.__len__(b))


def _indexed(left: Iterator[Any], right: Iterator[Any], size: int, other_size: int) -> Pairs:
    """Pair what two iterators give by index; the longer one's tail stands against nothing."""
    if size < other_size:
        left = itertools.chain(left, itertools.repeat(MISSING, other_size - size))
    elif other_size < size:
        right = itertools.chain(right, itertools.repeat(MISSING, size - other_size))
    return zip(itertools.count(), left, right, strict=False)


_CONTAINERS: dict[type, Callable[[Any, Any], Pairs]] = {
    dict: _entries,
    list: _items,
    tuple: _tuple_items,
    set: _elements,
    frozenset: _elements,
}


def _library_shape(cls: type) -> Shape | None:
    """Say how an array or frame is compared; a library nobody imported has no instances."""
    for module, names in (
        ("numpy", ("ndarray",)),
        ("pandas", ("DataFrame", "Series", "Index")),
        ("pandas.api.extensions", ("ExtensionArray",)),
        ("polars", ("DataFrame", "Series")),
    ):
        for name in names:
            family = getattr(sys.modules.get(module), name, None)
            if isinstance(family, type) and issubclass(cls, family):
                expand = _array if module == "numpy" else _same_frame
                return Shape(family, expand, opaque=True)
    na = getattr(sys.modules.get("pandas"), "NA", None)
    return Shape(cls, same, opaque=True) if na is not None and cls is type(na) else None


def _same_frame(a: Any, b: Any) -> bool:
    """Compare two frames, series or indexes, whose `equals` takes NaN to equal NaN."""
    return bool(a.equals(b))


def _array(a: Any, b: Any) -> Pairs | bool:
    """Compare two numpy arrays as a whole, or by their elements where these are objects."""
    if a.shape != b.shape:
        return False
    masked = hasattr(a, "mask") or hasattr(b, "mask")
    if not (masked or a.dtype.hasobject or b.dtype.hasobject):
        try:
            return bool(sys.modules["numpy"].array_equal(a, b, equal_nan=True))
        except TypeError:  # such dtypes know no NaN, or can't be compared as a whole
            pass
    return iter(((HERE, a.tolist(), b.tolist()),))


def same(a: Any, b: Any) -> bool:
    """Compare two values by `==`, but NaN equals NaN; raises what `==` or `bool` raises."""
    return plain_verdict(a, b) or _both_nan(a, b)


def plain_verdict(a: Any, b: Any) -> bool:
    """Ask `==` and give its truth; raises TypeError where it gives a container, which has none."""
    verdict = a == b
    if type(verdict) is not bool:
        cls = type(verdict)
        if _class_attribute(cls, "__bool__")[1] is None and _class_attribute(cls, "__len__")[1]:
            raise TypeError(f"== gave a {type_name(verdict)}, which says neither yes nor no")
    return bool(verdict)


def _both_nan(a: Any, b: Any) -> bool:
    """Whether both are "not a number", or complex numbers whose parts are the same."""
    import numbers

    complexes = [issubclass(type(x), numbers.Complex) for x in (a, b)]
    reals = [issubclass(type(x), numbers.Real) for x in (a, b)]
    if all(complexes) and not all(reals):
        return same(a.real, b.real) and same(a.imag, b.imag)
    return _is_nan(a) and _is_nan(b)


def _is_nan(value: Any) -> bool:
    """Whether a value is "not a number", or numpy's "not a time"."""
    dates: Any = getattr(sys.modules.get("numpy"), "datetime64", ())
    return (_is_number(type(value)) or issubclass(type(value), dates)) and bool(value != value)


def both_numbers(a: Any, b: Any) -> bool:
    """Whether two values are numbers, whoever made their classes."""
    return _is_number(type(a)) and _is_number(type(b))


def _is_number(cls: type) -> bool:
    """Whether a class is one of numbers, whoever made it."""
    import numbers

    return issubclass(cls, numbers.Number)

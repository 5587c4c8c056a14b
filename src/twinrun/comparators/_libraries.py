"""Says how arrays and frames are compared, without importing what they are made by."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final

from twinrun.comparators._parts import HERE, Pairs, Shape, Steps
from twinrun.comparators._verdicts import same

__all__ = ["library_shape"]


def library_shape(cls: type) -> Shape | None:
    """Say how an array or frame is compared; a library nobody imported has no instances."""
    for module, expansions in _LIBRARIES.items():
        for name, expand in expansions.items():
            family = getattr(sys.modules.get(module), name, None)
            if isinstance(family, type) and issubclass(cls, family):
                return Shape(family, expand, opaque=True, whole=module != "numpy")
    na = getattr(sys.modules.get("pandas"), "NA", None)
    return Shape(cls, same, opaque=True) if na is not None and cls is type(na) else None


def _array(a: Any, b: Any) -> Pairs | bool:
    """Compare two numpy arrays as a whole, then by the elements that are not equal."""
    if a.shape != b.shape or (a.dtype.kind == "b") is not (b.dtype.kind == "b"):
        return False
    masked = hasattr(a, "mask") or hasattr(b, "mask")
    kinds = {a.dtype.kind, b.dtype.kind}
    if not masked and "O" not in kinds:
        try:
            if sys.modules["numpy"].array_equal(a, b, equal_nan=True):
                return True
        except TypeError:  # such dtypes know no NaN, or can't be compared as a whole
            pass
        if kinds <= _NUMERIC or (len(kinds) == 1 and kinds <= _PLAIN):
            return _unequal(a, b)
    return iter(((HERE, a.tolist(), b.tolist()),))


_NUMERIC: Final = frozenset("biufc")
_PLAIN: Final = frozenset("MmSU")


def _unequal(a: Any, b: Any) -> Pairs:
    """Pair the elements of two arrays that are not equal; NaN is left to whoever compares them."""
    for place in sys.modules["numpy"].argwhere(a != b):
        x, y = a[tuple(place)], b[tuple(place)]
        if x.dtype.kind in _NUMERIC:
            x, y = x.item(), y.item()
        yield Steps("".join(f"[{index}]" for index in place)), x, y


def _frame(a: Any, b: Any) -> Pairs | bool:
    """Compare two frames, whose `equals` takes NaN to equal NaN, then by their columns."""
    if a.equals(b):
        return True
    names, others = [*a.columns], [*b.columns]
    if len(a) != len(b) or len(set(names)) < len(names) or names != others:
        return False
    if hasattr(a, "index") and not a.index.equals(b.index):
        return iter((("index", a.index, b.index),))
    return ((name, a[name], b[name]) for name in names)


def _column(a: Any, b: Any) -> Pairs | bool:
    """Compare two series, indexes or extension arrays, then by their elements."""
    if a.equals(b):
        return True
    if len(a) != len(b):
        return False
    if hasattr(a, "index") and not a.index.equals(b.index):
        return iter((("index", a.index, b.index),))
    return ((i, x, y) for i, (x, y) in enumerate(zip(a.tolist(), b.tolist(), strict=True)))


def _polars_series(a: Any, b: Any) -> Pairs | bool:
    """Compare two series of polars, then by their elements."""
    if a.equals(b):
        return True
    if len(a) != len(b):
        return False
    return ((i, x, y) for i, (x, y) in enumerate(zip(a.to_list(), b.to_list(), strict=True)))


_LIBRARIES: Final[dict[str, dict[str, Callable[[Any, Any], Any]]]] = {
    "numpy": {"ndarray": _array},
    "pandas": {"DataFrame": _frame, "Series": _column, "Index": _column},
    "pandas.api.extensions": {"ExtensionArray": _column},
    "polars": {"DataFrame": _frame, "Series": _polars_series},
}

"""Hypothesis strategies for nested plain values."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

__all__ = ["documents", "keys", "pairs", "plain", "scalars"]


def scalars(*, allow_nan: bool = False) -> st.SearchStrategy[Any]:
    """None, booleans, numbers, text and bytes, small ones often so that equal values meet."""
    return st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-2, 2),
        st.integers(),
        st.floats(allow_nan=allow_nan),
        st.complex_numbers(allow_nan=allow_nan),
        st.sampled_from(["", "a", "b"]),
        st.text(max_size=8),
        st.binary(max_size=4),
    )


def keys() -> st.SearchStrategy[Any]:
    """Dict keys: names, odd text and whole numbers."""
    return st.one_of(st.sampled_from(["a", "b", "c"]), st.text(max_size=5), st.integers(-9, 99))


def plain(*, allow_nan: bool = False) -> st.SearchStrategy[Any]:
    """Nested dicts, lists, tuples, sets and frozensets of scalars."""
    leaves = scalars(allow_nan=allow_nan)
    hashable = st.one_of(st.integers(-2, 2), st.sampled_from(["", "a", "b"]), st.none())
    return st.recursive(
        st.one_of(leaves, st.sets(hashable, max_size=3), st.frozensets(hashable, max_size=3)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.lists(inner, max_size=4).map(tuple),
            st.dictionaries(keys(), inner, max_size=4),
        ),
        max_leaves=12,
    )


def documents(*, allow_nan: bool = False) -> st.SearchStrategy[Any]:
    """Nested dicts and lists of scalars, as they come out of JSON."""
    return st.recursive(
        scalars(allow_nan=allow_nan),
        lambda inner: st.one_of(
            st.lists(inner, max_size=4), st.dictionaries(keys(), inner, max_size=4)
        ),
        max_leaves=15,
    )


@st.composite
def pairs(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> tuple[Any, Any]:
    """Two values of a strategy: unrelated ones, equal ones, or some alike but for a part."""
    first = draw(values)
    second = draw(st.one_of(values, st.just(copy.deepcopy(first))))
    if draw(st.booleans()):
        return first, second
    around = draw(st.lists(values, max_size=2))
    return [*around, first], [*copy.deepcopy(around), second]

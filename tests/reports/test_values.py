"""Cleaned values written for people."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinrun.analysis.summary import Raised
from twinrun.cleaners import clean
from twinrun.observation import NOTHING
from twinrun.reports.values import contrast, lines, short

LEAVES = st.none() | st.booleans() | st.integers() | st.text(st.characters(), max_size=5)
TAGGED = st.sampled_from(["$type", "$more", "$cut", "items"])
CLEANED = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(TAGGED | st.text(), inner | st.sampled_from(["dict", "set"]))
    ),
    max_leaves=15,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (NOTHING, "nothing"),
        (None, "None"),
        ("it's\n", '"it\'s\\n"'),
        ([], "[]"),
        ({}, "{}"),
        ([1, [True, {"a": 2.5}]], "[1, [True, {'a': 2.5}]]"),
        ({"$type": "Decimal", "value": "1.0"}, "Decimal('1.0')"),
        ({"$type": "Point", "x": 1, "y": 2}, "Point(x=1, y=2)"),
        (clean((1, "a")), "(1, 'a')"),
        (clean(((),)), "(())"),
        (clean({2}), "{2}"),
        (clean(set()), "set([])"),
        ({"$type": "dict", "items": [7]}, "dict([7])"),
        (clean({1: {"a": 2}, None: 3}), "{1: {'a': 2}, None: 3}"),
        (clean({"$type": 1, "$$": 2}), "{'$type': 1, '$$': 2}"),
        (clean(Decimal("1.50")), "decimal.Decimal('1.50')"),
        (clean(float("nan")), "float('nan')"),
        (clean(b"ab"), "bytes(length=2, text='ab')"),
        (clean(frozenset({1})), "frozenset([1])"),
        (clean(KeyError("a")), "KeyError(\"'a'\")"),
        ({"$withheld": "clean"}, "… withheld: clean"),
        ([1, {"$more": 5}], "[1, … 5 more]"),
        ({"a": 1, "$more": 5}, "{'a': 1, … 5 more}"),
        ({"$type": "list", "$cut": "cycle"}, "list(… cut: cycle)"),
        ({"$type": "dict", "items": [[1, 2], {"$more": 3}]}, "{1: 2, … 3 more}"),
        (Raised("ValueError", ""), "raised ValueError"),
        (Raised("ValueError", "a\x1bb"), "raised ValueError: a\\x1bb"),
    ],
)
def test_values_read_like_python(value: Any, text: str) -> None:
    """A cleaned value is written as a Python engineer writes it."""
    assert short(value) == text


@given(CLEANED, st.integers(4, 60))
def test_short_is_short_and_safe(value: Any, limit: int) -> None:
    """One line, of at most so many characters, safe for a terminal."""
    text = short(value, limit)
    assert len(text) <= limit
    assert text.isprintable()


@given(
    st.recursive(
        LEAVES,
        lambda inner: (
            st.lists(inner) | st.sets(LEAVES) | st.dictionaries(LEAVES, inner) | st.tuples(inner)
        ),
    )
)
def test_whatever_cleaning_gives_can_be_written(value: Any) -> None:
    """Every value that was cleaned can be written, on one line and on several."""
    assert short(clean(value)).isprintable()
    assert all(row.isprintable() for row in lines(clean(value)))


@given(CLEANED)
def test_both_forms_say_the_same(value: Any) -> None:
    """Written over several lines it has the same words; only commas and spaces differ."""
    together = "".join(lines(value))
    assert together.replace(",", "").replace(" ", "") == short(value, 10**6).replace(
        ",", ""
    ).replace(" ", "")
    assert all(row.isprintable() for row in lines(value))


def test_lines_give_each_element_its_own() -> None:
    """Each element of a container has a line, so that one that differs can be marked."""
    value = {"a": [1, {"$type": "Decimal", "value": "2"}], "b": {}}
    assert lines(value) == [
        "{",
        "  'a': [",
        "    1,",
        "    Decimal('2'),",
        "  ],",
        "  'b': {},",
        "}",
    ]


def test_contrast_begins_where_the_sides_differ() -> None:
    """A long beginning that both sides share is left out, with some of it for orientation."""
    control, candidate = contrast("x" * 500 + "left", "x" * 500 + "right")
    assert control == "…" + "x" * 15 + "left'"
    assert candidate == "…" + "x" * 15 + "right'"


@given(CLEANED, CLEANED)
def test_contrast_is_short(control: Any, candidate: Any) -> None:
    """Both sides are of at most 60 characters, and whole where they are not longer."""
    texts = contrast(control, candidate)
    assert all(len(text) <= 60 for text in texts)
    if len(short(control, 100)) <= 60 >= len(short(candidate, 100)):
        assert texts == (short(control), short(candidate))

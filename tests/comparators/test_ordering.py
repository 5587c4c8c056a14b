"""Sequences compared as multisets."""

from __future__ import annotations

import collections
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import documents
from twinrun.comparators import approx, exact, ignoring, unordered
from twinrun.errors import ConfigurationError
from twinrun.patterns import Pattern

NAN = float("nan")


def found(compare: Any, control: Any, candidate: Any) -> list[str]:
    """The differences as `kind path`."""
    return [f"{d.kind} {d.path}" for d in compare.differences(control, candidate)]


@given(st.lists(documents(allow_nan=True), max_size=6), st.randoms(use_true_random=False))
def test_any_order_is_equal(items: list[Any], random: Any) -> None:
    """Whatever the items are."""
    other = random.sample(items, len(items))
    assert unordered()(items, other)
    assert unordered().differences(tuple(items), tuple(other)) == ()


NUMBERS = st.lists(st.integers(0, 3), max_size=8)


@given(NUMBERS, NUMBERS)
def test_what_is_left_of_two_multisets_was_removed_or_added(a: list[int], b: list[int]) -> None:
    """Counting is the oracle, for items that can be hashed and others."""
    removed = collections.Counter(a) - collections.Counter(b)
    added = collections.Counter(b) - collections.Counter(a)
    for wrap in (int, lambda n: [{n}], lambda n: {"n": [n]}):
        told = unordered().differences([wrap(n) for n in a], [wrap(n) for n in b])
        kinds = collections.Counter(str(d.kind) for d in told)
        assert kinds == collections.Counter(removed=removed.total(), added=added.total()) - (
            collections.Counter()
        )
        assert all(d.control == wrap(a[int(d.path[2:-1])]) for d in told if d.kind == "removed")
        assert all(d.candidate == wrap(b[int(d.path[2:-1])]) for d in told if d.kind == "added")


def test_truth_values_and_nan_are_items_of_their_own() -> None:
    """As where order counts."""
    assert found(unordered(), [True, 2], [2, 1]) == ["removed $[0]", "added $[1]"]
    assert unordered()([NAN, 1], [1, float("nan")])
    assert unordered()([[NAN], 1], [1, [float("nan")]])
    assert unordered()([1, 2.0], [2, 1.0])
    assert not unordered(compare=exact)([1, 2.0], [2, 1.0])


ROWS = [{"id": 1, "v": "a"}, {"id": 2, "v": "b"}, {"id": 3, "v": "c"}]


@attrs.frozen
class Row:
    """An item with attributes."""

    id: int
    v: str


def test_with_a_key_a_changed_item_reads_as_changed() -> None:
    """By name of a key or an attribute, or by a callable."""
    changed = [{"id": 3, "v": "c"}, {"id": 1, "v": "x"}, {"id": 4, "v": "d"}]
    expected = ["changed $[0].v", "removed $[1]", "added $[2]"]
    assert found(unordered("id"), ROWS, changed) == expected
    assert found(unordered(lambda row: row["id"]), ROWS, changed) == expected
    ours, theirs = [Row(**row) for row in ROWS], [Row(**row) for row in changed]
    assert found(unordered("id"), ours, theirs) == expected
    assert found(unordered(), ROWS, changed)[:2] == ["removed $[0]", "removed $[1]"]


def test_items_of_one_key_are_paired_in_order() -> None:
    """The first with the first."""
    ours, theirs = [("a", 1), ("a", 2)], [("a", 1), ("b", 5), ("a", 3)]
    assert found(unordered(lambda item: item[0]), ours, theirs) == ["changed $[1][1]", "added $[1]"]


def test_what_a_key_raises_escapes() -> None:
    """Which items belong together can't be known then."""
    with pytest.raises(KeyError):
        unordered("id")([{"id": 1}, {}], [{}, {"id": 1}])
    with pytest.raises(TypeError, match="unhashable"):
        unordered(lambda item: [item])([1, 2], [2, 1])


def test_where_order_does_not_count_is_said_by_patterns() -> None:
    """The value itself, unless others are named."""
    ours, theirs = {"a": [1, 2], "b": [1, 2]}, {"a": [2, 1], "b": [2, 1]}
    assert found(unordered(), ours, theirs)[:1] == ["changed $.a[0]"]
    assert [p[:7] for p in found(unordered(at="$.a"), ours, theirs)] == ["changed"] * 2
    assert unordered(at=["$.a", "$.b"])(ours, theirs)
    assert unordered(at="$..*")(ours, theirs)
    assert unordered(at="$..*")([[1, [2, 3]], 4], [[[3, 2], 1], 4])
    assert unordered(at=("$", "$..*"))([[1, [2, 3]], 4], [4, [[3, 2], 1]])
    assert unordered(at=Pattern("$[*].a"))([{"a": [1, 2]}], [{"a": [2, 1]}])


def test_it_varies_other_comparators() -> None:
    """Items are equal by the comparator that is varied."""
    near = unordered(compare=approx(abs=0.15))
    assert near([1.0, 2.0], [2.05, 0.95])
    assert near([1.1, 1.0], [1.1, 1.2])  # each finds its own, in one way only
    assert not near([1.1, 1.0], [1.2, 1.2])
    assert near([1.0, 1.1, 1.2], [1.25, 1.15, 0.95])
    assert found(near, [1.0, 2.0], [2.05, 3.0]) == ["removed $[0]", "added $[1]"]
    stamped = unordered("id", compare=ignoring("$[*].at"))
    assert stamped([{"id": 1, "at": 5}, {"id": 2}], [{"id": 2}, {"id": 1, "at": 6}])
    assert unordered(compare=ignoring("$[*].at"))([{"at": 5}, {"b": 1}], [{"b": 1}, {"at": 6}])


def test_a_thousand_shuffled_records_are_compared() -> None:
    """Plain items cost no comparison of each with each."""
    ours = [{"id": n, "tags": [n, n + 1]} for n in range(1000)]
    assert unordered()(ours, ours[::-1])
    assert found(unordered(), ours, [*ours[1:][::-1], {}]) == ["removed $[0]", "added $[999]"]


@pytest.mark.parametrize("key", ["", 3, b"id", ["id"]], ids=repr)
def test_a_wrong_key_is_refused(key: Any) -> None:
    """The error says what is accepted."""
    with pytest.raises(ConfigurationError, match="a callable of an item, or the name"):
        unordered(key)


@pytest.mark.parametrize("at", ["a", "", [], [3], {"$"}, None], ids=repr)
def test_a_wrong_place_is_refused(at: Any) -> None:
    """No pattern, no place."""
    with pytest.raises(ConfigurationError, match="path pattern"):
        unordered(at=at)


def test_its_repr_is_how_it_was_made() -> None:
    """What was not given is left out."""
    assert repr(unordered()) == "unordered()"
    assert repr(unordered("id", at="$.a")) == "unordered('id', at='$.a')"
    assert repr(unordered(compare=exact)) == "unordered(compare=exact)"


def test_lists_that_are_shared_are_compared_at_each_place_by_its_rule() -> None:
    """Being equal where order doesn't count says nothing of another place."""
    one, two = [1, 2], [2, 1]
    told = found(unordered(at="$.a"), {"a": one, "b": one}, {"a": two, "b": two})
    assert told == ["changed $.b[0]", "changed $.b[1]"]

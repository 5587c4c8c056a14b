"""How the items of two sequences are paired."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinrun.comparators import equal
from twinrun.comparators._alignment import Match, matches
from twinrun.comparators.structural import differences

ITEMS = st.lists(st.integers(0, 4), max_size=14)


def matched(a: Sequence[Any], b: Sequence[Any], effort: int = 10_000) -> list[Match]:
    """Match two sequences by `==`."""
    return matches(len(a), len(b), lambda i, j: bool(a[i] == b[j]), effort)


def longest(a: Sequence[Any], b: Sequence[Any]) -> int:
    """The length of a longest common subsequence, by the textbook's table."""
    above = [0] * (len(b) + 1)
    for x in a:
        row = [0]
        for j, y in enumerate(b):
            row.append(above[j] + 1 if x == y else max(row[-1], above[j + 1]))
        above = row
    return above[-1]


@given(ITEMS, ITEMS, st.sampled_from([0, 3, 10_000]))
def test_matches_are_alike_and_in_order(a: list[int], b: list[int], effort: int) -> None:
    """However little effort is allowed."""
    found = matched(a, b, effort)
    assert all(a[i] == b[j] for i, j in found)
    assert all(i < k and j < m for (i, j), (k, m) in itertools.pairwise(found))


@given(ITEMS, ITEMS)
def test_sequences_of_other_lengths_have_as_many_matches_as_can_be(
    a: list[int], b: list[int]
) -> None:
    """Nothing is called moved that could have stayed."""
    if len(a) != len(b):
        assert len(matched(a, b)) == longest(a, b)


@given(ITEMS, ITEMS)
def test_the_other_side_sees_the_same_matches(a: list[int], b: list[int]) -> None:
    """Where the lengths differ, to the place."""
    if len(a) != len(b):
        assert matched(a, b) == [(i, j) for j, i in matched(b, a)]


@given(ITEMS, ITEMS)
def test_alignment_never_tells_more_than_pairing_by_place(a: list[int], b: list[int]) -> None:
    """Items are moved only where that leaves fewer differences, or the lengths differ."""
    by_place = sum(x != y for x, y in zip(a, b, strict=False))
    if len(a) == len(b):
        assert len(differences(a, b)) <= by_place


def paths(control: Any, candidate: Any) -> list[str]:
    """The differences as `kind path`."""
    return [f"{d.kind} {d.path}" for d in equal.differences(control, candidate)]


def record(number: int, **more: Any) -> dict[str, Any]:
    """An item that no `hash` knows."""
    return {"id": number, "tags": [number], **more}


@pytest.mark.parametrize("make", [int, str, record, lambda n: (n, [n])])
def test_an_insertion_is_one_difference(make: Any) -> None:
    """In front, in the middle or at the end of 1,000 items; so is a removal."""
    items = [make(n) for n in range(1000)]
    for place in (0, 500, 1000):
        longer = [*items[:place], make(-1), *items[place:]]
        assert paths(items, longer) == [f"added $[{place}]"]
        assert paths(longer, items) == [f"removed $[{place}]"]
        assert paths(tuple(items), tuple(longer)) == [f"added $[{place}]"]


def test_a_changed_item_beside_an_insertion_is_told_by_its_part() -> None:
    """What stands in the same gap is compared, the first with the first."""
    items = [record(n) for n in range(20)]
    other = [record(-1), *items[:10], record(10, new=True), *items[11:]]
    assert paths(items, other) == ["added $[0]", "added $[10].new"]


def test_a_window_that_moved_on_is_two_differences() -> None:
    """One item left at the front, one came at the end: the length is the same."""
    items = [record(n) for n in range(50)]
    assert paths(items[:-1], items[1:]) == ["removed $[0]", "added $[48]"]


def test_items_that_changed_in_place_stay_in_place() -> None:
    """Swapped items are two changes, not a removal and an addition."""
    assert paths([1, 2, 3, 4], [2, 1, 3, 4]) == ["changed $[0]", "changed $[1]"]
    assert paths([1, 2, 3], [4, 5, 6]) == ["changed $[0]", "changed $[1]", "changed $[2]"]


def test_unlike_sequences_take_a_bounded_effort() -> None:
    """Where nothing is alike, no more is asked than the effort allows."""
    asked = []

    def never(i: int, j: int) -> bool:
        asked.append((i, j))
        return False

    assert matches(3000, 4000, never, 1000) == []
    assert len(asked) < 2000


def test_deep_sequences_are_paired_by_place() -> None:
    """Below 16 containers no item is moved, so that no `==` is asked for each level again."""
    one: Any = [1, 2, 3]
    two: Any = [0, 1, 2, 3]
    for _ in range(20):
        one, two = {"a": one}, {"a": two}
    assert len(paths(one, two)) == 4


def test_records_that_hold_nan_are_aligned() -> None:
    """Though no `==` calls them equal."""
    ours = [{"id": n, "v": float("nan")} for n in range(100)]
    theirs = [{"id": n, "v": float("nan")} for n in range(-1, 100)]
    assert paths(ours, theirs) == ["added $[0]"]
    assert paths([r["v"] for r in ours], [r["v"] for r in theirs]) == ["added $[100]"]

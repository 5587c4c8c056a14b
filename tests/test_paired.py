"""Pairs of a candidate and the baseline are counted exactly, in bounded room."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from twinrun.paired import LIMIT, Divergence, PairCounter, PairCounts, PairedRuns

KEYS = st.sampled_from(["$ changed", "$.a changed", "$.b[*] added"])
SIDES = st.none() | st.builds(Divergence, st.frozensets(KEYS), KEYS)
PAIRS = st.lists(st.tuples(SIDES, SIDES), max_size=20)


def counted(pairs: list[tuple[Any, Any]]) -> PairedRuns:
    """Count pairs."""
    counter = PairCounter()
    for candidate, baseline in pairs:
        counter.add(candidate, baseline)
    return counter.reading()


def keys(kind: str, side: Divergence | None) -> set[str]:
    """Under what a side is counted."""
    if side is None:
        return set()
    return set(side.places) if kind == "places" else {side.group}


@given(PAIRS)
def test_each_pair_is_counted_once_under_each_key_by_who_differed_there(
    pairs: list[tuple[Any, Any]],
) -> None:
    """Both, the candidate alone, the baseline alone; what is left of all runs is neither."""
    read = counted(pairs)
    assert read.runs == len(pairs)
    for kind, found in (("places", read.places), ("groups", read.groups)):
        for key in ["$ changed", "$.a changed", "$.b[*] added"]:
            who = [tuple(key in keys(kind, side) for side in pair) for pair in pairs]
            expected = PairCounts(
                who.count((True, True)), who.count((True, False)), who.count((False, True))
            )
            assert found.get(key, PairCounts()) == expected
    who = [(a is not None, b is not None) for a, b in pairs]
    assert read.whole.as_list() == [
        who.count(each) for each in [(True, True), (True, False), (False, True)]
    ]


@given(PAIRS, PAIRS)
def test_pairs_add_and_subtract(a: list[Any], b: list[Any]) -> None:
    """What is counted apart and added is what is counted together; subtraction undoes it."""
    assert counted(a) + counted(b) == counted(a + b)
    assert counted(a + b) - counted(b) == counted(a)
    assert counted(a) - counted(a) == PairedRuns()


@given(PAIRS)
def test_pairs_survive_json(pairs: list[Any]) -> None:
    """from_dict(as_dict) is the identity."""
    read = counted(pairs)
    assert PairedRuns.from_dict(json.loads(json.dumps(read.as_dict()))) == read


def test_what_comes_past_the_limit_is_counted_apart() -> None:
    """The first places are told apart for ever; the others are one number, and none is lost."""
    counter = PairCounter()
    for number in range(LIMIT + 5):
        counter.add(Divergence(frozenset({f"$.field{number} changed"}), "g"))
    counter.add(Divergence(frozenset({"$.field0 changed"}), "g"))
    read = counter.reading()
    assert len(read.places) == LIMIT
    assert read.places["$.field0 changed"] == PairCounts(candidate=2)
    assert read.uncounted == {"places": 5}
    assert read.groups == {"g": PairCounts(candidate=LIMIT + 6)}


def test_past_the_limit_it_is_told_which_side_was_there() -> None:
    """Both, the candidate alone, or the baseline alone, as for those that are told apart."""
    counter = PairCounter()
    nowhere: frozenset[str] = frozenset()
    for number in range(LIMIT):
        counter.add(Divergence(nowhere, f"known{number}"))
    counter.add(Divergence(nowhere, "a"), Divergence(nowhere, "b"))
    counter.add(None, Divergence(nowhere, "b"))
    counter.add(Divergence(nowhere, "c"), Divergence(nowhere, "c"))
    assert counter.reading().uncounted == {"groups": 1, "baseline_groups": 2, "both_groups": 1}

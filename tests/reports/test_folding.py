"""Differences that come again and again are folded."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from twinrun.fingerprints import generalise
from twinrun.reports.folding import folded


def difference(path: str, kind: str = "changed") -> dict[str, Any]:
    """A difference of a payload."""
    return {"kind": kind, "path": path}


def listed(*found: dict[str, Any]) -> list[str]:
    """What stands in the list: paths, and sentences."""
    return [each if isinstance(each, str) else each["path"] for each in folded(found)]


def test_the_first_ones_stand_for_those_at_one_place() -> None:
    """Three are listed; a sentence says how many more there are, and where."""
    found = [difference(f"$.items[{n}].price") for n in range(100)]
    assert listed(*found) == [
        *("$.items[0].price", "$.items[1].price", "$.items[2].price"),
        "and 97 more at $.items[*].price",
    ]


def test_nothing_is_folded_to_hide_one_line() -> None:
    """A sentence takes a line, too."""
    found = [difference(f"$[{n}]") for n in range(4)]
    assert list(folded(found)) == found
    assert listed(*found, difference("$[9]"))[3:] == ["and 2 more at $[*]"]


def test_kinds_and_places_are_folded_by_themselves() -> None:
    """What stands between the others keeps its place."""
    found = [difference("$.total"), *(difference(f"$[{n}].a") for n in range(5))]
    found += [difference(f"$[{n}].a", "added") for n in range(4)]
    found += [difference(f"$[{n}].a") for n in range(5, 9)]
    assert listed(*found) == [
        *("$.total", "$[0].a", "$[1].a", "$[2].a", "and 6 more at $[*].a"),
        *("$[0].a", "$[1].a", "$[2].a", "$[3].a"),
    ]


KINDS = st.sampled_from(["changed", "added", "removed"])
PATHS = st.sampled_from(["$", "$[0]", "$[1].a", "$[2].a", "$.a", '$["17"]', "\x1b[31m\n"])


@given(st.lists(st.builds(difference, PATHS, KINDS)))
def test_none_is_lost(found: list[dict[str, Any]]) -> None:
    """What is listed and what the sentences count is all there was, and each place is listed."""
    rows = list(folded(found))
    shown = [row for row in rows if not isinstance(row, str)]
    counted = [int(row.split()[1]) for row in rows if isinstance(row, str)]
    assert len(shown) + sum(counted) == len(found)
    assert all(count > 1 for count in counted)
    places = Counter((each["kind"], generalise(each["path"])) for each in shown)
    assert places.keys() == {(each["kind"], generalise(each["path"])) for each in found}
    assert all(row.isprintable() for row in rows if isinstance(row, str))

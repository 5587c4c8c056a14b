"""One group in full, as text."""

from __future__ import annotations

import datetime
import unicodedata
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from twinrun.analysis.noise import judged
from twinrun.cleaners import clean
from twinrun.paired import PairCounts, PairedRuns
from twinrun.reports.group import show
from twinrun.reports.terminal import NARROWEST
from twinrun.store import Exemplar, GroupRecord

NOW = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)
TEXTS = st.text(st.characters(), max_size=20)
VALUES = st.recursive(
    st.none() | st.integers() | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=10,
).map(clean)


def record(**given: Any) -> GroupRecord:
    """Make a group's record."""
    facts = {
        "experiment": "x",
        "fingerprint": "abc",
        "candidate": "candidate",
        "outcome": "mismatched",
        "reason": None,
        "kinds": ("changed",),
        "paths": ("$",),
        "control_exception": None,
        "candidate_exception": None,
        "count": 1,
        "first_seen": NOW,
        "last_seen": NOW,
        "state": "new",
    }
    return GroupRecord(**{**facts, **given})


def exemplar(control: dict[str, Any], candidate: dict[str, Any], **given: Any) -> Exemplar:
    """Make an exemplar of two sides, of which only what matters is given."""
    side = {"exception": None, "traceback": None, "duration_ns": 1000, "cpu_time": None}
    judged = {"outcome": "mismatched", "reason": None, "differences": []}
    facts = {
        "fingerprint": "abc",
        "result_id": "r1",
        "sequence": 1,
        "host": "h",
        "pid": 1,
        "release": None,
        "recorded_at": NOW,
        "payload": {
            "order": ["candidate", "control"],
            "context": {},
            "control": {"name": "control", **side, **control},
            "candidate": {"name": "candidate", **side, **judged, **candidate},
        },
    }
    return Exemplar(**{**facts, **given})


def text_of(control: dict[str, Any], candidate: dict[str, Any], **given: Any) -> str:
    """Show a group with one exemplar."""
    return show(record(), 1, [exemplar(control, candidate, **given)], 1, 100, styled=False)


def test_whose_it_is_is_said_with_both_rates() -> None:
    """A group that a reading of pairs says something of shows it; else there is no such row."""
    noise = judged(PairedRuns(runs=50, groups={"abc": PairCounts(20, 3, 2)}))
    assert noise is not None
    text = show(record(), 1, [], 0, 100, styled=False, finding=noise.of_group(record()))
    assert "noise?       noise: 46.0 % of 50 pairs, by the control itself 44.0 %\n" in text
    assert "noise?" not in show(record(), 1, [], 0, 100, styled=False)


def test_an_example_that_did_not_repeat_says_who_changed() -> None:
    """The side that gave something else when both ran once more is named."""
    text = text_of({}, {"recheck": "control"})
    assert "unstable   when both ran once more, the control gave something else\n" in text
    assert "unstable" not in text_of({}, {})
    assert "unstable" not in text_of({}, {"recheck": "repeated"})


def test_differences_that_come_again_and_again_are_folded() -> None:
    """The first ones are shown with both sides, then how many more there are."""
    found = [{"path": f"$[{n}].a", "kind": "changed"} for n in range(9)]
    sides = {"value": [{"a": n} for n in range(9)]}, {"value": [{"a": -n} for n in range(9)]}
    text = text_of(sides[0], {**sides[1], "differences": found})
    assert "$[2].a" in text
    assert "$[3].a" not in text
    assert "and 6 more at $[*].a\n" in text


def rows_between_sides(text: str) -> list[str]:
    """Give the rows in which both sides stand side by side, without their heading."""
    rows = text.split("\n")
    start = next(i for i, row in enumerate(rows) if row.startswith("  control, ")) + 1
    return rows[start : rows.index("", start)]


@settings(max_examples=25)
@given(VALUES, VALUES, TEXTS, st.integers(1, 150))
def test_any_group_can_be_shown(control: Any, candidate: Any, text: str, width: int) -> None:
    """Whatever was recorded, lines lose nothing, fit the width and steer no terminal."""
    difference = {"path": text, "kind": text, "control": control}
    kept = exemplar(
        {"name": text, "value": control, "traceback": text},
        {"value": candidate, "differences": [difference], "differences_cut": 2},
        host=text,
        release=text,
        result_id=text,
    )
    group = record(experiment=text, outcome=text, reason=text, kinds=(text,), paths=(text,) * 2)
    shown = show(group, 7, [kept], 3, width, styled=False)
    assert all(cell_len(row) <= max(width, NARROWEST) for row in shown.split("\n"))
    assert not any(unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl"} for c in shown if c != "\n")
    wide = show(group, 7, [kept], 3, 10_000, styled=False)
    assert sorted("".join(shown.split())) == sorted("".join(wide.split()))


@given(st.lists(st.integers(0, 9)), st.lists(st.integers(0, 9)))
def test_marks_tell_which_lines_differ(control: list[int], candidate: list[int]) -> None:
    """Lines without a mark are the same on both sides; equal values have no mark at all."""
    rows = rows_between_sides(text_of({"value": control}, {"value": candidate}))
    marked = [row for row in rows if any(mark in row for mark in "|<>")]
    for row in rows:
        if row not in marked:
            assert len(set(row.split())) == 1
            assert len(row.split()) == 2
    assert bool(marked) == (control != candidate)


def test_what_only_one_side_has_is_marked() -> None:
    """`<` stands after a line of the control alone, `>` before one of the candidate alone."""
    rows = rows_between_sides(text_of({"value": [1, 2, 3]}, {"value": [2, 3, 4]}))
    assert [" ".join(row.split()) for row in rows] == [
        "[ [",
        "1, <",
        "2, 2,",
        "3, 3,",
        "> 4,",
        "] ]",
    ]


def test_the_cpu_time_is_told_where_it_was_measured() -> None:
    """Beside the wall-clock time stands the CPU time, if there is one."""
    assert "control, 1.00 µs (CPU 2.00 ms)" in text_of({"value": 1, "cpu_time": 0.002}, {})
    assert "CPU" not in text_of({"value": 1}, {})


def test_the_context_stands_name_by_name() -> None:
    """Every name of the context has its line; values may take several."""
    kept = exemplar({"value": 1}, {"value": 2})
    kept.payload["context"].update(user=17, tags=["a"])
    text = show(record(), 1, [kept], 1, 100, styled=False)
    assert "  context   user: 17\n            tags: [\n              'a',\n            ]\n" in text


def test_left_out_differences_are_counted() -> None:
    """Where not all differences were kept, the rest is counted."""
    difference = {"path": "$", "kind": "changed", "control": 1, "candidate": 2}
    assert "and 1,200 more differences" in text_of(
        {"value": 1}, {"value": 2, "differences": [difference], "differences_cut": 1200}
    )


def test_a_group_without_examples_says_so() -> None:
    """Where no example was kept, that is said."""
    assert show(record(), 1, [], 0, 100, styled=False).endswith("\n\nNo example was kept.\n")


def test_examples_that_are_not_shown_are_counted() -> None:
    """How many more there are is told, and how to see them."""
    kept = exemplar({"value": 1}, {"value": 2})
    assert "2 more examples: --all shows them" in show(record(), 1, [kept], 3, 100, styled=False)
    assert "1 more example: --all shows them" in show(record(), 1, [kept], 2, 100, styled=False)

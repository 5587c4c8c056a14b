"""Both outcomes beside each other."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from twinrun.reports.beside import side_by_side
from twinrun.reports.terminal import print_out


def rows_of(control: Any, candidate: Any) -> list[str]:
    """Give the rows under the heading, each with single spaces."""
    sides = ({"name": "x", "duration_ns": 1, "value": value} for value in (control, candidate))
    text = print_out(side_by_side(*sides), 200, styled=False)
    return [" ".join(row.split()) for row in text.split("\n")[1:-1]]


def marked(rows: list[str]) -> list[str]:
    """Give the rows with a mark."""
    return [row for row in rows if {"|", "<", ">"} & set(row.split())]


def test_what_was_put_in_front_of_a_long_list_is_all_that_is_marked() -> None:
    """Lines that only moved have no mark, however often they occur."""
    items = [{"a": 1, "b": n % 3} for n in range(80)]
    rows = rows_of(items, [{"a": 7, "b": 7}, *items])
    assert sorted(marked(rows)) == sorted(["> {", "> 'a': 7,", "> 'b': 7,", "> },"])
    assert any("lines the same" in row for row in rows)


@settings(max_examples=10)
@given(st.lists(st.sampled_from([1, 2, 3]), min_size=195, max_size=210), st.integers(0, 190))
def test_lines_that_are_equal_are_never_marked(items: list[int], at: int) -> None:
    """Among many lines of few kinds, what was changed is what is marked."""
    rows = rows_of(items, [*items[:at], 9, *items[at + 1 :]])
    assert marked(rows) == [f"{items[at]}, | 9,"]


def test_more_than_200_rows_are_counted() -> None:
    """Of many lines that differ the first 200 rows are shown, and how to see all is said."""
    rows = rows_of(list(range(500)), list(range(1000, 1500)))
    assert len(rows) == 201
    assert rows[-1] == "and 302 more lines: --json has them all"


def test_few_rows_are_all_shown() -> None:
    """Up to 200 rows nothing is left out."""
    rows = rows_of(list(range(150)), [*range(149), 0])
    assert rows == ["[ [", *(f"{n}, {n}," for n in range(149)), "149, | 0,", "] ]"]


def test_long_lines_are_shown_where_they_differ() -> None:
    """Of two long lines the beginning and the place where they differ are shown."""
    rows = rows_of({"a": "x" * 500 + "left"}, {"a": "x" * 500 + "right"})
    beginning = "'a': '" + "x" * 32 + "…" + "x" * 20
    assert rows == [
        "{ {",
        f"{beginning}left', | {beginning}right',",
        "} }",
        "Long lines are shortened: --json has them whole",
    ]


def test_a_long_line_that_one_side_has_alone_is_whole() -> None:
    """What nothing stands beside is not shortened."""
    rows = rows_of(["y"], ["y", "z" * 150])
    assert f"> '{'z' * 150}'," in rows

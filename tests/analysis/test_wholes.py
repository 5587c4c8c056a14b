"""Texts of differences that are kept in full in the values."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import twinrun
from twinrun.analysis.summary import example
from twinrun.analysis.wholes import Kept, kept, sides
from twinrun.cleaners import payload
from twinrun.observation import NOTHING

LONG = " ".join(f"word{n}" for n in range(510))  # less than 4 KiB; of two the second is cut


@attrs.frozen
class Page:
    """An object with a text in it."""

    body: str


def payload_of(control: Any, candidate: Any) -> dict[str, Any]:
    """Give the payload of an exemplar of a run of these values."""
    with twinrun.recording() as results:
        twinrun.Experiment("x", publishers=()).run(
            control=lambda: control, candidate=lambda: candidate
        )
    data = payload(results[0])
    return {**data, "candidate": data["candidates"][0]}


PLACES: dict[str, Callable[[str], Any]] = {
    "itself": lambda text: text,
    "dict": lambda text: {"a key": {"$cost": text}},
    "keys of other types": lambda text: {1: [0, text]},
    "list": lambda text: [1, [text]],
    "tuple": lambda text: (1, (text,)),
    "deque": lambda text: deque([1, text]),
    "object": lambda text: {"page": Page(text)},
}


@pytest.mark.parametrize("make", PLACES.values(), ids=PLACES)
def test_a_text_is_whole_wherever_it_stands(make: Callable[[str], Any]) -> None:
    """A text that its difference has only the beginning of is found in the value."""
    changed = LONG.replace("word400", "changed")
    data = payload_of(make(LONG), make(changed))
    (difference,) = data["candidate"]["differences"]
    assert not kept(difference["candidate"]).whole
    assert sides(data, difference) == (LONG, changed)


def test_the_example_of_a_report_has_the_whole_text() -> None:
    """What a report shows of a group begins where the texts differ, however late that is."""
    changed = LONG.replace("word400", "changed")
    found = example(payload_of({"a": LONG}, {"a": changed}))
    assert (found.control, found.candidate) == (LONG, changed)


@pytest.mark.parametrize("value", ["another text", LONG.upper(), LONG + "!", 7, None, [], {}])
def test_another_text_at_the_place_is_not_taken(value: Any) -> None:
    """Where the value has something else there, the beginning stays what is known."""
    cut = f"{LONG[:100]}… ({len(LONG)} characters)"
    difference = {"path": "$.a", "kind": "changed", "control": cut}
    data = {"control": {"value": {"a": value}}, "candidate": {}}
    assert sides(data, difference) == (cut, NOTHING)


def test_a_text_that_the_value_cut_too_is_as_long_as_it_is_there() -> None:
    """Of a text of more than 4 KiB the value has the most."""
    data = payload_of({"a": LONG * 3}, {"a": LONG * 3 + "!"})
    (difference,) = data["candidate"]["differences"]
    control, candidate = (kept(side) for side in sides(data, difference))
    assert control.length == len(LONG) * 3
    assert candidate.length == len(LONG) * 3 + 1
    assert len(candidate.text) > 4000


@given(st.text(), st.integers(0, 10_000))
def test_the_mark_of_a_cut_is_no_part_of_the_text(text: str, more: int) -> None:
    """A text with the mark of a cut gives its beginning and its length; any other is whole."""
    length = len(text) + 1 + more
    cut = kept(f"{text}… ({length} characters)")
    assert cut == Kept(text, length)
    assert not cut.whole
    assert kept(text + "!") == Kept(text + "!", len(text) + 1)
    assert kept(text + "!").whole

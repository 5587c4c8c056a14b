"""The places that pairs are counted at are those of the payload, without its bounds."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinrun.cleaners import payload, places
from twinrun.comparators import budgeted
from twinrun.fingerprints import generalise
from twinrun.observation import Observation
from twinrun.result import Comparison, Outcome, Result

NOW = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)
SECRET = "tr0ub4dour and three"
LISTED = budgeted(differences=10_000)

KEYS = st.sampled_from(["a", "b.c", "password", "user_1234", "x" * 70, "ghp_" + "a1B2" * 9])
VALUES = st.recursive(
    st.integers(0, 3) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def compared(control: Any, candidate: Any, **given: Any) -> Result:
    """Compare two values; all that differs is listed."""
    new = Observation(name="new", value=candidate, duration_ns=1)
    found = LISTED.differences(control, candidate)
    return Result(
        id="r1",
        experiment="x",
        started_at=NOW,
        context={},
        order=("control", "new"),
        control=Observation(name="control", value=control, duration_ns=1),
        candidates=(new,),
        comparisons=(Comparison(new, Outcome.MISMATCHED, differences=found, fingerprint="f1"),),
        **given,
    )


@pytest.mark.parametrize(
    "given",
    [{}, {"clean": lambda value: value}, {"clean": lambda value: [value]}, {"capture": "nothing"}],
    ids=["usual", "clean", "moved", "nothing"],
)
@given(VALUES, VALUES)
def test_places_are_those_of_the_payload(
    given: dict[str, Callable[[Any], Any]], control: Any, candidate: Any
) -> None:
    """Where that leaves nothing out, they are the same, however paths are cleaned."""
    result = compared(control, candidate, **given)
    [written] = payload(result)["candidates"]
    shown = {f"{generalise(d['path'])} {d['kind']}" for d in written["differences"]}
    assert written["differences_cut"] == 0
    assert places(result) == {"new": shown}


def test_no_place_is_left_out() -> None:
    """Neither behind fifty others, nor where the paths alone are larger than a payload."""
    fields = ["f" + "abcdefghij"[n % 10] * 40 + "klmnopqrst"[n // 10 % 10] * 9 for n in range(100)]
    names = [f"{field} {part}" for field in fields for part in ("ü", "ö")]
    result = compared(dict.fromkeys(names, 1), dict.fromkeys(names, 2))
    assert payload(result)["candidates"][0]["differences_cut"] == 150
    assert len(places(result)["new"]) == 200


def test_a_key_that_is_a_secret_elsewhere_is_in_no_place() -> None:
    """Not even where the values are too large for the secret to be seen in them."""
    many = [0] * 120
    control = {"users": [*many, {"password": "none"}], "by": {}}
    candidate = {"users": [*many, {"password": SECRET}], "by": {SECRET: 1}}
    [found] = places(compared(control, candidate)).values()
    assert "$.users[*].password changed" in found
    assert len(found) == 2
    assert SECRET not in str(found)

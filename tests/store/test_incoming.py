"""What a group says of its places also says where not all of them are known."""

from __future__ import annotations

import datetime
from typing import Any

from twinrun.cleaners import payload
from twinrun.difference import Difference, DifferenceKind, Differences
from twinrun.observation import Observation
from twinrun.result import Comparison, Outcome, Result
from twinrun.store import Mismatch, incoming

NOW = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)
NEW = Observation(name="new", value=2, duration_ns=1)


def stored(*paths: str, cut: str | None = None) -> Mismatch:
    """Make the record of a mismatch at these paths, and read it."""
    found = (Difference(path, DifferenceKind.CHANGED, 1, 2) for path in paths)
    made = Result(
        id="r1",
        experiment="x",
        started_at=NOW,
        context={},
        order=("control", "new"),
        control=Observation(name="control", value=1, duration_ns=1),
        candidates=(NEW,),
        comparisons=(
            Comparison(
                candidate=NEW,
                outcome=Outcome.MISMATCHED,
                differences=Differences(found, cut),
                fingerprint="f1",
            ),
        ),
    )
    about: dict[str, Any] = {"experiment": "x", "host": "h", "pid": 1, "release": None}
    [read] = incoming.mismatches(incoming.record(payload(made), recorded_at=NOW, **about))
    return read


def test_each_place_is_listed_once() -> None:
    """Paths are generalised."""
    read = stored("$.a", "$.items[3]", "$.items[4]")
    assert (read.paths, read.kinds) == (("$.a", "$.items[*]"), ("changed", "changed"))


def test_what_a_comparator_did_not_look_at_is_a_place() -> None:
    """It stands last, so that nobody takes the others for all that differs."""
    read = stored("$.a", cut="more than 1 differences")
    assert (read.paths, read.kinds) == (("$.a", "$"), ("changed", "cut"))


def test_what_a_payload_leaves_out_is_a_place() -> None:
    """It holds the first differences only: what came later may differ anywhere."""
    read = stored(*(f"$.items[{n}]" for n in range(60)), "$.total")
    assert (read.paths, read.kinds) == (("$.items[*]", "$"), ("changed", "more"))

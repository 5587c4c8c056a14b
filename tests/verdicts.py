"""Makes what verdicts are made of: tallies and groups of mismatches."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from twinrun.histogram import Histogram
from twinrun.result import Outcome
from twinrun.store import GroupRecord
from twinrun.tally import CONTROL_FIRST, CONTROL_LAST, Tally

__all__ = ["NOON", "group", "tally"]

NOON = datetime.datetime(2026, 3, 1, 12, 0, tzinfo=datetime.UTC)


def tally(
    matched: int,
    outcomes: Mapping[Outcome, int] | None = None,
    *,
    slower: float = 1.0,
    timed: int = 0,
    **given: Any,
) -> Tally:
    """Make the tally of one candidate; of `timed` runs it took so many times as long."""
    counted = {Outcome.MATCHED: matched, **(outcomes or {})}
    half = [slower] * (timed // 2)
    if timed:
        given = {
            "durations": {
                "control": Histogram.of([0.001] * timed),
                "candidate": Histogram.of([0.001 * slower] * timed),
            },
            "ratios": {
                "candidate": {
                    CONTROL_FIRST: Histogram.of(half),
                    CONTROL_LAST: Histogram.of(half),
                }
            },
            **given,
        }
    return Tally(experiments=sum(counted.values()), outcomes={"candidate": counted}, **given)


def group(fingerprint: str, count: int, **given: Any) -> GroupRecord:
    """Make a group of mismatches that began and ended at noon."""
    values: dict[str, Any] = {
        "experiment": "prices",
        "candidate": "candidate",
        "outcome": str(Outcome.MISMATCHED),
        "reason": None,
        "kinds": ("changed",),
        "paths": ("$.total",),
        "control_exception": None,
        "candidate_exception": None,
        "first_seen": NOON,
        "last_seen": NOON,
        "state": "new",
    }
    return GroupRecord(fingerprint=fingerprint, count=count, **{**values, **given})

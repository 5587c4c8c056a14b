"""What it costs to say in what two values differ."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.measuring import Effort, Row, missing, per_call, row_of
from twinrun.comparators import equal

__all__ = ["rows"]

_WORK = "diff of 1,000 leaves, 10 unequal"


def rows(effort: Effort) -> list[Row]:
    """Measure the differences of two orders, ours against deepdiff's."""
    control, candidate = _order(0), _order(1)
    try:
        from deepdiff import DeepDiff
    except ImportError:
        return [missing(_WORK, "deepdiff", "deepdiff")]
    ours, theirs = equal.differences(control, candidate), DeepDiff(control, candidate)
    if len(ours) != len(theirs["values_changed"]):
        raise AssertionError("the two do not find the same")
    calls = [
        _loop(lambda: equal.differences(control, candidate)),
        _loop(lambda: DeepDiff(control, candidate)),
    ]
    pairs = [(ours, theirs) for ours, theirs in per_call(calls, effort)]
    return [row_of(_WORK, "deepdiff", pairs, inverse=True)]


def _loop(work: Callable[[], Any]) -> Callable[[int], None]:
    """Do some work over and over."""

    def loop(count: int) -> None:
        for _ in range(count):
            work()

    return loop


def _order(shift: int) -> dict[str, Any]:
    """An order of 200 lines with five leaves each; every twentieth one's price is shifted."""
    return {
        "items": [
            {
                "sku": f"A-{number}",
                "name": f"Article {number}",
                "quantity": number % 7 + 1,
                "price": 100 + number + (shift if number % 20 == 0 else 0),
                "gift": number % 3 == 0,
            }
            for number in range(200)
        ]
    }

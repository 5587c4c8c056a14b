"""What it costs to make a mismatch's values clean: bounded, scrubbed JSON data."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import twinrun
from benchmarks.measuring import Effort, Row, per_call, row_of
from twinrun.cleaners import payload

__all__ = ["rows"]

_YARDSTICK = "json.dumps of both values"
_SIZES = {"10 leaves": 2, "200 leaves": 40, "100,000 leaves, cut": 20_000}


def rows(effort: Effort) -> list[Row]:
    """Measure the payload of mismatches of three sizes against writing both values as they are."""
    return [_row(name, lines, effort) for name, lines in _SIZES.items()]


def _row(name: str, lines: int, effort: Effort) -> Row:
    """Measure one size."""
    control, candidate = _order(lines, 0), _order(lines, 1)
    with twinrun.recording() as results:
        twinrun.Experiment("benchmark.cleaning", publishers=()).run(
            control=lambda: control,
            candidate=lambda: candidate,
            context={"user": "u-17", "tenant": "acme"},
        )
    result = results[0]
    calls = [_loop(lambda: payload(result)), _loop(lambda: json.dumps([control, candidate]))]
    pairs = [(ours, theirs) for ours, theirs in per_call(calls, effort)]
    return row_of(f"payload of a mismatch, {name}", _YARDSTICK, pairs)


def _loop(work: Callable[[], Any]) -> Callable[[int], None]:
    """Do some work over and over."""

    def loop(count: int) -> None:
        for _ in range(count):
            work()

    return loop


def _order(lines: int, shift: int) -> dict[str, Any]:
    """An order of lines with five leaves each; the first one's price is shifted."""
    return {
        "items": [
            {
                "sku": f"A-{number}",
                "name": f"Article {number}",
                "quantity": number % 7 + 1,
                "price": 100 + number + (shift if number == 0 else 0),
                "gift": number % 3 == 0,
            }
            for number in range(lines)
        ]
    }

"""Prints the table: ours, theirs, their ratio, the target, and whether it is met."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Sequence

import attrs

from benchmarks import (
    asynchronous,
    background,
    calibration,
    cleaning,
    comparators,
    delivery,
    imports,
    overhead,
    store,
    streams,
)
from benchmarks.measuring import Effort, Row

__all__ = ["PARTS", "main"]

PARTS = (
    overhead,
    asynchronous,
    background,
    streams,
    comparators,
    cleaning,
    delivery,
    store,
    calibration,
    imports,
)
"""The modules that measure, in the order of the table."""

_HEADINGS = ("work", "yardstick", "ours", "theirs", "ratio", "target", "met")
_SHORT = Effort(rounds=9, seconds=0.002, few=3)
_FULL = Effort(rounds=101, seconds=0.005, few=11)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure everything and print it; 1 where a peer is missing that must be there."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--short", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--require-peers", action="store_true", help="fail where a peer is missing")
    options = parser.parse_args(arguments)
    effort = _SHORT if options.short else _FULL
    made = [row for part in PARTS for row in part.rows(effort)]
    print(_as_json(made) if options.json else _as_table(made))
    absent = sorted({row.missing for row in made if row.missing})
    if absent and options.require_peers:
        print(f"missing: {', '.join(absent)}; pip install '.[bench]'", file=sys.stderr)
        return 1
    return 0


def _as_json(made: Sequence[Row]) -> str:
    """Give the rows as JSON."""
    return json.dumps([{**attrs.asdict(row), "met": row.met} for row in made], indent=2)


def _as_table(made: Sequence[Row]) -> str:
    """Give the rows as plain text, in columns."""
    lines = [_HEADINGS, *(_cells(row) for row in made)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    where = f"Python {platform.python_version()}, {platform.machine()}; medians of rounds in turn"
    return "\n".join([where, "", *table])


def _cells(row: Row) -> tuple[str, ...]:
    """Give one row's texts."""
    if row.ours is None or row.theirs is None or row.ratio is None:
        return row.work, row.yardstick, "", "", "", "", f"{row.missing} is not installed"
    bound = "at least " if row.at_least else "at most "
    target = "" if row.target is None else f"{bound}{row.target:g} x"
    met = {True: "yes", False: "no", None: "told only"}[row.met]
    numbers = (f"{row.ours:.3g} {row.unit}", f"{row.theirs:.3g} {row.unit}", f"{row.ratio:.2f} x")
    return row.work, row.yardstick, *numbers, target, met


if __name__ == "__main__":
    sys.exit(main())

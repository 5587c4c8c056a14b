"""What it costs to say whether two values are equal, and in what they differ."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any, Final

import attrs

from benchmarks.measuring import Effort, Row, missing, per_call, row_of
from twinrun.comparators import equal, exact, unordered

__all__ = ["rows"]

_UNEQUAL: Final = "diff of 1,000 leaves, 10 unequal"
_INSERTED: Final = "diff of 200 records, one put in at the front"


def rows(effort: Effort) -> list[Row]:
    """Measure equal values against `==`, differences against deepdiff, large ones against small."""
    return [*_equal_values(effort), *_against_deepdiff(effort), *_growth(effort)]


def _equal_values(effort: Effort) -> Iterator[Row]:
    """Compare two equal orders of 1,000 leaves."""
    control, candidate = _order(0), _order(0)
    turned = {"items": control["items"][::-1]}
    for compare, other, target in (
        (equal, candidate, 1.5),
        (exact, candidate, None),
        (unordered(at="$.items"), turned, None),
    ):
        if not compare(control, other):
            raise AssertionError(f"{compare!r} finds equal orders unequal")
        calls = [_asking(compare, control, other), _asking(operator.eq, control, candidate)]
        pairs = [(ours, theirs) for ours, theirs in per_call(calls, effort)]
        yield row_of(f"{compare!r}, 1,000 equal leaves", "==", pairs, target=target)


def _against_deepdiff(effort: Effort) -> Iterator[Row]:
    """List the differences of two orders."""
    try:
        from deepdiff import DeepDiff
    except ImportError:
        yield from (missing(work, "deepdiff", "deepdiff") for work in (_UNEQUAL, _INSERTED))
        return
    control, changed = _order(0), _order(1)
    longer = {"items": [{"sku": "new"}, *control["items"]]}
    few = attrs.evolve(effort, rounds=effort.few)
    for work, candidate, expected in ((_UNEQUAL, changed, 10), (_INSERTED, longer, 1)):
        if len(equal.differences(control, candidate)) != expected:
            raise AssertionError(f"{work}: not {expected} differences")
        calls = [_asking(equal.differences, control, candidate)]
        calls += [_asking(DeepDiff, control, candidate)]
        pairs = [(ours, theirs) for ours, theirs in per_call(calls, few)]
        yield row_of(work, "deepdiff", pairs, target=30, inverse=True)


def _growth(effort: Effort) -> Iterator[Row]:
    """Compare a hundred times as much: in breadth, and in depth."""
    few = attrs.evolve(effort, rounds=effort.few)
    for work, make in (("leaves", _wide), ("levels of lists", _deep)):
        calls = [
            _asking(equal.differences, make(100_000, 0), make(100_000, 1)),
            _asking(equal.differences, make(1_000, 0), make(1_000, 1), times=100),
        ]
        pairs = [(ours, theirs) for ours, theirs in per_call(calls, few)]
        yield row_of(f"diff of 100,000 {work}", "100 diffs of 1,000", pairs, unit="ms")


def _wide(size: int, leaf: int) -> Any:
    """So many leaves, ten of which can differ."""
    tenth = size // 10
    return {n: leaf if n % tenth == 0 else str(n) for n in range(size)}


def _deep(size: int, leaf: int) -> Any:
    """So many lists in each other, around one leaf."""
    value: Any = leaf
    for _ in range(size):
        value = [value]
    return value


def _asking(
    compare: Callable[[Any, Any], Any], control: Any, candidate: Any, times: int = 1
) -> Callable[[int], None]:
    """Make a loop that compares two values over and over."""

    def loop(count: int) -> None:
        for _ in range(count * times):
            compare(control, candidate)

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

"""What an item of a generator costs: switched off, and with both sides in step."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.measuring import Effort, Row, per_call, row_of
from twinrun import experiment

__all__ = ["rows"]

_ITEMS = 100

Stream = Callable[[int], Iterator[Any]]


def rows(effort: Effort) -> list[Row]:
    """Measure streams of a hundred items."""
    return [_off(effort), _matched(effort)]


def _control(count: int) -> Iterator[dict[str, int]]:
    """Give records, as the trusted side."""
    for number in range(count):
        yield {"number": number, "price": 3 * number}


def _candidate(count: int) -> Iterator[dict[str, int]]:
    """Give the same records in another way."""
    price = 0
    for number in range(count):
        yield {"number": number, "price": price}
        price += 3


def _loop(stream: Stream) -> Callable[[int], None]:
    """Take all items, over and over."""

    def loop(count: int) -> None:
        for _ in range(count):
            for _ in stream(_ITEMS):
                pass

    return loop


def _off(effort: Effort) -> Row:
    """Compare streams on which no experiment is made with a delegating generator."""

    @functools.wraps(_control)
    def delegating(*args: Any, **kwargs: Any) -> Iterator[Any]:
        yield from _control(*args, **kwargs)

    off = experiment("bench.stream.off", candidate=_candidate, enabled=False)(_control)
    pairs = [(ours, theirs) for ours, theirs in per_call([_loop(off), _loop(delegating)], effort)]
    return row_of("disabled stream, 100 items", "yield from", pairs, target=1.0)


def _matched(effort: Effort) -> Row:
    """Compare a matched stream with both sides in step, written by hand."""
    different: list[tuple[object, object]] = []

    def by_hand(count: int) -> Iterator[dict[str, int]]:
        for expected, actual in zip(_control(count), _candidate(count), strict=True):
            if expected != actual:
                different.append((expected, actual))
            yield expected

    matched = experiment("bench.stream.matched", candidate=_candidate)(_control)
    pairs = [(ours, theirs) for ours, theirs in per_call([_loop(matched), _loop(by_hand)], effort)]
    return row_of("matched stream, 100 items", "zip by hand, no clocks", pairs)

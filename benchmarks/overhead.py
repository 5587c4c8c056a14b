"""What a call costs: switched off, not sampled, and with both sides run."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

from benchmarks.measuring import Effort, Row, missing, per_call, row_of
from benchmarks.pricing import quote, quote_v2
from twinrun import experiment

__all__ = ["rows"]

Quote = Callable[..., dict[str, int]]


def rows(effort: Effort) -> list[Row]:
    """Measure the calls."""
    return [*_off(effort), _by_hand(effort), *_peers(effort)]


def _loop(call: Quote) -> Callable[[int], None]:
    """Call the function under test over and over."""

    def loop(count: int) -> None:
        for _ in range(count):
            call(1250, 20, country="DE")

    return loop


def _bare(function: Quote) -> Quote:
    """Wrap a function in the least that a decorator can be."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def _off(effort: Effort) -> list[Row]:
    """Compare calls on which no experiment is made with a bare wrapper."""
    off = {
        "disabled call": experiment("bench.disabled", candidate=quote_v2, enabled=False)(quote),
        "unsampled call, sample=0": experiment("bench.zero", candidate=quote_v2, sample=0.0)(quote),
        "call at sample=0.001": experiment("bench.rare", candidate=quote_v2, sample=0.001)(quote),
    }
    calls = [_loop(_bare(quote)), *(_loop(call) for call in off.values())]
    rounds = per_call(calls, effort)
    return [
        row_of(work, "bare functools.wraps", [(r[n], r[0]) for r in rounds], target=1.5)
        for n, work in enumerate(off, 1)
    ]


def _matched() -> Quote:
    """The function under test with every option at its default."""
    return experiment("bench.matched", candidate=quote_v2)(quote)


def _by_hand(effort: Effort) -> Row:
    """Compare a matched run with the least that one would write oneself."""
    different: list[tuple[object, object]] = []
    spent = [0, 0]

    def by_hand(unit_price: int, quantity: int, *, country: str) -> dict[str, int]:
        started = time.perf_counter_ns()
        expected = quote(unit_price, quantity, country=country)
        between = time.perf_counter_ns()
        actual = quote_v2(unit_price, quantity, country=country)
        spent[0] += between - started
        spent[1] += time.perf_counter_ns() - between
        if expected != actual:
            different.append((expected, actual))
        return expected

    rounds = per_call([_loop(_matched()), _loop(by_hand)], effort)
    pairs = [(ours, theirs) for ours, theirs in rounds]
    return row_of("matched run, defaults", "the same by hand", pairs, target=4)


def _peers(effort: Effort) -> list[Row]:
    """Compare the overhead (a matched run without its two bare calls) with the peers'."""
    peers = [("laboratory", _laboratory, 8.0), ("py-scientist", _py_scientist, None)]
    made: list[Row] = []
    for name, make, target in peers:
        work, yardstick = "overhead of a matched run", f"{name}'s"
        try:
            theirs = make()
        except ImportError:
            made.append(missing(work, yardstick, name))
            continue
        calls = [_loop(quote), _loop(quote_v2), _loop(_matched()), _loop(theirs)]
        rounds = per_call(calls, effort)
        pairs = [(ours - a - b, peer - a - b) for a, b, ours, peer in rounds]
        made.append(row_of(work, yardstick, pairs, target=target, inverse=True))
    return made


def _laboratory() -> Quote:
    """The function under test, decorated with laboratory."""
    import laboratory  # type: ignore[import-untyped]

    decorated: Quote = laboratory.Experiment.decorator(quote_v2)(quote)
    return decorated


def _py_scientist() -> Quote:
    """The function under test, inside an experiment of py-scientist."""
    from scientist import Experiment  # type: ignore[import-untyped]

    def run(unit_price: int, quantity: int, *, country: str) -> dict[str, int]:
        made = Experiment[dict[str, int]]("bench.matched")
        made.use(lambda: quote(unit_price, quantity, country=country))
        made.try_(lambda: quote_v2(unit_price, quantity, country=country))
        priced: dict[str, int] = made.run()
        return priced

    return run

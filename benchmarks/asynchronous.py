"""What an awaited call costs: switched off, not sampled, and with both sides run."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Coroutine
from typing import Any

from benchmarks.measuring import Effort, Row, per_call, row_of
from benchmarks.pricing import quote, quote_v2
from twinrun import aflush, experiment

__all__ = ["rows"]

_TASKS = 500
"""Calls in a pass, fewer than may be under way at once."""

Quote = Callable[..., Coroutine[Any, Any, dict[str, int]]]


async def aquote(unit_price: int, quantity: int, *, country: str) -> dict[str, int]:
    """Price a line, as a coroutine function."""
    return quote(unit_price, quantity, country=country)


async def aquote_v2(unit_price: int, quantity: int, *, country: str) -> dict[str, int]:
    """Price it in the new way."""
    return quote_v2(unit_price, quantity, country=country)


def rows(effort: Effort) -> list[Row]:
    """Measure the calls on one event loop."""
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        return [*_off(effort, loop), *_by_hand(effort, loop), *_background(effort, loop)]


def _loop(call: Quote, loop: asyncio.AbstractEventLoop) -> Callable[[int], None]:
    """Await the function under test over and over."""

    async def main(count: int) -> None:
        for _ in range(count):
            await call(1250, 20, country="DE")

    return lambda count: loop.run_until_complete(main(count))


def _bare(function: Quote) -> Quote:
    """Wrap a coroutine function in the least that a decorator can be."""

    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return await function(*args, **kwargs)

    return wrapper


def _off(effort: Effort, loop: asyncio.AbstractEventLoop) -> list[Row]:
    """Compare calls on which no experiment is made with a bare wrapper."""
    off = {
        "disabled awaited call": {"enabled": False},
        "unsampled awaited call, sample=0": {"sample": 0.0},
        "awaited call at sample=0.001": {"sample": 0.001},
    }
    made: list[Quote] = [
        experiment(f"bench.async.{n}", candidate=aquote_v2, **options)(aquote)  # type: ignore[arg-type]
        for n, options in enumerate(off.values())
    ]
    calls: list[Quote] = [_bare(aquote), *made]
    rounds = per_call([_loop(call, loop) for call in calls], effort)
    return [
        row_of(work, "bare async wrapper", [(r[n], r[0]) for r in rounds], target=1.5)
        for n, work in enumerate(off, 1)
    ]


def _background(effort: Effort, loop: asyncio.AbstractEventLoop) -> list[Row]:
    """Compare what the caller waits in background mode with starting a task oneself.

    The tasks end, untimed, between two passes.
    """
    spent = [0.0, 0.0]
    kept: set[asyncio.Task[Any]] = set()

    async def by_hand(unit_price: int, quantity: int, *, country: str) -> dict[str, int]:
        value = await aquote(unit_price, quantity, country=country)
        task = loop.create_task(aquote_v2(unit_price, quantity, country=country))  # type: ignore[arg-type]
        kept.add(task)
        task.add_done_callback(kept.discard)
        return value

    ours: Quote = experiment("bench.async.background", candidate=aquote_v2, mode="background")(
        aquote
    )
    calls = (ours, by_hand)

    async def turns() -> list[tuple[float, float]]:
        rounds = []
        for _ in range(effort.rounds):
            for n, call in enumerate(calls):
                started = time.perf_counter()
                for _ in range(_TASKS):
                    await call(1250, 20, country="DE")
                spent[n] = (time.perf_counter() - started) / _TASKS
                await aflush(30.0)
            rounds.append((spent[0], spent[1]))
        return rounds

    rounds = loop.run_until_complete(turns())
    work, yardstick = "awaited call in background mode, for the caller", "create_task by hand"
    return [row_of(work, yardstick, rounds)]


def _by_hand(effort: Effort, loop: asyncio.AbstractEventLoop) -> list[Row]:
    """Compare a matched run with the least that one would write oneself."""
    different: list[tuple[object, object]] = []
    spent = [0, 0]

    async def by_hand(unit_price: int, quantity: int, *, country: str) -> dict[str, int]:
        started = time.perf_counter_ns()
        expected = await aquote(unit_price, quantity, country=country)
        between = time.perf_counter_ns()
        actual = await aquote_v2(unit_price, quantity, country=country)
        spent[0] += between - started
        spent[1] += time.perf_counter_ns() - between
        if expected != actual:
            different.append((expected, actual))
        return expected

    matched = experiment("bench.async.matched", candidate=aquote_v2)(aquote)
    rounds = per_call([_loop(matched, loop), _loop(by_hand, loop)], effort)
    pairs = [(ours, theirs) for ours, theirs in rounds]
    return [row_of("matched awaited run, defaults", "two awaits by hand", pairs, target=4)]

"""What the caller pays for candidates that run on other threads: fast, hanging, burning CPU."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

from benchmarks.measuring import Effort, Row, row_of
from benchmarks.pricing import quote, quote_v2
from twinrun import experiment, flush, tallies

__all__ = ["rows"]

_BURST = 20
"""So many calls are timed in a turn, one by one; then what they left is waited for."""

_PATIENCE = 60.0  # seconds, for what should take a few at most

Call = Callable[[], Any]


def rows(effort: Effort) -> list[Row]:
    """Measure the calls."""
    return [*_handing_over(effort), *_hanging(effort), *_burning(effort)]


def _timed(call: Call, count: int) -> list[float]:
    """Time calls one by one, in seconds by the clock: what a caller waits for counts too."""
    clock, taken = time.perf_counter, []
    for _ in range(count):
        started = clock()
        call()
        taken.append(clock() - started)
    return taken


def _turns(calls: Sequence[Call], rounds: int) -> list[list[list[float]]]:
    """Time bursts of calls in turn: for each round, the times of each."""
    for call in calls:
        _timed(call, 5 * _BURST)
    flush(_PATIENCE)
    measured = []
    for _ in range(rounds):
        turn = []
        for call in calls:
            turn.append(_timed(call, _BURST))
            time.sleep(0.001)
            flush(_PATIENCE)
        measured.append(turn)
    return measured


def _added(turns: list[list[list[float]]], which: int) -> list[float]:
    """The median of each round, beyond that of the first call, which is the bare control."""
    return [statistics.median(t[which]) - statistics.median(t[0]) for t in turns]


def _percentile(turns: list[list[list[float]]], which: int, share: float) -> float:
    """What that share of a call's times does not exceed, over all rounds."""
    taken = sorted(t for turn in turns for t in turn[which])
    return taken[min(len(taken) - 1, int(share * len(taken)))]


def _handing_over(effort: Effort) -> list[Row]:
    """Compare handing over fast candidates with submitting them to a pool, old or new."""

    def decorated(mode: str) -> Call:
        made = experiment(f"bench.{mode}", candidate=quote_v2, mode=mode, publishers=())(quote)
        return lambda: made(1250, 20, country="DE")

    pool = ThreadPoolExecutor(4)

    def submit() -> None:
        quote(1250, 20, country="DE")
        pool.submit(copy_context().run, quote_v2, 1250, 20, country="DE")

    def migrate() -> None:  # as LaunchDarkly's migrator does: a pool for each call
        with ThreadPoolExecutor(max_workers=2) as both:
            both.submit(quote, 1250, 20, country="DE")
            both.submit(quote_v2, 1250, 20, country="DE")

    def bare() -> None:
        quote(1250, 20, country="DE")

    modes = ("background", "concurrent")
    turns = _turns([bare, submit, migrate, *map(decorated, modes)], effort.rounds)
    pool.shutdown()
    made = []
    for which, mode in enumerate(modes, 3):
        ours, theirs = _added(turns, which), _added(turns, 1)
        target = 1.0 if mode == "background" else None
        work = f"added by {mode} mode"
        made.append(row_of(f"{work}, p50", "pool.submit", _pairs(ours, theirs), target=target))
        tails = _percentile(turns, which, 0.99), _percentile(turns, 1, 0.99)
        made.append(row_of(f"a call in {mode} mode, p99", "pool.submit", [tails]))
        theirs = _added(turns, 2)
        made.append(row_of(f"{work}, p50", "a new pool", _pairs(ours, theirs), inverse=True))
    return made


def _pairs(ours: list[float], theirs: list[float]) -> list[tuple[float, float]]:
    """Put each round's figures together."""
    return list(zip(ours, theirs, strict=True))


_BYTES = bytes(range(256)) * 225


def _work() -> int:
    """Be a control that takes about a third of a millisecond.

    It makes no objects: where in memory these fall changes what a loop takes by 4 %.
    """
    return sum(_BYTES)


def _itself() -> int:
    """Call the control, and do nothing else: what is measured of it is the method's own error."""
    return _work()


def _beside_control(
    work: str,
    call: Call,
    effort: Effort,
    *,
    p50: float | None = None,
    p99: float | None = None,
    later: float | None = None,
) -> list[Row]:
    """Compare calls with the bare control's: by factors, or by seconds `later` at p99.

    All take turns, in an order that turns too; the control's own function is one of them.
    """
    calls = [_work, call, _itself]
    for each in calls:
        _timed(each, _BURST)
    turns = []
    for n in range(effort.rounds):
        order = [(n + k) % 3 for k in range(3)]
        taken = {which: _timed(calls[which], _BURST) for which in order}
        turns.append([taken[which] for which in range(3)])
    ours, itself = [
        [(statistics.median(t[which]), statistics.median(t[0])) for t in turns] for which in (1, 2)
    ]
    tails = _percentile(turns, 1, 0.99), _percentile(turns, 0, 0.99)
    if later is not None:
        p99 = 1 + later / tails[1]
    return [
        row_of(f"{work}, p50", "the control alone", ours, target=p50),
        row_of("the method: no experiment either, p50", "the control alone", itself),
        row_of(f"{work}, p99", "the control alone", [tails], target=p99),
    ]


def _hanging(effort: Effort) -> list[Row]:
    """Let all candidates hang: the threads are stuck, the queue is full."""
    let_go = threading.Event()
    made = experiment("bench.hang", candidate=let_go.wait, mode="background", publishers=())(_work)
    try:
        while not tallies()["bench.hang"].skipped:
            made()
        return _beside_control("candidates that hang", made, effort, p99=2.0)
    finally:
        let_go.set()
        flush(_PATIENCE)


def _burning(effort: Effort) -> list[Row]:
    """Let candidates burn CPU, until the budget of the breaker that is on by default acts."""

    def burn() -> int:
        return sum(range(1_000_000))

    made = experiment("bench.burn", candidate=burn, mode="background", publishers=())(_work)
    until = time.monotonic() + _PATIENCE
    while not tallies()["bench.burn"].skipped.get("paused") and time.monotonic() < until:
        made()
        time.sleep(0.001)
    if not tallies()["bench.burn"].skipped.get("paused"):
        raise AssertionError("the budget did not act")
    flush(_PATIENCE)
    work = "candidates that burn CPU"
    return _beside_control(work, made, effort, p50=1.02, later=0.005)

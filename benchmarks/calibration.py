"""How often a verdict is wrong that is asked for after every run, and what that costs."""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from collections.abc import Callable, Iterator

from benchmarks.measuring import Effort, Row, missing

__all__ = ["rows"]

_RATE = 0.01
"""The true rate of mismatches, and the limit: whoever calls it ready is wrong."""

_ALLOWED = 0.05
_MANY = 512
"""With one mismatch more it opens within so many runs more."""

_IsOpen = Callable[[int, int], bool]


def rows(effort: Effort) -> list[Row]:
    """Simulate migrations whose candidates must not take over, and ask after every run."""
    work = "candidate at the limit ever called ready"
    try:
        ours, theirs = _verdict(), _one_look()
    except ImportError:
        return [missing(work, "the 5 % that 95 % confidence allows", "SQLAlchemy")]
    migrations, horizon = min(2000, 20 * effort.rounds), 10_000 * min(10, effort.few)
    generator = random.Random(2026)
    ends = [list(_mismatches(generator, horizon)) for _ in range(migrations)]
    wrong, naive = (
        100 * sum(map(_ever(is_open, horizon), ends)) / migrations for is_open in (ours, theirs)
    )
    asked = f"{work}, of {migrations:,}"
    allowed = 100 * _ALLOWED
    quick, once = (_opening(is_open, 0, 0) for is_open in (ours, theirs))
    return [
        _row(asked, "the 5 % that 95 % confidence allows", wrong, allowed, "%", target=1),
        _row(asked, "a bound for one look, asked as often", wrong, naive, "%"),
        _row("runs until ready, without a mismatch", "a bound for one look", quick, once, ""),
    ]


def _row(
    work: str, yardstick: str, ours: float, theirs: float, unit: str, target: float | None = None
) -> Row:
    """Make a row of two numbers."""
    ratio = ours / theirs if theirs else None
    return Row(
        work=work,
        yardstick=yardstick,
        ours=ours,
        theirs=theirs,
        ratio=ratio,
        unit=unit,
        target=target,
    )


def _verdict() -> _IsOpen:
    """Ask for the verdict itself, after n runs of which k mismatched."""
    from twinrun.analysis.policy import Policy
    from twinrun.analysis.verdict import Status, judge
    from twinrun.analysis.window import Window
    from twinrun.result import Outcome
    from twinrun.tally import Tally

    policy, window = Policy(max_mismatch_rate=_RATE, confidence=1 - _ALLOWED), Window()

    def is_ready(k: int, n: int) -> bool:
        counts = {Outcome.MATCHED: n - k, Outcome.MISMATCHED: k}
        tally = Tally(experiments=n, outcomes={"candidate": counts})
        verdict = judge("bench", "candidate", tally, [], policy, window)
        return verdict.status is Status.READY

    return is_ready


def _one_look() -> _IsOpen:
    """Ask the exact test that is made for one look."""
    from twinrun.analysis.binomials import at_most

    return lambda k, n: at_most(k, n, _RATE) <= _ALLOWED


def _mismatches(generator: random.Random, horizon: int) -> Iterator[int]:
    """Give the numbers (from 1) of the runs that mismatch, and then the end."""
    run = 0
    while run < horizon:
        run += 1 + int(math.log(1 - generator.random()) / math.log1p(-_RATE))
        yield min(run, horizon + 1)


def _ever(is_open: _IsOpen, horizon: int) -> Callable[[list[int]], bool]:
    """Make what says of a migration whether it was ever called ready.

    With k mismatches that is first possible after so many runs, unless the next one comes before.
    """
    openings: list[int] = []
    while not openings or openings[-1] <= horizon:
        openings.append(_opening(is_open, len(openings), openings[-1] if openings else 0))
    return lambda ends: any(opens < end for opens, end in zip(openings, ends, strict=False))


def _opening(is_open: _IsOpen, k: int, least: int) -> int:
    """Give after how many runs with k mismatches it says ready, at least so many."""
    runs = range(max(least, k), max(least, k) + _MANY)
    return runs.start + bisect_left(runs, True, key=lambda n: is_open(k, n))

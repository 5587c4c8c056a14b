"""Times callables in turn, so that what disturbs the machine disturbs them alike."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterable, Sequence

import attrs

__all__ = ["Effort", "Row", "missing", "per_call", "ratio_of", "row_of"]


@attrs.frozen
class Effort:
    """How long to measure: `rounds` turns, each of about `seconds` for every callable.

    What takes long by itself (a process, a batch on disk) has `few` turns.
    """

    rounds: int
    seconds: float
    few: int


@attrs.frozen(kw_only=True)
class Row:
    """One line of the table.

    `ours` and `theirs` are medians in `unit`; `ratio` is the median of the rounds' ratios. With
    `at_least`, the target is a floor of the ratio instead of a ceiling; None is a row that is only
    told. `missing` names a peer that is not installed.
    """

    work: str
    yardstick: str
    ours: float | None = None
    theirs: float | None = None
    ratio: float | None = None
    unit: str = "µs"
    target: float | None = None
    at_least: bool = False
    missing: str | None = None

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None where there is none, or nothing was measured."""
        if self.target is None or self.ratio is None:
            return None
        return self.ratio >= self.target if self.at_least else self.ratio <= self.target


def missing(work: str, yardstick: str, peer: str) -> Row:
    """The row of a peer that is not installed."""
    return Row(work=work, yardstick=yardstick, missing=peer)


def per_call(calls: Sequence[Callable[[int], None]], effort: Effort) -> list[list[float]]:
    """Time loops in turn: for each round, the CPU seconds of one pass of each loop.

    Each callable is given how often it shall do its work.
    """
    counts = [_count(call, effort.seconds) for call in calls]
    rounds: list[list[float]] = []
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for _ in range(effort.rounds):
            rounds.append([_time(c, n) / n for c, n in zip(calls, counts, strict=True)])
    finally:
        if collecting:
            gc.enable()
    return rounds


def _count(call: Callable[[int], None], seconds: float) -> int:
    """How often a loop must go round to take about so long; warms it up, too."""
    call(1)  # imports what it needs, which must not pass for what a call takes
    count = 1
    while (taken := _time(call, count)) < seconds / 4:
        count *= 2
    return max(1, round(count * seconds / taken))


def _time(call: Callable[[int], None], count: int) -> float:
    """Time one loop, in seconds of CPU time, which other processes do not disturb.

    It is the whole process's, so work that is handed to a thread counts too.
    """
    started = time.process_time()
    call(count)
    return time.process_time() - started


def ratio_of(pairs: Iterable[tuple[float, float]]) -> float:
    """The median of what the rounds' first numbers are to their second ones."""
    return statistics.median(first / second for first, second in pairs)


def row_of(
    work: str,
    yardstick: str,
    pairs: Sequence[tuple[float, float]],
    *,
    target: float | None = None,
    inverse: bool = False,
    unit: str = "µs",
) -> Row:
    """Make a row of each round's seconds, ours and theirs.

    `inverse` tells how many times less ours is, and the target is a floor then.
    """
    scale = {"µs": 1e6, "ms": 1e3}[unit]
    return Row(
        work=work,
        yardstick=yardstick,
        ours=scale * statistics.median(ours for ours, _ in pairs),
        theirs=scale * statistics.median(theirs for _, theirs in pairs),
        ratio=ratio_of([(b, a) for a, b in pairs] if inverse else pairs),
        unit=unit,
        target=target,
        at_least=inverse,
    )

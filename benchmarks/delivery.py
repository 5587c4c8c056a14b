"""What a queue before a sink costs: putting a record in, handing all on, a flush in vain."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from benchmarks.measuring import Effort, Row, per_call, row_of
from twinrun.delivery import Delivery

__all__ = ["rows"]

_RECORD = b"x" * 400
_AT_ONCE = 5000
"""So many records are put before they are flushed: no more than the queue holds."""

_PATIENCE = 60.0  # seconds, for what should take a few at most
_TIMEOUT, _GRACE = 0.2, 0.05  # seconds that a flush is given, and may take beyond that
_ENDLESS = 2**40


class _Counting:
    """A sink that counts what it is handed."""

    def __init__(self) -> None:
        self.taken = 0

    def record(self, result: object) -> bytes:
        """Serve as a sink; the records here are made beforehand."""
        return _RECORD

    def deliver(self, records: list[bytes]) -> None:
        """Take them all."""
        self.taken += len(records)


class _Stuck(_Counting):
    """A sink that takes nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.let_go = threading.Event(), threading.Event()

    def deliver(self, records: list[bytes]) -> None:
        """Wait."""
        self.asked.set()
        self.let_go.wait()


def rows(effort: Effort) -> list[Row]:
    """Measure the queue, the way through it, and a flush that can't succeed."""
    return [_putting(effort), _handing_on(effort), _flushing_in_vain(effort)]


def _putting(effort: Effort) -> Row:
    """Compare putting a record with a `queue.Queue`; nothing is delivered meanwhile."""
    delivery = Delivery(
        _Counting(),
        name="bench",
        capacity=_ENDLESS,
        max_bytes=_ENDLESS,
        batch=_ENDLESS,
        interval=3600.0,
    )
    theirs: queue.Queue[bytes] = queue.Queue()

    def loop(put: Callable[[bytes], object]) -> Callable[[int], None]:
        def putting(count: int) -> None:
            for _ in range(count):
                put(_RECORD)

        return putting

    calls = [loop(lambda record: delivery.put(record, "bench")), loop(theirs.put_nowait)]
    pairs = [(ours, bare) for ours, bare in per_call(calls, effort)]
    if delivery.counts.dropped:
        raise AssertionError(f"records were dropped: {delivery.counts}")
    delivery.close(_PATIENCE)
    return row_of("a record put in the queue", "queue.Queue.put_nowait", pairs)


def _handing_on(effort: Effort) -> Row:
    """Compare records on their way through with a `queue.Queue` that a thread empties."""
    sink = _Counting()
    delivery = Delivery(sink, name="bench")
    theirs: queue.Queue[bytes | None] = queue.Queue()
    taken: list[Any] = []

    def ours() -> None:
        for _ in range(_AT_ONCE):
            delivery.put(_RECORD, "bench")
        if not delivery.flush(_PATIENCE):
            raise AssertionError("not everything was delivered")

    def empty() -> None:
        while (record := theirs.get()) is not None:
            taken.append(record)
            theirs.task_done()

    def by_hand() -> None:
        for _ in range(_AT_ONCE):
            theirs.put_nowait(_RECORD)
        theirs.join()

    worker = threading.Thread(target=empty)
    worker.start()
    try:
        ours(), by_hand()  # both threads run from here on
        pairs = [(_seconds(ours), _seconds(by_hand)) for _ in range(effort.few)]
    finally:
        theirs.put_nowait(None)
        worker.join()
        delivery.close()
    if not sink.taken == len(taken) == _AT_ONCE * (effort.few + 1):
        raise AssertionError(f"{sink.taken} and {len(taken)} records came through")
    return row_of("a record handed on, from put to sink", "a queue.Queue and a thread", pairs)


def _seconds(work: Callable[[], object]) -> float:
    """Time some work, per record, in seconds by the clock."""
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) / _AT_ONCE


def _flushing_in_vain(effort: Effort) -> Row:
    """Compare how long a flush waits for a sink that is stuck with the time it was given."""
    sink = _Stuck()
    delivery = Delivery(sink, name="bench", batch=1)
    delivery.put(_RECORD, "bench")
    taken = []
    try:
        if not sink.asked.wait(_PATIENCE):
            raise AssertionError("nothing was handed to the sink")
        for _ in range(effort.few):
            started = time.perf_counter()
            if delivery.flush(_TIMEOUT):
                raise AssertionError("a flush says that a stuck sink took everything")
            taken.append((time.perf_counter() - started, _TIMEOUT))
    finally:
        sink.let_go.set()
        delivery.close(_PATIENCE)
    work, yardstick = "flush, the sink being stuck", "the time it was given"
    return row_of(work, yardstick, taken, unit="ms", target=1 + _GRACE / _TIMEOUT)

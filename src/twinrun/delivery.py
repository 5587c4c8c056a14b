"""A bounded queue and one worker, between the caller's thread and a slow or broken sink."""

from __future__ import annotations

import _thread
import contextlib
import math
import os
import random
import time
from collections import Counter, deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs

from twinrun._delivery import exits
from twinrun._delivery.exits import before_exit
from twinrun._delivery.sifting import Sifter
from twinrun._delivery.waiting import Entry, Signal, Total, Waiting
from twinrun._forks import after_fork_in_child
from twinrun.result import Result
from twinrun.tracebacks import message, type_name
from twinrun.typing import Ledger, Sink

if TYPE_CHECKING:
    from twinrun.spool import Spool

__all__ = ["BATCH", "CAPACITY", "INTERVAL", "MAX_BYTES", "Counts", "Delivery", "before_exit"]

CAPACITY: Final = 10_000
"""So many records wait in memory at most."""

MAX_BYTES: Final = 8 * 1024 * 1024
"""So many bytes they have at most."""

BATCH: Final = 1000
"""So many records a sink is handed at once."""

INTERVAL: Final = 1.0
"""Seconds between two deliveries, unless a batch is full before."""

_LONGEST_PAUSE: Final = 60.0  # seconds between two attempts at a sink that fails
_SHORT_PAUSE: Final = 0.1  # the same while a flush or an exit waits
_RETRY: Final = 1.0  # seconds until what the system refused (a thread, a file) is asked for again
_ADOPTION: Final = 30.0  # seconds between two looks for what dead processes have left


@attrs.frozen
class Counts:
    """What became of the records handed to a delivery in this process.

    - `dropped`, by reason, were not accepted: `full` and `bytes` (the queue's bounds),
      `disk_full` (neither the spool nor the queue had room), `closed`, `exit`.
    - `evicted`, by reason, were accepted and given up: `closed` and `exit` (not delivered in time),
      `poison` (the sink takes all others), `evicted` (the oldest, by a spool at its bound).
    - `spooled` lie on disk, `pending` in memory; `adopted` were left on disk by processes that
      are dead, and taken over.

    Once nothing is under way: accepted + adopted = delivered + spooled + pending + all evicted.
    """

    accepted: int = 0
    adopted: int = 0
    delivered: int = 0
    spooled: int = 0
    pending: int = 0
    dropped: Mapping[str, int] = attrs.field(factory=dict)
    evicted: Mapping[str, int] = attrs.field(factory=dict)

    @property
    def handed_over(self) -> int:
        """How many records there were: accepted and dropped."""
        return self.accepted + sum(self.dropped.values())


class Delivery:
    """Takes records from any thread at the cost of an append, and hands them on in batches.

    - `sink.deliver(records)` runs on the one worker, a daemon thread that starts at the first
      record. If it raises, what it left in the list is tried again after `interval` seconds, then
      ever later; that is told once, and again when it works anew.
    - `sink.idle(ledgers)` runs there too, once in an interval and before a flush is done.
    - With a `spool`, records are written there first, and wait in memory only while it refuses.

    `put` waits for nothing and holds no lock, so that signal handlers, finalizers and forks may
    come at any point of it. A forked child starts empty, without a thread.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        name: str,
        capacity: int = CAPACITY,
        max_bytes: int = MAX_BYTES,
        batch: int = BATCH,
        interval: float = INTERVAL,
        spool: Spool | None = None,
    ) -> None:
        self._sink = sink
        self._idle = getattr(sink, "idle", None)
        self._name = name
        self._capacity, self._max_bytes = capacity, max_bytes
        self._batch, self._interval = batch, interval
        self._spool = spool
        self.after_fork()
        after_fork_in_child(self)

    def after_fork(self) -> None:
        """Start afresh: nothing queued, nothing counted, nobody watched, no thread."""
        self._pid = os.getpid()
        self._waiting = Waiting(self._capacity, self._max_bytes)
        self._sifters: list[tuple[Any, Sifter[Any]]] = [
            (self._waiting, Sifter(self._waiting, self._sink.deliver, self._batch, self._put_aside))
        ]
        self._ledgers: dict[str, Ledger] = {}
        self._dropped: dict[str, Total] = {}
        self._evicted: dict[str, Total] = {}
        self._lost_told = 0
        self._flushes: deque[Signal] = deque()
        self._wake: Signal | None = None
        self._turns: dict[str, Any] = {}  # the lock that is held by whoever delivers
        self._start_token = [True]  # who pops it starts the thread
        self._start_after = -math.inf
        self._worker: int | None = None
        self._closed: str | None = None  # the reason for which nothing is taken any more
        self._failures = 0  # since it last worked
        self._next_try = self._next_idle = -math.inf
        self._random = random.Random()

    def publish(self, result: Result) -> None:
        """Put what the sink makes of a result, unless it is not worth keeping."""
        record = self._sink.record(result)
        if record is not None:
            self.put(record, result.experiment)

    def watch(self, ledger: Ledger) -> None:
        """Have the ledger told of what its experiment lost, and shown to the sink."""
        self._check_process()
        self._ledgers[ledger.name] = ledger
        if self._idle is not None or self._spool is not None:
            self.start()

    @property
    def counts(self) -> Counts:
        """What became of all records so far; exact while none is under way."""
        waiting = self._waiting
        return Counts(
            accepted=waiting.accepted,
            delivered=waiting.delivered,
            pending=len(waiting),
            dropped=_read(self._dropped),
            evicted=_read(self._evicted),
        )

    def put(self, record: bytes, experiment: str) -> bool:
        """Queue a record; False if it was dropped instead, which is counted."""
        self._check_process()
        refusal = self._closed or self._waiting.append(record, experiment)
        if refusal is not None:
            self._count(self._dropped, refusal, {experiment: 1})
            return False
        if self._worker is None:
            self.start()
        elif not self._failures and self._is_much():
            self._alarm()
        self._give_up()  # if it was closed just now, that may have missed this one
        return True

    def start(self) -> None:
        """Start the worker unless it runs; if no thread can be had, a later call tries again."""
        if self._worker is not None or time.monotonic() < self._start_after:
            return
        try:
            token = self._start_token.pop()
        except IndexError:
            return
        exits.at_exit(self)
        self._wake = Signal()  # made here, so that it is of the same kind as the thread
        try:
            # Not a threading.Thread, whose start waits for a lock that a caller may hold.
            self._worker = _thread.start_new_thread(self._work, (self._waiting,))
        except RuntimeError:
            self._start_after = time.monotonic() + _RETRY
            self._start_token.append(token)

    def flush(self, timeout: float) -> bool:
        """Wait at most so many seconds; True if all that was put before is delivered.

        A loss is told by the first flush after it. Where no thread can be had, the sink is called
        from here, and can't be interrupted.
        """
        self._check_process()
        deadline = time.monotonic() + timeout
        return self.wait_for(self.ask(), deadline)

    def close(self, timeout: float | None = None) -> None:
        """Flush for at most so many seconds (2), then take nothing more; give up what is left."""
        self._check_process()
        if self._closed is None:
            self.flush(exits.EXIT_SECONDS if timeout is None else timeout)
            self._close("closed")

    def ask(self) -> Signal | None:
        """Ask the worker for a flush; None if there is none to ask."""
        if len(self._waiting):
            self._start_after = -math.inf
            self.start()
        if self._worker is None or self._worker == _thread.get_ident() or self._closed:
            return None
        request = Signal()
        self._flushes.append(request)
        self._alarm()
        return request

    def wait_for(self, request: Signal | None, deadline: float) -> bool:
        """Wait for a flush that was asked for; without a worker, do the work here."""
        if request is not None:
            try:
                done = request.wait(deadline - time.monotonic())
            finally:
                request.forsaken = True
            return done and not request.lost
        if self._closed is not None:
            return not self._evicted
        if self._worker is not None:
            return False  # the worker itself asks
        return self._round(deadline) and not self._news_of_loss()

    def end(self) -> None:
        """Take nothing more: the process exits."""
        if self._closed is None:
            self._close("exit")

    def _close(self, reason: str) -> None:
        self._closed = reason
        self._alarm()
        self._give_up()

    def _check_process(self) -> None:
        if self._pid != os.getpid():  # forked where no fork hook runs, as under uWSGI
            self.after_fork()

    def _alarm(self) -> None:
        if self._wake is not None:
            self._wake.set()

    def _is_much(self) -> bool:
        """Whether enough waits for the worker not to."""
        waiting = self._waiting
        return len(waiting) >= self._batch or waiting.size > self._max_bytes // 4

    def _give_up(self) -> None:
        """Once closed, drop what is left, each record counted by whoever takes it out."""
        reason = self._closed
        if reason is not None:
            left = self._waiting.give_up()
            self._count(self._evicted, reason, Counter(entry[3] for entry in left))

    def _put_aside(self, entry: Entry, record: bytes) -> None:
        """Give up a record that the sink never takes."""
        if self._waiting.remove(entry):
            self._count(self._evicted, "poison", {entry[3]: 1})

    def _count(self, totals: dict[str, Total], reason: str, losses: Mapping[str, int]) -> None:
        """Count what is lost, and tell the ledgers of its experiments."""
        for experiment, number in losses.items():
            total = totals.get(reason) or totals.setdefault(reason, Total())
            total.plus(number)
            ledger = self._ledgers.get(experiment)
            if ledger is not None:
                with contextlib.suppress(Exception):
                    ledger.drop(reason, number)

    def _news_of_loss(self) -> bool:
        """Whether anything accepted was given up since this was last asked."""
        lost = sum(_read(self._evicted).values())
        news, self._lost_told = lost > self._lost_told, lost
        return news

    def _work(self, waiting: Waiting) -> None:
        """Be the worker: deliver in rounds until closed; outlive everything a sink may raise."""
        self._worker = _thread.get_ident()
        assert self._wake is not None
        wake = self._wake
        while self._closed is None and self._waiting is waiting:  # else the sink has forked
            wake.wait(self._pause())
            if self._closed is None and self._waiting is waiting:
                self._round(contained=BaseException)

    def _pause(self) -> float:
        """Give the seconds until the next round."""
        if self._flushes:  # somebody waits for it to work
            return min(self._interval, _SHORT_PAUSE)
        return max(0.0, self._next_try - time.monotonic()) if self._failures else self._interval

    def _round(
        self, deadline: float = math.inf, contained: type[BaseException] = Exception
    ) -> bool:
        """Deliver what is queued by now and answer the flushes asked for; False if it failed."""
        turn = self._turns.get("") or self._turns.setdefault("", _thread.allocate_lock())
        wait = min(deadline - time.monotonic(), _thread.TIMEOUT_MAX)
        if not turn.acquire(timeout=max(0.0, wait)):
            return False
        flushes = self._flushes
        asked = [flushes.popleft() for _ in range(len(flushes))]
        done = False
        try:
            done = self._deliver_all(deadline, contained)
            self._be_idle(bool(asked))
            self._note_success()
        except contained as error:
            done = False
            self._note_failure(error)
        finally:
            turn.release()
            self._answer(asked, done)
        return done

    def _answer(self, asked: list[Signal], done: bool) -> None:
        """Answer the flushes that were asked for, or keep them for the next round."""
        lost = done and bool(asked) and self._news_of_loss()
        for request in asked:
            if done:
                request.lost = lost
                request.set()
            elif not request.forsaken:
                self._flushes.append(request)

    def _deliver_all(self, deadline: float, contained: type[BaseException]) -> bool:
        """Deliver what is there by now; False if some of it was left behind."""
        done = True
        for source, sifter in self._sifters:
            done = sifter.hand_on(len(source), deadline, contained) and done
        return done

    def _be_idle(self, asked: bool) -> None:
        """Give the sink its turn for what is not in records."""
        if self._idle is not None and (asked or time.monotonic() >= self._next_idle):
            self._idle(list(self._ledgers.values()))
            self._next_idle = time.monotonic() + self._interval

    def _note_success(self) -> None:
        """Tell that it works again, if it has failed."""
        if self._failures:
            self._failures = 0
            self._tell("delivery.recovered")

    def _note_failure(self, error: BaseException) -> None:
        """Tell of the first failure after a success, or of the first at all."""
        self._failures += 1
        pause = min(self._interval * 2 ** min(self._failures, 20), _LONGEST_PAUSE)
        self._next_try = time.monotonic() + pause * self._random.uniform(0.5, 1.0)
        if self._failures == 1:
            self._tell("delivery.failed", error=f"{type_name(type(error))}: {message(error)}")

    def _tell(self, event: str, **keys: Any) -> None:
        with contextlib.suppress(Exception):
            from twinrun._logging import warn

            warn(event, sink=self._name, **keys)


def _read(totals: Mapping[str, Total]) -> dict[str, int]:
    """Give the counts by reason."""
    return {reason: total.read() for reason, total in list(totals.items())}

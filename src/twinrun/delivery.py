"""A bounded queue and one worker, between the caller's thread and a slow or broken sink."""

from __future__ import annotations

import _thread
import contextlib
import math
import os
import random
import time
from collections import Counter, deque
from collections.abc import Sized
from typing import TYPE_CHECKING, Any, Final

from twinrun._delivery import exits
from twinrun._delivery.counts import Counts
from twinrun._delivery.exits import before_exit
from twinrun._delivery.losses import Losses
from twinrun._delivery.sifting import Sifter
from twinrun._delivery.spooled import Spooled
from twinrun._delivery.waiting import Entry, Request, Waiting
from twinrun._forks import after_fork_in_child
from twinrun._threads import start_thread
from twinrun._wakeups import Wakeup
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
        self._wants = getattr(sink, "wants", None)
        self._idle = getattr(sink, "idle", None)
        self._name = name
        self._capacity, self._max_bytes = capacity, max_bytes
        self._batch, self._interval = batch, interval
        self._spool = spool
        self.after_fork()
        after_fork_in_child(self)
        exits.hook()  # now, so that exit handlers of the application may still hand things over

    def after_fork(self) -> None:
        """Start afresh: nothing queued, nothing counted, nobody watched, no thread."""
        self._pid = os.getpid()
        losses = self._losses = Losses()
        self._ledgers = losses.ledgers
        waiting = self._waiting = Waiting(self._capacity, self._max_bytes)
        deliver, batch = self._sink.deliver, self._batch
        self._sifters: list[tuple[Sized, Sifter[Any]]] = [
            (waiting, Sifter(waiting, deliver, batch, self._put_aside))
        ]
        self._spooled: Spooled | None = None
        if self._spool is not None:
            spooled = self._spooled = Spooled(self._spool, waiting, losses.evict, self._tell)
            aside = spooled.put_aside
            self._sifters.insert(0, (spooled, Sifter(spooled, deliver, batch, aside)))
        self._left_behind = 0
        self._flushes: deque[Request] = deque()
        self._wake: Wakeup | None = None
        self._turns: dict[str, Any] = {}  # the lock that is held by whoever delivers
        self._start_token = [True]  # who pops it starts the thread
        self._start_after = -math.inf
        self._worker: int | None = None
        self._closed: str | None = None  # the reason for which nothing is taken any more
        self._last: Request | None = None  # what an exit asks for when all is counted
        self._failures = 0  # since it last worked
        self._next_try = self._next_idle = -math.inf
        self._random = random.Random()

    def publish(self, result: Result) -> None:
        """Put what the sink makes of a result, unless it is not worth keeping."""
        if self._wants is not None:
            if not self._wants(result):
                return
            refusal = self._foreseen_refusal()
            if refusal is not None:
                self._drop(refusal, result.experiment)
                return
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
        counts = Counter(
            accepted=waiting.accepted, delivered=waiting.delivered, pending=len(waiting)
        )
        if self._spooled is not None:
            self._spooled.book_losses()
            counts.update(self._spooled.counts())
        return Counts(**counts, dropped=self._losses.dropped, evicted=self._losses.evicted)

    def put(self, record: bytes, experiment: str) -> bool:
        """Queue a record; False if it was dropped instead, which is counted."""
        self._check_process()
        refusal = self._closed or self._refusal(record, experiment)
        if refusal is not None:
            self._drop(refusal, experiment)
            return False
        if self._worker is None:
            self.start()
        elif not self._failures and self._is_much():
            self._alarm()
        if self._closed is not None:  # just now, which may have missed this one
            self._give_up()
        return True

    def _refusal(self, record: bytes, experiment: str) -> str | None:
        """Keep a record on disk or else in memory, or give the reason why it can't be."""
        if self._spooled is None:
            return self._waiting.append(record, experiment)
        if self._spooled.append(record, experiment):
            return None
        return self._waiting.append(record, experiment) and "disk_full"

    def _foreseen_refusal(self) -> str | None:
        """Give the reason why a record of the usual size can't be kept, before it is made."""
        self._check_process()
        if self._closed is not None or self._spooled is not None:
            return self._closed
        return self._waiting.refusal(self._waiting.usual)

    def _drop(self, reason: str, experiment: str) -> None:
        """Count a record that is not accepted; it may be for want of a worker."""
        self._losses.drop(reason, experiment)
        if self._closed is None:
            self.start()

    def start(self) -> None:
        """Start the worker unless it runs; if no thread can be had, a later call tries again."""
        if self._worker is not None or time.monotonic() < self._start_after:
            return
        try:
            token = self._start_token.pop()
        except IndexError:
            return
        exits.at_exit(self)
        self._wake = Wakeup()  # made here, so that it is of the same kind as the thread
        try:
            self._worker = start_thread(self._work, self._waiting)
        except RuntimeError:
            self._start_after = time.monotonic() + _RETRY
        finally:
            if self._worker is None:  # a signal's handler may have raised, too
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

    def ask(self) -> Request | None:
        """Ask the worker for a flush; None if there is none to ask."""
        if len(self._waiting):
            self._start_after = -math.inf
            self.start()
        if self._worker is None or self._worker == _thread.get_ident() or self._closed:
            return None
        request = Request()
        self._flushes.append(request)
        self._alarm()
        return request

    def wait_for(self, request: Request | None, deadline: float) -> bool:
        """Wait for a flush that was asked for; without a worker, do the work here."""
        if request is not None:
            try:
                return request.wait(deadline) and not request.lost
            finally:
                request.forsaken = True
        if self._closed is not None:
            return not self._losses.evicted and not self._left_behind
        if self._worker is not None:
            return False  # the worker itself asks
        return self._round(deadline) and not self._losses.is_news()

    def end(self) -> None:
        """Take nothing more: the process exits."""
        if self._closed is None:
            self._close("exit")

    def ask_last(self) -> Request | None:
        """Ask the worker to show the ledgers once more, which were told of what is given up."""
        if self._idle is None or self._worker is None or self._closed != "exit":
            return None
        self._last = Request()
        self._alarm()
        return self._last

    def _close(self, reason: str) -> None:
        self._closed = reason
        self._alarm()
        if self._spooled is not None:
            self._spooled.take_in()
            self._left_behind = len(self._spooled)
            self._spooled.close()
        self._give_up()

    def _check_process(self) -> None:
        if self._pid != os.getpid():  # forked where no fork hook runs, as under uWSGI
            self.after_fork()

    def _alarm(self) -> None:
        if self._wake is not None:
            self._wake.set()

    def _is_much(self) -> bool:
        """Whether enough waits for the worker not to."""
        waiting, spooled = self._waiting, self._spooled
        return (
            len(waiting) >= self._batch
            or waiting.size > self._max_bytes // 4
            or (spooled is not None and spooled.is_much(self._batch))
        )

    def _give_up(self) -> None:
        """Once closed, drop what is left, each record counted by whoever takes it out."""
        left = self._waiting.give_up()
        self._losses.evict(self._closed or "closed", Counter(entry[3] for entry in left))

    def _put_aside(self, entry: Entry, record: bytes) -> None:
        """Give up a record that the sink never takes."""
        if self._waiting.remove(entry):
            self._losses.evict("poison", {entry[3]: 1})

    def _work(self, waiting: Waiting) -> None:
        """Be the worker: deliver in rounds until closed; outlive everything a sink may raise."""
        self._worker = _thread.get_ident()
        assert self._wake is not None
        wake = self._wake
        while self._closed is None and self._waiting is waiting:  # else the sink has forked
            wake.wait(self._pause())
            if self._closed is None and self._waiting is waiting:
                with contextlib.suppress(BaseException):  # no error of ours ends it either
                    self._round(by_worker=True)
        while self._closed == "exit" and self._waiting is waiting:
            if self._last is not None:
                with contextlib.suppress(BaseException):
                    self._be_idle(asked=True)
                self._last.answered.set()
                break
            wake.wait(self._interval)

    def _pause(self) -> float:
        """Give the seconds until the next round."""
        if self._flushes:  # somebody waits for it to work
            return min(self._interval, _SHORT_PAUSE)
        pause = self._next_try - time.monotonic() if self._failures else self._interval
        if self._spooled is not None and len(self._waiting):
            pause = min(pause, _RETRY)  # for what the disk refused
        return max(0.0, pause)

    def _round(self, deadline: float = math.inf, by_worker: bool = False) -> bool:
        """Deliver what is queued by now and answer the flushes asked for; False if it failed."""
        contained = BaseException if by_worker else Exception  # else it is aimed at the caller
        turn = self._turns.get("") or self._turns.setdefault("", _thread.allocate_lock())
        wait = min(deadline - time.monotonic(), _thread.TIMEOUT_MAX)
        if not turn.acquire(timeout=max(0.0, wait)):
            return False
        flushes = self._flushes
        asked = [flushes.popleft() for _ in range(len(flushes))]
        done = False
        try:
            if self._failures and by_worker and not asked and time.monotonic() < self._next_try:
                self._tend()
                return False
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

    def _answer(self, asked: list[Request], done: bool) -> None:
        """Answer the flushes that were asked for, or keep them for the next round."""
        lost = done and bool(asked) and self._losses.is_news()
        for request in asked:
            if done:
                request.lost = lost
                request.answered.set()
            elif not request.forsaken:
                self._flushes.append(request)

    def _deliver_all(self, deadline: float, contained: type[BaseException]) -> bool:
        """Deliver what is there by now; False if some of it was left behind."""
        self._tend()
        done = True
        for source, sifter in self._sifters:
            done = sifter.hand_on(len(source), deadline, contained) and done
        return done

    def _tend(self) -> None:
        if self._spooled is not None:
            self._spooled.tend()

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
            self._tell("delivery.failed", error)

    def _tell(self, event: str, error: BaseException | None = None) -> None:
        """Log that something failed, or works again."""
        with contextlib.suppress(Exception):
            from twinrun._logging import warn

            said = {"error": f"{type_name(type(error))}: {message(error)}"} if error else {}
            warn(event, sink=self._name, **said)

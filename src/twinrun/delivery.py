"""A bounded queue and one worker, between the caller's thread and a slow or broken sink."""

from __future__ import annotations

import _thread
import atexit
import contextlib
import itertools
import math
import os
import sys
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from twinrun._forks import after_fork_in_child
from twinrun.tracebacks import message, type_name

__all__ = ["EXIT_SECONDS", "Delivery"]

EXIT_SECONDS: Final = 2.0
"""So long an exiting process waits for everything that is queued anywhere."""

_LONGEST_PAUSE: Final = 60.0  # seconds between two attempts at a sink that fails
_SHORT_PAUSE: Final = 0.1  # the same while a flush or an exit waits


class _Counter:
    """Counts without a lock: `next` on `count()` is one step, which nothing can come between."""

    def __init__(self) -> None:
        self._count = itertools.count()
        self._looks = itertools.count()

    def add(self) -> None:
        next(self._count)

    def read(self) -> int:
        """Give the count; two readers at once may each be off by one for that moment."""
        return next(self._count) - next(self._looks)


class _Signal:
    """Wakes one waiting thread; may be set anywhere, also by what interrupts a `set`.

    An Event holds a lock while it is set, on which a signal handler that sets it too would wait
    for ever; giving back a lock never waits.
    """

    def __init__(self) -> None:
        self._lock = _thread.allocate_lock()
        self._lock.acquire()
        self.forsaken = False  # nobody waits for it any more

    def set(self) -> None:
        if self._lock.locked():
            with contextlib.suppress(RuntimeError):  # another thread was quicker
                self._lock.release()

    def wait(self, timeout: float) -> bool:
        """Wait at most so many seconds for a `set`, and take it back."""
        return self._lock.acquire(timeout=min(max(0.0, timeout), _thread.TIMEOUT_MAX))


class Delivery:
    """Takes records from any thread at the cost of an append, and hands them on in batches.

    - `deliver(batch)` runs on the one worker, a daemon thread that starts at the first record. If
      it raises, the batch is kept and tried again after `interval` seconds, then ever later; that
      is told once, and again only after it has worked in between.
    - `idle()` runs there too, once in an interval and before a flush is done.
    - At most `capacity` records wait; newer ones are dropped then, counted in `dropped["full"]`.
    - `lost(reason, records)` is told what an exit or `close` gave up after it was accepted.

    `put` waits for nothing and holds no lock, so that signal handlers, finalizers and forks may
    come at any point of it. A forked child starts empty, without a thread.
    """

    def __init__(
        self,
        deliver: Callable[[list[Any]], None],
        *,
        capacity: int = 10_000,
        batch: int = 200,
        interval: float = 1.0,
        idle: Callable[[], None] | None = None,
        lost: Callable[[str, list[Any]], None] | None = None,
        name: str = "twinrun",
    ) -> None:
        self._deliver = deliver
        self._capacity = capacity
        self._batch = batch
        self._interval = interval
        self._idle = idle
        self._lost = lost
        self._name = name
        self.after_fork()
        after_fork_in_child(self)

    def after_fork(self) -> None:
        """Start afresh: nothing queued, nothing counted, no thread."""
        self._pid = os.getpid()
        self._records: deque[Any] = deque()
        self._flushes: deque[_Signal] = deque()
        self._wake = _Signal()
        self._turn = _thread.allocate_lock()  # held by whoever delivers
        self._start_token = [True]  # who pops it starts the thread
        self._worker: int | None = None
        self._full = _Counter()
        self._given_up = _Counter()
        self._closed: str | None = None  # the reason for which nothing is taken any more
        self._failures = 0  # since it last worked
        self._next_idle = 0.0

    @property
    def dropped(self) -> Mapping[str, int]:
        """How many records were dropped in this process, by reason: full, closed, exit."""
        counts = {"full": self._full.read(), self._closed or "closed": self._given_up.read()}
        return {reason: count for reason, count in counts.items() if count}

    @property
    def pending(self) -> int:
        """How many accepted records are not delivered yet."""
        return len(self._records)

    @property
    def closed(self) -> str | None:
        """Why nothing is taken any more: closed, exit, or None while records are taken."""
        return self._closed

    def put(self, record: Any) -> bool:
        """Queue a record; False if it was dropped instead, which is counted."""
        if self._pid != os.getpid():  # forked where no fork hook runs, as under uWSGI
            self.after_fork()
        if self._closed is not None:
            self._given_up.add()
            return False
        if len(self._records) >= self._capacity:
            self._full.add()
            return False
        self._records.append(record)
        if self._worker is None:
            self.start()
        elif len(self._records) >= self._batch and not self._failures:
            self._wake.set()
        self._give_up()  # if it was closed just now, that may have missed this one
        return True

    def start(self) -> None:
        """Start the worker unless it runs; if no thread can be had, a later call tries again."""
        if self._pid != os.getpid():
            self.after_fork()
        try:
            token = self._start_token.pop()
        except IndexError:
            return
        _at_exit(self)
        try:
            # Not a threading.Thread, whose start waits for a lock that a caller may hold.
            self._worker = _thread.start_new_thread(self._work, ())
        except RuntimeError:
            self._start_token.append(token)

    def flush(self, timeout: float) -> bool:
        """Wait at most so many seconds; True if all that was put before is delivered."""
        deadline = time.monotonic() + timeout
        return self._await(self._ask(), deadline)

    def close(self, timeout: float = EXIT_SECONDS) -> None:
        """Flush for at most so many seconds, then take nothing more and give up what is left."""
        deadline = time.monotonic() + timeout
        self._finish(self._ask(), deadline, "closed")

    def _ask(self) -> _Signal | None:
        """Ask the worker for a flush; None if there is none to ask."""
        if self._records:
            self.start()
        if self._worker is None or self._worker == _thread.get_ident() or self._closed:
            return None
        request = _Signal()
        self._flushes.append(request)
        self._wake.set()
        return request

    def _await(self, request: _Signal | None, deadline: float) -> bool:
        """Wait for a flush that was asked for; without a worker, do the work here."""
        if request is not None:
            done = request.wait(deadline - time.monotonic())
            request.forsaken = not done
            return done
        if self._closed is not None:
            return not self._given_up.read()
        return self._worker is None and self._round(deadline)

    def _finish(self, request: _Signal | None, deadline: float, reason: str) -> None:
        """Wait, then stop the worker and count what is left."""
        if self._closed is None:
            self._await(request, deadline)
            self._closed = reason
            self._wake.set()
            self._give_up()

    def _give_up(self) -> None:
        """Once closed, drop what is left, each record counted by whoever takes it out."""
        reason = self._closed
        if reason is None:
            return
        left = []
        with contextlib.suppress(IndexError):
            while True:
                left.append(self._records.popleft())
                self._given_up.add()
        if left and self._lost is not None:
            with contextlib.suppress(Exception):
                self._lost(reason, left)

    def _work(self) -> None:
        """Be the worker: deliver in rounds until closed; outlive everything a sink may raise."""
        self._worker = _thread.get_ident()
        records, pause = self._records, self._interval
        while self._closed is None and self._records is records:  # else the sink has forked
            self._wake.wait(pause)
            if self._closed is None:
                self._round()
                pause = min(self._interval * 2 ** min(self._failures, 20), _LONGEST_PAUSE)
                if self._flushes:  # somebody waits for it to work again
                    pause = min(pause, _SHORT_PAUSE)

    def _round(self, deadline: float = math.inf) -> bool:
        """Deliver what is queued by now and answer the flushes asked for; False if it failed."""
        turn, flushes = self._turn, self._flushes
        wait = min(deadline - time.monotonic(), _thread.TIMEOUT_MAX)
        if not turn.acquire(timeout=max(0.0, wait)):
            return False
        asked = [flushes.popleft() for _ in range(len(flushes))]
        try:
            done = self._deliver_all(len(self._records), deadline)
            if self._idle is not None and (asked or time.monotonic() >= self._next_idle):
                self._idle()
                self._next_idle = time.monotonic() + self._interval
            self._failures = 0
        except BaseException as error:  # whatever it is, the worker lives on
            done = False
            self._note_failure(error)
            if self._worker is None and not isinstance(error, Exception):
                raise  # it is aimed at the thread that waits in `flush`
        finally:
            turn.release()
        for request in asked:
            if done:
                request.set()
            elif not request.forsaken:
                flushes.append(request)
        return done

    def _deliver_all(self, left: int, deadline: float) -> bool:
        """Deliver so many records; each stays queued until the sink has taken it."""
        records = self._records
        while left > 0 and records:
            if time.monotonic() > deadline:
                return False
            batch = [records[i] for i in range(min(left, self._batch, len(records)))]
            self._deliver(batch)
            for _ in batch:
                with contextlib.suppress(IndexError):  # given up while the sink was busy
                    records.popleft()
            left -= len(batch)
        return True

    def _note_failure(self, error: BaseException) -> None:
        """Tell of the first failure after a success, or of the first at all."""
        self._failures += 1
        if self._failures == 1:
            with contextlib.suppress(Exception):
                from twinrun._logging import warn

                text = f"{type_name(type(error))}: {message(error)}"
                warn("delivery.failed", sink=self._name, error=text)


_open: weakref.WeakSet[Delivery] = weakref.WeakSet()
_hooked: list[int] = []  # the process whose exit is hooked


def _at_exit(delivery: Delivery) -> None:
    """See to it that this process, when it exits, waits for the delivery.

    A child of multiprocessing skips atexit (before Python 3.13), but runs its own finalizers.
    """
    _open.add(delivery)
    if _hooked != [os.getpid()]:
        _hooked[:] = [os.getpid()]
        atexit.register(_drain_all)
        multiprocessing = sys.modules.get("multiprocessing.util")
        if multiprocessing is not None:
            multiprocessing.Finalize(None, _drain_all, exitpriority=-100)


def _drain_all() -> None:
    """Give all deliveries of this process the same two seconds, then count what is lost."""
    if _hooked != [os.getpid()]:
        return  # a forked child that delivers nothing runs its parent's hooks
    deadline = time.monotonic() + EXIT_SECONDS
    asked = [(delivery, delivery._ask()) for delivery in list(_open)]
    for delivery, request in asked:
        delivery._finish(request, deadline, "exit")

"""The process's threads for what is done off the caller's path: few, and never waited for."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from importlib import import_module
from math import inf
from os import getpid
from time import monotonic
from typing import Any, Final, Protocol

from twinrun import settings
from twinrun._forks import after_fork_in_child
from twinrun._runner.containment import own_threads
from twinrun._threads import start_thread
from twinrun._wakeups import Wakeup

__all__ = ["Admitted", "Pool", "pool"]

_current: Final = settings.current

_STUCK: Final = 3
"""So many times `workers` threads may be stuck before no more candidates are run.

Those that run just then may get stuck too; one more thread is left to conclude their runs.
"""

_FIRST_PAUSE: Final = 0.1  # seconds between two attempts at a thread where none can be had
_LONGEST_PAUSE: Final = 60.0


class Admitted(Protocol):
    """A candidate that takes part of the room there is."""

    def give_up(self, reason: str) -> None:
        """Count the run as skipped for this reason, unless it is over already; then release."""


class _Seat:
    """A worker thread's place, and the time by which it must be done."""

    __slots__ = ("limit",)

    def __init__(self) -> None:
        self.limit: tuple[float, Callable[[], bool], object] | None = None


class Pool:
    """At most `workers` daemon threads, started when first needed, and room for `queue` more jobs.

    What is under way or waits, on these threads or in tasks of an event loop, is *admitted* before
    and *released* after. Nothing here waits for a lock or for another thread, but `flush`: it may
    be called by signal handlers and finalizers in the middle of itself. A forked child starts
    empty, with threads of its own.
    """

    def __init__(self) -> None:
        self.forsaken: deque[Admitted] = deque()
        """Candidates whose caller's stack had no room to give them up; an append needs none."""
        self.after_fork()
        after_fork_in_child(self)

    def after_fork(self) -> None:
        """Start afresh: nothing admitted, nothing queued, no thread."""
        self._pid = getpid()
        self._admitted: set[Admitted] = set()
        self._queues: dict[str, Any] = {}  # the one queue, once there is one
        self._put: Callable[[Any], None] | None = None
        self._seats: set[_Seat] = set()  # of the threads that work or wait for work
        self._stuck: dict[_Seat, object] = {}  # those that are held, and by whose candidate
        self._here: dict[int, _Seat] = {}
        self._hiring: dict[str, _Seat] = {}
        self._hire_after = -inf
        self._pause = _FIRST_PAUSE
        self.forsaken.clear()
        self._flushes: deque[Wakeup] = deque()
        self._watch = Wakeup()
        self._watching: dict[str, object] = {}
        self._watched_until = inf
        self._closed: str | None = None
        own_threads.clear()

    # Room ----------------------------------------------------------------------------------------

    def admit(self, owner: object, candidate: Admitted, *others: Admitted) -> str | None:
        """Make room for candidates, all or none; None, or the reason why there is none.

        The bound is exact; where two come for the last place at the same moment, both may be
        refused. `owner` is whose candidates they are: the experiment's account.
        """
        workers = _current.workers
        # Where no fork hook runs, as under uWSGI, a child sees its parent's threads: work piles up.
        if len(self._admitted) >= workers and self._pid != getpid():
            self.after_fork()
        admitted, limit = self._admitted, workers + _current.queue
        if len(admitted) + len(others) >= limit:
            return "queue full"
        if self._stuck and self.is_stuck(owner):
            return "stuck"
        if len(self._seats) < workers and not self._hire():
            return "no thread"
        admitted.add(candidate)
        if others:
            admitted.update(others)
        if len(admitted) > limit or self._closed is not None:
            self.release(candidate, *others)
            return self._closed or "queue full"
        return None

    def release(self, *candidates: Admitted) -> None:
        """Give back the room of candidates that are over; doing it twice does no harm."""
        for each in candidates:
            self._admitted.discard(each)
        if self._flushes:
            for waiting in list(self._flushes):
                waiting.set()

    def is_stuck(self, owner: object) -> bool:
        """Say whether the owner's candidates hold so many threads that it gets no more."""
        stuck, workers = list(self._stuck.values()), _current.workers
        own = sum(each is owner for each in stuck)
        return own >= workers or len(stuck) >= _STUCK * workers

    def _give_up_forsaken(self) -> None:
        """Give up what was forsaken; each by whoever takes it out."""
        with contextlib.suppress(IndexError):
            while True:
                self.forsaken.popleft().give_up("internal")

    def flush(self, deadline: float) -> bool:
        """Wait until all that is admitted now is over, or `monotonic()` says the deadline."""
        self._give_up_forsaken()
        waiting = Wakeup()
        self._flushes.append(waiting)
        try:
            before = set(self._admitted)
            while not before.isdisjoint(self._admitted):
                left = deadline - monotonic()
                if threading.get_ident() in self._here or not (left > 0 and waiting.wait(left)):
                    return before.isdisjoint(self._admitted)
            return True
        finally:
            self._flushes.remove(waiting)

    def hook_exit(self) -> None:
        """Have the process drain this when it exits."""
        from twinrun._delivery.exits import before_exit

        import_module("twinrun.publishers.structlog")  # now, as `exits` does with all used late
        before_exit(self.drain)

    def drain(self, deadline: float) -> None:
        """Flush, then take nothing more and count what is left as skipped: "exit"."""
        self.flush(deadline)
        self._closed = "exit"
        for each in list(self._admitted):
            each.give_up("exit")

    # Work ----------------------------------------------------------------------------------------

    def submit(self, job: Callable[[], object]) -> str | None:
        """Queue what was admitted; None, or the reason why nobody will do it."""
        if len(self._seats) < _current.workers and not self._hire():
            return "no thread"
        (self._put or self._jobs().put)(job)
        return None

    def _jobs(self) -> Any:
        """Give the queue; it is made when first needed, since gevent replaces its class."""
        from queue import SimpleQueue

        jobs = self._queues.setdefault("jobs", SimpleQueue())
        self._put = jobs.put
        return jobs

    def _hire(self) -> bool:
        """Start one more thread where there is room; False if there is none at all to be had."""
        seat = _Seat()
        try:
            # Only one at a time, which a signal's handler that raises can't leave for ever.
            if self._hiring.setdefault("by", seat) is not seat:
                return True
            workers = _current.workers
            places = (_STUCK + 1) * workers + 1 - len(self._stuck)
            if len(self._seats) < min(workers, places) and monotonic() >= self._hire_after:
                if not self._queues:
                    self.hook_exit()
                self._seats.add(seat)
                start_thread(self._work, seat, self._jobs())
                self._pause = _FIRST_PAUSE
        except RuntimeError:
            self._seats.discard(seat)
            self._hire_after = monotonic() + self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        except BaseException:
            self._seats.discard(seat)
            raise
        finally:
            if self._hiring.get("by") is seat:
                del self._hiring["by"]
        return bool(self._seats)

    def _work(self, seat: _Seat, jobs: Any) -> None:
        """Be a worker: do jobs until there are too many workers, and outlive whatever they do."""
        here = threading.get_ident()
        self._here[here] = seat
        own_threads.add(here)
        while seat in self._seats:  # else it was given up as stuck, or this is a forked child
            job = jobs.get()
            with contextlib.suppress(BaseException):  # where the stack or the memory is at its end
                job()
                if self.forsaken:
                    self._give_up_forsaken()
            del job
            if len(self._seats) > _current.workers:
                self._seats.discard(seat)
        self._here.pop(here, None)
        own_threads.discard(here)
        self._stuck.pop(seat, None)
        if jobs in self._queues.values() and not jobs.empty():
            self._hire()

    # Time ----------------------------------------------------------------------------------------

    def limit(self, seconds: float, abandon: Callable[[], bool], owner: object) -> None:
        """Give what the calling worker does from now on so many seconds.

        Once they are over the watcher calls `abandon`; where that says True, the thread is stuck:
        another one takes its place, and it ends when it comes back.
        """
        seat = self._here.get(threading.get_ident())
        if seat is None:
            return
        deadline = monotonic() + seconds
        seat.limit = (deadline, abandon, owner)
        mine = object()
        if self._watching.setdefault("by", mine) is mine:
            self._watch = Wakeup()  # not before: gevent may have replaced what it is made of
            try:
                start_thread(self._watch_over)
            except RuntimeError:
                del self._watching["by"]  # the next one tries again
        elif deadline < self._watched_until:
            self._watch.set()

    def unlimit(self) -> None:
        """Say that the calling worker is done with what it was given so many seconds for."""
        seat = self._here.get(threading.get_ident())
        if seat is not None:
            seat.limit = None

    def _watch_over(self) -> None:
        """Be the watcher: give up, at their deadlines, workers that are still busy."""
        own_threads.add(threading.get_ident())
        while True:
            self._watched_until = inf  # whoever sets a limit while we look must wake us
            soonest = inf
            for seat in list(self._seats):
                limit = seat.limit
                if limit is None:
                    continue
                if limit[0] > monotonic():
                    soonest = min(soonest, limit[0])
                elif limit[1]():
                    seat.limit = None
                    self._stuck[seat] = limit[2]
                    self._seats.discard(seat)
                    self._hire()
            self._watched_until = soonest
            self._watch.wait(soonest - monotonic())


pool: Final = Pool()
"""The pool of this process."""

settings.under_way.append(pool.flush)

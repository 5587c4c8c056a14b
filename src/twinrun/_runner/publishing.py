"""Concludes awaited runs: what their records cost is paid on a thread, not by the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from time import monotonic
from typing import Final, TypeAlias

from twinrun import settings
from twinrun._accounts import Account
from twinrun._delivery.exits import before_exit
from twinrun._forks import after_fork_in_child
from twinrun._runner.awaiting import current_task
from twinrun._runner.containment import own_threads
from twinrun._runner.recipe import Recipe
from twinrun._runner.reporting import (
    give,
    is_for_any_thread,
    raise_if_mismatched,
    takers,
    tell,
)
from twinrun._runner.scope import HOOK, scope
from twinrun._runner.steps import Run, settle
from twinrun._runner.tasks import TaskWakeup
from twinrun._threads import start_thread
from twinrun._wakeups import Wakeup
from twinrun.result import Result
from twinrun.typing import PublisherLike

__all__ = ["conclude_awaited"]

_Jobs: TypeAlias = deque[tuple[Callable[[], object], Account | None]]


async def conclude_awaited(run: Run) -> Result | None:
    """Conclude a run like `conclude`; the caller waits for its records, the event loop does not.

    Once the run is counted, a cancellation takes effect at once, but what takes results gets this
    one all the same.

    Raises:
        MismatchError: where `raise_on_mismatch` asks for it.
    """
    result = settle(run)
    if result is None:
        return None
    recipe = run.recipe
    everybody = takers(recipe, result)
    try:
        await _give_aside(recipe, result, [each for each in everybody if is_for_any_thread(each)])
    finally:
        _tell(recipe, result, [each for each in everybody if not is_for_any_thread(each)])
    raise_if_mismatched(recipe, result, run.control.exception)
    return result


def _tell(recipe: Recipe, result: Result, publishers: list[PublisherLike]) -> None:
    """Tell those who must hear of a result on the thread of the event loop."""
    outside = scope.get()
    try:
        scope.set(HOOK)
        give(recipe, result, publishers)
        tell(recipe, result)
    finally:
        scope.set(outside)


async def _give_aside(recipe: Recipe, result: Result, publishers: list[PublisherLike]) -> None:
    """Give the result to publishers on the thread for that, and wait until they have it."""
    if not publishers:
        return
    context = copy_context()  # a log's own variables are the caller's
    context.run(scope.set, HOOK)
    job = partial(context.run, partial(give, recipe, result, publishers))
    if current_task() is None:  # an event loop that is not asyncio's
        job()
        return
    done = TaskWakeup(asyncio.get_running_loop())
    if _desk.submit(job, recipe.account, done.set):
        await done.future


class _Desk:
    """Does one job after the other on a daemon thread, which lives as long as there are any.

    Nothing here waits for a lock or for another thread, but `flush`. A forked child starts empty.
    """

    def __init__(self) -> None:
        self.after_fork()
        after_fork_in_child(self)

    def after_fork(self) -> None:
        """Start afresh: no job, no thread."""
        self._pid = os.getpid()
        self._jobs: _Jobs = deque()
        self._turn = [True]  # who pops it does the jobs
        self._here: int | None = None

    def submit(self, job: Callable[[], object], account: Account, done: Callable[[], None]) -> bool:
        """Have a job done, then `done` called; False, counted, where too many wait."""
        if self._pid != os.getpid():  # forked where no fork hook runs, as under uWSGI
            self.after_fork()
        if len(self._jobs) >= settings.current.queue:
            account.drop("queue full")
            return False

        def do() -> None:
            try:
                job()
            finally:
                done()

        self._jobs.append((do, account))
        self._start()
        return True

    def _start(self) -> None:
        """Start the thread unless it runs; where none can be had, do the jobs here."""
        turn = self._turn
        try:
            token = turn.pop()
        except IndexError:
            return
        is_taken = False
        try:
            before_exit(self.drain)
            start_thread(self._serve, self._jobs, turn)
            is_taken = True
        except RuntimeError:
            is_taken = True
            self._work(self._jobs, turn)
        finally:
            if not is_taken:  # a signal's handler has raised
                turn.append(token)

    def _serve(self, jobs: _Jobs, turn: list[bool]) -> None:
        """Be the thread; outlive whatever a job does."""
        here = threading.get_ident()
        own_threads.add(here)
        try:
            with contextlib.suppress(BaseException):
                self._work(jobs, turn)
        finally:
            own_threads.discard(here)

    def _work(self, jobs: _Jobs, turn: list[bool]) -> None:
        """Do jobs until there are none."""
        self._here = threading.get_ident()
        try:
            while jobs:
                job, _ = jobs.popleft()
                job()
                del job
        finally:
            self._here = None
            turn.append(True)
            if jobs:  # one came just now
                self._start()

    def flush(self, deadline: float) -> bool:
        """Wait until all jobs that are there now are done, or `monotonic()` says the deadline."""
        if self._turn and not self._jobs:
            return True
        if self._here == threading.get_ident():
            return False
        done = Wakeup()
        self._jobs.append((done.set, None))
        self._start()
        return done.wait(deadline - monotonic())

    def drain(self, deadline: float) -> None:
        """Flush, then count what is left as dropped: "exit"."""
        if not self.flush(deadline):
            with contextlib.suppress(IndexError):
                while True:
                    _, account = self._jobs.popleft()
                    if account is not None:
                        account.drop("exit")


_desk: Final = _Desk()
settings.under_way.append(_desk.flush)

"""Drives a candidate's coroutine, step by step, inside the task that awaits it.

Inline, candidate and control share one task. What is done to that task by `cancel` is done to the
caller, unless the candidate's own code did it, as its `asyncio.timeout` does. asyncio keeps no
record of who it was; but it passes each `cancel` on, at once, to what the task waits for, and that
is ours here: the context in which it is called tells.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, CancelledError, Future, Task, TimerHandle
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar
from time import perf_counter_ns, thread_time_ns
from types import CoroutineType
from typing import Any, Final

from twinrun._runner.abandoned import put_away
from twinrun._runner.awaiting import (
    awaited_by,
    current_task,
    is_to_be_cancelled,
    shorten,
    where,
    without_frame,
)
from twinrun._runner.containment import contained, raised_by_signal_handler
from twinrun._runner.endings import Ending
from twinrun._runner.scope import CANDIDATE, scope
from twinrun.observation import NOTHING

__all__ = ["Drive"]

_CLOSINGS: Final = 10
"""So often a candidate is closed that goes on to wait for something when it is closed."""

_driven: ContextVar[object] = ContextVar("twinrun_driven", default=None)


class Drive:
    """Awaits a coroutine in a context of its own, and gives how it ended.

    - What the candidate raises, a `CancelledError` of its own too, is part of how it ended.
    - A cancellation of the task that the candidate itself did not ask for is thrown into it, and
      raised the moment it gives control back, by whatever way. So is the closing of the task.
    - `expire`, which also happens after `limit` seconds, cancels the candidate alone; the drive is
      over the moment it gives control back.

    A candidate that would still wait for something then is closed. Towards the task a drive is the
    future that it waits for.
    """

    __slots__ = (
        "_asyncio_future_blocking",
        "_began",
        "_begun",
        "_context",
        "_coroutine",
        "_counted",
        "_future",
        "_grew",
        "_is_alone",
        "_is_waiting",
        "_limit",
        "_mark",
        "_message",
        "_pending",
        "_started_ns",
        "_struck",
        "_task",
        "_timer",
        "_wakeup",
        "_wakeup_context",
        "cpu_ns",
        "is_expired",
        "stack",
        "taken_ns",
    )

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, Any],
        context: Context,
        *,
        limit: float | None = None,
        cpu: bool = False,
        is_alone: bool = False,
        mark: object = None,
    ) -> None:
        """Take a coroutine; it is to be awaited in the task in which this is made.

        `cpu` adds up CPU time; `is_alone` contains every exception, since there is no caller. The
        context bears the `mark`, or is given one.
        """
        self._coroutine = coroutine
        self._context = context
        self._limit = limit
        self._is_alone = is_alone
        self._mark = _marked(context) if mark is None else mark
        self._task = task = current_task()
        self._began = self._counted = 0 if task is None else task.cancelling()
        self._pending = is_to_be_cancelled(task)
        self._grew = self._struck = self._is_waiting = self.is_expired = False
        self._future: Future[Any] | None = None
        self._wakeup: Callable[[Any], None] | None = None
        self._wakeup_context: Context | None = None
        self._timer: TimerHandle | None = None
        self._message: tuple[Any, ...] | None = None
        self.cpu_ns: int | None = 0 if cpu else None
        self.taken_ns = 0
        self.stack: str | None = None
        self._begun: tuple[Ending | None, Any] | None = None
        self._started_ns = perf_counter_ns()

    @classmethod
    def quickly(
        cls,
        coroutine: Coroutine[Any, Any, Any],
        context: Context,
        task: Task[Any] | None,
        start: int,
    ) -> tuple[Any, Ending | None, Drive | None]:
        """Begin a coroutine; one that waits for nothing is over without a drive.

        Gives its value; or else how it ended; or else the drive that is to be awaited. The context
        becomes a candidate's; `start` is now, in ns.
        """
        cancels = 0 if task is None else task.cancelling()
        begun: tuple[Ending | None, Any]
        try:
            begun = None, context.run(_begin, coroutine)
        except StopIteration as stop:
            if task is None or task.cancelling() == cancels:
                return stop.value, None, None
            begun = Ending(stop.value), None
        except BaseException as error:
            if not contained(error):
                raise
            begun = Ending(None, without_frame(error)), None
            if task is None or task.cancelling() == cancels:
                return None, begun[0], None
        taken = perf_counter_ns() - start
        drive = cls(coroutine, context, mark=coroutine)
        drive._begun, drive.taken_ns = begun, taken
        drive._began, drive._started_ns = cancels, start
        drive._grew = drive._counted > cancels
        return None, None, drive

    def __await__(self) -> Generator[Any, Any, Ending]:
        """Drive the candidate until it is over, or must be."""
        thrown: BaseException | None = None
        aimed: Ending | None = None
        ending: Ending | None = None
        try:
            while True:
                ending, awaited = self._begun or self._step(thrown)
                self._begun = thrown = None
                if aimed is not None or self.is_expired:
                    self._close()
                    return _ended(aimed)
                if ending is not None:
                    yield from self._undo_cancelling()
                    return ending
                try:
                    yield self._waited(awaited)
                    thrown = self._expiry()
                except BaseException as error:
                    if type(error) is GeneratorExit:  # the task's own coroutine is being closed
                        self._close()
                        raise
                    thrown = without_frame(error)
                    if self._is_aimed(thrown):
                        aimed = Ending(None, thrown)
        finally:
            thrown = ending = aimed = None  # exceptions lead back to this frame
            self._let_go()

    def _step(self, thrown: BaseException | None) -> tuple[Ending | None, Any]:
        """Let the candidate run; give how it ended, or None and what it waits for."""
        coroutine, task = self._coroutine, self._task
        cancels = 0 if task is None else task.cancelling()
        cpu = None if self.cpu_ns is None else thread_time_ns()
        try:
            if thrown is None:
                return None, self._context.run(coroutine.send, None)
            return None, self._context.run(coroutine.throw, thrown)
        except StopIteration as stop:
            return Ending(stop.value), None
        except BaseException as error:
            if not self._stays(error):
                raise
            shorten(error)
            return Ending(None, error), None
        finally:
            thrown = None
            self.taken_ns = perf_counter_ns() - self._started_ns
            if cpu is not None:
                self.cpu_ns = (self.cpu_ns or 0) + thread_time_ns() - cpu
            if task is not None:
                self._counted = task.cancelling()
                self._grew = self._counted > cancels

    def _stays(self, error: BaseException) -> bool:
        """Say whether an exception stays with us; of a signal's handler, what ends the process."""
        if not self._is_alone:
            return contained(error)
        return not (
            issubclass(type(error), (SystemExit, KeyboardInterrupt))
            and raised_by_signal_handler(error)
        )

    def _waited(self, awaited: Any) -> Any:
        """Give what the task is to wait for: this, in place of what the candidate waits for."""
        task = self._task
        self._is_waiting = False
        if task is None or awaited is task:
            return awaited
        if awaited is not None:
            if not isinstance(awaited, Future) or not awaited._asyncio_future_blocking:
                return awaited  # nothing that can be waited for, as the task will say
            awaited._asyncio_future_blocking = False
        if self._limit is not None and self._timer is None:
            left = self._limit - self.taken_ns / 1e9
            self._timer = task.get_loop().call_later(left, self.expire)
        self._future, self._message = awaited, None
        self._is_waiting = self._asyncio_future_blocking = True
        return self

    def _is_aimed(self, error: BaseException) -> bool:
        """Say whether what was thrown in is a cancellation that the candidate did not ask for."""
        if self._task is None or not issubclass(type(error), CancelledError):
            return False
        return self._struck if self._is_waiting else self._task.cancelling() > self._counted

    def _undo_cancelling(self) -> Generator[Any, Any, None]:
        """Take back what the candidate did to the task, if it cancelled that and left it so."""
        task = self._task
        if task is None:
            return
        while task.cancelling() > self._began:
            task.uncancel()
        if is_to_be_cancelled(task) and not self._pending:
            try:
                yield self._waited(None)
            except CancelledError:
                if self._struck:
                    raise

    def _close(self) -> None:
        """End a candidate that had its chance, whatever it does; what goes on is put away."""
        if current_task() is not self._task:  # its event loop has ended
            put_away(self._coroutine)
            return
        left = list(awaited_by(self._coroutine))
        for _ in range(_CLOSINGS):
            for each in left:
                try:
                    self._context.run(each.close)
                except BaseException as error:
                    if not self._stays(error):
                        raise
            left = [each for each in left if _is_suspended(each)]
            if not left:
                return
        for each in left:
            put_away(each)

    def _let_go(self) -> None:
        """Forget what leads from here to frames and other objects."""
        if self._timer is not None:
            self._timer.cancel()
        if self.is_expired and self._limit is not None:  # a loop's clock may be a tick ahead
            self.taken_ns = max(self.taken_ns, int(self._limit * 1e9) + 1)
        self._future = self._wakeup = self._timer = self._task = None

    def expire(self) -> None:
        """Cancel the candidate, and give up waiting for it the moment it gives control back."""
        self.is_expired = True
        self._interrupt(None)
        self.stack = where(self._coroutine)  # it takes no step before this is over

    def _expiry(self) -> CancelledError | None:
        """Give what tells a candidate that its time is over, if it is."""
        return CancelledError() if self.is_expired else None

    def _interrupt(self, message: Any) -> bool:
        """Cancel what the candidate waits for, and wake the task at once, whatever that does."""
        future, wakeup = self._future, self._wakeup
        if future is None or wakeup is None or future.done():
            return False  # the task is woken already
        future.cancel(message)
        if not future.done():  # a task that takes its time to be cancelled
            future.remove_done_callback(wakeup)
            future.add_done_callback(_retrieve)
            self._message = () if message is None else (message,)
            future.get_loop().call_soon(wakeup, self, context=self._wakeup_context)
        return True

    # What a task asks of the future that it waits for.

    def get_loop(self) -> AbstractEventLoop:
        """Give the loop of what the candidate waits for."""
        assert self._task is not None
        return (self._task if self._future is None else self._future).get_loop()

    def add_done_callback(self, wakeup: Any, *, context: Context | None = None) -> None:
        """Have the task woken by what the candidate waits for; at once, where that is nothing."""
        self._wakeup, self._wakeup_context = wakeup, context
        if self._future is None:
            self.get_loop().call_soon(wakeup, self, context=context)
        else:
            self._future.add_done_callback(wakeup, context=context)

    def cancel(self, msg: Any = None) -> bool:
        """Be told of a cancellation of the task: at once, or after the step in which it was made.

        True where the task will be woken by a CancelledError; else the task throws one in itself.
        """
        assert self._task is not None
        count = self._task.cancelling()
        is_own = _driven.get() is self._mark if count > self._counted else self._grew
        self._counted = count
        if is_own:
            return self._future is not None and self._future.cancel(msg)
        self._struck = True
        return self._interrupt(msg)

    def result(self) -> None:
        """Raise the CancelledError by which the task is woken early."""
        if self._message is not None:
            raise CancelledError(*self._message)


def _is_suspended(coroutine: Any) -> bool:
    """Say whether a coroutine, or a generator that stands for one, is not over."""
    is_coroutine = isinstance(coroutine, CoroutineType)
    return (coroutine.cr_frame if is_coroutine else coroutine.gi_frame) is not None


def _begin(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Take a candidate's first step, in its context, whose mark is the coroutine."""
    _driven.set(coroutine)
    scope.set(CANDIDATE)
    return coroutine.send(None)


def _marked(context: Context) -> object:
    """Mark a context and give the mark; the timers and callbacks made in it bear it too."""
    mark = object()
    context.run(_driven.set, mark)
    return mark


def _ended(aimed: Ending | None) -> Ending:
    """Give the end of what had to end; a cancellation goes on just as it came."""
    if aimed is None:
        return Ending(NOTHING)
    try:
        raise aimed.before_raise()
    finally:
        aimed.after_raise()


def _retrieve(future: Future[Any]) -> None:
    """Look at a future that nobody waits for any more, so that asyncio doesn't say so."""
    if not future.cancelled():
        future.exception()

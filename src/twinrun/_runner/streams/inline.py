"""Drives generators in the caller's thread, step by step."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Generator
from functools import partial
from time import perf_counter_ns, thread_time_ns
from types import GeneratorType
from typing import Any, Final

from twinrun import tracebacks
from twinrun._runner.behaviours import Lineup
from twinrun._runner.containment import contained
from twinrun._runner.endings import Ending
from twinrun._runner.gates import Call, Plan, begin
from twinrun._runner.pool import pool
from twinrun._runner.recipe import Recipe
from twinrun._runner.streams.closing import shut
from twinrun._runner.streams.lanes import Lane
from twinrun._runner.streams.records import Playback, Record, run_candidate
from twinrun._runner.streams.sides import CLOSED, RETURNED, is_closing
from twinrun._runner.streams.watches import Watch

__all__ = ["driven"]

_traceback: Final[Any] = BaseException.__dict__["__traceback__"]

_Stream = Generator[Any, Any, Any]


def driven(
    recipe: Recipe, lineup: Lineup, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> _Stream:
    """Give a generator that behaves like the control's, and drives the candidates' beside it."""
    # Made at the call, as wrong arguments raise there; nothing of it runs before the first step.
    stream: Any = lineup.control(*args, **kwargs)
    watch = _Watch(recipe, lineup.control_name, stream)
    made: Any = _drive(watch, lambda: begin(recipe, lineup, args, kwargs))
    made.__name__, made.__qualname__ = stream.__name__, stream.__qualname__
    watch.caller = weakref.ref(made)
    return made  # type: ignore[no-any-return]


def _drive(watch: _Watch, plan: Callable[[], Plan | None]) -> _Stream:
    """Hand the caller's moves to both sides, and what the control gives to the caller."""
    sent: Any = None
    thrown: BaseException | None = None
    try:
        watch.begin(plan())
        del plan  # the arguments are the behaviours' now
        while True:
            ending = watch.move(sent, thrown)
            if ending is not None:
                break
            watch.survive(thrown)
            sent = thrown = None
            try:
                sent = yield watch.control.take()
            except BaseException as error:
                thrown = error
                # As the caller threw it: the frame that it was thrown into is ours.
                _traceback.__set__(error, _traceback.__get__(error).tb_next)
        thrown = None
        if ending.error is None:
            return ending.value
        try:
            raise ending.before_raise()
        finally:
            ending.after_raise()
    finally:
        watch.leave()


class _Lane(Lane):
    """A candidate's generator."""

    __slots__ = ("_run", "_stream")

    def __init__(self, recipe: Recipe, call: Call, *, is_alone: bool = False) -> None:
        super().__init__(recipe, call, is_alone=is_alone)
        assert call.context is not None
        self._run = call.context.run
        self._stream: GeneratorType[Any, Any, Any] | None = None

    def step(self, thrown: BaseException | None) -> None:
        """Take one step, in the candidate's context; whatever comes of it is evidence."""
        if self.ended is not None:
            return
        cpu = thread_time_ns() if self._recipe.cpu_time else 0
        start = perf_counter_ns()
        try:
            if thrown is None and self._stream is not None:
                item = self._run(self._stream.send, self._sent)
            else:
                item = self._item(thrown)
        except BaseException as error:
            self.ns += perf_counter_ns() - start
            if type(error) is StopIteration:
                self.end(RETURNED, error.value)
            elif self.is_aimed(error):
                raise
            else:
                self.fail(error)
        else:
            self.ns += perf_counter_ns() - start
            if thrown is not None and is_closing(thrown):
                self.end(CLOSED)
            else:
                self.item = item
                self.items += 1
        if cpu:
            self.cpu_ns += thread_time_ns() - cpu
        if self._limit_ns is not None and self.is_late():
            self.close()

    def _item(self, thrown: BaseException | None) -> Any:
        """Ask for the first item, or throw in what the caller does, or close the stream."""
        if self._stream is None:
            self._stream = self._run(_opened, self._call)
        if thrown is None:
            return self._run(self._stream.send, self._sent)
        if is_closing(thrown):
            return self._run(self._stream.close)
        return self._run(self._stream.throw, tracebacks.twin(thrown))

    def close(self) -> None:
        """Close the stream if it is not at its end; what comes of that is nobody's business."""
        if self.ended is None:
            self.end(CLOSED)
        stream, self._stream = self._stream, None
        if stream is not None:
            shut(self._run, stream)


class _Watch(Watch):
    """A call whose streams are driven here."""

    __slots__ = ()

    lane_of = _Lane
    record_of = Record

    def move(self, sent: Any, thrown: BaseException | None) -> Ending | None:
        """Have every side take one step; gives how the control ended, once it did."""
        if self._plan is None:
            return self._step(sent, thrown)
        active, here = self._recipe.account.active, threading.get_ident()
        is_outermost = here not in active
        try:
            active.add(here)  # inside, since a signal's handler may raise right after it
            if sent is not self._latest:
                self._receive(sent)
            try:
                for lane in self._before:
                    lane.step(thrown)
            except BaseException as error:  # aimed at the caller, and so at the control
                self._interrupt()
                thrown = error
            ending = self._step(sent, thrown)
            for lane in self._after:
                lane.step(thrown)
            is_over = ending is not None or (thrown is not None and is_closing(thrown))
            if ending is not None or not is_over:  # else it goes on, and is watched no longer
                self._compare()
        finally:
            thrown = None  # its traceback may lead to this frame
            if is_outermost:
                active.discard(here)
        if is_over:
            self._conclude()
        return ending

    def _step(self, sent: Any, thrown: BaseException | None) -> Ending | None:
        """Have the control take one step, in the caller's own context."""
        control = self.control
        ending: Ending | None = None
        cpu = thread_time_ns() if self._recipe.cpu_time else 0
        start = perf_counter_ns()
        try:
            item = self._stream.send(sent) if thrown is None else self._stream.throw(thrown)
        except BaseException as error:
            control.ns += perf_counter_ns() - start
            ending = self._ended(error, thrown)
        else:
            control.ns += perf_counter_ns() - start
            control.item = item
            control.items += 1
        if cpu:
            control.cpu_ns += thread_time_ns() - cpu
        return ending

    def _ended(self, error: BaseException, thrown: BaseException | None) -> Ending:
        """Take note of how the control ended."""
        if type(error) is StopIteration:
            if is_closing(thrown):
                self.control.end(CLOSED)
            else:
                self.control.end(RETURNED, error.value)
            return Ending(error.value)
        ending = Ending(None, error)
        self.control.raised(ending, thrown)
        if self._plan is not None and not contained(error):
            self._interrupt()
        return ending

    def _hand_over(self, playback: Playback) -> None:
        """Have the candidates driven by the pool's workers."""
        for part, call in playback.calls():
            lane = _Lane(self._recipe, call, is_alone=True)
            reason = pool.submit(partial(run_candidate, playback, part, lane))
            if reason is not None:
                playback.run.give_up(reason)

    def leave(self) -> None:
        """Leave nothing open, however this ends."""
        self._interrupt()
        if self.control.ended is None:
            self._stream.close()


def _opened(call: Call) -> GeneratorType[Any, Any, Any]:
    """Call a candidate; what is no generator, but can be iterated, is made one."""
    try:
        made = call.function(*call.args, **call.kwargs)
    except StopIteration as error:
        raise RuntimeError("the candidate raised StopIteration when it was called") from error
    return made if type(made) is GeneratorType else _iterated(made)  # type: ignore[return-value]


def _iterated(iterable: Any) -> Generator[Any, Any, Any]:
    """Iterate over a candidate's value as a generator would that delegates to it."""
    return (yield from iterable)

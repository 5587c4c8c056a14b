"""Drives generators in the caller's thread, step by step."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Generator
from functools import partial
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

    __slots__ = ("_stream",)

    def __init__(self, recipe: Recipe, call: Call, *, is_alone: bool = False) -> None:
        super().__init__(recipe, call, is_alone=is_alone)
        self._stream: GeneratorType[Any, Any, Any] | None = None

    def step(self, thrown: BaseException | None) -> None:
        """Take one step, in the candidate's context; whatever comes of it is evidence."""
        if self.ended is not None:
            return
        began = self.begin()
        try:
            item = self._item(thrown)
        except StopIteration as stop:
            self.spent(began)
            self.end(RETURNED, stop.value)
        except BaseException as error:
            self.spent(began)
            if self.is_aimed(error):
                raise
            self.fail(error)
        else:
            self.spent(began)
            if is_closing(thrown):
                self.end(CLOSED)
            else:
                self.give(item)
            if self.is_late():
                self.close()

    def _item(self, thrown: BaseException | None) -> Any:
        """Ask for the next item, or close the stream where the caller does."""
        assert self._call.context is not None
        run = self._call.context.run
        if self._stream is None:
            self._stream = run(_opened, self._call)
        if thrown is None:
            return run(self._stream.send, self._sent)
        if is_closing(thrown):
            return run(self._stream.close)
        return run(self._stream.throw, tracebacks.twin(thrown))

    def close(self) -> None:
        """Close the stream if it is not at its end; what comes of that is nobody's business."""
        if self.ended is None:
            self.end(CLOSED)
        stream, self._stream = self._stream, None
        if stream is not None and self._call.context is not None:
            shut(self._call.context.run, stream)


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
            for lane in self._lanes:
                lane.receive(sent)
            try:
                for lane in self._before:
                    lane.step(thrown)
            except BaseException as error:  # aimed at the caller, and so at the control
                self._interrupt()
                thrown = error
            ending = self._step(sent, thrown)
            for lane in self._after:
                lane.step(thrown)
            self._compare(thrown)
            is_over = ending is not None or is_closing(thrown)
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
        began = control.begin()
        try:
            item = self._stream.send(sent) if thrown is None else self._stream.throw(thrown)
        except StopIteration as stop:
            control.spent(began)
            if is_closing(thrown):
                control.end(CLOSED)
            else:
                control.end(RETURNED, stop.value)
            return Ending(stop.value)
        except BaseException as error:
            control.spent(began)
            ending = Ending(None, error)
            control.raised(ending, thrown)
            if self._plan is not None and not contained(error):
                self._interrupt()
            return ending
        control.spent(began)
        control.give(item)
        return None

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

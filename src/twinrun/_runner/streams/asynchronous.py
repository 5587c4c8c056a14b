"""Drives async generators: the control's in the caller's task, candidates' in tasks of their own.

A task of its own is what keeps a candidate's `asyncio.timeout` around a `yield`, which fires when
it likes, from cancelling the caller.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import weakref
from asyncio import AbstractEventLoop, Future, Task
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from time import perf_counter_ns
from types import AsyncGeneratorType
from typing import Any, Final

from twinrun import tracebacks
from twinrun._runner.awaiting import Metered, cancellations, shorten, without_frame
from twinrun._runner.behaviours import Lineup
from twinrun._runner.containment import contained
from twinrun._runner.endings import Ending
from twinrun._runner.gates import Call, Plan, begin
from twinrun._runner.pending import Part
from twinrun._runner.recipe import Recipe
from twinrun._runner.scope import Controlling, is_controlling
from twinrun._runner.streams.closing import CLOSINGS, keep
from twinrun._runner.streams.lanes import Lane
from twinrun._runner.streams.records import Playback, Record
from twinrun._runner.streams.sides import CLOSED, RAISED, RETURNED, Ended, Side, is_closing
from twinrun._runner.streams.watches import Watch
from twinrun._runner.tasks import started
from twinrun.observation import NOTHING

__all__ = ["driven"]

_Stream = AsyncGenerator[Any, Any]

_under_way: Final[dict[AbstractEventLoop, set[Task[None]]]] = {}
"""The tasks of lanes by their loops, which themselves hold them but weakly."""


def driven(
    recipe: Recipe, lineup: Lineup, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> _Stream:
    """Give an async generator that behaves like the control's, with the candidates' beside it."""
    # Made at the call, as wrong arguments raise there; nothing of it runs before the first step.
    stream: Any = lineup.control(*args, **kwargs)
    watch = _Watch(recipe, lineup.control_name, stream)
    made: Any = _drive(watch, lambda: _begun(recipe, lineup, args, kwargs))
    made.__name__, made.__qualname__ = stream.__name__, stream.__qualname__
    watch.caller = weakref.ref(made)
    return made  # type: ignore[no-any-return]


def _begun(
    recipe: Recipe, lineup: Lineup, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Plan | None:
    """Make what the run needs; None, counted, where there can be none."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # an event loop that is not asyncio's
        recipe.account.skip("no loop")
        return None
    if is_controlling(recipe.account):
        recipe.account.skip("reentry")
        return None
    return begin(recipe, lineup, args, kwargs)


async def _drive(watch: _Watch, plan: Callable[[], Plan | None]) -> _Stream:
    """Hand the caller's moves to both sides, and what the control gives to the caller."""
    sent: Any = None
    thrown: BaseException | None = None
    try:
        watch.begin(plan())
        del plan  # the arguments are the behaviours' now
        while True:
            ending = await watch.move(sent, thrown)
            if ending is not None:
                break
            sent = thrown = None
            try:
                sent = yield watch.control.take()
            except BaseException as error:
                thrown = without_frame(error)
        thrown = None
        if ending.error is None:
            return
        try:
            raise ending.before_raise()
        finally:
            ending.after_raise()
    finally:
        await watch.leave()


class _Lane(Lane):
    """A candidate's async generator, in a task of its own that is asked for one step at a time."""

    __slots__ = ("_aimed", "_answer", "_stream", "_task", "_thrown", "_wish")

    def __init__(self, recipe: Recipe, call: Call, *, is_alone: bool = False) -> None:
        super().__init__(recipe, call, is_alone=is_alone)
        self._stream: _Stream | None = None
        self._task: Task[None] | None = None
        self._thrown: BaseException | None = None
        self._wish: Future[None] | None = None
        self._answer: Future[None] | None = None
        self._aimed: BaseException | None = None

    async def step(self, thrown: BaseException | None) -> None:
        """Take one step; whatever comes of it is evidence."""
        if self.ended is not None:
            return
        loop, wish = asyncio.get_running_loop(), self._wish
        if self._task is not None and (
            wish is None or wish.done() or self._task.get_loop() is not loop
        ):
            if is_closing(thrown):
                self.end(CLOSED)
            else:
                self.leave_undecided("its event loop has ended it")
            return
        self._thrown = thrown
        self._answer = answer = loop.create_future()
        if wish is None:
            self._task = self._started(loop)
        else:
            wish.set_result(None)
        if self._limit_ns is None:
            await answer
        else:
            left = (self._limit_ns - self.ns) / 1e9
            await asyncio.wait((answer,), timeout=left)
            if not answer.done():
                self.ns = max(self.ns, int(self._limit_ns) + 1)
        if self.is_late():
            self.close()
        aimed, self._aimed = self._aimed, None
        if aimed is not None:
            try:
                raise aimed
            finally:
                del aimed  # its traceback leads to this frame

    def _started(self, loop: AbstractEventLoop) -> Task[None]:
        """Start the task; a loop that was closed keeps those that it left no longer."""
        for closed in [each for each in _under_way if each.is_closed()]:
            for left in _under_way.pop(closed):
                left.get_coro().close()
        name = f"twinrun {self._recipe.name} {self.name}"
        task: Any = Task(self._serve(), loop=loop, name=name, context=self._call.context)
        task._log_destroy_pending = False  # it may outlive its loop where the generator does
        tasks = _under_way.setdefault(loop, set())
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return task  # type: ignore[no-any-return]

    async def _serve(self) -> None:
        """Be the task: take a step whenever one is wished for; in the end close what is open."""
        with contextlib.suppress(asyncio.CancelledError):  # while nothing was asked of it
            while self.ended is None:
                await self._take_step()
                if self._answer is not None and not self._answer.done():
                    self._answer.set_result(None)
                if self.ended is None:
                    self._wish = asyncio.get_running_loop().create_future()
                    await self._wish
        await self._shut()

    async def _take_step(self) -> None:
        """Ask the candidate for an item, and take note of what it does."""
        thrown, self._thrown = self._thrown, None
        is_last = is_closing(thrown)
        if thrown is not None and not is_last:
            thrown = tracebacks.twin(thrown)
        step = None
        try:
            if self._stream is None:
                self._stream = _opened(self._call)
            stream = self._stream
            asked = stream.aclose() if is_last else _asked(stream, self, self._sent, thrown)
            step = _Step(self._recipe, self, asked, self._is_alone)
            item = await step.awaitable
        except StopAsyncIteration:
            self._note(step, CLOSED if is_last else RETURNED)
        except BaseException as error:
            if self._is_left(error):
                raise
            if self.is_aimed(error):
                self._aimed = error
            shorten(error)
            self._note(step, RAISED, error)
        else:
            self._note(step, CLOSED if is_last else None, item=item)
        finally:
            thrown = None  # its traceback leads to this frame

    def _note(
        self,
        step: _Step | None,
        ended: Ended | None,
        error: BaseException | None = None,
        item: Any = NOTHING,
    ) -> None:
        """Take note of what a step gave, unless the caller has given up waiting for it."""
        if self.ended is not None:
            return
        if step is not None:
            step.over()
        if error is not None:
            self.fail(error)
        elif ended is None:
            self.give(item)
        else:
            self.end(ended, None if ended == RETURNED else NOTHING)

    async def _shut(self) -> None:
        """Close the candidate's generator, whatever it does."""
        stream: Any = self._stream
        self._stream = None
        for _ in range(CLOSINGS):
            if stream is None or stream.ag_frame is None:
                return
            try:
                await stream.aclose()
            except BaseException as error:
                if self._is_left(error):
                    raise
        keep(stream)

    def _is_left(self, error: BaseException) -> bool:
        """Say whether this raises because the task itself is closed, after its event loop was."""
        if type(error) is not GeneratorExit or self._task is None:
            return False
        try:
            return asyncio.get_running_loop() is not self._task.get_loop()
        except RuntimeError:
            return True

    def close(self) -> None:
        """Have the task close a stream that is not at its end, and don't wait for it."""
        if self.ended is not None:
            return
        self.end(CLOSED)
        if self._task is None:
            return
        with contextlib.suppress(RuntimeError):  # the loop may be closed
            if self._wish is not None and not self._wish.done():
                self._wish.set_result(None)
            else:
                self._task.cancel()  # in the middle of a step


class _Step:
    """One step of a stream, and the clocks while it is awaited."""

    __slots__ = ("_metered", "_side", "_started_ns", "awaitable")

    def __init__(self, recipe: Recipe, side: Side, asked: Any, is_alone: bool = False) -> None:
        is_metered = recipe.cpu_time or is_alone
        self._metered = Metered(asked) if is_metered else None
        self.awaitable = asked if self._metered is None else self._metered
        self._side = side
        self._started_ns = perf_counter_ns()

    def over(self) -> None:
        """Read the clocks."""
        cpu_ns = 0 if self._metered is None else self._metered.cpu_ns
        self._side.add(perf_counter_ns() - self._started_ns, cpu_ns)


class _Record(Record):
    """A record whose steps can be awaited like those of a lane."""

    async def step(self, thrown: BaseException | None) -> None:  # type: ignore[override]
        """Keep what the caller throws, by a twin."""
        super().step(thrown)


async def _run_candidate(playback: Playback, part: Part, call: Call) -> None:
    """Drive a candidate in tasks of the event loop."""
    run, recipe = playback.run, playback.run.recipe
    if run.is_over:
        return
    if run.permit is not None and not run.permit.holds():  # paused while this was to begin
        run.give_up("paused")
        return
    lane = _Lane(recipe, call, is_alone=True)
    playback.enter(lane)
    run.order.append(part.name)
    try:
        for thrown in playback.steps(lane):
            await lane.step(thrown)
    finally:
        lane.close()
    part.cpu_ns = lane.cpu_ns
    if lane.is_late():
        part.expire(recipe.timeout or 0.0, lane.ns)
    else:
        part.over(lane.observed())


class _Watch(Watch):
    """A call whose streams are driven here."""

    __slots__ = ()

    lane_of = _Lane
    record_of = _Record

    async def move(self, sent: Any, thrown: BaseException | None) -> Ending | None:
        """Have every side take one step; gives how the control ended, once it did."""
        if self._plan is None:
            return await self._step(sent, thrown)
        for lane in self._lanes:
            lane.receive(sent)
        try:
            try:
                for lane in self._before:
                    await lane.step(thrown)
            except BaseException as error:  # aimed at the caller, and so at the control
                self._interrupt()
                thrown = error
            ending = await self._step(sent, thrown)
            for lane in self._after:
                await lane.step(thrown)
            self._compare(thrown)
            is_over = ending is not None or is_closing(thrown)
        finally:
            thrown = None  # its traceback may lead to this frame
        if is_over:
            self._conclude()
        return ending

    async def _step(self, sent: Any, thrown: BaseException | None) -> Ending | None:
        """Have the control take one step, in the caller's own task and context."""
        control, is_aimed = self.control, cancellations()
        asked = _asked(self._stream, control, sent, thrown)
        step = _Step(self._recipe, control, asked)
        try:
            with Controlling(self._recipe.account):
                item = await step.awaitable
        except StopAsyncIteration:
            step.over()
            control.end(CLOSED if is_closing(thrown) else RETURNED, None)
            return Ending(None)
        except BaseException as error:
            step.over()
            is_ours = contained(error) and not is_aimed(error)
            shorten(error)
            ending = Ending(None, error)
            control.raised(ending, thrown)
            if self._plan is not None and not is_ours:
                self._interrupt()
            return ending
        step.over()
        control.give(item)
        return None

    def _hand_over(self, playback: Playback) -> None:
        """Have the candidates driven by tasks of the event loop."""
        calls = dict(playback.calls())
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            playback.run.give_up("no loop")
            return
        started(playback.run, loop, lambda part: _run_candidate(playback, part, calls[part]))

    async def leave(self) -> None:
        """Leave nothing open, however this ends."""
        self._interrupt()
        if self.control.ended is None:
            await self._stream.aclose()


def _asked(stream: _Stream, side: Side, sent: Any, thrown: BaseException | None) -> Any:
    """Ask a stream for its next step."""
    if thrown is not None:
        return stream.athrow(thrown)
    return stream.asend(sent) if side.items else _first_of(stream)


def _first_of(stream: _Stream) -> Any:
    """Ask for the first item, past the event loop's hooks.

    The loop closes, at its end or when they are dropped, the generators that it knows of: the
    caller's, which closes these. Were these known to it too, they would be closed twice at a time.
    """
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None if hooks.finalizer is None else _let_be)
    try:
        return stream.asend(None)
    finally:
        sys.set_asyncgen_hooks(*hooks)


def _let_be(stream: object) -> None:
    """Be a finalizer."""


def _opened(call: Call) -> _Stream:
    """Call a candidate; what is no async generator, but can be iterated so, is made one."""
    try:
        made = call.function(*call.args, **call.kwargs)
    except StopAsyncIteration as error:
        raise RuntimeError("the candidate raised StopAsyncIteration when called") from error
    return made if type(made) is AsyncGeneratorType else _iterated(made)


async def _iterated(iterable: AsyncIterable[Any]) -> _Stream:
    """Iterate over a candidate's value."""
    async for item in iterable:
        yield item

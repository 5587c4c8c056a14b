"""A candidate's async generator, driven in a task of its own.

That is what keeps a candidate's `asyncio.timeout` around a `yield`, which fires when it likes, from
cancelling the caller.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from asyncio import AbstractEventLoop, Future, Task
from collections.abc import AsyncGenerator, AsyncIterable
from time import perf_counter_ns
from types import AsyncGeneratorType
from typing import Any, Final

from twinrun import tracebacks
from twinrun._runner.awaiting import Metered, shorten
from twinrun._runner.gates import Call
from twinrun._runner.recipe import Recipe
from twinrun._runner.streams.closing import CLOSINGS, keep
from twinrun._runner.streams.lanes import Lane
from twinrun._runner.streams.sides import CLOSED, RAISED, RETURNED, Ended, Side, is_closing
from twinrun.observation import NOTHING

__all__ = ["ServedLane", "Step", "asked"]

_Stream = AsyncGenerator[Any, Any]

_under_way: Final[dict[AbstractEventLoop, set[Task[None]]]] = {}
"""The tasks of lanes by their loops, which themselves hold them but weakly."""


class ServedLane(Lane):
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
            wanted = stream.aclose() if is_last else asked(stream, self, self._sent, thrown)
            step = Step(self._recipe, self, wanted, self._is_alone)
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
        step: Step | None,
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


class Step:
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


def asked(stream: _Stream, side: Side, sent: Any, thrown: BaseException | None) -> Any:
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

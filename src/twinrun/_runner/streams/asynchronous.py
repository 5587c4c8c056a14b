"""Drives async generators: the control's in the caller's task, candidates' in their own ones."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncGenerator, Callable
from typing import Any

from twinrun._runner.awaiting import cancellations, shorten, without_frame
from twinrun._runner.behaviours import Lineup
from twinrun._runner.containment import contained
from twinrun._runner.endings import Ending
from twinrun._runner.gates import Call, Plan, begin
from twinrun._runner.pending import Part
from twinrun._runner.publishing import conclude_awaited
from twinrun._runner.recipe import Recipe
from twinrun._runner.scope import Controlling, is_controlling
from twinrun._runner.streams.records import Playback, Record
from twinrun._runner.streams.served import ServedLane, Step, asked
from twinrun._runner.streams.sides import CLOSED, RETURNED, is_closing
from twinrun._runner.streams.watches import Watch
from twinrun._runner.tasks import started

__all__ = ["driven"]

_Stream = AsyncGenerator[Any, Any]


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
            watch.survive(thrown)
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
    lane = ServedLane(recipe, call, is_alone=True)
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

    lane_of = ServedLane
    record_of = _Record

    async def move(self, sent: Any, thrown: BaseException | None) -> Ending | None:
        """Have every side take one step; gives how the control ended, once it did."""
        if self._plan is None:
            return await self._step(sent, thrown)
        if sent is not self._latest:
            self._receive(sent)
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
            is_over = ending is not None or is_closing(thrown)
            if ending is not None or not is_over:  # else it goes on, and is watched no longer
                self._compare()
        finally:
            thrown = None  # its traceback may lead to this frame
        if is_over:
            await self._conclude_awaited()
        return ending

    async def _conclude_awaited(self) -> None:
        """Conclude, and let the event loop go on; a stream that is dropped waits for nothing."""
        if self.caller() is None:
            self._conclude()
            return
        run = self._over(is_dropped=False)
        if run is None:
            return
        try:
            await conclude_awaited(run)
        finally:
            run = None  # its exceptions lead back to this frame
            self._let_go()

    async def _step(self, sent: Any, thrown: BaseException | None) -> Ending | None:
        """Have the control take one step, in the caller's own task and context."""
        control, is_aimed = self.control, cancellations()
        step = Step(self._recipe, control, asked(self._stream, control, sent, thrown))
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

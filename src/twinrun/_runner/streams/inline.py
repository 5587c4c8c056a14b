"""Drives generators in the caller's thread, step by step."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Generator
from time import perf_counter_ns
from typing import Any, Final

from twinrun._runner.behaviours import Lineup
from twinrun._runner.containment import contained
from twinrun._runner.endings import Ending
from twinrun._runner.gates import Plan, begin
from twinrun._runner.recipe import Recipe
from twinrun._runner.scope import HOOK, scope
from twinrun._runner.steps import Run, conclude
from twinrun._runner.streams.closing import keep
from twinrun._runner.streams.lanes import Lane
from twinrun._runner.streams.sides import CLOSED, RETURNED, Side, is_closing
from twinrun.errors import MismatchError
from twinrun.observation import Observation
from twinrun.result import Comparison

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


class _Watch:
    """One call of a generator function: the control's stream, and the candidates' beside it."""

    __slots__ = (
        "__weakref__",
        "_after",
        "_before",
        "_began_ns",
        "_lanes",
        "_plan",
        "_recipe",
        "_stream",
        "caller",
        "control",
    )

    def __init__(self, recipe: Recipe, name: str, stream: _Stream) -> None:
        self._recipe = recipe
        self._stream = stream
        self._plan: Plan | None = None  # None before it begins, and once it is counted
        self._lanes: tuple[Lane, ...] = ()
        self._before: list[Lane] = []
        self._after: list[Lane] = []
        self._began_ns = 0
        self.control = Side(recipe, name)
        self.caller: Callable[[], object] = object
        """Gives the caller's generator; None where that is being finalised."""

    def begin(self, plan: Plan | None) -> None:
        """Make a lane for each candidate, where this is an experiment."""
        if plan is None:
            return
        lanes: dict[str, Lane] = {}
        side = self._before
        for call in plan.calls:
            if call.context is None:
                side = self._after
            else:
                lanes[call.name] = Lane(self._recipe, call)
                side.append(lanes[call.name])
        self._lanes = tuple([lanes[name] for name in plan.candidate_names])
        self._began_ns = perf_counter_ns()
        self._plan = plan

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
            for lane in (*self._before, *self._after):
                lane.compare(self.control)
            is_over = ending is not None or is_closing(thrown)
        finally:
            thrown = None  # its traceback may lead to this frame
            if is_outermost:
                active.discard(here)
        self._before = [lane for lane in self._before if lane.ended is None]
        self._after = [lane for lane in self._after if lane.ended is None]
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
            control.fail(ending, thrown)
            if self._plan is not None and not contained(error):
                self._interrupt()
            return ending
        control.spent(began)
        control.give(item)
        return None

    def _conclude(self) -> None:
        """Judge, count and publish; what the control ignores a `close` with is not watched."""
        plan, self._plan = self._plan, None
        if plan is None:
            return
        is_dropped = self.caller() is None
        if is_dropped and self.control.ended is None:
            keep(self._stream)  # it has ignored its end, which Python has complained of by now
        for lane in self._lanes:
            lane.close()
        if is_dropped and scope.get() is HOOK:
            # A finalizer came in the middle of a callback, whose locks would wait for each other.
            self._recipe.account.skip("finalised")
            return
        control, endings = self.control, [each.ending for each in self._lanes if each.ending]
        for each in endings:
            if control.ending is None or each.error is not control.ending.error:
                each.give_back()
        try:
            conclude(self._run(plan))
        except MismatchError:
            if not is_dropped:  # nobody is there to hear of it
                raise
        finally:
            for each in endings:
                each.give_up()

    def _run(self, plan: Plan) -> Run:
        """Make the run that is over."""
        return Run(
            recipe=self._recipe,
            control=self.control.observed(),
            candidates=tuple([lane.observed() for lane in self._lanes]),
            order=tuple([call.name for call in plan.calls]),
            context=plan.context,
            began_ns=self._began_ns,
            judged=self._judged,
            permit=plan.permit,
        )

    def _judged(self, recipe: Recipe, control: Observation, candidate: Observation) -> Comparison:
        """Give the verdict on a candidate, which was reached step by step."""
        [lane] = [each for each in self._lanes if each.name == candidate.name]
        return lane.judged(candidate)

    def _interrupt(self) -> None:
        """Go on with the control alone: what happened was aimed at the caller."""
        if self._plan is not None:
            self._plan = None
            self._recipe.account.skip("interrupted")
            for lane in self._lanes:
                lane.close()
        self._before, self._after = [], []

    def leave(self) -> None:
        """Leave nothing open, however this ends."""
        self._interrupt()
        if self.control.ended is None:
            self._stream.close()

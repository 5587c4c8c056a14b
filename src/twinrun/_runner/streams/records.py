"""Keeps what a control's stream did, for candidates that are driven when it is over."""

from __future__ import annotations

import sys
from contextvars import copy_context
from functools import partial
from time import perf_counter_ns, thread_time_ns
from typing import Any, Final

import attrs

from twinrun import tracebacks
from twinrun._runner.containment import contained, report
from twinrun._runner.endings import Ending
from twinrun._runner.gates import Call, Plan
from twinrun._runner.isolation import LIMIT, UnsharableError, copied, copied_within, shared_types
from twinrun._runner.pending import Part, Pending
from twinrun._runner.pool import pool
from twinrun._runner.recipe import Recipe
from twinrun._runner.scope import HOOK, scope
from twinrun._runner.steps import reached
from twinrun._runner.streams.lanes import Lane
from twinrun._runner.streams.sides import Side
from twinrun.observation import NOTHING, Observation
from twinrun.result import Comparison

__all__ = ["Playback", "Record", "run_candidate"]

_shared: Final = shared_types()


@attrs.frozen(eq=False)
class _Move:
    """What the caller sent or threw in, and the item that the control gave; none at its end."""

    sent: Any
    thrown: BaseException | None
    item: Any
    is_last: bool


class Record:
    """Watches a control's stream in the place of a lane, and keeps copies of what goes in and out.

    It holds no more than the copied arguments of one call may; what comes after that is not kept.
    """

    name = "record"
    ended = ending = None

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._left = LIMIT
        self._sent: Any = None
        self._thrown: BaseException | None = None
        self.moves: list[_Move] = []
        self.cut: str | None = None
        """Why it doesn't go on to the end of the stream."""
        self.returned: Any = NOTHING

    def receive(self, sent: Any) -> None:
        """Keep what the caller sends, before the control gets it."""
        self._sent = sent if self.cut is not None else self._kept(sent)

    def step(self, thrown: BaseException | None) -> None:
        """Keep what the caller throws, by a twin."""
        self._thrown = None if thrown is None or self.cut else tracebacks.twin(thrown)

    def compare(self, control: Side) -> None:
        """Keep what the control gave for it."""
        if self.cut is not None:
            return
        is_last = control.ended is not None
        item = self._kept(control.returned if is_last else control.item)
        if is_last:
            self.returned, item = item, NOTHING
        if not self.cut:
            self.moves.append(_Move(self._sent, self._thrown, item, is_last))
        self._sent = self._thrown = None

    def close(self) -> None:
        """Take note of the end, as a lane does."""

    def _kept(self, value: Any) -> Any:
        """Copy a value as candidates' arguments are copied; stop recording where it can't be."""
        outside = scope.get()
        try:
            scope.set(HOOK)  # inside, since a signal's handler may raise right after it
            isolate = self._recipe.isolate
            kept = value
            if isolate == "containers":
                kept, self._left = copied_within(value, self._left)
            else:
                self._left -= 1
                if type(value) not in _shared:
                    kept = copied((value,), {}, isolate, False)[0][0]
            if self._left < 0:
                self.cut = f"only the first {len(self.moves)} steps of the stream were recorded"
            return kept
        except UnsharableError:
            self.cut = "isolate"
        except BaseException as error:
            if not contained(error):
                raise
            report(self._recipe.name, "isolate", error, self._recipe.on_failure)
            self.cut = "isolate"
        finally:
            scope.set(outside)
        return NOTHING


class Playback:
    """A record that candidates are driven by, and compared with, once the control is over."""

    def __init__(self, record: Record, plan: Plan, control: Side, began_ns: int) -> None:
        """Take over a record; `begun` gives the run where there is room for it."""
        self._record = record
        self._plan = plan
        self._lanes: dict[str, Lane] = {}
        self.run = run = Pending(plan.recipe, control.name, plan.candidate_names, plan.permit)
        reason = run.admit()
        if reason is not None:
            run.give_up(reason)
            return
        run.context = plan.context
        run.caller = copy_context()
        run.began_ns = began_ns
        run.order.append(control.name)
        run.judged = self._judged
        self.control = self._observed(control)
        self._ended = control.ended
        run.control_over(self.control)

    def _observed(self, control: Side) -> Observation:
        """Say what the control did, in what is kept of it."""
        value = attrs.evolve(control.observed().value, returned=self._record.returned)
        error = None if control.ending is None else control.ending.error
        if error is None:
            return control.seen(value)
        self.run.foreign = reached(error, sys.exc_info()[1], chained=True)
        return attrs.evolve(
            control.seen(value),
            exception=tracebacks.twin(error),
            traceback=tracebacks.text(error),
        )

    def calls(self) -> list[tuple[Part, Call]]:
        """Give the parts of the run that are to be done, with the calls of their candidates."""
        calls = {call.name: call for call in self._plan.calls}
        return [(part, calls[part.name]) for part in self.run.parts]

    def enter(self, lane: Lane) -> None:
        """Take a candidate's lane."""
        self._lanes[lane.name] = lane
        lane.context = self._plan.context

    def steps(self, lane: Lane) -> Any:
        """Play the record to a lane: gives what is to be thrown into it, for one step each."""
        control = Side(self._plan.recipe, self._plan.control_name)
        for move in self._record.moves:
            if lane.ended is not None or self.run.is_over:
                return
            lane.receive(move.sent)
            yield move.thrown
            if move.is_last:
                self._end(control)
            else:
                control.give(move.item)
            lane.compare(control)
        if self._record.cut is not None and not lane.is_decided():
            lane.leave_undecided(self._record.cut)
        lane.close()

    def _end(self, control: Side) -> None:
        """Play the control's end."""
        assert self._ended is not None
        error = self.control.exception
        ending = None if error is None else Ending(None, error)
        control.end(self._ended, self._record.returned, ending)
        control.raised_at = self.control.raised_at

    def _judged(
        self, recipe: Recipe, control: Observation, candidate: Observation, context: object
    ) -> Comparison:
        """Give the verdict on a candidate, which was reached step by step."""
        lane = self._lanes.get(candidate.name)
        assert lane is not None
        return lane.judged(candidate)


def run_candidate(playback: Playback, part: Part, lane: Any) -> None:
    """Drive a candidate on a worker, and conclude its run if it is the last."""
    run, recipe = playback.run, playback.run.recipe
    if run.is_over:
        return
    if pool.is_stuck(recipe.account):
        run.give_up("stuck")
        return
    if run.permit is not None and not run.permit.holds():  # paused while this was queued
        run.give_up("paused")
        return
    assert run.caller is not None
    playback.enter(lane)
    run.order.append(part.name)
    cpu, start = thread_time_ns(), perf_counter_ns()
    if recipe.timeout is not None:
        expire = partial(_expire, part, recipe.timeout, start)
        pool.limit(recipe.timeout, expire, recipe.account)
    try:
        run.caller.copy().run(_play, playback, lane)
    finally:
        pool.unlimit()
    part.cpu_ns = thread_time_ns() - cpu
    part.over(lane.observed(), on_worker=True)


def _play(playback: Playback, lane: Any) -> None:
    """Have a lane take all its steps."""
    for thrown in playback.steps(lane):
        lane.step(thrown)


def _expire(part: Part, seconds: float, start: int) -> bool:
    """Abandon a candidate that takes too long."""
    return part.expire(seconds, perf_counter_ns() - start)

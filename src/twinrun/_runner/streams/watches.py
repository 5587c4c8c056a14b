"""One call of a generator function that is an experiment, from its first step to its end."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter_ns
from typing import Any, ClassVar

from twinrun._runner.endings import Ending
from twinrun._runner.gates import Plan
from twinrun._runner.recipe import Recipe, raises
from twinrun._runner.scope import HOOK, scope
from twinrun._runner.steps import Run, conclude
from twinrun._runner.streams.closing import keep
from twinrun._runner.streams.records import Playback, Record
from twinrun._runner.streams.sides import Side, is_closing
from twinrun.errors import MismatchError
from twinrun.observation import Observation
from twinrun.result import Comparison

__all__ = ["Watch"]


class Watch:
    """The control's stream, and beside it a lane for each candidate's, or a record.

    Those who drive streams say what a lane and a record of theirs are.
    """

    __slots__ = (
        "__weakref__",
        "_after",
        "_before",
        "_began_ns",
        "_lanes",
        "_latest",
        "_plan",
        "_recipe",
        "_record",
        "_stream",
        "caller",
        "control",
    )

    lane_of: ClassVar[Any]
    record_of: ClassVar[Any]

    def __init__(self, recipe: Recipe, name: str, stream: Any) -> None:
        self._recipe = recipe
        self._stream = stream
        self._plan: Plan | None = None  # None before it begins, and once it is counted
        self._lanes: tuple[Any, ...] = ()
        self._before: list[Any] = []
        self._after: list[Any] = []
        self._record: Record | None = None
        self._latest: Any = None
        self._began_ns = 0
        self.control = Side(recipe, name)
        self.caller: Callable[[], object] = object
        """Gives the caller's generator; None where that is being finalised."""

    def begin(self, plan: Plan | None) -> None:
        """Make a lane for each candidate, or a record for all, where this is an experiment."""
        if plan is None:
            return
        self._began_ns = perf_counter_ns()
        self._plan = plan
        if self._recipe.mode != "inline" and not raises(self._recipe):
            self._record = self.record_of(self._recipe)
            self._lanes, self._before = (self._record,), [self._record]
            return
        lanes: dict[str, Any] = {}
        side = self._before
        for call in plan.calls:
            if call.context is None:
                side = self._after
            else:
                lanes[call.name] = self.lane_of(self._recipe, call)
                lanes[call.name].context = plan.context
                side.append(lanes[call.name])
        self._lanes = tuple([lanes[name] for name in plan.candidate_names])

    def survive(self, thrown: BaseException | None) -> None:
        """Keep a control that ignores its end when it is dropped: Python complains of it once."""
        if is_closing(thrown) and self.caller() is None:
            keep(self._stream)

    def _receive(self, sent: Any) -> None:
        """Have all sides get what the caller sends, which mostly is the same as before: None."""
        self._latest = sent if sent is None else self
        for lane in self._lanes:
            lane.receive(sent)

    def _compare(self) -> None:
        """Compare what the last step gave on all sides; go on with the lanes that do."""
        is_any_over = False
        for lanes in (self._before, self._after):
            for lane in lanes:
                lane.compare(self.control)
                is_any_over = is_any_over or lane.ended is not None
        if is_any_over:
            self._before = [lane for lane in self._before if lane.ended is None]
            self._after = [lane for lane in self._after if lane.ended is None]

    def _conclude(self) -> None:
        """Judge, count and publish; what the control ignores a `close` with is not watched."""
        is_dropped = self.caller() is None
        run = self._over(is_dropped)
        if run is None:
            return
        try:
            conclude(run)
        except MismatchError:
            if not is_dropped:  # nobody is there to hear of it
                raise
        finally:
            run = None  # its exceptions lead back to this frame
            self._let_go()

    def _over(self, is_dropped: bool) -> Run | None:
        """Make the run that is over, if it is concluded here and now."""
        plan, self._plan = self._plan, None
        if plan is None:
            return None
        for lane in self._lanes:
            lane.close()
        if self._record is not None:
            self._hand_over(Playback(self._record, plan, self.control, self._began_ns))
            return None
        if is_dropped and scope.get() is HOOK:
            # A finalizer came in the middle of a callback, whose locks would wait for each other.
            self._recipe.account.skip("finalised")
            if plan.permit is not None:
                plan.permit.drop()
            return None
        control = self.control
        for each in self._endings():
            if control.ending is None or each.error is not control.ending.error:
                each.give_back()
        return self._run(plan)

    def _endings(self) -> list[Ending]:
        """Give how those lanes ended that raised."""
        return [lane.ending for lane in self._lanes if lane.ending]

    def _let_go(self) -> None:
        """Forget what led back to frames, once the run is concluded."""
        for each in self._endings():
            each.give_up()

    def _hand_over(self, playback: Playback) -> None:
        """Have the candidates driven off the caller's path."""
        raise NotImplementedError

    def _run(self, plan: Plan) -> Run:
        """Make the run that is over."""
        return Run(
            recipe=self._recipe,
            control=self.control.observed(),
            candidates=tuple([lane.observed() for lane in self._lanes]),
            order=tuple([call.name for call in plan.calls]),
            context=plan.context,
            began_ns=self._began_ns,
            permit=plan.permit,
            judged=self._judged,
        )

    def _judged(
        self, recipe: Recipe, control: Observation, candidate: Observation, context: object
    ) -> Comparison:
        """Give the verdict on a candidate, which was reached step by step."""
        [lane] = [each for each in self._lanes if each.name == candidate.name]
        verdict: Comparison = lane.judged(candidate)
        return verdict

    def _interrupt(self) -> None:
        """Go on with the control alone: what happened was aimed at the caller."""
        if self._plan is not None:
            if self._plan.permit is not None:
                self._plan.permit.drop()
            self._plan = None
            self._recipe.account.skip("interrupted")
            for lane in self._lanes:
                lane.close()
        self._before, self._after = [], []

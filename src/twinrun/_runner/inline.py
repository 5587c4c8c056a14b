"""Runs in the caller's thread, one behaviour after the other."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from time import perf_counter_ns, thread_time_ns
from typing import Any

from twinrun._runner.behaviours import Lineup
from twinrun._runner.containment import contained
from twinrun._runner.endings import Ending
from twinrun._runner.gates import Call, Plan
from twinrun._runner.rechecking import judged_once, rechecked
from twinrun._runner.recipe import Recipe
from twinrun._runner.steps import Run, conclude, observed, result_of
from twinrun.observation import Observation
from twinrun.result import Result

__all__ = ["Turns", "control_alone", "execute"]


class Turns:
    """A run of which one behaviour after the other takes its turn."""

    __slots__ = ("_began", "_candidates", "_observations", "ending", "plan")

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._began = perf_counter_ns()
        self.ending = Ending(None)
        self._observations: dict[str, Observation] = {}
        self._candidates: list[Ending] = []  # of those that raised

    def before(self, call: Call) -> None:
        """Put by, before the control's turn, what candidates have raised."""
        if call.context is None:
            for candidate in self._candidates:
                candidate.put_by()

    def after(self, call: Call, ending: Ending, observation: Observation) -> None:
        """Take what a behaviour did."""
        self._observations[call.name] = observation
        if call.context is None:
            self.ending = ending
        elif ending.error is not None:
            self._candidates.append(ending)

    def over(self, observe: bool) -> Run:
        """Make the run that is over."""
        plan = self.plan
        for candidate in self._candidates:
            if candidate.error is not self.ending.error:
                candidate.give_back()
        return Run(
            recipe=plan.recipe,
            control=self._observations[plan.control_name],
            candidates=tuple([self._observations[name] for name in plan.candidate_names]),
            order=tuple([call.name for call in plan.calls]),
            context=plan.context,
            began_ns=self._began,
            observe=observe,
            permit=plan.permit,
        )

    @contextlib.contextmanager
    def spared(self) -> Iterator[None]:
        """Leave what was raised as it is, whatever raises it once more meanwhile."""
        endings = [each for each in (*self._candidates, self.ending) if each.error is not None]
        for each in endings:
            each.put_by()
        try:
            yield
        finally:
            for each in endings:
                each.give_back()

    def let_go(self) -> None:
        """Forget what led back to frames, once the run is concluded."""
        for candidate in self._candidates:
            candidate.give_up()
        self._observations.clear()  # exceptions in it lead back to the frame that has this


def execute(plan: Plan, observe: bool = False) -> Ending:
    """Run a plan's calls in their order, then conclude."""
    turns = Turns(plan)
    for call in plan.calls:
        turns.before(call)
        run = _run_control if call.context is None else _run_candidate
        turns.after(call, *run(plan.recipe, call))
    try:
        made = _rechecked if plan.again else Turns.over
        turns.ending.result = conclude(made(turns, observe))
        return turns.ending
    finally:
        turns.let_go()


def _rechecked(turns: Turns, observe: bool) -> Run:
    """Make the run that is over; run once more what differs, and say whether that repeats."""
    run = turns.over(observe)
    try:
        return _run_again(turns, judged_once(run))
    except (RecursionError, MemoryError):  # of our own: the caller has its outcome all the same
        return run


def _run_again(turns: Turns, run: Run) -> Run:
    """Run once more what differs in a run that was judged."""
    again: dict[str, Observation] = {}
    endings: list[Ending] = []
    with turns.spared():
        for call in turns.plan.again:
            if call.name in run.doubts:
                ending, again[call.name] = _run_candidate(run.recipe, call)
                endings.append(ending)
        for ending in endings:
            ending.give_up()
    return rechecked(run, again) if again else run


def _run_control(recipe: Recipe, call: Call) -> tuple[Ending, Observation]:
    """Run the control in the caller's own context, marked so that recursion runs it alone."""
    active, here = recipe.account.active, threading.get_ident()
    try:
        active.add(here)  # inside, since a signal's handler may raise right after it
        return _run(recipe, call, call.function, *call.args)
    finally:
        active.discard(here)


def _run_candidate(recipe: Recipe, call: Call) -> tuple[Ending, Observation]:
    """Run a candidate in its own context."""
    assert call.context is not None
    return _run(recipe, call, call.context.run, call.function, *call.args)


def _run(
    recipe: Recipe, call: Call, function: Callable[..., Any], *args: Any
) -> tuple[Ending, Observation]:
    """Run a behaviour; what it raises is part of how it ended, unless it is aimed at the caller."""
    cpu = thread_time_ns() if recipe.cpu_time else None
    start = perf_counter_ns()
    try:
        value = function(*args, **call.kwargs)
    except BaseException as error:
        taken = perf_counter_ns() - start
        if not contained(error):
            recipe.account.skip("interrupted")
            raise
        ending = Ending(None, error)
    else:
        taken = perf_counter_ns() - start
        ending = Ending(value)
    spent = None if cpu is None else thread_time_ns() - cpu
    return ending, observed(call.name, ending.value, ending.error, taken, spent, call.arguments)


def control_alone(recipe: Recipe, lineup: Lineup) -> Result:
    """Run the control and nothing else, and say what it did."""
    began = perf_counter_ns()
    call = Call(lineup.control_name, lineup.control, (), {})
    _, observation = _run_control(recipe, call)
    run = Run(
        recipe=recipe,
        control=observation,
        candidates=(),
        order=(call.name,),
        context={},
        began_ns=began,
    )
    return result_of(run, ())

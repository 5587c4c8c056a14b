"""One run under way off the caller's path, until its last behaviour is over."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Set
from contextvars import Context, copy_context
from functools import partial
from itertools import count
from types import MappingProxyType
from typing import Any, TypeVar

from twinrun._runner.arguments import Arguments
from twinrun._runner.behaviours import Lineup
from twinrun._runner.breaking import Permit
from twinrun._runner.circumstances import context_of
from twinrun._runner.containment import contained
from twinrun._runner.gates import (
    Call,
    Skip,
    arguments_of,
    ask_before_run,
    ask_breaker,
    ask_gates,
    calls_again,
    candidates_of,
    isolated,
    staged,
)
from twinrun._runner.judging import Judge, judge, judge_late
from twinrun._runner.pool import pool
from twinrun._runner.rechecking import judged_once, rechecked
from twinrun._runner.recipe import Recipe
from twinrun._runner.reporting import attend
from twinrun._runner.steps import Run, conclude, observed, reached
from twinrun._wakeups import Wakeup
from twinrun.observation import Observation
from twinrun.result import Comparison, Outcome, Result
from twinrun.typing import Behaviour

__all__ = ["Part", "Pending", "begin"]

T = TypeVar("T")


class Part:
    """One candidate of a pending run: it is over once, however many say so.

    `begin` gives it what it is to call, and arguments of its own.
    """

    __slots__ = (
        "_overs",
        "args",
        "arguments",
        "cpu_ns",
        "function",
        "kwargs",
        "name",
        "observation",
        "run",
    )

    function: Behaviour
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def __init__(self, run: Pending, name: str) -> None:
        self.run = run
        self.name = name
        self.arguments: Arguments | None = None
        self.observation: Observation | None = None
        self.cpu_ns = 0
        """How much CPU time it took, whether that is shown or not."""
        self._overs = count()

    def over(self, observation: Observation, *, on_worker: bool = False) -> bool:
        """Take what the candidate did; False, counted as dropped, where it comes too late.

        Where it was the last of its run, that is concluded: here, if this is a worker of the pool.
        """
        if next(self._overs):
            self.run.recipe.account.drop("late")
            return False
        self.observation = observation
        self.run.arrived(on_worker)
        return True

    def expire(self, seconds: float, duration_ns: int, stack: str | None = None) -> bool:
        """Take it as over, since it has run for more than so many seconds; False if it is over.

        `stack` says where it stands.
        """
        if next(self._overs):
            return False
        late_ns = max(duration_ns, int(seconds * 1e9) + 1)  # another clock has said so
        self.observation = Observation(name=self.name, duration_ns=late_ns, traceback=stack)
        self.run.arrived(on_worker=False)
        return True

    def give_up(self, reason: str) -> None:
        """Have the whole run skipped, as all candidates of a run are."""
        self.run.give_up(reason)


class Pending:
    """A run whose control and candidates are over at different times, on different threads.

    It is made by the caller, who then asks to be let in by `admit`. From there on it ends exactly
    once: it is recorded when all have arrived, on a worker of the pool, or `give_up` counts it as
    skipped. Nothing here waits for a lock: what must happen once is told by a step of a counter.
    """

    # Defaults stand here, since the caller pays for every attribute that is set.
    parts: tuple[Part, ...] = ()
    order: list[str]
    """Who starts appends its name; those that never did come last."""
    context: Mapping[str, Any] = MappingProxyType({})
    began_ns = 0
    control: Observation | None = None
    value: Any = None
    taken_ns = 0
    """What the control returned and how long it took, where that was left here in its place."""
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any]
    """The arguments of the only candidate, where they were left here."""
    arguments: Arguments | None = None
    """The control's arguments by name, where they are to be compared."""
    work: Callable[[Pending], None]
    """What a worker does where the run itself is its job."""
    caller: Context | None = None
    """A copy of the caller's context: the run is concluded in it, candidates get copies."""
    concluding: Callable[[Run], Result | None] = staticmethod(conclude)
    judged: Judge = staticmethod(judge)
    foreign: Set[int] = frozenset()
    """The ids of the caller's own exceptions, which must stay as they are."""
    waiter: Wakeup | None = None
    result: Result | None = None
    is_over = False
    arrivals: list[Any]
    """Tokens, one taken by each that arrives: to pop one is one step, which nothing can cut."""
    ends: list[int]
    """One token, taken by whoever counts the run."""
    again: tuple[Call, ...] = ()
    """What may run once more, where a candidate differs, and `rerun`, which has it run."""
    rerun: Callable[[Pending, tuple[Call, ...]], None]
    doubts: Set[str] = frozenset()
    recheck_ns = 0

    def __init__(
        self,
        recipe: Recipe,
        control_name: str,
        names: tuple[str, ...],
        permit: Permit | None = None,
    ) -> None:
        self.recipe = recipe
        self.permit = permit
        self.control_name = control_name
        self.names = names
        self.arrivals = [0, *names]
        self.ends = [0]
        if recipe.account.limit == 1:
            attend(recipe)  # here, while publishers can start their threads: not when all is over

    def admit(self) -> str | None:
        """Ask for room; None, or the reason why there is none, which is for the caller to count."""
        self.parts = tuple([Part(self, name) for name in self.names])
        self.order = []
        return pool.admit(self.recipe.account, *self.parts)

    def spare_handled(self) -> None:
        """Keep the exception that the caller is handling as it is, whoever raises it too."""
        self.foreign |= reached(sys.exc_info()[1], chained=True)

    def __call__(self) -> None:
        """Be done by a worker."""
        self.work(self)

    def only_part(self, function: Behaviour) -> Part:
        """Make the one part of a run that was admitted itself."""
        part = Part(self, self.names[0])
        part.function, part.args, part.kwargs = function, self.args, self.kwargs
        self.parts = (part,)
        self.order = []
        return part

    def control_over(self, observation: Observation) -> None:
        """Take what the control did, which nobody can change or look into any more."""
        self.control = observation
        self.arrived(on_worker=False)

    def arrived(self, on_worker: bool) -> None:
        """Conclude the run, here or on a worker, if this is the last of its behaviours."""
        if not self.arrivals.pop() and not self.is_over:
            self._go_on(self.recheck if self.again else self.conclude, on_worker)

    def _go_on(self, job: Callable[[], None], on_worker: bool) -> None:
        """Do the next thing that a worker does, here if this is one."""
        if on_worker:
            job()
            return
        reason = pool.submit(job)
        if reason is not None:
            self.give_up(reason)

    def recheck(self) -> None:
        """Judge, and have run once more what differs; then the run is concluded."""
        again, self.again = self.again, ()
        if self.in_time(partial(self._judged_by, judged_once), _undecided):
            calls = tuple([call for call in again if call.name in self.doubts])
            if calls and self.ends:
                self.rerun(self, calls)
            else:
                self.conclude()

    def seen_again(self, seen: Mapping[str, Observation], *, on_worker: bool = False) -> None:
        """Take what ran once more, mark what did not repeat, and conclude the run."""

        def mark() -> None:
            if self.in_time(partial(self._judged_by, rechecked, seen)):
                self.conclude()

        self._go_on(mark, on_worker)

    def _judged_by(self, function: Callable[..., Run], *given: Any) -> None:
        """Judge in a context like the caller's, and keep the verdict."""
        run = self._in_context(function, self._made(), *given)
        self.judged, self.doubts, self.recheck_ns = run.judged, run.doubts, run.recheck_ns

    def _in_context(self, function: Callable[..., T], *args: Any) -> T:
        """Call something in a context like the caller's."""
        return function(*args) if self.caller is None else self.caller.run(function, *args)

    def in_time(self, job: Callable[[], object], late: Judge | None = None) -> bool:
        """Do on a worker what may take as long as a candidate.

        False if it took longer: then the run was concluded without it, and judged so.
        """
        turn = [0]
        if self.recipe.timeout is not None:
            abandon = partial(self._go_on_without, turn, late)
            pool.limit(self.recipe.timeout, abandon, self.recipe.account)
        try:
            job()
        except BaseException as error:  # the stack or memory is at its end
            if not contained(error):
                raise
        finally:
            pool.unlimit()
        return _taken(turn)

    def _go_on_without(self, turn: list[int], late: Judge | None) -> bool:
        """Have another thread conclude the run; False if that is done."""
        if not self.ends or not _taken(turn):
            return False
        self.judged = late or self.judged
        is_done = self._conclude_elsewhere()
        if not is_done:
            self.give_up("no thread")
        return is_done

    def conclude(self) -> None:
        """Judge, count and publish, in a context like the caller's.

        A comparison that takes longer than a candidate may is given up like one.
        """
        if self.recipe.timeout is not None:
            pool.limit(self.recipe.timeout, self._compare_late, self.recipe.account)
        try:
            self.result = self._in_context(self.concluding, self._made())
        except BaseException as error:  # the stack or memory is at its end, or a mismatch raises
            if not contained(error):
                raise
        finally:
            pool.unlimit()
            self.give_up("internal")  # unless it was counted

    def _made(self) -> Run:
        """Make the run that is over."""
        return Run(
            recipe=self.recipe,
            control=self.control or observed(self.control_name, self.value, None, self.taken_ns),
            candidates=tuple([p.observation for p in self.parts if p.observation is not None]),
            order=self._order(),
            context=self.context,
            began_ns=self.began_ns,
            observe=self.waiter is not None,
            claim=self.claim,
            judged=self.judged,
            foreign=self.foreign,
            cpu_ns=sum([part.cpu_ns for part in self.parts]),
            recheck_ns=self.recheck_ns,
            permit=self.permit,
        )

    def _compare_late(self) -> bool:
        """Have another thread conclude the run, without comparing; False if it is counted."""
        if not self.ends:
            return False
        self.judged = _undecided
        return self._conclude_elsewhere()

    def _conclude_elsewhere(self) -> bool:
        """Conclude on another thread, since this one hangs; False if there is none."""
        if self.caller is not None:
            self.caller = self.caller.copy()  # the thread that hangs is still in it
        return pool.submit(self.conclude) is None

    def _order(self) -> tuple[str, ...]:
        """Give all names in the order of starting."""
        names = (self.control_name, *self.names)
        return (*self.order, *[name for name in names if name not in self.order])

    def claim(self) -> bool:
        """Say whether the run is not counted yet; then who asks must count it now."""
        return _taken(self.ends)

    def give_up(self, reason: str) -> None:
        """Count the run as skipped for this reason, unless it is counted already; it is over."""
        if self.claim():
            self.recipe.account.skip(reason)
            if self.permit is not None:
                self.permit.drop()
        self.is_over = True
        parts, self.parts = self.parts, ()  # each leads back to this
        pool.release(self, *parts)
        if self.waiter is not None:
            self.waiter.set()


def _taken(tokens: list[int]) -> bool:
    """Take the one token; False if somebody has it."""
    try:
        return not tokens.pop()
    except IndexError:
        return False


def _undecided(
    recipe: Recipe, control: Observation, candidate: Observation, context: object
) -> Comparison:
    """Judge a candidate whose comparison does not come back."""
    late = judge_late(recipe, candidate)
    return late or Comparison(candidate, Outcome.INCONCLUSIVE, "compare timed out")


def begin(
    recipe: Recipe,
    lineup: Lineup,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    context: Any = None,
) -> Pending | None:
    """Decide whether this call is an experiment, ask for room, and make all that it needs.

    None, counted as skipped, where the control must run alone.
    """
    run: Pending | None = staged(recipe, _begin, lineup, args, kwargs, context)
    return run


def _begin(
    recipe: Recipe,
    lineup: Lineup,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    context: Any,
    inside: str | None,
) -> Pending | None:
    """Go through the gates, then make the run; raises Skip where a gate says no."""
    ask_gates(recipe, lineup, args, kwargs, inside)
    candidates = candidates_of(recipe, lineup)
    permit = ask_breaker(recipe)
    run = Pending(recipe, lineup.control_name, tuple(candidates), permit)
    try:
        reason = run.admit()
        if reason is not None:
            raise Skip(reason)
        ask_before_run(recipe)
        for part, function in zip(run.parts, candidates.values(), strict=True):
            part.function = function
            part.args, part.kwargs = isolated(recipe, lineup, args, kwargs)
            part.arguments = arguments_of(recipe, lineup, part.args, part.kwargs)
        run.arguments = arguments_of(recipe, lineup, args, kwargs)
        if recipe.recheck:
            run.again = calls_again(recipe, lineup, args, kwargs, candidates)
        run.context = context_of(recipe, context, args, kwargs)
        run.caller = copy_context()
        run.spare_handled()
    except Skip as skip:
        run.give_up(skip.args[0])
        return None
    except BaseException as error:
        if contained(error):
            run.give_up("internal")
            return None
        run.give_up("interrupted")
        raise
    return run

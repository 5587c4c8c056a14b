"""One run under way off the caller's path, until its last behaviour is over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import Context
from itertools import count
from time import perf_counter_ns
from typing import Any

from twinrun._runner.containment import contained
from twinrun._runner.pool import pool
from twinrun._runner.recipe import Recipe
from twinrun._runner.steps import Run, conclude
from twinrun._wakeups import Wakeup
from twinrun.observation import Observation
from twinrun.result import Result

__all__ = ["Part", "Pending"]


class Part:
    """One candidate of a pending run: it is over once, however many say so."""

    __slots__ = ("_overs", "cpu_ns", "name", "observation", "run")

    def __init__(self, run: Pending, name: str) -> None:
        self.run = run
        self.name = name
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

    def give_up(self, reason: str) -> None:
        """Have the whole run skipped, as all candidates of a run are."""
        self.run.give_up(reason)


class Pending:
    """A run whose control and candidates are over at different times, on different threads.

    It is made by the caller, who then asks to be let in by `admit`. From there on it ends exactly
    once: it is recorded when all have arrived, on a worker of the pool, or `give_up` counts it as
    skipped. Nothing here waits for a lock: what must happen once is told by a step of a counter.
    """

    __slots__ = (
        "_arrivals",
        "_ends",
        "began_ns",
        "caller",
        "concluding",
        "context",
        "control",
        "control_name",
        "is_over",
        "order",
        "parts",
        "recipe",
        "result",
        "waiter",
    )

    def __init__(self, recipe: Recipe, control_name: str, names: tuple[str, ...]) -> None:
        self.recipe = recipe
        self.control_name = control_name
        self.parts = tuple([Part(self, name) for name in names])
        self.context: Mapping[str, Any] = {}
        self.order: tuple[str, ...] = (control_name, *names)
        self.began_ns = perf_counter_ns()
        self.control: Observation | None = None
        self.caller: Context | None = None
        """A copy of the caller's context, in which the run is concluded."""
        self.concluding: Callable[[Run], Result | None] = conclude
        self.waiter: Wakeup | None = None
        self.result: Result | None = None
        self.is_over = False
        self._arrivals = count(-len(self.parts))
        self._ends = count()

    def admit(self) -> str | None:
        """Ask for room; None, or the reason why there is none, which is for the caller to count."""
        return pool.admit(self.parts, self.recipe.account)

    def control_over(self, observation: Observation) -> None:
        """Take what the control did, which nobody can change or look into any more."""
        self.control = observation
        self.arrived(on_worker=False)

    def arrived(self, on_worker: bool) -> None:
        """Conclude the run, here or on a worker, if this is the last of its behaviours."""
        if next(self._arrivals) or self.is_over:
            return
        if on_worker:
            self.conclude()
            return
        reason = pool.submit(self.conclude)
        if reason is not None:
            self.give_up(reason)

    def conclude(self) -> None:
        """Judge, count and publish, in a context like the caller's."""
        try:
            assert self.control is not None
            run = Run(
                recipe=self.recipe,
                control=self.control,
                candidates=tuple([p.observation for p in self.parts if p.observation is not None]),
                order=self.order,
                context=self.context,
                began_ns=self.began_ns,
                observe=self.waiter is not None,
                claim=self.claim,
                cpu_ns=sum([part.cpu_ns for part in self.parts]),
            )
            if self.caller is None:
                self.result = self.concluding(run)
            else:
                self.result = self.caller.run(self.concluding, run)
        except (
            BaseException
        ) as error:  # the stack or the memory is at its end, or a mismatch raises
            if not contained(error):
                raise
        finally:
            self.give_up("internal")  # unless it was counted

    def claim(self) -> bool:
        """Say whether the run is not counted yet; then who asks must count it now."""
        return not next(self._ends)

    def give_up(self, reason: str) -> None:
        """Count the run as skipped for this reason, unless it is counted already; it is over."""
        if self.claim():
            self.recipe.account.skip(reason)
        self.is_over = True
        parts, self.parts = self.parts, ()  # each leads back to this
        pool.release(parts)
        if self.waiter is not None:
            self.waiter.set()

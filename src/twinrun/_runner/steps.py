"""The decisions after a run: judge, count, publish, raise; free of how behaviours are called."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable, Iterator, Mapping, Set
from time import perf_counter_ns, thread_time_ns
from typing import Any

import attrs

from twinrun import tracebacks
from twinrun._accounts import dice
from twinrun._runner.arguments import Arguments
from twinrun._runner.breaking import Permit
from twinrun._runner.containment import contained
from twinrun._runner.judging import Judge, judge
from twinrun._runner.pairing import count_alike
from twinrun._runner.recipe import Recipe
from twinrun._runner.reporting import (
    Cleaned,
    attend,
    give,
    is_wanted,
    raise_if_mismatched,
    takers,
    tell,
)
from twinrun._runner.scope import HOOK, scope
from twinrun.difference import Difference, DifferenceKind, Differences
from twinrun.observation import NOTHING, Observation
from twinrun.result import BASELINE, Comparison, Outcome, Result

__all__ = ["Run", "conclude", "observed", "reached", "result_of", "settle"]


@attrs.frozen(eq=False, kw_only=True)
class Run:
    """A run whose behaviours are over; the observations still hold the real exceptions.

    Off the caller's path that of the control is a twin, whose traceback is text already; `claim` is
    asked there right before the run is counted: whether it isn't counted otherwise. `foreign` are
    the ids of exceptions that belong to the caller besides, `cpu_ns` is the candidates' CPU time,
    `recheck_ns` that of finding out, of those named in `doubts`, whether mismatches repeat.
    `permit` is the breaker's, which is told how the run ended.
    """

    recipe: Recipe
    control: Observation
    candidates: tuple[Observation, ...]
    order: tuple[str, ...]
    context: Mapping[str, Any]
    began_ns: int
    observe: bool = False
    claim: Callable[[], bool] | None = None
    judged: Judge = judge
    foreign: Set[int] = frozenset()
    cpu_ns: int = 0
    doubts: Set[str] = frozenset()
    recheck_ns: int = 0
    permit: Permit | None = None


def observed(
    name: str,
    value: Any,
    error: BaseException | None,
    duration_ns: int,
    cpu_ns: int | None = None,
    arguments: Arguments | None = None,
) -> Observation:
    """Make an Observation of what a behaviour did; it still holds the real exception.

    The traceback's text, which is costly, is made only where there is a Result.
    """
    return Observation(
        name=name,
        value=NOTHING if error is not None else value,
        exception=error,
        duration_ns=duration_ns,
        cpu_time=None if cpu_ns is None else cpu_ns / 1e9,
        raised_at=None if error is None else tracebacks.place(error),
        arguments=arguments,
    )


def conclude(run: Run) -> Result | None:
    """Judge the candidates, count, publish, call `after_run`, and raise where that is asked for.

    Gives the Result, or None where nobody wants one.

    Raises:
        MismatchError: where `raise_on_mismatch` asks for it.
    """
    result = settle(run, _publish)
    if result is not None:
        raise_if_mismatched(run.recipe, result, run.control.exception)
    return result


def settle(run: Run, publish: Callable[[Recipe, Result], None] | None = None) -> Result | None:
    """Judge the candidates and count; give, and publish here, the Result that somebody wants."""
    recipe = run.recipe
    result = None
    outside = scope.get()
    try:
        scope.set(HOOK)  # inside, since a signal's handler may raise right after it
        cpu = thread_time_ns() if run.permit is not None else 0
        comparisons = tuple(
            run.judged(recipe, run.control, each, run.context) for each in run.candidates
        )
        if run.claim is not None and not run.claim():
            return None
        _count(run, comparisons)
        if run.observe or is_wanted(recipe, comparisons):
            result = result_of(run, comparisons)
            if publish is not None:
                publish(recipe, result)
        else:
            _stand_ins(run)
        if run.permit is not None:
            _note(run, run.permit, comparisons, thread_time_ns() - cpu)
    except BaseException as error:  # of our own: the stack or the memory is at its end
        if not contained(error):
            raise
        recipe.account.fail("internal")
    finally:
        scope.set(outside)
    return result


def _publish(recipe: Recipe, result: Result) -> None:
    """Give the result to everybody who takes it."""
    give(recipe, result, takers(recipe, result))
    tell(recipe, result)


def _count(run: Run, comparisons: tuple[Comparison, ...]) -> None:
    """Add the run to the tally."""
    started = run.order.index(run.control.name)
    run.recipe.account.record(
        run.control.name,
        run.control.duration_ns,
        tuple(
            (
                c.candidate.name,
                c.outcome,
                c.candidate.duration_ns,
                each.exception is not None,
                started < run.order.index(c.candidate.name),
                c.ignored_by if c.outcome is Outcome.IGNORED else (),
            )
            for c, each in zip(comparisons, run.candidates, strict=True)
        ),
    )
    if run.recipe.baseline:
        count_alike(run.recipe.account, comparisons)
    if run.recipe.recheck:
        for each in comparisons:
            if each.unstable:
                run.recipe.account.unstable(each.candidate.name)
    attend(run.recipe)


def _note(
    run: Run, permit: Permit, comparisons: tuple[Comparison, ...], concluding_ns: int
) -> None:
    """Tell the breaker how the run ended, and the log where the experiment pauses or resumes."""
    failed = any(
        c.outcome is Outcome.TIMED_OUT
        or (
            c.outcome is not Outcome.IGNORED
            and c.candidate.exception is not None
            and run.control.exception is None
        )
        for c in comparisons
        if c.candidate.name != BASELINE
    )
    spent_ns = 0
    if not _is_thread_shared():
        shown_ns = round(sum(each.cpu_time or 0.0 for each in run.candidates) * 1e9)
        spent_ns = (run.cpu_ns or shown_ns) + run.recheck_ns + concluding_ns
    change = permit.note(failed, spent_ns)
    if change is not None:
        from twinrun._logging import warn

        warn(change.event, experiment=run.recipe.name, **change.facts)


def result_of(run: Run, comparisons: tuple[Comparison, ...]) -> Result:
    """Make the Result, with exceptions that keep no frame alive in place of the real ones."""
    texts = {
        id(each.exception): each.traceback or tracebacks.text(each.exception)
        for each in (run.control, *run.candidates)
        if each.exception is not None
    }
    stand_ins = _stand_ins(run)
    settled = tuple(_settled(each, stand_ins, texts) for each in comparisons)
    elapsed = datetime.timedelta(microseconds=(perf_counter_ns() - run.began_ns) / 1000)
    return Result(
        id=f"{dice.getrandbits(128):032x}",
        experiment=run.recipe.name,
        started_at=datetime.datetime.now(datetime.UTC) - elapsed,
        context=run.context,
        order=run.order,
        control=_settled_observation(run.control, stand_ins, texts),
        candidates=tuple(each.candidate for each in settled),
        comparisons=settled,
        clean=None if run.recipe.clean is None else Cleaned(run.recipe),
        capture=run.recipe.capture,
    )


def _settled(
    comparison: Comparison, stand_ins: dict[int, BaseException], texts: dict[int, str]
) -> Comparison:
    """Put stand-ins in the place of a comparison's exceptions."""

    def found(differences: tuple[Difference, ...]) -> Iterator[Difference]:
        for d in differences:
            if d.kind is DifferenceKind.RAISED:
                sides = (stand_ins.get(id(side), side) for side in (d.control, d.candidate))
                yield Difference(d.path, d.kind, *sides)
            else:
                yield d

    return attrs.evolve(
        comparison,
        candidate=_settled_observation(comparison.candidate, stand_ins, texts),
        differences=Differences(
            found(comparison.differences), getattr(comparison.differences, "cut", None)
        ),
        ignored_differences=tuple(found(comparison.ignored_differences)),
    )


def _settled_observation(
    observation: Observation, stand_ins: dict[int, BaseException], texts: dict[int, str]
) -> Observation:
    """Put a stand-in in the place of an observation's exception, with its traceback's text."""
    error = observation.exception
    if error is None:
        return observation
    return attrs.evolve(observation, exception=stand_ins[id(error)], traceback=texts[id(error)])


def _stand_ins(run: Run) -> dict[int, BaseException]:
    """Give what stands for each exception, by its id: without frames, which are let go here."""
    foreign = reached(run.control.exception, sys.exc_info()[1], chained=True) | run.foreign
    stand_ins: dict[int, BaseException] = {}
    for each in (run.control, *run.candidates):
        error = each.exception
        if error is None or id(error) in stand_ins:
            continue
        if each.traceback is not None:  # it is a twin already
            stand_ins[id(error)] = error
        elif foreign.isdisjoint(reached(error)):
            tracebacks.detach(error)
            stand_ins[id(error)] = error
        else:  # it is, or its group holds, an exception of the caller, who must lose nothing
            stand_ins[id(error)] = tracebacks.twin(error)
    return stand_ins


def reached(*errors: BaseException | None, chained: bool = False) -> Set[int]:
    """Give the ids of these exceptions and their groups' members, and where asked their chains."""
    ids: set[int] = set()
    pending = [*errors]
    while pending:
        error = pending.pop()
        if error is not None and id(error) not in ids:
            ids.add(id(error))
            pending += tracebacks.members(error)
            if chained:
                pending += tracebacks.links(error)
    return ids


def _is_thread_shared() -> bool:
    """Say whether what seem to be threads are greenlets, which share one thread's CPU time."""
    gevent = sys.modules.get("gevent.monkey")
    return gevent is not None and bool(gevent.is_module_patched("threading"))

"""The decisions of a run, free of how its behaviours are called.

`skipped` asks the gates, `prepare` makes all that must be made before anything runs, `observed`
turns what happened into an Observation, and `conclude` judges, counts, publishes and raises.
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable, Mapping
from contextvars import Context, copy_context
from time import perf_counter_ns
from typing import Any

import attrs

from twinrun import settings, tracebacks
from twinrun._accounts import dice
from twinrun._runner.behaviours import Lineup
from twinrun._runner.containment import contained, report
from twinrun._runner.isolation import UnsharableError, copied
from twinrun._runner.judging import judge
from twinrun._runner.recipe import Recipe
from twinrun._runner.reporting import (
    Cleaned,
    attend,
    is_wanted,
    publish,
    raise_if_mismatched,
)
from twinrun._runner.scope import CANDIDATE, HOOK, reentered, scope
from twinrun.difference import DifferenceKind
from twinrun.observation import NOTHING, Observation
from twinrun.result import BASELINE, Comparison, Result
from twinrun.samplers import chosen
from twinrun.typing import Behaviour

__all__ = [
    "Call",
    "Plan",
    "Run",
    "Skip",
    "conclude",
    "isolated",
    "observed",
    "prepare",
    "result_of",
]


@attrs.frozen(eq=False)
class Call:
    """One behaviour with the arguments and, for a candidate, the context that it runs in."""

    name: str
    function: Behaviour
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    context: Context | None = None


@attrs.frozen(eq=False)
class Plan:
    """A run about to begin: its calls in the order in which they run."""

    recipe: Recipe
    control_name: str
    candidate_names: tuple[str, ...]
    calls: tuple[Call, ...]
    context: Mapping[str, Any]


@attrs.frozen(eq=False, kw_only=True)
class Run:
    """A run whose behaviours are over; the observations still hold the real exceptions."""

    recipe: Recipe
    control: Observation
    candidates: tuple[Observation, ...]
    order: tuple[str, ...]
    context: Mapping[str, Any]
    began_ns: int
    observe: bool = False


class Skip(Exception):
    """The control runs alone; the argument is the reason under which that is counted."""


def prepare(
    recipe: Recipe,
    lineup: Lineup,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    context: Any = None,
) -> Plan | None:
    """Decide whether this call is an experiment, and make all that it needs; None where not."""
    inside = scope.get()
    token = scope.set(HOOK)
    try:
        return _prepare(recipe, lineup, args, kwargs, context, inside)
    except Skip as skip:
        recipe.account.skip(skip.args[0])
    except BaseException as error:  # of our own: the stack or the memory is at its end
        if not contained(error):
            raise
        recipe.account.skip("internal")
    finally:
        scope.reset(token)
    return None


def _prepare(
    recipe: Recipe,
    lineup: Lineup,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    context: Any,
    inside: list[Any] | None,
) -> Plan:
    """Go through the gates in their order, then make the plan.

    Raises:
        Skip: a gate says no, or something fails that leaves the control alone.
    """
    _ask_gates(recipe, lineup, args, kwargs, inside)
    candidates = dict(lineup.candidates)
    if recipe.baseline and dice.random() < recipe.baseline:
        candidates[BASELINE] = lineup.control
    if not candidates:
        raise Skip("baseline" if recipe.baseline else "no candidate")
    if recipe.before_run is not None:
        _asked(recipe, "before_run", recipe.before_run, (), {})
    calls = {lineup.control_name: Call(lineup.control_name, lineup.control, args, kwargs)}
    for name, function in candidates.items():
        own = isolated(recipe, lineup, args, kwargs)
        ctx = copy_context()
        ctx.run(scope.set, CANDIDATE)
        calls[name] = Call(name, function, *own, ctx)
    order = _ordered(recipe, lineup.control_name, tuple(calls))
    return Plan(
        recipe,
        lineup.control_name,
        tuple(candidates),
        tuple(calls[name] for name in order),
        _context(recipe, context, args, kwargs),
    )


def _ask_gates(
    recipe: Recipe,
    lineup: Lineup,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    inside: list[Any] | None,
) -> None:
    """Ask the gates, in the order that is promised."""
    current = settings.current
    if current.blocked == "disabled":
        raise Skip("disabled")
    if reentered(recipe, inside):
        raise Skip("reentry")
    for enabled in (current.enabled, recipe.enabled):
        if enabled is not True and not (enabled and _asked(recipe, "enabled", enabled, (), {})):
            raise Skip("enabled")
    if not (lineup.candidates or recipe.baseline):
        raise Skip("no candidate")
    if not _sampled(recipe, args, kwargs):
        raise Skip("sample")
    if recipe.run_if is not None and not _asked(recipe, "run_if", recipe.run_if, args, kwargs):
        raise Skip("run_if")


def _sampled(recipe: Recipe, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Decide by share and key; 0 and 1 are exact, and no key is asked for there."""
    share: Any = recipe.sample
    if callable(share):
        share = _asked(recipe, "sample", share, (), {}, _checked_share)
    if share <= 0 or share >= 1:
        return bool(share >= 1)
    if recipe.sample_by is None:
        if callable(recipe.sample):
            return dice.random() < float(share)
        return recipe.account.coin(float(share)).ask()

    def decide(key: Any) -> bool:
        return chosen(recipe.name, key, share)

    return bool(_asked(recipe, "sample_by", recipe.sample_by, args, kwargs, decide))


def _checked_share(share: Any) -> float:
    """Refuse what is no share."""
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
        raise ValueError(f"sample must give a number within 0..1, not {share!r}")
    return float(share)


def _asked(
    recipe: Recipe,
    operation: str,
    function: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    then: Callable[[Any], Any] = lambda answer: answer,
) -> Any:
    """Ask a callback whose failure leaves the control alone.

    Raises:
        Skip: it failed.
    """
    try:
        answer = then(function(*args, **kwargs))
        return answer if operation == "sample" else bool(answer)
    except BaseException as error:
        if not contained(error):
            raise
        report(recipe.name, operation, error, recipe.on_failure)
        raise Skip(operation) from None


def isolated(
    recipe: Recipe, lineup: Lineup, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Give a candidate its own arguments.

    Raises:
        Skip: they can't be copied; the control runs alone.
    """
    try:
        return copied(args, kwargs, recipe.isolate, lineup.is_method)
    except UnsharableError:
        raise Skip("isolate") from None
    except BaseException as error:
        if not contained(error):
            raise
        report(recipe.name, "isolate", error, recipe.on_failure)
        raise Skip("isolate") from None


def _ordered(recipe: Recipe, control: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Give the order of the names; a failing callable leaves it to chance."""
    order = recipe.order
    if callable(order):
        try:
            chosen_order = tuple(order(names))
            if sorted(chosen_order) != sorted(names):
                raise ValueError(f"order gave {chosen_order!r}, which is no order of {names!r}")
            return chosen_order
        except BaseException as error:
            if not contained(error):
                raise
            report(recipe.name, "order", error, recipe.on_failure)
    shuffled = list(names)
    dice.shuffle(shuffled)
    if order == "control-first":
        shuffled.sort(key=lambda name: name != control)
    elif order == "control-last":
        shuffled.sort(key=lambda name: name == control)
    return tuple(shuffled)


def _context(
    recipe: Recipe, given: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Mapping[str, Any]:
    """Make the context: the recipe's, and over it the run's own; what fails is left out."""
    context: dict[str, Any] = {}
    for source in (recipe.context, given):
        if source is None:
            continue
        try:
            if callable(source) and not isinstance(source, Mapping):
                source = source(*args, **kwargs)
            if not isinstance(source, Mapping):
                raise TypeError(f"a context must be a mapping, not a {type(source).__qualname__}")
            context.update(source)
        except BaseException as error:
            if not contained(error):
                raise
            report(recipe.name, "context", error, recipe.on_failure)
    return context


def observed(
    name: str, value: Any, error: BaseException | None, duration_ns: int, cpu_ns: int | None = None
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
    )


def conclude(run: Run) -> Result | None:
    """Judge the candidates, count, publish, call `after_run`, and raise where that is asked for.

    Gives the Result, or None where nobody wants one.

    Raises:
        MismatchError: where `raise_on_mismatch` asks for it.
    """
    recipe = run.recipe
    result = None
    token = scope.set(HOOK)
    try:
        comparisons = tuple(judge(recipe, run.control, each) for each in run.candidates)
        _count(run, comparisons)
        if run.observe or is_wanted(recipe, comparisons):
            result = result_of(run, comparisons)
            publish(recipe, result)
        else:
            _stand_ins(run.control, run.candidates)
    except BaseException as error:  # of our own: the stack or the memory is at its end
        if not contained(error):
            raise
        recipe.account.fail("internal")
    finally:
        scope.reset(token)
    if result is not None:
        raise_if_mismatched(recipe, result, run.control.exception)
    return result


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
            )
            for c, each in zip(comparisons, run.candidates, strict=True)
        ),
    )
    attend(run.recipe)


def result_of(run: Run, comparisons: tuple[Comparison, ...]) -> Result:
    """Make the Result, with exceptions that keep no frame alive in place of the real ones."""
    texts = {
        id(each.exception): tracebacks.text(each.exception)
        for each in (run.control, *run.candidates)
        if each.exception is not None
    }
    stand_ins = _stand_ins(run.control, run.candidates)

    def settled(value: Any) -> Any:
        return stand_ins.get(id(value), value)

    def settled_observation(each: Observation) -> Observation:
        key = id(each.exception)
        if key not in stand_ins:
            return each
        return attrs.evolve(each, exception=stand_ins[key], traceback=texts[key])

    settled_comparisons = tuple(
        attrs.evolve(
            c,
            candidate=settled_observation(c.candidate),
            differences=tuple(
                attrs.evolve(d, control=settled(d.control), candidate=settled(d.candidate))
                if d.kind is DifferenceKind.RAISED
                else d
                for d in c.differences
            ),
        )
        for c in comparisons
    )
    elapsed = datetime.timedelta(microseconds=(perf_counter_ns() - run.began_ns) / 1000)
    return Result(
        id=f"{dice.getrandbits(128):032x}",
        experiment=run.recipe.name,
        started_at=datetime.datetime.now(datetime.UTC) - elapsed,
        context=run.context,
        order=run.order,
        control=settled_observation(run.control),
        candidates=tuple(c.candidate for c in settled_comparisons),
        comparisons=settled_comparisons,
        clean=None if run.recipe.clean is None else Cleaned(run.recipe),
    )


def _stand_ins(
    control: Observation, candidates: tuple[Observation, ...]
) -> dict[int, BaseException]:
    """Give what stands for each exception, by its id: without frames, which are let go here."""
    foreign = _exceptions_in_use(control.exception)
    stand_ins: dict[int, BaseException] = {}
    for each in (control, *candidates):
        error = each.exception
        if error is None or id(error) in stand_ins:
            continue
        if id(error) in foreign:
            stand_ins[id(error)] = tracebacks.twin(error)
        else:
            tracebacks.detach(error)
            stand_ins[id(error)] = error
    return stand_ins


def _exceptions_in_use(control: BaseException | None) -> set[int]:
    """Give the ids of exceptions that are the caller's: they must lose nothing through us."""
    in_use = set()
    pending = [control, sys.exc_info()[1]]
    while pending:
        error = pending.pop()
        if error is not None and id(error) not in in_use:
            in_use.add(id(error))
            pending += (error.__cause__, error.__context__)
    return in_use

"""Decides whether a call is an experiment, and makes all that must be made before anything runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextvars import Context, copy_context
from typing import Any

import attrs

from twinrun import settings
from twinrun._accounts import dice
from twinrun._runner.arguments import Arguments, named
from twinrun._runner.behaviours import Lineup
from twinrun._runner.breaking import Permit
from twinrun._runner.circumstances import context_of, ordered
from twinrun._runner.containment import contained, report
from twinrun._runner.isolation import UnsharableError, copied
from twinrun._runner.recipe import Recipe, raises
from twinrun._runner.scope import CANDIDATE, HOOK, scope
from twinrun.result import BASELINE
from twinrun.samplers import Coin, chosen
from twinrun.typing import Behaviour

__all__ = [
    "Call",
    "Plan",
    "Skip",
    "admits",
    "arguments_of",
    "ask_before_run",
    "ask_breaker",
    "ask_gates",
    "begin",
    "calls_again",
    "candidates_of",
    "coin_of",
    "isolated",
    "prepare",
    "staged",
]


@attrs.frozen(eq=False)
class Call:
    """One behaviour with the arguments and, for a candidate, the context that it runs in."""

    name: str
    function: Behaviour
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    context: Context | None = None
    arguments: Arguments | None = None
    """The arguments by name, where they are to be compared."""


@attrs.frozen(eq=False)
class Plan:
    """A run about to begin: its calls in the order in which they run."""

    recipe: Recipe
    control_name: str
    candidate_names: tuple[str, ...]
    calls: tuple[Call, ...]
    context: Mapping[str, Any]
    permit: Permit | None = None
    """The breaker's, where there is one."""
    again: tuple[Call, ...] = ()
    """What may run once more, where a candidate differs."""


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
    plan: Plan | None = staged(recipe, _prepare, lineup, args, kwargs, context)
    return plan


def admits(recipe: Recipe, lineup: Lineup, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Ask the gates alone, where what the run needs is made later, by `begin`."""
    return staged(recipe, ask_gates, lineup, args, kwargs) is not None


def begin(
    recipe: Recipe, lineup: Lineup, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Plan | None:
    """Make all that an admitted run needs, unless it begins inside another behaviour now."""
    plan: Plan | None = staged(recipe, _begin, lineup, args, kwargs)
    return plan


def staged(recipe: Recipe, stage: Callable[..., Any], *given: Any) -> Any:
    """Go through a stage of preparation, as a hook; None, counted, where the control runs alone.

    The stage is told last in which scope this is, and may raise `Skip`.
    """
    inside = scope.get()
    try:
        scope.set(HOOK)  # inside, since a signal's handler may raise right after it
        return stage(recipe, *given, inside)
    except Skip as skip:
        recipe.account.skip(skip.args[0])
    except BaseException as error:  # of our own: the stack or the memory is at its end
        if not contained(error):
            raise
        recipe.account.skip("internal")
    finally:
        scope.set(inside)
    return None


def _prepare(
    recipe: Recipe,
    lineup: Lineup,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    context: Any,
    inside: str | None,
) -> Plan:
    """Go through the gates in their order, then make the plan.

    Raises:
        Skip: a gate says no, or something fails that leaves the control alone.
    """
    ask_gates(recipe, lineup, args, kwargs, inside)
    return _planned(recipe, lineup, args, kwargs, context)


def _begin(
    recipe: Recipe,
    lineup: Lineup,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    inside: str | None,
) -> Plan:
    """Make the plan, where that is no re-entry; raises Skip where the control runs alone."""
    _refuse_reentry(recipe, inside)
    return _planned(recipe, lineup, args, kwargs, None)


def _planned(
    recipe: Recipe,
    lineup: Lineup,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    context: Any,
) -> Plan:
    """Make the plan of a run that all gates let through.

    Raises:
        Skip: something fails that leaves the control alone.
    """
    candidates = candidates_of(recipe, lineup)
    permit = ask_breaker(recipe)
    try:
        return _made(recipe, lineup, args, kwargs, context, candidates, permit)
    except BaseException:
        if permit is not None:
            permit.drop()
        raise


def _made(
    recipe: Recipe,
    lineup: Lineup,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    context: Any,
    candidates: Mapping[str, Behaviour],
    permit: Permit | None,
) -> Plan:
    """Make the plan of a run of these candidates; raises Skip where something fails."""
    ask_before_run(recipe)
    control, by_name = lineup.control_name, arguments_of(recipe, lineup, args, kwargs)
    calls = {control: Call(control, lineup.control, args, kwargs, None, by_name)}
    for name, function in candidates.items():
        calls[name] = _apart(recipe, lineup, args, kwargs, name, function)
    again = calls_again(recipe, lineup, args, kwargs, candidates) if recipe.recheck else ()
    order = ordered(recipe, control, tuple(calls))
    return Plan(
        recipe,
        control,
        tuple(candidates),
        tuple(calls[name] for name in order),
        context_of(recipe, context, args, kwargs),
        permit,
        again,
    )


def calls_again(
    recipe: Recipe,
    lineup: Lineup,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    candidates: Mapping[str, Behaviour],
) -> tuple[Call, ...]:
    """Make what may run once more with `recheck`: the control, and each candidate.

    Raises:
        Skip: the arguments can't be copied; the control runs alone.
    """
    behaviours = {lineup.control_name: lineup.control, **candidates}
    return tuple(
        [
            _apart(recipe, lineup, args, kwargs, name, each)
            for name, each in behaviours.items()
            if not (recipe.baseline and name == BASELINE)
        ]
    )


def _apart(
    recipe: Recipe,
    lineup: Lineup,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    name: str,
    function: Behaviour,
) -> Call:
    """Make the call of what is not to be seen by the caller: its own arguments and context."""
    own = isolated(recipe, lineup, args, kwargs)
    context = copy_context()
    context.run(scope.set, CANDIDATE)
    return Call(name, function, *own, context, arguments_of(recipe, lineup, *own))


def candidates_of(recipe: Recipe, lineup: Lineup) -> Mapping[str, Behaviour]:
    """Give the candidates of this run by name, a baseline last; raises Skip where there is none."""
    candidates = lineup.candidates
    if recipe.baseline and dice.random() < recipe.baseline:
        candidates = {**candidates, BASELINE: lineup.control}
    if not candidates:
        raise Skip("baseline" if recipe.baseline else "no candidate")
    return candidates


def ask_breaker(recipe: Recipe) -> Permit | None:
    """Give the breaker's permit, None where there is no breaker; raises Skip while it is paused.

    Where a mismatch raises it is not asked: no test must pass because its experiment is paused.
    """
    circuit = recipe.circuit
    if circuit is None or raises(recipe):
        return None
    permit = circuit.open or circuit.permit()
    if permit is None:
        raise Skip("paused")
    return permit


def ask_before_run(recipe: Recipe) -> None:
    """Call `before_run`; raises Skip where that fails."""
    if recipe.before_run is not None:
        _asked(recipe, "before_run", recipe.before_run, (), {})


def ask_gates(
    recipe: Recipe,
    lineup: Lineup,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    inside: str | None,
) -> bool:
    """Ask the gates, in the order that is promised; true, or it raises Skip."""
    current = settings.current
    if current.blocked == "disabled":
        raise Skip("disabled")
    _refuse_reentry(recipe, inside)
    for enabled in (current.enabled, recipe.enabled):
        if enabled is True:
            continue
        if enabled is False or not _asked(recipe, "enabled", enabled, (), {}):
            raise Skip("enabled")
    if not (lineup.candidates or recipe.baseline):
        raise Skip("no candidate")
    if not _sampled(recipe, args, kwargs):
        raise Skip("sample")
    if recipe.run_if is not None and not _asked(recipe, "run_if", recipe.run_if, args, kwargs):
        raise Skip("run_if")
    return True


def _refuse_reentry(recipe: Recipe, inside: str | None) -> None:
    """Raise Skip inside a candidate, a hook, or a control of this name on this thread."""
    if inside is not None or threading.get_ident() in recipe.account.active:
        raise Skip("reentry")


def _sampled(recipe: Recipe, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Decide by share and key; 0 and 1 are exact, and no key is asked for there.

    What live control says replaces the experiment's own share.
    """
    if recipe.is_sampled:
        return True
    recipe.account.used()
    share: Any = recipe.sample if recipe.account.word is None else recipe.account.word
    if callable(share):
        share = _asked(recipe, "sample", share, (), {}, _checked_share)
    if share <= 0 or share >= 1:
        return bool(share >= 1)
    if recipe.sample_by is None:
        return dice.random() < float(share)

    def decide(key: Any) -> bool:
        return chosen(recipe.name, key, share)

    return bool(_asked(recipe, "sample_by", recipe.sample_by, args, kwargs, decide))


def coin_of(recipe: Recipe) -> Coin | None:
    """Give the coin that decides where nothing but a share does, and no callback is asked before.

    Who asks it runs a recipe that is sampled then.
    """
    share = recipe.sample
    if callable(share) or recipe.sample_by is not None or recipe.enabled is not True:
        return None
    return recipe.account.coin(share)


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


def arguments_of(
    recipe: Recipe, lineup: Lineup, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Arguments | None:
    """Give a call's arguments by name; None where they are not to be compared."""
    if recipe.compare_arguments is None:
        return None
    return named(lineup.parameters, args, kwargs, lineup.is_method)

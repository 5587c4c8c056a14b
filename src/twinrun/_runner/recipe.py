"""An experiment's options, checked once, when it is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypedDict

import attrs

from twinrun._accounts import Account, account_of
from twinrun._kinds import is_unwaited
from twinrun._runner.arguments import ROOT
from twinrun._runner.breaking import Circuit, circuit_of
from twinrun.comparators import equal, same_error
from twinrun.errors import ConfigurationError, MismatchError
from twinrun.ignores import Rule
from twinrun.samplers import Breaker
from twinrun.settings import checked_publishers, current
from twinrun.typing import (
    AfterRun,
    Clean,
    CompareErrors,
    CompareValues,
    Context,
    Ignore,
    OnFailure,
    PublisherLike,
)

__all__ = ["Options", "Recipe", "raises", "recipe_of"]


class Options(TypedDict, total=False):
    """The options of an experiment, all keyword-only, the same for both forms."""

    sample: float | Callable[[], float]
    sample_by: Callable[..., Any] | None
    enabled: bool | Callable[[], Any]
    run_if: Callable[..., Any] | None
    mode: str
    order: str | Callable[[tuple[str, ...]], Sequence[str]]
    timeout: float | None
    isolate: str | Callable[[Any], Any]
    compare: CompareValues
    compare_errors: CompareErrors
    compare_arguments: bool | CompareValues
    ignore: Ignore | Rule | Sequence[Ignore | Rule]
    clean: Clean | None
    capture: str
    context: Context
    before_run: Callable[..., Any] | None
    after_run: AfterRun | None
    baseline: float
    recheck: bool
    cpu_time: bool
    breaker: Breaker | None
    publishers: Sequence[PublisherLike] | None
    raise_on_mismatch: bool | None
    mismatch_error: type[MismatchError]
    on_failure: OnFailure | None


_ORDERS: Final = ("random", "control-first", "control-last")
_CAPTURES: Final = ("values", "differences", "nothing")
_ISOLATIONS: Final = ("containers", "share", "deepcopy")
_MODES: Final = ("inline", "concurrent", "background")


@attrs.frozen(eq=False, kw_only=True)
class Recipe:
    """Everything about an experiment but its behaviours; it holds no state of a run."""

    name: str
    account: Account
    sample: float | Callable[[], float] = 1.0
    is_sampled: bool = False
    """Whether the share of runs has been asked for already, by who runs this."""
    sample_by: Callable[..., Any] | None = None
    enabled: bool | Callable[[], Any] = True
    run_if: Callable[..., Any] | None = None
    mode: str = "inline"
    order: str | Callable[[tuple[str, ...]], Sequence[str]] = "random"
    timeout: float | None = None
    isolate: str | Callable[[Any], Any] = "containers"
    compare: CompareValues = equal
    compare_errors: CompareErrors = same_error
    compare_arguments: CompareValues | None = None
    ignore: tuple[Ignore | Rule, ...] = ()
    clean: Clean | None = None
    capture: str = "values"
    context: Context = attrs.field(factory=dict)
    before_run: Callable[..., Any] | None = None
    after_run: AfterRun | None = None
    baseline: float = 0.0
    recheck: bool = False
    cpu_time: bool = False
    breaker: Breaker | None = None
    circuit: Circuit | None = None
    """The state of its breaker in this process, which it shares with others of its name."""
    publishers: tuple[PublisherLike, ...] | None = None
    raise_on_mismatch: bool | None = None
    mismatch_error: type[MismatchError] = MismatchError
    on_failure: OnFailure | None = None


def raises(recipe: Recipe) -> bool:
    """Say whether a mismatch raises."""
    own = recipe.raise_on_mismatch
    return current.raising if own is None else own


def recipe_of(name: Any, options: Mapping[str, Any]) -> Recipe:
    """Check a name and options.

    Raises:
        ConfigurationError: an option is unknown, or its value is not of an accepted kind.
    """
    if not isinstance(name, str) or not name:
        raise ConfigurationError(f"an experiment's name is a non-empty text, not {name!r}")
    checked = {}
    for option, value in options.items():
        check = _CHECKS.get(option)
        if check is None:
            raise ConfigurationError(
                f"unknown option {option!r} of the experiment {name!r}; "
                f"the options are {', '.join(sorted(_CHECKS))}"
            )
        checked[option] = check(option, value)
    if checked.get("mode", "inline") != "inline":
        if "order" in checked:
            raise ConfigurationError(
                f"order says who runs first, which mode={checked['mode']!r} does already; "
                "leave it out"
            )
        checked.setdefault("breaker", Breaker())
    elif checked.get("breaker") is not None and checked["breaker"].cpu_share is not None:
        checked["cpu_time"] = True  # which the budget is charged with
    if checked.get("compare_arguments") is not None and checked.get("isolate") == "share":
        raise ConfigurationError(
            "compare_arguments compares what the control did to its arguments with what a "
            "candidate did to its copies; with isolate='share' there are none: leave out one"
        )
    text = str.__str__(name)  # past what a subclass says of itself
    breaker = checked.get("breaker")
    circuit = None if breaker is None else circuit_of(text, breaker)
    return Recipe(name=text, account=account_of(text), circuit=circuit, **checked)


def _wrong(option: str, accepted: str, value: Any) -> ConfigurationError:
    """Say what was given for an option and what is accepted."""
    return ConfigurationError(f"{option} must be {accepted}, not {_shown(value)}")


def _shown(value: Any) -> str:
    """Show a wrong value; an object's own repr may fail, and is then named by its type."""
    try:
        text = repr(value)
    except Exception:
        text = object.__repr__(value)
    return text if len(text) <= 200 else f"{text[:200]}…"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _share(option: str, value: Any) -> float:
    if not _is_number(value) or not 0 <= value <= 1:
        raise _wrong(option, "a number within 0..1", value)
    return float(value)


def _share_or_callable(option: str, value: Any) -> Any:
    if callable(value):
        return _callable(option, value)
    if not _is_number(value) or not 0 <= value <= 1:
        raise _wrong(option, "a number within 0..1 or a callable giving one", value)
    return float(value)


def _callable(option: str, value: Any) -> Any:
    if not callable(value):
        raise _wrong(option, "a callable", value)
    if is_unwaited(value):
        raise _wrong(option, "a plain callable (nobody would await or iterate this one)", value)
    return value


def _callable_or_none(option: str, value: Any) -> Any:
    return None if value is None else _callable(option, value)


def _switch(option: str, value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if not callable(value):
        raise _wrong(option, "a bool or a callable without arguments", value)
    return _callable(option, value)


def _bool(option: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _wrong(option, "a bool", value)
    return value


def _bool_or_none(option: str, value: Any) -> bool | None:
    return None if value is None else _bool(option, value)


def _mode(option: str, value: Any) -> str:
    if not isinstance(value, str) or value not in _MODES:
        raise _wrong(option, f"one of {', '.join(map(repr, _MODES))}", value)
    return value


def _order(option: str, value: Any) -> Any:
    if isinstance(value, str) and value in _ORDERS:
        return value
    if isinstance(value, str) or not callable(value):
        accepted = ", ".join(map(repr, _ORDERS))
        raise _wrong(option, f"one of {accepted} or a callable of the names", value)
    return _callable(option, value)


def _capture(option: str, value: Any) -> str:
    if not isinstance(value, str) or value not in _CAPTURES:
        raise _wrong(option, f"one of {', '.join(map(repr, _CAPTURES))}", value)
    return value


def _isolate(option: str, value: Any) -> Any:
    if isinstance(value, str) and value in _ISOLATIONS:
        return value
    if isinstance(value, str) or not callable(value):
        accepted = ", ".join(map(repr, _ISOLATIONS))
        raise _wrong(option, f"one of {accepted} or a callable giving a value's copy", value)
    return _callable(option, value)


def _compare_arguments(option: str, value: Any) -> Any:
    if isinstance(value, bool):
        value = equal if value else None
    elif not callable(value):
        raise _wrong(option, "a bool, or a comparator of two mappings of arguments by name", value)
    compare = _callable_or_none(option, value)
    return compare.at(ROOT) if hasattr(compare, "at") else compare


def _timeout(option: str, value: Any) -> float | None:
    if value is None:
        return None
    if not _is_number(value) or not value > 0:
        raise _wrong(option, "a number of seconds above 0", value)
    return float(value)


def _ignore(option: str, value: Any) -> tuple[Any, ...]:
    if value is None:
        return ()
    if isinstance(value, Rule) or callable(value):
        return (_rule(option, value),)
    if isinstance(value, str) or not isinstance(value, Sequence):
        accepted = "a rule (a callable of two observations, or one of twinrun.ignores)"
        raise _wrong(option, f"{accepted} or a sequence of them", value)
    return tuple(_rule(option, each) for each in value)


def _rule(option: str, value: Any) -> Any:
    return value if isinstance(value, Rule) else _callable(option, value)


def _context(option: str, value: Any) -> Any:
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return dict(value)
    if not callable(value):
        raise _wrong(option, "a mapping or a callable of the call's arguments giving one", value)
    return _callable(option, value)


def _publishers(option: str, value: Any) -> tuple[PublisherLike, ...] | None:
    return None if value is None else checked_publishers(value)


def _breaker(option: str, value: Any) -> Breaker | None:
    if value is not None and not isinstance(value, Breaker):
        raise _wrong(option, "a twinrun.samplers.Breaker, or None for none", value)
    return value


def _mismatch_error(option: str, value: Any) -> type[MismatchError]:
    if not (isinstance(value, type) and issubclass(value, MismatchError)):
        raise _wrong(option, "a subclass of MismatchError", value)
    return value


_CHECKS: Final[dict[str, Callable[[str, Any], Any]]] = {
    "sample": _share_or_callable,
    "sample_by": _callable_or_none,
    "enabled": _switch,
    "run_if": _callable_or_none,
    "mode": _mode,
    "order": _order,
    "timeout": _timeout,
    "isolate": _isolate,
    "compare": _callable,
    "compare_errors": _callable,
    "compare_arguments": _compare_arguments,
    "ignore": _ignore,
    "clean": _callable_or_none,
    "capture": _capture,
    "context": _context,
    "before_run": _callable_or_none,
    "after_run": _callable_or_none,
    "baseline": _share,
    "recheck": _bool,
    "cpu_time": _bool,
    "breaker": _breaker,
    "publishers": _publishers,
    "raise_on_mismatch": _bool_or_none,
    "mismatch_error": _mismatch_error,
    "on_failure": _callable_or_none,
}

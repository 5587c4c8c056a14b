"""What became of the arguments of a call, by the names of the control's parameters."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from types import FunctionType
from typing import Any, Final, TypeAlias

import attrs

from twinrun.comparators.structural import found_by
from twinrun.difference import Difference, Differences
from twinrun.observation import Observation
from twinrun.typing import CompareValues

__all__ = ["ROOT", "Arguments", "changed", "named", "positional"]

ROOT: Final = "$args"
"""Where the paths of what differs among the arguments begin."""

Arguments: TypeAlias = dict[str | int, Any]
"""The arguments of a call by name, or by their position where that has none."""

_POSITIONAL: Final = frozenset(
    {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
)


def positional(control: Any) -> tuple[str, ...]:
    """Give the names of a control's parameters by position, as far as it tells them."""
    if type(control) is FunctionType and not hasattr(control, "__wrapped__"):
        return control.__code__.co_varnames[: control.__code__.co_argcount]
    try:
        parameters = inspect.signature(control).parameters.values()
    except Exception:  # as builtins have none, and `__signature__` is any code
        return ()
    return tuple([each.name for each in parameters if each.kind in _POSITIONAL])


def named(
    parameters: tuple[str, ...], args: tuple[Any, ...], kwargs: dict[str, Any], is_method: bool
) -> Arguments:
    """Name the arguments of a call, but for a method's `self`, which both sides share."""
    if is_method:
        parameters, args = parameters[1:], args[1:]
    found: Arguments = {}
    for i, value in enumerate(args):
        is_named = i < len(parameters) and parameters[i] not in kwargs
        found[parameters[i] if is_named else i] = value
    found.update(kwargs)
    return found


def changed(
    compare: CompareValues,
    control: Observation,
    candidate: Observation,
    differences: Sequence[Difference],
) -> Sequence[Difference]:
    """Give these differences and, behind them, how the arguments differ."""
    if control.arguments is None or candidate.arguments is None:
        return differences
    found = found_by(compare, control.arguments, candidate.arguments)
    cuts = (getattr(each, "cut", None) for each in (differences, found))
    return Differences((*differences, *map(_placed, found)), next(filter(None, cuts), None))


def _placed(difference: Difference) -> Difference:
    """Have a path begin among the arguments, also where a comparator knows of no such place."""
    path = difference.path
    return difference if path.startswith(ROOT) else attrs.evolve(difference, path=ROOT + path[1:])

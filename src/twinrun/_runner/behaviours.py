"""The control and the candidates of an experiment, checked and named."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from types import FunctionType
from typing import Any, Final

import attrs

from twinrun._kinds import Kind, kind_of
from twinrun._runner.arguments import positional
from twinrun.errors import ConfigurationError
from twinrun.result import BASELINE
from twinrun.typing import Behaviour

__all__ = [
    "CANDIDATE_NAME",
    "CONTROL_NAME",
    "Lineup",
    "Reference",
    "behaviours_of",
    "lineup_of",
]

CONTROL_NAME: Final = "control"
CANDIDATE_NAME: Final = "candidate"

_ACCEPTED: Final[dict[Kind, frozenset[Kind]]] = {
    kind: frozenset({Kind.PLAIN, kind}) for kind in Kind
}
"""Of which kinds the candidates of a control may be: a plain one may give what is not plain."""

_REFERENCE: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


@attrs.frozen(eq=False)
class Lineup:
    """Who takes part: the control's name, the control, and the candidates by name.

    `kind` is the control's, but that of a coroutine function where a plain one is to be awaited.
    """

    control_name: str
    control: Behaviour
    candidates: Mapping[str, Behaviour]
    kind: Kind = Kind.PLAIN
    is_method: bool = False
    """Whether the first argument is `self` or `cls`, which is shared always."""
    parameters: tuple[str, ...] = ()
    """The names of the control's positional parameters, where these are asked for."""


class Reference:
    """A candidate given as `"package.module:function"`, looked up at its first call.

    One that can't be found raises at each call, and is looked up again at the next.
    """

    __slots__ = ("_found", "accepted", "text")

    def __init__(self, text: str) -> None:
        if not _REFERENCE.fullmatch(text):
            raise ConfigurationError(
                f'a candidate given as text is "package.module:function", not {text!r}'
            )
        self.text = text
        self.accepted = frozenset({Kind.PLAIN})
        self._found: Behaviour | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return (self._found or self._find())(*args, **kwargs)

    def _find(self) -> Behaviour:
        module, _, path = self.text.partition(":")
        found: Any = import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
        _check(f"the candidate {self.text!r}", found, self.accepted)
        self._found = found
        return self._found

    def __repr__(self) -> str:
        return f"Reference({self.text!r})"


def _check(what: str, function: Any, accepted: frozenset[Kind] = frozenset(Kind)) -> None:
    """Refuse what can't be called, or gives by its kind what can't be compared.

    Raises:
        ConfigurationError: it is so.
    """
    if not callable(function):
        raise ConfigurationError(f"{what} must be callable, not a {type(function).__qualname__}")
    kind = kind_of(function)
    if kind not in accepted:
        names = " or ".join(each.value for each in Kind if each in accepted)
        raise ConfigurationError(f"{what} is a {kind.value}, and must here be a {names}")


def _unwrapped(what: str, function: Any) -> Behaviour:
    """Give the plain function behind what a class body or a text names as candidate."""
    if isinstance(function, str):
        return Reference(function)
    if isinstance(function, (classmethod, staticmethod)):
        function = function.__func__
    elif isinstance(function, property):
        function = function.fget
    _check(what, function)
    return function  # type: ignore[no-any-return]


def behaviours_of(
    experiment: str,
    control: Any,
    candidate: Any,
    candidates: Any,
    baseline: float,
) -> dict[str, Behaviour]:
    """Check and name the behaviours that are given, the control under its name where it is one.

    Raises:
        ConfigurationError: one can't be run, two have one name, or a name is not a text.
    """
    named: dict[str, Behaviour] = {}
    if control is not None:
        if isinstance(control, (classmethod, staticmethod, property)):
            raise ConfigurationError(
                f"{experiment!r}: put @{type(control).__name__} outside of (above) @experiment"
            )
        _check(f"the control of {experiment!r}", control)
        named[CONTROL_NAME] = control
    if candidates is not None and not isinstance(candidates, Mapping):
        raise ConfigurationError(
            f"candidates must be a mapping of names to callables, "
            f"not a {type(candidates).__qualname__}"
        )
    given = list((candidates or {}).items())
    if candidate is not None:
        given.insert(0, (CANDIDATE_NAME, candidate))
    for name, function in given:
        if not isinstance(name, str) or not name:
            raise ConfigurationError(f"a behaviour's name is a non-empty text, not {name!r}")
        if name in named:
            raise ConfigurationError(f"{experiment!r} has two behaviours with the name {name!r}")
        if name == BASELINE and baseline > 0:
            raise ConfigurationError(
                f"the name {BASELINE!r} is taken by the control's own second run; "
                "call the candidate otherwise, or leave out baseline="
            )
        named[name] = _unwrapped(f"the candidate {name!r} of {experiment!r}", function)
    return named


def lineup_of(
    experiment: str,
    named: Mapping[str, Behaviour],
    control_name: str,
    awaited: bool = False,
    by_name: bool = False,
) -> Lineup:
    """Line up behaviours behind their control; `awaited` takes a plain one as a coroutine function.

    `by_name` has the lineup know the names of parameters.

    Raises:
        ConfigurationError: there is none of that name, or a candidate's kind doesn't fit.
    """
    if control_name not in named:
        known = ", ".join(map(repr, named)) or "none"
        raise ConfigurationError(
            f"{experiment!r} has no behaviour {control_name!r} to be its control; it has: {known}"
        )
    candidates = {name: f for name, f in named.items() if name != control_name}
    control = named[control_name]
    kind = kind_of(control)
    if awaited and kind is Kind.PLAIN:
        kind = Kind.COROUTINE
    accepted = _ACCEPTED[kind]
    for name, function in candidates.items():
        if type(function) is Reference:
            function.accepted |= accepted
        else:
            _check(f"the candidate {name!r} of {experiment!r}", function, accepted)
    parameters = positional(control) if by_name else ()
    return Lineup(control_name, control, candidates, kind, _is_method(control), parameters)


def _is_method(control: Behaviour) -> bool:
    """Tell a function in a class's body by its qualified name and its first parameter."""
    if type(control) is not FunctionType:
        return False
    owner = control.__qualname__.rpartition(".")[0]
    first = control.__code__.co_varnames[:1]
    return owner != "" and not owner.endswith("<locals>") and first in {("self",), ("cls",)}

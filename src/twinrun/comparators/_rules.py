"""What a structural comparison is told to do otherwise than by default."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import attrs

from twinrun.errors import ConfigurationError
from twinrun.observation import NOTHING
from twinrun.patterns import Pattern, compiled

__all__ = ["USUAL", "Budget", "Rules", "patterns_of"]

_Accept: TypeAlias = Callable[[Any, Any], bool]
_Comparator: TypeAlias = Callable[[Any, Any], Any]


def _positive(instance: Any, attribute: Any, value: Any) -> None:
    """Refuse what is no number above zero."""
    numbers: tuple[type, ...] = (int, float) if attribute.name == "seconds" else (int,)
    if type(value) not in numbers or not value > 0:
        kind = "a number" if attribute.name == "seconds" else "a whole number"
        raise ConfigurationError(f"{attribute.name}={value!r}: {kind} above 0 is accepted")


@attrs.frozen(kw_only=True)
class Budget:
    """How much one comparison may look at before it gives up; each is above 0.

    `nodes` counts pairs of values, `depth` the containers around a value, `differences` those that
    are listed, `seconds` is time by the clock. What is left out for one of them is told by `cut` of
    the `Differences`; where nothing differed before, `BudgetExceededError` is raised.
    """

    nodes: int = attrs.field(default=1_000_000, validator=_positive)
    depth: int = attrs.field(default=1_000_000, validator=_positive)
    differences: int = attrs.field(default=100, validator=_positive)
    seconds: float = attrs.field(default=10.0, validator=_positive)


@attrs.frozen(kw_only=True)
class Rules:
    """How a comparison departs from the usual one; each rule is added to those before.

    `accepts` are asked about two leaves that differ. `kept` and `ignored` say by path what counts,
    `fields` what compares the values at a path, `unordered` where the order of a sequence doesn't
    count, and what its items are matched by. `projections` make of both values what is compared.
    """

    budget: Budget = Budget()
    loose: bool = False
    exact: bool = False
    any_class: bool = False
    accepts: tuple[_Accept, ...] = ()
    kept: tuple[tuple[Pattern, ...], ...] = ()
    ignored: tuple[Pattern, ...] = ()
    fields: tuple[tuple[Pattern, _Comparator], ...] = ()
    unordered: tuple[tuple[Pattern, Callable[[Any], Any] | None], ...] = ()
    projections: tuple[Callable[[Any, Any], tuple[Any, Any]], ...] = ()
    # What follows is decided once, of the above.
    by_path: bool = attrs.field(init=False)
    local: bool = attrs.field(init=False)
    """Whether two values may be equal at one place and differ at another one."""
    trusts_eq: bool = attrs.field(init=False)
    """Whether what one `==` calls True is equal by these rules, too."""
    widens: bool = attrs.field(init=False)

    @by_path.default
    def _by_path(self) -> bool:
        return bool(self.kept or self.ignored or self.fields)

    @local.default
    def _local(self) -> bool:
        return bool(self.by_path or self.unordered)

    @trusts_eq.default
    def _trusts_eq(self) -> bool:
        return not (self.exact or self.fields)

    @widens.default
    def _widens(self) -> bool:
        return bool(self.accepts or self.local or self.any_class)

    def counts(self, path: str, a: Any, b: Any) -> bool:
        """Whether what differs at this path, or inside these values, may count."""
        if any(pattern.covers(path) for pattern in self.ignored):
            return False
        holds = not (type(a) in _PARTLESS and type(b) in _PARTLESS)
        return all(
            any(pattern.covers(path) or (holds and pattern.reaches(path)) for pattern in patterns)
            for patterns in self.kept
        )

    def comparator(self, path: str) -> _Comparator | None:
        """Give what compares the values at this path, if anything else does; the last one wins."""
        for pattern, comparator in reversed(self.fields):
            if pattern.matches(path):
                return comparator
        return None

    def order(self, path: str) -> tuple[Callable[[Any], Any] | None] | None:
        """Give what the items at this path are matched by, or None where their order counts."""
        for pattern, key in reversed(self.unordered):
            if pattern.matches(path):
                return (key,)
        return None


_PARTLESS: Final = frozenset({type(None), bool, int, float, str, bytes, type(NOTHING)})

USUAL: Final = Rules()


def patterns_of(given: Any, where: str) -> tuple[Pattern, ...]:
    """Compile one path pattern or several; refuse none at all."""
    texts = [given] if isinstance(given, str | Pattern) else given
    known = isinstance(texts, list | tuple) and all(isinstance(t, str | Pattern) for t in texts)
    if not known or not texts:
        raise ConfigurationError(
            f"{where} takes path patterns like $.items[*].price, one or several, not {given!r}"
        )
    return tuple(text if isinstance(text, Pattern) else compiled(text) for text in texts)

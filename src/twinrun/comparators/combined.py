"""Comparators made of others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import attrs

from twinrun.comparators._content import Content, content_of, derived
from twinrun.comparators.equality import equal
from twinrun.comparators.structural import found_by
from twinrun.difference import Difference, Differences
from twinrun.errors import ConfigurationError

__all__ = ["both", "by", "either"]

_Comparator = Callable[[Any, Any], Any]


def both(*comparators: _Comparator) -> _Both:
    """Take two values for equal where all of these do; what differs by any of them differs.

    Comparators and plain callables of two values serve; they are asked in order. Raises
    ConfigurationError for anything else, or fewer than two.
    """
    return _Both("both", _checked("both", comparators))


def either(*comparators: _Comparator) -> _Either:
    """Take two values for equal where one of these does; else the one that finds least tells.

    Comparators and plain callables of two values serve; they are asked in order. Raises
    ConfigurationError for anything else, or fewer than two.
    """
    return _Either("either", _checked("either", comparators))


def by(function: Callable[[Any], Any], *, compare: Content = equal) -> Content:
    """Compare what a function makes of the two values; what it raises escapes.

    The paths of the differences are those inside what it makes.
    """
    if not callable(function):
        raise ConfigurationError(f"by({function!r}): a callable of one value is accepted")
    content = content_of(compare, "by")
    projections = (_Each(function), *content.rules.projections)
    shown = getattr(function, "__qualname__", None) or repr(function)
    return derived(content, "by", [shown], projections=projections)


@attrs.frozen
class _Each:
    """Makes of each of two values what a function makes of it."""

    function: Callable[[Any], Any]

    def __call__(self, control: Any, candidate: Any) -> tuple[Any, Any]:
        """Make it of both, the control's first."""
        return self.function(control), self.function(candidate)


@attrs.frozen(repr=False)
class _Combined:
    """Several comparators under one name."""

    name: str
    comparators: tuple[_Comparator, ...]

    def at(self, root: str) -> Self:
        """Give the same comparator for values that are found at another root."""
        parts = (c.at(root) if hasattr(c, "at") else c for c in self.comparators)
        return attrs.evolve(self, comparators=tuple(parts))

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(map(_shown, self.comparators))})"


class _Both(_Combined):
    """Asks all comparators."""

    def __call__(self, control: Any, candidate: Any) -> bool:
        """Whether all say that the values are equal."""
        return all(bool(compare(control, candidate)) for compare in self.comparators)

    def differences(self, control: Any, candidate: Any) -> Differences:
        """Give what each of them finds, but each place and kind once."""
        found: dict[tuple[str, str], Difference] = {}
        cuts = []
        for compare in self.comparators:
            told = found_by(compare, control, candidate)
            cuts.append(getattr(told, "cut", None))
            for difference in told:
                found.setdefault((difference.path, difference.kind), difference)
        return Differences(found.values(), "; ".join(dict.fromkeys(filter(None, cuts))) or None)


class _Either(_Combined):
    """Asks comparators until one says yes."""

    def __call__(self, control: Any, candidate: Any) -> bool:
        """Whether one says that the values are equal."""
        return any(bool(compare(control, candidate)) for compare in self.comparators)

    def differences(self, control: Any, candidate: Any) -> Differences:
        """Give nothing where one of them finds nothing, else the shortest list, the first such."""
        told = []
        for compare in self.comparators:
            found = found_by(compare, control, candidate)
            if not found:
                return Differences()
            told.append(found)
        least = min(told, key=len)
        return Differences(least, getattr(least, "cut", None))


def _checked(name: str, comparators: tuple[_Comparator, ...]) -> tuple[_Comparator, ...]:
    """Refuse what can't be asked, and what need not be combined."""
    for comparator in comparators:
        if not callable(comparator):
            raise ConfigurationError(
                f"{name}({comparator!r}): comparators or callables of two values are accepted"
            )
    if len(comparators) < 2:
        raise ConfigurationError(f"{name}() combines two comparators or more")
    return comparators


def _shown(comparator: _Comparator) -> str:
    """Name a comparator."""
    if hasattr(comparator, "differences"):
        return repr(comparator)
    return getattr(comparator, "__qualname__", None) or repr(comparator)

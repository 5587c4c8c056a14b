"""Comparators that treat some places of a value otherwise than the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twinrun.comparators._content import Content, content_of, derived
from twinrun.comparators._rules import patterns_of
from twinrun.comparators.equality import equal
from twinrun.errors import ConfigurationError
from twinrun.patterns import Pattern, compiled, step

__all__ = ["by_field", "ignoring", "only", "same_fields"]


def ignoring(*patterns: str | Pattern, compare: Content = equal) -> Content:
    """Compare all but the places of these path patterns, and what lies inside them."""
    found = patterns_of(patterns, "ignoring(…)")
    content = content_of(compare, "ignoring")
    ignored = content.rules.ignored + found
    return derived(content, "ignoring", _shown(found), ignored=ignored)


def only(*patterns: str | Pattern, compare: Content = equal) -> Content:
    """Compare nothing but the places of these path patterns, and what lies inside them.

    Where a container around such a place is missing or of another type, this counts too.
    """
    found = patterns_of(patterns, "only(…)")
    content = content_of(compare, "only")
    return derived(content, "only", _shown(found), kept=(*content.rules.kept, found))


def by_field(
    fields: Mapping[str | Pattern, Callable[[Any, Any], Any]], *, compare: Content = equal
) -> Content:
    """Compare each of these places by a comparator of its own, and the rest by `compare`.

    A key is a path pattern, or the name of a field of the whole value. A plain callable of two
    values serves, too. Where several patterns are of one place, the last one holds; both sides must
    have the place. Raises ConfigurationError for anything else.
    """
    if not isinstance(fields, Mapping) or not fields:
        raise ConfigurationError(
            f"by_field({fields!r}): a dict of path patterns or names of fields is accepted, each "
            'with a comparator, as {"price": approx(abs=0.01)}'
        )
    for name, comparator in fields.items():
        if not isinstance(name, str | Pattern) or not callable(comparator):
            raise ConfigurationError(
                f"by_field({{{name!r}: {comparator!r}}}): the key is a path pattern or the name of "
                "a field, the value a comparator or another callable of two values"
            )
    content = content_of(compare, "by_field")
    added = tuple((_place(name), comparator) for name, comparator in fields.items())
    return derived(content, "by_field", [repr(dict(fields))], fields=content.rules.fields + added)


def same_fields(*, compare: Content = equal) -> Content:
    """Compare objects of different classes by their public fields, anywhere inside two values.

    Fields are those of attrs, dataclasses and named tuples, slots, and what stands in an object's
    own dict: so pydantic's, and of rows of SQLAlchemy and Django what has been loaded. Names that
    begin with an underscore don't count, no property is asked for, nothing is loaded. A dict whose
    keys are all text is an object with these fields. Where `==` says that two objects are equal,
    their fields are not looked at; they are where it says no, whatever the class.
    """
    return derived(content_of(compare, "same_fields"), "same_fields", [], any_class=True)


def _place(name: str | Pattern) -> Pattern:
    """Make a pattern of one, or of the name of a field."""
    if isinstance(name, Pattern):
        return name
    return compiled(name if name.startswith("$") else f"${step(name)}")


def _shown(patterns: tuple[Pattern, ...]) -> list[str]:
    """Write patterns as arguments."""
    return [repr(pattern.text) for pattern in patterns]

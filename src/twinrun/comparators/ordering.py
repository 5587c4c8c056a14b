"""Comparators for sequences whose order says nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twinrun.comparators._content import Content, content_of, derived
from twinrun.comparators._rules import patterns_of
from twinrun.comparators.equality import equal
from twinrun.errors import ConfigurationError

__all__ = ["unordered"]

_Key = Callable[[Any], Any]


def unordered(
    key: str | _Key | None = None,
    *,
    at: str | Sequence[str] = "$",
    compare: Content = equal,
) -> Content:
    """Compare sequences as multisets: their order doesn't count, how often an item occurs does.

    `at` says by path patterns which ones: the value itself, unless given; `$..*` are all inside it.
    Without a `key`, items are paired that are equal by `compare`, and what is left was removed or
    added. With one, items of the same key are compared with each other, so that a changed item
    reads as changed: `key` is a callable of an item, or the name of its key or attribute.

    Raises ConfigurationError for a wrong key or pattern. What the key raises for an item escapes
    from the comparison. Items that can't be hashed are compared each with each.
    """
    if key is not None and not (callable(key) or (isinstance(key, str) and key)):
        raise ConfigurationError(
            f"unordered(key={key!r}): a callable of an item, or the name of its key or attribute, "
            "is accepted"
        )
    content = content_of(compare, "unordered")
    made = key if key is None or callable(key) else _Named(key)
    added = tuple((pattern, made) for pattern in patterns_of(at, "unordered(at=…)"))
    shown = [repr(key)] if key is not None else []
    shown += [f"at={at!r}"] if at != "$" else []
    return derived(content, "unordered", shown, unordered=content.rules.unordered + added)


class _Named:
    """Gives an item's part of a name: by key where it is a mapping, by attribute else."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, item: Any) -> Any:
        """Give it; an item without one raises KeyError or AttributeError."""
        return item[self.name] if hasattr(type(item), "keys") else getattr(item, self.name)

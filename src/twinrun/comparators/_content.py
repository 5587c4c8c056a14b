"""What all comparators by content are made of."""

from __future__ import annotations

from typing import Any

import attrs

from twinrun.comparators._glances import seem_equal
from twinrun.comparators._rules import USUAL, Rules
from twinrun.comparators._verdicts import plainly_equal, same_classes
from twinrun.comparators.structural import differences
from twinrun.difference import Differences
from twinrun.errors import ConfigurationError

__all__ = ["Content", "content_of", "derived"]


@attrs.frozen(repr=False, eq=False)
class Content:
    """A comparator by content: equality that survives NaN, arrays, cycles and any depth.

    Made by the functions of this package, which say in `text` what it is. The paths of differences
    begin with `root`, and its patterns are of places there.
    """

    text: str
    rules: Rules = USUAL
    root: str = "$"

    def __call__(self, control: Any, candidate: Any) -> bool:
        """Whether the two values are equal; raises what `structural.differences` raises."""
        if control is candidate or self._trusted(control, candidate):
            return True
        sides = self._projected(control, candidate)
        return not differences(*sides, limit=1, rules=self.rules, root=self.root)

    def differences(self, control: Any, candidate: Any) -> Differences:
        """Say what differs: nothing exactly where the two values are equal."""
        if self._trusted(control, candidate):
            return Differences()
        sides = self._projected(control, candidate)
        return differences(*sides, rules=self.rules, root=self.root)

    def at(self, root: str) -> Content:
        """Give the same comparator for values that are found at another root."""
        return attrs.evolve(self, root=root)

    def _trusted(self, control: Any, candidate: Any) -> bool:
        """Whether one `==` says all there is to say."""
        rules = self.rules
        if rules.trusts_eq:
            return seem_equal(control, candidate, rules.loose)
        if rules.fields:
            return False
        return plainly_equal(control, candidate, False) and same_classes(control, candidate)

    def _projected(self, control: Any, candidate: Any) -> tuple[Any, Any]:
        """Make of both values what is compared."""
        for project in self.rules.projections:
            control, candidate = project(control, candidate)
        return control, candidate

    def __repr__(self) -> str:
        return self.text


def content_of(compare: Any, name: str) -> Content:
    """Give a comparator by content, or refuse another one that can't be varied."""
    if not isinstance(compare, Content):
        raise ConfigurationError(
            f"{name}(compare={compare!r}): a comparator by content is accepted: equal, exact, "
            "loose, or what approx, unordered, ignoring and the others made of one"
        )
    return compare


def derived(content: Content, name: str, arguments: list[str], **changes: Any) -> Content:
    """Make a variant of a comparator whose repr is the call that made it."""
    shown = arguments if content.rules is USUAL else [*arguments, f"compare={content!r}"]
    return Content(f"{name}({', '.join(shown)})", attrs.evolve(content.rules, **changes))

"""One place at which two values differ."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Any, Self

import attrs

from twinrun._pickling import pack
from twinrun.observation import NOTHING

__all__ = ["Difference", "DifferenceKind", "Differences"]


class DifferenceKind(enum.StrEnum):
    """In which way two values differ at a path."""

    CHANGED = "changed"
    ADDED = "added"
    REMOVED = "removed"
    TYPE = "type"
    RAISED = "raised"


@attrs.frozen(repr=False)
class Difference:
    """One place at which the candidate's value differs from the control's.

    `path` leads there from the whole value, `$`: `$.items[3].price`. Where one side has nothing
    (`added`, `removed`), it holds `NOTHING`. Both sides are the raw values: they are cleaned only
    when they are stored or shown.
    """

    path: str
    kind: DifferenceKind
    control: Any = NOTHING
    candidate: Any = NOTHING

    def __repr__(self) -> str:
        """Name the place without showing the raw values, which may be secret or huge."""
        return f"<Difference {self.kind} at {self.path}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return Difference, (self.path, self.kind, pack(self.control), pack(self.candidate))


class Differences(tuple[Difference, ...]):
    """What was found to differ, in order, and in `cut` what kept more from being found.

    `cut` is None where the list is complete, and else a short text: "more than 100 differences".
    """

    cut: str | None

    def __new__(cls, found: Iterable[Difference] = (), cut: str | None = None) -> Self:
        """Make it of any number of differences."""
        made = super().__new__(cls, found)
        made.cut = cut
        return made

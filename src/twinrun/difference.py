"""One place at which two values differ."""

from __future__ import annotations

import enum
from typing import Any

import attrs

from twinrun._pickling import pack
from twinrun.observation import NOTHING

__all__ = ["Difference", "DifferenceKind"]


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

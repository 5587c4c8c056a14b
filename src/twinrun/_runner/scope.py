"""Where the current code stands: inside a candidate, or inside our own hooks."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Final

__all__ = [
    "CANDIDATE",
    "HOOK",
    "Controlling",
    "controlling",
    "in_candidate",
    "is_controlling",
    "scope",
]

CANDIDATE: Final = "candidate"
"""The scope inside a candidate: every experiment met there runs its control only."""

HOOK: Final = "hook"
"""The scope inside a callback: an experiment met there would ask or publish without end."""

scope: ContextVar[str | None] = ContextVar("twinrun_scope", default=None)
"""`CANDIDATE` or `HOOK`, or None.

Tasks that a candidate starts carry it on: they are the candidate's. That a control is running is
kept in its account, by thread; that one is awaited, by `Controlling`.
"""


class Controlling:
    """Marks the context of a control while that is awaited; the tasks it starts inherit the mark.

    What they go on to do when the control is over is no recursion of it.
    """

    __slots__ = ("outer", "owner")

    def __init__(self, owner: Any) -> None:
        self.owner: Any = owner
        outer = controlling.get()
        while outer is not None and outer.owner is None:  # a control that is over
            outer = outer.outer
        self.outer: Controlling | None = outer
        """The mark of the innermost control around it that is still awaited."""

    def __enter__(self) -> None:
        controlling.set(self)

    def __exit__(self, *_: object) -> None:
        self.owner = None
        controlling.set(self.outer)

    def is_of(self, owner: Any) -> bool:
        """Say whether this or a control around it belongs to the owner."""
        mark: Controlling | None = self
        while mark is not None and mark.owner is not owner:
            mark = mark.outer
        return mark is not None


controlling: ContextVar[Controlling | None] = ContextVar("twinrun_controlling", default=None)


def is_controlling(owner: Any) -> bool:
    """Say whether the calling code runs inside a control of this owner that is awaited."""
    mark = controlling.get()
    return mark is not None and mark.is_of(owner)


def in_candidate() -> bool:
    """Say whether the calling code runs inside a candidate.

    For code that must not act twice: the mail that the control sends, its candidate must not.
    """
    return scope.get() is CANDIDATE

"""Where the current code stands: inside a control, inside a candidate, or inside our own hooks."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Final

__all__ = ["CANDIDATE", "HOOK", "in_candidate", "reentered", "scope"]

CANDIDATE: Final = ["candidate"]
"""The scope inside a candidate: every experiment met there runs its control only."""

HOOK: Final = ["hook"]
"""The scope inside a callback: an experiment met there would ask or publish without end."""

scope: ContextVar[list[Any] | None] = ContextVar("twinrun_scope", default=None)
"""None, `CANDIDATE`, `HOOK`, or for a control `[recipe, outer scope]`.

A control's list is emptied when its run is over: tasks and threads that it started carry a copy of
the context on, and are not inside it any longer.
"""


def in_candidate() -> bool:
    """Say whether the calling code runs inside a candidate.

    For code that must not act twice: the mail that the control sends, its candidate must not.
    """
    return scope.get() is CANDIDATE


def reentered(recipe: object, inside: list[Any] | None) -> bool:
    """Say whether a run of this recipe that begins inside this scope must run its control only."""
    while inside:
        if inside is CANDIDATE or inside is HOOK or inside[0] is recipe:
            return True
        inside = inside[1]
    return False

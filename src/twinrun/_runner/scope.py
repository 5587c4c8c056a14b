"""Where the current code stands: inside a candidate, or inside our own hooks."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

__all__ = ["CANDIDATE", "HOOK", "in_candidate", "scope"]

CANDIDATE: Final = "candidate"
"""The scope inside a candidate: every experiment met there runs its control only."""

HOOK: Final = "hook"
"""The scope inside a callback: an experiment met there would ask or publish without end."""

scope: ContextVar[str | None] = ContextVar("twinrun_scope", default=None)
"""`CANDIDATE` or `HOOK`, or None.

Tasks that a candidate starts carry it on: they are the candidate's. That a control is running is
kept in its account, by thread.
"""


def in_candidate() -> bool:
    """Say whether the calling code runs inside a candidate.

    For code that must not act twice: the mail that the control sends, its candidate must not.
    """
    return scope.get() is CANDIDATE

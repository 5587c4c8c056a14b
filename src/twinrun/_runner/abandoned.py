"""Keeps coroutines that nothing ends, until the interpreter itself is at its end."""

from __future__ import annotations

import inspect
import os
from collections import deque
from functools import cache
from typing import Any

__all__ = ["put_away"]

_put_away: deque[Any] = deque(maxlen=1000)
"""Coroutines that are kept as they are: Python would close them, which they may not let happen."""


def put_away(coroutine: Any) -> None:
    """Keep a coroutine that nothing ends, or that can't be ended since its event loop is closed.

    Where Python deletes one that does not let itself be closed, it complains; and without a loop
    one may spin for ever.
    """
    is_coroutine = inspect.iscoroutine(coroutine)
    if is_coroutine and inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED:
        coroutine.close()
        return
    _put_away.append(coroutine)
    _keep_until_the_end()


@cache
def _keep_until_the_end() -> None:
    """Have the interpreter itself hold the coroutines: it lets go of its fork hooks last."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_put_away.__len__)

"""Starts threads that no exit waits for."""

from __future__ import annotations

import _thread
from collections.abc import Callable
from typing import Any

__all__ = ["start_thread"]

_are_allowed: Callable[[], bool] = getattr(_thread, "daemon_threads_allowed", lambda: True)


def start_thread(work: Callable[..., object], *arguments: Any) -> int:
    """Start a thread; RuntimeError where there is none to be had.

    Not a threading.Thread, whose start waits for a lock that a caller may hold. Some
    subinterpreters allow no such threads, from Python 3.12 on: if one is there when they end, they
    end the process.
    """
    if not _are_allowed():
        raise RuntimeError("this interpreter allows no threads that it does not wait for")
    return _thread.start_new_thread(work, arguments)

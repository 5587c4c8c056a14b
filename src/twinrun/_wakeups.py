"""Wakes a waiting thread, from anywhere."""

from __future__ import annotations

import _thread
import contextlib

__all__ = ["Wakeup"]


class Wakeup:
    """Wakes one waiting thread; may be set anywhere, also by what interrupts a `set`.

    An Event holds a lock while it is set, on which a signal handler that sets it too would wait
    for ever; giving back a lock never waits.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = _thread.allocate_lock()
        self._lock.acquire()

    def set(self) -> None:
        """Wake the thread that waits, or the next one that will."""
        if self._lock.locked():
            with contextlib.suppress(RuntimeError):  # another thread was quicker
                self._lock.release()

    def wait(self, seconds: float) -> bool:
        """Wait at most so many seconds for a `set`, and take it back."""
        return self._lock.acquire(timeout=min(max(0.0, seconds), _thread.TIMEOUT_MAX))

"""Where a spool lives: its directory, and the lock that says that its owner lives."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from twinrun.spool import _folder as folder
from twinrun.spool._locks import Lock
from twinrun.spool._owners import Owner

__all__ = ["Home"]

_ATTEMPTS: Final = 5


class Home:
    """A spool's directory, made and moved into when something is to be written there."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._lock: dict[str, Lock] = {}  # at most one; `setdefault` lets nobody in between

    @property
    def owner(self) -> Owner | None:
        """Who lives here, None before anything was written."""
        lock = self._lock.get("lock")
        return lock.owner if lock else None

    @contextmanager
    def entered(self) -> Iterator[tuple[int, Owner]]:
        """Open the directory and see to it that the lock is held; raises OSError."""
        with folder.opened(self.path, make=True) as directory:
            yield directory, self.move_in(directory)

    def move_in(self, directory: int) -> Owner:
        """Hold the lock in the open directory; raises OSError."""
        lock = self._lock.get("lock")
        if lock is None:
            fresh = _fresh_lock(directory)
            lock = self._lock.setdefault("lock", fresh)
            if lock is not fresh:  # another thread was quicker
                fresh.release(directory)
        elif not lock.is_there():  # somebody tidied up
            with suppress(BlockingIOError):  # another thread of ours was quicker
                self._lock["lock"] = Lock.hold(lock.owner, directory)
                lock.close()
        return lock.owner

    def move_out(self) -> None:
        """Let go of the lock."""
        with suppress(KeyError):
            lock = self._lock.pop("lock")
            try:
                with folder.opened(self.path) as directory:
                    lock.release(directory)
            except OSError:
                lock.close()

    def forget(self) -> None:
        """Be the child of a fork: close this process's copy of the parent's lock."""
        lock = self._lock.pop("lock", None)
        if lock is not None:
            lock.close()

    def free_bytes(self) -> float:
        """How much may still be written to the file system, infinite if it can't be told."""
        try:
            found = os.statvfs(self.path)
        except OSError:
            return math.inf
        return found.f_bavail * found.f_frsize


def _fresh_lock(directory: int) -> Lock:
    for _ in range(_ATTEMPTS):
        with suppress(BlockingIOError):
            return Lock.hold(Owner.here(), directory)
    raise BlockingIOError("somebody takes each new lock away")

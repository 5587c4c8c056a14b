"""Keeps what comes again and again from being said every time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Final

import attrs

from twinrun._forks import after_fork_in_child

__all__ = ["Leave", "Restraint"]

_MANY_KINDS: Final = 1_000


@attrs.frozen
class Leave:
    """That something may be said: `left_out` of its kind were not since the last one that was.

    `is_last` is whether the next one, coming right now, would be left out.
    """

    left_out: int
    is_last: bool


class _Kind:
    """What is known of one kind: when it will have been quiet for long enough, as if never said."""

    __slots__ = ("left_out", "rested_at")

    def __init__(self) -> None:
        self.rested_at = float("-inf")
        self.left_out = 0


class Restraint:
    """Lets the first `burst` of each kind be said, then one in `seconds`, and counts the others.

    A kind that is quiet earns one more of its burst in so many seconds. Memory is bounded: of more
    than 1,000 kinds that are not at rest, the further ones count as one kind.

    Source: the generic cell rate algorithm, ITU-T I.371, annex A.
    """

    def __init__(
        self, burst: int, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._patience = (burst - 1) * seconds
        self._seconds = seconds
        self._clock = clock
        self._kinds: dict[Hashable, _Kind] = {}
        self._others = _Kind()
        self._look_again_at = float("-inf")
        self.after_fork()
        after_fork_in_child(self)

    def after_fork(self) -> None:
        """Take a lock that no thread of the parent's holds."""
        self._lock = threading.RLock()  # a signal handler may ask, too

    def ask(self, kind: Hashable) -> Leave | None:
        """Ask for leave to say one more of a kind; None where it is left out."""
        with self._lock:
            now = self._clock()
            known = self._known(kind, now)
            if known.rested_at - now > self._patience:
                known.left_out += 1
                return None
            left_out, known.left_out = known.left_out, 0
            known.rested_at = max(known.rested_at, now) + self._seconds
            return Leave(left_out, is_last=known.rested_at - now > self._patience)

    def _known(self, kind: Hashable, now: float) -> _Kind:
        """Find a kind; make room for a new one by forgetting those at rest."""
        known = self._kinds.get(kind)
        if known is not None:
            return known
        if len(self._kinds) >= _MANY_KINDS and now >= self._look_again_at:
            self._kinds = {k: v for k, v in self._kinds.items() if v.rested_at > now}
            self._look_again_at = min((v.rested_at for v in self._kinds.values()), default=now)
        if len(self._kinds) >= _MANY_KINDS:
            return self._others
        return self._kinds.setdefault(kind, _Kind())

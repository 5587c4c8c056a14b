"""Collects what processes publish to Redis, through every failure of Redis and of the store."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from typing import Final

from redis.exceptions import AuthenticationError, RedisError

from twinrun._wakeups import Wakeup
from twinrun.consumer import Consumer, Totals
from twinrun.errors import ConfigurationError
from twinrun.storing import STORE_ERRORS, RefusedError
from twinrun.tracebacks import message

__all__ = ["Stop", "collect_all", "reason"]

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.1, 30.0  # seconds between two attempts
_LOOK: Final = 10.0  # seconds between two looks at how far the group is
_NEWS: Final = 60.0  # seconds between two lines that say how much was done


class Stop:
    """Asks a collector to end after the batch that it is at; a signal's handler may do so."""

    def __init__(self) -> None:
        self.asked = False
        self._wakeup = Wakeup()

    def ask(self) -> None:
        """Ask for the end."""
        self.asked = True
        self._wakeup.set()

    def wait(self, seconds: float) -> None:
        """Wait so many seconds, or until it is asked for."""
        self._wakeup.wait(seconds)


def collect_all(
    consumer: Consumer, stop: Stop, tell: Callable[[str], object], *, once: bool = False
) -> None:
    """Collect until it is asked to stop, through every failure; `once` ends when all is collected.

    What it can't go on without is tried again, ever later; that is told once, and when it works
    anew. So is what was lost, and once a minute what was done.

    Raises:
        ConfigurationError: the store is none, or of a newer twinrun.
        AuthenticationError: Redis refuses the very first time.
        RedisError, RefusedError, STORE_ERRORS: of all these, with `once`, the first.
    """
    teller = _Teller(tell)
    pause, has_worked = 0.0, False
    while not stop.asked:
        try:
            count = consumer.round(wait=not once)
            teller.works()
            if teller.is_due():
                teller.tell_of(consumer.look())
            if once and not count and not consumer.claim():
                break
        except (RedisError, RefusedError, *STORE_ERRORS) as error:
            if once or isinstance(error, ConfigurationError):
                raise
            if isinstance(error, AuthenticationError) and not has_worked:
                raise
            teller.failed(error)
            pause = min(max(2 * pause, _SHORTEST_PAUSE), _LONGEST_PAUSE)
            stop.wait(pause * random.uniform(0.5, 1.0))
        else:
            pause, has_worked = 0.0, True


def reason(error: BaseException) -> str:
    """Say what Redis or the store has to say, without the statement and its parameters."""
    return message(getattr(error, "orig", None) or error).partition("\n")[0].strip().rstrip(".")


class _Teller:
    """Says what an operator should know, and nothing twice."""

    def __init__(self, tell: Callable[[str], object]) -> None:
        self._tell = tell
        self._told = Totals()
        self._failing: str | None = None
        self._next_look, self._next_news = -math.inf, time.monotonic() + _NEWS

    def is_due(self) -> bool:
        """Whether it is time to look how far the group is."""
        return time.monotonic() >= self._next_look

    def failed(self, error: BaseException) -> None:
        """Tell of the first failure after a success."""
        what = "Redis" if isinstance(error, RedisError) else "The store"
        if what != self._failing:
            self._failing = what
            self._tell(f"{what} fails, and is tried again: {reason(error)}.")

    def works(self) -> None:
        """Tell that it works again, if it has failed."""
        if self._failing is not None:
            self._tell(f"{self._failing} works again.")
            self._failing = None

    def tell_of(self, totals: Totals) -> None:
        """Tell of what was lost or set aside, at once, and of the rest now and then."""
        now = time.monotonic()
        self._next_look = now + _LOOK
        told, self._told = self._told, totals
        for text, more in (
            ("can't be stored: set aside", totals.set_aside - told.set_aside),
            ("with mismatches lost: Redis cut them away unread", totals.lost - told.lost),
            (
                "with gains of tallies lost, counts are too low: Redis cut them away unread",
                totals.lost_tallies - told.lost_tallies,
            ),
        ):
            if more > 0:
                self._tell(f"{more:,} messages {text}.")
        if now >= self._next_news:
            self._next_news = now + _NEWS
            self._tell(f"{totals.stored:,} messages stored, {totals.waiting:,} waiting.")

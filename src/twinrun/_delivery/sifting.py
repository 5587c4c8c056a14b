"""Hands records on to a sink, and finds out which is ill where that fails: the sink or a record."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Generic, Protocol, TypeVar

__all__ = ["TRIES", "Sifter", "Source"]

TRIES: Final = 3
"""So often a record fails, while others go through, before it is set aside."""

_ENOUGH: Final = 3  # records that fail one by one and in a row: it is the sink
_WINDOW: Final = 1000  # of so many the next are chosen where the oldest have failed like that

K = TypeVar("K")


class Source(Protocol[K]):
    """Where records wait, oldest first."""

    def read(self, limit: int) -> Sequence[tuple[K, bytes]]:
        """Give the oldest records, at most so many, each with its key."""

    def done(self, keys: Sequence[K]) -> object:
        """Forget records that are delivered."""


class Sifter(Generic[K]):
    """Delivers from one source, in batches as long as that works, else record by record.

    A record that failed alone is suspected once another one has gone through after it, and is
    tried again by itself in each later round; after three times it is set aside. Where nothing goes
    through the sink is down, and nobody is suspected.
    """

    def __init__(
        self,
        source: Source[K],
        deliver: Callable[[list[bytes]], object],
        batch: int,
        set_aside: Callable[[K, bytes], object],
    ) -> None:
        self._source = source
        self._deliver = deliver
        self._batch = batch
        self._set_aside = set_aside
        self._suspects: dict[K, tuple[int, bytes]] = {}  # how often, and the record
        self._doubted: dict[K, bytes] = {}  # failed in this round, and nothing went through since
        self._in_a_row = 0
        self._random = random.Random()

    def hand_on(self, limit: int, deadline: float, contained: type[BaseException]) -> bool:
        """Deliver so many records, or until the deadline; False if some were left behind.

        Raises what the sink raised if nothing went through since; what is not `contained` at once.
        """
        # Where the sink seemed down, the oldest records may all be poison: others are tried then.
        anywhere = self._in_a_row >= _ENOUGH
        self._doubted, self._in_a_row = {}, 0
        error = self._retry_suspects(deadline, contained)
        left = limit - len(self._suspects)
        while left > 0:
            if time.monotonic() > deadline:
                return False
            items = self._fresh(min(left, self._batch), anywhere)
            if not items:
                break
            left -= len(items)
            error = self._hand_over(items, contained) or error
            if len(items) > 1:
                error = self._sift(items, deadline, contained) or error
        if error is not None and self._doubted:
            raise error
        return not self._suspects

    def _fresh(self, limit: int, anywhere: bool) -> list[tuple[K, bytes]]:
        """Give records of which none is suspected: the oldest, or any."""
        aside = self._suspects.keys() | self._doubted.keys()
        read = self._source.read((_WINDOW if anywhere else limit) + len(aside))
        items = [item for item in read if item[0] not in aside]
        return self._random.sample(items, min(limit, len(items))) if anywhere else items[:limit]

    def _retry_suspects(
        self, deadline: float, contained: type[BaseException]
    ) -> BaseException | None:
        """Try each suspect alone; those that are gone meanwhile are forgotten."""
        if not self._suspects:
            return None
        there = dict(self._source.read(len(self._suspects)))
        error = None
        for key in list(self._suspects):
            if key not in there:
                del self._suspects[key]
            elif time.monotonic() <= deadline:
                error = self._hand_over([(key, there[key])], contained) or error
                self._in_a_row = 0  # it was to be expected, and says nothing of the sink
        return error

    def _hand_over(
        self, items: list[tuple[K, bytes]], contained: type[BaseException]
    ) -> BaseException | None:
        """Deliver records at once; those that got through leave `items`."""
        left = [record for _, record in items]
        error: BaseException | None = None
        try:
            self._deliver(left)
            left = []
        except contained as caught:
            error = caught
        through = items[: max(0, len(items) - len(left))]
        del items[: len(through)]
        if through:
            self._source.done([key for key, _ in through])
            self._note_through(key for key, _ in through)
        if error is not None and len(items) == 1:
            self._doubted[items[0][0]] = items[0][1]
            self._in_a_row += 1
            if self._in_a_row >= _ENOUGH:
                raise error
        return error

    def _sift(
        self, items: list[tuple[K, bytes]], deadline: float, contained: type[BaseException]
    ) -> BaseException | None:
        """Deliver one by one what failed together, in any order: several may be ill.

        As long as that works, ever more of them go together: the sink may be well by now.
        """
        error, size = None, 1
        left = self._random.sample(items, len(items))
        alone: list[tuple[K, bytes]] = []  # of what failed together once more
        while (alone or left) and time.monotonic() <= deadline:
            if alone:
                together = [alone.pop()]
            else:
                together, left = left[:size], left[size:]
            is_one = len(together) == 1
            failure = self._hand_over(together, contained)
            size = 1 if failure or alone else 2 * size
            if not is_one:
                alone = together  # those that did not get through
            error = failure or error
        return error

    def _note_through(self, keys: Iterable[K]) -> None:
        """Know that the sink works: what failed before is to blame itself."""
        self._in_a_row = 0
        for key in keys:
            self._suspects.pop(key, None)
            self._doubted.pop(key, None)
        doubted, self._doubted = self._doubted, {}
        for key, record in doubted.items():
            tries = 1 + self._suspects.get(key, (0, record))[0]
            self._suspects[key] = tries, record
            if tries >= TRIES:
                self._set_aside(key, record)
                del self._suspects[key]

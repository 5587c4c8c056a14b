"""A spool as a delivery uses it: what it does besides taking and giving records."""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from twinrun._delivery.waiting import Total, Waiting

if TYPE_CHECKING:
    from twinrun.spool import Position, Spool

__all__ = ["Spooled", "shared_out"]

_ADOPTION: Final = 30.0  # seconds between two looks for what dead processes have left


class Spooled:
    """Records on disk, before those that wait in memory where the disk refuses them."""

    def __init__(
        self,
        spool: Spool,
        waiting: Waiting,
        lose: Callable[[str, Mapping[str, int]], object],
        tell: Callable[..., object],
    ) -> None:
        """Take whom to tell of losses by reason and experiment, and of what goes wrong."""
        self._spool = spool
        self._waiting = waiting
        self._lose = lose
        self._tell = tell
        self._put: dict[str, Total] = {}  # how many records of each experiment
        self._written, self._looked_at = Total(), 0
        self._moved = Total()  # accepted in memory first
        self._booked = Counter[str]()
        self._token = [True]
        self._next_adoption = 0.0
        self._in_trouble = False

    def __len__(self) -> int:
        return self._spool.counts.pending

    def append(self, record: bytes, experiment: str) -> bool:
        """Write a record; False if the disk refuses it."""
        if not self._spool.append([record]):
            return False
        total = self._put.get(experiment) or self._put.setdefault(experiment, Total())
        total.plus(1)
        self._written.plus(1)
        return True

    def is_much(self, batch: int) -> bool:
        """Whether so many records were written since the last look at them."""
        return self._written.read() - self._looked_at >= batch

    def read(self, limit: int) -> list[tuple[Position, bytes]]:
        """Give the oldest records."""
        return self._spool.read(limit)

    def done(self, positions: Sequence[Position]) -> None:
        """Forget records that are delivered."""
        self._spool.done(positions)

    def put_aside(self, position: Position, record: bytes) -> None:
        """Keep a record that the sink never takes where it disturbs nobody."""
        if self._spool.set_aside(position):
            experiment: Any = None
            with contextlib.suppress(Exception):  # it may be anything, that may be why it is here
                experiment = json.loads(record)["experiment"]
            self._lose("poison", {experiment if type(experiment) is str else "": 1})

    def tend(self) -> None:
        """See to what dead processes left, what waits in memory, and what was lost."""
        self._looked_at = self._written.read()
        now = time.monotonic()
        if now >= self._next_adoption:
            self._next_adoption = now + _ADOPTION
            self._spool.adopt()
        self.take_in()
        self.book_losses()
        trouble = self._spool.trouble
        if trouble is not None and not self._in_trouble:
            self._tell("spool.failed", trouble)
        elif trouble is None and self._in_trouble:
            self._tell("spool.recovered")
        self._in_trouble = trouble is not None

    def take_in(self) -> None:
        """Write what waits in memory to the disk, as far as that takes it."""
        for entry, record in self._waiting.read(len(self._waiting)):
            if len(record) > self._spool.largest:
                continue
            if not self.append(record, entry[3]):
                break
            if self._waiting.remove(entry):
                self._moved.plus(1)

    def close(self) -> None:
        """Leave what is not delivered to whoever adopts it."""
        self._spool.close()

    def counts(self) -> dict[str, int]:
        """Give what became of the records, as a delivery calls it."""
        counts = self._spool.counts
        return {
            "accepted": counts.appended - self._moved.read(),
            "adopted": counts.adopted,
            "delivered": counts.delivered,
            "spooled": counts.pending,
        }

    def book_losses(self) -> None:
        """Tell of losses: whose records they were is not known, but how many each put here."""
        with contextlib.suppress(IndexError):
            token = self._token.pop()  # only one thread at a time may do this
            try:
                counts = self._spool.counts
                for reason in ("evicted", "corrupt"):
                    new = getattr(counts, reason) - self._booked[reason]
                    self._booked[reason] += new
                    shares = {name: total.read() for name, total in self._put.items()}
                    self._lose(reason, shared_out(new, shares or {"": 1}))
            finally:
                self._token.append(token)


def shared_out(number: int, weights: Mapping[str, int]) -> dict[str, int]:
    """Share a number out by weight, in whole parts; their sum is that number."""
    shares: dict[str, int] = {}
    left = sum(weights.values())
    for name, weight in weights.items():
        shares[name] = number * weight // left if left else 0
        number -= shares[name]
        left -= weight
    return {name: share for name, share in shares.items() if share}

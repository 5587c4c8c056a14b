"""What a delivery loses, by reason, told to the ledgers of the experiments that it was of."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from twinrun._delivery.waiting import Total, totals_of
from twinrun.typing import Ledger

__all__ = ["Losses"]


class Losses:
    """Counts what was not accepted, and what was accepted and given up; from any thread."""

    def __init__(self) -> None:
        self.ledgers: dict[str, Ledger] = {}
        self._dropped: dict[str, Total] = {}
        self._evicted: dict[str, Total] = {}
        self._told = 0

    @property
    def dropped(self) -> dict[str, int]:
        """How many records were not accepted, by reason."""
        return totals_of(self._dropped)

    @property
    def evicted(self) -> dict[str, int]:
        """How many records were accepted and given up, by reason."""
        return totals_of(self._evicted)

    def drop(self, reason: str, experiment: str) -> None:
        """Count a record that is not accepted."""
        self._count(self._dropped, reason, {experiment: 1})

    def evict(self, reason: str, losses: Mapping[str, int]) -> None:
        """Count, by experiment, what was accepted and is given up."""
        self._count(self._evicted, reason, losses)

    def _count(self, totals: dict[str, Total], reason: str, losses: Mapping[str, int]) -> None:
        for experiment, number in losses.items():
            total = totals.get(reason) or totals.setdefault(reason, Total())
            total.plus(number)
            ledger = self.ledgers.get(experiment)
            if ledger is not None:
                with contextlib.suppress(Exception):
                    ledger.drop(reason, number)

    def is_news(self) -> bool:
        """Whether anything accepted was given up since this was last asked."""
        lost = sum(self.evicted.values())
        news, self._told = lost > self._told, lost
        return news

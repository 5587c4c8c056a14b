"""What became of everything that was handed to a delivery."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

__all__ = ["Counts"]


@attrs.frozen
class Counts:
    """What became of the records handed to a delivery in this process.

    - `dropped`, by reason, were not accepted: `full` and `bytes` (the queue's bounds),
      `disk_full` (neither the spool nor the queue had room), `closed`, `exit`.
    - `evicted`, by reason, were accepted and given up: `closed` and `exit` (not delivered in time),
      `poison` (the sink takes all others; a spool keeps them apart), `evicted` (the oldest, by a
      spool at its bound), `corrupt` (damaged on the disk).
    - `spooled` lie on disk, `pending` in memory; `adopted` were left on disk by processes that
      are dead, and taken over.

    Once nothing is under way: accepted + adopted = delivered + spooled + pending + all evicted.
    """

    accepted: int = 0
    adopted: int = 0
    delivered: int = 0
    spooled: int = 0
    pending: int = 0
    dropped: Mapping[str, int] = attrs.field(factory=dict)
    evicted: Mapping[str, int] = attrs.field(factory=dict)

    @property
    def handed_over(self) -> int:
        """How many records there were: accepted and dropped."""
        return self.accepted + sum(self.dropped.values())

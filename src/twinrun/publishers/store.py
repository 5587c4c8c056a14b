"""Keeps what experiments find out in a store, for reports to read (needs `twinrun[store]`)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from twinrun.delivery import INTERVAL, Counts, Delivery
from twinrun.errors import needing
from twinrun.result import Result
from twinrun.store import incoming
from twinrun.store.writer import Writer, is_kept, writer_to
from twinrun.typing import Ledger

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from twinrun.store import Store

__all__ = ["StorePublisher"]


class StorePublisher:
    """Writes mismatches and the tallies of every run to a store, on a thread of its own.

    `url_or_engine` is what `twinrun.store.Store` takes: a path, a URL or an Engine. `release` is
    kept beside tallies and exemplars (default: the environment's `TWINRUN_RELEASE`). Tallies are
    written every `interval` seconds, mismatches then or as soon as a batch is full. While the store
    can't be opened or written, what is queued waits; what finds no room is dropped and counted.
    With other bounds, or a spool on disk: `Buffered(StorePublisher(…), …)`. An SQLite file grows to
    `max_bytes` (default: 1 GiB), then the oldest examples of mismatches go.

    Raises:
        ConfigurationError: SQLAlchemy is missing, or the URL is none that a store can have.
    """

    evidence_only = True
    any_thread = True

    def __init__(
        self,
        url_or_engine: str | os.PathLike[str] | Engine,
        *,
        release: str | None = None,
        interval: float = INTERVAL,
        max_bytes: int | None = None,
    ) -> None:
        self._store = _store(url_or_engine, {} if max_bytes is None else {"max_bytes": max_bytes})
        self._writer = _writer(url_or_engine, release)
        self._delivery = Delivery(self, name=str(self), interval=interval)

    def __str__(self) -> str:
        return f"store {self._store}"

    @property
    def counts(self) -> Counts:
        """What became of the results that were worth keeping, in this process."""
        return self._delivery.counts

    def publish(self, result: Result) -> None:
        """Queue a result if a candidate of it mismatched, timed out or was inconclusive."""
        self._delivery.publish(result)

    def watch(self, ledger: Ledger) -> None:
        """Keep the ledger's tally in the store from now on."""
        self._delivery.watch(ledger)

    def flush(self, timeout: float) -> bool:
        """Wait at most so many seconds; True if all results and tallies are in the store."""
        return self._delivery.flush(timeout)

    def close(self) -> None:
        """Flush for at most two seconds, then take nothing more and let go of the store."""
        self._delivery.close()
        self._store.close()

    def wants(self, result: Result) -> bool:
        """Say whether a candidate of a result is worth an exemplar."""
        return is_kept(result)

    def record(self, result: Result) -> bytes:
        """Make the record of a result, cleaned."""
        return self._writer.record(result)

    def deliver(self, records: list[bytes]) -> None:
        """Write records to the store, all or none; it knows again what it has already."""
        found = [m for record in records for m in incoming.mismatches(record)]
        self._store.write(mismatches=found)

    def idle(self, ledgers: Sequence[Ledger]) -> None:
        """Write what each ledger's tally gained; what may not have got there is written again."""
        increments = self._writer.unwritten(ledgers)
        if not increments:
            self._store.close()  # nothing happens here: forks should find no open connection
        self._store.write(tallies=increments)
        self._writer.done(increments)


def _writer(url_or_engine: str | os.PathLike[str] | Engine, release: str | None) -> Writer:
    """Give the one writer to a store; whether two engines lead to one can't be told."""
    from twinrun.store._places import settled

    if not isinstance(url_or_engine, str | os.PathLike):
        return Writer(release)
    return writer_to(settled(url_or_engine), release)


def _store(url_or_engine: str | os.PathLike[str] | Engine, bounds: dict[str, Any]) -> Store:
    with needing("sqlalchemy", 'a store needs SQLAlchemy: pip install "twinrun[store]"'):
        from twinrun.store import Store
    return Store(url_or_engine, **bounds)

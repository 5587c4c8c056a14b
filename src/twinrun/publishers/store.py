"""Keeps what experiments find out in a store, for reports to read (needs `twinrun[store]`)."""

from __future__ import annotations

import datetime
import os
import socket
from collections import Counter, deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from twinrun import cleaners
from twinrun._forks import after_fork_in_child
from twinrun.delivery import INTERVAL, Counts, Delivery
from twinrun.errors import ConfigurationError
from twinrun.result import Result
from twinrun.tally import Tally
from twinrun.typing import Ledger

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from twinrun.store import Store, TallyIncrement

__all__ = ["StorePublisher"]

_UNWRITTEN: Final = 1000  # increments that wait for the store; what comes then is in the next ones


class StorePublisher:
    """Writes mismatches and the tallies of every run to a store, on a thread of its own.

    `url_or_engine` is what `twinrun.store.Store` takes: a path, a URL or an Engine. `release` is
    kept beside tallies and exemplars (default: the environment's `TWINRUN_RELEASE`). Tallies are
    written every `interval` seconds, mismatches then or as soon as a batch is full. While the store
    can't be opened or written, what is queued waits; what finds no room is dropped and counted.
    With other bounds, or a spool on disk: `Buffered(StorePublisher(…), …)`.

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
    ) -> None:
        self._store = _store(url_or_engine)
        # Not at its first use, on another thread: the process may fork in the middle of an import.
        from twinrun.store import incoming

        self._incoming = incoming
        self._release = os.environ.get("TWINRUN_RELEASE") if release is None else release
        self._delivery = Delivery(self, name=str(self), interval=interval)
        self.after_fork()
        after_fork_in_child(self)

    def __str__(self) -> str:
        return f"store {self._store}"

    def after_fork(self) -> None:
        """Become another process to the store, which has written nothing yet."""
        self._pid = os.getpid()
        self._host = socket.gethostname()
        self._process = f"{self._host}:{self._pid}:{os.urandom(8).hex()}"
        self._read: dict[str, Tally] = {}
        self._sequences: Counter[str] = Counter()
        self._unwritten: deque[TallyIncrement] = deque()

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
        kept = self._incoming.KEPT
        return any(comparison.outcome in kept for comparison in result.comparisons)

    def record(self, result: Result) -> bytes:
        """Make the record of a result, cleaned."""
        self._check_process()
        return self._incoming.record(
            cleaners.payload(result),
            experiment=result.experiment,
            recorded_at=datetime.datetime.now(datetime.UTC),
            host=self._host,
            pid=self._pid,
            release=self._release,
        )

    def deliver(self, records: list[bytes]) -> None:
        """Write records to the store, all or none; it knows again what it has already."""
        found = [m for record in records for m in self._incoming.mismatches(record)]
        self._store.write(mismatches=found)

    def idle(self, ledgers: Sequence[Ledger]) -> None:
        """Write what each ledger's tally gained; what may not have got there is written again."""
        self._check_process()
        if len(self._unwritten) < _UNWRITTEN:
            for ledger in ledgers:
                self._note_gain(ledger)
        if not self._unwritten:
            self._store.close()  # nothing happens here: forks should find no open connection
        increments = list(self._unwritten)
        self._store.write(tallies=increments)
        for _ in increments:
            self._unwritten.popleft()

    def _note_gain(self, ledger: Ledger) -> None:
        """Make an increment of what a tally gained since it was last read."""
        from twinrun.store import TallyIncrement

        name, tally = ledger.name, ledger.tally()
        gain = tally - self._read.get(name, Tally())
        if gain != Tally():
            increment = TallyIncrement(
                experiment=name,
                process=self._process,
                recorded_at=datetime.datetime.now(datetime.UTC),
                tally=gain,
                sequence=self._sequences[name],
                release=self._release,
            )
            self._read[name] = tally
            self._sequences[name] += 1
            self._unwritten.append(increment)

    def _check_process(self) -> None:
        if self._pid != os.getpid():  # forked where no fork hook runs, as under uWSGI
            self.after_fork()


def _store(url_or_engine: str | os.PathLike[str] | Engine) -> Store:
    try:
        from twinrun.store import Store
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("sqlalchemy"):
            raise
        raise ConfigurationError(
            'a store needs SQLAlchemy: pip install "twinrun[store]"'
        ) from error
    return Store(url_or_engine)

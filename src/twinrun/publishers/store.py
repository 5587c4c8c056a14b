"""Keeps what experiments find out in a store, for reports to read (needs `twinrun[store]`)."""

from __future__ import annotations

import datetime
import os
import re
import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from twinrun import cleaners
from twinrun._forks import after_fork_in_child
from twinrun.delivery import EXIT_SECONDS, Delivery
from twinrun.errors import ConfigurationError
from twinrun.fingerprints import generalise
from twinrun.result import Outcome, Result
from twinrun.tally import Tally
from twinrun.typing import Ledger

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from twinrun.store import Mismatch, Store, TallyIncrement

__all__ = ["StorePublisher"]

_BATCH = 1000  # each transaction opens the file and syncs it once, however much it writes
_KEPT = frozenset({Outcome.MISMATCHED, Outcome.TIMED_OUT, Outcome.INCONCLUSIVE})


@attrs.define(eq=False)
class _Watched:
    """An experiment's ledger, and the tally that the store has of it already."""

    ledger: Ledger
    written: Tally = attrs.field(factory=Tally)


@attrs.frozen
class _Evidence:
    """A cleaned result on its way to the store."""

    experiment: str
    payload: dict[str, Any]
    recorded_at: datetime.datetime


class StorePublisher:
    """Writes mismatches and the tallies of every run to a store, on a thread of its own.

    `url_or_engine` is what `twinrun.store.Store` takes: a path, a URL or an Engine. `release` is
    kept beside each exemplar (default: the environment's `TWINRUN_RELEASE`). Tallies are written
    every `interval` seconds, mismatches then or as soon as a batch is full. While the store can't
    be opened or written, what is queued waits; what finds no room is dropped and counted.

    Raises:
        ConfigurationError: SQLAlchemy is missing, or the URL is none that a store can have.
    """

    evidence_only = True

    def __init__(
        self,
        url_or_engine: str | os.PathLike[str] | Engine,
        *,
        release: str | None = None,
        interval: float = 1.0,
    ) -> None:
        self._store = _store(url_or_engine)
        self._release = os.environ.get("TWINRUN_RELEASE") if release is None else release
        self._delivery = Delivery(
            self._write,
            batch=_BATCH,
            interval=interval,
            idle=self._write_tallies,
            lost=self._report_lost,
            name=f"store {self._store}",
        )
        self.after_fork()
        after_fork_in_child(self)

    def after_fork(self) -> None:
        """Become another process to the store, which has watched nothing yet."""
        self._pid = os.getpid()
        self._host = socket.gethostname()
        self._process = f"{self._host}:{self._pid}:{os.urandom(4).hex()}"
        self._watched: list[_Watched] = []

    @property
    def dropped(self) -> Mapping[str, int]:
        """How many results were dropped in this process, by reason: full, closed, exit."""
        return self._delivery.dropped

    def publish(self, result: Result) -> None:
        """Queue a result if a candidate of it mismatched, timed out or was inconclusive."""
        self._check_process()
        if not any(comparison.outcome in _KEPT for comparison in result.comparisons):
            return
        now = datetime.datetime.now(datetime.UTC)
        evidence = _Evidence(result.experiment, cleaners.payload(result), now)
        if not self._delivery.put(evidence):
            self._report_lost(self._delivery.closed or "full", [evidence])

    def watch(self, ledger: Ledger) -> None:
        """Keep the ledger's tally in the store from now on."""
        self._check_process()
        self._watched.append(_Watched(ledger))
        self._delivery.start()

    def flush(self, timeout: float) -> bool:
        """Wait at most so many seconds; True if all results and tallies are in the store."""
        self._check_process()
        return self._delivery.flush(timeout)

    def close(self) -> None:
        """Flush for at most two seconds, then take nothing more and let go of the store."""
        self._check_process()
        self._delivery.close(EXIT_SECONDS)
        self._store.close()

    def _check_process(self) -> None:
        if self._pid != os.getpid():  # forked where no fork hook runs, as under uWSGI
            self.after_fork()

    def _write(self, batch: list[_Evidence]) -> None:
        self._store.write(mismatches=[m for evidence in batch for m in self._mismatches(evidence)])

    def _write_tallies(self) -> None:
        """Write what each watched tally gained since it was last written."""
        from twinrun.store import TallyIncrement

        now = datetime.datetime.now(datetime.UTC)
        gains: list[tuple[_Watched, Tally, TallyIncrement]] = []
        for watched in list(self._watched):
            tally = watched.ledger.tally()
            gain = tally - watched.written
            if gain != Tally():
                increment = TallyIncrement(
                    experiment=watched.ledger.name,
                    process=self._process,
                    recorded_at=now,
                    tally=gain,
                )
                gains.append((watched, tally, increment))
        if not gains:
            self._store.close()  # nothing happens here: forks should find no open connection
        self._store.write(tallies=[increment for _, _, increment in gains])
        for watched, tally, _ in gains:
            watched.written = tally

    def _mismatches(self, evidence: _Evidence) -> Iterator[Mismatch]:
        """Make a record of each candidate worth keeping."""
        from twinrun.store import Mismatch

        payload = evidence.payload
        shared = {name: part for name, part in payload.items() if name != "candidates"}
        for candidate in payload["candidates"]:
            if candidate["outcome"] not in _KEPT:
                continue
            places = dict.fromkeys(
                (difference["kind"], generalise(difference["path"]))
                for difference in candidate["differences"]
            )
            yield Mismatch(
                experiment=evidence.experiment,
                candidate=candidate["name"],
                fingerprint=candidate["fingerprint"]
                or _fingerprint(evidence.experiment, candidate),
                outcome=candidate["outcome"],
                reason=candidate["reason"],
                kinds=tuple(kind for kind, _ in places),
                paths=tuple(path for _, path in places),
                control_exception=_exception_type(payload["control"]),
                candidate_exception=_exception_type(candidate),
                result_id=payload["id"],
                recorded_at=evidence.recorded_at,
                payload={**shared, "candidate": candidate},
                host=self._host,
                pid=self._pid,
                release=self._release,
            )

    def _report_lost(self, reason: str, records: list[_Evidence]) -> None:
        """Tell the experiments' own ledgers, so that their tallies say so."""
        ledgers = {watched.ledger.name: watched.ledger for watched in list(self._watched)}
        for experiment, count in Counter(evidence.experiment for evidence in records).items():
            if experiment in ledgers:
                ledgers[experiment].drop(reason, count)


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


def _fingerprint(experiment: str, candidate: Mapping[str, Any]) -> str:
    """Name the group of what has no differences: the same outcome for the same reason.

    Numbers in the reason don't count, so that a time or a size in it makes no group of its own.
    """
    import hashlib

    reason = re.sub(r"\d+", "*", candidate["reason"] or "")
    cause = experiment, candidate["name"], str(candidate["outcome"]), reason
    digest = hashlib.blake2b(ascii(cause).encode(), digest_size=8, usedforsecurity=False)
    return digest.hexdigest()


def _exception_type(observation: Mapping[str, Any]) -> str | None:
    exception = observation["exception"]
    return None if exception is None else exception["type"]

"""This process as a store knows it: what it writes is told from others', and known again."""

from __future__ import annotations

import datetime
import os
import socket
import threading
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import Final

from twinrun import cleaners
from twinrun._forks import after_fork_in_child
from twinrun.result import Result
from twinrun.store import incoming
from twinrun.store.records import TallyIncrement
from twinrun.tally import Tally
from twinrun.typing import Ledger

__all__ = ["Writer", "is_kept", "writer_to"]

_UNWRITTEN: Final = 1000  # increments that wait; what comes then is in the next ones


_writers: Final[dict[tuple[object, str | None], Writer]] = {}


def is_kept(result: Result) -> bool:
    """Say whether a candidate of a result is worth an exemplar."""
    return any(comparison.outcome in incoming.KEPT for comparison in result.comparisons)


def writer_to(place: object, release: str | None) -> Writer:
    """Give the writer of this process to a place: publishers that share it tell each run once.

    It is kept, since a publisher that comes after another one is closed must not begin anew.
    """
    known = _writers.get((place, release))
    return known or _writers.setdefault((place, release), Writer(release))


class Writer:
    """Makes what one process has to tell the store, on its way through a queue, a disk or Redis.

    `release` is kept beside tallies and exemplars; None is the environment's `TWINRUN_RELEASE`.
    """

    def __init__(self, release: str | None) -> None:
        self._release = os.environ.get("TWINRUN_RELEASE") if release is None else release
        self.after_fork()
        after_fork_in_child(self)

    def after_fork(self) -> None:
        """Become another process, which has told nothing yet."""
        self._pid = os.getpid()
        self._host = socket.gethostname()
        self._process = f"{self._host}:{self._pid}:{os.urandom(8).hex()}"
        self._read: dict[str, Tally] = {}
        self._sequences = Counter[str]()
        self._unwritten: deque[TallyIncrement] = deque()
        self._turn = threading.RLock()  # never held while anything is written

    def record(self, result: Result) -> bytes:
        """Make the record of a result, cleaned."""
        self._check_process()
        return incoming.record(
            cleaners.payload(result),
            experiment=result.experiment,
            recorded_at=datetime.datetime.now(datetime.UTC),
            host=self._host,
            pid=self._pid,
            release=self._release,
        )

    def unwritten(self, ledgers: Iterable[Ledger]) -> Sequence[TallyIncrement]:
        """Give what the tallies gained since it was reported as written, the oldest first.

        What was given before is given again as it was, since it may have been written.
        """
        self._check_process()
        with self._turn:
            if len(self._unwritten) < _UNWRITTEN:
                for ledger in ledgers:
                    self._note_gain(ledger)
            return list(self._unwritten)

    def done(self, increments: Sequence[TallyIncrement]) -> None:
        """Forget the oldest increments, which are written, unless another publisher did."""
        with self._turn:
            for each in increments:
                if self._unwritten and self._unwritten[0] is each:
                    self._unwritten.popleft()

    def _note_gain(self, ledger: Ledger) -> None:
        """Make an increment of what a tally gained since it was last read."""
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
        """Notice a fork where no fork hook runs, as under uWSGI."""
        if self._pid != os.getpid():
            self.after_fork()

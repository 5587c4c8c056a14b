"""Appends what differs to a file, one line of JSON for each result."""

from __future__ import annotations

import json
import os

from twinrun._forks import after_fork_in_child
from twinrun.cleaners import payload
from twinrun.delivery import INTERVAL, Counts, Delivery
from twinrun.errors import ConfigurationError
from twinrun.result import Result
from twinrun.typing import Ledger

__all__ = ["JSONLinesPublisher"]


class JSONLinesPublisher:
    """Appends `twinrun.cleaners.payload` of each result worth keeping to a file, on its own thread.

    Several threads and processes may append to one file: each line is one write. A new file can be
    read by its owner alone. Lines are written every `interval` seconds; while the file system
    refuses them they wait in a bounded queue, and what finds no room is dropped and counted. A line
    that was written when its process died may come again from a spool, with the same `id`.

    Raises:
        ConfigurationError: it is no path, or one of a directory, or of a file in none.
    """

    evidence_only = True
    any_thread = True

    def __init__(self, path: str | os.PathLike[str], *, interval: float = INTERVAL) -> None:
        if not isinstance(path, str | os.PathLike):
            raise ConfigurationError(f"path names a file, not a {type(path).__name__}: {path!r}")
        self._path = os.path.abspath(os.fspath(path))
        if os.path.isdir(self._path):
            raise ConfigurationError(f"path names a file, but {self._path!r} is a directory")
        if not os.path.isdir(os.path.dirname(self._path)):
            raise ConfigurationError(f"there is no directory {os.path.dirname(self._path)!r}")
        self._torn = False  # the last line broke off
        self._delivery = Delivery(self, name=str(self), interval=interval)
        after_fork_in_child(self)

    def __str__(self) -> str:
        return f"file {self._path}"

    def after_fork(self) -> None:
        """Leave a line that broke off to the parent."""
        self._torn = False

    @property
    def counts(self) -> Counts:
        """What became of the results, in this process."""
        return self._delivery.counts

    def publish(self, result: Result) -> None:
        """Queue a line."""
        self._delivery.publish(result)

    def watch(self, ledger: Ledger) -> None:
        """Have the ledger told of what is dropped."""
        self._delivery.watch(ledger)

    def flush(self, timeout: float) -> bool:
        """Wait at most so many seconds; True if all lines were handed to the operating system."""
        return self._delivery.flush(timeout)

    def close(self) -> None:
        """Flush for at most two seconds, then take nothing more."""
        self._delivery.close()

    def wants(self, result: Result) -> bool:
        """Take every result that it is handed."""
        return True

    def record(self, result: Result) -> bytes:
        """Make the line of a result, without its end."""
        return json.dumps(payload(result), allow_nan=False, separators=(",", ":")).encode()

    def deliver(self, records: list[bytes]) -> None:
        """Write lines; those that are written leave the list. Raises OSError."""
        # Opened anew, since it may have been renamed, or its descriptor closed and given away.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
        descriptor = os.open(self._path, flags, 0o600)
        try:
            while records:
                self._append(descriptor, records[0] + b"\n")
                del records[0]
        finally:
            os.close(descriptor)

    def _append(self, descriptor: int, line: bytes) -> None:
        """Write one line whole; after a line that broke off, start a new one first."""
        left = memoryview(b"\n" + line if self._torn else line)
        while left:
            left = left[os.write(descriptor, left) :]
            self._torn = bool(left)

"""Appends what differs to a file, one line of JSON for each result."""

from __future__ import annotations

import json
import os
import threading

from twinrun._forks import after_fork_in_child
from twinrun.cleaners import payload
from twinrun.errors import ConfigurationError
from twinrun.result import Result

__all__ = ["JSONLinesPublisher"]


class JSONLinesPublisher:
    """Appends `twinrun.cleaners.payload` of each result worth keeping to a file.

    Several threads and processes may append to one file: each line is one write. A new file can be
    read by its owner alone. What the file system refuses is raised as `OSError`, and counted by the
    experiment as a failure of `publish`.
    """

    evidence_only = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if not isinstance(path, str | os.PathLike):
            raise ConfigurationError(f"path names a file, not a {type(path).__name__}: {path!r}")
        self._path = os.path.abspath(os.fspath(path))
        if os.path.isdir(self._path):
            raise ConfigurationError(f"path names a file, but {self._path!r} is a directory")
        if not os.path.isdir(os.path.dirname(self._path)):
            raise ConfigurationError(f"there is no directory {os.path.dirname(self._path)!r}")
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._closed = self._torn = False
        after_fork_in_child(self)

    def after_fork(self) -> None:
        """Leave the parent's descriptor and lock to the parent."""
        self._lock = threading.Lock()
        self._torn = False
        if self._descriptor is not None:
            os.close(self._descriptor)  # the child's own copy of it
            self._descriptor = None

    def publish(self, result: Result) -> None:
        """Append one line; raises OSError where it can't be written, RuntimeError when closed."""
        text = json.dumps(payload(result), allow_nan=False, separators=(",", ":"))
        with self._lock:
            self._append(text.encode() + b"\n")

    def flush(self, timeout: float) -> bool:
        """Say that all was handed to the operating system, which `publish` itself sees to."""
        return True

    def close(self) -> None:
        """Close the file; nothing can be appended any more."""
        with self._lock:
            self._closed = True
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def _append(self, line: bytes) -> None:
        """Write one line whole; after a line that broke off, start a new one first."""
        if self._closed:
            raise RuntimeError("this JSONLinesPublisher is closed")
        if self._descriptor is None:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
            self._descriptor = os.open(self._path, flags, 0o600)
        left = memoryview(b"\n" + line if self._torn else line)
        while left:
            left = left[os.write(self._descriptor, left) :]
            self._torn = bool(left)

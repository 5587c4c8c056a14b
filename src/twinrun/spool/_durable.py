"""The spool: records that survive the process that wrote them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import count
from typing import Final

from twinrun._forks import after_fork_in_child
from twinrun.errors import ConfigurationError
from twinrun.spool import _folder as folder
from twinrun.spool._frames import HEADER_BYTES
from twinrun.spool._home import Home
from twinrun.spool._intake import FULL, Intake
from twinrun.spool._segments import Position
from twinrun.spool._shelf import Counts, Shelf

__all__ = ["Spool"]

_DEAD: Final = "dead"
_DEAD_SEGMENTS: Final = 2  # that hold what is set aside
_SMALLEST_SEGMENT: Final = 4096
_LARGEST_SEGMENT: Final = 1 << 30  # a frame tells its length in four bytes


class Spool:
    """Keeps records in segment files in `directory` until they are reported as delivered.

    `append` may be called from any thread, signal handler or finalizer, and the process may fork or
    die at any point of it. Each process has segments of its own, of at most `segment_bytes`, and
    keeps at most `max_bytes` of them: the oldest are evicted whole, and counted. `adopt` takes over
    what a dead process left. The directory is made at the first append, for its owner alone.
    Nothing here raises for what the file system refuses: `counts` and `trouble` tell of it.

    Raises:
        ConfigurationError: a size or the directory can't be meant.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        max_bytes: int = 64 << 20,
        segment_bytes: int = 1 << 20,
    ) -> None:
        self._path = _checked_path(directory)
        _check_sizes(max_bytes, segment_bytes)
        self._max_bytes, self._segment_bytes = max_bytes, segment_bytes
        self._begin()
        after_fork_in_child(self)

    def __str__(self) -> str:
        return self._path

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._home = Home(self._path)
        self._shelf = Shelf(self._home, self._max_bytes, self._segment_bytes)
        self._intake = Intake(self._home, self._shelf, self._segment_bytes)
        self._dead: Spool | None = None
        self._refused, self._looks = count(), count()

    def after_fork(self) -> None:
        """Start afresh: what is there is the parent's."""
        self._intake.forget()
        self._home.forget()
        if self._dead is not None:
            self._dead.after_fork()
        self._begin()

    @property
    def largest(self) -> int:
        """How many bytes a record may have; a larger one is refused."""
        return self._segment_bytes - HEADER_BYTES

    @property
    def aside(self) -> str:
        """The directory of the spool that takes what is set aside: its own, if it is such a one."""
        is_dead = os.path.basename(self._path) == _DEAD
        return self._path if is_dead else os.path.join(self._path, _DEAD)

    @property
    def trouble(self) -> OSError | None:
        """What the file system said when it last refused something, None once it works again."""
        return self._intake.trouble

    @property
    def state(self) -> str:
        """What the last append found: "ready", "disk_full" or "broken"."""
        trouble = self.trouble
        if trouble is None:
            return "ready"
        return "disk_full" if trouble.errno in FULL else "broken"

    @property
    def counts(self) -> Counts:
        """What became of the records of this process; exact while nobody is at them."""
        return self._shelf.counts(next(self._refused) - next(self._looks))

    def append(self, records: Sequence[bytes]) -> int:
        """Write records, each whole or not at all; gives how many are kept.

        Those that are larger than `largest` are refused, and of the others the first ones are kept.
        What is refused is counted. After a refusal nothing is tried for a second.
        """
        if self._pid != os.getpid():
            self._check_process()
        largest = self._segment_bytes - HEADER_BYTES
        fitting = [record for record in records if len(record) <= largest]
        accepted = self._intake.append(fitting)
        for _ in range(len(records) - accepted):
            next(self._refused)
        return accepted

    def read(self, limit: int) -> list[tuple[Position, bytes]]:
        """Give the oldest records that are neither delivered nor set aside, the same ones again.

        There are at most `limit`, and fewer where they are longer than a segment together.
        """
        self._check_process()
        return [] if self._intake.closed else self._shelf.read(limit)

    def done(self, positions: Iterable[Position]) -> None:
        """Report records as delivered; a segment of which all are is removed."""
        self._check_process()
        self._shelf.done(positions)

    def set_aside(self, position: Position) -> bool:
        """Move a record that can't be delivered to a bounded spool within, `aside`.

        False if there is no room for it there: then it is given up, and counted as evicted.
        """
        self._check_process()
        return self._shelf.set_aside(position, self._bury)

    def adopt(self) -> int:
        """Take over the segments of processes that are dead; gives how many.

        Those of a process on another machine, or in a container of its own, are taken over once its
        lock can be had.
        """
        self._check_process()
        return 0 if self._intake.closed else self._shelf.adopt()

    def kept_by_others(self) -> int:
        """Count the segments in the directory that others keep: processes that live."""
        self._check_process()
        return self._shelf.kept_by_others()

    def close(self) -> None:
        """Take nothing more, and leave what is not delivered to whoever adopts it next."""
        self._check_process()
        self._intake.close()
        self._shelf.release()
        self._home.move_out()
        if self._dead is not None:
            self._dead.close()

    def _check_process(self) -> None:
        if self._pid != os.getpid():  # forked where no fork hook runs, as under uWSGI
            self.after_fork()

    def _bury(self, record: bytes) -> bool:
        """Keep a record in the spool of those that can't be delivered."""
        if self._dead is None:
            segment_bytes = self._segment_bytes
            bound = self._max_bytes if self.aside == self._path else _DEAD_SEGMENTS * segment_bytes
            self._dead = Spool(self.aside, max_bytes=bound, segment_bytes=segment_bytes)
            self._dead.adopt()  # what is there already counts too
        return bool(self._dead.append([record]))


def _checked_path(directory: str | os.PathLike[str]) -> str:
    """Give the absolute path of a directory that is fit for a spool, or may be made."""
    if os.name != "posix":
        raise ConfigurationError("a spool needs a POSIX system: its files are locked and renamed")
    if not isinstance(directory, str | os.PathLike):
        raise ConfigurationError(
            f"a spool is given by its directory, not by a {type(directory).__name__}: {directory!r}"
        )
    path = os.path.abspath(os.fspath(directory))
    parent = os.path.dirname(path)
    try:
        unfit = folder.fault(os.lstat(path))
    except FileNotFoundError:
        unfit = None if os.path.isdir(parent) else f"there is no directory {parent!r} to make it in"
    except (OSError, ValueError) as error:
        unfit = str(error)
    if unfit is not None:
        raise ConfigurationError(f"{path!r} can't be a spool's directory: {unfit}")
    return path


def _check_sizes(max_bytes: int, segment_bytes: int) -> None:
    given: dict[str, object] = {"max_bytes": max_bytes, "segment_bytes": segment_bytes}
    for name, size in given.items():
        if not isinstance(size, int) or isinstance(size, bool):
            raise ConfigurationError(f"{name} is a number of bytes, not {size!r}")
    if segment_bytes < _SMALLEST_SEGMENT:
        raise ConfigurationError(
            f"segment_bytes is at least {_SMALLEST_SEGMENT}, not {segment_bytes}"
        )
    if segment_bytes > _LARGEST_SEGMENT:
        raise ConfigurationError(
            f"segment_bytes is at most {_LARGEST_SEGMENT}, not {segment_bytes}"
        )
    if max_bytes < 2 * segment_bytes:
        raise ConfigurationError(
            f"max_bytes is at least two segments, {2 * segment_bytes}, not {max_bytes}"
        )

"""Appends records to live segments, from any thread and at any point of another append."""

from __future__ import annotations

import errno
import os
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from typing import Final

from twinrun.spool._frames import HEADER_BYTES
from twinrun.spool._home import Home
from twinrun.spool._segments import Name, Segment, Writer
from twinrun.spool._shelf import Shelf

__all__ = ["FULL", "PROBE_SECONDS", "Intake"]

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What the system says where there is no room."""

PROBE_SECONDS: Final = 1.0
"""So long nothing is tried after the system has refused something."""


class Intake:
    """The live segments of a spool.

    Each is used by one thread at a time, which takes it out of a pool, or begins another one where
    the pool is empty: nobody waits for anybody, and a signal handler in the middle of an append
    finds nothing half done.
    """

    def __init__(self, home: Home, shelf: Shelf, segment_bytes: int) -> None:
        self._home = home
        self._shelf = shelf
        self._segment_bytes = segment_bytes
        self._idle: deque[Writer] = deque()
        self._writers: dict[str, Writer] = {}
        self._numbers = count()
        self._retry_at = 0.0
        self.trouble: OSError | None = None
        self.closed = False

    def append(self, records: Sequence[bytes]) -> int:
        """Write records; gives how many of them, from the first one on, are written."""
        accepted = 0
        if self.closed or not records or (self.trouble is not None and not self._may_try()):
            return accepted
        while accepted < len(records):
            try:
                accepted += self._append_some(records[accepted:] if accepted else records)
            except OSError as error:
                if error.errno in FULL and self._shelf.evict_oldest():
                    continue
                self._retry_at = time.monotonic() + PROBE_SECONDS
                self.trouble = error
                return accepted
        self.trouble = None
        return accepted

    def close(self) -> None:
        """Take nothing more; what another thread is writing just now still ends well."""
        self.closed = True
        with suppress(IndexError):
            while True:
                self._end(self._idle.pop())

    def forget(self) -> None:
        """Be the child of a fork: close this process's copies of the parent's descriptors."""
        for writer in list(self._writers.values()):
            writer.file.close()

    def _may_try(self) -> bool:
        """Whether what was wrong was so for long enough to look again."""
        now = time.monotonic()
        if now < self._retry_at:
            return False
        self._retry_at = now + PROBE_SECONDS
        return True

    def _append_some(self, records: Sequence[bytes]) -> int:
        """Write as many records as one segment takes."""
        writer = self._take(HEADER_BYTES + len(records[0]))
        sound = True
        try:
            return writer.append(records, self._segment_bytes)
        except OSError as error:
            sound = error.errno in FULL
            raise
        finally:
            if sound:
                self._idle.append(writer)
            else:
                self._end(writer)
            if self.closed:  # just now
                self.close()

    def _take(self, size: int) -> Writer:
        """Take a writer with room out of the pool, or begin a segment."""
        while True:
            try:
                writer = self._idle.pop()
            except IndexError:
                return self._begin()
            filled = writer.segment.size
            if writer.is_sound() and (not filled or filled + size <= self._segment_bytes):
                return writer
            self._end(writer)

    def _begin(self) -> Writer:
        """Begin a segment; raises OSError."""
        self._shelf.make_room()
        with self._home.entered() as (directory, owner):
            number = self._shelf.adopted_numbers + next(self._numbers)
            name = Name(owner, number, os.urandom(8).hex())
            segment = Segment(name, born=time.time_ns(), own=True, live=True)
            writer = Writer.begin(segment, directory)
        self._writers[name.id] = writer
        self._shelf.segments[name.id] = segment
        return writer

    def _end(self, writer: Writer) -> None:
        self._writers.pop(writer.segment.name.id, None)
        writer.end()

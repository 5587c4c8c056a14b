"""The segments of a spool, from which records are read and reported as delivered."""

from __future__ import annotations

import errno
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import attrs

from twinrun.spool import _folder as folder
from twinrun.spool._adoption import adopted
from twinrun.spool._frames import frames
from twinrun.spool._home import Home
from twinrun.spool._segments import Name, Position, Segment

__all__ = ["Counts", "Shelf"]

_PATIENCE: Final = 5.0  # seconds that a reader waits for another one
_HASTE: Final = 0.05  # seconds that an append waits to evict what is old


@attrs.frozen
class Counts:
    """What became of a spool's records in this process.

    appended + adopted = delivered + set_aside + evicted + corrupt + pending
    """

    appended: int = 0
    """Accepted by `append`."""
    adopted: int = 0
    """Found in segments of dead processes that were taken over."""
    refused: int = 0
    """Not accepted by `append`."""
    delivered: int = 0
    """Reported by `done`."""
    set_aside: int = 0
    """Kept apart by `set_aside`."""
    evicted: int = 0
    """Given up for room, or gone with files that somebody else removed."""
    corrupt: int = 0
    """Damaged on the disk."""
    pending: int = 0
    """Waiting to be delivered."""


class Shelf:
    """What is to be delivered, the oldest first.

    One thread at a time is at it. Appends come here only to evict, and do without it where a
    reader, or what they themselves interrupted, is at it for too long.
    """

    def __init__(self, home: Home, max_bytes: int, segment_bytes: int) -> None:
        self._home = home
        self._max_bytes = max_bytes
        self._segment_bytes = segment_bytes
        self._lock = threading.RLock()
        self._busy = False
        self._gone: Counter[str] = Counter()  # what became of records, but for those in `segments`
        self.segments: dict[str, Segment] = {}
        self.adopted_numbers = 0  # those below were given by others: file times are too coarse

    def counts(self, refused: int) -> Counts:
        """Add up what became of the records; exact while nobody is at them."""
        with self._alone(_HASTE):
            segments = list(self.segments.values())
            here = Counter(
                appended=sum(s.count for s in segments if s.own),
                refused=refused,
                pending=sum(s.pending for s in segments),
            )
            return Counts(**here + self._gone)

    def read(self, limit: int) -> list[tuple[Position, bytes]]:
        """Give the oldest records that are not dealt with, at most as long as a segment."""
        found: list[tuple[Position, bytes]] = []
        with self._alone() as alone:
            if alone and self.segments:
                try:
                    with folder.opened(self._home.path) as directory:
                        room = self._segment_bytes
                        for segment in self._in_order():
                            if len(found) >= limit or room <= 0:
                                break
                            more = self._waiting(segment, directory, limit - len(found), room)
                            room -= sum(len(record) for _, record in more)
                            found += more
                except FileNotFoundError:
                    for segment in self._in_order():
                        self._lose(segment)
                except OSError:
                    pass  # it is all still there, to be read when that works again
        return found

    def done(self, positions: Iterable[Position]) -> None:
        """Note that records are delivered."""
        with self._alone() as alone:
            if alone:
                settled: Counter[str] = Counter()
                for position in positions:
                    segment = self.segments.get(position.segment)
                    if segment is not None and segment.settle(position):
                        settled[position.segment] += 1
                self._count(delivered=settled.total())
                self._advance([self.segments[name] for name in settled])

    def set_aside(self, position: Position, keep: Callable[[bytes], bool]) -> bool:
        """Have a record kept elsewhere; if it is not, it is given up."""
        with self._alone() as alone:
            segment = self.segments.get(position.segment)
            if not alone or segment is None:
                return False
            record = self._record(segment, position)
            if not segment.settle(position):
                return False
            kept = record is not None and keep(record)
            self._count(set_aside=kept, evicted=not kept)
            self._advance([segment])
            return kept

    def adopt(self) -> int:
        """Take over what dead processes left; gives how many segments."""
        taken = 0
        with self._alone() as alone, suppress(OSError):
            if alone:
                with folder.opened(self._home.path) as directory:
                    for segment in adopted(self._home, directory):
                        self.segments[segment.name.id] = segment
                        following = segment.name.number + 1
                        self.adopted_numbers = max(self.adopted_numbers, following)
                        self._count(adopted=segment.count)
                        taken += 1
        return taken

    def kept_by_others(self) -> int:
        """Count the segments in the directory that belong to another spool."""
        with suppress(OSError), folder.opened(self._home.path) as directory:
            names = filter(None, map(Name.parse, os.listdir(directory)))
            return sum(name.id not in self.segments for name in names)
        return 0

    def make_room(self) -> None:
        """Evict what a new segment takes the room of; raises OSError if there is none on the disk.

        Live segments are counted in full, so that what is kept never exceeds the bound.
        """
        whole = self._segment_bytes
        with self._alone(_HASTE) as alone:
            while alone and self._bytes() + whole > self._max_bytes and self._evict():
                pass
            while alone and self._home.free_bytes() < whole and self._evict():
                pass
        if self._home.free_bytes() < whole:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def evict_oldest(self) -> bool:
        """Give up the oldest segment that nobody appends to; False if there is none."""
        with self._alone(_HASTE) as alone:
            return alone and self._evict()

    def release(self) -> None:
        """Let whoever comes next adopt what is not delivered."""
        with self._alone() as alone, suppress(OSError):
            if alone and self.segments:
                with folder.opened(self._home.path) as directory:
                    for segment in self._in_order():
                        if not segment.live and not segment.pending:
                            self._remove(segment, directory)
                        elif not segment.live:
                            nobody = segment.name.owner.nobody()
                            self._rename(segment, directory, owner=nobody)

    @contextmanager
    def _alone(self, seconds: float = _PATIENCE) -> Iterator[bool]:
        """Be the only one here; gives False where that can't be had.

        A signal handler can't wait for what it interrupts; it holds the same lock, and sees that it
        came in between by `_busy`.
        """
        lock = self._lock
        if not lock.acquire(timeout=seconds):
            yield False
            return
        try:
            if self._busy:
                yield False
                return
            try:
                self._busy = True
                yield True
            finally:
                self._busy = False
        finally:
            lock.release()

    def _in_order(self) -> list[Segment]:
        return sorted(self.segments.values(), key=lambda segment: segment.order)

    def _bytes(self) -> int:
        segments = self._in_order()
        return sum(self._segment_bytes if s.live else s.size for s in segments)

    def _count(self, **more: int) -> None:
        self._gone.update(more)

    def _waiting(
        self, segment: Segment, directory: int, limit: int, room: int
    ) -> list[tuple[Position, bytes]]:
        """Read what is not dealt with of a segment; remove it if nothing is and nothing comes."""
        live, size, name = segment.live, segment.size, segment.name
        found: list[tuple[Position, bytes]] = []
        if live and not segment.pending:
            return found
        try:
            descriptor = os.open(str(name), folder.FILE_FLAGS | os.O_RDONLY, dir_fd=directory)
        except FileNotFoundError:
            self._lose(segment)
            return found
        try:
            for frame in frames(descriptor, segment.cursor, size, segment.salt):
                if not segment.is_settled(frame.number):
                    position = Position(name.id, frame.start, frame.end, frame.number)
                    found.append((position, frame.record))
                    room -= len(frame.record)
                    if len(found) >= limit or room <= 0:
                        break
        finally:
            os.close(descriptor)
        if not found and not live:
            self._spoil(segment)
            self._remove(segment, directory)
        return found

    def _record(self, segment: Segment, position: Position) -> bytes | None:
        """Read one record once more."""
        with suppress(OSError), folder.opened(self._home.path) as directory:
            flags = folder.FILE_FLAGS | os.O_RDONLY
            descriptor = os.open(str(segment.name), flags, dir_fd=directory)
            try:
                for frame in frames(descriptor, position.start, position.end, segment.salt):
                    return frame.record
            finally:
                os.close(descriptor)
        return None

    def _advance(self, segments: Iterable[Segment]) -> None:
        """Move cursors past what is dealt with, also in the files' names."""
        with suppress(OSError), folder.opened(self._home.path) as directory:
            for segment in segments:
                self._count(corrupt=segment.advance())
                if not segment.live and not segment.pending:
                    self._remove(segment, directory)
                elif segment.cursor != segment.name.cursor:
                    self._rename(segment, directory, cursor=segment.cursor)

    def _spoil(self, segment: Segment) -> None:
        """Count the rest of a segment as damaged."""
        self._count(corrupt=segment.pending)
        segment.settled = segment.count

    def _lose(self, segment: Segment) -> None:
        """Give up a segment whose file is gone; its writer notices, if there is one."""
        segment.lost = True
        if not segment.live:
            self._forget(segment)

    def _evict(self) -> bool:
        """Give up the oldest segment that nobody appends to."""
        with suppress(OSError), folder.opened(self._home.path) as directory:
            for segment in self._in_order():
                if not segment.live:
                    self._remove(segment, directory)
                    return True
        return False

    def _remove(self, segment: Segment, directory: int) -> None:
        """Remove a segment's file; what is pending in it is given up."""
        with suppress(FileNotFoundError):
            os.unlink(str(segment.name), dir_fd=directory)
        self._forget(segment)

    def _forget(self, segment: Segment) -> None:
        if self.segments.pop(segment.name.id, None) is not None:
            own = segment.count if segment.own else 0
            self._count(evicted=segment.pending, appended=own)

    def _rename(self, segment: Segment, directory: int, **changes: Any) -> None:
        """Change a file's name; where that fails, records may be delivered twice."""
        name = attrs.evolve(segment.name, **changes)
        with suppress(OSError):
            os.rename(str(segment.name), str(name), src_dir_fd=directory, dst_dir_fd=directory)
            segment.name = name

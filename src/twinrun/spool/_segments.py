"""Segments: the files of a spool, what is known of each, and who may write to them."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from itertools import accumulate
from typing import Final, Self

import attrs

from twinrun.spool._folder import FILE_FLAGS, File
from twinrun.spool._frames import HEADER_BYTES, encode, frames, is_torn
from twinrun.spool._owners import Owner

__all__ = ["Name", "Position", "Segment", "Writer"]

_NAME: Final = re.compile(
    r"(?P<owner>.+)\.(?P<number>\d{1,10})\.(?P<id>[0-9a-f]{16})\.(?P<cursor>\d{1,15})\.segment"
)


@attrs.frozen
class Position:
    """Where a record stands that was read; of use only to the spool that gave it."""

    segment: str
    start: int
    end: int
    number: int


@attrs.frozen
class Name:
    """A segment's file name, which says all that may change of it: a rename is atomic.

    `number` orders an owner's segments; `id` stays for ever, and its first half is the checksums'
    salt; `cursor` is where the first record stands that is not delivered.
    """

    owner: Owner
    number: int
    id: str
    cursor: int = 0

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read a file's name; None if it is no segment's."""
        found = _NAME.fullmatch(text)
        owner = Owner.parse(found["owner"]) if found else None
        if found is None or owner is None:
            return None
        return cls(owner, int(found["number"]), found["id"], int(found["cursor"]))

    def __str__(self) -> str:
        return f"{self.owner}.{self.number:06d}.{self.id}.{self.cursor}.segment"


@attrs.define(eq=False)
class Segment:
    """What a spool knows of one of its segments.

    `extent` is how many bytes and how many records are in it: one value, so that an exception from
    a signal handler can't part them. `settled` of the records are delivered, set aside or found
    damaged: those before `cursor` and those in `done`.
    """

    name: Name
    born: int
    live: bool  # somebody may still append to it
    own: bool  # made by this spool, not taken over
    extent: tuple[int, int] = (0, 0)
    settled: int = 0
    cursor: int = 0
    number: int = 0  # of the record at the cursor
    done: dict[int, Position] = attrs.field(factory=dict)  # by number
    lost: bool = False  # its file is gone
    salt: int = attrs.field(init=False)
    """What the checksums start with, so that no frame of another segment passes for one of it."""

    def __attrs_post_init__(self) -> None:
        self.salt = int(self.name.id[:8], 16)

    @property
    def order(self) -> tuple[int, int]:
        """What sorts segments, the oldest first."""
        return self.born, self.name.number

    @property
    def size(self) -> int:
        """How many bytes are in it."""
        return self.extent[0]

    @property
    def count(self) -> int:
        """How many records are in it."""
        return self.extent[1]

    @property
    def pending(self) -> int:
        """How many of them are not dealt with yet."""
        return self.count - self.settled

    def take_stock(self, descriptor: int) -> None:
        """Count the records of a segment that was taken over; damaged ones count, torn ones not."""
        end, salt = os.fstat(descriptor).st_size, self.salt
        self.cursor = place = self.name.cursor
        numbers = []
        for frame in frames(descriptor, place, end, salt):
            place = frame.end
            numbers.append(frame.number)
        if self.cursor and numbers:
            self.number = min(numbers)
        damaged = place < end and not is_torn(descriptor, place, end, salt)
        self.extent = end, (max(numbers) + 1 - self.number if numbers else 0) + damaged

    def is_settled(self, number: int) -> bool:
        """Whether a record is dealt with."""
        return number < self.number or number in self.done

    def settle(self, position: Position) -> bool:
        """Note that a record is dealt with; False if that was known."""
        if self.is_settled(position.number):
            return False
        self.done[position.number] = position
        self.settled += 1
        return True

    def advance(self) -> int:
        """Move the cursor past what is dealt with; gives how many damaged records it passed."""
        damaged = 0
        for number in sorted(self.done):
            position = self.done[number]
            if position.start != self.cursor:
                break
            del self.done[number]
            damaged += number - self.number
            self.number = number + 1
            self.cursor = position.end
        self.settled += damaged
        return damaged


@attrs.frozen(eq=False)
class Writer:
    """The open end of a live segment, used by one thread at a time."""

    segment: Segment
    file: File

    @classmethod
    def begin(cls, segment: Segment, directory: int) -> Self:
        """Make the segment's file; raises OSError where it can't be made."""
        flags = FILE_FLAGS | os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        return cls(segment, File.of(os.open(str(segment.name), flags, 0o600, dir_fd=directory)))

    def is_sound(self) -> bool:
        """Whether what is written will be there.

        What an exception from a signal handler kept from being accepted is taken back.
        """
        found = self.file.found()
        if found is None or not found.st_nlink or self.segment.lost:
            return False
        if found.st_size != self.segment.size:
            with suppress(OSError):
                os.ftruncate(self.file.descriptor, self.segment.size)
                return True
            return False
        return True

    def append(self, records: Sequence[bytes], limit: int) -> int:
        """Write the first records, as many as fit below the limit; gives how many are written.

        Raises:
            OSError: not even one could be written; nothing of it is left in the file.
        """
        segment = self.segment
        size, number = segment.extent
        salt, room = segment.salt, limit - size
        data: list[bytes] = []
        for record in records:
            room -= HEADER_BYTES + len(record)
            if room < 0 and (data or size):
                break
            data.append(encode(record, number + len(data), salt))
        joined = b"".join(data)
        written = os.write(self.file.descriptor, joined)
        if written < len(joined):
            data = self._whole(data, written)
            written = sum(map(len, data))
            os.ftruncate(self.file.descriptor, size + written)
            if not data:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        segment.extent = size + written, number + len(data)
        return len(data)

    @staticmethod
    def _whole(data: list[bytes], written: int) -> list[bytes]:
        """Give the frames that were written to their ends."""
        return [
            frame
            for frame, end in zip(data, accumulate(map(len, data)), strict=True)
            if end <= written
        ]

    def end(self) -> None:
        """Close the file; nothing is appended to it any more."""
        self.file.close()
        self.segment.live = False

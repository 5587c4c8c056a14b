"""Frames: records within a segment, each found and checked for itself."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from typing import Final

import attrs

__all__ = ["HEADER_BYTES", "MARKER", "Frame", "encode", "frames", "is_torn"]

MARKER: Final = b"\xf5\xd7\xfe\x1a"
"""What each frame begins with; no UTF-8 text holds it."""

_HEADER: Final = struct.Struct(">4sIII")  # marker, number, length, checksum of the record
_CHECKSUM: Final = struct.Struct(">I")  # of the header before it

HEADER_BYTES: Final = _HEADER.size + _CHECKSUM.size
"""So much longer than its record is a frame."""

_WINDOW: Final = 64 * 1024  # bytes that are read at once


@attrs.frozen
class Frame:
    """A record that was found whole; damage before it reaches from `start` to its own beginning."""

    start: int
    end: int
    number: int
    record: bytes


def encode(record: bytes, number: int, salt: int) -> bytes:
    """Make the frame of a segment's record; the n-th one is numbered n, from 0."""
    header = _HEADER.pack(MARKER, number, len(record), zlib.crc32(record, salt))
    return b"".join((header, _CHECKSUM.pack(zlib.crc32(header, salt)), record))


def frames(descriptor: int, start: int, end: int, salt: int) -> Iterator[Frame]:
    """Read the frames of a part of a file, and pass over whatever is none."""
    file = _Window(descriptor)
    offset = start
    while end - offset >= HEADER_BYTES:
        header = _header(file.read(offset, HEADER_BYTES), salt)
        if header is not None:
            number, length, checksum = header
            after = offset + HEADER_BYTES + length
            if after <= end:
                record = file.read(offset + HEADER_BYTES, length)
                if len(record) == length and zlib.crc32(record, salt) == checksum:
                    yield Frame(start, after, number, record)
                    start = offset = after
                    continue
        offset = _next_marker(file, offset + 1, end)


def is_torn(descriptor: int, start: int, end: int, salt: int) -> bool:
    """Whether what stands there is the mere beginning of a frame: its writer died meanwhile."""
    if end - start < HEADER_BYTES:
        return True
    header = _header(os.pread(descriptor, HEADER_BYTES, start), salt)
    return header is not None and start + HEADER_BYTES + header[1] > end


def _header(data: bytes, salt: int) -> tuple[int, int, int] | None:
    """Read a record's number, length and checksum, if it is a sound header."""
    if len(data) < HEADER_BYTES or not data.startswith(MARKER):
        return None
    if _CHECKSUM.unpack_from(data, _HEADER.size)[0] != zlib.crc32(data[: _HEADER.size], salt):
        return None
    _, number, length, checksum = _HEADER.unpack_from(data)
    return number, length, checksum


class _Window:
    """Reads a file in large pieces, and gives small ones."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._start, self._data = 0, b""

    def read(self, offset: int, size: int) -> bytes:
        """Give so many bytes, fewer only where the file ends."""
        place = offset - self._start
        if not 0 <= place <= len(self._data) - size:
            self._data = os.pread(self._descriptor, max(size, _WINDOW), offset)
            self._start, place = offset, 0
        return self._data[place : place + size]


def _next_marker(file: _Window, offset: int, end: int) -> int:
    """Look for the next marker; gives the end if there is none."""
    while offset < end:
        piece = file.read(offset, min(_WINDOW, end - offset))
        found = piece.find(MARKER)
        if found >= 0:
            return offset + found
        if len(piece) < len(MARKER):
            break
        offset += len(piece) - len(MARKER) + 1  # a marker may begin in its last bytes
    return end

"""Frames: whatever happens to the bytes of a segment, only damaged records are lost."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from twinrun.spool._frames import HEADER_BYTES, MARKER, encode, frames, is_torn

SALT = 0x5EED_C0DE
records = st.lists(
    st.one_of(
        st.binary(max_size=60),
        st.binary(max_size=20).map(lambda data: data + MARKER + data),
        st.binary(max_size=20).map(lambda data: encode(data, 0, SALT + 1)),  # of another segment
        st.integers(0, 3000).map(lambda size: b"x" * size),
    ),
    max_size=8,
)


@contextmanager
def file_of(data: bytes) -> Iterator[int]:
    """Give a file with these bytes."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        yield file.fileno()


def read(data: bytes, start: int = 0, salt: int = SALT) -> list[tuple[int, bytes]]:
    """Read all records with their numbers."""
    with file_of(data) as descriptor:
        found = list(frames(descriptor, start, len(data), salt))
    assert [f.start for f in found] == [start, *(f.end for f in found)][: len(found)]
    return [(frame.number, frame.record) for frame in found]


def encoded(records: Sequence[bytes]) -> list[bytes]:
    """Make the frames of a segment."""
    return [encode(record, number, SALT) for number, record in enumerate(records)]


@given(records)
def test_what_is_written_is_read(given: list[bytes]) -> None:
    """All records of a sound segment come back, in order, whatever bytes are in them."""
    assert read(b"".join(encoded(given))) == list(enumerate(given))


@attrs.frozen
class Damage:
    """Bytes that take the place of others."""

    at: float
    removed: int
    put: bytes

    def done_to(self, data: bytes) -> tuple[bytes, int, int]:
        """Give the damaged bytes, and the place that was hit."""
        start = round(self.at * len(data))
        end = min(len(data), start + self.removed)
        return data[:start] + self.put + data[end:], start, end


damages = st.builds(
    Damage, at=st.floats(0, 1), removed=st.integers(0, 200), put=st.binary(max_size=200)
)


@given(records, damages)
@example([b"a", b"b", b"c"], Damage(0.5, 1, b""))
@example([b"a", b"b", b"c"], Damage(0.3, 0, MARKER))
def test_damage_anywhere_loses_only_what_it_hits(given: list[bytes], damage: Damage) -> None:
    """Overwritten, inserted or missing bytes: the frames before and after them are all read."""
    whole = encoded(given)
    data, start, end = damage.done_to(b"".join(whole))
    sound, offset = [], 0
    for number, frame in enumerate(whole):
        if offset + len(frame) <= start or offset >= end:
            sound.append((number, given[number]))
        offset += len(frame)
    found = read(data)
    assert [pair for pair in found if pair in sound] == sound
    assert set(found) <= set(enumerate(given)), "a record was made up"


@given(records, st.data())
def test_a_flipped_bit_loses_one_record(given: list[bytes], data: st.DataObject) -> None:
    """A single bit never costs more than the frame it stands in, and never passes."""
    raw = bytearray(b"".join(encoded(given)))
    if not raw:
        return
    place = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[place // 8] ^= 1 << place % 8
    found = read(bytes(raw))
    assert len(found) == len(given) - 1
    assert set(found) <= set(enumerate(given))


@given(records, st.data())
def test_a_torn_tail_is_left_out(given: list[bytes], data: st.DataObject) -> None:
    """Of a file that ends in the middle of a frame, the frames before that are read."""
    whole = encoded([*given, b"last"])
    cut = data.draw(st.integers(1, len(whole[-1])))
    raw = b"".join(whole)[:-cut]
    assert read(raw) == list(enumerate(given))
    start = len(b"".join(whole[:-1]))
    with file_of(raw) as descriptor:
        assert is_torn(descriptor, start, len(raw), SALT)


def test_a_damaged_end_is_not_a_torn_one() -> None:
    """A last frame of full length whose bytes are wrong was written once."""
    for place in (0, HEADER_BYTES):
        raw = bytearray(encode(b"record", 0, SALT))
        raw[place] ^= 1
        with file_of(bytes(raw)) as descriptor:
            assert not is_torn(descriptor, 0, len(raw), SALT)


def test_frames_of_another_segment_do_not_pass() -> None:
    """A record that holds a copied frame, or a file's remains, can't bring forth records."""
    other = encode(b"other", 0, SALT + 1)
    assert read(other) == []
    torn = encode(b"lost " + other + other, 0, SALT)
    assert read(torn[HEADER_BYTES:] + encode(b"mine", 1, SALT)) == [(1, b"mine")]


def test_a_marker_across_the_edge_of_what_is_read_at_once_is_found() -> None:
    """Resynchronising goes through a large gap in pieces that overlap."""
    frame = encode(b"record", 3, SALT)
    for gap in range(64 * 1024 - 6, 64 * 1024 + 3):
        assert read(b"\0" * gap + frame) == [(3, b"record")]


def test_reading_may_begin_anywhere() -> None:
    """From within a frame, the next one is found."""
    whole = encoded([b"first", b"second"])
    assert read(b"".join(whole), start=3) == [(1, b"second")]


@pytest.mark.parametrize("size", [0, 1, HEADER_BYTES - 1])
def test_nothing_is_found_in_next_to_nothing(size: int) -> None:
    """A file shorter than a header holds no record."""
    assert read(os.urandom(size)) == []

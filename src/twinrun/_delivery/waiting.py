"""A queue in memory and its counters, without a lock that anybody could be stopped inside."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import Final, TypeAlias

from twinrun._wakeups import Wakeup

__all__ = ["Entry", "Request", "Total", "Waiting", "totals_of"]

Entry: TypeAlias = tuple[int, int, bytes, str]
"""How many bytes and records were accepted with it, the record, and its experiment's name."""

_RELATIVE: Final = 1  # `whence` of a seek that adds
_SLICE: Final = 0.1  # seconds


class Total:
    """Adds up without a lock: moving the position of a file in memory is one step in C.

    Nothing can come between, neither another thread nor a signal's handler nor a finalizer.
    """

    __slots__ = ("add", "read")

    def __init__(self) -> None:
        position = BytesIO()
        self.add = position.seek
        self.read = position.tell

    def plus(self, number: int) -> int:
        """Add a number; give the new total."""
        return self.add(number, _RELATIVE)


def totals_of(totals: Mapping[str, Total]) -> dict[str, int]:
    """Read totals that other threads may be adding to."""
    return {name: total.read() for name, total in list(totals.items())}


class Request:
    """A flush that was asked for."""

    __slots__ = ("answered", "forsaken", "lost")

    def __init__(self) -> None:
        self.answered = Wakeup()
        self.forsaken = False  # nobody waits for it any more
        self.lost = False  # not all of what it asks for was delivered

    def wait(self, deadline: float) -> bool:
        """Wait for the answer until then (of `time.monotonic`).

        Not in one go: a signal that comes right before one is seen only after it.
        """
        while not self.answered.wait(min(_SLICE, deadline - time.monotonic())):
            if time.monotonic() >= deadline:
                return False
        return True


class Waiting:
    """Records that wait in memory, bounded by their number and by their bytes.

    Any thread may append; whoever delivers reads from the front, and removes what is delivered.
    """

    def __init__(self, capacity: int, max_bytes: int) -> None:
        self._capacity = capacity
        self._max_bytes = max_bytes
        self._entries: deque[Entry] = deque()
        self._bytes_in, self._bytes_out = Total(), Total()
        self._accepted, self._delivered = Total(), Total()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size(self) -> int:
        """How many bytes wait."""
        return self._bytes_in.read() - self._bytes_out.read()

    @property
    def accepted(self) -> int:
        """How many records were ever appended."""
        return self._accepted.read()

    @property
    def delivered(self) -> int:
        """How many records were removed as delivered."""
        return self._delivered.read()

    @property
    def usual(self) -> int:
        """How many bytes a record has on average."""
        return self._bytes_in.read() // (self._accepted.read() or 1)

    def refusal(self, size: int) -> str | None:
        """Give the bound that a record of so many bytes meets: full, bytes."""
        if len(self._entries) >= self._capacity:
            return "full"
        return "bytes" if self.size + size > self._max_bytes else None

    def append(self, record: bytes, experiment: str) -> str | None:
        """Append a record, or give the bound that it meets.

        Threads that append at the same moment may exceed a bound by one record each.
        """
        size = len(record)
        refusal = self.refusal(size)
        if refusal is not None:
            return refusal
        # One call in C counts the record and appends it: neither can come to pass alone.
        self._entries.extend(
            zip(
                map(self._bytes_in.add, (size,), (_RELATIVE,)),
                map(self._accepted.add, (1,), (_RELATIVE,)),
                (record,),
                (experiment,),
                strict=False,
            )
        )
        return None

    def read(self, limit: int) -> list[tuple[Entry, bytes]]:
        """Give the oldest records, at most so many, each with what `remove` knows it by."""
        found = []
        with contextlib.suppress(IndexError):  # given up meanwhile
            for place in range(min(limit, len(self._entries))):
                entry = self._entries[place]
                found.append((entry, entry[2]))
        return found

    def done(self, entries: Iterable[Entry]) -> None:
        """Remove records that are delivered."""
        for entry in entries:
            if self.remove(entry):
                self._delivered.plus(1)

    def remove(self, entry: Entry) -> bool:
        """Take one record out; False if it was given up meanwhile."""
        try:
            self._entries.remove(entry)
        except ValueError:
            return False
        self._bytes_out.plus(len(entry[2]))
        return True

    def give_up(self) -> list[Entry]:
        """Take everything out."""
        left = []
        with contextlib.suppress(IndexError):
            while True:
                entry = self._entries.popleft()
                self._bytes_out.plus(len(entry[2]))
                left.append(entry)
        return left

"""Durations and ratios as they are counted: in a hurry, and by bucket when there are many."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from math import floor, log2
from typing import Final

from twinrun.histogram import SCALE, Histogram

__all__ = ["Measured", "durations", "mark_of", "ratios"]

_SECONDS: Final = 1e-9
_MARK_SCALE: Final = 13
_MANY_MARKS: Final = 10_000
_MANY_NUMBERS: Final = 4_096


class _Marks(dict[int, int]):
    """What stands for a duration in nanoseconds; short ones come up again and again.

    It is floor(-log2(seconds) * 2**13). Without its last 8 bits it names the bucket at scale 5, and
    the difference of two of them is the mark of their ratio, with an error of 0.0085 % at most.
    """

    def __missing__(self, duration_ns: int) -> int:
        if len(self) > _MANY_MARKS:
            self.clear()
        # A duration of zero is a clock's tick not seen: it counts as the least it can show.
        mark = self[duration_ns] = floor(-log2(max(duration_ns, 1) * _SECONDS) * 2**_MARK_SCALE)
        return mark


mark_of: Final = _Marks()
"""What stands for a duration in nanoseconds."""


class Measured:
    """Numbers that are being counted: as they come, and by bucket once there are many of them."""

    __slots__ = ("_buckets", "_mark", "_raw")

    def __init__(self, mark: Callable[[int], int]) -> None:
        """Take what gives a number's mark."""
        self._mark = mark
        self._buckets: Counter[int] = Counter()
        self._raw: Counter[int] = Counter()

    def add(self, numbers: Iterable[int]) -> None:
        """Count numbers; those that come up again and again cost least."""
        self._raw.update(numbers)
        if len(self._raw) > _MANY_NUMBERS:
            self._settle()

    def _settle(self) -> None:
        """Count by bucket."""
        for number, n in self._raw.items():
            self._buckets[self._mark(number) >> (_MARK_SCALE - SCALE)] += n
        self._raw.clear()

    def histogram(self) -> Histogram:
        """Give what was counted."""
        self._settle()
        return Histogram({-bucket - 1: n for bucket, n in self._buckets.items()})


def durations() -> Measured:
    """Begin to count durations in nanoseconds."""
    return Measured(mark_of.__getitem__)


def ratios() -> defaultdict[str, Measured]:
    """Begin to count ratios, which are told by their marks, by order."""
    return defaultdict(lambda: Measured(int))

"""A histogram whose buckets grow by a constant factor, so that merging is adding."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import repeat
from operator import floordiv
from typing import Any, Final, Self

import attrs

__all__ = ["SCALE", "Histogram", "bucket_index"]

SCALE: Final = 5
"""Buckets per doubling, as a power of two: 32. Two neighbours differ by a factor of 1.0219."""

_STEP: Final = -(2.0**-SCALE)
_RELATIVE_ERROR = (2**2**-SCALE - 1) / (2**2**-SCALE + 1)


def bucket_index(value: float) -> int:
    """Give the index of the bucket that holds a positive value.

    Bucket i holds base**i < value <= base**(i + 1) with base = 2**(2**-5), as in the exponential
    histogram of OpenTelemetry's data model: i = ceil(log2(value) * 2**scale) - 1.
    """
    return -int(math.log2(value) // _STEP) - 1


@attrs.frozen
class Histogram:
    """Counts of positive numbers (durations in seconds, or ratios) in exponential buckets.

    The layout is OpenTelemetry's exponential histogram at scale 5 and Prometheus' native histogram
    at schema 5: `counts` maps a bucket's index to how many values fell there, `zero` counts what
    was zero. A quantile's relative error is at most 1.083 %. At most 67,137 buckets can exist;
    one microsecond to one minute needs 828.
    """

    counts: Mapping[int, int] = attrs.field(factory=dict)
    zero: int = 0

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """Count values; each must be zero or a positive finite number.

        Raises:
            ValueError: a value is negative, infinite or not a number.
        """
        values = values if isinstance(values, list) else list(values)
        try:
            marks = Counter(map(floordiv, map(math.log2, values), repeat(_STEP)))
            return cls({-int(mark) - 1: count for mark, count in marks.items()})
        except (ValueError, OverflowError):
            pass
        positive = [value for value in values if value > 0 and value < math.inf]
        zero = sum(1 for value in values if value == 0)
        if len(positive) + zero != len(values):
            wrong = next(v for v in values if not 0 <= v < math.inf)
            raise ValueError(f"a histogram counts finite numbers from 0 upwards, not {wrong!r}")
        return cls(cls.of(positive).counts if positive else {}, zero)

    @property
    def count(self) -> int:
        """How many values were counted."""
        return sum(self.counts.values()) + self.zero

    def quantile(self, q: float) -> float | None:
        """Give the q-quantile (0 <= q <= 1, the value at rank ceil(q * count)), None of nothing.

        It is the point of its bucket that is never further off than 1.083 % of the exact value.

        Raises:
            ValueError: q is not within 0..1.
        """
        if not 0 <= q <= 1:
            raise ValueError(f"a quantile lies within 0..1, not {q!r}")
        total = self.count
        if total == 0:
            return None
        left = max(1, math.ceil(q * total)) - self.zero
        if left <= 0:
            return 0.0
        index = 0
        for index in sorted(self.counts):
            left -= self.counts[index]
            if left <= 0:
                break
        # The harmonic middle of the bucket: as far from one end as from the other, relatively.
        return 2 ** (index * 2**-SCALE) * (1 + _RELATIVE_ERROR)

    def __add__(self, other: Self) -> Self:
        if not isinstance(other, Histogram):
            return NotImplemented
        return self._combined(other, 1)

    def __sub__(self, other: Self) -> Self:
        """Give what came since an earlier state of the same histogram."""
        if not isinstance(other, Histogram):
            return NotImplemented
        return self._combined(other, -1)

    def _combined(self, other: Self, sign: int) -> Self:
        counts = dict(self.counts)
        for index, count in other.counts.items():
            total = counts.get(index, 0) + sign * count
            if total:
                counts[index] = total
            else:
                counts.pop(index, None)
        return type(self)(counts, self.zero + sign * other.zero)

    def as_dict(self) -> dict[str, Any]:
        """Give the histogram as JSON-ready data, which `from_dict` reads."""
        counts = {str(index): self.counts[index] for index in sorted(self.counts)}
        return {"scale": SCALE, "zero": self.zero, "counts": counts}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `as_dict` gave.

        Raises:
            ValueError: it was counted at another scale.
        """
        if data["scale"] != SCALE:
            raise ValueError(f"the histogram has scale {data['scale']}, this twinrun reads {SCALE}")
        return cls({int(index): n for index, n in data["counts"].items()}, data["zero"])

"""Which of a writer's increments were added: numbers that come almost in order, kept as ranges."""

from __future__ import annotations

import bisect
import json
from operator import itemgetter
from typing import Self

__all__ = ["Numbers"]


class Numbers:
    """A set of whole numbers, as small as it has gaps."""

    def __init__(self, ranges: list[list[int]] | None = None) -> None:
        self._ranges = ranges or []  # [first, last], in order, none touching the next

    def add(self, number: int) -> bool:
        """Add a number; False if it is there already."""
        ranges = self._ranges
        place = bisect.bisect_right(ranges, number, key=itemgetter(0))
        if place and number <= ranges[place - 1][1]:
            return False
        ranges.insert(place, [number, number])
        for left in (place, place - 1):
            if 0 <= left < len(ranges) - 1 and ranges[left][1] + 1 == ranges[left + 1][0]:
                ranges[left][1] = ranges.pop(left + 1)[1]
        return True

    def as_json(self) -> str:
        """Write the ranges, for `from_json`."""
        return json.dumps(self._ranges, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `as_json` wrote."""
        return cls(json.loads(text))

"""Pairs the items of two sequences, so that what was put in or left out moves nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

__all__ = ["Alike", "Match", "matches"]

Match: TypeAlias = tuple[int, int]
"""The places of two items that stand for each other, in the control and in the candidate."""

Alike: TypeAlias = Callable[[int, int], bool]
"""Whether the control's item at one place and the candidate's at another are equal."""

_NEAR: Final = 16  # so far a shift is looked for between sequences of one length


def matches(
    size: int, other_size: int, alike: Alike, effort: int, level: list[int] | None = None
) -> list[Match]:
    """Give the places of items that are alike, in order, as many as can be found.

    Items at the same place of two sequences of one length stay together, unless moving them apart
    leaves fewer that differ. `effort` bounds how often `alike` is asked beyond once for each item;
    where it doesn't suffice, what lies between the matches at both ends stays in place. `level` are
    the places at which two sequences of one length are alike, where that is known.
    """
    if size < other_size:
        return _aligned(size, other_size, alike, effort)
    turned = _turned(alike)
    if other_size < size:
        return _mirrored(_aligned(other_size, size, turned, effort))
    if level is None:
        level = [i for i in range(size) if alike(i, i)]
    in_place = [(i, i) for i in level]
    if size - len(in_place) < 2 or not _shifted(size, in_place, alike):
        return in_place
    # Ties between two ways are broken otherwise from the other side: the better one is taken.
    one, other = _aligned(size, size, alike, effort), _aligned(size, size, turned, effort)
    return min(in_place, one, _mirrored(other), key=lambda way: _unmatched(way, size, size))


def _turned(alike: Alike) -> Alike:
    """Ask with the sides changed."""
    return lambda i, j: alike(j, i)


def _mirrored(found: list[Match]) -> list[Match]:
    """Give matches as they are seen from the other side."""
    return [(j, i) for i, j in found]


def _unmatched(found: list[Match], size: int, other_size: int) -> int:
    """Count the differences that matches leave: two unmatched items at one place are one."""
    left, i, j = 0, 0, 0
    for at, other in [*found, (size, other_size)]:
        left += max(at - i, other - j)
        i, j = at + 1, other + 1
    return left


def _shifted(size: int, in_place: list[Match], alike: Alike) -> bool:
    """Whether an item that differs, the first or the last one, stands near its place instead."""
    differing = sorted(set(range(size)).difference(i for i, _ in in_place))
    first, last = differing[0], differing[-1]
    after = range(first + 1, min(first + _NEAR, last) + 1)
    before = range(max(last - _NEAR, first), last)
    return any(alike(first, i) or alike(i, first) for i in after) or any(
        alike(last, i) or alike(i, last) for i in before
    )


def _aligned(size: int, other_size: int, alike: Alike, effort: int) -> list[Match]:
    """Match what is alike at both ends, and as much as can be in between."""
    short = min(size, other_size)
    start = 0
    while start < short and alike(start, start):
        start += 1
    end = 0
    while end < short - start and alike(size - 1 - end, other_size - 1 - end):
        end += 1

    def inner(i: int, j: int) -> bool:
        return alike(start + i, start + j)

    middle = _longest(size - start - end, other_size - start - end, inner, effort)
    return [
        *((i, i) for i in range(start)),
        *((start + i, start + j) for i, j in middle),
        *((size - n, other_size - n) for n in range(end, 0, -1)),
    ]


def _longest(size: int, other_size: int, alike: Alike, effort: int) -> list[Match]:
    """Find a longest common subsequence, or, where that takes more than the effort, none.

    After Myers, "An O(ND) Difference Algorithm and Its Variations" (1986): `reach[k]` is how far
    the diagonal `k` was followed with so many items left out or put in.
    """
    reach, trace = {1: 0}, []
    steps = effort + size + other_size  # of what is alike, which many diagonals may have
    for edits in range(size + other_size + 1 if size and other_size else 0):
        effort -= edits + 1
        if effort < 0:
            break
        trace.append(dict(reach))
        for k in range(-edits, edits + 1, 2):
            down = k == -edits or (k != edits and reach[k - 1] < reach[k + 1])
            start = x = reach[k + 1] if down else reach[k - 1] + 1
            while x < size and x - k < other_size and alike(x, x - k):
                x += 1
            steps -= x - start
            if steps < 0:
                return []
            reach[k] = x
            if x >= size and x - k >= other_size:
                return list(_followed(trace, size, other_size))[::-1]
    return []


def _followed(trace: list[dict[int, int]], x: int, y: int) -> Iterator[Match]:
    """Go back along the way that was found; its diagonal steps are the matches."""
    for edits in range(len(trace) - 1, -1, -1):
        reach, k = trace[edits], x - y
        down = k == -edits or (k != edits and reach[k - 1] < reach[k + 1])
        before = k + 1 if down else k - 1
        start = reach[before] + (not down) if edits else 0
        while x > start:
            x, y = x - 1, y - 1
            yield x, y
        x = reach[before]
        y = x - before

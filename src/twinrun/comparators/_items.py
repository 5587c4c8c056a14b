"""Pairs the items of two sequences for the walk: in order, or as multisets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any, Final, TypeAlias

from twinrun.comparators._alignment import Alike, Match, matches
from twinrun.comparators._parts import MISSING, Items, Pairs

__all__ = ["Settle", "in_order", "in_place", "keyed", "multiset", "token"]

Settle: TypeAlias = Callable[[Any, Any], bool]


def in_place(items: Items) -> Pairs:
    """Pair items by index alone."""
    pairs = zip_longest(items.control, items.candidate, fillvalue=MISSING)
    return ((index, *pair) for index, pair in enumerate(pairs))


def in_order(items: Items, alike: Alike, effort: int, settle: Settle | None) -> Pairs:
    """Pair the items that are not alike with what stands in their place, if anything does.

    `settle` says at little cost of most items that they are alike, where this can be said so.
    """
    a, b = items.control, items.candidate
    start, end, level = (0, 0, None) if settle is None else _beginning(a, b, settle)
    sizes = len(a) - start - end, len(b) - start - end
    found = matches(*sizes, lambda i, j: alike(start + i, start + j), effort, level)
    i = j = start
    for at, other in [*found, sizes]:
        if i < start + at or j < start + other:
            yield from _gap(items, range(i, start + at), range(j, start + other))
        i, j = start + at + 1, start + other + 1


def _gap(items: Items, places: range, other_places: range) -> Pairs:
    """Pair what stands between two matches, in order; the longer side's rest is left over."""
    a, b = items.control, items.candidate
    both = min(len(places), len(other_places))
    for i, j in zip(places, other_places, strict=False):
        yield i, a[i], b[j]
    for i in places[both:]:
        yield i, a[i], MISSING
    for j in other_places[both:]:
        yield j, MISSING, b[j]


def _beginning(
    a: Sequence[Any], b: Sequence[Any], settle: Settle
) -> tuple[int, int, list[int] | None]:
    """Do with little work what needs no decision: how many items are equal at both ends.

    Where the sequences are of one length, it gives the equal places in between as well.
    """
    try:
        start = _common(a, b, settle)
        left, right = a[start:], b[start:]
        end = _common(left[::-1], right[::-1], settle)
        if len(left) != len(right):
            return start, end, None
        pairs = enumerate(zip(left[: len(left) - end], right, strict=False))
        level = [i for i, (x, y) in pairs if x is y or settle(x, y)]
        return start, end, level
    except Exception:  # whoever looks closer finds out whether this hides a real difference
        return 0, 0, None


def _common(a: Sequence[Any], b: Sequence[Any], settle: Settle) -> int:
    """Count the equal items in front."""
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x is not y and not settle(x, y):
            return i
    return min(len(a), len(b))


def keyed(items: Items, key: Callable[[Any], Any]) -> Pairs:
    """Pair the items that have the same key, the first with the first where there are more."""
    places: defaultdict[Any, list[int]] = defaultdict(list)
    for j, item in reversed(list(enumerate(items.candidate))):
        places[key(item)].append(j)
    found: list[Match] = []
    for i, item in enumerate(items.control):
        if same_key := places.get(key(item)):
            found.append((i, same_key.pop()))
    for i, j in found:
        yield i, items.control[i], items.candidate[j]
    yield from _left_over(items, found)


def multiset(items: Items, alike: Alike, token: Callable[[Any], Any], final: bool) -> Pairs:
    """Pair the items that are alike wherever they stand, and give those that are left.

    `token` gives something hashable that is the same for equal items only, or None. It is `final`
    if an item that is equal to another one may be paired with it at once: if items are alike that
    are not equal, it may be needed by a third one.
    """
    found = _by_token(items, token)
    left, others = _unpaired(items, found)
    if left and others and not final:
        found, left, others = [], [*range(len(items.control))], [*range(len(items.candidate))]
    return _left_over(items, found + _assigned(left, others, alike))


def _by_token(items: Items, token: Callable[[Any], Any]) -> list[Match]:
    """Pair the items that have the same token."""
    places: defaultdict[Any, list[int]] = defaultdict(list)
    for j in reversed(range(len(items.candidate))):
        if (known := token(items.candidate[j])) is not None:
            places[known].append(j)
    found: list[Match] = []
    for i, item in enumerate(items.control):
        if (known := token(item)) is not None and (same := places.get(known)):
            found.append((i, same.pop()))
    return found


def _unpaired(items: Items, found: list[Match]) -> tuple[list[int], list[int]]:
    """Give the places of the items that are in no match."""
    ours, theirs = {i for i, _ in found}, {j for _, j in found}
    left = [i for i in range(len(items.control)) if i not in ours]
    return left, [j for j in range(len(items.candidate)) if j not in theirs]


def _assigned(left: list[int], others: list[int], alike: Alike) -> list[Match]:
    """Assign as many to each other as can be: one may be alike to several that are not alike.

    Kuhn's algorithm: an item takes the place of one that can go elsewhere.
    """
    choices = {i: [j for j in others if alike(i, j)] for i in left}
    taken: dict[int, int] = {}
    for start in left:
        came_from: dict[int, int] = {}
        waiting = [start]
        while waiting:
            i = waiting.pop()
            for j in choices[i]:
                if j not in came_from:
                    came_from[j] = i
                    if j not in taken:
                        _shift(taken, came_from, start, j)
                        waiting.clear()
                        break
                    waiting.append(taken[j])
    return sorted((i, j) for j, i in taken.items())


def _shift(taken: dict[int, int], came_from: dict[int, int], start: int, free: int) -> None:
    """Move everybody along the way to the free place by one."""
    own = {i: j for j, i in taken.items()}
    while True:
        i = came_from[free]
        taken[free] = i
        if i == start:
            return
        free = own[i]


def _left_over(items: Items, found: list[Match]) -> Pairs:
    """Give the items that are in no match, as removed and added."""
    left, others = _unpaired(items, found)
    for i in left:
        yield i, items.control[i], MISSING
    for j in others:
        yield j, MISSING, items.candidate[j]


def token(value: Any, depth: int = 20) -> Any:
    """Give something hashable that is the same for equal plain values only; None where it can't."""
    cls = type(value)
    if cls in _ATOMS:
        return value if cls is not bool and value == value else (cls, str(value))
    parts: list[Any]
    if depth and cls is dict:
        parts = [(token(key, 0), token(part, depth - 1)) for key, part in value.items()]
        known = all(key is not None and part is not None for key, part in parts)
        return (dict, frozenset(parts)) if known else None
    if depth and cls in (list, tuple):
        parts = [token(part, depth - 1) for part in value]
        return (cls, *parts) if None not in parts else None
    return None


_ATOMS: Final = frozenset({bool, int, float, str, bytes})

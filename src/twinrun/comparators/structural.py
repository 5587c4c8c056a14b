"""Finds the places at which two nested values differ."""

from __future__ import annotations

from typing import Any

import attrs

from twinrun.comparators._shapes import (
    HERE,
    MISSING,
    WHOLE,
    Pairs,
    Shape,
    both_numbers,
    plain_verdict,
    same,
    shape_of,
)
from twinrun.difference import Difference, DifferenceKind
from twinrun.observation import NOTHING
from twinrun.patterns import step

__all__ = ["NODE_BUDGET", "BudgetExceededError", "differences"]

NODE_BUDGET = 1_000_000
"""How many pairs of values one comparison looks at before it gives up."""

_ATOMS = frozenset({type(None), bool, int, float, str, bytes})
_BUILTINS = frozenset({dict, list, tuple, set, frozenset})
_SHALLOW = 4


class BudgetExceededError(Exception):
    """Two values are too large to be told apart: nothing differed as far as the budget went."""


def differences(control: Any, candidate: Any, *, limit: int = 100) -> list[Difference]:
    """List the places at which two values differ, at most `limit` of them; none if they are equal.

    Containers are compared by their content: dicts, lists, tuples, named tuples, sets, instances
    of attrs and dataclasses by the fields that their own `==` compares, exceptions by type and
    args, arrays and frames of numpy, pandas and polars as a whole. A hand-written `__eq__` is
    respected, all else is compared by `==`; but NaN equals NaN. Neither depth nor cycles matter.

    Raises `BudgetExceededError` where nothing differed within `NODE_BUDGET` pairs, and what a
    value's own `==` raised where nothing else differs. What is no `Exception` passes at once.
    """
    return _Walk(limit).differences(control, candidate)


@attrs.define
class _Frame:
    """A container being walked: its pairs, where it hangs, and what had been found before it."""

    key: Any
    pairs: Pairs
    ids: tuple[int, int]
    found: int


class _Walk:
    """One comparison, depth first, with a stack of its own."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.left = NODE_BUDGET
        self.found: list[Difference] = []
        self.error: Exception | None = None
        self.stack: list[_Frame] = []
        self.shapes: dict[type, Shape] = {}
        # Pairs under way or found equal, by id; the values are held so that no id is used twice.
        self.seen: dict[tuple[int, int], tuple[Any, Any]] = {}

    def differences(self, control: Any, candidate: Any) -> list[Difference]:
        """Walk the two values and give what was found, or raise what kept it from being found."""
        if control is not candidate:
            self.meet(HERE, control, candidate)
        while self.stack and not self.done():
            self.advance(self.stack[-1])
        try:
            if self.found:
                return self.found
            if self.error is not None:
                raise self.error
            if self.stack:
                raise BudgetExceededError(f"nothing differs in the first {NODE_BUDGET} parts")
            return []
        finally:
            self.error = None  # its traceback holds this walk: leave no cycle behind

    def done(self) -> bool:
        """Whether there is nothing left to find or to spend."""
        return self.left <= 0 or len(self.found) >= self.limit

    def advance(self, frame: _Frame) -> None:
        """Look at the next pairs of the innermost container, until one of them is not equal."""
        try:
            for key, a, b in frame.pairs:
                self.left -= 1
                if a is not b and not (type(a) is type(b) and type(a) in _ATOMS and a == b):
                    self.meet(key, a, b)
                    return
                if self.left <= 0:
                    return
        except Exception as error:
            self.error = self.error or error
        self.leave(frame)

    def leave(self, frame: _Frame) -> None:
        """Drop a container that was walked; only an equal pair need not be walked again."""
        self.stack.pop()
        if len(self.found) > frame.found:
            del self.seen[frame.ids]

    def meet(self, key: Any, a: Any, b: Any) -> None:
        """Settle one pair, or go into it."""
        if a is MISSING:
            return self.record(key, DifferenceKind.ADDED, NOTHING, b)
        if b is MISSING:
            return self.record(key, DifferenceKind.REMOVED, a, NOTHING)
        if key is WHOLE:
            return self.record(key, DifferenceKind.CHANGED, a, b)
        ids = (id(a), id(b))
        if ids in self.seen or self.plainly_equal(a, b):
            return None
        try:
            parts = self.expand(a, b)
        except Exception as error:
            self.error = self.error or error
            return None
        if parts is True:
            return None
        if parts is False:
            return self.record(key, self.kind(a, b), a, b)
        self.seen[ids] = (a, b)
        self.stack.append(_Frame(key, parts, ids, len(self.found)))
        return None

    def plainly_equal(self, a: Any, b: Any) -> bool:
        """Whether one `==` spares the walk through two containers.

        Asked near the top only, lest a deep structure be compared once more for each level.
        """
        if type(a) not in _BUILTINS or not 0 < len(self.stack) <= _SHALLOW:
            return False
        try:
            return (a == b) is True
        except Exception:  # the walk finds out whether this hides a real difference
            return False

    def expand(self, a: Any, b: Any) -> Pairs | bool:
        """Give the pairs of two containers' parts, or say whether two values are the same."""
        if type(a) is type(b) and type(a) in _ATOMS:
            return bool(a == b) or (a != a and b != b)
        left, right = self.shape(type(a)), self.shape(type(b))
        if left.family is not right.family:
            return not (left.opaque or right.opaque) and same(a, b)
        if left.own_eq or right.own_eq:
            return plain_verdict(a, b) or self.explained(left.expand(a, b), a, b)
        return left.expand(a, b)

    def explained(self, parts: Any, a: Any, b: Any) -> Pairs:
        """Give the parts of two containers that differ by their own `==`, and else the whole."""
        before = len(self.found)
        yield from parts
        if len(self.found) == before:
            yield WHOLE, a, b

    def shape(self, cls: type) -> Shape:
        """Look up, once in a walk, how a class is compared."""
        shape = self.shapes.get(cls)
        if shape is None:
            shape = self.shapes[cls] = shape_of(cls)
        return shape

    def kind(self, a: Any, b: Any) -> DifferenceKind:
        """Tell a changed value from one of another type; all numbers are of one type here."""
        one_family = self.shape(type(a)).family is self.shape(type(b)).family
        same_type = one_family or both_numbers(a, b)
        return DifferenceKind.CHANGED if same_type else DifferenceKind.TYPE

    def record(self, key: Any, kind: DifferenceKind, a: Any, b: Any) -> None:
        """Note a difference at a part of the innermost container."""
        keys = [*(frame.key for frame in self.stack), key]
        path = "$" + "".join(step(k) for k in keys if k is not HERE and k is not WHOLE)
        self.found.append(Difference(path, kind, a, b))

"""Finds the places at which two nested values differ."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Any, Final, cast

import attrs

from twinrun.comparators._alignment import Alike
from twinrun.comparators._fields import field_pairs
from twinrun.comparators._glances import seem_equal, settling
from twinrun.comparators._items import in_order, in_place, keyed, multiset, token
from twinrun.comparators._parts import HERE, MISSING, WHOLE, Items, Pairs, Shape, Steps
from twinrun.comparators._rules import USUAL, Budget, Rules
from twinrun.comparators._shapes import shape_of, unlike_keys
from twinrun.comparators._verdicts import (
    both_numbers,
    has_nan,
    is_boolean,
    plain_verdict,
    same,
)
from twinrun.difference import Difference, DifferenceKind, Differences
from twinrun.observation import NOTHING
from twinrun.patterns import step

__all__ = ["Budget", "BudgetExceededError", "differences", "found_by"]

_ATOMS: Final = frozenset({type(None), bool, int, float, str, bytes})
_BUILTINS: Final = frozenset({dict, list, tuple, set, frozenset})
_SHALLOW: Final = 4
_ALIGNED: Final = 16  # containers around a sequence whose items may still be moved
_EFFORT: Final = 20_000  # how often two items may be compared to find where they belong
_WALKS_EFFORT: Final = 10  # a walk through two items costs as much as so many times `==`
_SHAPES: Final = {cls: shape_of(cls) for cls in _ATOMS | _BUILTINS}


class BudgetExceededError(Exception):
    """Two values are too large to be told apart: nothing differed as far as the budget went."""


def differences(
    control: Any,
    candidate: Any,
    *,
    limit: int | None = None,
    rules: Rules = USUAL,
    root: str = "$",
) -> Differences:
    """List the places at which two values differ, at most `limit` of them; none if they are equal.

    Containers are compared by their content: mappings, sequences, named tuples, sets, instances
    of attrs and dataclasses by the fields that their own `==` compares, exceptions by type and
    args, arrays and frames of numpy, pandas and polars. A hand-written `__eq__` is respected, all
    else is compared by `==`; but NaN equals NaN, and a truth value is no number. What one `==`
    of two containers calls True is given a glance only. Neither depth nor cycles matter.

    Items of sequences are paired by what they are: the path of an item that was added has its index
    in the candidate, any other path the index in the control. All paths begin with `root`.

    Raises `BudgetExceededError` where nothing differed within the budget, and what a value's own
    `==` raised where nothing else differs. What is no `Exception` passes at once.
    """
    if limit is not None:
        rules = attrs.evolve(rules, budget=attrs.evolve(rules.budget, differences=limit))
    return _Walk(rules, root).differences(control, candidate)


def found_by(comparator: Any, control: Any, candidate: Any) -> Sequence[Difference]:
    """Say what differs by any comparator; a plain callable tells only whether the whole does."""
    find = getattr(comparator, "differences", None)
    if find is not None:
        found: Sequence[Difference] = find(control, candidate)
        return found
    if comparator(control, candidate):
        return ()
    one_type = type(control) is type(candidate)
    kind = DifferenceKind.CHANGED if one_type else DifferenceKind.TYPE
    return (Difference("$", kind, control, candidate),)


@attrs.define
class _Frame:
    """A container being walked: its pairs, where it hangs, and what had been found before it.

    `met` says that `==` was asked about its parts already.
    """

    key: Any
    pairs: Pairs
    ids: tuple[int, int]
    found: int
    met: bool


class _Walk:
    """One comparison, depth first, with a stack of its own.

    A walk that is `brief` ends at the first difference, and moves no items: it only says whether
    two values are equal. `root` is the path of the values.
    """

    def __init__(self, rules: Rules, root: str = "$", *, brief: bool = False) -> None:
        self.rules = rules
        self.root = root
        self.brief = brief
        self.left = rules.budget.nodes
        self.effort = _EFFORT
        self.deadline = time.monotonic() + rules.budget.seconds
        self.cut: str | None = None
        self.found: list[Difference] = []
        self.excused = 0
        self.error: Exception | None = None
        self.stack: list[_Frame] = []
        self.shapes: dict[type, Shape] = _SHAPES.copy()
        # Pairs under way or found equal, by id; the values are held so that no id is used twice.
        self.seen: dict[tuple[int, int], tuple[Any, Any]] = {}

    def differences(self, control: Any, candidate: Any) -> Differences:
        """Walk the two values and give what was found, or raise what kept it from being found."""
        if control is not candidate:
            self.meet(HERE, control, candidate, False)
        while self.stack and not self.done():
            self.advance(self.stack[-1])
        try:
            if self.found:
                return Differences(self.found, self.cut)
            if self.error is not None:
                raise self.error
            if self.cut is not None:
                raise BudgetExceededError(f"nothing differs as far as was looked: {self.cut}")
            return Differences()
        finally:
            self.error = None  # its traceback holds this walk: leave no cycle behind

    def done(self) -> bool:
        """Whether there is nothing left to find or to spend."""
        budget = self.rules.budget
        if self.left <= 0:
            self.cut = self.cut or f"more than {budget.nodes} parts"
        elif time.monotonic() > self.deadline:
            self.cut = self.cut or f"more than {budget.seconds:g} s"
        elif len(self.found) > budget.differences:
            del self.found[budget.differences :]
            self.cut = f"more than {budget.differences} differences"
        else:
            return self.brief and bool(self.found)
        return True

    def advance(self, frame: _Frame) -> None:
        """Look at the next pairs of the innermost container, until one of them is not equal."""
        try:
            if self.rules.fields:  # they may tell apart what is equal
                for key, a, b in frame.pairs:
                    self.left -= 1
                    return self.meet(key, a, b, True)
            for key, a, b in frame.pairs:
                self.left -= 1
                if a is not b and not (type(a) is type(b) and type(a) in _ATOMS and a == b):
                    return self.meet(key, a, b, frame.met)
                if self.left <= 0:
                    return None
        except Exception as error:
            self.error = self.error or error
        return self.leave(frame)

    def leave(self, frame: _Frame) -> None:
        """Drop a container that was walked; only an equal pair need not be walked again."""
        self.stack.pop()
        if len(self.found) > frame.found or self.rules.local:
            self.seen.pop(frame.ids, None)

    def meet(self, key: Any, a: Any, b: Any, met: bool) -> None:
        """Settle one pair, or go into it."""
        if a is MISSING:
            return self.record(key, DifferenceKind.ADDED, NOTHING, b)
        if b is MISSING:
            return self.record(key, DifferenceKind.REMOVED, a, NOTHING)
        if key is WHOLE:
            return self.record(key, DifferenceKind.CHANGED, a, b)
        if a is b or (self.rules.by_path and self.settled(self.path(key), a, b)):
            return None
        ids = (id(a), id(b))
        if ids in self.seen or (not met and self.seem_equal(a, b)):
            return None
        if len(self.stack) >= self.rules.budget.depth:
            self.cut = self.cut or f"deeper than {self.rules.budget.depth} levels"
            return None
        try:
            parts = self.expand(a, b)
            if parts is False and self.accepted(a, b):
                return None
        except Exception as error:
            if not self.accepted(a, b):
                self.error = self.error or error
            return None
        return self.enter(key, parts, a, b)

    def accepted(self, a: Any, b: Any) -> bool:
        """Whether two values that are not equal are near enough by one of the rules."""
        rules = self.rules
        if not rules.accepts or (rules.exact and type(a) is not type(b)):
            return False
        try:
            accepted = any(accept(a, b) for accept in rules.accepts)
        except Exception as error:
            self.error = self.error or error
            return False
        self.excused += accepted
        return accepted

    def enter(self, key: Any, parts: Pairs | Items | bool, a: Any, b: Any) -> None:
        """Note that two values differ, or put their parts on the stack."""
        if parts is True:
            return
        if parts is False:
            self.record(key, self.kind(a, b), a, b)
            return
        met = False
        if isinstance(parts, Items):
            parts, met = self.items(key, parts)
        self.seen[id(a), id(b)] = (a, b)
        self.stack.append(_Frame(key, parts, (id(a), id(b)), len(self.found), met))

    def items(self, key: Any, items: Items) -> tuple[Pairs, bool]:
        """Pair the items of two sequences; and say whether `==` was asked about them already."""
        rules = self.rules
        path = self.path(key) if rules.widens or not rules.trusts_eq else ""
        order = rules.order(path)
        if order is not None:
            if order[0] is not None:
                return keyed(items, order[0]), False
            tokens = token if rules.trusts_eq else lambda _: None
            alike = self.alike(items, path, patient=True)
            return multiset(items, alike, tokens, not rules.accepts), False
        level = len(items.control) == len(items.candidate)
        settled = level and (len(items.control) < 2 or not rules.trusts_eq)
        if settled or self.brief or len(self.stack) >= _ALIGNED:
            return in_place(items), False
        settle = settling(items, rules.loose) if rules.trusts_eq else None
        pairs = in_order(items, self.alike(items, path), self.effort, settle)
        return pairs, rules.trusts_eq

    def alike(self, items: Items, path: str, *, patient: bool = False) -> Alike:
        """Make what says whether two items are equal by these rules, patiently or at a guess."""
        rules, a, b = self.rules, items.control, items.candidate
        closer = rules.widens or not rules.trusts_eq
        with_nan = cache(lambda i: has_nan(a[i]))

        def alike(i: int, j: int) -> bool:
            x, y = a[i], b[j]
            if x is y or (rules.trusts_eq and seem_equal(x, y, rules.loose)):
                return True
            if not patient and (self.effort <= 0 or not (closer or (with_nan(i) and has_nan(y)))):
                return False
            self.effort -= _WALKS_EFFORT
            walk = _Walk(rules, f"{path}[{i}]", brief=True)
            walk.left, walk.deadline = self.left, self.deadline
            try:
                return not walk.differences(x, y)
            except Exception:
                if patient:
                    raise
                return False
            finally:
                self.left = walk.left

        return alike

    def settled(self, path: str, a: Any, b: Any) -> bool:
        """Whether the values at this path don't count, or have been left to another comparator."""
        if not self.rules.counts(path, a, b):
            self.excused += 1
            return True
        comparator = self.rules.comparator(path)
        if comparator is None:
            return False
        try:
            for found in found_by(comparator, a, b):
                self.found.append(attrs.evolve(found, path=path + found.path.removeprefix("$")))
        except Exception as error:
            self.error = self.error or error
        return True

    def seem_equal(self, a: Any, b: Any) -> bool:
        """Whether one `==` spares the walk through two containers.

        Asked near the top only, lest a deep structure be compared once more for each level.
        """
        if type(a) not in _BUILTINS or not 0 < len(self.stack) <= _SHALLOW:
            return False
        return self.rules.trusts_eq and seem_equal(a, b, self.rules.loose)

    def expand(self, a: Any, b: Any) -> Pairs | Items | bool:
        """Give the pairs of two containers' parts, or say whether two values are the same."""
        if type(a) is type(b):
            if type(a) in _ATOMS:
                return bool(a == b) or (a != a and b != b)
        elif self.rules.exact:
            return False
        left, right = self.shape(type(a)), self.shape(type(b))
        if left.family is not right.family:
            return not (left.opaque or right.opaque) and self.same(a, b)
        own_eq = left.own_eq or right.own_eq
        if own_eq and self.rules.trusts_eq and plain_verdict(a, b):
            return True
        parts = left.expand(a, b)
        if self.rules.exact and left.family in (dict, set):
            parts = chain(cast(Pairs, parts), unlike_keys(a, b))
        if parts is False:
            return self.objects(a, b)
        if parts is True or not (own_eq or left.whole):
            return parts
        return self.explained(in_place(parts) if isinstance(parts, Items) else parts, a, b)

    def same(self, a: Any, b: Any) -> Pairs | bool:
        """Compare two values of different families: by `==`, but a truth value is no number."""
        if not self.rules.loose and is_boolean(type(a)) is not is_boolean(type(b)):
            return False
        return same(a, b) or self.objects(a, b)

    def objects(self, a: Any, b: Any) -> Pairs | bool:
        """Pair the public fields of two objects that differ, where these are what counts."""
        return field_pairs(a, b) if self.rules.any_class else False

    def explained(self, parts: Pairs, a: Any, b: Any) -> Pairs:
        """Give the parts of two containers that differ by their own word, and else the whole."""
        before = len(self.found), self.excused
        yield from parts
        if (len(self.found), self.excused) == before:
            yield WHOLE, a, b

    def shape(self, cls: type) -> Shape:
        """Look up, once in a walk, how a class is compared."""
        shape = self.shapes.get(cls)
        if shape is None:
            shape = self.shapes[cls] = shape_of(cls)
        return shape

    def kind(self, a: Any, b: Any) -> DifferenceKind:
        """Tell a changed value from one of another type; all numbers are of one type here."""
        if self.rules.exact:
            one_type = type(a) is type(b)
        else:
            one_type = self.shape(type(a)).family is self.shape(type(b)).family or (
                both_numbers(a, b) and is_boolean(type(a)) is is_boolean(type(b))
            )
        return DifferenceKind.CHANGED if one_type else DifferenceKind.TYPE

    def path(self, key: Any) -> str:
        """Write the path to a part of the innermost container."""
        keys = [*(frame.key for frame in self.stack), key]
        return self.root + "".join(k.text if type(k) is Steps else step(k) for k in keys)

    def record(self, key: Any, kind: DifferenceKind, a: Any, b: Any) -> None:
        """Note a difference at a part of the innermost container."""
        path = self.path(key)
        if self.rules.by_path and not self.rules.counts(path, a, b):
            self.excused += 1
        else:
            self.found.append(Difference(path, kind, a, b))

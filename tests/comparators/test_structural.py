"""What the structural walk finds, and what it survives."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import gc
import itertools
import json
import math
import re
import subprocess
import sys
import types
import uuid
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import attrs
import numpy
import pandas
import polars
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import documents, pairs, plain
from twinrun.comparators._rules import Rules
from twinrun.comparators.structural import Budget, BudgetExceededError, differences
from twinrun.difference import Difference, DifferenceKind, Differences
from twinrun.observation import NOTHING
from twinrun.patterns import split

NAN = float("nan")
PATIENT = Rules(budget=Budget(seconds=600))


def found(control: Any, candidate: Any, **options: Any) -> list[str]:
    """The differences as `kind path`."""
    return [f"{d.kind} {d.path}" for d in differences(control, candidate, **options)]


# The laws, on plain data


@given(pairs(plain().map(lambda value: rebuilt(value, truth=str))))
def test_nothing_differs_exactly_where_plain_values_are_equal(pair: tuple[Any, Any]) -> None:
    """Python's own `==` is the oracle on data without NaN and without truth values."""
    control, candidate = pair
    assert (differences(control, candidate) == ()) == (control == candidate)


SIMPLE = st.recursive(
    st.one_of(st.none(), st.integers(-3, 3), st.sampled_from(["", "a", "b"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from("abc"), inner)
    ),
    max_leaves=12,
)


@given(pairs(SIMPLE))
def test_nothing_differs_by_deepdiff_exactly_where_nothing_differs(pair: tuple[Any, Any]) -> None:
    """Another finder of differences is the oracle, on data of which it can tell."""
    deepdiff = pytest.importorskip("deepdiff")
    assert (differences(*pair) == ()) == (not deepdiff.DeepDiff(*pair))


@given(plain(allow_nan=True))
def test_a_value_equals_its_rebuilt_self(value: Any) -> None:
    """NaN or not, what has the same content at every place does not differ."""
    assert differences(value, rebuilt(value)) == ()


def rebuilt(value: Any, truth: Callable[[bool], Any] = bool) -> Any:
    """Build a value again with no part shared, not even a NaN."""
    if isinstance(value, dict):
        return {rebuilt(key, truth): rebuilt(part, truth) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return type(value)(rebuilt(part, truth) for part in value)
    if isinstance(value, complex):
        return complex(rebuilt(value.real), rebuilt(value.imag))
    if isinstance(value, bool):
        return truth(value)
    return float(repr(value)) if isinstance(value, float) else value


SWAPPED = {"added": "removed", "removed": "added"}


def kinds_and_places(found: Differences, swap: bool) -> list[tuple[str, str]]:
    """What was found, seen from the other side if asked; the items of a list have one place."""
    return sorted(
        (SWAPPED.get(d.kind, d.kind) if swap else str(d.kind), re.sub(r"\[-?\d+\]", "[*]", d.path))
        for d in found
    )


@given(pairs(plain(allow_nan=True)))
def test_swapping_the_sides_swaps_added_and_removed_and_nothing_else(pair: tuple[Any, Any]) -> None:
    """The same is found from either side, but for the indices of items that moved."""
    there, back = differences(*pair, limit=10_000), differences(*pair[::-1], limit=10_000)
    assert kinds_and_places(there, False) == kinds_and_places(back, True)


@given(st.lists(st.integers(0, 4), max_size=12), st.lists(st.integers(0, 4), max_size=12))
def test_lists_differ_alike_from_both_sides(control: list[int], candidate: list[int]) -> None:
    """As many items are added, removed and changed, whichever way they are aligned."""
    there, back = differences(control, candidate), differences(candidate, control)
    assert kinds_and_places(there, False) == kinds_and_places(back, True)


@given(pairs(documents()))
def test_applying_the_differences_to_the_control_gives_the_candidate(pair: tuple[Any, Any]) -> None:
    """For dicts and lists the differences say all that differs."""
    control, candidate = pair
    assert applied(rebuilt(control), differences(control, candidate, limit=10_000)) == candidate


@given(st.lists(st.integers(0, 4), max_size=15), st.lists(st.integers(0, 4), max_size=15))
def test_applying_works_where_items_moved(control: list[int], candidate: list[int]) -> None:
    """Indices are the control's, but for those of added items."""
    assert applied([*control], differences(control, candidate)) == candidate
    assert applied(tuples(control), differences(tuples(control), tuples(candidate))) == tuples(
        candidate
    )


def tuples(items: list[int]) -> list[Any]:
    """Nest every item, so that a changed one has a place of its own."""
    return [{"n": item, "m": [item]} for item in items]


def applied(value: Any, changes: Differences) -> Any:
    """Make all changes of a value in place: the innermost containers' first."""
    holder = {"$": value}
    for change in sorted(changes, key=turn):
        *way, last = map(key_of, [".$", *split(change.path)[1:]])
        inner: Any = holder
        for key in way:
            inner = inner[key]
        if change.kind is DifferenceKind.REMOVED:
            del inner[last]
        elif change.kind is DifferenceKind.ADDED and isinstance(inner, list):
            inner.insert(last, change.candidate)
        else:
            inner[last] = change.candidate
    return holder["$"]


def turn(change: Difference) -> tuple[int, int, int]:
    """Order changes: deep ones first, then changed, removed from the end, added from the front."""
    way = split(change.path)
    last = key_of(way[-1])
    index = last if type(last) is int else 0
    removed = change.kind is DifferenceKind.REMOVED
    added = change.kind is DifferenceKind.ADDED
    return -len(way), removed + 2 * added, -index if removed else index


def key_of(written: str) -> Any:
    """Read a step back into a key or an index."""
    return written[1:] if written[0] != "[" else json.loads(written[1:-1])


@given(pairs(plain()))
def test_a_limit_gives_the_first_differences(pair: tuple[Any, Any]) -> None:
    """What is cut is cut at the end."""
    everything = differences(*pair, limit=10_000)
    for limit in range(1, 4):
        assert differences(*pair, limit=limit) == everything[:limit]


def test_a_hundred_differences_are_listed_unless_asked_otherwise() -> None:
    """The default limit bounds a list of differences."""
    found = differences([0] * 1000, [1] * 1000)
    assert len(found) == 100
    assert found.cut == "more than 100 differences"
    assert differences([0] * 100, [1] * 100).cut is None


# Where and in which way


class Point(NamedTuple):
    """A named tuple."""

    x: Any
    y: Any


class Size(NamedTuple):
    """Another one with the same places."""

    width: Any
    height: Any


@attrs.frozen
class Money:
    """An attrs class with fields that count, count otherwise and don't count."""

    amount: Any
    currency: str = attrs.field(default="EUR", eq=str.lower)
    note: str = attrs.field(default="", eq=False)


@dataclasses.dataclass
class Cart:
    """A dataclass with a field that does not count."""

    items: Any
    id: int = dataclasses.field(default=0, compare=False)
    version: dataclasses.InitVar[int] = 1


@attrs.define(eq=False)
class Row:
    """An attrs class that is equal to itself only."""

    value: Any


@dataclasses.dataclass(eq=False)
class Record:
    """A dataclass that is equal to itself only."""

    value: Any


@dataclasses.dataclass
class CaseBlind:
    """A dataclass with an `__eq__` of its own."""

    name: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CaseBlind) and self.name.lower() == other.name.lower()


class Plain:
    """An object that is equal to itself only and says nothing of its fields."""


class Colour(enum.Enum):
    """An Enum."""

    RED = 1
    BLUE = 2


class Tag(str):
    """Text of a class that would like to be called."""

    def __repr__(self) -> str:
        raise AssertionError("a key's repr was called")

    __str__ = __format__ = __repr__  # type: ignore[assignment]


class Key:
    """A dict key of an unknown class."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and self.name == other.name

    def __repr__(self) -> str:
        raise AssertionError("a key's repr was called")


class Level(enum.IntEnum):
    """An Enum whose members are numbers."""

    LOW = 1
    HIGH = 2


NOON = datetime.datetime(2024, 1, 31, 12)
UTC = datetime.UTC
EAST = datetime.timezone(datetime.timedelta(hours=2))

NEVER_EQUAL = {
    "__eq__": lambda self, other: False,
    "__hash__": object.__hash__,
}


@pytest.mark.parametrize(
    ("control", "candidate", "expected"),
    [
        (1, 2, ["changed $"]),
        (1, "1", ["type $"]),
        (1, None, ["type $"]),
        (1, decimal.Decimal(2), ["changed $"]),
        (True, 0.5, ["type $"]),
        (True, 1, ["type $"]),
        ([False], [0, 1], ["type $[0]", "added $[1]"]),
        ("a", "b", ["changed $"]),
        (b"a", "a", ["type $"]),
        ([1], (1,), ["type $"]),
        ({}, [], ["type $"]),
        ([], {"a": 1}, ["type $"]),
        ([1, 2, 3], [1, 5, 3], ["changed $[1]"]),
        ([1, 2, 3], [1], ["removed $[1]", "removed $[2]"]),
        ((1,), (1, 2), ["added $[1]"]),
        ({"a": 1, "b": 2}, {"b": 3, "c": 4}, ["removed $.a", "changed $.b", "added $.c"]),
        ({"odd key": 1}, {"odd key": 2}, ['changed $["odd key"]']),
        ({'"\n\ud800': 1}, {}, [r'removed $["\"\n\ud800"]']),
        ({"größe": 1}, {}, ["removed $.größe"]),
        ({"": 1}, {}, ['removed $[""]']),
        ({3: 1}, {3: 2}, ["changed $[3]"]),
        ({10**5000: 1}, {}, ["removed $[<int>]"]),
        ({None: 1, 1.5: 2}, {}, ["removed $[None]", "removed $[1.5]"]),
        ({(1, 2): 1}, {}, ["removed $[<tuple>]"]),
        ({Key("a"): 1}, {Key("a"): 2}, ["changed $[<Key>]"]),
        ({Tag("a"): 1, Tag("b c"): 2}, {}, ["removed $.a", 'removed $["b c"]']),
        ({1, 2}, {2, 3}, ["removed $", "added $"]),
        ({1}, frozenset({1, 2}), ["added $"]),
        ({"s": {1}}, {"s": [1]}, ["type $.s"]),
        (Point(1, 2), Point(1, 3), ["changed $.y"]),
        (Point(1, 2), Size(1, 3), ["changed $[1]"]),
        (Point(1, 2), (1, 3), ["changed $[1]"]),
        (Money(1), Money(2), ["changed $.amount"]),
        (Money(1, "EUR"), Money(1, "usd"), ["changed $.currency"]),
        (Cart([1]), Cart([2], id=7), ["changed $.items[0]"]),
        (Row({"a": 1}), Row({"a": 2}), ["changed $.value.a"]),
        (Record(1), Record(2), ["changed $.value"]),
        (Record(1), Row(1), ["type $"]),
        (CaseBlind("a"), CaseBlind("b"), ["changed $"]),
        (Plain(), Plain(), ["changed $"]),
        (Colour.RED, Colour.BLUE, ["changed $"]),
        (ValueError("a", 1), ValueError("a", 2), ["changed $.args[1]"]),
        (ValueError("a"), TypeError("a"), ["type $"]),
        ({"a": {"b": [{"c": 1}]}}, {"a": {"b": [{"c": 2}]}}, ["changed $.a.b[0].c"]),
        (complex(NAN, 1), complex(NAN, 2), ["changed $"]),
        ([NAN], [1.0], ["changed $[0]"]),
        ({1, NAN}, {2, NAN}, ["removed $", "added $"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_differs_is_named_by_kind_and_place(
    control: Any, candidate: Any, expected: list[str]
) -> None:
    """Each kind of container says in its own words where two of them differ."""
    assert found(control, candidate) == expected


@pytest.mark.parametrize(
    ("control", "candidate"),
    [
        (1, 1.0),
        (1, decimal.Decimal("1.00")),
        ("a", type("Text", (str,), {})("a")),
        ([1], type("Items", (list,), {})([1])),
        (Point(1, 2), (1, 2)),
        (Point(1, 2), Size(1, 2)),
        ({1}, frozenset({1})),
        ({"a": 1}, collections.OrderedDict(a=1)),
        ({"a": 1}, collections.defaultdict(list, a=1)),
        (Money(1, "EUR", "x"), Money(1, "eur", "y")),
        (Cart([1], id=1), Cart([1], id=2)),
        (Row([1]), Row([1])),
        (Record([1]), Record([1])),
        (CaseBlind("a"), CaseBlind("A")),
        (ValueError("a", [1]), ValueError("a", [1])),
        (NAN, -NAN),
        (NAN, decimal.Decimal("NaN")),
        ({NAN, 1}, {float("nan"), 1}),
        (complex(1, NAN), complex(1, -NAN)),
        (numpy.float32("nan"), NAN),
        (numpy.complex64(NAN), complex(NAN)),
        (numpy.datetime64("NaT", "D"), numpy.datetime64("NaT", "s")),
        (Money(NAN), Money(float("nan"))),
        (Cart([NAN]), Cart([float("nan")])),
        (ValueError(NAN), ValueError(float("nan"))),
        (collections.OrderedDict(a=NAN), collections.OrderedDict(a=float("nan"))),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_counts_as_equal(control: Any, candidate: Any) -> None:
    """Values are told apart by `==` and by content, not by their class; NaN equals NaN."""
    assert differences(control, candidate) == ()
    assert differences([control], [candidate]) == ()


def test_a_difference_carries_the_raw_values() -> None:
    """Both sides are the objects themselves, NOTHING where there is none."""
    old, new = object(), object()
    changed = Difference("$.a", DifferenceKind.CHANGED, old, new)
    removed = Difference("$[0]", DifferenceKind.REMOVED, old, NOTHING)
    added = Difference("$", DifferenceKind.ADDED, NOTHING, new)
    assert differences({"a": old}, {"a": new}) == (changed,)
    assert differences([old], []) == (removed,)
    assert differences(set(), {new}) == (added,)


def test_an_object_that_equals_nothing_is_not_taken_for_nan() -> None:
    """Only numbers can be "not a number"."""
    lonely = type("Lonely", (), NEVER_EQUAL)
    assert found(lonely(), lonely()) == ["changed $"]


def test_the_order_of_ordered_dicts_counts_between_two_of_them() -> None:
    """As by their own `==`; the parts are told first."""
    one, two = collections.OrderedDict(a=1, b=2), collections.OrderedDict(b=2, a=1)
    assert found([one], [two]) == ["changed $[0]"]
    assert found(one, dict(two)) == []
    two["b"] = 3
    assert "changed $.b" in found(one, two)


def test_a_container_with_its_own_eq_is_judged_by_it_and_explained_by_its_parts() -> None:
    """A Counter says that a missing count is zero; where it differs, the entries say why."""
    counter = collections.Counter
    assert found(counter(a=1), counter(a=1, b=0)) == []
    assert found(counter(a=1), counter(a=2)) == ["changed $.a"]
    moody = type("Moody", (list,), NEVER_EQUAL)
    assert found([moody([1])], [moody([1])]) == ["changed $[0]"]


def test_an_unset_field_is_an_absent_one() -> None:
    """A slot that was never filled is removed or added, no error."""
    empty = Row.__new__(Row)
    assert found(Row(1), empty) == ["removed $.value"]
    assert found(empty, Row(1)) == ["added $.value"]
    assert found(empty, Row.__new__(Row)) == []


def test_a_subclass_compares_the_fields_that_its_inherited_eq_compares() -> None:
    """Fields of a subclass whose `__eq__` is the base's do not count, as for `==`."""

    @attrs.define(eq=False)
    class Priced(Money):
        price: int = 0

    assert Priced(1, price=1) == Priced(1, price=2)
    assert found(Priced(1, price=1), Priced(1, price=2)) == []
    assert found(Priced(1), Priced(2)) == ["changed $.amount"]


def test_the_code_of_unknown_objects_is_not_asked_for_its_class() -> None:
    """A lazy object that loads when asked for `__class__` is left alone."""

    class Lazy:
        @property
        def __class__(self) -> Any:
            raise AssertionError("loaded")

    assert found(Lazy(), Lazy()) == ["changed $"]
    assert found(Lazy(), 1) == ["type $"]


# Containers of other kinds


class Lazy(collections.abc.Mapping[str, Any]):
    """A mapping of one's own, without an end if asked."""

    def __init__(self, entries: dict[str, Any], endless: bool = False) -> None:
        self.entries = entries
        self.endless = endless

    def __getitem__(self, key: str) -> Any:
        return 0 if self.endless else self.entries[key]

    def __iter__(self) -> Iterator[str]:
        return map(str, itertools.count()) if self.endless else iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


class Turns(collections.abc.Sequence[Any]):
    """A sequence of one's own that has no `==`."""

    def __init__(self, *items: Any) -> None:
        self.items = items

    def __getitem__(self, index: Any) -> Any:
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)


@pytest.mark.parametrize(
    "make",
    [
        types.MappingProxyType,
        collections.UserDict,
        collections.ChainMap,
        collections.OrderedDict,
        Lazy,
    ],
)
def test_mappings_are_compared_by_their_entries(make: Callable[[Any], Any]) -> None:
    """Whatever their classes, and with dicts."""
    one, two = {"a": 1, "b": [NAN]}, {"a": 2, "c": 3}
    again = {"b": [float("nan")], "a": 1}
    expected = ["changed $.a", "removed $.b", "added $.c"]
    for ours, theirs in ((make, make), (make, dict), (dict, make)):
        assert found(ours(one), theirs(two)) == expected
        assert found([ours(one)], [theirs({**one})]) == []
    if make is not collections.OrderedDict:
        assert found(make(one), make(again)) == []


def test_a_mapping_without_an_end_uses_up_the_budget_only() -> None:
    """Nobody builds a dict of it."""
    few = Rules(budget=Budget(nodes=1000))
    with pytest.raises(BudgetExceededError, match="more than 1000 parts"):
        differences([Lazy({}, endless=True)], [Lazy({}, endless=True)], rules=few)


@pytest.mark.parametrize("make", [collections.deque, collections.UserList, lambda i: Turns(*i)])
def test_sequences_of_other_kinds_are_compared_by_their_items(make: Callable[[Any], Any]) -> None:
    """With their like; a deque is no list."""
    assert found(make([1, [NAN], 3]), make([1, [float("nan")], 3])) == []
    assert found(make([1, {"a": 2}, 3]), make([1, {"a": 3}, 3])) == ["changed $[1].a"]
    assert found(make([1, 2]), make([1, 2, 3])) == ["added $[2]"]
    if make is not collections.UserList:  # which equals a list
        assert found(make([1]), [1]) == ["type $"]


@pytest.mark.parametrize(
    ("control", "candidate", "expected"),
    [
        (collections.UserString("a"), collections.UserString("b"), ["changed $"]),
        (collections.UserString("a"), "a", []),
        (range(3), range(0, 3, 1), []),
        (range(3), range(4), ["changed $"]),
        (range(3), [0, 1, 2], ["type $"]),
        (bytearray(b"a"), b"a", []),
        (memoryview(b"a"), b"a", []),
        ({"a": 1}.keys(), {"a": 2}.keys(), []),
        ({"a": 1}.keys(), {"b": 1}.keys(), ["changed $"]),
        (decimal.Decimal("1.0"), decimal.Decimal("1.00"), []),
        (fractions.Fraction(1, 2), 0.5, []),
        (NOON.replace(tzinfo=UTC), NOON.replace(hour=14, tzinfo=EAST), []),
        (NOON.replace(tzinfo=UTC), NOON, ["changed $"]),
        (NOON, NOON.date(), ["type $"]),
        (uuid.UUID(int=1), uuid.UUID(int=1), []),
        (uuid.UUID(int=1), uuid.UUID(int=2), ["changed $"]),
        (Level.LOW, 1, []),
        (Level.LOW, Level.HIGH, ["changed $"]),
        (Colour.RED, 1, ["type $"]),
        (numpy.True_, True, []),
        (numpy.True_, 1, ["type $"]),
        (numpy.float32(0.5), 0.5, []),
    ],
    ids=lambda value: type(value).__name__,
)
def test_single_values_are_compared_by_what_they_mean(
    control: Any, candidate: Any, expected: list[str]
) -> None:
    """By `==`, as the documented table says; in either order."""
    assert found(control, candidate) == expected
    assert found([candidate], [control]) == [e.replace("$", "$[0]") for e in expected]


# Arrays and frames


def ragged(*values: Any) -> Any:
    """An array of objects."""
    array = numpy.empty(len(values), dtype=object)
    array[:] = values
    return array


FRAME = {"a": [1.0, NAN], "b": ["x", "y"]}


@pytest.mark.parametrize(
    "make",
    [
        lambda: numpy.array([1.0, NAN]),
        lambda: numpy.array([[1, 2], [3, 4]]),
        lambda: numpy.array(["a", "b"]),
        lambda: numpy.array(["NaT"], dtype="datetime64[s]"),
        lambda: numpy.array([(1, NAN)], dtype=[("x", int), ("y", float)]),
        lambda: numpy.array(5),
        lambda: numpy.zeros((0, 3)),
        lambda: ragged(1, NAN, [NAN], None),
        lambda: numpy.ma.array([1, 2], mask=[False, True]),
        lambda: pandas.DataFrame(FRAME),
        lambda: pandas.DataFrame(FRAME)["a"],
        lambda: pandas.Index([1, 2]),
        lambda: pandas.Categorical(["a", "b"]),
        lambda: pandas.array([1, None]),
        lambda: pandas.Series([1, None], dtype="Int64"),
        lambda: polars.DataFrame(FRAME),
        lambda: polars.DataFrame(FRAME)["a"],
        lambda: polars.Series([1, None]),
    ],
)
def test_arrays_and_frames_of_the_same_content_are_equal(make: Callable[[], Any]) -> None:
    """Alone or inside something, with NaN and with none."""
    assert differences(make(), make()) == ()
    assert differences({"a": [make()]}, {"a": [make()]}) == ()
    assert differences(Money(make()), Money(make())) == ()


@pytest.mark.parametrize(
    ("control", "candidate", "expected"),
    [
        (numpy.array([1, 2]), numpy.array([1, 3]), ["changed $[1]"]),
        (numpy.array([NAN]), numpy.array([1.0]), ["changed $[0]"]),
        (numpy.array([[1, 2]]), numpy.array([[3, 2]]), ["changed $[0][0]"]),
        (numpy.array([True]), numpy.array([1]), ["changed $"]),
        (numpy.array(5), numpy.array(6), ["changed $"]),
        (numpy.array([1]), numpy.array([[1]]), ["changed $"]),
        (numpy.array([1]), numpy.array([]), ["changed $"]),
        (numpy.array([1]), [1], ["type $"]),
        (numpy.array(1), 1, ["type $"]),
        (ragged(1, [2]), ragged(1, [3]), ["changed $[1][0]"]),
        (numpy.array(["a"]), numpy.array([1]), ["type $[0]"]),
        (numpy.float64(1), 2, ["changed $"]),
        (numpy.datetime64("2024-01-01"), numpy.datetime64("NaT", "s"), ["changed $"]),
        (pandas.DataFrame({"a": [1]}), pandas.DataFrame({"b": [1]}), ["changed $"]),
        (pandas.Series([1]), pandas.Series([1, 2]), ["changed $"]),
        (pandas.array([1, None]), pandas.array([2, None]), ["changed $[0]"]),
        (pandas.Categorical(["a"]), pandas.Categorical(["b"]), ["changed $[0]"]),
        (pandas.Series([1]), pandas.DataFrame([1]), ["type $"]),
        (pandas.Series([1]), numpy.array([1]), ["type $"]),
        (pandas.NA, 1, ["type $"]),
        (pandas.NA, NAN, ["type $"]),
        (polars.DataFrame({"a": [1]}), polars.DataFrame({"a": [2]}), ["changed $.a[0]"]),
        (pandas.DataFrame({"a": [1, 2]}), pandas.DataFrame({"a": [1, 3]}), ["changed $.a[1]"]),
        (pandas.Series([1]), pandas.Series([1.0]), ["changed $"]),
        (pandas.Series([1], [0]), pandas.Series([1], [1]), ["changed $.index[0]"]),
        (polars.Series([1]), polars.Series([None]), ["type $[0]"]),
        (polars.Series([1]), [1], ["type $"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_arrays_and_frames_of_other_content_differ(
    control: Any, candidate: Any, expected: list[str]
) -> None:
    """They differ as a whole, arrays of objects by element, and never equal a list."""
    assert found(control, candidate) == expected
    assert found(Row(control), Row(candidate)) == [e.replace("$", "$.value") for e in expected]


def test_masked_places_are_compared_as_masked() -> None:
    """The same data under another mask differs."""
    data = [1, 2]
    one, two = numpy.ma.array(data, mask=[0, 1]), numpy.ma.array(data, mask=[0, 0])
    assert found(one, two) == ["type $[1]"]


def test_comparing_imports_no_library() -> None:
    """Arrays and frames are known by the modules that are there already."""
    code = (
        "import sys; from twinrun.comparators import equal; equal.differences([{1: 2.5}], [3j]);"
        "print(sorted({'numpy', 'pandas', 'polars', 'dataclasses', 'json'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# What it survives


class Hostile:
    """A value whose `==` raises."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __eq__(self, other: object) -> bool:
        raise self.error

    __hash__ = None  # type: ignore[assignment]


class Ambiguous:
    """A value whose `==` gives what has no truth."""

    def __eq__(self, other: object) -> Any:
        return Ambiguous()

    def __bool__(self) -> bool:
        raise ZeroDivisionError("no truth")

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize("error", [ValueError("x"), StopIteration(), RecursionError()], ids=repr)
def test_what_eq_raises_escapes_if_nothing_else_differs(error: Exception) -> None:
    """Whether two values are equal can't be known then."""
    for one, two in ((Hostile(error), Hostile(error)), ([1, Hostile(error)], [1, 5])):
        with pytest.raises(type(error)) as caught:
            differences(one, two)
        assert caught.value is error


def test_a_bool_that_raises_escapes_too() -> None:
    """`==` may give anything."""
    with pytest.raises(ZeroDivisionError):
        differences([Ambiguous()], [Ambiguous()])


def test_a_container_is_no_verdict() -> None:
    """An `==` that gives one answer for each part is not taken for a yes because it has parts."""

    class Parts(Plain):
        def __eq__(self, other: object) -> Any:
            return [False, False]

        __hash__ = None  # type: ignore[assignment]

    class Items(list[int]):
        __eq__ = Parts.__eq__  # type: ignore[assignment]
        __hash__ = None  # type: ignore[assignment]

    for one, two in ((Parts(), Parts()), (Items(), Items())):
        with pytest.raises(TypeError, match=r"list, which says neither yes nor no"):
            differences(one, two)


def test_a_verdict_needs_not_be_a_bool() -> None:
    """Its truth counts, as where it stands in an `if`."""

    def answering(answer: Any) -> Any:
        return type("Answering", (), {"__eq__": lambda self, other: answer, "__hash__": None})()

    for answer in (1, object(), numpy.True_):
        assert found(answering(answer), 5) == []
    for answer in (0, None, numpy.False_):
        assert found(answering(answer), 5) == ["type $"]


def test_a_real_difference_counts_whatever_eq_raises_elsewhere() -> None:
    """Before or after it, inside or outside."""
    bad = Hostile(ValueError())
    assert found([bad, 1], [bad.__class__(ValueError()), 2]) == ["changed $[1]"]
    assert found({"a": 1, "b": bad}, {"a": 2, "b": 0}) == ["changed $.a"]
    assert found([{"a": bad, "b": 1}], [{"a": 0}]) == ["removed $[0].b"]


def test_a_key_that_can_not_be_looked_up_ends_only_its_own_dict() -> None:
    """The error escapes if nothing else differs."""

    class Bad:
        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            raise LookupError

    with pytest.raises(LookupError):
        differences([{Bad(): 1}], [{Bad(): 1}])
    assert found([{Bad(): 1}, 1], [{Bad(): 1}, 2]) == ["changed $[1]"]
    assert found([{Bad()}, 1], [{Bad()}, 2]) == ["changed $[1]"]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit, BaseException])
def test_what_is_no_exception_passes_at_once(kind: type[BaseException]) -> None:
    """It is not ours to judge, even where a real difference was found."""
    error = kind()
    with pytest.raises(kind) as caught:
        differences([1, Hostile(error)], [2, Hostile(error)])
    assert caught.value is error


def nested(depth: int, wrap: Callable[[Any], Any], leaf: Any) -> Any:
    """Wrap a leaf so many times."""
    for _ in range(depth):
        leaf = wrap(leaf)
    return leaf


@pytest.mark.parametrize(
    ("wrap", "depth"),
    [
        (lambda value: [value], 100_000),
        (lambda value: {"a": (value,)}, 10_000),
        (lambda value: [value, value], 10_000),
        (Money, 10_000),
        (Record, 10_000),
    ],
    ids=["list", "dict", "pair", "attrs", "dataclass"],
)
def test_a_deep_nesting_is_walked(wrap: Callable[[Any], Any], depth: int) -> None:
    """There is no recursion anywhere."""
    one, two = (nested(depth, wrap, leaf) for leaf in (1, 2))
    difference = differences(one, two, rules=PATIENT)[0]
    assert (difference.control, difference.candidate) == (1, 2)


def cycle(leaf: Any) -> list[Any]:
    """A list that holds itself, a dict that holds it, and a leaf."""
    loop: list[Any] = []
    loop += [loop, {"loop": loop}, leaf]
    return loop


def test_cycles_end() -> None:
    """A pair that is under way is not entered again."""
    assert found(cycle(1), cycle(1)) == []
    assert found(cycle(1), cycle(2)) == ["changed $[2]"]
    unrolled = [cycle(1), {"loop": cycle(1)}, 1]
    assert found(cycle(1), unrolled) == []


def test_equal_parts_are_spared_the_walk() -> None:
    """Equal items of a list cost one `==` each, so that the budget lasts for large values."""
    one = [[0] * 1000 for _ in range(2000)]
    two = [[0] * 1000 for _ in range(2000)]
    two[-1][-1] = 1
    assert found(one, two) == ["changed $[1999][999]"]


def test_a_shared_part_is_told_at_each_of_its_places() -> None:
    """Only pairs that are equal are skipped when they are met again."""
    one, two = [1], [2]
    assert found([one, one], [two, two]) == ["changed $[0][0]", "changed $[1][0]"]


def test_shared_parts_cost_no_more_than_once() -> None:
    """2 ** 60 ways lead to the leaf, which is found equal once."""
    one, two, other = (nested(60, lambda v: [v, v], [leaf]) for leaf in (NAN, float("nan"), 1))
    assert differences(one, two) == ()
    assert len(differences(one, other)) == 100


def test_values_made_on_the_fly_are_never_mixed_up() -> None:
    """A field that gives a new object each time may not pass for one that was freed."""

    class Fresh:
        def __init__(self, items: list[int]) -> None:
            self.items = items

        def __get__(self, instance: Any, owner: type) -> list[int]:
            return [instance.n] if instance is not None else self.items

    class View(Row):
        value = Fresh([])  # type: ignore[assignment]

    def view(n: int) -> View:
        made = View.__new__(View)
        made.n = n  # type: ignore[attr-defined]
        return made

    same, other = [view(n) for n in range(50)], [view(n) for n in range(50)]
    other[-1] = view(0)
    assert found(same, other) == ["changed $[49].value[0]"]


def test_a_comparison_gives_up_after_its_budget() -> None:
    """What is too large to be told apart is said to be so, unless it was told apart before."""
    few = Rules(budget=Budget(nodes=1000))
    one, two = ([[[value]] for _ in range(400)] for value in (NAN, float("nan")))
    assert differences(one[:300], two[:300], rules=few) == ()
    with pytest.raises(BudgetExceededError, match="more than 1000 parts"):
        differences(one, two, rules=few)
    two[1] = [1.0]
    (known,) = told = differences(one, two, rules=few)
    assert known.path == "$[1][0]"
    assert told.cut == "more than 1000 parts"


def test_a_structure_without_end_is_given_up() -> None:
    """One that grows as it is looked at ends with the budget."""
    few = Rules(budget=Budget(nodes=1000))

    class Endless(Record):
        @property
        def value(self) -> Any:  # type: ignore[override]
            return Endless.__new__(Endless)

    with pytest.raises(BudgetExceededError):
        differences(Endless.__new__(Endless), Endless.__new__(Endless), rules=few)


def test_a_container_that_changes_while_it_is_walked_is_an_error_at_most() -> None:
    """Nothing else than an ordinary exception comes of it."""

    class Growing:
        def __eq__(self, other: object) -> bool:
            value[len(value)] = 1
            return True

        __hash__ = None  # type: ignore[assignment]

    value: dict[Any, Any] = {0: Growing(), 1: 1}
    with pytest.raises(RuntimeError, match="changed size"):
        differences(value, {0: 1, 1: 1})


def test_overridden_methods_of_containers_are_not_called() -> None:
    """A list or dict that lies about its content, or never ends, is read past its lies."""

    def fail(self: Any, *args: Any) -> Iterator[Any]:
        raise AssertionError("an overridden method was called")

    methods = dict.fromkeys(
        ("__iter__", "__len__", "__getitem__", "__contains__", "items", "keys", "get"), fail
    )
    for family in (list, tuple, set, frozenset):
        lying = type("Lying", (family,), methods)
        assert found(lying([1]), family([1])) == []
        assert found(lying([1]), family([2])) != []
    lying = type("Lying", (dict,), methods)
    assert found(lying({1: 2}), lying({1: 3, 2: 4})) == ["changed $[1]", "added $[2]"]


@pytest.mark.parametrize("candidate", [[1], [2]])
def test_an_error_that_was_met_keeps_nothing_alive(candidate: list[int]) -> None:
    """No reference cycle is left behind, whether the error escaped or not."""

    class Loud(Plain):
        def __eq__(self, other: object) -> bool:
            raise ValueError

        __hash__ = None  # type: ignore[assignment]

    gc.collect()
    gc.disable()
    try:
        loud = Loud()
        alive = weakref.ref(loud)
        try:
            differences([1, loud], [*candidate, 0])
        except ValueError:
            assert candidate == [1]
        del loud
        assert alive() is None
    finally:
        gc.enable()


def test_minus_zero_equals_zero() -> None:
    """As by `==`."""
    assert math.copysign(1, -0.0) == -1
    assert differences([0.0], [-0.0]) == ()

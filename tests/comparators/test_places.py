"""Comparators that treat some places otherwise than the rest."""

from __future__ import annotations

import collections
import dataclasses
import enum
from typing import Any, NamedTuple

import attrs
import pytest
import sqlalchemy
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import orm

from strategies import documents, pairs
from twinrun.comparators import (
    approx,
    by,
    by_field,
    case_insensitive,
    equal,
    exact,
    ignoring,
    only,
    same_fields,
    unordered,
)
from twinrun.difference import Difference
from twinrun.errors import ConfigurationError
from twinrun.patterns import Pattern


def found(compare: Any, control: Any, candidate: Any) -> list[str]:
    """The differences as `kind path`."""
    return [f"{d.kind} {d.path}" for d in compare.differences(control, candidate)]


# ignoring and only


PATTERNS = st.sampled_from(["$", "$.a", "$..a", "$[*]", "$[0]", "$.a.b", "$[*].b", "$..*"])


@given(pairs(documents()), st.lists(PATTERNS, min_size=1, max_size=3))
def test_ignoring_leaves_what_no_pattern_covers(pair: tuple[Any, Any], texts: list[str]) -> None:
    """The same differences, without those at the places; so where items keep their places."""
    patterns = [Pattern(text) for text in texts]
    everything = equal.differences(*pair)
    if any(d.kind in ("added", "removed") for d in everything) or len(everything) > 90:
        return
    left = [d.path for d in everything if not any(p.covers(d.path) for p in patterns)]
    assert [d.path for d in ignoring(*texts).differences(*pair)] == left
    assert ignoring(*texts)(*pair) == (not left)
    kept = [d.path for d in everything if any(is_kept(d, p) for p in patterns)]
    assert [d.path for d in only(*texts).differences(*pair)] == kept
    assert only(*texts)(*pair) == (not kept)


def is_kept(difference: Difference, pattern: Pattern) -> bool:
    """Whether a difference lies in such a place, or may hold one."""
    sides = (difference.control, difference.candidate)
    holds = any(isinstance(side, dict | list) for side in sides)
    holds = holds or any(type(side) is complex for side in sides)  # who knows
    return pattern.covers(difference.path) or (holds and pattern.reaches(difference.path))


def test_what_is_ignored_does_not_use_up_the_list() -> None:
    """A difference is found behind any number of ignored ones."""
    ours, theirs = {"t": [0] * 5000, "z": 1}, {"t": [1] * 5000, "z": 2}
    told = ignoring("$.t").differences(ours, theirs)
    assert [d.path for d in told] == ["$.z"]
    assert told.cut is None
    told = ignoring("$.t[*]").differences(ours, theirs)
    assert [d.path for d in told] == ["$.z"]


def test_ignored_parts_do_not_keep_items_from_being_aligned() -> None:
    """An insertion among records that all differ in their time is one difference."""
    ours = [{"id": n, "at": n} for n in range(100)]
    theirs = [{"id": n, "at": -n} for n in range(-1, 100)]
    assert found(ignoring("$[*].at"), ours, theirs) == ["added $[0]"]


def test_a_part_that_is_shared_counts_where_it_is_not_ignored() -> None:
    """Being ignored at one place says nothing of another."""
    one, two = {"x": 1}, {"x": 2}
    assert found(ignoring("$.a"), {"a": one, "b": one}, {"a": two, "b": two}) == ["changed $.b.x"]
    assert found(only("$.b"), {"a": one, "b": one}, {"a": two, "b": two}) == ["changed $.b.x"]


def test_only_counts_what_holds_the_place_and_is_gone() -> None:
    """A part that is missing around it takes it along."""
    compare = only("$.user.name")
    ours = {"user": {"name": "ann", "age": 7}, "z": 1}
    assert compare(ours, {"user": {"name": "ann", "age": 8}})
    assert found(compare, ours, {"user": {"name": "bob", "age": 8}}) == ["changed $.user.name"]
    assert found(compare, ours, {"user": {}}) == ["removed $.user.name"]
    assert found(compare, ours, {}) == ["removed $.user"]
    assert found(compare, ours, 5) == ["type $"]


def test_only_and_ignoring_combine() -> None:
    """Each narrows what is left by the other."""
    compare = ignoring("$.a.x", compare=only("$.a"))
    ours = {"a": {"x": 1, "y": 1}, "b": 1}
    assert compare(ours, {"a": {"x": 2, "y": 1}, "b": 2})
    assert found(compare, ours, {"a": {"x": 2, "y": 2}, "b": 2}) == ["changed $.a.y"]
    assert only("$.a", compare=only("$..x"))(ours, {"a": {"x": 1, "y": 2}, "b": 2})


def test_a_container_that_differs_by_an_ignored_part_only_is_equal() -> None:
    """Though its own `==` says no."""
    counter = collections.Counter
    assert ignoring("$.a")(counter(a=1, b=1), counter(a=2, b=1))
    assert found(ignoring("$.a"), counter(a=1, b=1), counter(a=2, b=2)) == ["changed $.b"]


@pytest.mark.parametrize("make", [ignoring, only])
@pytest.mark.parametrize("patterns", [(), ("a",), (3,), (["$.a"],), ("$.a", "$.")], ids=repr)
def test_wrong_patterns_are_refused(make: Any, patterns: tuple[Any, ...]) -> None:
    """When the comparator is made."""
    with pytest.raises(ConfigurationError, match="pattern"):
        make(*patterns)


def test_patterns_may_be_compiled_ones() -> None:
    """What others made of a text serves too."""
    assert ignoring(Pattern("$.a"))({"a": 1}, {"a": 2})


# by_field


def test_each_field_is_compared_by_its_own_comparator() -> None:
    """By name, by pattern, by a plain callable; the rest as ever."""
    compare = by_field(
        {
            "price": approx(abs=1),
            "odd name": case_insensitive,
            "$.items[*].tags": unordered(),
            "$.size": lambda a, b: a <= b,
        }
    )
    ours = {"price": 5, "odd name": "A", "items": [{"tags": [1, 2]}], "size": 1, "z": 1}
    same = {"price": 6, "odd name": "a", "items": [{"tags": [2, 1]}], "size": 2, "z": 1}
    assert compare(ours, same)
    other = {"price": 7, "odd name": "b", "items": [{"tags": [2, 3]}], "size": 0, "z": 2}
    assert found(compare, ours, other) == [
        "changed $.price",
        'changed $["odd name"]',
        "removed $.items[0].tags[0]",
        "added $.items[0].tags[1]",
        "changed $.size",
        "changed $.z",
    ]


def test_a_field_may_be_compared_more_strictly() -> None:
    """Though `==` says that the whole is equal."""
    compare = by_field({"$..n": exact})
    assert equal([{"n": 1}], [{"n": 1.0}])
    assert found(compare, [{"n": 1, "m": 1}], [{"n": 1.0, "m": 1.0}]) == ["type $[0].n"]
    assert not by_field({"a": lambda a, b: False})({"a": 1, "b": 1.0}, {"a": 1.0, "b": 1})
    assert by_field({"a": lambda a, b: False})({"a": None}, {"a": None})  # the very same


def test_the_last_pattern_of_a_place_holds_and_missing_places_differ() -> None:
    """A comparator is asked about two values only."""
    compare = by_field({"$.*": lambda a, b: True, "a": equal}, compare=ignoring("$.c"))
    assert found(compare, {"a": 1, "b": 1, "c": 1}, {"a": 2, "b": 2, "d": 1}) == [
        "changed $.a",
        "added $.d",
    ]


def test_what_a_fields_comparator_raises_escapes_unless_something_differs() -> None:
    """As what an `==` raises."""

    def fail(a: Any, b: Any) -> bool:
        raise LookupError

    with pytest.raises(LookupError):
        by_field({"a": fail})({"a": 1}, {"a": 2})
    assert found(by_field({"a": fail}), {"a": 1, "b": 1}, {"a": 2, "b": 2}) == ["changed $.b"]


@pytest.mark.parametrize(
    "fields", [{}, None, [("a", equal)], {"a": 3}, {3: equal}, {"$.": equal}], ids=repr
)
def test_wrong_fields_are_refused(fields: Any) -> None:
    """When the comparator is made; the error shows what was given."""
    with pytest.raises(ConfigurationError, match=r"accepted|pattern"):
        by_field(fields)


# same_fields


class Point(NamedTuple):
    """A named tuple."""

    x: Any
    y: Any


@attrs.frozen
class Slotted:
    """An attrs class with slots, and a field that doesn't count."""

    x: Any
    y: Any
    z: Any = attrs.field(default=0, eq=False)


@dataclasses.dataclass
class Data:
    """A dataclass with a private field."""

    x: Any
    y: Any
    _private: int = 0


class Plain:
    """An object with a property that must not be asked for."""

    def __init__(self, x: Any, y: Any) -> None:
        self.x = x
        self.y = y
        self._cache = object()

    @property
    def z(self) -> Any:
        """Nobody asks."""
        raise AssertionError("asked for a property")

    def __getattribute__(self, name: str) -> Any:
        if name in ("x", "y", "__dict__"):
            raise AssertionError(f"asked for {name}")
        return object.__getattribute__(self, name)


class Slots:
    """An object with slots, in two classes."""

    __slots__ = ("x",)


class MoreSlots(Slots):
    """Its heir."""

    __slots__ = ("_hidden", "y")

    def __init__(self, x: Any, y: Any) -> None:
        self.x = x
        self.y = y


class Base(orm.DeclarativeBase):
    """What rows are made of."""


class Row(Base):
    """A row of a table."""

    __tablename__ = "rows"
    x: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    y: orm.Mapped[int]


MAKERS = [
    Point,
    Slotted,
    Data,
    Plain,
    MoreSlots,
    lambda x, y: Row(x=x, y=y),
    lambda x, y: {"x": x, "y": y},
]


@pytest.mark.parametrize("ours", MAKERS)
@pytest.mark.parametrize("theirs", MAKERS)
def test_objects_of_any_classes_are_equal_by_their_public_fields(ours: Any, theirs: Any) -> None:
    """Whoever made the classes, and nothing of them is called."""
    compare = same_fields()
    assert compare([ours(1, 2)], [theirs(1, 2)])
    assert found(compare, [ours(1, 2)], [theirs(1, 3)]) in (["changed $[0].y"], ["changed $[0][1]"])


def test_fields_that_one_class_lacks_are_removed_or_added() -> None:
    """And nested objects are compared likewise."""

    class Named:
        def __init__(self, **fields: Any) -> None:
            self.__dict__.update(fields)

    class Other(Named):
        pass

    assert found(same_fields(), Named(a=1, b=2), Other(b=2, c=3)) == ["removed $.a", "added $.c"]
    ours, theirs = Named(a=[Named(b=1)]), Other(a=[{"b": 2}])
    assert found(same_fields(), ours, theirs) == ["changed $.a[0].b"]
    assert found(equal, ours, theirs) == ["type $"]


def test_rows_that_are_not_loaded_are_not_loaded() -> None:
    """Only what stands in the row already is compared."""
    engine = sqlalchemy.create_engine("sqlite://")
    Base.metadata.create_all(engine)
    asked: list[str] = []
    with orm.Session(engine) as session:
        session.add(Row(x=1, y=2))
        session.commit()
        row = session.scalars(sqlalchemy.select(Row).options(orm.load_only(Row.x))).one()
        sqlalchemy.event.listen(engine, "before_cursor_execute", lambda *a: asked.append(a[2]))
        assert found(same_fields(), row, Slotted(1, 2)) == ["added $.y"]
    assert asked == []
    engine.dispose()


class Colour(enum.Enum):
    """Members are values, not objects with fields."""

    RED = 1
    BLUE = 2


def test_what_has_no_fields_is_compared_as_ever() -> None:
    """Numbers, text, members of an Enum, exceptions, classes."""
    compare = same_fields()
    assert found(compare, Colour.RED, Colour.BLUE) == ["changed $"]
    assert found(compare, 1, "1") == ["type $"]
    assert found(compare, {1: 2}, Point(1, 2)) == ["type $"]
    assert found(compare, ValueError(1), KeyError(1)) == ["type $"]
    assert found(compare, Point, Data) == ["changed $"]
    assert found(compare, object(), object()) == ["changed $"]


def test_it_combines_with_the_others() -> None:
    """Fields are places like others."""
    compare = ignoring("$.y", compare=same_fields(compare=approx(abs=1)))
    assert compare(Point(1, 2), Data(2, 9))
    assert repr(compare) == "ignoring('$.y', compare=same_fields(compare=approx(abs=1)))"


# What they share


@pytest.mark.parametrize(
    "make",
    [
        lambda c: ignoring("$.a", compare=c),
        lambda c: only("$.a", compare=c),
        lambda c: by_field({"a": equal}, compare=c),
        lambda c: same_fields(compare=c),
        lambda c: by(len, compare=c),
    ],
)
def test_they_vary_comparators_by_content_only(make: Any) -> None:
    """Another callable knows nothing of places."""
    with pytest.raises(ConfigurationError, match="comparator by content is accepted"):
        make(lambda a, b: True)


def test_reprs_are_the_calls_that_made_them() -> None:
    """Nested as they were."""
    assert repr(ignoring("$.a", "$..b")) == "ignoring('$.a', '$..b')"
    assert repr(only('$["odd"]')) == "only('$[\"odd\"]')"
    assert repr(by_field({"a": approx(abs=1)})) == "by_field({'a': approx(abs=1)})"
    assert repr(same_fields()) == "same_fields()"

"""A candidate gets its own copies of the mutable built-in containers, and of nothing else."""

from __future__ import annotations

import copy
import io
import threading
from collections import Counter, OrderedDict, defaultdict, deque
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinrun import Experiment, Result, experiment, tallies
from twinrun._runner.isolation import UnsharableError, copied

ATOMS = st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.binary(max_size=3)
CONTAINERS = st.recursive(
    ATOMS | st.sets(st.integers(), max_size=3) | st.builds(bytearray, st.binary(max_size=3)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=2), inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
    ),
    max_leaves=12,
)


def ruin(value: Any, seen: set[int] | None = None) -> None:
    """Change every mutable built-in container that can be reached."""
    seen = set() if seen is None else seen
    if id(value) in seen:
        return
    seen.add(id(value))
    if type(value) is dict:
        for item in list(value.values()):
            ruin(item, seen)
        value["ruined"] = True
    elif type(value) in (list, tuple):
        for item in list(value):
            ruin(item, seen)
        if type(value) is list:
            value.append("ruined")
    elif type(value) is set:
        value.add("ruined")
    elif type(value) is bytearray:
        value += b"ruined"


@given(st.lists(CONTAINERS, max_size=3), st.dictionaries(st.sampled_from("ab"), CONTAINERS))
def test_a_candidate_cannot_change_what_the_control_sees(
    args: list[Any], kwargs: dict[str, Any]
) -> None:
    """Nor what another candidate sees, whatever the nesting; the caller's own stay the caller's."""
    before = copy.deepcopy((args, kwargs))
    seen: list[Any] = []

    def candidate(*own: Any, **named: Any) -> None:
        seen.append(copy.deepcopy((list(own), named)))
        for value in (*own, *named.values()):
            ruin(value)

    def control(*own: Any, **named: Any) -> None:
        seen.append(copy.deepcopy((list(own), named)))
        assert all(a is b for a, b in zip(own, args, strict=True))

    made = Experiment(
        "isolation.ruin",
        control=control,
        candidates={"a": candidate, "b": candidate},
        order="control-last",
        publishers=(),
    )
    made(*args, **kwargs)
    quick = Experiment(
        "isolation.ruin", control=control, candidate=candidate, order="control-last", publishers=()
    )
    quick(*args, **kwargs)
    assert seen == [before] * 5
    assert (args, kwargs) == before


def own_copy(*args: Any) -> tuple[Any, ...]:
    """Give a candidate's own positional arguments."""
    return copied(args, {}, "containers", keep_first=False)[0]


class Point(NamedTuple):
    """A tuple, but not exactly one."""

    x: list[int]


class Record:
    """An object with state."""


SHARED = [
    3,
    "text",
    b"bytes",
    (1, "a", (2, b"b")),
    frozenset({1}),
    range(3),
    Point([1]),
    OrderedDict(a=[1]),
    defaultdict(list),
    Counter("aab"),
    deque([1]),
    Record(),
    Record,
    threading.Lock(),
    lambda: 1,
    memoryview(b"abc"),
]


@pytest.mark.parametrize("value", SHARED, ids=lambda value: type(value).__name__)
def test_everything_else_is_shared(value: Any) -> None:
    """Subclasses of the containers too, at any depth."""
    direct, nested, mapped = own_copy(value, [value], {"a": (value, [])})
    assert direct is value
    assert nested[0] is value
    assert mapped["a"][0] is value


@pytest.mark.parametrize("value", [[1], {"a": 1}, {1}, bytearray(b"a"), ([1],), ((1, ([],)),)])
def test_the_mutable_containers_are_copied(value: Any) -> None:
    """And tuples that hold one."""
    direct, nested = own_copy(value, {"a": [value]})
    assert direct == value
    assert direct is not value
    assert nested["a"][0] is direct


def test_keys_and_members_are_shared() -> None:
    """They can't be changed without being lost."""
    key = Record()
    (mapping, members) = own_copy({key: []}, {key})
    assert next(iter(mapping)) is key
    assert members == {key}


def test_aliases_stay_aliases() -> None:
    """Between arguments, positional and by name, empty ones too."""
    for inner in ([1], {}, set[int](), bytearray(), ([],)):
        args, kwargs = copied((inner, [inner]), {"a": {"b": inner}}, "containers", False)
        assert args[0] is args[1][0] is kwargs["a"]["b"]
        assert args[0] is not inner


def test_equal_containers_stay_apart() -> None:
    """What is equal is not the same."""
    a, b = own_copy([], [])
    assert a is not b


def test_cycles_are_kept() -> None:
    """Through lists, dicts and tuples."""
    a: list[Any] = [1]
    pair = (a, "x")
    a += [a, {"pair": pair}]
    (new, new_pair) = own_copy(a, pair)
    assert new is not a
    assert new[1] is new
    assert new[2]["pair"] is new_pair
    assert new_pair[0] is new


def generator() -> Any:
    """Give items once."""
    yield 1


ONE_SHOT = [
    lambda: iter([1]),
    lambda: map(int, "1"),
    generator,
    lambda: io.StringIO("text"),
    lambda: zip("a", "b", strict=True),
]


@pytest.mark.parametrize("isolate", ["containers", "deepcopy"])
@pytest.mark.parametrize("make", ONE_SHOT)
def test_what_reading_uses_up_leaves_the_control_alone(make: Any, isolate: str) -> None:
    """As an argument by position and by name; it is no failure."""
    name = f"isolation.once.{isolate}.{ONE_SHOT.index(make)}"
    ran: list[int] = []
    failures: list[Any] = []
    made = Experiment(
        name,
        control=lambda items, **named: list(items),
        candidate=lambda items, **named: ran.append(1),
        isolate=isolate,
        on_failure=lambda *failure: failures.append(failure),
    )
    assert made(make())
    assert made([1], more=make()) == [1]
    assert (ran, failures) == ([], [])
    assert dict(tallies()[name].skipped) == {"isolate": 2}
    assert tallies()[name].experiments == 0


@pytest.mark.parametrize("make", ONE_SHOT)
def test_a_nested_iterator_counts_too(make: Any) -> None:
    """Within a list, a dict or a tuple."""
    for nested in ([make()], {"a": make()}, (make(),), [(1, make())]):
        with pytest.raises(UnsharableError):
            own_copy(nested)


def test_share_gives_the_candidate_the_very_same_arguments() -> None:
    """Iterators too: whoever asks for it knows."""
    seen: list[Any] = []
    for compare in ({}, {"compare": lambda a, b: True}):
        made = Experiment(
            "isolation.share",
            control=lambda x, it: None,
            candidate=lambda x, it: seen.append((x, it)),
            isolate="share",
            publishers=(),
            **compare,  # type: ignore[arg-type]
        )
        value, items = [1], iter([1])
        made(value, items)
        assert seen[-1][0] is value
        assert seen[-1][1] is items


def test_a_callable_gets_one_value_and_gives_its_copy() -> None:
    """Each argument by itself, never `self`, once for each candidate."""
    asked: list[Any] = []
    seen: list[Any] = []

    def isolate(value: Any) -> Any:
        asked.append(value)
        return ("own", value)

    class Owner:
        def new(self, *args: Any, **kwargs: Any) -> None:
            seen.append((self, args, kwargs))

        @experiment(
            "isolation.callable",
            candidates={"a": new, "b": new},
            isolate=isolate,
            publishers=(),
        )
        def old(self, *args: Any, **kwargs: Any) -> None:
            assert (args, kwargs) == ((1, "x"), {"a": 2})

    owner = Owner()
    owner.old(1, "x", a=2)
    assert asked == [1, "x", 2] * 2
    assert seen == [(owner, (("own", 1), ("own", "x")), {"a": ("own", 2)})] * 2


@pytest.mark.parametrize("isolate", ["containers", "deepcopy", "share", copy.deepcopy])
def test_self_and_cls_are_shared_always(isolate: Any) -> None:
    """Whatever copies the other arguments, and even where `self` is a container."""
    seen: list[Any] = []

    class Owner(list[int]):
        def new(self, other: Any) -> None:
            seen.append(self)

        @experiment("isolation.self", candidate=new, isolate=isolate, publishers=())
        def old(self, other: Any) -> None:
            return None

        @classmethod
        @experiment("isolation.self", candidate=new, isolate=isolate, publishers=())
        def made(cls, other: Any) -> None:
            return None

    owner = Owner([1])
    owner.old([1])
    Owner.made([1])
    assert seen[0] is owner
    assert seen[1] is Owner


def test_deepcopy_copies_objects_too() -> None:
    """And keeps aliases between arguments."""
    seen: list[Any] = []
    made = Experiment(
        "isolation.deep",
        control=lambda a, b: None,
        candidate=lambda a, b: seen.append((a, b)),
        isolate="deepcopy",
        publishers=(),
    )
    record = Record()
    made(record, [record])
    a, b = seen[0]
    assert type(a) is Record
    assert a is not record
    assert b[0] is a


def deep(levels: int) -> list[Any]:
    """Nest lists."""
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


TOO_MUCH = [
    deep(5_000),
    [[0] * 1000 for _ in range(200)],
    set(range(200_000)),
    [set(range(i, i + 1000)) for i in range(200)],
    [dict.fromkeys(range(1000), 0) for _ in range(200)],
    [bytearray(1_000_000) for _ in range(20)],
]


@pytest.mark.parametrize("value", TOO_MUCH, ids=range(len(TOO_MUCH)))
def test_past_its_bounds_nothing_is_copied_and_the_control_runs_alone(value: Any) -> None:
    """Copying is a cost that the caller pays; it is no failure."""
    with pytest.raises(UnsharableError):
        own_copy(value)
    ran: list[int] = []
    before = tallies().get("isolation.bounds")
    skipped = before.skipped["isolate"] if before else 0
    made = Experiment(
        "isolation.bounds", control=lambda x: 3, candidate=lambda x: ran.append(1), publishers=()
    )
    assert made(value) == 3
    assert ran == []
    assert tallies()["isolation.bounds"].skipped["isolate"] == skipped + 1
    assert Experiment(
        "isolation.unbounded", control=len, candidate=len, isolate="share", publishers=()
    )(value) == len(value)
    assert tallies()["isolation.unbounded"].skipped == {}


def test_a_buffer_of_a_megabyte_is_within_bounds() -> None:
    """Bytes cost far less to copy than elements."""
    buffer = bytearray(1_000_000)
    [own] = own_copy(buffer)
    assert own == buffer
    assert own is not buffer


def test_all_copies_are_made_before_anything_runs() -> None:
    """What the control changes does not reach the candidates, nor what other threads see."""
    results: list[Result] = []

    def take(items: list[int]) -> int:
        return items.pop()

    made = Experiment(
        "isolation.before",
        control=take,
        candidates={"a": take, "b": take},
        order="control-first",
        publishers=[results.append],
    )
    assert made([1, 2]) == 2
    assert results[0].matched

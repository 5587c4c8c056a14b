"""Any value becomes bounded JSON without secrets, and without a call into its own code."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import io
import json
import pathlib
import uuid
import zoneinfo
from unittest import mock

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinrun import scrubbing
from twinrun._pickling import Unpicklable
from twinrun.cleaners import _walk, clean, one_line, payload
from twinrun.comparators import equal
from twinrun.difference import Difference, DifferenceKind, Differences
from twinrun.observation import NOTHING, Observation
from twinrun.result import Comparison, Outcome, Result

SECRET = "hunter2-hunter2"


@pytest.fixture(autouse=True)
def _timeless(monkeypatch):
    """Let no value be cut because the machine is busy."""
    monkeypatch.setattr(_walk, "thread_time_ns", lambda: 0)


def marked(secret):
    """Give what stands for a secret."""
    return scrubbing.current().mark(secret)


NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)


def dumped(data):
    """Write as JSON in the strictest way, and check that UTF-8 takes it."""
    text = json.dumps(data, allow_nan=False, ensure_ascii=False)
    text.encode("utf-8")
    assert "\0" not in text
    assert "\\u0000" not in text
    return text


def observed(name, value=NOTHING, **fields):
    """Give an observation."""
    return Observation(name=name, value=value, duration_ns=1_000_000, **fields)


def compared(control, *candidates, differences=None, clean=None, context=None):
    """Give the result of comparing observations."""
    return Result(
        id="0" * 32,
        experiment="pricing.quote",
        started_at=NOW,
        context={} if context is None else context,
        order=tuple(o.name for o in (control, *candidates)),
        control=control,
        candidates=candidates,
        comparisons=tuple(
            Comparison(
                candidate,
                Outcome.MISMATCHED,
                differences=tuple(
                    equal.differences(control.value, candidate.value)
                    if differences is None
                    else differences
                ),
                fingerprint="f" * 16,
            )
            for candidate in candidates
        ),
        clean=clean,
    )


# Hostile values ----------------------------------------------------------------------------------

calls: list[str] = []

DUNDERS = [
    "abs",
    "add",
    "and",
    "bool",
    "bytes",
    "call",
    "complex",
    "contains",
    "copy",
    "deepcopy",
    "dir",
    "enter",
    "eq",
    "exit",
    "float",
    "format",
    "ge",
    "getattr",
    "getattribute",
    "getitem",
    "getnewargs_ex",
    "getstate",
    "gt",
    "hash",
    "index",
    "int",
    "invert",
    "iter",
    "le",
    "len",
    "length_hint",
    "lt",
    "ne",
    "neg",
    "next",
    "pos",
    "reduce",
    "reduce_ex",
    "repr",
    "reversed",
    "round",
    "setattr",
    "sizeof",
    "str",
    "trunc",
    "await",
    "aiter",
    "fspath",
    "array",
    "instancecheck",
    "subclasscheck",
]


def counting(name):
    """Give a method that notes that it was called."""

    def method(*args, **kwargs):
        calls.append(name)
        raise AssertionError(f"{name} was called")

    return method


META = {f"__{dunder}__": counting(f"meta {dunder}") for dunder in DUNDERS} | {
    name: property(counting(f"meta {name}"))
    for name in ("__name__", "__module__", "__dict__", "__mro__", "__class__")
}
Meta = type("Meta", (type,), META)

BODY = {f"__{dunder}__": counting(dunder) for dunder in DUNDERS}
BODY |= {
    name: property(counting(name))
    for name in ("__class__", "__dict__", "__slots__x", "args", "value", "keys", "items", "name")
}
BODY["__module__"] = "shop"


def hostile(*bases, metaclass=Meta):
    """Make a class all of whose own code notes that it was called."""
    cls = type.__new__(metaclass, "Hostile", bases, dict(BODY))
    calls.clear()
    return cls


ARGUMENTS = {
    object: (),
    int: (5,),
    float: (1.5,),
    complex: (1j,),
    str: ("text",),
    bytes: (b"text",),
    bytearray: (),
    list: (),
    tuple: ((1, 2),),
    dict: (),
    set: (),
    frozenset: ((1, 2),),
    collections.deque: (),
    collections.OrderedDict: (),
    datetime.datetime: (2020, 1, 2, 3),
    datetime.date: (2020, 1, 2),
    datetime.time: (1, 2),
    datetime.timedelta: (1,),
    Exception: ("said",),
    OSError: (2, "said"),
    ExceptionGroup: ("said", [ValueError()]),
    decimal.Decimal: ("1.5",),
}


@pytest.mark.parametrize("base", ARGUMENTS, ids=lambda base: base.__name__)
def test_no_code_of_a_value_or_of_its_type_is_called(base):
    """Whatever it is made from; its type is named."""
    value = base.__new__(hostile(base), *ARGUMENTS[base])
    calls.clear()
    for wrapped in (value, [value], {"key": value}, (value, {1: value}), type(value)):
        data = clean(wrapped)
        assert calls == []
        assert "Hostile" in dumped(data)
        assert "$failed" not in dumped(data)
    with pytest.raises(AssertionError, match="was called"):
        value.anything  # the instruments do work


def test_hostile_keys_and_attributes_are_not_asked_either():
    """Keys of dicts and values of instance dicts are cleaned like any other value."""

    class Key:
        __hash__ = object.__hash__

        def __eq__(self, other):
            raise AssertionError("== was called")

    class Holder:
        pass

    holder, key = Holder(), Key()
    holder.inner = object.__new__(hostile(object))
    table = {key: holder}
    Key.__hash__ = counting("hash of a key")
    calls.clear()
    text = dumped(clean([table, holder]))
    assert calls == []
    assert text.count("shop.Hostile") == 2
    assert "Key" in text


def test_nothing_is_consumed_or_loaded():
    """Iterators, generators and files stand where they stood; a mock is asked for nothing."""
    generator, iterator = (n for n in range(3)), iter([1, 2])
    file, loads = io.StringIO("content"), mock.MagicMock()
    names = [clean(each)["$type"] for each in (generator, iterator, file, loads)]
    assert names == ["generator", "list_iterator", "_io.StringIO", "unittest.mock.MagicMock"]
    assert (list(generator), list(iterator), file.read()) == ([0, 1, 2], [1, 2], "content")
    assert loads.mock_calls == []


def test_a_coroutine_is_not_awaited():
    """It is named, and can be closed afterwards."""

    async def work():
        raise AssertionError("it ran")

    coroutine = work()
    assert clean(coroutine) == {"$type": "coroutine"}
    coroutine.close()


# What values look like ---------------------------------------------------------------------------


class Colour(enum.Enum):
    """An enumeration."""

    RED = "r"


Point = collections.namedtuple("Point", "x y")


@attrs.frozen
class Order:
    """An attrs class with slots."""

    id: int
    total: decimal.Decimal


@dataclasses.dataclass
class Line:
    """A dataclass."""

    text: str
    count: int = 0


class Zone(datetime.tzinfo):
    """A time zone that must not be asked."""

    def utcoffset(self, when):
        """Fail."""
        raise AssertionError("the zone was asked")


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (None, None),
        (True, True),
        (0, 0),
        (-(2**63) + 1, -(2**63) + 1),
        (2**63, {"$type": "int", "text": "9223372036854775808"}),
        (10**5000, {"$type": "int", "bits": 16610}),
        (1.5, 1.5),
        (float("nan"), {"$type": "float", "text": "nan"}),
        (float("-inf"), {"$type": "float", "text": "-inf"}),
        (2j, {"$type": "complex", "text": "2j"}),
        ("naïve 🙂", "naïve 🙂"),
        ("a\0b\ud800c", "a\\x00b\\ud800c"),
        (b"ab\xff", {"$type": "bytes", "length": 3, "text": "ab\\xff"}),
        ([1, [2]], [1, [2]]),
        ((1, 2), {"$type": "tuple", "items": [1, 2]}),
        ({3, 1, 2}, {"$type": "set", "items": [1, 2, 3]}),
        ({"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"$type": "forged"}, {"$$type": "forged"}),
        ({1: "a"}, {"$type": "dict", "items": [[1, "a"]]}),
        ({"\ud800": 1, "\\ud800": 2}, {"\\ud800": 1, "\\ud800'": 2}),
        (collections.Counter("a"), {"$type": "collections.Counter", "items": {"a": 1}}),
        (Point(1, 2), {"$type": f"{__name__}.Point", "x": 1, "y": 2}),
        (decimal.Decimal("1.50"), {"$type": "decimal.Decimal", "text": "1.50"}),
        (uuid.UUID(int=1), {"$type": "uuid.UUID", "text": str(uuid.UUID(int=1))}),
        (NOW, {"$type": "datetime.datetime", "text": "2026-01-02T03:04:05+00:00"}),
        (NOW.date(), {"$type": "datetime.date", "text": "2026-01-02"}),
        (
            datetime.datetime(2026, 7, 1, tzinfo=zoneinfo.ZoneInfo("UTC")),
            {"$type": "datetime.datetime", "text": "2026-07-01T00:00:00+00:00"},
        ),
        (
            datetime.datetime(2026, 7, 1, tzinfo=Zone()),
            {
                "$type": "datetime.datetime",
                "text": "2026-07-01T00:00:00",
                "tzinfo": {"$type": "type", "name": f"{__name__}.Zone"},
            },
        ),
        (datetime.timedelta(hours=1), {"$type": "datetime.timedelta", "text": "1:00:00"}),
        (Colour.RED, {"$type": f"{__name__}.Colour", "name": "RED", "value": "r"}),
        (ValueError("wrong", 1), {"$type": "ValueError", "message": "('wrong', 1)"}),
        (
            Order(1, decimal.Decimal(2)),
            {
                "$type": f"{__name__}.Order",
                "id": 1,
                "total": {"$type": "decimal.Decimal", "text": "2"},
            },
        ),
        (Line("a"), {"$type": f"{__name__}.Line", "text": "a", "count": 0}),
        (np.int64(3), {"$type": "numpy.int64", "value": 3}),
        (np.float64(1.5), {"$type": "numpy.float64", "value": 1.5}),
        (
            np.arange(2),
            {"$type": "numpy.ndarray", "dtype": "int64", "shape": [2], "items": [0, 1]},
        ),
        (len, {"$type": "builtin_function_or_method", "name": "len"}),
        (dict, {"$type": "type", "name": "dict"}),
        (object(), {"$type": "object"}),
    ],
    ids=lambda value: str(type(value).__name__),
)
def test_a_value_is_readable(value, data):
    """What JSON can't say is tagged with its type."""
    assert clean(value) == data
    dumped(clean(value))


def test_a_path_of_a_file_is_readable():
    """By its text."""
    assert clean(pathlib.PurePosixPath("/a"))["text"] == "/a"


# Bounds ------------------------------------------------------------------------------------------


def nested(depth):
    """Give a list in a list in a list …"""
    value = []
    for _ in range(depth):
        value = [value]
    return value


def cyclic():
    """Give a dict that holds itself."""
    value = {}
    value["me"] = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        cyclic(),
        nested(100_000),
        ["x" * 10**6] * 200,
        ["\0" * 10**5] * 200,
        ["🙂" * 10**5] * 200,
        ['"' * 10**5] * 200,
        {f"{n}" * 1000: "\ud800" * 1000 for n in range(1000)},
        [[[[0] * 500] * 500] * 500] * 500,
        b"x" * 10**7,
        10**100_000,
        set(range(10**5)),
        np.zeros((1000, 1000)),
        [ValueError("x" * 10**6)] * 500,
        [type(f"{'C' * 5000}", (), {})() for _ in range(500)],
    ],
    ids=range(14),
)
def test_what_is_huge_deep_or_cyclic_becomes_small(value):
    """No value comes to more than 64 KiB."""
    assert len(json.dumps(clean(value))) <= 64 * 1024
    assert len(dumped(clean(value)).encode()) <= 64 * 1024


def test_what_was_left_out_is_counted():
    """Items, characters and the bound that was met are named."""
    assert clean(list(range(150)))[100:] == [{"$more": 50}]
    assert clean({str(n): n for n in range(150)})["$more"] == 50
    assert clean("x" * 5000).endswith("x… (5000 characters)")
    assert clean(cyclic()) == {"me": [{"$type": "dict", "$cut": "cycle"}]}
    assert '{"$type": "list", "$cut": "depth"}' in json.dumps(clean(nested(20)))
    assert {"$cut": "size"} in clean([["x" * 4000] for _ in range(100)])


class Clock:
    """A clock of which each look takes a millisecond."""

    def __init__(self):
        self.looks = 0

    def __call__(self):
        """Tell the time."""
        self.looks += 1
        return self.looks * 1_000_000


def test_what_takes_longer_than_five_milliseconds_is_cut(monkeypatch):
    """Time is the thread's own; a small value is cleaned without a look at the clock."""
    monkeypatch.setattr(_walk, "thread_time_ns", clock := Clock())
    assert clean(list(range(25))) == list(range(25))
    assert clean({"text": "short", "more": ["x" * 200]}) == {"text": "short", "more": ["x" * 200]}
    assert clock.looks == 0
    rows = [[[n]] for n in range(100)]
    data = clean([rows, rows, rows, rows])
    assert data[0][:10] == rows[:10]
    assert data[-1] == {"$cut": "time"}
    assert clean(["x" * 1000] * 20)[6:] == ["… (1000 characters)", {"$cut": "time"}]


def test_a_payload_of_many_slow_values_is_bounded_as_a_whole(monkeypatch):
    """Each has 5 ms, and all of them 25."""
    monkeypatch.setattr(_walk, "thread_time_ns", clock := Clock())
    slow = ["long " * 55] * 20
    others = [observed(f"way {n}", slow, traceback="t" * 1000) for n in range(30)]
    found = [Difference("$", DifferenceKind.CHANGED, slow, slow)]
    data = payload(compared(observed("control", slow), *others, differences=found))
    shown = [side["value"].count(slow[0]) for side in data["candidates"]]
    assert shown[0] > 0
    assert shown[-1] == 0
    assert data["candidates"][-1]["traceback"] == "… (1000 characters)"
    assert clock.looks < 150


def test_no_more_than_two_thousand_values_are_kept():
    """However small they are."""
    data = clean([[[1] * 100] * 100] * 100)
    assert json.dumps(data).count("1,") <= 2_000
    assert {"$cut": "size"} in data[0]


def test_a_value_that_cannot_be_read_leaves_its_neighbours_alone():
    """It is named."""
    broken = collections.deque([1])
    with mock.patch("twinrun.cleaners._walk.Walk.items", side_effect=RuntimeError("mutated")):
        data = clean({"a": 1, "b": broken})
    assert data == {"a": 1, "b": {"$type": "collections.deque", "$failed": "RuntimeError"}}


def test_a_container_that_another_thread_changes_is_named():
    """What can't be read is no error."""
    deque = collections.deque([1])
    with mock.patch("twinrun.cleaners._walk.Walk.items", side_effect=RuntimeError("mutated")):
        data = clean(deque)
    assert data == {"$type": "collections.deque", "$failed": "RuntimeError"}


ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.complex_numbers()
    | st.text(st.characters(categories=["L", "N", "Cs", "Cc", "So"]))
    | st.binary()
    | st.decimals()
    | st.datetimes()
    | st.timedeltas()
    | st.uuids()
    | st.sampled_from([Colour.RED, NOTHING, object(), ValueError("\0\ud800"), len, int])
)
VALUES = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text() | st.integers() | st.binary(), inner)
        | st.tuples(inner, inner)
        | st.builds(Line, inner, inner)
        | st.sets(st.text() | st.integers())
    ),
)


@settings(max_examples=40)
@given(VALUES, VALUES, st.text(), st.dictionaries(st.text(), VALUES))
def test_a_payload_is_always_json(control, candidate, text, context):
    """Whatever the values, the context, the messages and the paths."""
    sides = observed("control", control, traceback=text), observed("candidate", candidate)
    found = [Difference(f"$.{text}", DifferenceKind.CHANGED, control, candidate)] * 60
    data = payload(compared(*sides, differences=found, context=context))
    assert len(dumped(data).encode()) <= 100 * 1024
    assert json.loads(json.dumps(data)) == data
    assert len(data["candidates"][0]["differences"]) == 50
    assert data["candidates"][0]["differences_cut"] == 10


@settings(max_examples=50)
@given(VALUES)
def test_cleaning_is_repeatable(value):
    """The same value always comes out the same."""
    assert clean(value) == clean(value)


# Secrets -----------------------------------------------------------------------------------------


class Account:
    """Something with a secret in it."""

    def __init__(self, password):
        self.user = "me"
        self._password = password


@pytest.mark.parametrize(
    "value",
    [
        {"password": SECRET},
        {"outer": [{"X-Api-Key": SECRET}]},
        {"credentials": {"user": "me", "word": SECRET}},
        {b"authorization": SECRET},
        [("Authorization", SECRET), ("Accept", "*/*")],
        [["Set-Cookie", SECRET]],
        Account(SECRET),
        f"postgresql://me:{SECRET}@host/db",
        {f"https://me:{SECRET}@host/": 1},
        f"password={SECRET}".encode(),
        ValueError(f"refused: Bearer {SECRET}"),
        {"token": SECRET, "note": f"the token is {SECRET}."},
        {"card": 4111111111111111, "text": "4111 1111 1111 1111"},
        collections.OrderedDict(secret=SECRET),
    ],
    ids=range(14),
)
def test_a_secret_never_leaves(value):
    """Neither in a key, a field, a text or a message, nor as a difference's side."""
    other = observed("candidate", value, exception=ValueError(SECRET and f"token={SECRET}"))
    found = [Difference("$", DifferenceKind.CHANGED, value, NOTHING)]
    for data in (clean(value), payload(compared(observed("control", 1), other, differences=found))):
        text = dumped(data)
        assert "[redacted " in text
        assert SECRET not in text
        assert "1111" not in text


def test_a_secret_is_not_let_out_by_a_difference():
    """Its side is redacted by the path, or because it was seen under a secret name."""
    control = {"headers": [("Authorization", SECRET)], "password": "one", "n": 1}
    candidate = {"headers": [("Authorization", SECRET + "x")], "password": "two", "n": 2}
    data = payload(compared(observed("control", control), observed("candidate", candidate)))
    sides = {
        d["path"]: (d["control"], d["candidate"]) for d in data["candidates"][0]["differences"]
    }
    assert sides == {
        "$.headers[0][1]": (marked(SECRET), marked(SECRET + "x")),
        "$.password": (marked("one"), marked("two")),
        "$.n": (1, 2),
    }


def test_a_secret_of_the_context_is_not_let_out_by_a_traceback():
    """What stands under a secret name anywhere is taken out of every text."""
    raised = observed("candidate", exception=ValueError(SECRET), traceback=f"f({SECRET!r})")
    context = {"session_id": SECRET}
    data = payload(compared(observed("control", 1), raised, differences=(), context=context))
    assert SECRET not in dumped(data)
    assert data["candidates"][0]["exception"] == {
        "type": "ValueError",
        "message": marked(SECRET),
    }
    assert data["candidates"][0]["traceback"] == f"f('{marked(SECRET)}')"


def test_marks_do_not_make_a_value_larger_than_its_bound():
    """However often a secret stands in it."""
    data = clean({"token": "hunter2", "rest": [["a hunter2 hunter2 b"] * 100] * 30, "hunter2": 1})
    assert "hunter2" not in dumped(data)
    assert len(json.dumps(data)) <= 64 * 1024
    data = clean({"token": "hunter", "rest": ["hunter" * 600] * 100})
    assert "hunter" not in dumped(data)
    assert len(json.dumps(data)) <= 64 * 1024


def test_no_password_and_yes_or_no_are_no_secrets():
    """They say whether there is one."""
    assert clean({"password": None, "has_token": True}) == {"password": None, "has_token": True}


# The payload -------------------------------------------------------------------------------------


def test_a_payload_says_all_that_a_result_says():
    """Each side, how it was judged and what differs."""
    control = observed("control", {"a": 1, "b": 2}, cpu_time=0.5)
    candidate = observed(
        "candidate", {"a": 1, "c": None}, traceback="Traceback", raised_at="shop:quote"
    )
    assert payload(compared(control, candidate, context={"user": 7})) == {
        "id": "0" * 32,
        "experiment": "pricing.quote",
        "started_at": "2026-01-02T03:04:05+00:00",
        "order": ["control", "candidate"],
        "context": {"user": 7},
        "control": {
            "name": "control",
            "value": {"a": 1, "b": 2},
            "exception": None,
            "traceback": None,
            "raised_at": None,
            "duration_ns": 1_000_000,
            "cpu_time": 0.5,
        },
        "candidates": [
            {
                "name": "candidate",
                "value": {"a": 1, "c": None},
                "exception": None,
                "traceback": "Traceback",
                "raised_at": "shop:quote",
                "duration_ns": 1_000_000,
                "cpu_time": None,
                "outcome": "mismatched",
                "reason": None,
                "fingerprint": "f" * 16,
                "differences": [
                    {"path": "$.b", "kind": "removed", "control": 2},
                    {"path": "$.c", "kind": "added", "candidate": None},
                ],
                "differences_cut": 0,
            }
        ],
    }


def test_what_was_raised_has_no_value():
    """None stays a value; nothing is left out."""
    raised = observed("candidate", exception=KeyError("x"))
    data = payload(compared(observed("control", None), raised, differences=()))
    assert data["control"]["value"] is None
    assert "value" not in data["candidates"][0]
    assert data["candidates"][0]["exception"] == {"type": "KeyError", "message": "'x'"}


def test_a_payload_says_where_not_all_was_found():
    """In the comparator's words."""
    found = [Difference("$.a", DifferenceKind.CHANGED, 1, 2)]
    result = compared(observed("control", 1), observed("candidate", 2), differences=found)
    cut = Differences(found, "more than 100 differences")
    comparison = attrs.evolve(result.comparisons[0], differences=cut)
    (candidate,) = payload(attrs.evolve(result, comparisons=(comparison,)))["candidates"]
    assert candidate["differences_incomplete"] == "more than 100 differences"
    assert "differences_incomplete" not in payload(result)["candidates"][0]


def test_names_from_the_program_stay_what_they_are():
    """They are what everything is grouped by, and the program's author chose them."""
    raised = observed("token:new", exception=KeyError(), raised_at="shop.tokens:refresh")
    result = compared(observed("control\0\ud800", 1), raised, differences=())
    data = payload(attrs.evolve(result, experiment="token:refresh"))
    assert data["experiment"] == "token:refresh"
    assert data["order"] == ["control\\x00\\ud800", "token:new"]
    assert data["candidates"][0]["name"] == "token:new"
    assert data["candidates"][0]["raised_at"] == "shop.tokens:refresh"


def test_many_candidates_share_one_bound():
    """Each is there, with less room."""
    huge = ["x" * 4000] * 100
    others = [observed(f"way {n}", huge, traceback="t" * 16_000) for n in range(20)]
    found = [Difference("$", DifferenceKind.CHANGED, huge, huge)]
    data = payload(compared(observed("control", huge), *others, differences=found))
    assert [each["name"] for each in data["candidates"]] == [f"way {n}" for n in range(20)]
    assert len(dumped(data)) <= 80 * 1024


# The user's own clean ----------------------------------------------------------------------------


def test_own_clean_goes_before_all():
    """Values and the sides of differences are only what it made of them."""
    control, candidate = {"total": 10, "name": "raw one"}, {"total": 20, "name": "raw two"}
    result = compared(
        observed("control", control),
        observed("candidate", candidate),
        clean=lambda value: {"total": value["total"] * 1000},
    )
    data = payload(result)
    assert data["control"]["value"] == {"total": 10_000}
    assert data["candidates"][0]["value"] == {"total": 20_000}
    assert data["candidates"][0]["differences"] == [
        {"path": "$.total", "kind": "changed", "control": 10_000, "candidate": 20_000},
        {
            "path": "$[*]",
            "kind": "changed",
            "control": {"$withheld": "clean"},
            "candidate": {"$withheld": "clean"},
        },
    ]
    assert "raw" not in dumped(data)


def test_own_clean_stands_for_the_whole_value_too():
    """A difference at `$` shows what it gave, an exception what it says."""
    found = [Difference("$", DifferenceKind.RAISED, "raw", error := ValueError("said"))]
    result = compared(
        observed("control", "raw"),
        observed("candidate", exception=error),
        differences=found,
        clean=len,
    )
    (difference,) = payload(result)["candidates"][0]["differences"]
    assert difference["control"] == 3
    assert difference["candidate"] == {"$type": "ValueError", "message": "said"}


def failing(error):
    """Give a `clean` that raises."""

    def own(value):
        raise error

    return own


@pytest.mark.parametrize(
    "own",
    [
        failing(ValueError("raw")),
        failing(SystemExit("raw")),
        failing(GeneratorExit()),
        Unpicklable("function", "PicklingError"),
    ],
    ids=["exception", "exit", "generator exit", "lost in a pickle"],
)
def test_raw_values_never_leave_in_place_of_what_own_clean_failed_to_give(own):
    """They are withheld, in differences too."""
    result = compared(observed("control", ["raw 1"]), observed("candidate", ["raw 2"]), clean=own)
    data = payload(result)
    assert data["control"]["value"] == {"$withheld": "clean failed"}
    assert data["candidates"][0]["differences"] == [
        {
            "path": "$[0]",
            "kind": "changed",
            "control": {"$withheld": "clean failed"},
            "candidate": {"$withheld": "clean failed"},
        }
    ]
    assert "raw" not in dumped(data)


def test_what_own_clean_gives_is_cleaned_as_well():
    """It may be anything."""
    data = payload(compared(observed("control", 1), clean=lambda value: {"password": SECRET}))
    assert data["control"]["value"] == {"password": marked(SECRET)}


# One line ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (None, "None"),
        ("a\nb", r"'a\nb'"),
        ({"a": [1, 2.5]}, "{'a': [1, 2.5]}"),
        (decimal.Decimal("1.50"), "decimal.Decimal('1.50')"),
        (Line("a", 1), f"{__name__}.Line(text='a', count=1)"),
        (object(), "object()"),
    ],
)
def test_one_line_reads_like_python(value, line):
    """Tagged values read like calls."""
    assert one_line(clean(value)) == line


@settings(max_examples=50)
@given(VALUES)
def test_one_line_is_one_short_printable_line(value):
    """Whatever the value."""
    line = one_line(clean(value))
    assert 0 < len(line) <= 200
    assert line.isprintable()

"""Hostile values: whatever they are, what is made of them is small, quick and safe to store.

`TWINRUN_HOSTILE=100000` in the environment asks for so many of them; a short form runs otherwise.
"""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import json
import os
import random
import threading
import time
import uuid

import pytest

import twinrun
from twinrun.cleaners import clean, payload

COUNT = int(os.environ.get("TWINRUN_HOSTILE", "3000"))
LARGEST = 64 * 1024
SECONDS = 0.25  # of the thread's time for one value: fifty times its bound, for slow machines

asked: list[str] = []


class Escape(BaseException):
    """Raised by hostile code; nothing of ours may catch it, since nothing may call that code."""


def hostile(name):
    """Give a method that notes that it was called, and raises."""

    def method(*args, **kwargs):
        asked.append(name)
        raise Escape(name)

    return method


NAMES = """
    repr str bytes format hash bool len length_hint iter next reversed contains getitem setitem
    missing getattr getattribute setattr dir index int float complex round trunc abs neg pos
    invert add radd sub mul eq ne lt le gt ge call enter exit await aiter anext fspath sizeof
    copy deepcopy reduce reduce_ex getstate getnewargs_ex array array_interface conform
    instancecheck subclasscheck rich_repr
""".split()  # noqa: SIM905
BODY = {f"__{name}__": hostile(name) for name in NAMES}
BODY |= {name: property(hostile(name)) for name in ("__class__", "__dict__", "items", "keys")}
META = {f"__{name}__": hostile(f"meta {name}") for name in NAMES}
META |= {n: property(hostile(f"meta {n}")) for n in ("__name__", "__module__", "__mro__")}
Meta = type("Meta", (type,), META)

MADE_FROM = {
    object: (),
    int: (7,),
    float: (1.5,),
    str: ("text",),
    bytes: (b"text",),
    list: ([1],),
    tuple: ((1, 2),),
    dict: ({"a": 1},),
    set: ((1,),),
    frozenset: ((1,),),
    collections.deque: ((1,),),
    collections.OrderedDict: (),
    datetime.datetime: (2026, 1, 2),
    datetime.timedelta: (1,),
    decimal.Decimal: ("1.5",),
    Exception: ("said",),
    uuid.UUID: (),
}
CLASSES = {
    base: type.__new__(Meta, "Hostile", (base,), {**BODY, "__module__": "shop"})
    for base in MADE_FROM
}


def instrumented(base):
    """Make a value of a class all whose code is hostile, without calling it."""
    value = base.__new__(CLASSES[base], *MADE_FROM[base])
    if base in (list, set, collections.deque, dict):
        base.__init__(value, *MADE_FROM[base])
    asked.clear()
    return value


class Colour(enum.Enum):
    """An enumeration with a value that refers to itself."""

    RED = "r"


def cyclic(rng):
    """Give a container that holds itself."""
    value = [rng.random()]
    value.append({"me": value, "again": (value, value)})
    return value


def laughs(rng):
    """Give a value that is small and comes to billions of items when written out."""
    value = ["ha"] * 10
    for _ in range(30):
        value = [value] * 10
    return value


def deep(rng):
    """Give a deeply nested value."""
    value = "deep"
    for n in range(rng.randrange(5_000)):
        value = [value] if n % 2 else {"in": value}
    return value


def text(rng):
    """Give a text of odd characters: NUL, surrogates, controls, both directions, emoji."""
    odd = "\0\x01\x1b\ud800\udfff\u202e\u2028\ufeff🙂é\"\\'<>&=: \n"
    return "".join(rng.choice(odd + "abc123") for _ in range(rng.choice((1, 10, 300))))


def wide(rng):
    """Give a wide value."""
    size = rng.choice((101, 2_000, 20_000))
    return rng.choice((list, tuple, set, lambda r: {str(n): n for n in r}))(range(size))


def held(rng):
    """Give something that is used up or waits."""
    return rng.choice((iter([1, 2]), (n for n in [1]), threading.Lock(), zip(), open, map(len, [])))


def fielded(rng):
    """Give an object with fields of any kind."""
    made = type("T" + rng.choice(("", "\u202e", "🙂", '"<\\')) * 9, (), {})
    value = object.__new__(made)
    vars(value).update({f"{text(rng)}{n}": simple(rng) for n in range(rng.randrange(5))})
    return value


def failed(rng):
    """Give an exception with odd arguments and links."""
    error = ValueError(simple(rng), instrumented(object))
    error.__cause__ = KeyError(text(rng))
    error.add_note(text(rng).replace("\ud800", "").replace("\udfff", ""))
    return ExceptionGroup("several", [error, OSError(2, "no")]) if rng.random() < 0.5 else error


PLAIN = (
    None,
    True,
    0,
    -1,
    2**63,
    -(2**64),
    10**5000,
    1.5,
    -0.0,
    float("nan"),
    float("inf"),
    float("-inf"),
    1e308,
    complex("nan+infj"),
    b"\xff\x00",
    bytearray(b"x"),
    "x" * 100_000,
    b"x" * 100_000,
    decimal.Decimal("NaN"),
    decimal.Decimal("1e999999"),
    datetime.datetime.max,
    datetime.timedelta.min,
    uuid.UUID(int=1),
    Colour.RED,
    range(10**12),
    ...,
    NotImplemented,
    object,
    type,
    twinrun,
    print,
    twinrun.NOTHING,
)


def simple(rng):
    """Give a value without parts, mostly."""
    return rng.choice((lambda r: r.choice(PLAIN), text, held))(rng)


def composed(rng):
    """Give containers of anything."""
    parts = [anything(rng) for _ in range(rng.randrange(4))]
    keys = [rng.choice((text(rng), rng.randrange(9), None, (1, text(rng)))) for _ in parts]
    return rng.choice(
        (
            lambda: parts,
            lambda: tuple(parts),
            lambda: dict(zip(keys, parts, strict=True)),
            lambda: collections.deque(parts),
            lambda: collections.defaultdict(list, zip(keys, parts, strict=True)),
        )
    )()


def cursed(rng):
    """Give a value all of whose code is hostile, alone or inside."""
    value = instrumented(rng.choice(tuple(MADE_FROM)))
    return rng.choice((value, [value], {"key": value}, (value, value)))


SHAPES = (simple, simple, text, composed, composed, fielded, failed, cursed, cursed)
HUGE = (cyclic, laughs, deep, wide)


def anything(rng):
    """Give any value at all; the huge ones are rarer."""
    return rng.choice(HUGE if rng.random() < 0.05 else SHAPES)(rng)


def checked(data, started):
    """Check what came out of a value: its size, its time, and that every store takes it."""
    taken = time.thread_time() - started
    assert taken < SECONDS
    written = json.dumps(data, allow_nan=False)
    assert len(written) <= LARGEST
    assert "\\u0000" not in written
    json.dumps(data, ensure_ascii=False).encode("utf-8")
    assert asked == []


def hooks():
    """Give the ways in which a value comes in: each takes one and gives what left."""
    silent = {"publishers": (), "after_run": None}

    def run(value, **options):
        with twinrun.recording() as results:
            found = twinrun.Experiment("hostile", **silent, **options).run(
                control=lambda: value, candidate=lambda: 1, context=options.pop("held", None)
            )
        assert found is value
        return payload(results[0])

    def never(a, b):
        return False

    return {
        "value": lambda value: clean(value),
        "control": lambda value: run(value, compare=never),
        "own clean": lambda value: run(1, compare=never, clean=lambda _: value),
        "context": lambda value: run(1, compare=never, context={"held": value}),
        "error": lambda value: clean(ValueError(value)),
    }


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("hook", sorted(hooks()))
def test_no_hostile_value_escapes(hook):
    """None of its code is called, and what comes of it is small, quick and safe."""
    rng = random.Random(hook)
    enter = hooks()[hook]
    for _ in range(COUNT // len(hooks())):
        value = anything(rng)
        asked.clear()
        started = time.thread_time()
        checked(enter(value), started)


def test_the_instruments_do_work():
    """Each hostile method notes that it was called."""
    value = instrumented(object)
    with pytest.raises(Escape):
        repr(value)
    with pytest.raises(Escape):
        len(value)
    assert asked == ["repr", "len"]


@pytest.mark.parametrize("make", [cyclic, laughs, deep, wide, text, fielded, failed])
def test_what_is_huge_is_cut_within_its_bounds(make):
    """2,000 values at most, and 64 KiB."""
    for seed in range(20):
        data = clean(make(random.Random(seed)))
        assert len(json.dumps(data)) <= LARGEST
        assert counted(data) <= 2_200


def counted(data):
    """Count the values in JSON data, but what tells what was left out."""
    if isinstance(data, dict):
        return "$cut" not in data and 1 + sum(map(counted, data.values()))
    return 1 + sum(map(counted, data)) if isinstance(data, list) else 1

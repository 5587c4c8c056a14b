"""Which mismatches fall into one group, and which don't."""

from __future__ import annotations

import datetime
import os
import string
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import keys, pairs, plain
from twinrun import fingerprints
from twinrun.comparators.structural import differences
from twinrun.difference import Difference, DifferenceKind
from twinrun.fingerprints import fingerprint, generalise, generalise_text
from twinrun.observation import Observation

OURS = Observation(name="control", value=1, duration_ns=1)
THEIRS = Observation(name="candidate", value=2, duration_ns=1)


def raised(error: BaseException, at: str | None = "shop.cart:total") -> Observation:
    """An observation of an exception."""
    return Observation(name="candidate", exception=error, raised_at=at, duration_ns=1)


def of(*found: Difference, control: Observation = OURS, candidate: Observation = THEIRS) -> str:
    """The fingerprint of some differences."""
    return fingerprint("shop", "new", found, control, candidate)


def changed(path: str, kind: DifferenceKind = DifferenceKind.CHANGED, *sides: Any) -> Difference:
    """A difference at a path."""
    return Difference(path, kind, *sides)


@given(pairs(plain()), st.randoms(use_true_random=False))
def test_neither_order_nor_repetition_counts(pair: tuple[Any, Any], random: Any) -> None:
    """Differences are taken as a set."""
    found = differences(*pair)
    shuffled = [*found, *found[:2]]
    random.shuffle(shuffled)
    assert of(*shuffled) == of(*found)


@given(st.lists(st.integers(0, 10**6), min_size=1), st.integers(0, 10**6))
def test_indices_do_not_count(indices: list[int], other: int) -> None:
    """However many items differ and wherever they stand, it is one group."""
    assert of(*(changed(f"$.items[{i}].price") for i in indices)) == of(
        changed(f"$.items[{other}].price")
    )


@given(st.uuids(), st.uuids())
def test_ids_do_not_count(one: uuid.UUID, two: uuid.UUID) -> None:
    """Whether written as text, as hex or as a number, an id is an id."""
    paths = [differences({k: 1}, {k: 2})[0].path for k in (str(one), two.hex, one.int % 10**9)]
    assert {generalise(path) for path in paths if not path[2:].isalpha()} == {"$[*]"}


@given(pairs(plain()))
def test_values_do_not_count(pair: tuple[Any, Any]) -> None:
    """What is told of a value is its type, where the types differ."""
    found = differences(*pair)
    bare = [d if d.kind == "type" else Difference(d.path, d.kind) for d in found]
    assert of(*bare) == of(*found)


def test_what_counts() -> None:
    """Each of these makes a group of its own."""
    kind, path, error = DifferenceKind, changed("$.a"), ValueError("x")
    groups = [
        of(),
        of(path),
        of(changed("$.b")),
        of(changed("$.a", kind.ADDED)),
        of(changed("$.a", kind.REMOVED)),
        of(changed("$.a", kind.TYPE, 1, "1")),
        of(changed("$.a", kind.TYPE, "1", 1)),
        of(changed("$.a", kind.TYPE, 1, None)),
        of(path, changed("$.b")),
        fingerprint("shop", "newer", [path], OURS, THEIRS),
        fingerprint("bank", "new", [path], OURS, THEIRS),
        of(path, candidate=raised(error)),
        of(path, control=raised(error)),
        of(path, candidate=raised(error, "shop.cart:add")),
        of(path, candidate=raised(error, None)),
        of(path, candidate=raised(ValueError("y"))),
        of(path, candidate=raised(ExceptionGroup("x", [error]))),
        of(path, candidate=raised(ExceptionGroup("x", [error, TypeError()]))),
        of(path, candidate=raised(KeyError("x"))),
        of(path, control=raised(error), candidate=raised(error)),
    ]
    assert len(set(groups)) == len(groups)


def test_what_does_not_count() -> None:
    """Data in messages, values, durations and the number of a group's members of one cause vary."""
    slow = Observation(name="candidate", value=9, duration_ns=10**9)
    assert of(changed("$.a"), candidate=slow) == of(changed("$.a"))
    one, two = (raised(ValueError(f"order {number} is void")) for number in (17, "ORD-1822"))
    assert of(candidate=one) == of(candidate=two)
    one, two = (raised(ExceptionGroup("x", [ValueError()] * count)) for count in (1, 200))
    assert of(candidate=one) == of(candidate=two)


def test_items_that_were_added_and_removed_have_changed() -> None:
    """Which items of two sequences were taken for the same says nothing of the cause."""
    kind = DifferenceKind
    swapped = changed("$[0]", kind.REMOVED), changed("$[4]", kind.ADDED)
    assert of(*swapped) == of(changed("$[2]"))
    assert of(*swapped) != of(swapped[0])
    fields = changed("$.a", kind.REMOVED), changed("$.a", kind.ADDED)
    assert of(*fields) != of(changed("$.a"))


def test_a_comprehension_is_part_of_its_function() -> None:
    """From Python 3.12 on there is no frame of its own for it."""
    inside, outside = "shop:total.<locals>.<listcomp>", "shop:total"
    assert of(candidate=raised(ValueError(), inside)) == of(candidate=raised(ValueError(), outside))


def test_names_are_not_run_together() -> None:
    """What stands between the parts can't be forged by a name."""
    assert fingerprint("a", "b', 'c", [], OURS, THEIRS) != fingerprint(
        "a', 'b", "c", [], OURS, THEIRS
    )
    assert of(changed("$.a.b")) != of(changed("$.a"), changed("$.b"))


@pytest.mark.parametrize(
    ("message", "general"),
    [
        ("order 17 is void", "order * is void"),
        ("order ORD-1822 is void", "order * is void"),
        ("3 of 17 rows left: [4, 5, 'x']", "* of * rows left: [*]"),
        ("invalid literal for int() with base 10: '12.5'", "invalid literal for int() with base *"),
        ("took 12.5s, 1.5e-07 or -3 %", "took *s, * or * %"),
        ("at 2026-01-31T10:00:00.5+01:00", "at *"),
        ("<object object at 0x7f3c00ff>", "<object object at *>"),
        ("no user bob@example.com", "no user *"),
        ("[Errno 2] No such file: '/tmp/x y.json'", "[Errno *] No such file: *"),
        ("can't open /var/orders/x.json.", "can't open *."),
        ("GET https://a.example/x?y=z failed", "GET * failed"),
        ("key `a b` and “c” and \"d\" and b'e'", "key * and * and * and b*"),
        ("nicht „Müller“, «Ü» 'Ö'", "nicht *"),
        ("it's the dog's 'bo\\'ne' isn't it", "it's the dog's * isn't it"),
        ("'unfinished and 17", "'unfinished and *"),
        ("cus_NffrFeUfNV2Hib is gone", "* is gone"),
        ("sha256 and utf8 and line_10", "* and utf8 and *"),
        ("name 'totl' is not defined. Did you mean: 'total'?", "name * is not defined"),
        ("  much\n\twhite  space ", "much white space"),
        ("x" * 65 + " went", "* went"),
        ("", ""),
    ],
)
def test_what_looks_like_data_in_a_message_is_generalised(message: str, general: str) -> None:
    """Numbers, ids, addresses, paths, URLs and quoted text become `*`, several in a row one."""
    assert generalise_text(message) == general


def test_names_in_quotes_stay_where_they_are_the_programs() -> None:
    """Which attribute is missing is a cause, which text was refused is not."""
    said = "'Cart' object has no attribute 'total'"
    assert generalise_text(said, names=True) == said
    assert generalise_text("no key 'shop.cart' in '17'", names=True) == "no key 'shop.cart' in *"
    assert generalise_text("'user_1234'", names=True) == "*"
    assert of(candidate=raised(KeyError("a"))) != of(candidate=raised(KeyError("b")))
    for error in (AttributeError, ImportError, NameError, TypeError):
        assert of(candidate=raised(error("'a'"))) != of(candidate=raised(error("'b'")))
    assert of(candidate=raised(ValueError("'a'"))) == of(candidate=raised(ValueError("'b'")))


@given(st.lists(st.text(string.ascii_letters, min_size=1, max_size=9), min_size=1), st.data())
def test_numbers_and_quoted_texts_in_a_message_do_not_count(words: list[str], data: Any) -> None:
    """Whatever the words around them are."""
    texts = st.one_of(
        st.integers().map(str),
        st.decimals(allow_nan=False, allow_infinity=False).map(str),
        st.datetimes().map(datetime.datetime.isoformat),
        st.uuids().map(str),
        st.text(string.ascii_letters + " .,!-", max_size=99).map(repr),
    )
    one, two = (" ".join(f"{word} {data.draw(texts)}" for word in words) for _ in range(2))
    assert generalise_text(one) == generalise_text(two) == " ".join(f"{word} *" for word in words)


NASTY = [
    *("'", "' ", "'a ", '"', '" ', '"a\\', "`", "“", "„ ", "«", "b'", "'\\", '"\\\\', "\\", "'a'"),
    *(
        "1",
        "1 ",
        "1.",
        "1,",
        "1-",
        "-1",
        "0x",
        "1e",
        "1T",
        "T1:",
        "111 ",
        "a1",
        "a1111",
        "_1",
        "aA1",
    ),
    *(
        "*",
        "* ",
        ", ",
        "* ,",
        "A*",
        "a:",
        "/",
        "~",
        "@",
        "a@",
        "a@a.",
        "a://",
        "a.b+c",
        "deadbeef1",
    ),
    *("[", '["', '["a', '["\\', "[\\", "[<", "]", ".", ".a", ".[", '."', " ", "\n", "?", "{", "ß"),
    *(". Did you mean", ". Did you mean ?"),
]


@pytest.mark.parametrize("unit", NASTY)
@pytest.mark.parametrize("work", [generalise, generalise_text], ids=lambda work: work.__name__)
def test_the_time_grows_with_the_length_alone(work: Callable[[str], str], unit: str) -> None:
    """No text makes a pattern look again and again: 16 times the text takes 16 times the time."""

    def cost(size: int) -> float:
        text = f"x {unit * (size // len(unit))}"
        before = time.thread_time()
        for end in ("!", "\\"):
            work(text + end)
        return time.thread_time() - before

    assert any(cost(1 << 16) < 64 * cost(1 << 12) + 0.05 for _ in range(3))


class Meta(type):
    """A metaclass that answers nothing."""

    def __getattribute__(cls, name: str) -> Any:
        raise AssertionError(f"the metaclass was asked for {name}")

    def __hash__(cls) -> int:
        raise AssertionError("the metaclass was asked for a hash")

    def __instancecheck__(cls, other: object) -> bool:
        raise AssertionError("the metaclass was asked for an instance check")

    __subclasscheck__ = __instancecheck__


class Hostile(Exception, metaclass=Meta):
    """An exception, and a value, none of whose own code may be called."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"{name} was asked for")

    def __str__(self) -> str:
        raise AssertionError("it was asked for its text")

    __repr__ = __format__ = __hash__ = __eq__ = __bool__ = __dir__ = __reduce__ = __str__  # type: ignore[assignment]


def test_no_code_of_a_value_or_an_exception_is_called() -> None:
    """Both are told by their types and by what the interpreter keeps of them."""
    error = BaseException.__new__(Hostile, "order 17")
    typed = changed("$.a", DifferenceKind.TYPE, error, 1)
    digits = of(typed, candidate=raised(ExceptionGroup("x", [error])), control=raised(error))
    other = BaseException.__new__(Hostile, "order 18")
    group = raised(ExceptionGroup("x", [other]))
    assert of(typed, candidate=group, control=raised(other)) == digits


def test_the_version_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups made by other rules have other names."""
    before = of(changed("$.a"))
    monkeypatch.setattr(fingerprints, "VERSION", fingerprints.VERSION + 1)
    assert of(changed("$.a")) != before


def test_a_fingerprint_stays_what_it_was() -> None:
    """Stored groups keep their names; other rules need another VERSION."""
    error = raised(ValueError("x"))
    typed = changed("$.ü", DifferenceKind.TYPE, 1, "1")
    assert of() == "a665f16a4548d453"
    assert of(changed("$.items[3].price"), typed) == "6646d98c21b87ae5"
    both = of(changed("$", DifferenceKind.RAISED), control=error, candidate=error)
    assert both == "b895870e176c2e2b"


@pytest.mark.parametrize("seed", ["1", "2"])
def test_it_is_the_same_in_every_process(seed: str) -> None:
    """No seeded hash is in it."""
    code = (
        "from twinrun.fingerprints import *; from twinrun.difference import *;"
        "from twinrun.observation import *; seen = Observation(name='x', duration_ns=1);"
        "found = [Difference('$.b', DifferenceKind.CHANGED), Difference('$[3].a', 'type', 1, '1')];"
        "print(fingerprint('shop', 'new', found, seen, seen))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    found = [changed("$[0].a", DifferenceKind.TYPE, 1, "1"), changed("$.b")]
    assert done.stdout.strip() == of(*found)


@given(st.text())
def test_any_text_can_be_a_path_and_a_name(text: str) -> None:
    """A comparator may write what it likes; the result is 16 hex digits."""
    found = [Difference(text, DifferenceKind.CHANGED)]
    digits = fingerprint(text, text, found, OURS, raised(ValueError(), text))
    assert len(digits) == 16
    assert set(digits) <= set(string.hexdigits.lower())


@given(st.lists(st.one_of(keys(), st.text(), st.floats(), st.tuples()), min_size=1))
def test_generalising_twice_changes_nothing(way: list[Any]) -> None:
    """What is general stays so, whatever the keys are."""
    one: Any = 1
    two: Any = 2
    for key in way:
        one, two = {key: one}, {key: two}
    (difference,) = differences(one, two)
    general = generalise(difference.path)
    assert generalise(general) == general


@pytest.mark.parametrize(
    ("path", "general"),
    [
        ("$", "$"),
        ("$.items[3].price", "$.items[*].price"),
        ("$[0][1]", "$[*][*]"),
        ("$[-3]", "$[*]"),
        ("$[1.5].a", "$[*].a"),
        ("$[None][True][<tuple>]", "$[None][True][<tuple>]"),
        ('$["odd key"].a', '$["odd key"].a'),
        ('$["a]b"][3]', '$["a]b"][*]'),
        ('$["17"].a', "$[*].a"),
        ("$.users.user_1234.age", "$.users[*].age"),
        ('$.users["user-1234"].age', "$.users[*].age"),
        (r'$["\u00e9\u00e8 \u00fc"]', r'$["\u00e9\u00e8 \u00fc"]'),
        (r'$["\q1"]', r'$["\q1"]'),
    ],
)
def test_steps_are_generalised_one_by_one(path: str, general: str) -> None:
    """Indices, numbers and ids become `[*]`; all else stays as it was written."""
    assert generalise(path) == general


def general(key: str) -> bool:
    """Whether a key is taken for an id."""
    return generalise(differences({key: 1}, {})[0].path) == "$[*]"


@pytest.mark.parametrize(
    "key",
    [
        *("17", "0", "2024-01-31", "192.168.0.1", "12:30", "+49 170 1234567"),
        *("deadbeef1", "9f86d081", "00FF00FF", "5d41402abc4b2a76b9719d911017c592"),
        *("0b9e7c5a-5a52-4f7c-9a39-0d7f2f3f9c11", "{0B9E7C5A-5A52-4F7C-9A39-0D7F2F3F9C11}"),
        *("user_1234", "order-170", "user12345", "report_2024", "2024_q1", "INV/2024/0042"),
        *("cus_NffrFeUfNV2Hib", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "V1StGXR8Z5jdHi6BmyT"),
        *("alice@example.com", "x" * 65),
    ],
)
def test_these_keys_look_like_ids(key: str) -> None:
    """A dict keyed by such things has one shape for all of them."""
    assert general(key)


@pytest.mark.parametrize(
    "key",
    [
        *("price", "address2", "line_10", "sha256", "utf8", "iso8601", "rfc3339", "x509", "md5"),
        *("oauth2AccessToken", "isV2ApiEnabled", "base64EncodedValue", "is_ipv6_enabled", "p99"),
        *("deadbeef", "facade", "@type", "größe2", "int64", "q1", "http2", "createdAt", "X"),
        *("MAX_RETRIES", "getHTTPResponseCode", "Content-Type", "first name", "user_7"),
    ],
)
def test_these_keys_are_names(key: str) -> None:
    """Fields with a digit or two in their names are fields."""
    assert not general(key)

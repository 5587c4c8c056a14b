"""The grammar of path patterns, and what each pattern is of."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import keys
from twinrun.comparators.structural import differences
from twinrun.errors import ConfigurationError
from twinrun.patterns import Pattern, compiled, split, step

ODD_KEYS = st.one_of(
    keys(),
    st.text(),
    st.booleans(),
    st.none(),
    st.floats(),
    st.integers(),
    st.binary(max_size=2),
    st.tuples(st.integers()),
)


def path_of(way: list[Any]) -> str:
    """Write a path to where some keys lead."""
    return "$" + "".join(map(step, way))


@pytest.mark.parametrize(
    ("key", "written"),
    [
        ("price", ".price"),
        ("größe", ".größe"),
        ("class", ".class"),
        ("odd key", '["odd key"]'),
        ("", '[""]'),
        ("3", '["3"]'),
        ("a.b", '["a.b"]'),
        ('"]', r'["\"]"]'),
        ("\\", r'["\\"]'),
        ("*", '["*"]'),
        ("é à", r'["\u00e9 \u00e0"]'),
        ("\n\ud800", r'["\n\ud800"]'),
        (3, "[3]"),
        (-3, "[-3]"),
        (True, "[True]"),
        (None, "[None]"),
        (1.5, "[1.5]"),
        (float("nan"), "[nan]"),
        (-float("inf"), "[-inf]"),
        (10**5000, "[<int>]"),
        ((1, 2), "[<tuple>]"),
        (b"a", "[<bytes>]"),
        (type("od]d", (), {})(), "[<?>]"),
    ],
    ids=lambda value: value if type(value) is str else type(value).__name__,
)
def test_a_step_is_written_by_the_kind_of_its_key(key: Any, written: str) -> None:
    """And the pattern of what was written is of that place."""
    assert step(key) == written
    assert split(f"$.a{written}.b") == ["$", ".a", written, ".b"]
    assert Pattern(f"$.a{written}.b").matches(f"$.a{written}.b")


@given(st.lists(ODD_KEYS, max_size=6))
def test_every_path_is_a_pattern_of_its_own_place(way: list[Any]) -> None:
    """Whatever the keys are; and its steps can be told apart again."""
    path = path_of(way)
    assert split(path) == ["$", *map(step, way)]
    pattern = Pattern(path)
    assert pattern.matches(path)
    assert not pattern.matches(f"{path}.more")
    assert pattern.covers(f"{path}.more")
    if split(path)[-1].startswith("."):
        assert not pattern.covers(f"{path}x")


@given(st.lists(ODD_KEYS, max_size=5), st.lists(ODD_KEYS, max_size=5))
def test_a_path_is_of_its_own_place_only(one: list[Any], other: list[Any]) -> None:
    """Two different ways match each other only where they are written alike."""
    assert Pattern(path_of(one)).matches(path_of(other)) == (path_of(one) == path_of(other))


@given(
    st.recursive(
        st.integers(0, 1),
        lambda inner: st.one_of(st.lists(inner), st.dictionaries(ODD_KEYS, inner)),
        max_leaves=8,
    )
)
def test_paths_of_differences_are_patterns(value: Any) -> None:
    """What the structural diff writes, patterns read."""
    for difference in differences(value, None) + differences([value], [0]):
        assert Pattern(difference.path).matches(difference.path)


ALL = ["$", "$.a", "$.a.b", "$.a[0]", "$.a[1].b", '$.a["odd key"].b', "$.ab", "$.b", "$args.a.b"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("$", ["$"]),
        ("$.a", ["$.a"]),
        ('$["a"]', ["$.a"]),
        ("$.*", ["$.a", "$.ab", "$.b"]),
        ("$[*]", ["$.a", "$.ab", "$.b"]),
        ("$.a[*]", ["$.a.b", "$.a[0]"]),
        ("$.a[0]", ["$.a[0]"]),
        ("$.a[*].b", ["$.a[1].b", '$.a["odd key"].b']),
        ("$..b", ["$.a.b", "$.a[1].b", '$.a["odd key"].b', "$.b"]),
        ('$..["b"]', ["$.a.b", "$.a[1].b", '$.a["odd key"].b', "$.b"]),
        ("$.a..b", ["$.a.b", "$.a[1].b", '$.a["odd key"].b']),
        ("$..*", ALL[1:-1]),
        ("$..[*]", ALL[1:-1]),
        ("$..[1].b", ["$.a[1].b"]),
        ("$..a..b", ["$.a.b", "$.a[1].b", '$.a["odd key"].b']),
        ("$args..b", ["$args.a.b"]),
        ("$args.a", []),
    ],
)
def test_what_a_pattern_matches(pattern: str, expected: list[str]) -> None:
    """A pattern is of exact places; another root is another world."""
    assert [path for path in ALL if compiled(pattern).matches(path)] == expected


@pytest.mark.parametrize(
    ("pattern", "covered", "reached"),
    [
        ("$", ALL[:-1], ["$"]),
        ("$.a", ["$.a", "$.a.b", "$.a[0]", "$.a[1].b", '$.a["odd key"].b'], ["$", "$.a"]),
        ("$.a[*].b", ["$.a[1].b", '$.a["odd key"].b'], ["$", *ALL[1:6]]),
        ("$..b", ["$.a.b", "$.a[1].b", '$.a["odd key"].b', "$.b"], ALL[:-1]),
        ("$.b..x", [], ["$", "$.b"]),
    ],
)
def test_what_a_pattern_covers_and_reaches(
    pattern: str, covered: list[str], reached: list[str]
) -> None:
    """`covers` takes in what lies below its places, `reaches` what lies above them."""
    rule = compiled(pattern)
    assert [path for path in ALL if rule.covers(path)] == covered
    assert [path for path in ALL if rule.reaches(path)] == reached


NAMES = st.lists(st.sampled_from(["a", "b", "c"]), max_size=7)
PATTERNS = st.lists(
    st.tuples(st.sampled_from([".", ".", ".."]), st.sampled_from(["a", "b", "*"])), max_size=4
)


def fits(pattern: list[tuple[str, str]], way: list[str]) -> bool:
    """Say by trying everything whether a pattern is of a place."""
    if not pattern:
        return not way
    (dots, name), *others = pattern
    return any(
        name in ("*", way[start]) and fits(others, way[start + 1 :])
        for start in (range(len(way)) if dots == ".." else range(min(1, len(way))))
    )


@given(PATTERNS, NAMES)
def test_matching_is_what_trying_everything_says(
    pattern: list[tuple[str, str]], way: list[str]
) -> None:
    """Any number of wildcards, at any depth; covers and reaches follow from it."""
    rule = Pattern("$" + "".join(dots + name for dots, name in pattern))
    path = path_of(way)
    assert rule.matches(path) == fits(pattern, way)
    assert rule.covers(path) == any(fits(pattern, way[:n]) for n in range(len(way) + 1))
    deep = any(dots == ".." for dots, _ in pattern)
    if not deep:
        assert rule.reaches(path) == (len(way) <= len(pattern) and fits(pattern[: len(way)], way))
    elif fits(pattern, way):
        assert all(rule.reaches(path_of(way[:n])) for n in range(len(way) + 1))


def test_many_wildcards_on_a_long_path_take_no_time() -> None:
    """Nothing is tried twice: this would take for ever otherwise."""
    path = "$" + ".a" * 20_000
    assert not Pattern("$" + "..a" * 20 + "..b").matches(path)
    assert Pattern("$" + "..a" * 20).matches(path)
    assert not Pattern("$..b").covers(path)


@pytest.mark.parametrize(
    ("text", "place", "why"),
    [
        ("", 0, "begins with $"),
        ("items", 0, "begins with $"),
        ("$items price", 1, "a name, a dot or a bracket was expected after $"),
        ("$.items.", 8, "a name or * was expected after the dot"),
        ("$.items..", 9, "a name or * was expected after the dot"),
        ("$...a", 3, "a name or * was expected after the dot"),
        ("$.odd key", 2, 'other keys are quoted: ["odd key"]'),
        ("$.3", 2, 'other keys are quoted: ["3"]'),
        ("$.a[", 4, "was expected here"),
        ("$.a[]", 4, "was expected here"),
        ("$.a[3", 5, "a closing ] was expected here"),
        ("$.a[03]", 4, "an index"),
        ("$.a['b']", 4, "a quoted key"),
        ("$.a[b]", 4, "an index"),
        ("$.a[1:2]", 4, "an index"),
        ("$.a[<b c>]", 4, "<Type>"),
        ("$.a[" + "9" * 80 + "]", 4, "an index"),
        ('$.a["b]', 4, "no JSON text"),
        ('$.a["b"', 7, "a closing ]"),
        (r'$.a["\x"]', 5, "no JSON text"),
        ("$.a[0]b", 6, "a dot or a bracket was expected here"),
    ],
)
def test_a_wrong_pattern_is_refused_with_a_caret_under_the_place(
    text: str, place: int, why: str
) -> None:
    """The error shows the pattern, points, and says what is accepted."""
    with pytest.raises(ConfigurationError) as caught:
        Pattern(text)
    message, shown, caret, accepted = str(caught.value).splitlines()
    assert why in message
    assert shown == f"    {text}"
    assert caret == " " * (4 + place) + "^"
    assert "$.items[3].price" in accepted


@pytest.mark.parametrize("text", [None, 3, b"$.a", re.compile("a")], ids=repr)
def test_what_is_no_text_is_refused(text: Any) -> None:
    """The error says what was given."""
    with pytest.raises(ConfigurationError, match=re.escape(repr(text))):
        Pattern(text)


@given(st.text() | st.text(alphabet='$.[]"*<>a0\\-', max_size=12).map("$".__add__))
def test_any_text_is_a_pattern_or_refused(text: str) -> None:
    """No text makes another error, and what is accepted can be asked."""
    try:
        pattern = Pattern(text)
    except ConfigurationError as error:
        lines = str(error).splitlines()
        assert lines[-2].strip() == "^"
        return
    assert str(pattern) == text
    assert not pattern.matches("no path")


def test_patterns_are_values() -> None:
    """Equal and hashed by their text, and readable."""
    assert compiled("$.a") is compiled("$.a")
    assert Pattern("$.a") == Pattern("$.a") != Pattern("$.b")
    assert len({Pattern("$.a"), Pattern("$.a")}) == 1
    assert repr(Pattern("$.a")) == "Pattern('$.a')"

"""Text compared by what it means, and shown by where it differs."""

from __future__ import annotations

import json
from typing import Any
from xml.sax import saxutils

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import documents
from twinrun.comparators import (
    by_field,
    case_insensitive,
    ignoring,
    json_text,
    texts,
    xml_text,
)
from twinrun.comparators._alignment import Alike, Match, matches
from twinrun.comparators.texts import spans
from twinrun.observation import NOTHING


def found(compare: Any, control: Any, candidate: Any) -> list[str]:
    """The differences as `kind path`."""
    return [f"{d.kind} {d.path}" for d in compare.differences(control, candidate)]


def test_the_case_of_letters_does_not_count() -> None:
    """In text anywhere inside; in keys it does."""
    assert case_insensitive(["Straße", {"a": "X"}], ["STRASSE", {"a": "x"}])
    assert found(case_insensitive, {"a": "x"}, {"A": "x"}) == ["removed $.a", "added $.A"]
    assert found(case_insensitive, ["a", "b"], ["A", "c"]) == ["changed $[1]"]
    assert not case_insensitive("a", b"A")


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=8,
)


@given(JSON)
def test_json_is_equal_however_it_is_written(value: Any) -> None:
    """Spaces, the order of keys, escapes, bytes or text."""
    one = json.dumps(value, indent=2)
    two = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    assert json_text(one, two)
    assert json_text(one, one.encode())
    assert json_text.differences(one, two) == ()


def test_what_differs_in_json_is_told_by_its_path() -> None:
    """And whatever varies comparators varies this one."""
    one, two = '{"a": [1, {"b": 2}], "t": 1}', '{"t":2,"a":[1,{"b":3}]}'
    assert found(json_text, one, two) == ["changed $.a[1].b", "changed $.t"]
    assert found(ignoring("$.t", compare=json_text), one, two) == ["changed $.a[1].b"]
    assert by_field({"body": json_text})({"body": "[1, 2]"}, {"body": "[1,2]"})


@pytest.mark.parametrize(
    ("control", "candidate"),
    [
        ("[1", "[1]"),
        ("", "[]"),
        ("[1]", [1]),
        (None, "null"),
        (b"\xff", b"\xfe"),
        ("[" * 10**5, ""),
    ],
    ids=lambda value: repr(value)[:10],
)
def test_what_is_no_json_is_compared_as_it_is(control: Any, candidate: Any) -> None:
    """It differs as a whole, and equals itself."""
    assert [d.path for d in json_text.differences(control, candidate)] == ["$"]
    assert json_text(control, control)


@given(
    st.dictionaries(st.sampled_from("abc"), st.text(alphabet="xy<&\"' ")), st.text(alphabet="x<& ")
)
def test_xml_is_equal_however_it_is_written(attributes: dict[str, str], text: str) -> None:
    """Quotes, order of attributes, spaces around elements, comments, prefixes, self-closing."""
    values = [(key, saxutils.quoteattr(value)) for key, value in attributes.items()]
    body = saxutils.escape(text)
    one = f"<r {' '.join(f'{k}={v}' for k, v in values)}><e>{body}</e><n/></r>"
    two = f"<?xml version='1.0'?>\n<r {' '.join(f'{k}={v}' for k, v in reversed(values))}>\n"
    two += f"  <!-- c --><e> {body} </e>\n<n></n></r>"
    assert xml_text(one, two)
    assert xml_text(one, two.encode())


def test_namespaces_are_told_by_their_names_not_their_prefixes() -> None:
    """As the standard says."""
    one, two = '<a:r xmlns:a="urn:x"><a:e/></a:r>', '<r xmlns="urn:x"><e/></r>'
    assert xml_text(one, two)
    assert not xml_text(one, '<r xmlns="urn:y"><e/></r>')


def test_what_differs_in_xml_is_told_by_its_path() -> None:
    """Elements by their places among the children."""
    one, two = '<r a="1"><e>x</e><f/></r>', '<r a="2"><e>y</e><g/></r>'
    assert found(xml_text, one, two) == [
        "changed $.attributes.a",
        "changed $.children[0].children[0]",
        "changed $.children[1].tag",
    ]
    assert found(xml_text, "<r><a/><b/></r>", "<r><b/><a/></r>") != []


@pytest.mark.parametrize(
    ("control", "candidate"),
    [
        ("<r>", "<r/>"),
        ("", "<r/>"),
        ("<r/>", None),
        ('<!DOCTYPE r [<!ENTITY e "x">]><r>&e;</r>', "<r>x</r>"),
        ("<r/><r/>", "<r/>"),
    ],
)
def test_what_is_no_sound_xml_is_compared_as_it_is(control: Any, candidate: Any) -> None:
    """So is what declares entities, which could grow without bound."""
    assert [d.path for d in xml_text.differences(control, candidate)] == ["$"]
    assert xml_text(control, control)


def test_deep_xml_is_no_harm() -> None:
    """Nothing recurs."""
    depth = 3_000
    one, two = "<a>" * depth + "x" + "</a>" * depth, "<a>" * depth + "y" + "</a>" * depth
    assert len(xml_text.differences(one, two)) == 1


# Where two texts differ


def sides(control: str, candidate: str) -> list[tuple[Any, Any]]:
    """The spans as pairs."""
    return [(span.control, span.candidate) for span in spans(control, candidate)]


def test_a_line_is_told_apart_word_by_word() -> None:
    """Words, spaces and signs are pieces."""
    assert sides("the quick fox.", "the slow fox!") == [
        ("the ", "the "),
        ("quick", "slow"),
        (" fox", " fox"),
        (".", "!"),
    ]
    assert sides("a b", "a b c") == [("a b", "a b"), (NOTHING, " c")]


@pytest.mark.parametrize(
    ("one", "two", "told"),
    [
        ("12.50 EUR", "12.05 EUR", "12.50"),
        ("on 2026-01-31T10:30:00", "on 2026-02-01T10:30:00", "2026-01-31T10:30:00"),
        ("at 10:30.", "at 10:31.", "10:30"),
        ("1,000,000 items", "1,000,001 items", "1,000,000"),
        ("version v1.2.3", "version v1.2.4", "v1.2.3"),
        ("[1,2,3]", "[1,2,4]", "3"),
        ("[1,2000,3]", "[1,2001,3]", "2000"),
        ("see a.b", "see a.c", "b"),
        ("a 1. b", "a 2. b", "1"),
    ],
)
def test_a_number_or_a_date_is_one_word(one: str, two: str, told: str) -> None:
    """It is not told apart by its digits; a list of numbers is several words."""
    assert [ours for ours, theirs in sides(one, two) if ours != theirs] == [told]


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("ab ", "ba "),
        ("a b ", "b a b b "),
        ("a b c ", "c b a "),
        ("a\n", "a\nb\n"),
        ("'", "\"'"),
        ("1,000", "1,000,"),
    ],
)
@pytest.mark.parametrize("size", [1 << 12, 1 << 16])
def test_repetitive_texts_take_a_bounded_time(
    one: str, two: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How often two pieces are compared grows with their number alone, up to a bound."""
    asked = 0

    def counting(left: int, right: int, alike: Alike, effort: int) -> list[Match]:
        def counted(i: int, j: int) -> bool:
            nonlocal asked
            asked += 1
            return alike(i, j)

        return matches(left, right, counted, effort)

    monkeypatch.setattr(texts, "matches", counting)
    control, candidate = one * (size // len(one)), two * (size // len(two))
    told = spans(control, candidate)
    assert asked < 250_000
    for text, name in ((control, "control"), (candidate, "candidate")):
        parts = [getattr(span, name) for span in told]
        known = sum(len(part) for part in parts if part is not NOTHING)
        assert known == len(text) or any(span.skipped for span in told)


def test_lines_are_told_apart_line_by_line() -> None:
    """Of a long equal run, the ends are shown."""
    lines = [f"line {n}\n" for n in range(20)]
    one, two = "".join(lines), "".join([*lines[:15], "new\n", *lines[16:]])
    assert [(s.equal, s.skipped) for s in spans(one, two)] == [
        (True, 9),
        (True, 0),
        (False, 0),
        (True, 0),
    ]
    assert spans(one, two)[2].candidate == "new\n"


TEXTS = st.text(alphabet="ab \n.", max_size=40)


@given(TEXTS, TEXTS)
def test_joined_spans_give_both_texts(control: str, candidate: str) -> None:
    """But for what was skipped."""
    told = spans(control, candidate)
    if not any(span.skipped for span in told):
        for text, name in ((control, "control"), (candidate, "candidate")):
            parts = [getattr(span, name) for span in told]
            assert "".join(part for part in parts if part is not NOTHING) == text
    assert all(span.equal for span in told) == (control == candidate)


def test_huge_texts_take_a_bounded_time() -> None:
    """What lies behind the first 5,000 pieces that are compared is one span."""
    one = "".join(f"{n}\n" for n in range(20_000))
    two = one.replace("19999\n", "x\n")
    assert not spans(one, two)[-1].equal
    assert len(spans(one, two)[-1].control) > 10_000


@given(documents())
def test_values_without_text_are_compared_as_ever(value: Any) -> None:
    """A comparator of text is no hindrance to other values."""
    assert json_text(value, value)
    assert xml_text([value], [value])

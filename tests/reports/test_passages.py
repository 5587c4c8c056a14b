"""Long texts told apart for people and programs."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from twinrun.reports.passages import are_long, passages, spanned
from twinrun.reports.terminal import NARROWEST, print_out

PROSE = " ".join(f"word{n % 97} and{n % 31}" for n in range(340))  # about 4 KiB
PAGE = "".join(f"line {n}\n" for n in range(50))
PIECES = st.sampled_from(["a", "b", "long", " ", "  ", "\n", ".", "é", "漢字"])
TEXTS = st.lists(PIECES, max_size=7).map("".join)


def written(control: str, candidate: str, width: int = 80) -> str:
    """Write two texts without colours."""
    return print_out(passages(control, candidate), width, styled=False)


def test_one_changed_word_in_four_kilobytes_is_found_at_a_glance() -> None:
    """What is shown of it is one line: the word on both sides, and what stands around it."""
    text = written(PROSE, PROSE.replace("word55 and24", "word55 or24"))
    assert text == "word0 and0 … word55 [-and24-]{+or24+} word56 … word48 and29\n"


def test_lines_are_marked_as_in_a_diff() -> None:
    """`-` stands before the control's lines, `+` before the candidate's, with lines around."""
    assert written(PAGE, PAGE.replace("line 20\n", "line XX\n").replace("line 24\n", "")) == (
        "  line 0\n  line 1\n  line 2\n  … 14 lines the same\n"
        "  line 17\n  line 18\n  line 19\n- line 20\n+ line XX\n"
        "  line 21\n  line 22\n  line 23\n- line 24\n  line 25\n  line 26\n  line 27\n"
        "  … 19 lines the same\n  line 47\n  line 48\n  line 49\n"
    )


def test_in_long_lines_the_words_are_marked() -> None:
    """Of two long lines that differ only the words that do are marked."""
    row = " ".join(f"w{n}" for n in range(40))
    text = written(f"first\n{row}\n", f"first\n{row.replace('w20', 'x')}\n")
    assert text == "  first\n| w0 w1 … w19 [-w20-]{+x+} w21 … w38 w39\n"


@pytest.mark.parametrize(
    ("control", "candidate", "text"),
    [
        ("caf\u00e9", "cafe\u0301", "[-caf\\xe9-]{+cafe\\u0301+}\n"),
        ("a b", "a  b", "a[-\\x20-]{+\\x20\\x20+}b\n"),
        ("a\nb \nc\n", "a\nb\nc\n", "  a\n- b\\x20\n+ b\n  c\n"),
        ("a\nb\n", "a\nb", "  a\n- b\n+ b (no new line at the end)\n"),
        ("a\r\nb\n", "a\nb\n", "- a\\r\n+ a\n  b\n"),
    ],
)
def test_what_looks_the_same_is_told_apart(control: str, candidate: str, text: str) -> None:
    """Spaces, composed characters and ends of lines are written so that they can be seen."""
    assert written(control, candidate) == text


def test_of_cut_texts_only_what_is_known_of_both_is_compared() -> None:
    """Where one text was cut, the other's end is no difference; how much is missing is said."""
    control, candidate = "a b c" + " x" * 40, "a B c… (90 characters)"
    assert written(control, candidate) == (
        "a [-b-]{+B+} c\ncandidate: only 5 of 90 characters were kept\n"
    )
    assert spanned(control, candidate) == [
        {"both": "a "},
        {"control": "b", "candidate": "B"},
        {"both": " c"},
    ]


def test_a_difference_that_was_not_kept_is_said() -> None:
    """Where both texts begin the same and were cut, that is what is said."""
    assert written("abc… (90 characters)", "abc… (91 characters)") == (
        "control: only 3 of 90 characters were kept\n"
        "candidate: only 3 of 91 characters were kept\n"
        "The first 3 characters are the same\n"
    )


@given(TEXTS, TEXTS)
def test_spans_lose_nothing(control: str, candidate: str) -> None:
    """The runs of short texts, put together, are the texts."""
    runs = spanned(control, candidate)
    assert "".join(run.get("both", run.get("control", "")) for run in runs) == control
    assert "".join(run.get("both", run.get("candidate", "")) for run in runs) == candidate


def test_spans_count_what_they_skip() -> None:
    """Of a long equal run, `skipped` says how many lines or words are not there."""
    runs = spanned(PAGE, PAGE + "more\n")
    assert runs == [
        {"both": "line 0\nline 1\nline 2\n", "skipped": 44},
        {"both": "line 47\nline 48\nline 49\n"},
        {"candidate": "more\n"},
    ]


@settings(max_examples=50)
@given(st.text(st.characters(), max_size=60), st.text(st.characters(), max_size=60), TEXTS)
def test_any_texts_can_be_written(control: str, candidate: str, middle: str) -> None:
    """Whatever the texts, rows fit the width, in wide characters too, and steer no terminal."""
    shown = written(control + middle * 9, candidate + middle * 9)
    assert all(cell_len(row) <= max(80, NARROWEST) for row in shown.split("\n"))
    assert not any(unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl"} for c in shown if c != "\n")
    if control != candidate:
        assert any(mark in shown for mark in ("[-", "{+", "- ", "+ ", "| ", "-\n", "+\n"))


@pytest.mark.parametrize(
    ("control", "candidate", "expected"),
    [("x" * 61, "", True), ("x", "y" * 61, True), ("x" * 60, "y", False), ("x" * 99, 1, False)],
)
def test_texts_are_long_beyond_a_line_of_a_table(
    control: object, candidate: object, expected: bool
) -> None:
    """Told apart are texts of which one has more than 60 characters."""
    assert are_long(control, candidate) is expected

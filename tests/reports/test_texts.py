"""Text made safe for a terminal."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinrun.reports.texts import block, line, plain

ANY_TEXT = st.text(st.characters(), max_size=50)


@given(ANY_TEXT)
def test_a_line_gives_a_terminal_nothing_to_obey(text: str) -> None:
    """No control, no format character, no surrogate and no line separator is left."""
    safe = line(text)
    assert not any(unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for c in safe)
    assert len(safe.splitlines()) <= 1


@given(ANY_TEXT)
def test_a_line_tells_what_was_there(text: str) -> None:
    """What was unsafe is written as Python's repr writes it; what was safe is left as it is."""
    assert "".join(c if c in "'\\" else repr(c)[1:-1] for c in text) == line(text)


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x9b2J", "\\x9b2J"),
        ("a\u202eb\u2066c\u200fd", "a\\u202eb\\u2066c\\u200fd"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("\u2028", "\\u2028"),
        ("naïve 漢字 [red]", "naïve 漢字 [red]"),
    ],
)
def test_unsafe_characters_are_escaped(text: str, safe: str) -> None:
    """Each unsafe character is written as its escape; anything else stays."""
    assert line(text) == safe


@given(ANY_TEXT)
def test_a_block_keeps_its_lines_and_nothing_else(text: str) -> None:
    """Only the new lines of a block stay what they are."""
    assert block(text).count("\n") == text.count("\n")
    assert all(part == line(part) for part in block(text).split("\n"))


@given(ANY_TEXT.map(line), st.sampled_from(["ascii", "cp1252", "cp437", "latin-1", "utf-8"]))
def test_plain_text_can_always_be_encoded(text: str, encoding: str) -> None:
    """Whatever the encoding, the text can be written in it."""
    assert plain(text, encoding).encode(encoding) is not None


def test_plain_text_has_words_for_arrows() -> None:
    """The report's own signs have plain forms."""
    assert plain("1 → 2, 1.31×, 5 µs", "ascii") == "1 -> 2, 1.31x, 5 us"  # noqa: RUF001
    assert plain("1 → 2, 1.31×, 5 µs", "utf-8") == "1 → 2, 1.31×, 5 µs"  # noqa: RUF001

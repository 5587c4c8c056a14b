"""The demo's input: what counts as a reference."""

from __future__ import annotations

from pathlib import Path

import pytest

from twinrun.demo import harvest


def found(tmp_path: Path, text: str, name: str = "module.py") -> list[str]:
    """Give the references in a file with this text."""
    file = tmp_path / name
    file.write_text(text, "utf-8")
    return list(harvest.references(file))


def test_a_url_in_a_comment_or_a_docstring_is_found(tmp_path: Path) -> None:
    """It ends before white space, quotes and angle brackets."""
    text = "# see <https://example.com/a?b#c>\n'''At http://example.org/ there is more.'''\n"
    assert found(tmp_path, text) == ["https://example.com/a?b#c", "http://example.org/"]


@pytest.mark.parametrize(
    ("literal", "reference"),
    [
        ('"https://example.com"', "https://example.com"),
        ("'mailto:ann@example.com'", "mailto:ann@example.com"),
        ("'images/logo.png'", "images/logo.png"),
        ("'../up'", "../up"),
        (r"'C:\\Temp'", "C:\\Temp"),
        (r"'http://a\n/b'", "http://a\n/b"),
    ],
)
def test_a_literal_that_begins_like_a_reference_is_found(
    tmp_path: Path, literal: str, reference: str
) -> None:
    """It is found once, as Python evaluates it."""
    assert found(tmp_path, f"x = {literal}\n") == [reference]


@pytest.mark.parametrize(
    "literal", ["'see a/b for more'", "'name'", "'Error:'", "b'a/b'", "f'{a}/b'", r"'a/\x'"]
)
def test_prose_names_and_other_literals_are_left_out(tmp_path: Path, literal: str) -> None:
    """A space makes it prose; a prefix makes it another kind of literal."""
    assert found(tmp_path, f"x = {literal}\n") == []


def test_the_files_of_a_package_are_references(tmp_path: Path) -> None:
    """The first column of a RECORD is a path relative to the folder of the packages."""
    text = 'attr/__init__.py,sha256=abc,1\n"a,b/c.py",,\n\n'
    assert found(tmp_path, text, "RECORD") == ["attr/__init__.py", "a,b/c.py"]


def test_a_file_that_cannot_be_read_holds_nothing(tmp_path: Path) -> None:
    """A file may be gone since it was listed."""
    assert list(harvest.references(tmp_path / "gone.py")) == []


def test_every_file_is_listed_once_and_in_order() -> None:
    """The same machine gives the same inputs in the same order."""
    files = harvest.files()
    assert files == sorted(set(files))

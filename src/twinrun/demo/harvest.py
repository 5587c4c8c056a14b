"""Finds real input: the references in the sources and the metadata of the installed Python."""

from __future__ import annotations

import ast
import csv
import re
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

__all__ = ["files", "references"]

_PACKAGES = frozenset({"site-packages", "dist-packages"})

# A string literal in one pair of quotes, without a prefix.
_LITERAL = re.compile(
    r"""(?<!["'\w])(?:"[^"\\\n]*(?:\\.[^"\\\n]*)*"|'[^'\\\n]*(?:\\.[^'\\\n]*)*')(?!["'])"""
)
# How a URL begins, or a relative reference of more than one segment.
_BEGINNING = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:|[\w.~-]*/)\S")
# A URL in a comment, a docstring or metadata; what directly follows a quote is a literal.
_URL = re.compile(r"""(?<!["'A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]*://[^\s"'<>`]+""")


def files() -> list[Path]:
    """Give the sources of the standard library and the packages, and their metadata, in order."""
    found: set[Path] = set()
    for root in {Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")}:
        # The standard library's folder may hold the packages of another environment.
        found.update(
            path
            for path in root.rglob("*.py")
            if _PACKAGES.isdisjoint(path.relative_to(root).parts)
        )
        found.update(root.glob("*.dist-info/METADATA"), root.glob("*.dist-info/RECORD"))
    return sorted(found)


def references(file: Path) -> Iterator[str]:
    """Give the references that stand in one file, as often as they do."""
    try:
        text = file.read_text("utf-8", "replace")
    except OSError:  # a dangling link, or not ours to read
        return
    if file.name == "RECORD":
        yield from (row[0] for row in csv.reader(text.splitlines()) if row)
    else:
        yield from _literals(text)
        if "://" in text:  # spares most files the search
            yield from (match[0] for match in _URL.finditer(text))


def _literals(text: str) -> Iterator[str]:
    """Give the string literals that begin like a reference; one that holds a space is prose."""
    for match in _LITERAL.finditer(text):
        literal: str | None = match[0][1:-1]
        if " " in match[0] or not _BEGINNING.match(match[0], 1):
            continue
        if "\\" in match[0]:
            literal = _evaluated(match[0])
        if literal is not None and _BEGINNING.match(literal):  # an escape may be white space
            yield literal


def _evaluated(literal: str) -> str | None:
    """Give the text that a literal with escapes stands for, None if Python rejects it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other people's invalid escapes
        try:
            return str(ast.literal_eval(literal))
        except (SyntaxError, ValueError):
            return None

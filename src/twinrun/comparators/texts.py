"""Comparators of text, and the difference of two long ones for people."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import attrs

from twinrun.comparators._alignment import matches
from twinrun.comparators._content import Content
from twinrun.comparators._rules import Rules
from twinrun.observation import NOTHING

__all__ = ["Span", "case_insensitive", "json_text", "spans", "xml_text"]


def _same_casefolded(a: Any, b: Any) -> bool:
    """Whether two texts are the same but for the case of their letters."""
    both_text = issubclass(type(a), str) and issubclass(type(b), str)
    return both_text and str.casefold(a) == str.casefold(b)


case_insensitive: Final = Content("case_insensitive", Rules(accepts=(_same_casefolded,)))
"""Like `equal`, but the case of letters doesn't count in text, anywhere inside; in keys it does."""


def _parsed_json(control: Any, candidate: Any) -> tuple[Any, Any]:
    """Parse two JSON texts, each for itself; where one is none, both stay as they are."""
    import json

    try:
        return tuple(json.loads(_text(side)) for side in (control, candidate))
    except (ValueError, TypeError, RecursionError):
        return control, candidate


def _text(side: Any) -> Any:
    """Give text as it is; anything else than text is not parsed."""
    if issubclass(type(side), str | bytes | bytearray):
        return side
    raise TypeError("no text")


json_text: Final = Content("json_text", Rules(projections=(_parsed_json,)))
"""Compares what two JSON texts (or bytes) mean: spaces, the order of keys and how numbers and
characters are written don't count. Where one side is no JSON, both are compared as they are."""


def _parsed_xml(control: Any, candidate: Any) -> tuple[Any, Any]:
    """Parse two XML texts, each for itself; where one is none, both stay as they are."""
    try:
        return _xml(_text(control)), _xml(_text(candidate))
    except (ValueError, TypeError, _xml_error()):
        return control, candidate


xml_text: Final = Content("xml_text", Rules(projections=(_parsed_xml,)))
"""Compares what two XML texts (or bytes) mean: the order of attributes, prefixes of namespaces,
comments, and spaces around elements don't count; the order of elements and their text do. The path
of an element is its place among the `children`. Where one side is no XML, or declares entities of
its own, both are compared as they are."""


def _xml_error() -> type[Exception]:
    """Give what the parser raises, without importing it before it is needed."""
    from xml.parsers.expat import ExpatError

    return ExpatError


def _xml(text: str | bytes) -> dict[str, Any]:
    """Parse XML into dicts of tag, attributes, text and children, without recursion."""
    from xml.parsers import expat

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    top: dict[str, Any] = {"children": []}
    open_elements = [top]

    def start(tag: str, attributes: dict[str, str]) -> None:
        element = {"tag": tag, "attributes": attributes, "children": []}
        open_elements[-1]["children"].append(element)
        open_elements.append(element)

    def data(text: str) -> None:
        if text.strip():
            open_elements[-1]["children"].append(text.strip())

    def refuse(*declaration: Any) -> None:
        raise ValueError("entities of its own could grow without bound")

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda tag: open_elements.pop()
    parser.CharacterDataHandler = data
    parser.EntityDeclHandler = refuse
    parser.Parse(text, True)
    (root,) = top["children"]
    found: dict[str, Any] = root
    return found


@attrs.frozen
class Span:
    """A run of lines or words: one side's text, the other's, or both the same.

    `control` or `candidate` is NOTHING where the run stands on one side only. `skipped` counts the
    lines or words in the middle of a long equal run that are not shown.
    """

    control: Any = NOTHING
    candidate: Any = NOTHING
    skipped: int = 0

    @property
    def equal(self) -> bool:
        """Whether both sides have it."""
        return bool(self.control == self.candidate)


_LONGEST: Final = 5_000  # lines or words that are compared
_EFFORT: Final = 50_000  # how often two of them may be compared beyond once for each
_AROUND: Final = 3
_LINE: Final = r"[^\n]*\n|[^\n]+"
_WORD: Final = r"""(?x) \s+ | [^\w\s]
    | \w+ (?: (?<=\d) (?: [.:/-] | ,(?=\d{3}(?!\d)) ) (?=\d) \w+ )*  # 12.50, 1,000, 2026-01-31
"""


def spans(control: str, candidate: str) -> tuple[Span, ...]:
    """Tell two texts apart line by line, or word by word where one of them is a single line.

    A number or a date is one word. Joining what each side has gives its text, but for what is
    `skipped`. What follows the first 5,000 lines or words is one span, and so is what stands
    between the first and the last difference of two texts that are very unlike.
    """
    pieces = re.compile(_LINE if "\n" in control and "\n" in candidate else _WORD)
    left, right = pieces.findall(control), pieces.findall(candidate)
    return tuple(_spans(left, right))


def _spans(left: Sequence[str], right: Sequence[str]) -> Iterator[Span]:
    """Give the spans of two lists of pieces."""
    sizes = min(len(left), _LONGEST), min(len(right), _LONGEST)
    found = matches(*sizes, lambda i, j: left[i] == right[j], _EFFORT)
    i = j = begun = 0
    for at, other in [*found, (len(left), len(right))]:
        if (at, other) != (i, j):
            yield from _shortened(left[begun:i])
            yield Span(_joined(left[i:at]), _joined(right[j:other]))
            begun = at
        i, j = at + 1, other + 1
    yield from _shortened(left[begun:])


def _shortened(pieces: Sequence[str]) -> Iterator[Span]:
    """Give an equal run; of a long one, its beginning and its end."""
    if not pieces:
        return
    hidden = len(pieces) - 2 * _AROUND
    if hidden <= 1:
        yield Span("".join(pieces), "".join(pieces))
        return
    for end, skipped in ((pieces[:_AROUND], hidden), (pieces[-_AROUND:], 0)):
        yield Span("".join(end), "".join(end), skipped)


def _joined(pieces: Sequence[str]) -> Any:
    """Join pieces; none at all are NOTHING."""
    return "".join(pieces) if pieces else NOTHING

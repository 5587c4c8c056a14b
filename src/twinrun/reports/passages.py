"""Long texts that differ, told apart by lines or words."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from twinrun.analysis.wholes import kept
from twinrun.comparators.texts import Span, spans
from twinrun.observation import NOTHING
from twinrun.reports import figures
from twinrun.reports.texts import line
from twinrun.reports.values import SHORT

__all__ = ["are_long", "passages", "spanned"]

_LONG_LINE: Final = 80  # characters of a line from which on its words are told apart


def are_long(control: Any, candidate: Any) -> bool:
    """Whether both sides are texts, and one is too long to be read in a table."""
    both = isinstance(control, str) and isinstance(candidate, str)
    return both and max(len(control), len(candidate)) > SHORT


def spanned(control: str, candidate: str) -> list[dict[str, Any]]:
    """Give two texts for programs: runs of `both`, or of `control` and `candidate`."""
    return [_spanned(span) for span in spans(*_known(control, candidate))]


def _spanned(span: Span) -> dict[str, Any]:
    """Give one run; what the sides lack is left out."""
    if span.equal:
        return {"both": span.control} | ({"skipped": span.skipped} if span.skipped else {})
    sides: Mapping[str, Any] = {"control": span.control, "candidate": span.candidate}
    return {name: side for name, side in sides.items() if side is not NOTHING}


def passages(control: str, candidate: str) -> Iterator[RenderableType]:
    """Write two texts as one, with what differs marked, and long equal runs left out.

    Where both have several lines, `-` stands before a line of the control, `+` before one of the
    candidate. Words are marked `[-control-]` and `{+candidate+}`, in long lines too, before which
    stands `|`. Of texts of which not all was kept only as much is written as is known of both.
    """
    ours, theirs = _known(control, candidate)
    if ours != theirs:
        yield _lines(ours, theirs) if "\n" in ours and "\n" in theirs else _words(ours, theirs)
    for name, text in (("control", kept(control)), ("candidate", kept(candidate))):
        if not text.whole:
            have, all_of_it = figures.count(len(text.text)), figures.count(text.length)
            yield Text(f"{name}: only {have} of {all_of_it} characters were kept", style="dim")
    if ours == theirs:
        yield Text(f"The first {figures.count(len(ours))} characters are the same", style="dim")


def _known(control: str, candidate: str) -> tuple[str, str]:
    """Give as much of two texts as is known of both."""
    texts = kept(control), kept(candidate)
    bound = min((len(text.text) for text in texts if not text.whole), default=None)
    return texts[0].text[:bound], texts[1].text[:bound]


def _lines(control: str, candidate: str) -> Table:
    """Write two texts of several lines, each line with its mark."""
    rows = Table.grid(padding=(0, 1, 0, 0))
    rows.add_column(width=1)
    rows.add_column(overflow="fold")
    tells_end = control.endswith("\n") != candidate.endswith("\n")
    for span in spans(control, candidate):
        for mark, text in _rows(span, tells_end):
            rows.add_row(Text(mark, style="bold"), text)
    return rows


def _rows(span: Span, tells_end: bool) -> Iterator[tuple[str, Text]]:
    """Write a run of lines, each with its mark."""
    if span.equal:
        yield from ((" ", Text(line(each))) for each in _split(span.control, False))
        if span.skipped:
            yield " ", Text(f"… {figures.count(span.skipped)} lines the same", style="dim")
        return
    ours, theirs = (_split(side, tells_end) for side in (span.control, span.candidate))
    if len(ours) == len(theirs) and max(map(len, ours)) > _LONG_LINE:
        yield from (("|", _words(a, b)) for a, b in zip(ours, theirs, strict=True))
        return
    pairs = [_told_apart(a, b) for a, b in zip_longest(ours, theirs, fillvalue="")]
    yield from (("-", Text(a, style="green")) for a, _ in pairs[: len(ours)])
    yield from (("+", Text(b, style="red")) for _, b in pairs[: len(theirs)])


def _split(side: Any, tells_end: bool) -> Sequence[str]:
    """Split a run into lines; `tells_end` says of one that doesn't end that it doesn't."""
    if side is NOTHING:
        return []
    *lines, last = side.split("\n")
    missing = " (no new line at the end)" if tells_end else ""
    return [*lines, last + missing] if last else lines


def _words(control: str, candidate: str) -> Text:
    """Write two texts as one paragraph with the words that differ marked."""
    made = Text()
    gap = ""
    for span in spans(control, candidate):
        if span.equal:
            text = line(span.control.lstrip() if gap else span.control)
            gap = " … " if span.skipped else ""
            made.append(text.rstrip() if gap else text).append(gap, style="dim")
            continue
        sides = ("" if side is NOTHING else side for side in (span.control, span.candidate))
        ours, theirs = _told_apart(*sides)
        if ours:
            made.append(f"[-{ours}-]", style="green")
        if theirs:
            made.append(f"{{+{theirs}+}}", style="red")
    return made


def _told_apart(ours: str, theirs: str) -> tuple[str, str]:
    """Write two texts that differ so that it can be seen, escaped where they look the same."""
    written = line(ours), line(theirs)
    looks = [unicodedata.normalize("NFKC", text).rstrip() for text in (ours, theirs)]
    if looks[0] != looks[1]:
        return written
    ends = [text.rstrip(" ") + r"\x20" * (len(text) - len(text.rstrip(" "))) for text in written]
    ours, theirs = (text.encode("ascii", "backslashreplace").decode() for text in ends)
    return ours, theirs

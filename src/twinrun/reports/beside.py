"""Both outcomes of a run beside each other, line by line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby, zip_longest
from typing import Any, Final, TypeAlias

from rich.console import RenderableType
from rich.text import Text

from twinrun.analysis.summary import observed
from twinrun.comparators._alignment import matches
from twinrun.reports import figures
from twinrun.reports.terminal import table
from twinrun.reports.texts import line
from twinrun.reports.values import common, lines

__all__ = ["side_by_side"]

_ROWS: Final = 200  # beyond which what is the same is left out, and beyond which no more is shown
_AROUND: Final = 3
_EFFORT: Final = 100_000  # steps in which lines that moved are looked for
_LONG: Final = 200  # characters of a line that is shown whole
_BEGINNING: Final = 40  # characters of a longer one that stand before what is left out, …
_BEFORE: Final = 20  # … before the place where it differs …
_REST: Final = 100  # … and from there on
_SAME: Final = ""

_Row: TypeAlias = tuple[str | None, str, str | None]


def side_by_side(
    control: Mapping[str, Any], candidate: Mapping[str, Any]
) -> Iterator[RenderableType]:
    """Set both outcomes beside each other, marking the lines that differ.

    As in sdiff: `|` stands between lines that differ, `<` after one that only the control has, `>`
    before one that only the candidate has. Of many lines that are the same some are left out, and
    of a long one that both sides have its middle.
    """
    rows = list(_rows(lines(observed(control)), lines(observed(candidate))))
    kept = rows if len(rows) <= _ROWS else list(_shortened(rows))
    shown = [_narrowed(*row) for row in kept[:_ROWS]]
    made = table((_heading(control), "left"), ("", "left"), (_heading(candidate), "left"))
    for ours, mark, theirs in shown:
        styles = ("", "") if mark == _SAME else ("green", "red")
        made.add_row(
            Text(ours or "", style=styles[0]),
            Text(mark, style="bold"),
            Text(theirs or "", style=styles[1]),
        )
    yield made
    if (more := len(kept) - _ROWS) > 0:
        text = f"and {figures.count(more)} more line{'s' * (more > 1)}: --json has them all"
        yield Text(text, style="dim")
    if shown != kept[:_ROWS]:
        yield Text("Long lines are shortened: --json has them whole", style="dim")


def _heading(observation: Mapping[str, Any]) -> str:
    """Name one side and the time it took."""
    heading = f"{line(observation['name'])}, {figures.duration(observation['duration_ns'] / 1e9)}"
    if observation.get("cpu_time") is not None:
        heading += f" (CPU {figures.duration(observation['cpu_time'])})"
    return heading


def _rows(left: list[str], right: list[str]) -> Iterator[_Row]:
    """Pair the lines of both sides, with the mark between them."""
    found = matches(len(left), len(right), lambda i, j: left[i] == right[j], _EFFORT)
    i = j = 0
    for at, other in [*found, (len(left), len(right))]:
        for ours, theirs in zip_longest(left[i:at], right[j:other]):
            mark = "<" if theirs is None else ">" if ours is None else "|"
            yield ours, _SAME if ours == theirs else mark, theirs
        for ours, theirs in zip(left[at : at + 1], right[other : other + 1], strict=True):
            yield ours, _SAME, theirs
        i, j = at + 1, other + 1


def _shortened(rows: list[_Row]) -> Iterator[_Row]:
    """Leave out the middle of long runs of lines that are the same."""
    for same, run in groupby(rows, key=lambda row: row[1] == _SAME):
        group = list(run)
        hidden = len(group) - 2 * _AROUND
        if not same or hidden <= 1:
            yield from group
            continue
        yield from group[:_AROUND]
        text = f"… {figures.count(hidden)} lines the same"
        yield text, _SAME, text
        yield from group[-_AROUND:]


def _narrowed(ours: str | None, mark: str, theirs: str | None) -> _Row:
    """Leave out of two long lines what they have in common; one that is alone stays."""
    if ours is None or theirs is None or max(len(ours), len(theirs)) <= _LONG:
        return ours, mark, theirs
    same = common(ours, theirs)
    start = max(same - _BEFORE, _BEGINNING) if mark != _SAME else _BEGINNING
    return _from(ours, start), mark, _from(theirs, start)


def _from(text: str, start: int) -> str:
    """Give a line's beginning, and some of it from where it matters."""
    beginning, rest = text[:_BEGINNING], text[start:]
    gap = "…" if start > _BEGINNING else ""
    return beginning + gap + (rest if len(rest) <= _REST else f"{rest[: _REST - 1]}…")

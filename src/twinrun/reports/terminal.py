"""The report of experiments for a person, as text of a given width."""

from __future__ import annotations

import datetime
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from twinrun.analysis.summary import (
    CandidateSummary,
    Example,
    ExperimentSummary,
    GroupSummary,
    Quantiles,
)
from twinrun.reports import figures, noise
from twinrun.reports.controls import said
from twinrun.reports.texts import line
from twinrun.reports.values import SHORT as SHORT_VALUE
from twinrun.reports.values import contrast
from twinrun.result import Outcome
from twinrun.store import GroupRecord

__all__ = ["NARROWEST", "SHORT", "indented", "print_out", "report", "table"]

NARROWEST = 72
"""Columns below which nothing is squeezed further: a terminal may wrap, but nothing is cut off."""

SHORT = 10
"""How many characters of a fingerprint are shown; `twinrun show` takes any beginning of it."""

_NAMED = 3
_GAP = 3
_WHERE = 24  # columns that are left at the least for where a group differs
_NUMBERS = (1, 2)  # the positions of a group's count and share
_RARE = (Outcome.IGNORED, Outcome.TIMED_OUT, Outcome.INCONCLUSIVE)


def print_out(parts: Iterable[RenderableType], width: int, styled: bool) -> str:
    """Lay out parts one below the other; without style there is not one escape code."""
    console = Console(
        file=io.StringIO(),
        width=max(width, NARROWEST),
        force_terminal=styled,
        color_system="standard" if styled else None,
        no_color=not styled,
        legacy_windows=False,
        highlight=False,
        markup=False,
        emoji=False,
    )
    with console.capture() as capture:
        for part in parts:
            console.print(part)
    return "\n".join(row.rstrip(" ") for row in capture.get().split("\n"))


def table(*columns: tuple[str, Literal["left", "right"]]) -> Table:
    """Make a table without lines of (heading, "left" or "right") columns that folds, never cuts."""
    made = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim")
    for heading, justify in columns:
        made.add_column(Text(heading), justify=justify, overflow="fold")
    return made


def indented(part: RenderableType, by: int = 2) -> Padding:
    """Shift a part to the right."""
    return Padding(part, (0, 0, 0, by))


def report(summaries: Sequence[ExperimentSummary], width: int, styled: bool) -> str:
    """Write the report of experiments, one section for each."""
    parts: list[RenderableType] = []
    for summary in summaries:
        parts += [*_section(summary, max(width, NARROWEST)), ""]
    if any(summary.groups for summary in summaries):
        parts.append(Text("One group in full: twinrun show GROUP", style="dim"))
    return print_out(parts, width, styled)


def _section(summary: ExperimentSummary, width: int) -> Iterable[RenderableType]:
    """Give the parts of one experiment's section."""
    seen = f"first seen {_when(summary.first_seen)}, last seen {_when(summary.last_seen)} UTC"
    yield Text(line(summary.name), style="bold")
    yield indented(Text(f"{_runs(summary)}\n{seen}"))
    if summary.said is not None:
        yield indented(Text(f"live control: {said(summary.said)}"))
    candidates = [*summary.candidates, *([summary.baseline] if summary.baseline else [])]
    if candidates:
        yield ""
        yield indented(_outcomes(candidates))
    if any(candidate.ignored for candidate in candidates):
        yield ""
        yield indented(_ignored(candidates))
    if any(candidate.noise for candidate in candidates):
        yield ""
        yield from map(indented, _noise(candidates))
    if summary.controls:
        yield ""
        yield indented(_timings(summary.controls, candidates))
    for what, counts in (("failed callbacks", summary.failures), ("not kept", summary.dropped)):
        if counts:
            yield ""
            yield indented(Text(f"{what}: {_listed(counts)}", style="yellow"))
    if summary.groups:
        yield ""
        yield from map(indented, _groups(summary, len(candidates) > 1, width))
    if rest := _rest(summary):
        yield indented(Text(rest, style="dim"))


def _when(moment: datetime.datetime) -> str:
    return figures.moment(moment)


def _listed(counts: Mapping[str, int]) -> str:
    """Write counts by name on one line."""
    return ", ".join(f"{line(name)} {figures.count(number)}" for name, number in counts.items())


def _runs(summary: ExperimentSummary) -> str:
    """Say how often the experiment ran, and why it did not where it did not."""
    runs = f"{figures.count(summary.runs)} run{'' if summary.runs == 1 else 's'}"
    if not summary.skipped:
        return runs
    skipped = figures.count(sum(summary.skipped.values()))
    observed = figures.count(summary.experiments)
    return f"{runs}: {observed} observed, {skipped} skipped ({_listed(summary.skipped)})"


def _outcomes(candidates: Sequence[CandidateSummary]) -> Table:
    """Set out how each candidate was judged; a rare outcome has a column only if it occurred."""
    rare = [o for o in _RARE if any(c.outcomes[o] for c in candidates)]
    headings = ["match rate", "mismatches", "errors", *(o.replace("_", " ") for o in rare)]
    is_unstable = any(c.unstable for c in candidates)
    headings += ["unstable"] * is_unstable
    made = table(("", "left"), *((heading, "right") for heading in headings))
    for candidate in candidates:
        rate = figures.percentage(candidate.outcomes[Outcome.MATCHED], candidate.judged)
        mismatches = candidate.outcomes[Outcome.MISMATCHED]
        made.add_row(
            Text(line(candidate.name)),
            Text(rate, style="green" if rate == "100 %" else ""),
            Text(figures.count(mismatches), style="red" if mismatches else ""),
            Text(figures.count(candidate.errors), style="red" if candidate.errors else ""),
            *(Text(figures.count(candidate.outcomes[outcome])) for outcome in rare),
            *[Text(figures.count(candidate.unstable))] * is_unstable,
        )
    return made


def _ignored(candidates: Sequence[CandidateSummary]) -> Table:
    """Set out how often each rule ignored what differed."""
    made = table(("", "left"), ("ignored by", "left"), ("runs", "right"))
    for candidate in candidates:
        for rule, count in candidate.ignored.items():
            made.add_row(*map(Text, (line(candidate.name), line(rule), figures.count(count))))
    return made


def _noise(candidates: Sequence[CandidateSummary]) -> Iterator[RenderableType]:
    """Set out where candidates differ, beside how often the control differs from itself there."""
    made = table(
        ("", "left"),
        ("differs at", "left"),
        ("candidate", "right"),
        ("control itself", "right"),
        ("is", "left"),
    )
    left_out = 0
    for candidate in candidates:
        if candidate.noise is not None:
            left_out += noise.left_out(candidate.noise)
            for row in noise.rows(candidate.noise):
                made.add_row(*map(Text, map(line, (candidate.name, *row))))
    if made.row_count:
        yield made
    if left_out:
        yield Text(f"and {figures.count(left_out)} more: --json has them all", style="dim")


def _timings(controls: Mapping[str, Quantiles], candidates: Sequence[CandidateSummary]) -> Table:
    """Set out the quantiles of every side, and under each candidate its ratio to the control."""
    made = table(("", "left"), ("p50", "right"), ("p90", "right"), ("p99", "right"))

    def row(name: str, quantiles: Quantiles, write: Callable[[float | None], str]) -> None:
        three = (quantiles.p50, quantiles.p90, quantiles.p99)
        made.add_row(Text(name), *(Text(write(value)) for value in three))

    for name, quantiles in controls.items():
        row(line(name), quantiles, figures.duration)
    for candidate in candidates:
        row(line(candidate.name), candidate.seconds, figures.duration)
        if candidate.ratio.count:
            row("  ratio", candidate.ratio, figures.ratio)
        if len(candidate.ratio_by_order) > 1:
            for order, quantiles in candidate.ratio_by_order.items():
                row(f"    {line(order.replace('-', ' '))}", quantiles, figures.ratio)
    return made


def _groups(summary: ExperimentSummary, apart: bool, width: int) -> Iterator[RenderableType]:
    """Set out the groups, each with an example; the candidate is named where there are several."""
    rows = [_group(group, apart) for group in summary.groups]
    headings = ["group", "count", "share", *(["candidate"] if apart else []), "kind", "where"]
    widths = [max(map(cell_len, column)) for column in zip(headings, *rows, strict=True)][:-1]
    where = min(_WHERE, max(cell_len(row[-1]) for row in [headings, *rows]))
    while sum(widths) + _GAP * len(widths) > width - where:
        widths[widths.index(max(widths))] -= 1
    yield _aligned(headings, widths, style="dim")
    for group, row in zip(summary.groups, rows, strict=True):
        yield _aligned(row, widths, style="")
        if group.example is not None:
            yield indented(_shown(group.example), SHORT + 1)
        if group.finding is not None:
            yield indented(Text(noise.sentence(group.finding), style="dim"), SHORT + 3)


def _group(group: GroupSummary, apart: bool) -> list[str]:
    """Give the cells of one group's row."""
    record = group.record
    return [
        line(record.fingerprint[:SHORT]),
        figures.count(record.count),
        figures.percentage(record.count, group.total),
        *([line(record.candidate)] if apart else []),
        line(_kind(record)),
        line(_few(record.paths)),
    ]


def _aligned(cells: Sequence[str], widths: Sequence[int], style: str) -> Table:
    """Lay out one row by given widths, so that what is printed between rows has all the width."""
    row = Table.grid(padding=(0, _GAP, 0, 0))
    for position, width in enumerate(widths):
        justify: Literal["left", "right"] = "right" if position in _NUMBERS else "left"
        row.add_column(justify=justify, width=width, overflow="fold")
    row.add_column(overflow="fold")
    first, *others = cells
    row.add_row(Text(first, style=style or "cyan"), *(Text(cell, style=style) for cell in others))
    return row


def _shown(example: Example) -> Text:
    """Write an example on one line, or on two, one above the other, where both sides are long."""
    control, candidate = contrast(example.control, example.candidate)
    together = len(control) + len(candidate) <= SHORT_VALUE
    between = " → " if together else "\n→ "
    return Text.assemble("  ", (control, "green"), between, (candidate, "red"))


def _kind(record: GroupRecord) -> str:
    """Say in which way the sides differ, or why that is not known."""
    if record.kinds:
        return _few(record.kinds)
    outcome = record.outcome.replace("_", " ")
    return f"{outcome}: {record.reason}" if record.reason else outcome


def _few(texts: Sequence[str]) -> str:
    """Name the first few of some texts, each once, and say how many more there are."""
    once = list(dict.fromkeys(texts))
    more = f" and {len(once) - _NAMED} more" if len(once) > _NAMED else ""
    return ", ".join(once[:_NAMED]) + more


def _rest(summary: ExperimentSummary) -> str:
    """Say what the listed groups leave out."""
    hidden = summary.group_count - len(summary.groups)
    if not hidden:
        return ""
    return (
        f"and {figures.count(hidden)} smaller group{'s' if hidden > 1 else ''}: --groups lists more"
    )

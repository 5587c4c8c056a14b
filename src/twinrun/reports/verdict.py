"""Verdicts for a person, as text of a given width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from twinrun.analysis.verdict import Check, Status, Verdict
from twinrun.reports.terminal import indented, print_out
from twinrun.reports.texts import line
from twinrun.reports.verdict_sentences import notes, reason, subject

__all__ = ["by_weight", "text"]

_MARKS: Final = {
    Status.READY: ("met", "green"),
    Status.NOT_ENOUGH_EVIDENCE: ("open", "yellow"),
    Status.NOT_READY: ("not met", "red"),
}


def by_weight(checks: Sequence[Check]) -> list[Check]:
    """Order checks, those that decide first."""
    return sorted(checks, key=lambda check: -list(Status).index(check.status))


def text(verdicts: Sequence[Verdict], width: int, styled: bool) -> str:
    """Write verdicts, one below the other, each with its reasons."""
    parts: list[RenderableType] = []
    for verdict in verdicts:
        _, colour = _MARKS[verdict.status]
        name = Text(line(subject(verdict)), style="bold")
        parts += [Text.assemble(name, ": ", (str(verdict.status), f"bold {colour}"))]
        parts += [indented(_reasons(verdict)), ""]
    return print_out(parts[:-1], width, styled)


def _reasons(verdict: Verdict) -> Table:
    """Set out what each check found, and what else one should know."""
    made = Table.grid(padding=(0, 2, 0, 0))
    made.add_column()
    made.add_column(overflow="fold")
    for check in by_weight(verdict.checks):
        mark, colour = _MARKS[check.status]
        said = reason(check, verdict.policy.confidence)
        made.add_row(Text(mark, style=colour), Text(line(said)))
    for note in notes(verdict):
        made.add_row("", Text(line(note), style="dim"))
    return made

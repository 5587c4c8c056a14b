"""What people said of experiments while these run, as a log for a person."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from twinrun.reports import figures
from twinrun.reports.controls import holds, percent
from twinrun.reports.terminal import indented, print_out, table
from twinrun.reports.texts import line
from twinrun.store.controls import Change

__all__ = ["log"]


def log(holding: Sequence[Change], changes: Sequence[Change], width: int, styled: bool) -> str:
    """Write what holds of each experiment, and what was said of it, the latest first."""
    parts: list[RenderableType] = []
    for last in holding:
        parts.append(Text.assemble((line(last.experiment), "bold"), f"  {holds(last)}"))
        rows = table(("when (UTC)", "left"), ("what", "left"), ("by", "left"), ("why", "left"))
        for change in changes:
            if change.experiment == last.experiment:
                rows.add_row(*map(Text, _row(change)))
        parts += [indented(rows), Text()]
    return print_out(parts[:-1], width, styled)


def _row(change: Change) -> tuple[str, ...]:
    """Write one change."""
    said = f"ramp {percent(change.share)}" if change.action == "ramp" else change.action
    when = figures.moment(change.changed_at)
    return when, said, line(change.changed_by), line(change.note or "")

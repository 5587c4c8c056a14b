"""What people said of experiments while these run, for a person and for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from rich.console import RenderableType
from rich.text import Text

from twinrun.reports import figures
from twinrun.reports.terminal import indented, print_out, table
from twinrun.reports.texts import line
from twinrun.store.controls import Change

__all__ = ["as_json", "holds", "log", "percent"]

_OWN: Final = "the share in its code"


def percent(share: float | None) -> str:
    """Write a share: `5 %`, and where nothing is said that the code's own holds."""
    return _OWN if share is None else f"{share * 100:g} %"


def holds(change: Change) -> str:
    """Say in a few words what holds since a change."""
    return (
        f"paused; {percent(change.share)} when resumed" if change.paused else percent(change.word)
    )


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


def as_json(holding: Sequence[Change], changes: Sequence[Change]) -> str:
    """Write the same as JSON: `{"version": 1, "experiments": [{"name", …, "changes": […]}]}`.

    `share` is 0..1, null for the share in the code; it holds unless `paused`.
    """
    experiments = [
        {
            "name": last.experiment,
            "share": last.share,
            "paused": last.paused,
            "changes": [_fields(c) for c in changes if c.experiment == last.experiment],
        }
        for last in holding
    ]
    return json.dumps({"version": 1, "experiments": experiments}, indent=2) + "\n"


def _fields(change: Change) -> dict[str, Any]:
    """Give one change's part of the document."""
    return {
        "action": change.action,
        "share": change.share,
        "paused": change.paused,
        "at": change.changed_at.isoformat(),
        "by": change.changed_by,
        "note": change.note,
    }

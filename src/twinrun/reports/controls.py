"""What people said of experiments while these run, in words and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from twinrun.reports import figures
from twinrun.reports.texts import line
from twinrun.store.controls import Change

__all__ = ["as_json", "change_fields", "holds", "percent", "said"]

_OWN: Final = "the share in its code"


def percent(share: float | None) -> str:
    """Write a share: `5 %`, and where nothing is said that the code's own holds."""
    return _OWN if share is None else f"{share * 100:g} %"


def holds(change: Change) -> str:
    """Say in a few words what holds since a change."""
    return (
        f"paused; {percent(change.share)} when resumed" if change.paused else percent(change.word)
    )


def said(change: Change) -> str:
    """Say in one line what holds, by whom and since when."""
    return (
        f"{holds(change)}, by {line(change.changed_by)} at {figures.moment(change.changed_at)} UTC"
    )


def as_json(holding: Sequence[Change], changes: Sequence[Change]) -> str:
    """Write the same as JSON: `{"version": 1, "experiments": [{"name", …, "changes": […]}]}`.

    `share` is 0..1, null for the share in the code; it holds unless `paused`.
    """
    experiments = [
        {
            "name": last.experiment,
            "share": last.share,
            "paused": last.paused,
            "changes": [change_fields(c) for c in changes if c.experiment == last.experiment],
        }
        for last in holding
    ]
    return json.dumps({"version": 1, "experiments": experiments}, indent=2) + "\n"


def change_fields(change: Change) -> dict[str, Any]:
    """Give one change's part of the document."""
    return {
        "action": change.action,
        "share": change.share,
        "paused": change.paused,
        "at": change.changed_at.isoformat(),
        "by": change.changed_by,
        "note": change.note,
    }

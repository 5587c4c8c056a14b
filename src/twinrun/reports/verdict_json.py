"""Verdicts for programs: JSON whose keys stay, as in `twinrun.reports.json`.

`status` is `"ready"`, `"not ready"` or `"not enough evidence"`, of each check, of each verdict, and
of all together. Spans of time are in seconds; a bound that there is not yet is null.
"""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from twinrun.analysis.verdict import Verdict, worst
from twinrun.reports.json import VERSION
from twinrun.reports.verdict_sentences import notes, reason

__all__ = ["document"]


def document(verdicts: Sequence[Verdict]) -> str:
    """Write verdicts: `{"version": 1, "status": …, "verdicts": […]}`."""
    content = {
        "version": VERSION,
        "status": str(worst(verdict.status for verdict in verdicts)),
        "verdicts": [_verdict(verdict) for verdict in verdicts],
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _verdict(verdict: Verdict) -> dict[str, Any]:
    """Give one verdict: all that it holds, and its sentences."""
    confidence = verdict.policy.confidence
    checks = [{**_plain(check), "reason": reason(check, confidence)} for check in verdict.checks]
    window = {key: _plain(getattr(verdict.window, key)) for key in ("since", "release", "age")}
    told = {"status": str(verdict.status), "checks": checks, "notes": list(notes(verdict))}
    return {**_plain(verdict), **told, "window": window}


def _plain(value: Any) -> Any:
    """Give a value as JSON has it."""
    if attrs.has(type(value)):
        fields = attrs.fields(type(value))
        return {field.name: _plain(getattr(value, field.name)) for field in fields}
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    return None if isinstance(value, float) and not math.isfinite(value) else value

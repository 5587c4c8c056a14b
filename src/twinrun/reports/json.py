"""The report for programs: JSON whose keys stay.

Every document has `"version": 1`; the number grows only where a key changes its meaning or goes.
Times are ISO 8601 in UTC, durations are in seconds, shares and rates are 0..1, and what is not
known is null. One side of an example or difference is `{"value": …}`, `{"exception": {"type",
"message"}}`, or `{}` where that side has nothing; values are as they were cleaned. The text is
ASCII, so that nothing in it can steer a terminal.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from twinrun.analysis.noise import Finding, Noise
from twinrun.analysis.summary import (
    CandidateSummary,
    Example,
    ExperimentSummary,
    GroupSummary,
    Quantiles,
    Raised,
)
from twinrun.analysis.wholes import sides
from twinrun.observation import NOTHING
from twinrun.reports.controls import change_fields
from twinrun.reports.passages import are_long, spanned
from twinrun.store import Exemplar, GroupRecord

__all__ = ["VERSION", "group", "report"]

VERSION: Final = 1
"""The version of the documents' shape."""


def report(summaries: Sequence[ExperimentSummary]) -> str:
    """Write the report of experiments: `{"version": 1, "experiments": […]}`."""
    return _document({"experiments": [_experiment(summary) for summary in summaries]})


def group(
    record: GroupRecord, total: int, exemplars: Sequence[Exemplar], finding: Finding | None = None
) -> str:
    """Write one group with every exemplar: `{"version": 1, "group": {…, "examples": […]}}`."""
    examples = [_exemplar(exemplar) for exemplar in exemplars]
    judged = {"noise": finding and _finding(finding)}
    return _document({"group": {**_record(record, total), **judged, "examples": examples}})


def _document(content: Mapping[str, Any]) -> str:
    """Write a document of this version."""
    return json.dumps({"version": VERSION, **content}, indent=2, allow_nan=False) + "\n"


def _experiment(summary: ExperimentSummary) -> dict[str, Any]:
    """Give one experiment's part of the report."""
    return {
        "name": summary.name,
        "first_seen": _moment(summary.first_seen),
        "last_seen": _moment(summary.last_seen),
        "runs": summary.runs,
        "experiments": summary.experiments,
        "skipped": dict(summary.skipped),
        "live_control": summary.said and change_fields(summary.said),
        "failures": dict(summary.failures),
        "dropped": dict(summary.dropped),
        "controls": {name: _quantiles(q) for name, q in summary.controls.items()},
        "candidates": [_candidate(candidate) for candidate in summary.candidates],
        "baseline": None if summary.baseline is None else _candidate(summary.baseline),
        "group_count": summary.group_count,
        "groups": [_group(group) for group in summary.groups],
    }


def _candidate(candidate: CandidateSummary) -> dict[str, Any]:
    """Give how one candidate did."""
    return {
        "name": candidate.name,
        "judged": candidate.judged,
        "match_rate": candidate.match_rate,
        "outcomes": {str(outcome): n for outcome, n in candidate.outcomes.items()},
        "ignored": dict(candidate.ignored),
        "unstable": candidate.unstable,
        "errors": candidate.errors,
        "seconds": _quantiles(candidate.seconds),
        "ratio": _quantiles(candidate.ratio),
        "ratio_by_order": {o: _quantiles(q) for o, q in candidate.ratio_by_order.items()},
        "noise": candidate.noise and _noise(candidate.noise),
    }


def _noise(noise: Noise) -> dict[str, Any]:
    """Give what is known of a candidate's differences beside the control's own."""
    return {
        "pairs": noise.runs,
        "level": noise.level,
        "whole": _finding(noise.whole),
        "places": {place: _finding(finding) for place, finding in noise.places.items()},
        "uncounted": dict(noise.uncounted),
    }


def _finding(finding: Finding) -> dict[str, Any]:
    """Give whose a difference is, both rates, and the counts of pairs that they come from."""
    return {
        "source": str(finding.source),
        "candidate_rate": finding.candidate_rate,
        "baseline_rate": finding.baseline_rate,
        "p": finding.p,
        "pairs": finding.runs,
        "both": finding.counts.both,
        "candidate_alone": finding.counts.candidate,
        "baseline_alone": finding.counts.baseline,
    }


def _quantiles(quantiles: Quantiles) -> dict[str, Any]:
    """Give the quantiles of a histogram and how many values it counts."""
    return {
        "count": quantiles.count,
        "p50": quantiles.p50,
        "p90": quantiles.p90,
        "p99": quantiles.p99,
    }


def _record(record: GroupRecord, total: int) -> dict[str, Any]:
    """Give a group as the store knows it."""
    return {
        "fingerprint": record.fingerprint,
        "experiment": record.experiment,
        "candidate": record.candidate,
        "outcome": record.outcome,
        "reason": record.reason,
        "state": record.state,
        "count": record.count,
        "share": record.count / total if total else 0.0,
        "kinds": list(record.kinds),
        "paths": list(record.paths),
        "control_exception": record.control_exception,
        "candidate_exception": record.candidate_exception,
        "first_seen": _moment(record.first_seen),
        "last_seen": _moment(record.last_seen),
    }


def _group(group: GroupSummary) -> dict[str, Any]:
    """Give a group with one example, or null where none was kept."""
    example = None if group.example is None else _example(group.example)
    noise = group.finding and _finding(group.finding)
    return {**_record(group.record, group.total), "noise": noise, "example": example}


def _example(example: Example) -> dict[str, Any]:
    """Give one difference as it was seen."""
    return {
        "path": example.path,
        "kind": example.kind,
        "control": _side(example.control),
        "candidate": _side(example.candidate),
    }


def _side(side: Any) -> dict[str, Any]:
    """Give one side, telling a value of null from nothing at all."""
    if side is NOTHING:
        return {}
    if isinstance(side, Raised):
        return {"exception": {"type": side.type, "message": side.message}}
    return {"value": side}


def _exemplar(exemplar: Exemplar) -> dict[str, Any]:
    """Give one example in full; `payload` is what the publisher recorded."""
    return {
        "sequence": exemplar.sequence,
        "result_id": exemplar.result_id,
        "recorded_at": _moment(exemplar.recorded_at),
        "host": exemplar.host,
        "pid": exemplar.pid,
        "release": exemplar.release,
        **{key: exemplar.payload[key] for key in ("context", "order", "control")},
        "candidate": _judged(exemplar.payload),
    }


def _judged(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Give the candidate, and of its differences in long texts where in the text they are."""
    differences = []
    for difference in payload["candidate"]["differences"]:
        both = sides(payload, difference)
        spans = {"spans": spanned(*both)} if are_long(*both) else {}
        differences.append({**difference, **spans})
    return {**payload["candidate"], "differences": differences}


def _moment(when: datetime.datetime) -> str:
    """Write a moment in ISO 8601."""
    return when.isoformat()

"""Sentences that say what is left out, and what stands in its place."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from twinrun.reports import figures
from twinrun.reports.texts import line
from twinrun.store import Exemplar

__all__ = ["differences", "ignored", "legend", "unstable"]

_MARK: Final = re.compile(r"\[redacted [0-9a-f]{8}\]")
_CAPTURE: Final = {"$withheld": "capture"}
_SIDES: Final = {"control": "the control", "candidate": "the candidate", "both": "both"}
_LEGEND: Final = {
    "clean": "withheld: clean: what the experiment's clean made of a value has nothing there",
    "clean failed": "withheld: clean failed: the experiment's clean raised, so no value is kept",
    "nothing": 'withheld: capture: the experiment has capture="nothing": no data is kept',
    "differences": 'withheld: capture: the experiment has capture="differences": values are kept '
    "only where they differ",
    "redacted": "[redacted …]: a secret; equal marks are equal secrets, if made with one key",
}


def differences(candidate: Mapping[str, Any]) -> str:
    """Say in one sentence which differences are not listed; nothing where all are."""
    cut, reason = candidate.get("differences_cut"), candidate.get("differences_incomplete")
    more = f"and {figures.count(cut)} more difference{'s' * (cut > 1)} not kept" if cut else ""
    if not reason:
        return more
    stopped = f"ot everything was compared: {line(reason)}"
    return f"{more}; n{stopped}" if more else f"N{stopped}"


def ignored(candidate: Mapping[str, Any]) -> str:
    """Say how many differences rules ignored beside those that count, and which rules."""
    count = candidate.get("ignored_differences", 0)
    rules = "; ".join(map(str, candidate.get("ignored_by", ())))
    return f"{figures.count(count)} more difference{'s' * (count > 1)}, by {rules}" if rules else ""


def unstable(candidate: Mapping[str, Any]) -> str:
    """Say which side gave something else when both ran once more; nothing where neither did."""
    side = _SIDES.get(candidate.get("recheck", ""))
    return f"when both ran once more, {side} gave something else" if side else ""


def legend(exemplars: Sequence[Exemplar]) -> list[str]:
    """Explain what stands in the place of values that are not shown, where there is such."""
    found: set[str] = set()
    for exemplar in exemplars:
        found.update(_in_place(exemplar.payload))
    return [text for name, text in _LEGEND.items() if name in found]


def _in_place(payload: Mapping[str, Any]) -> Iterator[str]:
    """Name what stands in the place of values in one payload."""
    written = json.dumps(payload)  # keys of the data that begin with $ have two of them there
    for reason in ("clean", "clean failed"):
        if f'"$withheld": "{reason}"' in written:
            yield reason
    if '"$withheld": "capture"' in written:
        yield "nothing" if payload["context"] == _CAPTURE else "differences"
    if _MARK.search(written):
        yield "redacted"

"""Verdicts for a pull request, in Markdown as GitHub and GitLab show it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from twinrun.analysis.verdict import Status, Verdict, worst
from twinrun.reports.texts import line
from twinrun.reports.verdict import by_weight
from twinrun.reports.verdict_sentences import notes, reason, subject

__all__ = ["document"]

_MARKS: Final = {
    Status.READY: "✅",
    Status.NOT_ENOUGH_EVIDENCE: "⏳",
    Status.NOT_READY: "❌",
}
_STEERING: Final = re.compile(r"([\\`*_{}\[\]<>#|~@!&$])")


def document(verdicts: Sequence[Verdict]) -> str:
    """Write verdicts, with a heading that says what they come to."""
    parts = [f"### twinrun: {worst(verdict.status for verdict in verdicts)}"]
    parts += ["\n".join(_section(verdict)) for verdict in verdicts]
    return "\n\n".join(parts) + "\n"


def _section(verdict: Verdict) -> list[str]:
    """Give the lines of one verdict."""
    rows = [f"{_MARKS[verdict.status]} {_code(subject(verdict))}: **{verdict.status}**", ""]
    for check in by_weight(verdict.checks):
        said = _escaped(line(reason(check, verdict.policy.confidence)))
        rows.append(f"- {_MARKS[check.status]} {said}")
    rows += [f"- {_escaped(line(note))}" for note in notes(verdict)]
    return rows


def _code(text: str) -> str:
    """Write a text so that nothing in it is read as Markdown, as HTML or as a person's name."""
    text = line(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if text[:1] in "` " or text[-1:] in "` " else ""
    return f"{fence}{space}{text}{space}{fence}"


def _escaped(text: str) -> str:
    """Write a sentence so that nothing in it is read as Markdown."""
    return _STEERING.sub(r"\\\1", text)

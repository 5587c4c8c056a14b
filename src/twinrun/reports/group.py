"""One group of mismatches in full, for a person."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from twinrun.analysis.summary import observed
from twinrun.observation import NOTHING
from twinrun.reports import figures
from twinrun.reports.terminal import indented, print_out, table
from twinrun.reports.texts import block, line
from twinrun.reports.values import contrast, lines
from twinrun.store import Exemplar, GroupRecord

__all__ = ["show"]


def show(
    record: GroupRecord,
    total: int,
    exemplars: Sequence[Exemplar],
    kept: int,
    width: int,
    styled: bool,
) -> str:
    """Write a group and these exemplars of the number that was kept."""
    parts: list[RenderableType] = list(_heading(record, total))
    for exemplar in exemplars:
        parts += ["", *_example(exemplar, kept)]
    if not kept:
        parts += ["", Text("No example was kept.", style="dim")]
    elif len(exemplars) < kept:
        more = kept - len(exemplars)
        parts += ["", Text(f"{more} more example{'s' * (more > 1)}: --all shows them", style="dim")]
    return print_out(parts, width, styled)


def _heading(record: GroupRecord, total: int) -> Iterator[RenderableType]:
    """Say what the group is: whose, how often, when, and where the sides differ."""
    yield Text.assemble("group ", (line(record.fingerprint), "bold cyan"))
    outcome = record.outcome.replace("_", " ")
    rows = table(("", "left"), ("", "left"))
    rows.show_header = False
    reason = f" ({record.reason})" if record.reason else ""
    share = figures.percentage(record.count, total)
    facts = {
        "experiment": record.experiment,
        "candidate": record.candidate,
        "outcome": outcome + reason,
        "count": f"{figures.count(record.count)}, {share} of all that did not match",
        "first seen": f"{figures.moment(record.first_seen)} UTC",
        "last seen": f"{figures.moment(record.last_seen)} UTC",
        "state": record.state,
    }
    for name, fact in facts.items():
        rows.add_row(Text(name, style="dim"), Text(line(fact)))
    for kind, path in zip_longest(record.kinds, record.paths, fillvalue=""):
        rows.add_row(Text(line(kind), style="dim"), Text(line(path)))
    yield indented(rows)


def _example(exemplar: Exemplar, kept: int) -> Iterator[RenderableType]:
    """Give the parts of one exemplar."""
    payload = exemplar.payload
    control, candidate = payload["control"], payload["candidate"]
    title = f"example: number {figures.count(exemplar.sequence)} of the group"
    yield Text(f"{title}, {figures.moment(exemplar.recorded_at)} UTC", style="bold")
    yield indented(_circumstances(exemplar))
    yield ""
    yield indented(_side_by_side(control, candidate))
    if payload["candidate"]["differences"]:
        yield ""
        yield indented(_differences(candidate["differences"]))
        if cut := candidate.get("differences_cut"):
            yield indented(Text(f"and {figures.count(cut)} more differences", style="dim"))
    for observation in (control, candidate):
        if observation.get("traceback"):
            yield ""
            yield indented(Text(f"traceback of {line(observation['name'])}", style="bold"))
            yield indented(Text(block(observation["traceback"].rstrip())), 4)


def _circumstances(exemplar: Exemplar) -> Table:
    """Set out where it happened, in which order, and in which context."""
    rows = table(("", "left"), ("", "left"))
    rows.show_header = False
    facts = {
        "host": exemplar.host,
        "pid": str(exemplar.pid),
        "release": exemplar.release,
        "result": exemplar.result_id,
        "order": ", ".join(exemplar.payload["order"]),
        "reason": exemplar.payload["candidate"].get("reason"),
    }
    for name, fact in facts.items():
        if fact:
            rows.add_row(Text(name, style="dim"), Text(line(fact)))
    label = "context"
    for name, value in exemplar.payload["context"].items():
        first, *others = lines(value)
        text = Text("\n".join([f"{line(name)}: {first}", *others]))
        rows.add_row(Text(label, style="dim"), text)
        label = ""
    return rows


def _side_by_side(control: Mapping[str, Any], candidate: Mapping[str, Any]) -> Table:
    """Set both outcomes beside each other, line by line, marking the lines that differ.

    As in sdiff: `|` stands between lines that differ, `<` after one that only the control has, `>`
    before one that only the candidate has.
    """
    made = table((_side_heading(control), "left"), ("", "left"), (_side_heading(candidate), "left"))
    left, right = lines(observed(control)), lines(observed(candidate))
    for operation, i, j, k, m in difflib.SequenceMatcher(None, left, right).get_opcodes():
        for ours, theirs in zip_longest(left[i:j], right[k:m]):
            if operation == "equal":
                made.add_row(Text(ours), "", Text(theirs))
            else:
                mark = "<" if theirs is None else ">" if ours is None else "|"
                made.add_row(
                    Text(ours or "", style="green"),
                    Text(mark, style="bold"),
                    Text(theirs or "", style="red"),
                )
    return made


def _side_heading(observation: Mapping[str, Any]) -> str:
    """Name one side and the time it took."""
    heading = f"{line(observation['name'])}, {figures.duration(observation['duration_ns'] / 1e9)}"
    if observation.get("cpu_time") is not None:
        heading += f" (CPU {figures.duration(observation['cpu_time'])})"
    return heading


def _differences(differences: Sequence[Mapping[str, Any]]) -> Table:
    """List the differences, each with both sides."""
    made = table(
        ("difference", "left"), ("where", "left"), ("control", "left"), ("candidate", "left")
    )
    for difference in differences:
        control, candidate = contrast(
            difference.get("control", NOTHING), difference.get("candidate", NOTHING)
        )
        made.add_row(
            Text(line(difference["kind"])),
            Text(line(difference["path"])),
            Text(control, style="green"),
            Text(candidate, style="red"),
        )
    return made

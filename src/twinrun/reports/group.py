"""One group of mismatches in full, for a person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from twinrun.analysis.noise import Finding
from twinrun.analysis.summary import observed
from twinrun.analysis.wholes import sides
from twinrun.reports import figures, noise, remarks
from twinrun.reports.beside import side_by_side
from twinrun.reports.folding import folded
from twinrun.reports.passages import are_long, passages
from twinrun.reports.terminal import indented, print_out, table
from twinrun.reports.texts import block, line
from twinrun.reports.values import contrast, named
from twinrun.store import Exemplar, GroupRecord

__all__ = ["show"]

_PLACES: Final = 10  # of a group that are listed above its examples
_TEXTS: Final = 5  # long texts of one example that are told apart


def show(
    record: GroupRecord,
    total: int,
    exemplars: Sequence[Exemplar],
    kept: int,
    width: int,
    styled: bool,
    finding: Finding | None = None,
) -> str:
    """Write a group and these exemplars of the number that was kept; `finding` says whose it is."""
    parts: list[RenderableType] = list(_heading(record, total, finding))
    for exemplar in exemplars:
        parts += ["", *_example(exemplar, kept)]
    if said := remarks.legend(exemplars):
        parts += ["", *(Text(sentence, style="dim") for sentence in said)]
    if not kept:
        parts += ["", Text("No example was kept.", style="dim")]
    elif len(exemplars) < kept:
        more = kept - len(exemplars)
        parts += ["", Text(f"{more} more example{'s' * (more > 1)}: --all shows them", style="dim")]
    return print_out(parts, width, styled)


def _heading(record: GroupRecord, total: int, finding: Finding | None) -> Iterator[RenderableType]:
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
        **({} if finding is None else {"noise?": noise.sentence(finding)}),
    }
    for name, fact in facts.items():
        rows.add_row(Text(name, style="dim"), Text(line(fact)))
    places = list(zip_longest(record.kinds, record.paths, fillvalue=""))
    for kind, path in places[:_PLACES]:
        rows.add_row(Text(line(kind), style="dim"), Text(line(path)))
    if (more := len(places) - _PLACES) > 0:
        rows.add_row("", Text(f"and {more} more place{'s' * (more > 1)}", style="dim"))
    yield indented(rows)


def _example(exemplar: Exemplar, kept: int) -> Iterator[RenderableType]:
    """Give the parts of one exemplar."""
    payload = exemplar.payload
    control, candidate = payload["control"], payload["candidate"]
    title = f"example: number {figures.count(exemplar.sequence)} of the group"
    yield Text(f"{title}, {figures.moment(exemplar.recorded_at)} UTC", style="bold")
    yield indented(_circumstances(exemplar))
    yield ""
    yield from map(indented, side_by_side(control, candidate))
    yield from map(indented, _differences(payload))
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
        "ignored": remarks.ignored(exemplar.payload["candidate"]),
        "unstable": remarks.unstable(exemplar.payload["candidate"]),
    }
    for name, fact in facts.items():
        if fact:
            rows.add_row(Text(name, style="dim"), Text(line(fact)))
    label = "context"
    for name, value in exemplar.payload["context"].items():
        rows.add_row(Text(label, style="dim"), Text("\n".join(named(name, value))))
        label = ""
    return rows


def _differences(payload: Mapping[str, Any]) -> Iterator[RenderableType]:
    """List the differences, each with both sides; then the long texts among them."""
    made = table(
        ("difference", "left"), ("where", "left"), ("control", "left"), ("candidate", "left")
    )
    texts, found = [], payload["candidate"]["differences"]
    both = observed(payload["control"]), observed(payload["candidate"])
    if not found and are_long(*both):
        texts.append(("$", *both))
    for difference in folded(found):
        if isinstance(difference, str):
            made.add_row("", Text(difference, style="dim"))
            continue
        if difference["kind"] == "raised" and difference["path"] == "$":
            continue  # both sides stand above, in full
        control, candidate = sides(payload, difference)
        if are_long(control, candidate):
            texts.append((difference["path"], control, candidate))
        ours, theirs = contrast(control, candidate)
        made.add_row(
            Text(line(difference["kind"])),
            Text(line(difference["path"])),
            Text(ours, style="green"),
            Text(theirs, style="red"),
        )
    if made.row_count:
        yield ""
        yield made
    if left_out := remarks.differences(payload["candidate"]):
        yield Text(left_out, style="dim")
    yield from _texts(texts)


def _texts(texts: Sequence[tuple[str, str, str]]) -> Iterator[RenderableType]:
    """Write long texts, told apart by lines or words."""
    for path, control, candidate in texts[:_TEXTS]:
        yield ""
        yield Text(f"text at {line(path)}", style="bold")
        yield from map(indented, passages(control, candidate))
    if (more := len(texts) - _TEXTS) > 0:
        text = f"and {more} more text{'s' * (more > 1)} that differ: --json has them all"
        yield Text(text, style="dim")

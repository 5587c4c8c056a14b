"""`twinrun show`: one group of mismatches in full."""

from __future__ import annotations

import click

from twinrun.analysis import summary
from twinrun.cli._output import styled, width, write
from twinrun.cli._program import twinrun
from twinrun.cli._stores import json_option, one_group, opened, store_to
from twinrun.reports import group, json

__all__ = ["show"]


@twinrun.command()
@click.argument("fingerprint", metavar="GROUP")
@store_to("read")
@click.option("--all", "in_full", is_flag=True, help="Show every example kept, not only the first.")
@json_option
def show(fingerprint: str, location: str | None, in_full: bool, as_json: bool) -> None:
    """Show one group of mismatches in full.

    GROUP is its fingerprint as the report prints it, or any beginning of it that no other group
    shares. Both values stand side by side with the differences marked, and with them the context,
    the tracebacks, and where and when it happened.

    \b
    Examples:
      twinrun show 3f2a9c1b4e --store twinrun.db
      twinrun show 3f2a --all --store twinrun.db
      twinrun show 3f2a --json --store twinrun.db | jq '.group.examples[0].context'
    """
    with opened(location) as store:
        found = one_group(store.find_groups(fingerprint), fingerprint)
        total = sum(
            other.count
            for other in store.groups(found.experiment)
            if other.candidate == found.candidate
        )
        exemplars = store.exemplars(found.fingerprint)
        finding = summary.finding(found, store.tally(found.experiment))
    if as_json:
        write(json.group(found, total, exemplars, finding))
    else:
        shown = exemplars if in_full else exemplars[:1]
        text = group.show(found, total, shown, len(exemplars), width(), styled(), finding)
        write(text)

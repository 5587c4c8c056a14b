"""`twinrun report`: what is known of every experiment."""

from __future__ import annotations

import click

from twinrun.analysis import summary
from twinrun.cli._output import styled, width, write
from twinrun.cli._program import twinrun
from twinrun.cli._stores import chosen, json_option, opened, store_to
from twinrun.reports import json, terminal

__all__ = ["report"]


@twinrun.command()
@click.argument("experiment", required=False)
@store_to("read")
@click.option(
    "--groups",
    "limit",
    metavar="N",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    help="List at most N groups of each experiment, the largest first.",
)
@json_option
def report(experiment: str | None, location: str | None, limit: int, as_json: bool) -> None:
    """Report on every experiment, or on one.

    For each: how often it ran, how often its candidates matched, raised or differed, how long
    both sides took, and its mismatches in groups with one cause.

    \b
    Examples:
      twinrun report --store twinrun.db
      twinrun report pricing.quote --store twinrun.db
      TWINRUN_STORE=twinrun.db twinrun report --json | jq '.experiments[].name'
    """
    with opened(location) as store:
        records = chosen(store.experiments(), experiment)
        summaries = [summary.read(store, record, limit) for record in records]
    if as_json:
        write(json.report(summaries))
    else:
        write(terminal.report(summaries, width(), styled()))

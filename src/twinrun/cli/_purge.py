"""`twinrun purge`: what is old goes, and the store shrinks."""

from __future__ import annotations

import datetime
from pathlib import Path

import click

from twinrun.analysis import retention
from twinrun.analysis.retention import Retention
from twinrun.cli._output import number, sentence
from twinrun.cli._program import twinrun
from twinrun.cli._stores import opened, store_to
from twinrun.errors import ConfigurationError
from twinrun.store.upkeep import Purged, compact, roll_up
from twinrun.store.upkeep import purge as purge_store

__all__ = ["purge"]


@twinrun.command()
@store_to("make smaller")
@click.option(
    "--older-than",
    "age",
    metavar="AGE",
    help="What goes, such as 90d, 12h or 8w.",
)
@click.option(
    "--examples-older-than",
    "example_age",
    metavar="AGE",
    help="The same for examples of mismatches, which hold values. Default: as --older-than.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
def purge(location: str | None, age: str | None, example_age: str | None, dry_run: bool) -> None:
    """Remove what is old from a store, and give its room back.

    Counts go whose time is over for so long, and groups of mismatches that were not seen for so
    long. A group that was seen since keeps its count, but not its older examples. Without
    --older-than the nearest pyproject.toml says how old, in [tool.twinrun.retention]. Ctrl-C leaves
    the store whole.

    \b
    Examples:
      twinrun purge --older-than 90d --store twinrun.db --dry-run
      twinrun purge --older-than 400d --examples-older-than 30d --store twinrun.db
    """
    wanted = _retention(age, example_age)
    now = datetime.datetime.now(datetime.UTC)
    with opened(location) as store:
        if not dry_run:
            roll_up(store, now)
        gone = purge_store(
            store,
            _before(now, wanted.older_than),
            examples_before=_before(now, wanted.examples_older_than),
            dry_run=dry_run,
        )
        freed = 0 if dry_run else compact(store)
        click.echo(_said(gone, str(store), dry_run))
    if freed > 0:
        click.echo(f"The file is {freed // 1024:,} KiB smaller.")


def _retention(age: str | None, example_age: str | None) -> Retention:
    """Find out what is wanted: what was asked for, or what is written down."""
    try:
        if age is not None:
            return Retention(
                older_than=age, **({"examples_older_than": example_age} if example_age else {})
            )
        if example_age is not None:
            raise click.UsageError("Give --older-than, too: it is what the rest is kept for.")
        if found := retention.find(Path.cwd()):
            return found
    except ConfigurationError as error:
        raise click.UsageError(sentence(error)) from None
    raise click.UsageError(
        "How old? Give --older-than AGE, such as 90d, or write older_than in "
        "[tool.twinrun.retention] of a pyproject.toml here or above."
    )


def _before(now: datetime.datetime, age: datetime.timedelta) -> datetime.datetime:
    """Give the moment so long ago; where there was none, the first one that there is."""
    first = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    return now - age if age < now - first else first


def _said(gone: Purged, store: str, dry_run: bool) -> str:
    """Say what went."""
    if gone == Purged():
        return f"Nothing in {store} is as old as that."
    counts = f"{number(gone.tallies, 'row')} of counts"
    groups, examples = number(gone.groups, "group"), number(gone.examples, "example")
    experiments = number(gone.experiments, "experiment")
    done = "would be removed" if dry_run else "removed"
    return f"{counts}, {groups}, {examples} and {experiments} {done} from {store}."

"""`twinrun demo`: runs the migration over all that is found, and reports."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Generator
from contextlib import closing
from itertools import islice
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from sqlalchemy.exc import SQLAlchemyError

from twinrun import experiment, settings
from twinrun.cli import INTERRUPTED, CouldNotTellError, report
from twinrun.demo import harvest
from twinrun.demo.references import split_by_regex, split_by_urllib
from twinrun.errors import ConfigurationError
from twinrun.publishers import StorePublisher
from twinrun.store import Store

__all__ = ["NAME", "demo"]

NAME = "references.split"
"""The demo's experiment."""

_TIME_TO_STORE = 30.0  # seconds; far more than a disk needs, far less than a person waits


@click.command()
@click.option(
    "--store",
    "path",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="The SQLite file to write to; by default a new one in the temporary directory.",
)
@click.option(
    "--inputs",
    "limit",
    metavar="N",
    type=click.IntRange(min=1),
    help="Stop after N references instead of splitting all.",
)
@click.pass_context
def demo(context: click.Context, path: Path | None, limit: int | None) -> None:
    """Watch a real migration, over real input, into a store, with its report.

    Code that splits URI references with the regular expression of RFC 3986 shall use urllib.parse
    instead. Both split every reference that is found in the sources and the metadata of the
    installed Python and its packages. Nothing is sent anywhere.

    \b
    Examples:
      twinrun demo
      twinrun demo --store demo.db --inputs 1000
    """
    if settings.current.off:
        raise click.UsageError("TWINRUN_DISABLED is set: no experiment runs, and so no demo.")
    if path is None:
        path = Path(tempfile.mkdtemp(prefix="twinrun-demo-"), "demo.db")
    _check(path)
    count, distinct, interrupted = _run(path, limit)
    if count:
        click.echo(f"{count:,} references were split, {distinct:,} of them distinct.")
        click.echo(f"The store: {path}\n")
        context.invoke(report, experiment=NAME, location=str(path), limit=10, as_json=False)
        _show_next_steps(path)
    if interrupted:
        context.exit(INTERRUPTED)


def _check(path: Path) -> None:
    """Make the store, or say at once why it can't be: an experiment itself would only count it."""
    try:
        with Store(str(path)) as store:
            store.experiments()
    except (ConfigurationError, SQLAlchemyError, OSError) as error:
        reason = str(getattr(error, "orig", None) or error)
        raise CouldNotTellError(f"The store can't be written: {reason}") from None


def _run(path: Path, limit: int | None) -> tuple[int, int, bool]:
    """Run the migration; tells how many references, how many distinct, and if Ctrl-C ended it."""
    found_in: dict[str, str] = {}
    store = StorePublisher(str(path))
    split = experiment(
        NAME,
        candidate=split_by_urllib,
        context=lambda reference: found_in,
        publishers=[store],
    )(split_by_regex)
    count, interrupted = 0, False
    seen: set[str] = set()
    try:
        with closing(_inputs()) as inputs:
            for file, reference in islice(inputs, limit):
                found_in["file"] = "/".join(file.parts[-2:])
                split(reference)
                seen.add(reference)
                count += 1
    except KeyboardInterrupt:
        interrupted = True
    finally:
        if not store.flush(_TIME_TO_STORE):
            click.echo("Not everything could be stored: the report will lack it.", err=True)
        store.close()
    return count, len(seen), interrupted


def _inputs() -> Generator[tuple[Path, str], None, None]:
    """Give every reference with the file it stands in, and show how far the reading is."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
    ) as progress:
        for file in progress.track(harvest.files(), description="Reading files"):
            for reference in harvest.references(file):
                yield file, reference


def _show_next_steps(path: Path) -> None:
    """Say how to read on."""
    with Store(str(path)) as store:
        groups = store.groups(NAME)
    location = shlex.quote(str(path))
    click.echo("\nNext:")
    if groups:
        click.echo(f"  twinrun show {groups[0].fingerprint[:10]} --store {location}")
    click.echo(f"  twinrun report --json --store {location}")

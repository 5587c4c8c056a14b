"""`twinrun export`, `import` and `merge`: from a store into files and other stores."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import click

from twinrun.cli._output import leave_quietly, number, sentence
from twinrun.cli._program import CouldNotTellError, twinrun
from twinrun.cli._stores import chosen, opened, store_to
from twinrun.errors import ConfigurationError
from twinrun.reports.tables import TABLES, write_csv, write_parquet
from twinrun.store import Store
from twinrun.store.exchange import exported
from twinrun.store.lines import ExportError
from twinrun.store.taking import Taken, take

__all__ = ["export", "import_", "merge"]


@twinrun.command()
@click.argument("experiments", nargs=-1, metavar="[EXPERIMENT]...")
@store_to("read")
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "csv", "parquet"]),
    default="jsonl",
    show_default=True,
    help="jsonl has all of it, for `twinrun import`; the others one table.",
)
@click.option(
    "--table",
    "named",
    type=click.Choice(sorted(TABLES)),
    help="What a CSV or Parquet file is of.",
)
@click.option(
    "--output", metavar="FILE", help="Where to write it. Default: standard output; not for parquet."
)
def export(
    experiments: tuple[str, ...],
    location: str | None,
    form: str,
    named: str | None,
    output: str | None,
) -> None:
    """Write what a store holds, of all experiments or of some.

    JSON lines have everything: counts, groups and examples, for `twinrun import` or for programs of
    your own. CSV and Parquet have one table: counts (by time, release and candidate), groups of
    mismatches, or examples. A FILE is there as a whole or not at all, for its owner's eyes only.

    \b
    Examples:
      twinrun export --store twinrun.db --output all.jsonl
      twinrun export pricing.quote --store twinrun.db --format csv --table groups
      twinrun export --store twinrun.db --format parquet --table counts --output counts.parquet
    """
    _check_form(form, named, output)
    with opened(location) as store:
        names = [chosen(store.experiments(), name)[0].name for name in experiments]
        lines = exported(store, names or None)
        with _written(output) as path:
            if form == "parquet":
                write_parquet(TABLES[str(named)], lines, path)
            else:
                _write(lines, named, path)


def _check_form(form: str, named: str | None, output: str | None) -> None:
    """Refuse options that don't go together."""
    if form == "jsonl" and named is not None:
        raise click.UsageError("JSON lines have every table: leave out --table, or use csv.")
    if form != "jsonl" and named is None:
        raise click.UsageError(f"Which table? Give --table: one of {', '.join(sorted(TABLES))}.")
    if form == "parquet" and output is None:
        raise click.UsageError("A Parquet file can't go to standard output: give --output FILE.")


def _write(lines: Iterable[Mapping[str, Any]], named: str | None, path: str | None) -> None:
    """Write lines, or one table of them, to a file or to standard output."""
    try:
        with _opened_to_write(path) as file:
            if named is not None:
                write_csv(TABLES[named], lines, file)
                return
            for line in lines:
                file.write(json.dumps(line, separators=(",", ":")) + "\n")
    except BrokenPipeError:  # `| head` has seen enough
        leave_quietly()


@contextmanager
def _opened_to_write(path: str | None) -> Iterator[Any]:
    if path is not None:
        with open(path, "w", encoding="utf-8", newline="") as file:
            yield file
    else:
        yield sys.stdout
        sys.stdout.flush()


@contextmanager
def _written(path: str | None) -> Iterator[Any]:
    """Give where to write; what is there then takes the file's place at once."""
    if path is None:
        yield None
        return
    folder = os.path.dirname(os.path.abspath(path))
    try:
        handle, new = tempfile.mkstemp(dir=folder, prefix=".twinrun-")
        os.close(handle)
        try:
            yield new
            os.replace(new, path)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(new)
    except ConfigurationError as error:
        raise click.UsageError(sentence(error)) from None
    except OSError as error:
        raise CouldNotTellError(f"{path!r} can't be written: {sentence(error)}") from None


@twinrun.command("import")
@click.argument("file", type=click.File("r", encoding="utf-8"))
@store_to("write to")
def import_(file: Iterable[str], location: str | None) -> None:
    """Take into a store what `twinrun export` wrote.

    FILE is JSON lines, - for standard input. The same lines may be taken again, alone or in a later
    export of the same store: nothing counts twice. Ctrl-C stops it after a transaction: run it
    again for the rest.

    \b
    Examples:
      twinrun import all.jsonl --store fleet.db
      ssh web-7 twinrun export --store twinrun.db | twinrun import - --store fleet.db
    """
    with opened(location, create=True) as store:
        _tell(_take(store, _parsed(file)), store)


@twinrun.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@store_to("write to")
def merge(sources: tuple[str, ...], location: str | None) -> None:
    """Take what other stores hold into one, as export and import would.

    SOURCE is the path or URL of a store; it stays as it is. It may be merged again when it has
    grown: nothing counts twice. A copy of a store counts as the same store.

    \b
    Examples:
      twinrun merge web-1.db web-2.db --store fleet.db
    """
    with opened(location, create=True) as store:
        for source in sources:
            with opened(source) as other:
                taken = _take(store, exported(other))
            click.echo(f"From {other}: ", nl=False)
            _tell(taken, store)


def _parsed(file: Iterable[str]) -> Iterator[Any]:
    """Read JSON lines; say which one is none."""
    for number_, text in enumerate(file, 1):
        try:
            yield json.loads(text)
        except ValueError as error:
            raise ExportError(f"line {number_} is no JSON: {error}") from None


def _take(store: Store, lines: Iterable[Mapping[str, Any]]) -> Taken:
    """Take lines in, and show how far it is where somebody looks."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn

    console = Console(stderr=True)
    shown = SpinnerColumn(), TextColumn("{task.completed:,.0f} tallies, groups and examples taken")
    taken = Taken()
    with Progress(*shown, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=None)
        try:
            for some in take(store, lines):
                taken += some
                bar.update(task, completed=taken.tallies + taken.groups + taken.examples)
        except (ExportError, UnicodeDecodeError) as error:
            told = sentence(error) if isinstance(error, ExportError) else "It is no UTF-8 text."
            raise CouldNotTellError(f"{told} What came before is taken.") from None
    return taken


def _tell(taken: Taken, store: Store) -> None:
    if taken == Taken():
        click.echo(f"{store} knew all of it.")
        return
    counts = number(taken.tallies, "row") + " of counts"
    groups, examples = number(taken.groups, "group"), number(taken.examples, "example")
    click.echo(f"{counts}, {groups} and {examples} taken into {store}.")

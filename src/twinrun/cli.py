"""The command line: what is known of the experiments in a store, and what is on its way there."""

from __future__ import annotations

import difflib
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import NoReturn

import click
from sqlalchemy.exc import SQLAlchemyError

from twinrun import recovery
from twinrun.analysis import summary
from twinrun.errors import ConfigurationError
from twinrun.reports import group, json, terminal
from twinrun.reports.texts import line, plain
from twinrun.spool import Counts, Spool
from twinrun.store import (
    ExperimentRecord,
    GroupRecord,
    Store,
    StoreNotFoundError,
    StoreVersionError,
)

__all__ = [
    "COULD_NOT_TELL",
    "INTERRUPTED",
    "CouldNotTellError",
    "deliver",
    "report",
    "run",
    "show",
    "twinrun",
]

COULD_NOT_TELL = 3
"""The exit status where there is no answer: no store or spool, no such experiment or group."""

INTERRUPTED = 130
"""The exit status after Ctrl-C: 128 and the number of SIGINT, as in a shell."""

_NAMED = 10
_PIPED_WIDTH = 100
_UNBOUNDED = 1 << 62  # bytes: what is delivered makes room, nothing has to go for it


class CouldNotTellError(click.ClickException):
    """There is nothing to report on or to deliver; the text says what to do next."""

    exit_code = COULD_NOT_TELL


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="twinrun", prog_name="twinrun", message="%(prog)s %(version)s")
def twinrun() -> None:
    """Read what experiments found out: the trusted code beside its replacement.

    \b
    Exit status: 0 done, 2 wrong usage, 3 no answer (no store or spool, no such experiment
    or group), 130 interrupted.
    """


def _store_to(use: str) -> Callable[[click.decorators.FC], click.decorators.FC]:
    """Make the option that names the store, for a use of it."""
    return click.option(
        "--store",
        "location",
        metavar="URL",
        envvar="TWINRUN_STORE",
        show_envvar=True,
        help=f"The store to {use}: the path of an SQLite file, or sqlite:///path.",
    )


_json_option = click.option("--json", "as_json", is_flag=True, help="Write stable JSON instead.")


@twinrun.command()
@click.argument("experiment", required=False)
@_store_to("read")
@click.option(
    "--groups",
    "limit",
    metavar="N",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    help="List at most N groups of each experiment, the largest first.",
)
@_json_option
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
    with _opened(location) as store:
        records = _chosen(store.experiments(), experiment)
        summaries = [summary.read(store, record, limit) for record in records]
    if as_json:
        _write(json.report(summaries))
    else:
        _write(terminal.report(summaries, _width(), _styled()))


@twinrun.command()
@click.argument("fingerprint", metavar="GROUP")
@_store_to("read")
@click.option("--all", "in_full", is_flag=True, help="Show every example kept, not only the first.")
@_json_option
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
    with _opened(location) as store:
        found = _one(store.find_groups(fingerprint), fingerprint)
        total = sum(
            other.count
            for other in store.groups(found.experiment)
            if other.candidate == found.candidate
        )
        exemplars = store.exemplars(found.fingerprint)
    if as_json:
        _write(json.group(found, total, exemplars))
    else:
        shown = exemplars if in_full else exemplars[:1]
        _write(group.show(found, total, shown, len(exemplars), _width(), _styled()))


@twinrun.command()
@click.argument("directory")
@_store_to("write to")
def deliver(directory: str, location: str | None) -> None:
    """Deliver what crashed processes left in a spool.

    DIRECTORY is the `spool=` of a Buffered publisher. What dead processes left there is written to
    the store and then removed; what running processes keep there is left to them. Ctrl-C stops it
    after a transaction: run it again for the rest.

    \b
    Examples:
      twinrun deliver /var/spool/shop --store twinrun.db
      twinrun deliver /var/spool/shop/dead --store twinrun.db   # those that were set aside
    """
    spool = _spool(directory)
    with _opened(location, create=True) as store, closing(spool):
        spool.adopt()
        running = spool.kept_by_others()
        _show_delivery(spool, store)
        counts = spool.counts
    if counts == Counts():
        click.echo(f"Nothing to deliver: no dead process left records in {directory}.")
    else:
        click.echo(f"{_number(counts.delivered, 'record')} delivered to {store}.")
    if running:
        click.echo(f"{_number(running, 'file')} left to running processes, which deliver them.")
    for count, what in (
        (counts.set_aside, f"can't be stored: set aside in {spool.aside}"),
        (counts.corrupt, "lost: damaged on the disk"),
        (counts.evicted, "lost: there was no room to set aside what can't be stored"),
    ):
        if count:
            click.echo(f"{_number(count, 'record')} {what}.", err=True)


def _spool(directory: str) -> Spool:
    """Open the spool that is to be delivered, or say why it can't be."""
    if not os.path.isdir(directory):
        raise CouldNotTellError(
            f"There is no directory {directory!r}. A spool is made when its first record comes."
        )
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        raise CouldNotTellError(f"The directory {directory!r} can't be read and written.")
    try:
        return Spool(directory, max_bytes=_UNBOUNDED)
    except ConfigurationError as error:
        raise CouldNotTellError(_sentence(error)) from None


def _show_delivery(spool: Spool, store: Store) -> None:
    """Deliver what was adopted, and show how far it is where somebody looks."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("Delivering", total=spool.counts.pending)
        try:
            for count in recovery.deliver(spool, store):
                progress.advance(task, count)
        except recovery.RefusedError as error:
            raise CouldNotTellError(_sentence(error)) from None


def _number(count: int, singular: str) -> str:
    return f"{count:,} {singular}" if count == 1 else f"{count:,} {singular}s"


@contextmanager
def _opened(location: str | None, *, create: bool = False) -> Iterator[Store]:
    """Open the store that was asked for, or say what to do where there is none to open."""
    if not location:
        raise click.UsageError(
            "Which store? Give it with --store URL or the environment variable TWINRUN_STORE, "
            "for example: --store twinrun.db\n`twinrun demo` makes one to look at."
        )
    try:
        with Store(location, create=create) as store:
            yield store
    except StoreNotFoundError as error:
        raise CouldNotTellError(
            f"{_sentence(error)} Experiments make it when they run where TWINRUN_STORE or "
            "a StorePublisher names it; `twinrun demo` makes one to look at."
        ) from None
    except StoreVersionError as error:
        raise CouldNotTellError(_sentence(error)) from None
    except ConfigurationError as error:
        raise click.UsageError(_sentence(error)) from None
    except (SQLAlchemyError, OSError) as error:
        reason = getattr(error, "orig", None) or error
        use, after = ("written", " What is not delivered waits.") if create else ("read", "")
        raise CouldNotTellError(f"The store can't be {use}: {_sentence(reason)}{after}") from None


def _sentence(error: BaseException) -> str:
    """Make a sentence of an error's first line."""
    text = line(str(error).partition("\n")[0]).rstrip(".")
    return f"{text[:1].upper()}{text[1:]}."


def _chosen(records: Sequence[ExperimentRecord], name: str | None) -> Sequence[ExperimentRecord]:
    """Pick the experiment asked for, or all where none was; suggest close names."""
    if not records:
        raise CouldNotTellError(
            "The store is empty: no experiment has published to it yet. Set TWINRUN_STORE to it "
            "where your application runs, or configure a StorePublisher."
        )
    if name is None:
        return records
    if chosen := [record for record in records if record.name == name]:
        return chosen
    raise CouldNotTellError(f"There is no experiment {name!r}. {_suggestion(name, records)}")


def _suggestion(name: str, records: Sequence[ExperimentRecord]) -> str:
    """Name the experiments that may have been meant, or some of those that there are."""
    lowered = {record.name.lower(): record.name for record in records}
    close = [lowered[n] for n in difflib.get_close_matches(name.lower(), lowered, n=3)]
    close = close or [r.name for r in records if name.lower() in r.name.lower()][:_NAMED]
    if close:
        return f"Did you mean {', '.join(map(line, close))}?"
    named = ", ".join(line(record.name) for record in records[:_NAMED])
    more = f" and {len(records) - _NAMED} more" if len(records) > _NAMED else ""
    return f"There are: {named}{more}."


def _one(found: Sequence[GroupRecord], prefix: str) -> GroupRecord:
    """Give the one group that was found, or list those that it might be."""
    if len(found) == 1:
        return found[0]
    if not found:
        raise CouldNotTellError(
            f"There is no group {prefix!r}. `twinrun report` lists the groups that there are."
        )
    exact = [record for record in found if record.fingerprint == prefix]
    if exact:
        return exact[0]
    rows = [
        f"  {line(r.fingerprint)}  {line(r.experiment)}  {line(', '.join(r.paths[:3]))}"
        for r in found[:_NAMED]
    ]
    more = [f"  and {len(found) - _NAMED} more"] if len(found) > _NAMED else []
    text = "\n".join([f"{prefix!r} begins {len(found)} groups; say more of it:", *rows, *more])
    raise CouldNotTellError(text)


def _styled() -> bool:
    """Whether standard output is a terminal that wants colours (see no-color.org)."""
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return wanted and sys.stdout.isatty()


def _width() -> int:
    """How many columns there are: the terminal's, and 100 where there is no terminal."""
    return shutil.get_terminal_size((_PIPED_WIDTH, 24)).columns


def _write(text: str) -> None:
    """Write a report to standard output, in characters that it can take, while it is read."""
    try:
        click.echo(plain(text, sys.stdout.encoding or "utf-8"), nl=False)
    except BrokenPipeError:  # `| head` has seen enough
        _leave_quietly()


def run(command: click.Command, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit with its status; Ctrl-C is quiet."""
    try:
        status = command.main(arguments, prog_name="twinrun", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        _leave_quietly()
        status = INTERRUPTED
    sys.exit(status if isinstance(status, int) else 0)


def _leave_quietly() -> None:
    """Send what is still to be written nowhere, so that the exit can neither fail nor wait."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)

"""Finds the store that a command is to use, and in it what was asked for."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import click
from sqlalchemy.exc import SQLAlchemyError

from twinrun.cli._output import sentence
from twinrun.cli._program import CouldNotTellError
from twinrun.errors import ConfigurationError
from twinrun.reports.texts import line
from twinrun.store import (
    ExperimentRecord,
    GroupRecord,
    Store,
    StoreNotFoundError,
    StoreVersionError,
)

__all__ = ["NAMED", "chosen", "json_option", "one_group", "opened", "store_to"]

NAMED = 10
"""How many names are listed where the one asked for is not there."""

json_option = click.option("--json", "as_json", is_flag=True, help="Write stable JSON instead.")


def store_to(use: str) -> Callable[[click.decorators.FC], click.decorators.FC]:
    """Make the option that names the store, for a use of it."""
    return click.option(
        "--store",
        "location",
        metavar="URL",
        envvar="TWINRUN_STORE",
        show_envvar=True,
        help=f"The store to {use}: the path of an SQLite file, or postgresql://user@host/database.",
    )


@contextmanager
def opened(location: str | None, *, create: bool = False) -> Iterator[Store]:
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
            f"{sentence(error)} Experiments make it when they run where TWINRUN_STORE or "
            "a StorePublisher names it; `twinrun demo` makes one to look at."
        ) from None
    except StoreVersionError as error:
        raise CouldNotTellError(sentence(error)) from None
    except ConfigurationError as error:
        raise click.UsageError(sentence(error)) from None
    except (SQLAlchemyError, OSError) as error:
        reason = getattr(error, "orig", None) or error
        use, after = ("written", " What is not delivered waits.") if create else ("read", "")
        raise CouldNotTellError(f"The store can't be {use}: {sentence(reason)}{after}") from None


def chosen(records: Sequence[ExperimentRecord], name: str | None) -> Sequence[ExperimentRecord]:
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
    close = close or [r.name for r in records if name.lower() in r.name.lower()][:NAMED]
    if close:
        return f"Did you mean {', '.join(map(line, close))}?"
    named = ", ".join(line(record.name) for record in records[:NAMED])
    more = f" and {len(records) - NAMED} more" if len(records) > NAMED else ""
    return f"There are: {named}{more}."


def one_group(found: Sequence[GroupRecord], prefix: str) -> GroupRecord:
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
        for r in found[:NAMED]
    ]
    more = [f"  and {len(found) - NAMED} more"] if len(found) > NAMED else []
    text = "\n".join([f"{prefix!r} begins {len(found)} groups; say more of it:", *rows, *more])
    raise CouldNotTellError(text)

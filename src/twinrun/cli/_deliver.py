"""`twinrun deliver`: what crashed processes left in a spool goes to the store."""

from __future__ import annotations

import os
from contextlib import closing

import click

from twinrun import recovery
from twinrun.cli._output import number, sentence
from twinrun.cli._program import CouldNotTellError, twinrun
from twinrun.cli._stores import opened, store_to
from twinrun.errors import ConfigurationError
from twinrun.spool import Counts, Spool
from twinrun.store import Store
from twinrun.storing import RefusedError

__all__ = ["deliver"]

_UNBOUNDED = 1 << 62  # bytes: what is delivered makes room, nothing has to go for it


@twinrun.command()
@click.argument("directory")
@store_to("write to")
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
    with opened(location, create=True) as store, closing(spool):
        spool.adopt()
        running = spool.kept_by_others()
        _show_delivery(spool, store)
        counts = spool.counts
    if counts == Counts():
        click.echo(f"Nothing to deliver: no dead process left records in {directory}.")
    else:
        click.echo(f"{number(counts.delivered, 'record')} delivered to {store}.")
    if running:
        click.echo(f"{number(running, 'file')} left to running processes, which deliver them.")
    for count, what in (
        (counts.set_aside, f"can't be stored: set aside in {spool.aside}"),
        (counts.corrupt, "lost: damaged on the disk"),
        (counts.evicted, "lost: there was no room to set aside what can't be stored"),
    ):
        if count:
            click.echo(f"{number(count, 'record')} {what}.", err=True)


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
        raise CouldNotTellError(sentence(error)) from None


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
        except RefusedError as error:
            raise CouldNotTellError(sentence(error)) from None

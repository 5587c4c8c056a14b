"""`twinrun upgrade`: a store of an older twinrun becomes one of this."""

from __future__ import annotations

import click

from twinrun.cli._program import twinrun
from twinrun.cli._stores import opened, store_to
from twinrun.store import migrations

__all__ = ["upgrade"]


@twinrun.command()
@store_to("bring forward")
def upgrade(location: str | None) -> None:
    """Bring an older store forward to this version.

    The first process that writes to a store does the same. Processes with an older twinrun can't
    write to it any more: what they find out waits in their buffers until they are replaced.

    \b
    Examples:
      twinrun upgrade --store twinrun.db
      twinrun upgrade --store postgresql://reports@db.internal/twinrun
    """
    with opened(location) as store:
        before, now = store.upgrade(), migrations.newest()
    done = "has it already" if before == now else f"brought forward from version {before}"
    click.echo(f"Version {now}: {store} {done}.")

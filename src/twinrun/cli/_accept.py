"""`twinrun accept`: a group of mismatches is wanted."""

from __future__ import annotations

import click

from twinrun.cli._program import twinrun
from twinrun.cli._stores import one_group, opened, store_to
from twinrun.reports.texts import line
from twinrun.store.states import State, decide

__all__ = ["accept"]


@twinrun.command()
@click.argument("fingerprint", metavar="GROUP")
@store_to("write to")
@click.option("--undo", is_flag=True, help="It is not accepted any longer.")
def accept(fingerprint: str, location: str | None, undo: bool) -> None:
    """Accept a group of mismatches: the candidate is right, or it doesn't matter.

    GROUP is its fingerprint as the report prints it, or any beginning of it that no other group
    shares. `twinrun check` does not count accepted groups against a candidate. Mismatches with the
    same cause go on to be counted.

    \b
    Examples:
      twinrun accept 3f2a9c1b4e --store twinrun.db
      twinrun accept 3f2a9c1b4e --undo --store twinrun.db
    """
    state = State.NEW if undo else State.ACCEPTED
    with opened(location) as store:
        group = one_group(store.find_groups(fingerprint), fingerprint)
        decide(store, group, state)
    done = "not accepted any longer" if undo else "accepted"
    click.echo(f"{line(group.fingerprint)} of {line(group.experiment)} is {done}.")

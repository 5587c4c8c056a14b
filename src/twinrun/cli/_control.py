"""`twinrun ramp`, `pause`, `resume`: running processes obey; `twinrun log` tells who said what."""

from __future__ import annotations

import getpass
import re
import socket
from collections.abc import Callable

import click
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from twinrun.cli._output import sentence, styled, width, write
from twinrun.cli._program import CouldNotTellError, twinrun
from twinrun.cli._stores import chosen, json_option, opened, store_to
from twinrun.reports import control_log
from twinrun.reports import controls as reports
from twinrun.reports.texts import line
from twinrun.store import Store, controls
from twinrun.store.controls import Action, Change
from twinrun.store.records import key_text

__all__ = ["log", "pause", "ramp", "resume"]

_TRIES = 5  # where several people say something at the same moment


def _saying(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of the commands that say something."""
    for option in (
        click.option(
            "--new", is_flag=True, help="Also of an experiment that has not run here yet."
        ),
        click.option("--note", metavar="TEXT", help="Why: kept in the log."),
        click.option("--by", metavar="NAME", help="Who says it; by default USER@HOST."),
        store_to("write to"),
    ):
        command = option(command)
    return command


@twinrun.command()
@click.argument("experiment")
@click.argument("share")
@_saying
def ramp(
    experiment: str, share: str, location: str | None, by: str | None, note: str | None, new: bool
) -> None:
    """Set the share of runs that are experiments, in running processes.

    SHARE is written as 5% or 0.05; `own` gives the share in the code back its say. It holds in the
    processes that were configured with `controls=`, within their interval (5 seconds by default).
    What is paused stays paused.

    \b
    Examples:
      twinrun ramp pricing.quote 5% --store twinrun.db
      twinrun ramp pricing.quote 0.5% --note "first customers" --store twinrun.db
      twinrun ramp pricing.quote own --store twinrun.db
    """
    change = _say(location, experiment, "ramp", _share(share), by, note, new)
    if change.paused:
        _tell(change, f"is paused; once it is resumed: {reports.percent(change.share)}.")
    else:
        _tell(change, f"{reports.percent(change.share)} from now on.")


@twinrun.command()
@click.argument("experiment")
@_saying
def pause(
    experiment: str, location: str | None, by: str | None, note: str | None, new: bool
) -> None:
    """Have running processes run the control alone.

    \b
    Examples:
      twinrun pause pricing.quote --store twinrun.db
      twinrun pause pricing.quote --note "incident 1234" --store twinrun.db
    """
    change = _say(location, experiment, "pause", None, by, note, new)
    _tell(change, f"paused. Once it is resumed: {reports.percent(change.share)}.")


@twinrun.command()
@click.argument("experiment")
@_saying
def resume(
    experiment: str, location: str | None, by: str | None, note: str | None, new: bool
) -> None:
    """Let a paused experiment go on with its last share.

    Where none was, the share in the code holds.

    \b
    Examples:
      twinrun resume pricing.quote --store twinrun.db
    """
    change = _say(location, experiment, "resume", None, by, note, new)
    _tell(change, f"{reports.percent(change.share)} from now on.")


@twinrun.command()
@click.argument("experiment", required=False)
@store_to("read")
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="List at most N changes, the latest first.",
)
@json_option
def log(experiment: str | None, location: str | None, limit: int, as_json: bool) -> None:
    """List what was said of running experiments, and by whom.

    \b
    Examples:
      twinrun log --store twinrun.db
      twinrun log pricing.quote --store twinrun.db
    """
    with opened(location) as store:
        with store.reading() as connection:
            holding = controls.last(connection, experiment)
            changes = controls.changes(connection, experiment, limit)
        if experiment is not None and not holding:
            chosen(store.experiments(), experiment)
    if as_json:
        write(reports.as_json(holding, changes))
    elif holding:
        write(control_log.log(holding, changes, width(), styled()))
    else:
        click.echo("Nothing was said yet: the share in the code holds. See `twinrun ramp --help`.")


def _share(text: str) -> float | None:
    """Read a share, None for the code's own; refuse what may be meant in two ways."""
    if text == "own":
        return None
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+) ?(%?)", text)
    if found is not None:
        number = float(found[1])
        if found[2] and number <= 100:
            return number / 100
        if not found[2] and ("." in text or number == 0) and number <= 1:
            return number
        if not found[2] and 1 <= number <= 100:
            meant = f"{found[1]}%" + (" or 100%" if number == 1 else f" or {number / 100:g}")
            raise click.UsageError(f"Is {text} a share or a percentage? Write {meant}.")
    raise click.UsageError(
        f"{text!r} is no share: write a percentage such as 5%, or a number within 0..1 such as "
        "0.05, or own for the share in the code."
    )


def _say(
    location: str | None,
    name: str,
    action: Action,
    share: float | None,
    by: str | None,
    note: str | None,
    new: bool,
) -> Change:
    """Write something to the log of an experiment that there is, or say why it can't be."""
    who = _who() if by is None else by
    with opened(location, create=new) as store:
        if not new:
            _check(store, name)
        for attempt in range(_TRIES):
            try:
                with store.writing() as connection:
                    return controls.add(connection, name, action, share, by=who, note=note)
            except IntegrityError as error:
                if attempt == _TRIES - 1:
                    raise _unwritten(error) from None
            except (SQLAlchemyError, OSError) as error:
                raise _unwritten(error) from None
    raise AssertionError("unreachable")


def _check(store: Store, name: str) -> None:
    """Refuse an experiment that the store does not know."""
    with store.reading() as connection:
        known = controls.last(connection, name)
    records = store.experiments()
    if known or any(record.name == key_text(name) for record in records):
        return
    try:
        chosen(records, name)
    except CouldNotTellError as error:
        raise CouldNotTellError(
            f"{error.message} To say something of one before its first run, add --new."
        ) from None


def _unwritten(error: Exception) -> CouldNotTellError:
    """Say why nothing was changed."""
    reason = getattr(error, "orig", None) or error
    return CouldNotTellError(f"The store can't be written: {sentence(reason)} Nothing was changed.")


def _who() -> str:
    """Name the person by the user and the host of this process."""
    try:
        user = getpass.getuser()
    except Exception:  # no such user, as in many containers
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def _tell(change: Change, what: str) -> None:
    """Say what holds now."""
    click.echo(f"{line(change.experiment)}: {what}")

"""The program that the commands belong to, and how it ends."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from io import StringIO
from typing import NoReturn

import click

from twinrun.cli._output import leave_quietly
from twinrun.scrubbing import scrub

__all__ = ["COULD_NOT_TELL", "INTERRUPTED", "CouldNotTellError", "run", "twinrun"]

COULD_NOT_TELL = 3
"""The exit status where there is no answer: no store or spool, no such experiment or group."""

INTERRUPTED = 130
"""The exit status after Ctrl-C: 128 and the number of SIGINT, as in a shell."""


class CouldNotTellError(click.ClickException):
    """There is nothing to report on or to deliver; the text says what to do next."""

    exit_code = COULD_NOT_TELL


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="twinrun", prog_name="twinrun", message="%(prog)s %(version)s")
def twinrun() -> None:
    """Read what experiments found out: the trusted code beside its replacement.

    \b
    Exit status: 0 done, 2 wrong usage, 3 no answer (no store or spool, no such experiment
    or group), 130 interrupted. That of `check` is its answer: see there.
    """


def run(command: click.Command, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit with its status; Ctrl-C is quiet."""
    try:
        status = command.main(arguments, prog_name="twinrun", standalone_mode=False)
    except click.ClickException as error:
        said = StringIO()  # it may repeat a URL that stands in a wrong place
        error.show(said)
        click.echo(scrub(said.getvalue()), err=True, nl=False)
        status = COULD_NOT_TELL if _may_be_a_check(error, arguments) else error.exit_code
    except (click.Abort, KeyboardInterrupt):
        leave_quietly()
        status = INTERRUPTED
    sys.exit(status if isinstance(status, int) else 0)


def _may_be_a_check(error: click.ClickException, arguments: Sequence[str] | None) -> bool:
    """Whether usage was wrong before a `check`: its exit status must not look like an answer."""
    if not isinstance(error, click.UsageError) or error.ctx is None or error.ctx.parent:
        return False
    return "check" in (sys.argv[1:] if arguments is None else arguments)

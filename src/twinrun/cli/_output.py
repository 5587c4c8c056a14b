"""How a command writes: what standard output can take, and as wide as it is."""

from __future__ import annotations

import os
import shutil
import sys

import click

from twinrun.reports.texts import line, plain

__all__ = ["leave_quietly", "number", "sentence", "styled", "width", "write"]

_PIPED_WIDTH = 100


def styled() -> bool:
    """Whether standard output is a terminal that wants colours (see no-color.org)."""
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return wanted and sys.stdout.isatty()


def width() -> int:
    """How many columns there are: the terminal's, and 100 where there is no terminal."""
    return shutil.get_terminal_size((_PIPED_WIDTH, 24)).columns


def write(text: str) -> None:
    """Write a report to standard output, in characters that it can take, while it is read."""
    try:
        click.echo(plain(text, sys.stdout.encoding or "utf-8"), nl=False)
    except BrokenPipeError:  # `| head` has seen enough
        leave_quietly()


def leave_quietly() -> None:
    """Send what is still to be written nowhere, so that the exit can neither fail nor wait."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def sentence(error: BaseException) -> str:
    """Make a sentence of an error's first line."""
    text = line(str(error).partition("\n")[0]).rstrip(".")
    return f"{text[:1].upper()}{text[1:]}."


def number(count: int, singular: str) -> str:
    """Write how many there are of a thing."""
    return f"{count:,} {singular}" if count == 1 else f"{count:,} {singular}s"

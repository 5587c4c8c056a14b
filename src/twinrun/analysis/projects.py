"""Finds and reads the pyproject.toml in which a project writes down what it wants."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from twinrun.errors import ConfigurationError

__all__ = ["load", "nearest"]

T = TypeVar("T")


def load(path: Path) -> Any:
    """Read a TOML file.

    Raises:
        ConfigurationError: it can't be read; the text names it.
    """
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} can't be read: {error}") from None


def nearest(start: Path, read: Callable[[Path], T]) -> tuple[Path, T] | None:
    """Find the nearest pyproject.toml, in a directory or in those that hold it, that says anything.

    That is one of which `read` makes something true; it is given, too.
    """
    for folder in (start, *start.parents):
        path = folder / "pyproject.toml"
        # false, too, where it may not be looked at
        if os.path.isfile(path) and (said := read(path)):
            return path, said
    return None

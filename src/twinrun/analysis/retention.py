"""How long a store keeps what it holds, and where that is written down."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any, Final

import attrs

from twinrun.analysis.policy import parse_age
from twinrun.analysis.projects import load, nearest
from twinrun.errors import ConfigurationError

__all__ = ["Retention", "find", "read"]

_TABLE: Final = "[tool.twinrun.retention]"


def _age(text: Any) -> datetime.timedelta:
    """Take what TOML and options have for a span of time."""
    if isinstance(text, datetime.timedelta):
        return text
    if not isinstance(text, str):
        raise ConfigurationError(f'{text!r} is no span of time; write it as "90d"')
    try:
        return parse_age(text)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


@attrs.frozen(kw_only=True)
class Retention:
    """What goes when: counts and groups `older_than` so long, and examples of mismatches.

    Examples hold values, and may go before the rest; by default they go with it.

    Raises:
        ConfigurationError: an age is none, such as `"90d"`.
    """

    older_than: datetime.timedelta = attrs.field(converter=_age)
    examples_older_than: datetime.timedelta = attrs.field(
        converter=_age, default=attrs.Factory(lambda self: self.older_than, takes_self=True)
    )


def read(path: Path) -> Retention | None:
    """Read the table `[tool.twinrun.retention]` of a TOML file; None where it has none.

    Raises:
        ConfigurationError: the file can't be read, or a key or value of it is not accepted.
    """
    tables = load(path)
    for key in ("tool", "twinrun", "retention"):
        tables = tables.get(key) if isinstance(tables, dict) else None
    if tables is None:
        return None
    where = f"{path}: {_TABLE}"
    accepted = [field.name for field in attrs.fields(Retention)]
    if not isinstance(tables, dict) or accepted[0] not in tables or set(tables) - set(accepted):
        raise ConfigurationError(
            f"{where} has {tables!r}; accepted are {' and '.join(accepted)}, the first one always"
        )
    try:
        return Retention(**tables)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from None


def find(start: Path) -> Retention | None:
    """Read the nearest pyproject.toml that says it, in a directory or in those that hold it."""
    found = nearest(start, read)
    return None if found is None else found[1]

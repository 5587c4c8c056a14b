"""Times as the tables keep them: microseconds since 1970, in UTC."""

from __future__ import annotations

import datetime
from typing import Final

__all__ = ["MINUTE", "microseconds", "minute", "moment"]

MINUTE: Final = 60_000_000
"""Microseconds in a minute."""

_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def moment(microseconds: int) -> datetime.datetime:
    """Read a time as the tables keep it."""
    return _EPOCH + datetime.timedelta(microseconds=microseconds)


def microseconds(moment: datetime.datetime) -> int:
    """Write a time as the tables keep it."""
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def minute(moment: datetime.datetime) -> int:
    """Give the minute that a time falls into."""
    return microseconds(moment) // MINUTE

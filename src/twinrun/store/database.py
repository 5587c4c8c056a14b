"""Writes records into a database and reads them back (SQLite through SQLAlchemy Core)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Self

from sqlalchemy.engine import Engine

from twinrun.errors import ConfigurationError
from twinrun.store.records import (
    Exemplar,
    ExperimentRecord,
    GroupRecord,
    Mismatch,
    TallyIncrement,
)
from twinrun.tally import Tally

__all__ = ["Store", "StoreNotFoundError", "StoreVersionError"]


class StoreNotFoundError(ConfigurationError, LookupError):
    """There is no store where one was to be read."""


class StoreVersionError(ConfigurationError):
    """The store was made by a newer twinrun, which this one must not touch."""


class Store:
    """Experiments, their tallies, mismatch groups and exemplars in one database."""

    def __init__(
        self, url_or_engine: str | os.PathLike[str] | Engine, *, create: bool = True
    ) -> None:
        raise NotImplementedError

    def write(
        self, tallies: Sequence[TallyIncrement] = (), mismatches: Sequence[Mismatch] = ()
    ) -> None:
        """Add all of it in one transaction, or nothing of it."""
        raise NotImplementedError

    def experiments(self) -> list[ExperimentRecord]:
        """Give the experiments by name."""
        raise NotImplementedError

    def tally(self, name: str) -> Tally:
        """Add up an experiment's tallies over all minutes and processes."""
        raise NotImplementedError

    def groups(self, name: str) -> list[GroupRecord]:
        """Give an experiment's groups, the largest first."""
        raise NotImplementedError

    def find_groups(self, prefix: str) -> list[GroupRecord]:
        """Give the groups whose fingerprint starts so, the largest first."""
        raise NotImplementedError

    def exemplars(self, fingerprint: str) -> list[Exemplar]:
        """Give the kept members of a group in the order in which they came."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the database; a later call opens it again."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

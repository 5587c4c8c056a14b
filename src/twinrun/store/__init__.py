"""The store: what experiments found out, kept in a database (needs `twinrun[store]`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twinrun.store.records import (
    Exemplar,
    ExperimentRecord,
    GroupRecord,
    Mismatch,
    TallyIncrement,
)

if TYPE_CHECKING:
    from twinrun.store.database import Store, StoreNotFoundError, StoreVersionError

__all__ = [
    "Exemplar",
    "ExperimentRecord",
    "GroupRecord",
    "Mismatch",
    "Store",
    "StoreNotFoundError",
    "StoreVersionError",
    "TallyIncrement",
]


def __getattr__(name: str) -> Any:
    # Records are also written where there is no database, and no SQLAlchemy.
    if name not in ("Store", "StoreNotFoundError", "StoreVersionError"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from twinrun.store import database

    return getattr(database, name)

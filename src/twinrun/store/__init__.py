"""The store: what experiments found out, kept in a database (needs `twinrun[store]`)."""

from __future__ import annotations

from twinrun.store.database import Store, StoreNotFoundError, StoreVersionError
from twinrun.store.records import (
    Exemplar,
    ExperimentRecord,
    GroupRecord,
    Mismatch,
    TallyIncrement,
)

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

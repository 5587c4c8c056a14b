"""What a store is called among stores: what it rolled up or gave away is known by that name."""

from __future__ import annotations

import uuid
from typing import Final

from sqlalchemy.engine import Connection

from twinrun.store import schema
from twinrun.store._rows import held

__all__ = ["ORIGIN", "is_origin", "name"]

ORIGIN: Final = "store:"
"""Begins the name of a store, which stands where else a process is named; no host is called so."""


def is_origin(process: str) -> bool:
    """Say whether it names a store, of which a row tells, and not one process."""
    return process.startswith(ORIGIN)


def name(connection: Connection) -> str:
    """Give this store's name; whoever else asks for it waits until the transaction ends."""
    new = {"name": f"{ORIGIN}{uuid.uuid4().hex}", "tended_at": 0}
    [row] = held(connection, schema.identity, {(1,): new}).values()
    return str(row.name)

"""Which mismatches were counted lately, so that one that is delivered again counts once.

Each is known by its group, its result and the minute it was recorded in; the latter comes first,
for neighbours in time to be neighbours on the disk: that makes it five times as fast.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Any, Final, TypeAlias

from sqlalchemy import Select, delete, func, select
from sqlalchemy.engine import Connection

from twinrun.store import schema
from twinrun.store._rows import insert_many

__all__ = ["RECENT", "Member", "identify", "remember"]

RECENT: Final = 200_000
"""So many of the newest mismatches are known again when they are delivered once more."""


Member: TypeAlias = tuple[int, int, int]
"""The identity of a mismatch: its experiment, minute, and 64 bits of a hash of what tells it."""

_NAMES: Final = ("experiment_id", "minute", "digest")


def identify(experiment_id: int, minute: int, fingerprint: str, result_id: str) -> Member:
    """Identify a mismatch."""
    text = f"{fingerprint}\0{result_id}".encode()
    digest = hashlib.blake2b(text, digest_size=8, usedforsecurity=False).digest()
    return experiment_id, minute, int.from_bytes(digest, "big", signed=True)


def remember(connection: Connection, members: Collection[Member]) -> set[Member]:
    """Know these members from now on, and forget the oldest ones; give those that are new."""
    if not members:
        return set()
    if connection.dialect.name == "sqlite":
        return _remember_in_file(connection, members)
    table = schema.recent_mismatches
    new = insert_many(connection, table, _NAMES, members)
    # Who forgets is alone: two could wait for each other's rows.
    if connection.scalar(select(func.pg_try_advisory_xact_lock(func.hashtext(table.name)))):
        last: int = connection.scalar(_newest()) or 0
        connection.execute(delete(table).where(table.c.id <= last - RECENT))
    return new


def _remember_in_file(connection: Connection, members: Collection[Member]) -> set[Member]:
    """Do so in SQLite, which counts up no such column, and has one writer at a time."""
    table = schema.recent_mismatches
    last: int = connection.scalar(_newest()) or 0
    rows = [(*each, number) for number, each in enumerate(members, last + 1)]
    insert = f"INSERT OR IGNORE INTO {table.name} ({', '.join(_NAMES)}, id) VALUES (?, ?, ?, ?)"
    inserted = connection.exec_driver_sql(insert, rows).rowcount
    new = set(members)
    if inserted < len(rows):
        columns = (table.c[name] for name in _NAMES)
        there = connection.execute(select(*columns).where(table.c.id > last))
        new = {tuple(row) for row in there}
    connection.execute(delete(table).where(table.c.id <= last + inserted - RECENT))
    return new


def _newest() -> Select[Any]:
    return select(func.max(schema.recent_mismatches.c.id))

"""Adds records to the store's tables within one transaction."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import BindParameter, Update, bindparam, case, or_, select, update
from sqlalchemy.engine import Connection

from twinrun.store import schema
from twinrun.store._rows import insert_new
from twinrun.store._times import microseconds
from twinrun.store.counting import add_tallies
from twinrun.store.grouping import add_mismatches
from twinrun.store.records import Mismatch, TallyIncrement

__all__ = ["add_records", "experiment_ids", "widen"]

_LAG: Final = 10_000_000  # microseconds that `last_seen` may lag behind: every writer changes it

_Spans = dict[str, tuple[int, int]]


def add_records(
    connection: Connection, tallies: Sequence[TallyIncrement], mismatches: Sequence[Mismatch]
) -> None:
    """Add tallies and mismatches, each once."""
    spans = _spans([*tallies, *mismatches])
    ids = experiment_ids(connection, spans)
    add_tallies(connection, tallies, ids)
    add_mismatches(connection, mismatches, ids)
    widen(connection, spans)


def _spans(records: Iterable[TallyIncrement | Mismatch]) -> _Spans:
    """Give the first and last time at which each experiment was seen, by name."""
    seen: dict[str, list[datetime.datetime]] = {}
    for record in records:
        seen.setdefault(record.experiment, []).append(record.recorded_at)
    return {
        name: (microseconds(min(times)), microseconds(max(times)))
        for name, times in sorted(seen.items())
    }


def experiment_ids(connection: Connection, spans: Mapping[str, tuple[int, int]]) -> dict[str, int]:
    """Give each experiment's id by name; what is not there yet is made."""
    ids = _known_ids(connection, list(spans))
    new = [
        {"name": name, "first_seen": first, "last_seen": last}
        for name, (first, last) in spans.items()
        if name not in ids
    ]
    if new:
        insert_new(connection, schema.experiments, new)
        ids |= _known_ids(connection, [row["name"] for row in new])
    return ids


def _known_ids(connection: Connection, names: Sequence[Any]) -> dict[str, int]:
    table = schema.experiments
    rows = connection.execute(select(table.c.name, table.c.id).where(table.c.name.in_(names)))
    return {row.name: row.id for row in rows}


def _widening() -> Update:
    """Make the statement that notes when an experiment was seen."""
    table = schema.experiments
    first: BindParameter[int] = bindparam("first")
    last: BindParameter[int] = bindparam("last")
    earlier, later = table.c.first_seen > first, table.c.last_seen < last
    return (
        update(table)
        .where(table.c.name == bindparam("named"))
        .where(or_(earlier, table.c.last_seen < bindparam("lagging")))
        .values(
            first_seen=case((earlier, first), else_=table.c.first_seen),
            last_seen=case((later, last), else_=table.c.last_seen),
        )
    )


_WIDENING: Final = _widening()
# Not at its first use, which may be an exit: SQLAlchemy runs a text for the first CASE that it
# compiles, and where one is run after a KeyboardInterrupt, the process does not end by SIGINT.
_WIDENING.compile()


def widen(connection: Connection, spans: Mapping[str, tuple[int, int]]) -> None:
    """Note when each experiment was seen; last of all, since all writers meet at these rows."""
    rows = [
        {"named": name, "first": first, "last": last, "lagging": last - _LAG}
        for name, (first, last) in spans.items()
    ]
    if rows:
        connection.execute(_WIDENING, rows)

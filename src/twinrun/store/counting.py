"""Adds what tallies gained, each increment once, within a transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.engine import Connection

from twinrun.store import schema
from twinrun.store._packing import pack, unpack
from twinrun.store._rows import Key, found, held, replace
from twinrun.store._sequences import Numbers
from twinrun.store._times import microseconds
from twinrun.store.records import TallyIncrement
from twinrun.tally import Tally

__all__ = ["add_tallies", "add_to_rows", "tally_row"]

_SPAN = 1  # minutes that a row is of, before old ones are rolled up


def add_tallies(
    connection: Connection, increments: Sequence[TallyIncrement], ids: Mapping[str, int]
) -> None:
    """Add increments, but none that was added before, to the rows of their minutes."""
    gains: dict[Key, Tally] = {}
    for increment in _unknown(connection, increments, ids):
        row = ids[increment.experiment], increment.minute, _SPAN
        key = *row, increment.process, increment.release or ""
        gains[key] = gains[key] + increment.tally if key in gains else increment.tally
    add_to_rows(connection, gains)


def add_to_rows(connection: Connection, gains: Mapping[Key, Tally]) -> None:
    """Add tallies to the rows of these keys; what is not there is made."""
    before = found(connection, schema.tallies, gains, held=True)
    rows: list[dict[str, Any]] = []
    for key, gain in sorted(gains.items(), key=lambda item: item[0]):
        total = unpack(before[key].tally) + gain if key in before else gain
        rows.append(tally_row(key, total))
    replace(connection, schema.tallies, rows)


def tally_row(key: Key, tally: Tally) -> dict[str, Any]:
    """Give the row of a tally."""
    names = [column.name for column in schema.tallies.primary_key.columns]
    return {**dict(zip(names, key, strict=True)), "tally": pack(tally)}


def _unknown(
    connection: Connection, increments: Sequence[TallyIncrement], ids: Mapping[str, int]
) -> list[TallyIncrement]:
    """Give the increments that were not added yet, and note that they are."""
    unknown = [increment for increment in increments if increment.sequence is None]
    by_writer: dict[Key, dict[int, TallyIncrement]] = {}
    for increment in increments:
        if increment.sequence is not None:
            writer = ids[increment.experiment], increment.process
            by_writer.setdefault(writer, {}).setdefault(increment.sequence, increment)
    new = {"applied": Numbers().as_json(), "last_seen": 0}
    rows = held(connection, schema.writers, dict.fromkeys(by_writer, new))
    changes: list[dict[str, Any]] = []
    for writer, row in sorted(rows.items(), key=lambda item: item[0]):
        applied = Numbers.from_json(row.applied)
        fresh = [each for number, each in by_writer[writer].items() if applied.add(number)]
        if fresh:
            unknown += fresh
            seen = max(microseconds(each.recorded_at) for each in fresh)
            change = *writer, applied.as_json(), max(seen, row.last_seen)
            names = "experiment_id", "process", "applied", "last_seen"
            changes.append(dict(zip(names, change, strict=True)))
    replace(connection, schema.writers, changes)
    return unknown

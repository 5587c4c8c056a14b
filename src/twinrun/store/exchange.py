"""Gives all that a store knows, as lines for another store or for anybody who reads JSON.

Every count belongs to a store, its origin: the one that the processes wrote to which counted it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from itertools import chain, groupby
from typing import Any, Final

from sqlalchemy import case, select
from sqlalchemy.engine import Connection

from twinrun.store import identity, schema
from twinrun.store._packing import total
from twinrun.store._times import moment
from twinrun.store.database import Store
from twinrun.store.records import key_text

__all__ = ["VERSION", "Line", "exported"]

VERSION: Final = 1
"""The version of the lines; it grows when an older twinrun could not read them."""

Line = dict[str, Any]

_AS_THEY_ARE: Final = (
    *("fingerprint", "candidate", "outcome", "reason", "control_exception"),
    *("candidate_exception", "state"),
)


def exported(store: Store, names: Collection[str] | None = None) -> Iterator[Line]:
    """Give a store's lines: a head, its experiments, tallies, groups and examples, and an end.

    With `names`, only of these experiments.

    The end says how many lines came before it, so that the beginning of an export can't be taken
    for a whole one.
    """
    with store.writing() as connection:
        own = identity.name(connection)
    yield {"line": "head", "twinrun": VERSION, "store": own}
    count = 1
    with store.reading() as connection:
        ids = _ids(connection, names)
        parts = (
            _experiments(connection, ids),
            _tallies(connection, ids, own),
            _groups(connection, ids, own),
            _examples(connection, ids),
        )
        for line in chain.from_iterable(parts):
            yield line
            count += 1
    yield {"line": "end", "lines": count}


_Names = Mapping[int, str]


def _ids(connection: Connection, names: Collection[str] | None) -> _Names:
    """Give the names of the experiments that are asked for, by their ids."""
    table = schema.experiments
    rows = connection.execute(select(table.c.id, table.c.name))
    wanted = None if names is None else {key_text(name) for name in names}
    return {number: name for number, name in rows if wanted is None or name in wanted}


def _time(microseconds: int) -> str:
    return moment(microseconds).isoformat()


def _experiments(connection: Connection, names: _Names) -> Iterator[Line]:
    table = schema.experiments
    query = select(table).where(table.c.id.in_(names)).order_by(table.c.name)
    for row in connection.execute(query):
        seen = {"first_seen": _time(row.first_seen), "last_seen": _time(row.last_seen)}
        yield {"line": "experiment", "experiment": row.name, **seen}


def _tallies(connection: Connection, names: _Names, own: str) -> Iterator[Line]:
    """Give one tally for each window, release and origin, whatever processes they came from.

    Those of one day, release and origin follow each other: who takes them in reads them together.
    """
    table = schema.tallies
    is_origin = table.c.process.startswith(identity.ORIGIN, autoescape=True)
    origin = case((is_origin, table.c.process), else_=own)
    columns = (table.c.experiment_id, origin, table.c.release, table.c.minute, table.c.span)
    query = select(*columns, table.c.tally).where(table.c.experiment_id.in_(names))
    rows = connection.execute(query.order_by(*columns))
    for (experiment, store, release, minute, span), some in groupby(rows, lambda row: row[:5]):
        tally = total(row.tally for row in some)
        yield {
            "line": "tally",
            "experiment": names[experiment],
            "store": store,
            "release": release or None,
            "start": _time(minute * 60_000_000),
            "minutes": span,
            "tally": tally.as_dict(),
        }


def _groups(connection: Connection, names: _Names, own: str) -> Iterator[Line]:
    """Give groups with what each origin counted of them."""
    imported: dict[tuple[int, str], list[Any]] = {}
    for part in connection.execute(select(schema.imported_groups)).mappings():
        imported.setdefault((part["experiment_id"], part["fingerprint"]), []).append(part)
    table = schema.mismatch_groups
    query = select(table).where(table.c.experiment_id.in_(names))
    query = query.order_by(table.c.experiment_id, table.c.fingerprint)
    for row in connection.execute(query).mappings():
        parts = imported.get((row["experiment_id"], row["fingerprint"]), [])
        counts = [_part(part["store"], part["count"], part) for part in parts]
        if rest := row["count"] - sum(part["count"] for part in parts):
            counts.append(_part(own, rest, row))
        yield {
            "line": "group",
            "experiment": names[row["experiment_id"]],
            **{name: row[name] for name in _AS_THEY_ARE},
            "kinds": json.loads(row["kinds"]),
            "paths": json.loads(row["paths"]),
            "counts": counts,
        }


def _part(store: str, count: int, seen: Any) -> Line:
    """Say what an origin counted of a group."""
    first, last = _time(seen["first_seen"]), _time(seen["last_seen"])
    return {"store": store, "count": count, "first_seen": first, "last_seen": last}


def _examples(connection: Connection, names: _Names) -> Iterator[Line]:
    table = schema.exemplars
    query = select(table).where(table.c.experiment_id.in_(names))
    query = query.order_by(table.c.experiment_id, table.c.fingerprint, table.c.slot)
    for row in connection.execute(query):
        yield {
            "line": "example",
            "experiment": names[row.experiment_id],
            "fingerprint": row.fingerprint,
            "result_id": row.result_id,
            "sequence": row.sequence,
            "host": row.host,
            "pid": row.pid,
            "release": row.release,
            "recorded_at": _time(row.recorded_at),
            "payload": json.loads(row.payload),
        }

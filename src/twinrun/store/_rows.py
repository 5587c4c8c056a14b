"""Rows by their keys, several at once: found, made where they are missing, held, replaced.

Whoever writes goes through the tables in one order, and through a table's rows in the order of
their keys, so that no two writers ever wait for each other.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Collection, Mapping, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    JSON,
    BindParameter,
    Column,
    ColumnElement,
    FromClause,
    Row,
    Select,
    Table,
    Text,
    and_,
    bindparam,
    cast,
    func,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

__all__ = ["Key", "found", "held", "insert_into", "insert_many", "insert_new", "replace"]

Key = tuple[Any, ...]


def found(
    connection: Connection, table: Table, keys: Collection[Key], *, held: bool = False
) -> dict[Key, Row[Any]]:
    """Give the rows with these keys; `held` ones are ours until the transaction ends."""
    query = _search(_is_sqlite(connection), table, held)
    size = len(_key_columns(table))
    there: dict[Key, Row[Any]] = {}
    # One experiment after the other: that is how a cluster distributes the tables.
    for first, some in itertools.groupby(sorted(keys), key=itemgetter(0)):
        rows = json.dumps([key[1:] for key in some], ensure_ascii=False)
        found = connection.execute(query, {"first": first, "rows": rows})
        there.update((row[:size], row) for row in found)
    return there


def held(
    connection: Connection, table: Table, rows: Mapping[Key, Mapping[str, Any]]
) -> dict[Key, Row[Any]]:
    """Give the rows with these keys, ours until the transaction ends.

    What is missing is made of the values given, before any row is held.
    """
    there = found(connection, table, rows)
    names = [column.name for column in _key_columns(table)]
    missing = sorted(rows.keys() - there.keys())
    new = [{**dict(zip(names, key, strict=True)), **rows[key]} for key in missing]
    insert_new(connection, table, new)
    if _is_sqlite(connection):  # all that is there is ours: it has one writer at a time
        return there | found(connection, table, missing)
    return found(connection, table, rows, held=True)


def insert_many(
    connection: Connection, table: Table, names: Sequence[str], rows: Collection[Key]
) -> set[Key]:
    """Insert very many rows on a server, but none whose key is there; give those that were not."""
    given, parts = _given(False, [table.c[name] for name in names])
    insert = insert_into(connection, table).from_select(names, select(*parts).select_from(given))
    insert = insert.on_conflict_do_nothing().returning(*(table.c[name] for name in names))
    return set(map(tuple, connection.execute(insert, {"rows": json.dumps(list(rows))})))


def insert_new(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, but none whose key is there already."""
    if rows:
        connection.execute(insert_into(connection, table).on_conflict_do_nothing(), rows)


def replace(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows; where a key is there already, take all else from the new row."""
    if not rows:
        return
    insert = insert_into(connection, table)
    columns = _key_columns(table)
    rest = {name: insert.excluded[name] for name in rows[0] if table.c[name] not in columns}
    connection.execute(insert.on_conflict_do_update(index_elements=columns, set_=rest), rows)


def insert_into(connection: Connection, table: Table) -> Any:
    """Make an insert that can say what to do where a key is there already."""
    return (sqlite if _is_sqlite(connection) else postgresql).insert(table)


def _is_sqlite(connection: Connection) -> bool:
    return connection.dialect.name == "sqlite"


def _key_columns(table: Table) -> list[Column[Any]]:
    return list(table.primary_key.columns)


@functools.cache
def _search(is_sqlite: bool, table: Table, held: bool) -> Select[Any]:
    """Look for rows whose key is the parameter `first`, and what is in the parameter `rows`."""
    first, *others = columns = _key_columns(table)
    given, parts = _given(is_sqlite, others)
    same = (column == part for column, part in zip(others, parts, strict=True))
    query = select(table).select_from(given.join(table, and_(first == bindparam("first"), *same)))
    return query.order_by(*columns).with_for_update(of=table) if held else query


def _given(
    is_sqlite: bool, columns: Sequence[Column[Any]]
) -> tuple[FromClause, list[ColumnElement[Any]]]:
    """Make a table of the parameter `rows`, which is JSON, and name its columns."""
    rows: BindParameter[str] = bindparam("rows", type_=Text)
    if is_sqlite:
        given = func.json_each(rows).table_valued("value")
        parts = range(len(columns))
        return given, [func.json_extract(given.c.value, f"$[{part}]") for part in parts]
    given = func.json_array_elements(cast(rows, JSON)).table_valued("value")
    value = given.c.value.op("->>")
    return given, [cast(value(part), column.type) for part, column in enumerate(columns)]

"""Rows by their keys, several at once: found, made where they are missing, held, replaced.

Whoever writes goes through the tables in one order, and through a table's rows in the order of
their keys, so that no two writers ever wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from sqlalchemy import Column, ColumnElement, Row, Table, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

__all__ = ["AT_ONCE", "Key", "chunks", "found", "held", "insert_new", "replace"]

AT_ONCE: Final = 1000
"""So many rows are asked for in one statement: SQLite takes at most 32,766 bound values."""

Key = tuple[Any, ...]
T = TypeVar("T")


def chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Cut a sequence into parts of one statement each."""
    for start in range(0, len(items), AT_ONCE):
        yield items[start : start + AT_ONCE]


def found(
    connection: Connection, table: Table, keys: Iterable[Key], *, held: bool = False
) -> dict[Key, Row[Any]]:
    """Give the rows with these keys; `held` ones are ours until the transaction ends."""
    columns = _key_columns(table)
    there: dict[Key, Row[Any]] = {}
    for some in chunks(sorted(keys)):
        query = select(table).where(_among(columns, some))
        if held:  # SQLite has one writer at a time, and no word for this
            query = query.order_by(*columns).with_for_update()
        for row in connection.execute(query):
            there[tuple(row._mapping[column] for column in columns)] = row
    return there


def held(
    connection: Connection, table: Table, rows: Mapping[Key, Mapping[str, Any]]
) -> dict[Key, Row[Any]]:
    """Give the rows with these keys, ours until the transaction ends.

    What is missing is made of the values given, before any row is held.
    """
    missing = rows.keys() - found(connection, table, rows).keys()
    names = [column.name for column in _key_columns(table)]
    insert_new(
        connection,
        table,
        [{**dict(zip(names, key, strict=True)), **rows[key]} for key in sorted(missing)],
    )
    return found(connection, table, rows, held=True)


def insert_new(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, but none whose key is there already."""
    if rows:
        connection.execute(_insert(connection, table).on_conflict_do_nothing(), rows)


def replace(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows; where a key is there already, take all else from the new row."""
    if not rows:
        return
    insert = _insert(connection, table)
    columns = _key_columns(table)
    rest = {name: insert.excluded[name] for name in rows[0] if table.c[name] not in columns}
    connection.execute(insert.on_conflict_do_update(index_elements=columns, set_=rest), rows)


def _insert(connection: Connection, table: Table) -> Any:
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    return dialect.insert(table)


def _key_columns(table: Table) -> list[Column[Any]]:
    return list(table.primary_key.columns)


def _among(columns: Sequence[Column[Any]], keys: Sequence[Key]) -> ColumnElement[bool]:
    return tuple_(*columns).in_(keys)

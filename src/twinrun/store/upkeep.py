"""Keeps a store small: minutes become hours and days, and what is too old goes."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol

import attrs
from sqlalchemy import (
    ColumnElement,
    Delete,
    and_,
    delete,
    exists,
    func,
    not_,
    select,
    tuple_,
    update,
)
from sqlalchemy.engine import Connection

from twinrun.store import identity, schema
from twinrun.store._packing import total
from twinrun.store._rows import Key
from twinrun.store._times import microseconds, minute
from twinrun.store.counting import add_to_rows

__all__ = [
    "EVERY",
    "FIRST",
    "KNOWN",
    "ROLLED",
    "Purged",
    "Transactions",
    "compact",
    "make_room",
    "purge",
    "roll_up",
    "tend",
]


class Transactions(Protocol):
    """A store, as far as it is needed here."""

    def reading(self) -> AbstractContextManager[Connection]:
        """Give a connection to read by."""

    def writing(self) -> AbstractContextManager[Connection]:
        """Give a connection to write by, in a transaction."""


_HOUR: Final = 60
_DAY: Final = 24 * _HOUR

ROLLED: Final = ((10, 1), (2 * _DAY, _HOUR), (30 * _DAY, _DAY))
"""What is older than so many minutes becomes rows of so many, each for all processes together."""

EVERY: Final = datetime.timedelta(minutes=10)
"""A store is tended this often, by whoever writes to it then."""

KNOWN: Final = datetime.timedelta(days=7)
"""What was counted is known again for so long, even when it was purged."""

FIRST: Final = datetime.timedelta(minutes=1)
"""What writes to a store for a shorter time than that never tends it."""

_AT_ONCE: Final = 500
_WORTH_IT: Final = 0.25  # of a file's pages are free: it is written anew without them


def tend(store: Transactions, now: datetime.datetime, *, patience: float = 1.0) -> bool:
    """Roll up what is due, for about `patience` seconds; False where nothing was due.

    Of several processes that ask one does it; what it leaves is for the next one that asks.
    """
    table = schema.identity
    with store.writing() as connection:
        identity.name(connection)
        is_due = table.c.tended_at <= microseconds(now - EVERY)
        is_due |= table.c.tended_at > microseconds(now + EVERY)  # a clock that went wrong
        claim = update(table).where(is_due).values(tended_at=microseconds(now))
        if not connection.execute(claim).rowcount:
            return False
    if not roll_up(store, now, patience=patience):
        with store.writing() as connection:
            connection.execute(update(table).values(tended_at=0))
    return True


def roll_up(store: Transactions, now: datetime.datetime, *, patience: float | None = None) -> bool:
    """Make few rows of many, as `ROLLED` says; False where `patience` (seconds) ended before.

    Counts and histograms are added, so that nothing is lost but in which process, and when within
    an hour or a day, something happened.
    """
    until = None if patience is None else time.monotonic() + patience
    for age, span in ROLLED:
        before = (minute(now) - age) // span * span
        taken = _AT_ONCE
        while taken == _AT_ONCE:
            if until is not None and time.monotonic() > until:
                return False
            with store.writing() as connection:
                taken = _roll_up_some(connection, span, before)
    return True


def _roll_up_some(connection: Connection, span: int, before: int) -> int:
    """Take some of the rows that are finer than a span, and add them up in rows of it."""
    own, table = identity.name(connection), schema.tallies
    key = list(table.primary_key.columns)
    of_process = not_(table.c.process.startswith(identity.ORIGIN, autoescape=True))
    finer = table.c.span < span if span > 1 else of_process
    some = select(*key).where(finer, table.c.span <= span, table.c.minute + table.c.span <= before)
    some = some.order_by(*key).limit(_AT_ONCE).with_for_update(skip_locked=True)
    rows = connection.execute(delete(table).where(tuple_(*key).in_(some)).returning(table)).all()
    parts: dict[Key, list[str]] = {}
    for row in rows:
        process = row.process if identity.is_origin(row.process) else own
        wider = row.experiment_id, row.minute // span * span, span, process, row.release
        parts.setdefault(wider, []).append(row.tally)
    add_to_rows(connection, {wider: total(tallies) for wider, tallies in parts.items()})
    return len(rows)


@attrs.frozen(kw_only=True)
class Purged:
    """How many rows went, by what they were."""

    experiments: int = 0
    tallies: int = 0
    groups: int = 0
    examples: int = 0


def purge(
    store: Transactions,
    before: datetime.datetime,
    *,
    examples_before: datetime.datetime | None = None,
    dry_run: bool = False,
) -> Purged:
    """Remove counts whose time had ended then, and groups that were not seen since.

    A group that was seen since keeps its count, but of its examples only those that were recorded
    since; these hold values, and may go earlier than the rest (`examples_before`). An experiment of
    which nothing is left goes, too. With `dry_run` it only tells what would go.
    """
    with store.writing() as connection:
        identity.name(connection)
        gone = dict.fromkeys(("tallies", "groups", "examples", "experiments"), 0)
        for what, removal in _removals(before, max(before, examples_before or before)):
            count = connection.execute(removal).rowcount
            if what is not None:
                gone[what] += count
        if dry_run:
            connection.rollback()
    return Purged(**gone)


def _removals(
    before: datetime.datetime, examples_before: datetime.datetime
) -> Iterator[tuple[str | None, Delete]]:
    """Give what removes old rows, those that others refer to last, and what it is told as."""
    tallies, groups, examples = schema.tallies, schema.mismatch_groups, schema.exemplars
    experiments, time = schema.experiments, microseconds(before)
    old = select(groups.c.experiment_id, groups.c.fingerprint).where(groups.c.last_seen < time)

    def in_old_group(table: Any) -> ColumnElement[bool]:
        return tuple_(table.c.experiment_id, table.c.fingerprint).in_(old)

    aged = examples.c.recorded_at < microseconds(examples_before)
    yield "examples", delete(examples).where(in_old_group(examples) | aged)
    yield None, delete(schema.imported_groups).where(in_old_group(schema.imported_groups))
    yield "groups", delete(groups).where(groups.c.last_seen < time)
    yield "tallies", delete(tallies).where(tallies.c.minute + tallies.c.span <= minute(before))
    writers, recent = schema.writers, schema.recent_mismatches
    yield None, delete(writers).where(writers.c.last_seen < microseconds(before - KNOWN))
    yield None, delete(recent).where(recent.c.minute < minute(before - KNOWN))
    empty = (
        ~exists().where(each.c.experiment_id == experiments.c.id)
        for each in (tallies, groups, writers, recent)
    )
    yield "experiments", delete(experiments).where(and_(experiments.c.last_seen < time, *empty))


def make_room(connection: Connection, max_bytes: int) -> None:
    """Within an SQLite file's transaction: let the oldest examples go while it is too large.

    Their room is used again, so that the file grows no further; counts and groups always stay.
    """
    while _bytes_used(connection) > max_bytes:
        table = schema.exemplars
        count = connection.scalar(select(func.count()).select_from(table)) or 0
        old = select(*table.primary_key.columns).order_by(table.c.recorded_at)
        some = old.limit(max(_AT_ONCE, count // 10))
        if not connection.execute(
            delete(table).where(tuple_(*table.primary_key.columns).in_(some))
        ).rowcount:
            return


def _bytes_used(connection: Connection) -> int:
    """Give the size of an SQLite file, but for what is free in it."""
    return _bytes_held(connection, but="freelist_count")


def _bytes_held(connection: Connection, but: str | None = None) -> int:
    def asked(name: str) -> int:
        return int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())

    return (asked("page_count") - (asked(but) if but else 0)) * asked("page_size")


def compact(store: Transactions) -> int:
    """Write an SQLite file anew of which much is free; give by how many bytes it is smaller.

    A server gives room back by itself: PostgreSQL's autovacuum does.
    """
    with store.reading() as connection:
        if connection.dialect.name != "sqlite":
            return 0
        driver: Any = connection.connection.dbapi_connection
        before, used = _bytes_held(connection), _bytes_used(connection)
        if before - used < before * _WORTH_IT:
            return 0
        driver.execute("VACUUM")
        driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return before - _bytes_held(connection)

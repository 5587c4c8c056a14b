"""Reads records from the store's tables."""

from __future__ import annotations

import datetime
import json
from typing import Any

from sqlalchemy import ColumnElement, Row, func, select
from sqlalchemy.engine import Connection

from twinrun.store import schema
from twinrun.store._times import MINUTE, minute, moment
from twinrun.store.records import Exemplar, ExperimentRecord, GroupRecord, key_text

__all__ = [
    "exemplars",
    "experiments",
    "groups",
    "named",
    "releases",
    "span",
    "starting",
    "tallies",
]


def experiments(connection: Connection) -> list[ExperimentRecord]:
    """Give the experiments by name."""
    table = schema.experiments
    return [
        ExperimentRecord(
            name=row.name, first_seen=moment(row.first_seen), last_seen=moment(row.last_seen)
        )
        for row in connection.execute(select(table).order_by(table.c.name))
    ]


def tallies(
    connection: Connection, name: str, since: datetime.datetime | None, release: str | None
) -> list[str]:
    """Give the tallies that were chosen, as they are kept."""
    query = select(schema.tallies.c.tally).join(schema.experiments)
    return list(connection.scalars(query.where(*_chosen(name, since, release))))


def span(
    connection: Connection, name: str, since: datetime.datetime | None, release: str | None
) -> tuple[datetime.datetime, datetime.datetime] | None:
    """Give the first and the last minute of the tallies that were chosen."""
    table = schema.tallies
    ends = func.min(table.c.minute), func.max(table.c.minute + table.c.span - 1)
    query = select(*ends).join(schema.experiments).where(*_chosen(name, since, release))
    first, last = connection.execute(query).one()
    return None if first is None else (moment(first * MINUTE), moment(last * MINUTE))


def releases(connection: Connection, name: str) -> list[str]:
    """Give the releases that ran an experiment, the latest first."""
    table = schema.tallies
    query = (
        select(table.c.release)
        .join(schema.experiments)
        .where(*_chosen(name, None, None), table.c.release != "")
        .group_by(table.c.release)
        .order_by(func.max(table.c.minute).desc(), table.c.release)
    )
    return list(connection.scalars(query))


def named(experiment: str) -> ColumnElement[bool]:
    """Choose the rows of an experiment."""
    return schema.experiments.c.name == key_text(experiment)


def starting(prefix: str) -> ColumnElement[bool]:
    """Choose the groups whose fingerprint starts so."""
    return schema.mismatch_groups.c.fingerprint.startswith(key_text(prefix), autoescape=True)


def groups(connection: Connection, condition: ColumnElement[bool]) -> list[GroupRecord]:
    """Give the groups that were chosen, the largest first."""
    table = schema.mismatch_groups
    query = (
        select(table, schema.experiments.c.name.label("experiment"))
        .join(schema.experiments)
        .where(condition, table.c.count > 0)  # none is left of what was purged and came again
        .order_by(table.c.count.desc(), table.c.last_seen.desc(), table.c.fingerprint)
    )
    return [_group_record(row) for row in connection.execute(query)]


def exemplars(connection: Connection, fingerprint: str) -> list[Exemplar]:
    """Give the kept members of a group in the order in which they came."""
    query = (
        select(schema.exemplars)
        .join(schema.mismatch_groups)
        .where(schema.mismatch_groups.c.fingerprint == key_text(fingerprint))
        .order_by(schema.exemplars.c.sequence)
    )
    return [_exemplar(row) for row in connection.execute(query)]


def _chosen(
    name: str, since: datetime.datetime | None, release: str | None
) -> list[ColumnElement[bool]]:
    """Choose the tallies of an experiment, from a minute on, of one release."""
    table = schema.tallies
    chosen = [named(name)]
    if since is not None:
        chosen.append(table.c.minute + table.c.span > minute(since))
    if release is not None:
        chosen.append(table.c.release == key_text(release))
    return chosen


def _group_record(row: Row[Any]) -> GroupRecord:
    values = row._mapping
    return GroupRecord(
        experiment=values["experiment"],
        fingerprint=values["fingerprint"],
        candidate=values["candidate"],
        outcome=values["outcome"],
        reason=values["reason"],
        kinds=tuple(json.loads(values["kinds"])),
        paths=tuple(json.loads(values["paths"])),
        control_exception=values["control_exception"],
        candidate_exception=values["candidate_exception"],
        count=values["count"],  # `row.count` is the method of a tuple
        first_seen=moment(values["first_seen"]),
        last_seen=moment(values["last_seen"]),
        state=values["state"],
    )


def _exemplar(row: Row[Any]) -> Exemplar:
    return Exemplar(
        fingerprint=row.fingerprint,
        result_id=row.result_id,
        sequence=row.sequence,
        payload=json.loads(row.payload),
        host=row.host,
        pid=row.pid,
        release=row.release,
        recorded_at=moment(row.recorded_at),
    )

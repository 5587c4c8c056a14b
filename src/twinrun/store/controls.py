"""What people said of experiments while these run: a log, of which the last word holds."""

from __future__ import annotations

import datetime
from typing import Literal, TypeAlias

import attrs
from sqlalchemy import Row, Select, func, insert, select
from sqlalchemy.engine import Connection

from twinrun import scrubbing
from twinrun.store._times import microseconds, moment
from twinrun.store.records import key_text, storable_text
from twinrun.store.schema import controls

__all__ = ["Action", "Change", "add", "changes", "last"]

Action: TypeAlias = Literal["ramp", "pause", "resume"]


@attrs.frozen(kw_only=True)
class Change:
    """What somebody said of an experiment, and what holds since then.

    `number` counts an experiment's changes from 1. `share` is within 0..1, None for what the code
    says; it holds while the experiment is not `paused`. `changed_at` is aware, in UTC.
    """

    experiment: str
    number: int
    action: Action
    share: float | None
    paused: bool
    changed_at: datetime.datetime
    changed_by: str
    note: str | None

    @property
    def word(self) -> float | None:
        """The share that holds, None for what the code says."""
        return 0.0 if self.paused else self.share


def changes(connection: Connection, name: str | None = None, limit: int = 100) -> list[Change]:
    """Give the newest changes of an experiment, or of all, the latest first."""
    query = select(controls).order_by(controls.c.changed_at.desc(), controls.c.number.desc())
    return [_change(row) for row in connection.execute(_of(query, name).limit(limit))]


def last(connection: Connection, name: str | None = None) -> list[Change]:
    """Give the change that holds of an experiment, or of each one, by name."""
    newest = (
        select(controls.c.experiment, func.max(controls.c.number).label("number"))
        .group_by(controls.c.experiment)
        .subquery()
    )
    query = select(controls).join(
        newest,
        (controls.c.experiment == newest.c.experiment) & (controls.c.number == newest.c.number),
    )
    rows = connection.execute(_of(query, name).order_by(controls.c.experiment))
    return [_change(row) for row in rows]


def add(
    connection: Connection,
    name: str,
    action: Action,
    share: float | None = None,
    *,
    by: str,
    note: str | None = None,
) -> Change:
    """Say something of an experiment; its share, which only a ramp changes, is kept by a pause.

    Secrets in `by` and `note` are scrubbed. Whoever says something at the same moment waits, or
    gets sqlalchemy.exc.IntegrityError.
    """
    before = next(iter(last(connection, name)), None)
    if action == "ramp":
        paused = before is not None and before.paused
    else:
        paused, share = action == "pause", None if before is None else before.share
    now = microseconds(datetime.datetime.now(datetime.UTC))
    values = {
        "experiment": key_text(name),
        "number": 1 if before is None else before.number + 1,
        "action": action,
        "share": share,
        "paused": paused,
        "changed_at": now,
        "changed_by": storable_text(scrubbing.scrub(by)),
        "note": None if note is None else storable_text(scrubbing.scrub(note)),
    }
    connection.execute(insert(controls).values(values))
    return Change(**{**values, "changed_at": moment(now)})  # type: ignore[arg-type]


def _of(query: Select[tuple[object, ...]], name: str | None) -> Select[tuple[object, ...]]:
    """Choose an experiment, or all."""
    return query if name is None else query.where(controls.c.experiment == key_text(name))


def _change(row: Row[tuple[object, ...]]) -> Change:
    """Read a row."""
    return Change(**{**row._mapping, "changed_at": moment(row.changed_at)})

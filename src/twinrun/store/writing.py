"""Adds records to the store's tables within one transaction."""

from __future__ import annotations

import datetime
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Insert, Row, delete, func, insert, select, update
from sqlalchemy.engine import Connection

from twinrun.store import schema
from twinrun.store.records import Mismatch, TallyIncrement
from twinrun.tally import Tally

__all__ = ["FIRST_KEPT", "PAYLOAD_LIMIT", "RECENT", "RESERVOIR", "add_records", "moment"]

FIRST_KEPT: Final = 10
"""So many of a group's first members are kept as exemplars."""

RESERVOIR: Final = 10
"""So many of its later members are kept, as a fair sample of all of them."""

RECENT: Final = 200_000
"""So many of the newest mismatches are known again when they are delivered once more."""

PAYLOAD_LIMIT: Final = 64 * 1024
"""So many bytes an exemplar's payload may have; a larger one is kept without its values."""

_TOO_LARGE: Final = {"$cut": "size"}
_DIFFERENCES_KEPT: Final = 50
_AT_ONCE: Final = 1000  # SQLite takes at most 32,766 bound values in one statement
_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)

_random = random.SystemRandom()  # no state of its own that forked processes would share


def add_records(
    connection: Connection, tallies: Sequence[TallyIncrement], mismatches: Sequence[Mismatch]
) -> None:
    """Add tallies and mismatches; the caller's transaction is the only writer."""
    ids = _see_experiments(connection, [*tallies, *mismatches])
    _add_tallies(connection, tallies, ids)
    for start in range(0, len(mismatches), _AT_ONCE):
        _add_mismatches(connection, mismatches[start : start + _AT_ONCE], ids)
    if mismatches:
        recent = schema.recent_mismatches
        newest = select(func.max(recent.c.id)).scalar_subquery()
        connection.execute(delete(recent).where(recent.c.id <= newest - RECENT))


def moment(microseconds: int) -> datetime.datetime:
    """Read a time as the tables keep it."""
    return _EPOCH + datetime.timedelta(microseconds=microseconds)


def _microseconds(moment: datetime.datetime) -> int:
    return (moment - _EPOCH) // datetime.timedelta(microseconds=1)


def _see_experiments(
    connection: Connection, records: Iterable[TallyIncrement | Mismatch]
) -> dict[str, int]:
    """Note when each experiment was seen; give their ids by name."""
    seen: dict[str, list[int]] = {}
    for record in records:
        seen.setdefault(record.experiment, []).append(_microseconds(record.recorded_at))
    table = schema.experiments
    ids: dict[str, int] = {}
    for name, times in seen.items():
        row = connection.execute(select(table).where(table.c.name == name)).one_or_none()
        if row is None:
            new = insert(table).values(name=name, first_seen=min(times), last_seen=max(times))
            ids[name] = _inserted_id(connection, new)
            continue
        ids[name] = row.id
        span = min(row.first_seen, *times), max(row.last_seen, *times)
        if span != (row.first_seen, row.last_seen):
            change = update(table).where(table.c.id == row.id)
            connection.execute(change.values(first_seen=span[0], last_seen=span[1]))
    return ids


def _add_tallies(
    connection: Connection, increments: Sequence[TallyIncrement], ids: Mapping[str, int]
) -> None:
    """Add each increment to the row of its minute and process."""
    table = schema.tallies
    for increment in increments:
        key = {
            "experiment_id": ids[increment.experiment],
            "minute": increment.minute,
            "process": increment.process,
        }
        here = [table.c[name] == value for name, value in key.items()]
        before = connection.scalar(select(table.c.tally).where(*here))
        if before is None:
            text = _json(increment.tally.as_dict())
            connection.execute(insert(table).values(**key, tally=text))
        else:
            total = Tally.from_dict(json.loads(before)) + increment.tally
            connection.execute(update(table).where(*here).values(tally=_json(total.as_dict())))


def _add_mismatches(
    connection: Connection, mismatches: Sequence[Mismatch], ids: Mapping[str, int]
) -> None:
    """Count mismatches in their groups, and keep some of them as exemplars."""
    by_fingerprint: dict[str, dict[str, Mismatch]] = {}
    for mismatch in mismatches:
        by_fingerprint.setdefault(mismatch.fingerprint, {})[mismatch.result_id] = mismatch
    table = schema.mismatch_groups
    rows = connection.execute(select(table).where(table.c.fingerprint.in_(by_fingerprint)))
    groups = {row.fingerprint: row for row in rows}
    known = _known_results(connection, [row.id for row in groups.values()], mismatches)
    counted: list[dict[str, Any]] = []
    for fingerprint, members in by_fingerprint.items():
        group, fresh = groups.get(fingerprint), list(members.values())
        if group is None:
            group_id = _new_group(connection, fresh[0], ids[fresh[0].experiment], fresh)
        else:
            group_id = group.id
            fresh = [m for m in fresh if (group_id, m.result_id) not in known]
            if fresh:
                _grow_group(connection, group, fresh)
        counted += ({"group_id": group_id, "result_id": m.result_id} for m in fresh)
    if counted:
        connection.execute(insert(schema.recent_mismatches), counted)


def _inserted_id(connection: Connection, row: Insert) -> int:
    key: Any = connection.execute(row).inserted_primary_key
    return int(key[0])


def _known_results(
    connection: Connection, group_ids: Sequence[int], mismatches: Sequence[Mismatch]
) -> set[tuple[int, str]]:
    """Give the (group, result) pairs that were counted already."""
    table = schema.recent_mismatches
    query = select(table.c.group_id, table.c.result_id).where(
        table.c.group_id.in_(group_ids),
        table.c.result_id.in_({mismatch.result_id for mismatch in mismatches}),
    )
    return {(group_id, result_id) for group_id, result_id in connection.execute(query)}


def _new_group(
    connection: Connection, first: Mismatch, experiment_id: int, members: Sequence[Mismatch]
) -> int:
    """Make a group of its first members; give its id."""
    times = [_microseconds(member.recorded_at) for member in members]
    new = insert(schema.mismatch_groups).values(
        experiment_id=experiment_id,
        fingerprint=first.fingerprint,
        candidate=first.candidate,
        outcome=first.outcome,
        reason=first.reason,
        kinds=_json(first.kinds),
        paths=_json(first.paths),
        control_exception=first.control_exception,
        candidate_exception=first.candidate_exception,
        count=len(members),
        first_seen=min(times),
        last_seen=max(times),
        state="new",
    )
    group_id = _inserted_id(connection, new)
    _keep(connection, group_id, 0, members)
    return group_id


def _grow_group(connection: Connection, group: Row[Any], members: Sequence[Mismatch]) -> None:
    table = schema.mismatch_groups
    times = [_microseconds(member.recorded_at) for member in members]
    change = update(table).where(table.c.id == group.id)
    connection.execute(
        change.values(
            count=table.c.count + len(members),
            first_seen=min(group.first_seen, *times),
            last_seen=max(group.last_seen, *times),
        )
    )
    _keep(connection, group.id, group._mapping["count"], members)


def _keep(connection: Connection, group_id: int, count: int, members: Sequence[Mismatch]) -> None:
    """Keep those of the new members that find a slot, in place of who was there."""
    chosen: dict[int, dict[str, Any]] = {}
    for sequence, member in enumerate(members, count + 1):
        slot = _slot(sequence)
        if slot is not None:
            chosen[slot] = {
                "group_id": group_id,
                "slot": slot,
                "sequence": sequence,
                "result_id": member.result_id,
                "payload": _bounded_json(member.payload),
                "host": member.host,
                "pid": member.pid,
                "release": member.release,
                "recorded_at": _microseconds(member.recorded_at),
            }
    if chosen:
        table = schema.exemplars
        here = table.c.group_id == group_id, table.c.slot.in_(chosen)
        connection.execute(delete(table).where(*here))
        connection.execute(insert(table), list(chosen.values()))


def _slot(sequence: int) -> int | None:
    """Choose the slot of a group's n-th member, None for none.

    The first ones stay. Of the later ones each is kept with the same chance: algorithm R in
    Vitter, "Random sampling with a reservoir", ACM TOMS 11 (1985), section 2.
    """
    if sequence <= FIRST_KEPT + RESERVOIR:
        return sequence - 1
    place = _random.randrange(sequence - FIRST_KEPT)
    return FIRST_KEPT + place if place < RESERVOIR else None


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _bounded_json(payload: Mapping[str, Any]) -> str:
    """Write a payload as JSON; without its values, in the same shape, where it is too large."""
    text = _json(payload)
    if len(text) <= PAYLOAD_LIMIT:
        return text
    candidate = payload["candidate"]
    differences = candidate["differences"][:_DIFFERENCES_KEPT]
    cut = {
        **_without(candidate, "value"),
        "differences": [_without(each, "control", "candidate") for each in differences],
    }
    control = _without(payload["control"], "value")
    return _json({**payload, "context": {}, "control": control, "candidate": cut})


def _without(part: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Say of these entries, where they are there, that they were too large."""
    return {name: _TOO_LARGE if name in names else value for name, value in part.items()}

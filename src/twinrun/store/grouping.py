"""Counts mismatches in their groups, each once, and keeps some in full, within a transaction."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import bindparam, delete, func, select, update
from sqlalchemy.engine import Connection

from twinrun.store import schema
from twinrun.store._rows import Key, chunks, held, insert_new, replace
from twinrun.store._times import microseconds
from twinrun.store.records import Mismatch

__all__ = ["FIRST_KEPT", "PAYLOAD_LIMIT", "RECENT", "RESERVOIR", "add_mismatches"]

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

_random = random.SystemRandom()  # no state of its own that forked processes would share


def add_mismatches(
    connection: Connection, mismatches: Sequence[Mismatch], ids: Mapping[str, int]
) -> None:
    """Count mismatches, but none that was counted lately, and keep some of them as exemplars."""
    if not mismatches:
        return
    groups: dict[Key, dict[str, Mismatch]] = {}
    for mismatch in mismatches:
        group = ids[mismatch.experiment], mismatch.fingerprint
        groups.setdefault(group, {})[mismatch.result_id] = mismatch
    new = {group: _new_group(members) for group, members in groups.items()}
    rows = held(connection, schema.mismatch_groups, new)
    known = _known(connection, groups)
    changes: list[dict[str, Any]] = []
    kept: list[dict[str, Any]] = []
    counted: list[tuple[int, str, str]] = []
    for group, row in sorted(rows.items(), key=lambda item: item[0]):
        fresh = [m for result_id, m in groups[group].items() if (*group, result_id) not in known]
        if fresh:
            before = row._mapping  # `row.count` is the method of a tuple
            changes.append(_grown(group, before, fresh))
            kept += _exemplars(group, before["count"], fresh)
            counted += [(*group, member.result_id) for member in fresh]
    _update_groups(connection, changes)
    replace(connection, schema.exemplars, kept)
    _remember(connection, counted)


def _new_group(members: Mapping[str, Mismatch]) -> dict[str, Any]:
    """Describe a group that has no member yet by those that it shall have."""
    first = next(iter(members.values()))
    seen = microseconds(first.recorded_at)
    return {
        "candidate": first.candidate,
        "outcome": first.outcome,
        "reason": first.reason,
        "kinds": _json(first.kinds),
        "paths": _json(first.paths),
        "control_exception": first.control_exception,
        "candidate_exception": first.candidate_exception,
        "count": 0,
        "first_seen": seen,
        "last_seen": seen,
        "state": "new",
    }


def _known(
    connection: Connection, groups: Mapping[Key, Mapping[str, Mismatch]]
) -> set[tuple[int, str, str]]:
    """Give the members that were counted already."""
    table = schema.recent_mismatches
    results: dict[int, set[str]] = {}
    for (experiment, _), members in groups.items():
        results.setdefault(experiment, set()).update(members)
    known: set[tuple[int, str, str]] = set()
    for experiment, wanted in results.items():
        for some in chunks(sorted(wanted)):
            query = select(table.c.experiment_id, table.c.fingerprint, table.c.result_id).where(
                table.c.experiment_id == experiment, table.c.result_id.in_(some)
            )
            known.update(map(tuple, connection.execute(query)))
    return known


def _grown(group: Key, before: Mapping[Any, Any], fresh: Sequence[Mismatch]) -> dict[str, Any]:
    """Say how a group changes by new members."""
    times = [microseconds(member.recorded_at) for member in fresh]
    return {
        "of_experiment": group[0],
        "of_fingerprint": group[1],
        "count": before["count"] + len(fresh),
        "first_seen": min(before["first_seen"], *times),
        "last_seen": max(before["last_seen"], *times),
    }


def _update_groups(connection: Connection, changes: Sequence[Mapping[str, Any]]) -> None:
    table = schema.mismatch_groups
    if changes:
        change = update(table).where(
            table.c.experiment_id == bindparam("of_experiment"),
            table.c.fingerprint == bindparam("of_fingerprint"),
        )
        connection.execute(change, changes)


def _remember(connection: Connection, counted: Sequence[tuple[int, str, str]]) -> None:
    """Know these members again, and forget the oldest ones."""
    table = schema.recent_mismatches
    newest = func.max(table.c.id)
    names = "experiment_id", "fingerprint", "result_id"
    rows: list[dict[str, Any]] = [dict(zip(names, each, strict=True)) for each in counted]
    if connection.dialect.name == "sqlite":  # which counts up no such column, and has one writer
        last = connection.scalar(select(newest)) or 0
        rows = [{**row, "id": number} for number, row in enumerate(rows, last + 1)]
    insert_new(connection, table, rows)
    old = select(table.c.id).where(table.c.id <= select(newest).scalar_subquery() - RECENT)
    # Another writer that forgets the same ones is not waited for.
    mine = old.with_for_update(skip_locked=True)
    connection.execute(delete(table).where(table.c.id.in_(mine)))


def _exemplars(group: Key, count: int, members: Sequence[Mismatch]) -> Iterator[dict[str, Any]]:
    """Keep those of the new members that find a slot, in place of who was there."""
    chosen: dict[int, tuple[int, Mismatch]] = {}
    for sequence, member in enumerate(members, count + 1):
        slot = _slot(sequence)
        if slot is not None:
            chosen[slot] = sequence, member
    for slot, (sequence, member) in sorted(chosen.items()):
        yield {
            "experiment_id": group[0],
            "fingerprint": group[1],
            "slot": slot,
            "sequence": sequence,
            "result_id": member.result_id,
            "payload": _bounded_json(member.payload),
            "host": member.host,
            "pid": member.pid,
            "release": member.release,
            "recorded_at": microseconds(member.recorded_at),
        }


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

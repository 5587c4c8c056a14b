"""Counts mismatches in their groups, each once, and keeps some in full, within a transaction."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import case
from sqlalchemy.engine import Connection

from twinrun.store import schema
from twinrun.store._recent import Member, identify, remember
from twinrun.store._rows import Key, found, insert_into, replace
from twinrun.store._times import MINUTE, microseconds
from twinrun.store.records import Mismatch

__all__ = [
    "FIRST_KEPT",
    "PAYLOAD_LIMIT",
    "RESERVOIR",
    "add_mismatches",
    "bounded_json",
]

FIRST_KEPT: Final = 10
"""So many of a group's first members are kept as exemplars."""

RESERVOIR: Final = 10
"""So many of its later members are kept, as a fair sample of all of them."""

PAYLOAD_LIMIT: Final = 64 * 1024
"""So many bytes an exemplar's payload may have; a larger one is kept without its values."""

_TOO_LARGE: Final = {"$cut": "size"}
_DIFFERENCES_KEPT: Final = 50


def add_mismatches(
    connection: Connection, mismatches: Sequence[Mismatch], ids: Mapping[str, int]
) -> None:
    """Count mismatches, but none that was counted lately, and keep some of them as exemplars."""
    if not mismatches:
        return
    groups: dict[Key, dict[Member, Mismatch]] = {}
    for mismatch in mismatches:
        group = experiment, fingerprint = ids[mismatch.experiment], mismatch.fingerprint
        minute = microseconds(mismatch.recorded_at) // MINUTE
        known_by = identify(experiment, minute, fingerprint, mismatch.result_id)
        groups.setdefault(group, {})[known_by] = mismatch
    # First what disturbs nobody: others wait for the groups from here to the end.
    new = remember(connection, sorted(itertools.chain.from_iterable(groups.values())))
    fresh: dict[Key, list[Mismatch]] = {}
    for group, members in sorted(groups.items()):
        if unknown := [each for known_by, each in members.items() if known_by in new]:
            fresh[group] = unknown
    _grow(connection, fresh)
    grown = found(connection, schema.mismatch_groups, fresh)
    kept: list[dict[str, Any]] = []
    for group, unknown in fresh.items():
        after = grown[group]._mapping["count"]  # `row.count` is the method of a tuple
        kept += _exemplars(group, after - len(unknown), unknown)
    replace(connection, schema.exemplars, kept)


def _grow(connection: Connection, fresh: Mapping[Key, Sequence[Mismatch]]) -> None:
    """Count new members; a group that is not there is made."""
    if not fresh:
        return
    table = schema.mismatch_groups
    insert = insert_into(connection, table)
    more, first, last = insert.excluded.count, insert.excluded.first_seen, insert.excluded.last_seen
    change = {
        "count": table.c.count + more,
        "first_seen": case((first < table.c.first_seen, first), else_=table.c.first_seen),
        "last_seen": case((last > table.c.last_seen, last), else_=table.c.last_seen),
    }
    grow = insert.on_conflict_do_update(index_elements=list(table.primary_key), set_=change)
    connection.execute(grow, [_group(key, members) for key, members in fresh.items()])


def _group(key: Key, members: Sequence[Mismatch]) -> dict[str, Any]:
    """Describe a group that has these members."""
    first = members[0]
    times = [member.recorded_at for member in members]
    return {
        "experiment_id": key[0],
        "fingerprint": key[1],
        "candidate": first.candidate,
        "outcome": first.outcome,
        "reason": first.reason,
        "kinds": _json(first.kinds),
        "paths": _json(first.paths),
        "control_exception": first.control_exception,
        "candidate_exception": first.candidate_exception,
        "count": len(members),
        "first_seen": microseconds(min(times)),
        "last_seen": microseconds(max(times)),
        "state": "new",
    }


def _exemplars(group: Key, count: int, members: Sequence[Mismatch]) -> Iterator[dict[str, Any]]:
    """Keep those of the new members that find a slot, in place of who was there."""
    chosen: dict[int, tuple[int, Mismatch]] = {}
    draw = random.Random().random  # of its own: forked processes must not draw alike
    for sequence, member in enumerate(members, count + 1):
        slot = _slot(sequence, draw)
        if slot is not None:
            chosen[slot] = sequence, member
    for slot, (sequence, member) in sorted(chosen.items()):
        yield {
            "experiment_id": group[0],
            "fingerprint": group[1],
            "slot": slot,
            "sequence": sequence,
            "result_id": member.result_id,
            "payload": bounded_json(member.payload),
            "host": member.host,
            "pid": member.pid,
            "release": member.release,
            "recorded_at": microseconds(member.recorded_at),
        }


def _slot(sequence: int, draw: Callable[[], float]) -> int | None:
    """Choose the slot of a group's n-th member, None for none.

    The first ones stay. Of the later ones each is kept with the same chance: algorithm R in
    Vitter, "Random sampling with a reservoir", ACM TOMS 11 (1985), section 2.
    """
    if sequence <= FIRST_KEPT + RESERVOIR:
        return sequence - 1
    place = int(draw() * (sequence - FIRST_KEPT))
    return FIRST_KEPT + place if place < RESERVOIR else None


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def bounded_json(payload: Mapping[str, Any]) -> str:
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

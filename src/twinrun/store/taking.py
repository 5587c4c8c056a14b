"""Takes lines that a store gave into another one; what is taken twice counts once.

Counts are kept apart by their origin (see `exchange`), so that a later export replaces what an
earlier one brought, by whatever ways they come.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

import attrs
from sqlalchemy import delete, select, tuple_
from sqlalchemy.engine import Connection

from twinrun.store import identity, schema
from twinrun.store._packing import unpack
from twinrun.store._rows import Key, held, replace
from twinrun.store.counting import tally_row
from twinrun.store.database import Store
from twinrun.store.grouping import FIRST_KEPT, RESERVOIR
from twinrun.store.lines import (
    DAY,
    ExampleLine,
    ExperimentLine,
    ExportError,
    GroupLine,
    KnownLine,
    TallyLine,
    read_lines,
)
from twinrun.store.writing import experiment_ids, widen
from twinrun.tally import Tally

__all__ = ["Taken", "take"]

T = TypeVar("T")

_AT_ONCE: Final = 500


@attrs.frozen(kw_only=True)
class Taken:
    """How many tallies, groups and examples changed or were new."""

    tallies: int = 0
    groups: int = 0
    examples: int = 0

    def __add__(self, other: Taken) -> Taken:
        return Taken(
            tallies=self.tallies + other.tallies,
            groups=self.groups + other.groups,
            examples=self.examples + other.examples,
        )


def take(store: Store, lines: Iterable[Mapping[str, Any]]) -> Iterator[Taken]:
    """Take an export's lines into a store, some in each transaction; tell what each changed.

    Raises:
        ExportError: a line can't be read, or the end is missing. What came before is taken; to
            take the whole export later is safe.
    """
    with store.writing() as connection:
        own = identity.name(connection)
    for batch in _batches(read_lines(lines, own)):
        with store.writing() as connection:
            yield _take(connection, batch, own)


def _batches(lines: Iterator[KnownLine]) -> Iterator[list[KnownLine]]:
    """Cut lines into parts of one transaction each; tallies of one day are never parted.

    Raises what reading them raises, after what came before.
    """
    batch: list[KnownLine] = []
    try:
        for line in lines:
            if len(batch) >= _AT_ONCE and (_day(line) is None or _day(line) != _day(batch[-1])):
                yield batch
                batch = []
            batch.append(line)
    except ExportError:
        yield batch
        raise
    yield batch


def _day(line: KnownLine) -> object:
    """Give the day that a tally is part of, None for what is no tally."""
    return line.day if isinstance(line, TallyLine) else None


def _take(connection: Connection, batch: Sequence[KnownLine], own: str) -> Taken:
    """Take some lines within one transaction."""
    identity.name(connection)  # one of those who roll up, purge or take in at a time
    spans = {line.experiment: line.seen for line in batch}
    spans |= {line.experiment: line.seen for line in _of(ExperimentLine, batch)}
    ids = experiment_ids(connection, dict(sorted(spans.items())))
    tallies = [each for each in batch if isinstance(each, TallyLine) and each.store != own]
    taken = Taken(
        tallies=_take_tallies(connection, tallies, ids),
        groups=_take_groups(connection, _of(GroupLine, batch), ids, own),
        examples=_take_examples(connection, _of(ExampleLine, batch), ids),
    )
    widen(connection, {each.experiment: each.seen for each in _of(ExperimentLine, batch)})
    return taken


def _of(kind: type[T], batch: Sequence[object]) -> list[T]:
    """Give the lines of one kind."""
    return [line for line in batch if isinstance(line, kind)]


def _take_tallies(
    connection: Connection, lines: Sequence[TallyLine], ids: Mapping[str, int]
) -> int:
    """Have each day as it was when most was known of it, whatever windows it was told in then."""
    table = schema.tallies
    days: dict[Key, _Windows] = {}
    for line in lines:
        day = ids[line.experiment], line.store, line.release, line.minute // DAY
        days.setdefault(day, {})[line.minute, line.span] = line.tally
    known = _known_days(connection, days)
    gone: list[Key] = []
    rows: list[dict[str, Any]] = []
    for day, told in sorted(days.items(), key=lambda item: item[0]):
        experiment, store, release, _ = day
        for before, after in _news(known.get(day, {}), told):
            gone += [(experiment, *window, store, release) for window in before]
            for (minute, span), tally in after.items():
                key = experiment, minute, span, store, release
                rows.append(tally_row(key, tally))
    if gone:
        connection.execute(delete(table).where(tuple_(*table.primary_key.columns).in_(gone)))
    replace(connection, table, rows)
    return len(rows)


_Windows = dict[tuple[int, int], Tally]  # by (minute, span)


def _known_days(connection: Connection, days: Collection[Key]) -> dict[Key, _Windows]:
    """Give what is known of these days."""
    if not days:
        return {}
    table = schema.tallies
    experiments, stores, _, dates = map(set, zip(*days, strict=True))
    query = select(table).where(
        table.c.experiment_id.in_(experiments),
        table.c.process.in_(stores),
        table.c.minute.between(min(dates) * DAY, (max(dates) + 1) * DAY - 1),
    )
    known: dict[Key, _Windows] = {}
    for row in connection.execute(query):
        day = row.experiment_id, row.process, row.release, row.minute // DAY
        if day in days:
            tally = unpack(row.tally)
            known.setdefault(day, {})[row.minute, row.span] = tally
    return known


def _news(known: _Windows, told: _Windows) -> Iterator[tuple[_Windows, _Windows]]:
    """Give what is to be replaced by what, of one day: where more runs are told of than are known.

    Compared are the widest windows that either side has, for the other one may have them in parts.
    """
    end = 0
    for minute, span in sorted({*known, *told}, key=lambda window: (window[0], -window[1])):
        if minute < end:
            continue
        end = minute + span
        before, after = (
            {w: tally for w, tally in side.items() if minute <= w[0] < end}
            for side in (known, told)
        )
        was, will_be = sum(before.values(), start=Tally()), sum(after.values(), start=Tally())
        if will_be.runs >= was.runs and will_be != was:
            yield before, after


def _take_groups(
    connection: Connection, lines: Sequence[GroupLine], ids: Mapping[str, int], own: str
) -> int:
    """Add what each origin counted since it was last taken."""
    groups = {(ids[line.experiment], line.fingerprint): line for line in lines}
    rows = held(connection, schema.mismatch_groups, {k: g.row() for k, g in groups.items()})
    counts = {
        (*key, part.store): part
        for key, group in groups.items()
        for part in group.counts
        if part.store != own
    }
    new = {"count": 0, "base": 0, "first_seen": 0, "last_seen": 0}
    before = held(connection, schema.imported_groups, dict.fromkeys(counts, new))
    changed: dict[Key, dict[str, Any]] = {}
    parts: list[dict[str, Any]] = []
    for key, part in sorted(counts.items(), key=lambda item: item[0]):
        row = {str(name): value for name, value in before[key]._mapping.items()}
        now = part.after(row)
        if gain := now["count"] - row["count"]:
            group = changed.setdefault(key[:2], dict(rows[key[:2]]._mapping))
            group["count"] += gain
            group["first_seen"] = min(group["first_seen"], part.first_seen)
            group["last_seen"] = max(group["last_seen"], part.last_seen)
            parts.append({**row, **now})
    replace(connection, schema.mismatch_groups, [changed[key] for key in sorted(changed)])
    replace(connection, schema.imported_groups, parts)
    return len(changed)


def _take_examples(
    connection: Connection, lines: Sequence[ExampleLine], ids: Mapping[str, int]
) -> int:
    """Keep examples that are not known where a group has room for more."""
    groups = {(ids[line.experiment], line.fingerprint) for line in lines}
    table = schema.exemplars
    columns = [table.c[name] for name in ("experiment_id", "fingerprint", "slot", "result_id")]
    slots: dict[Key, set[int]] = {}
    known: set[Key] = set()
    query = select(*columns).where(tuple_(*columns[:2]).in_(groups))
    for experiment, fingerprint, slot, result in connection.execute(query):
        slots.setdefault((experiment, fingerprint), set()).add(slot)
        known.add((experiment, fingerprint, result))
    rows: list[dict[str, Any]] = []
    for line in lines:
        group = ids[line.experiment], line.fingerprint
        taken = slots.setdefault(group, set())
        free = next((n for n in range(FIRST_KEPT + RESERVOIR) if n not in taken), None)
        if free is not None and (*group, line.result_id) not in known:
            taken.add(free)
            known.add((*group, line.result_id))
            rows.append({"experiment_id": group[0], "slot": free, **line.row()})
    replace(connection, table, rows)
    return len(rows)

"""The store's tables, and how older stores become newer ones.

Times are microseconds since 1970 in UTC; what is called JSON is text, so that every database
takes it as it is. Nothing but portable SQL is used here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    insert,
    select,
)
from sqlalchemy.engine import Connection

__all__ = [
    "MIGRATIONS",
    "exemplars",
    "experiments",
    "metadata",
    "mismatch_groups",
    "recent_mismatches",
    "schema_version",
    "tallies",
]

metadata = MetaData()

_Key = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up no other type by itself

schema_version = Table(
    "schema_version",
    metadata,
    Column("version", Integer, nullable=False, comment="how many migrations this store has seen"),
    comment="one row",
)

experiments = Table(
    "experiments",
    metadata,
    Column("id", _Key, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("first_seen", BigInteger, nullable=False, comment="first run or mismatch recorded"),
    Column("last_seen", BigInteger, nullable=False, comment="last run or mismatch recorded"),
    comment="every experiment that ever wrote here",
)

tallies = Table(
    "tallies",
    metadata,
    Column("experiment_id", _Key, ForeignKey("experiments.id"), primary_key=True),
    Column("minute", BigInteger, primary_key=True, comment="minutes since 1970 in UTC"),
    Column("process", Text, primary_key=True, comment="host:pid:token of its start"),
    Column("tally", Text, nullable=False, comment="JSON of Tally.as_dict(); rows add up"),
    comment="counts and latencies of all runs, by minute and process; each row has one writer",
)

mismatch_groups = Table(
    "mismatch_groups",
    metadata,
    Column("id", _Key, primary_key=True),
    Column("experiment_id", _Key, ForeignKey("experiments.id"), nullable=False, index=True),
    Column("fingerprint", Text, nullable=False, unique=True, comment="names the common cause"),
    Column("candidate", Text, nullable=False),
    Column("outcome", Text, nullable=False, comment="mismatched, timed_out or inconclusive"),
    Column("reason", Text, comment="of an outcome that is timed_out or inconclusive"),
    Column("kinds", Text, nullable=False, comment="JSON list of the differences' kinds"),
    Column("paths", Text, nullable=False, comment="JSON list of their paths, generalised"),
    Column("control_exception", Text, comment="type of what the control raised"),
    Column("candidate_exception", Text, comment="type of what the candidate raised"),
    Column("count", BigInteger, nullable=False, comment="exact, however few exemplars are kept"),
    Column("first_seen", BigInteger, nullable=False),
    Column("last_seen", BigInteger, nullable=False),
    Column("state", Text, nullable=False, comment="'new' until a person has judged the group"),
    comment="mismatches with the same cause",
)

exemplars = Table(
    "exemplars",
    metadata,
    Column("id", _Key, primary_key=True),
    Column("group_id", _Key, ForeignKey("mismatch_groups.id"), nullable=False),
    Column("slot", Integer, nullable=False, comment="0..9 the first ones, 10..19 the reservoir"),
    Column("sequence", BigInteger, nullable=False, comment="which member of its group, from 1"),
    Column("result_id", Text, nullable=False, comment="the id of the result it was part of"),
    Column("payload", Text, nullable=False, comment="JSON of the cleaned result, one candidate"),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("release", Text, comment="the application's release, where it was told"),
    Column("recorded_at", BigInteger, nullable=False),
    UniqueConstraint("group_id", "slot"),
    UniqueConstraint("group_id", "result_id"),
    comment="members of a group kept in full: the first ones, and a fair sample of the later ones",
)

recent_mismatches = Table(
    "recent_mismatches",
    metadata,
    Column("id", _Key, primary_key=True, comment="in the order in which they came"),
    Column("group_id", _Key, ForeignKey("mismatch_groups.id"), nullable=False),
    Column("result_id", Text, nullable=False),
    UniqueConstraint("group_id", "result_id"),
    comment="what was counted lately, so that a mismatch delivered again counts once",
)


def _remember_recent(connection: Connection) -> None:
    """Know the exemplars again, as before there was a table of recent mismatches."""
    recent_mismatches.create(connection)
    columns = ["group_id", "result_id"]
    kept = select(exemplars.c.group_id, exemplars.c.result_id).order_by(exemplars.c.id)
    connection.execute(insert(recent_mismatches).from_select(columns, kept))


MIGRATIONS: Final[Sequence[Callable[[Connection], None]]] = (_remember_recent,)
"""Step n (from 0) makes a store of version n + 1 one of version n + 2; a new store needs none."""

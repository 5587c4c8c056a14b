"""The store's tables.

Times are microseconds since 1970 in UTC; what is called JSON is text, so that every database
takes it as it is. Every table but the first two has its experiment as the first part of its key,
so that a cluster can keep each experiment on a machine of its own.
"""

from __future__ import annotations

from sqlalchemy import (
    DOUBLE_PRECISION,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Integer,
    MetaData,
    Table,
    Text,
)

__all__ = [
    "controls",
    "exemplars",
    "experiments",
    "identity",
    "imported_groups",
    "metadata",
    "mismatch_groups",
    "recent_mismatches",
    "schema_version",
    "tallies",
    "writers",
]

metadata = MetaData()

_Key = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up no other type by itself


def _experiment() -> Column[int]:
    return Column("experiment_id", BigInteger, ForeignKey("experiments.id"), primary_key=True)


schema_version = Table(
    "schema_version",
    metadata,
    Column("version", Integer, nullable=False, comment="how many migrations this store has seen"),
    comment="one row",
)

identity = Table(
    "identity",
    metadata,
    Column("one", Integer, primary_key=True, autoincrement=False, comment="1: there is one row"),
    Column("name", Text, nullable=False, comment="of this store among stores, for ever"),
    Column("tended_at", BigInteger, nullable=False, comment="when old tallies were rolled up last"),
    comment="what this store is called, and when it was last looked after",
)

experiments = Table(
    "experiments",
    metadata,
    Column("id", _Key, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("first_seen", BigInteger, nullable=False, comment="first run or mismatch recorded"),
    Column("last_seen", BigInteger, nullable=False, comment="the last one; may lag 10 s behind"),
    comment="every experiment that ever wrote here",
)

tallies = Table(
    "tallies",
    metadata,
    _experiment(),
    Column("minute", BigInteger, primary_key=True, comment="minutes since 1970 in UTC"),
    Column("span", Integer, primary_key=True, comment="how many minutes from there on it is of"),
    Column("process", Text, primary_key=True, comment="host:pid:token of its start"),
    Column("release", Text, primary_key=True, comment="'' where it was not told"),
    Column("tally", Text, nullable=False, comment="JSON of Tally.as_dict(); rows add up"),
    comment="counts and latencies of all runs, by time, process and release of the application",
)

writers = Table(
    "writers",
    metadata,
    _experiment(),
    Column("process", Text, primary_key=True, comment="as in tallies"),
    Column("applied", Text, nullable=False, comment="JSON: ranges [first, last] of increments"),
    Column("last_seen", BigInteger, nullable=False),
    comment="which of a process's increments are in the tallies, so that each is added once",
)

mismatch_groups = Table(
    "mismatch_groups",
    metadata,
    _experiment(),
    Column("fingerprint", Text, primary_key=True, index=True, comment="names the common cause"),
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
    Column("experiment_id", BigInteger, primary_key=True),
    Column("fingerprint", Text, primary_key=True),
    Column("slot", Integer, primary_key=True, comment="0..9 the first ones, 10..19 the reservoir"),
    Column("sequence", BigInteger, nullable=False, comment="which member of its group, from 1"),
    Column("result_id", Text, nullable=False, comment="the id of the result it was part of"),
    Column("payload", Text, nullable=False, comment="JSON of the cleaned result, one candidate"),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("release", Text, comment="the application's release, where it was told"),
    Column("recorded_at", BigInteger, nullable=False),
    ForeignKeyConstraint(
        ["experiment_id", "fingerprint"],
        ["mismatch_groups.experiment_id", "mismatch_groups.fingerprint"],
    ),
    comment="members of a group kept in full: the first ones, and a fair sample of the later ones",
)

recent_mismatches = Table(
    "recent_mismatches",
    metadata,
    Column("experiment_id", BigInteger, primary_key=True),
    Column("minute", BigInteger, primary_key=True, comment="when it was recorded"),
    Column("digest", BigInteger, primary_key=True, comment="of its group and its result's id"),
    Column(
        "id",
        BigInteger,
        Identity(),
        nullable=False,
        index=True,
        comment="in the order in which they came",
    ),
    comment="what was counted lately, so that a mismatch delivered again counts once",
    sqlite_with_rowid=False,
)

imported_groups = Table(
    "imported_groups",
    metadata,
    Column("experiment_id", BigInteger, primary_key=True),
    Column("fingerprint", Text, primary_key=True),
    Column("store", Text, primary_key=True, comment="the name of the store that counted them"),
    Column("count", BigInteger, nullable=False, comment="what the group has of them, with base"),
    Column("base", BigInteger, nullable=False, comment="of them, what was purged there since"),
    Column("first_seen", BigInteger, nullable=False),
    Column("last_seen", BigInteger, nullable=False),
    ForeignKeyConstraint(
        ["experiment_id", "fingerprint"],
        ["mismatch_groups.experiment_id", "mismatch_groups.fingerprint"],
    ),
    comment="how many members of a group came from other stores, so that each is taken once",
)

controls = Table(
    "controls",
    metadata,
    Column("experiment", Text, primary_key=True, comment="its name; it need not have run yet"),
    Column("number", Integer, primary_key=True, comment="from 1; the last change holds"),
    Column("action", Text, nullable=False, comment="ramp, pause or resume"),
    Column("share", DOUBLE_PRECISION, comment="0..1, while not paused; null: the code's own"),
    Column("paused", Boolean, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    Column("changed_by", Text, nullable=False),
    Column("note", Text, comment="why, where that was told"),
    comment="what people said of experiments while these run",
)

"""Stores as earlier versions made them, frozen: tables and rows in plain SQL."""

from __future__ import annotations

import json

import sqlalchemy

from evidence import engine_of
from twinrun.store import _postgresql

_FIRST = """
CREATE TABLE schema_version (version INTEGER NOT NULL);
CREATE TABLE experiments (
    id {key} NOT NULL,
    name TEXT NOT NULL,
    first_seen BIGINT NOT NULL,
    last_seen BIGINT NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (name)
);
CREATE TABLE tallies (
    experiment_id BIGINT NOT NULL,
    minute BIGINT NOT NULL,
    process TEXT NOT NULL,
    tally TEXT NOT NULL,
    PRIMARY KEY (experiment_id, minute, process),
    FOREIGN KEY(experiment_id) REFERENCES experiments (id)
);
CREATE TABLE mismatch_groups (
    id {key} NOT NULL,
    experiment_id BIGINT NOT NULL,
    fingerprint TEXT NOT NULL,
    candidate TEXT NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT,
    kinds TEXT NOT NULL,
    paths TEXT NOT NULL,
    control_exception TEXT,
    candidate_exception TEXT,
    count BIGINT NOT NULL,
    first_seen BIGINT NOT NULL,
    last_seen BIGINT NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY(experiment_id) REFERENCES experiments (id),
    UNIQUE (fingerprint)
);
CREATE INDEX ix_mismatch_groups_experiment_id ON mismatch_groups (experiment_id);
CREATE TABLE exemplars (
    id {key} NOT NULL,
    group_id BIGINT NOT NULL,
    slot INTEGER NOT NULL,
    sequence BIGINT NOT NULL,
    result_id TEXT NOT NULL,
    payload TEXT NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    release TEXT,
    recorded_at BIGINT NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (group_id, slot),
    UNIQUE (group_id, result_id),
    FOREIGN KEY(group_id) REFERENCES mismatch_groups (id)
)
"""

_SECOND = """
CREATE TABLE recent_mismatches (
    id {key} NOT NULL,
    group_id BIGINT NOT NULL,
    result_id TEXT NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (group_id, result_id),
    FOREIGN KEY(group_id) REFERENCES mismatch_groups (id)
)
"""

MICROSECONDS = 1_709_208_000_000_000
"""When everything in an old store happened."""

_TALLY = {
    "experiments": 7,
    "outcomes": {"new": {"matched": 4, "mismatched": 3}},
    "candidate_errors": {},
    "skipped": {"sample": 2},
    "failures": {},
    "dropped": {},
    "durations": {},
    "ratios": {},
}
_SIDE = {"value": 1, "exception": None}
_PAYLOAD = {"id": "r", "control": _SIDE, "candidate": {**_SIDE, "differences": []}}

_ROWS = {
    "experiments": [(1, "e", MICROSECONDS, MICROSECONDS)],
    "tallies": [
        (1, MICROSECONDS // 60_000_000 + n, "here:7:a", json.dumps(_TALLY)) for n in range(2)
    ],
    "mismatch_groups": [
        (
            *(9, 1, "f00d", "new", "mismatched", None, '["changed"]', '["$.a"]', None, None),
            *(30, MICROSECONDS, MICROSECONDS, "new"),
        )
    ],
    "exemplars": [
        (n, 9, n, n + 1, f"r{n}", json.dumps(_PAYLOAD), "here", 7, None, MICROSECONDS)
        for n in range(20)
    ],
}


def make(url, version):
    """Make a store of an earlier version: 18 runs, 30 mismatches r0 to r29 in one group."""
    engine = engine_of(url)
    key = "INTEGER" if engine.dialect.name == "sqlite" else "BIGSERIAL"
    rows = dict(_ROWS)
    tables = _FIRST
    if version >= 2:
        tables += ";" + _SECOND
        rows["recent_mismatches"] = [(n + 1, 9, f"r{n}") for n in range(30)]
    with engine.begin() as connection:
        if engine.dialect.name != "sqlite":
            connection.execute(sqlalchemy.text(f"CREATE SCHEMA {_postgresql.SCHEMA}"))
        for statement in tables.split(";"):
            connection.execute(sqlalchemy.text(statement.format(key=key)))
        for table, members in {**rows, "schema_version": [(version,)]}.items():
            for row in members:
                places = ", ".join(f":v{n}" for n in range(len(row)))
                values = {f"v{n}": value for n, value in enumerate(row)}
                connection.execute(
                    sqlalchemy.text(f"INSERT INTO {table} VALUES ({places})"), values
                )

"""What it costs to store a mismatch, from the call to the row in the database."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import twinrun
from benchmarks.measuring import Effort, Row, missing, row_of
from benchmarks.pricing import quote
from twinrun.cleaners import payload

__all__ = ["rows"]

_AT_ONCE = 500
"""So many mismatches are made before they are flushed: no more than the queue holds."""


def rows(effort: Effort) -> list[Row]:
    """Measure the store, on an SQLite file."""
    work, yardstick = "mismatch stored, end to end", "bulk insert of the same rows"
    try:
        import sqlalchemy
    except ImportError:
        return [missing(work, yardstick, "SQLAlchemy")]
    del sqlalchemy
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = _ours(Path(folder)), _bare(Path(folder))
        ours(), theirs()  # both tables exist from here on
        pairs = [(_seconds(ours), _seconds(theirs)) for _ in range(effort.few)]
        _check_that_nothing_was_lost(Path(folder), _AT_ONCE * (effort.few + 1))
    return [row_of(work, yardstick, pairs)]


def _wrong(unit_price: int, quantity: int, *, country: str) -> dict[str, int]:
    """A candidate that forgets the shipping."""
    correct = quote(unit_price, quantity, country=country)
    return {**correct, "shipping": 0, "total": correct["net"] + correct["tax"]}


def _seconds(work: Callable[[], object]) -> float:
    """Time some work, per mismatch, in seconds."""
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) / _AT_ONCE


def _ours(folder: Path) -> Callable[[], None]:
    """Make mismatches that go to a store, and wait until they are there."""
    from twinrun.publishers import StorePublisher

    publisher = StorePublisher(f"sqlite:///{folder / 'ours.db'}")
    decorated = twinrun.experiment("bench.stored", candidate=_wrong, publishers=[publisher])(quote)

    def work() -> None:
        for number in range(_AT_ONCE):
            decorated(125, number % 30, country="DE")
        if not twinrun.flush(60):
            raise AssertionError("not everything was stored")

    return work


def _check_that_nothing_was_lost(folder: Path, count: int) -> None:
    """Only what was stored counts as fast."""
    from twinrun.store import Store

    with Store(f"sqlite:///{folder / 'ours.db'}") as store:
        stored = sum(group.count for group in store.groups("bench.stored"))
    if stored != count:
        raise AssertionError(f"{stored} of {count} mismatches were stored")


def _bare(folder: Path) -> Callable[[], None]:
    """Insert ready-made rows in one statement and one transaction."""
    import sqlalchemy as sa

    table = sa.Table(
        "mismatches",
        sa.MetaData(),
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("experiment", sa.Text, index=True),
        sa.Column("recorded_at", sa.Integer),
        sa.Column("payload", sa.Text),
    )
    engine = sa.create_engine(f"sqlite:///{folder / 'theirs.db'}")
    table.metadata.create_all(engine)
    row = {"experiment": "bench.stored", "recorded_at": time.time_ns(), "payload": _payload()}

    def work() -> None:
        with engine.begin() as connection:
            connection.execute(sa.insert(table), [row] * _AT_ONCE)

    return work


def _payload() -> str:
    """What is stored of one mismatch."""
    seen: list[Any] = []
    twinrun.experiment("bench.payload", candidate=_wrong, publishers=[seen.append])(quote)(
        125, 7, country="DE"
    )
    return json.dumps(payload(seen[0]))

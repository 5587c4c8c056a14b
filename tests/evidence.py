"""What the tests put into stores, and how they look into their tables."""

from __future__ import annotations

import datetime
import subprocess
import sys
import textwrap

import sqlalchemy

from twinrun.store import Mismatch, TallyIncrement, _places, _postgresql

NOON = datetime.datetime(2024, 2, 29, 12, 0, 0, 123456, tzinfo=datetime.UTC)


def payload(**changes):
    """Give the payload of one candidate, in the shape that cleaners give."""
    side = {"value": 1, "exception": None, "traceback": None, "duration_ns": 5}
    candidate = {**side, "name": "new", "outcome": "mismatched", "differences": []}
    whole = {"id": "r", "experiment": "e", "context": {}, "control": {**side, "name": "old"}}
    return {**whole, "candidate": candidate, **changes}


def mismatch(number=0, **changes):
    """Give a mismatch with an id of its own."""
    values = {
        "experiment": "e",
        "candidate": "new",
        "fingerprint": "f00d",
        "outcome": "mismatched",
        "kinds": ("changed",),
        "paths": ("$.a[*]",),
        "result_id": f"r{number}",
        "recorded_at": NOON + datetime.timedelta(seconds=number),
        "payload": payload(id=f"r{number}"),
        "host": "here",
        "pid": 7,
        "release": "1.2",
    }
    return Mismatch(**{**values, **changes})


def increment(tally, process="here:7:a", at=NOON, experiment="e", **changes):
    """Give a tally increment."""
    return TallyIncrement(
        experiment=experiment, process=process, recorded_at=at, tally=tally, **changes
    )


def engine_of(url):
    """Make an engine for a store's database that sees the store's tables."""
    read = _places.read_url(url)
    if not _places.is_file(read):
        read = read.update_query_dict({"options": f"-csearch_path={_postgresql.SCHEMA}"})
    return sqlalchemy.create_engine(read, poolclass=sqlalchemy.NullPool)


def run_sql(url, *statements):
    """Run SQL on a store's tables in one transaction, and give the rows of the last statement."""
    engine = engine_of(url)
    with engine.begin() as connection:
        for statement in statements:
            result = connection.execute(sqlalchemy.text(statement))
        return [tuple(row) for row in result] if result.returns_rows else []


WRITER = """
    import datetime, sys
    from twinrun.store import Mismatch, Store, TallyIncrement
    from twinrun.tally import Tally

    url, process, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
    store = Store(url)
    print("ready", flush=True)
    sys.stdin.readline()
    for n in range(rounds):
        now = datetime.datetime.now(datetime.UTC)
        store.write(
            [TallyIncrement(experiment="e", process=process, recorded_at=now,
                            tally=Tally(experiments=3), sequence=n)],
            [Mismatch(experiment="e", candidate="new", fingerprint=fingerprint,
                      outcome="mismatched", result_id=f"{process} {n}", recorded_at=now,
                      payload={"n": n}, host="here", pid=1)
             for fingerprint in ("shared", process)],
        )
        print(n, flush=True)
"""


def writer(url, process, rounds):
    """Start a writing process that waits for a line."""
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(url), process, str(rounds)]
    started = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert started.stdout.readline() == "ready\n"
    return started

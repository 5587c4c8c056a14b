"""Facts about the store in one process: what goes in comes out, exact and bounded."""

import datetime
import json
import os
import sqlite3
import stat
import subprocess
import sys
import textwrap
from collections import Counter

import pytest
import sqlalchemy
from hypothesis import given, settings
from hypothesis import strategies as st

from twinrun.errors import ConfigurationError
from twinrun.histogram import Histogram
from twinrun.result import Outcome
from twinrun.store import (
    Mismatch,
    Store,
    StoreNotFoundError,
    StoreVersionError,
    TallyIncrement,
    schema,
    writing,
)
from twinrun.tally import Tally

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


def increment(tally, process="here:7:a", at=NOON, experiment="e"):
    """Give a tally increment."""
    return TallyIncrement(experiment=experiment, process=process, recorded_at=at, tally=tally)


@pytest.fixture
def path(tmp_path):
    """Give a path where no store is yet."""
    return tmp_path / "store.db"


@pytest.fixture
def store(path):
    """Give a store that is still to be made."""
    with Store(path) as store:
        yield store


# Opening -----------------------------------------------------------------------------------------


def test_nothing_is_opened_before_the_first_use(path):
    """Making a Store makes no file; writing nothing does not either."""
    with Store(path) as store:
        store.write()
        assert not path.exists()
        assert store.experiments() == []
        assert path.exists()


def test_path_url_and_engine_lead_to_the_same_store(path):
    """A path, a URL and an Engine serve alike; an engine stays its owner's."""
    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    for number, where in enumerate([path, str(path), f"sqlite:///{path}", engine]):
        with Store(where) as store:
            store.write(mismatches=[mismatch(number)])
            assert store.groups("e")[0].count == number + 1
    with engine.connect() as connection:
        assert connection.scalar(sqlalchemy.text("SELECT count FROM mismatch_groups")) == 4
    engine.dispose()


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_a_new_store_is_for_its_owner_alone(store, path):
    """The file and its journals are made with mode 0600, whatever the umask."""
    before = os.umask(0)
    try:
        store.write(mismatches=[mismatch()])
        with sqlite3.connect(path) as connection:  # keeps the journals alive
            connection.execute("SELECT * FROM experiments").fetchall()
            files = list(path.parent.glob("store.db*"))
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in files}
        connection.close()
    finally:
        os.umask(before)
    assert "store.db-wal" in modes
    assert set(modes.values()) == {0o600}


def test_sqlite_is_set_up_for_several_writers(store):
    """Write-ahead log, NORMAL synchronisation, five seconds of patience, small journals."""
    with store._reading() as connection:
        ask = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "busy_timeout", "wal_autocheckpoint")
        }
    assert ask == {
        "journal_mode": "wal",
        "synchronous": 1,
        "busy_timeout": 5000,
        "wal_autocheckpoint": 128,
    }


def test_without_create_a_missing_store_is_not_found(path):
    """Reading makes nothing: no file, a directory, an empty file are all no store."""
    with pytest.raises(StoreNotFoundError, match=r"there is no store at .*store\.db"):
        Store(path, create=False)
    assert not path.exists()
    with pytest.raises(StoreNotFoundError):
        Store(path.parent, create=False)
    path.touch()
    with pytest.raises(StoreNotFoundError, match="holds no twinrun store"):
        Store(path, create=False).experiments()
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreNotFoundError, match="is no SQLite database"):
        Store(path, create=False).experiments()
    assert issubclass(StoreNotFoundError, ConfigurationError)
    assert issubclass(StoreNotFoundError, LookupError)


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", ":memory:", "mysql://u:s3cret@h/d", "a://s3cret:x@"]
)
def test_a_url_that_cannot_be_a_store_is_refused_without_its_password(url):
    """A wrong URL is a ConfigurationError at once, and no password is in its text."""
    with pytest.raises(ConfigurationError) as caught:
        Store(url)
    assert "s3cret" not in str(caught.value)


def test_a_store_taken_away_is_made_anew(store, path):
    """When the file is deleted, the next write makes a new store where the path leads."""
    store.write(mismatches=[mismatch()])
    path.unlink()
    store.write(mismatches=[mismatch(1)])
    assert [exemplar.result_id for exemplar in store.exemplars("f00d")] == ["r1"]


def test_a_reader_never_makes_a_file(store, path):
    """A store that vanishes under a reader is not found any more, and not made again."""
    store.write(mismatches=[mismatch()])
    store.close()
    with Store(path, create=False) as reader:
        assert len(reader.experiments()) == 1
        path.unlink()
        with pytest.raises(StoreNotFoundError):
            reader.experiments()
    assert not path.exists()


# Versions ----------------------------------------------------------------------------------------


def add_note(connection):
    """Be a second migration."""
    connection.exec_driver_sql("ALTER TABLE experiments ADD COLUMN note TEXT")


def test_an_older_store_is_brought_forward_once(store, path, monkeypatch):
    """Migrations run for whoever comes first, and what was there stays."""
    store.write(mismatches=[mismatch()])
    ran = []
    newer = (*schema.MIGRATIONS, lambda c: (ran.append(1), add_note(c)))
    monkeypatch.setattr(schema, "MIGRATIONS", newer)
    with Store(path) as first, Store(path, create=False) as second:
        assert [record.name for record in first.experiments()] == ["e"]
        assert second.groups("e")[0].count == 1
    assert ran == [1]
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT version FROM schema_version").fetchall() == [
            (1 + len(newer),)
        ]
        assert connection.execute("SELECT note FROM experiments").fetchall() == [(None,)]
    connection.close()


def test_a_migration_that_fails_changes_nothing(store, path, monkeypatch):
    """All steps and the new version are one transaction."""
    store.write(mismatches=[mismatch()])
    failing = (*schema.MIGRATIONS, add_note, lambda connection: 1 / 0)
    monkeypatch.setattr(schema, "MIGRATIONS", failing)
    with pytest.raises(ZeroDivisionError):
        Store(path).experiments()
    monkeypatch.undo()
    assert [record.name for record in Store(path).experiments()] == ["e"]
    with sqlite3.connect(path) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(experiments)")]
    connection.close()
    assert "note" not in columns


def test_a_store_of_a_newer_version_is_left_alone(store, path, monkeypatch):
    """What a newer twinrun made is neither read nor written, and the error says so."""
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, add_note))
        store.write(mismatches=[mismatch()])
    before = path.read_bytes()
    for use in (Store.experiments, lambda store: store.write(mismatches=[mismatch(1)])):
        with pytest.raises(StoreVersionError, match=r"has version 3.*up to version 2: upgrade"):
            use(Store(path))
    assert path.read_bytes() == before


# Experiments and tallies -------------------------------------------------------------------------


def test_experiments_are_listed_by_name_with_their_times(store):
    """First and last seen span everything that was recorded, as aware times in UTC."""
    later = NOON + datetime.timedelta(days=1)
    store.write([increment(Tally(experiments=1), at=later)], [mismatch()])
    store.write([increment(Tally(experiments=1), experiment="a")])
    a, e = store.experiments()
    assert (a.name, a.first_seen, a.last_seen) == ("a", NOON, NOON)
    assert (e.name, e.first_seen, e.last_seen) == ("e", NOON, later)
    assert e.first_seen.tzinfo is datetime.UTC


def test_a_tally_is_kept_by_minute_and_process(store, path):
    """Increments of one minute and process share a row; the sum is what was written."""
    minute = datetime.timedelta(minutes=1)
    for process, at in [("p", NOON), ("p", NOON), ("p", NOON + minute), ("q", NOON)]:
        store.write([increment(Tally(experiments=1, skipped={"sample": 2}), process, at)])
    assert store.tally("e") == Tally(experiments=4, skipped={"sample": 8})
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT minute, process FROM tallies").fetchall()
    connection.close()
    noon = int(NOON.timestamp()) // 60
    assert sorted(rows) == [(noon, "p"), (noon, "q"), (noon + 1, "p")]


def test_a_tally_can_begin_at_a_minute(store):
    """The minute that a moment falls into counts as a whole; the span tells what there is."""
    hour = datetime.timedelta(hours=1)
    increments = [
        TallyIncrement(
            experiment="e", process="p", recorded_at=NOON + n * hour, tally=Tally(experiments=10**n)
        )
        for n in range(3)
    ]
    store.write(increments)
    later = NOON + hour + datetime.timedelta(seconds=50)
    minutes = [(NOON + n * hour).replace(second=0, microsecond=0) for n in range(3)]
    assert store.tally("e").experiments == 111
    assert store.tally("e", since=later).experiments == 110
    assert store.span("e") == (minutes[0], minutes[2])
    assert store.span("e", since=later) == (minutes[1], minutes[2])
    assert store.span("e", since=NOON + 3 * hour) is None
    assert store.span("unknown") is None


def test_an_unknown_experiment_has_an_empty_tally_and_no_groups(store):
    """Asking for what is not there is no error."""
    assert store.tally("nobody") == Tally()
    assert store.groups("nobody") == []
    assert store.exemplars("nobody") == []


counts = st.dictionaries(st.sampled_from(["a", "b"]), st.integers(1, 5), max_size=2)
histograms = st.builds(Histogram.of, st.lists(st.floats(1e-6, 10), min_size=1, max_size=4))
tallies = st.builds(
    Tally,
    experiments=st.integers(0, 9),
    outcomes=st.dictionaries(
        st.just("new"), st.dictionaries(st.sampled_from(Outcome), st.integers(1, 5), min_size=1)
    ),
    skipped=counts,
    dropped=counts,
    durations=st.dictionaries(st.sampled_from(["control", "new"]), histograms, max_size=2),
)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(tallies, st.sampled_from("pq"), st.integers(0, 2)), max_size=6))
def test_any_split_of_a_tally_into_increments_adds_up_to_it(tmp_path_factory, parts):
    """However a tally is cut by writes, minutes and processes, the store gives its sum."""
    with Store(tmp_path_factory.mktemp("law") / "store.db") as store:
        for tally, process, minutes in parts:
            at = NOON + datetime.timedelta(minutes=minutes)
            store.write([increment(tally, process, at)])
        assert store.tally("e") == sum((tally for tally, _, _ in parts), start=Tally())


# Groups and exemplars ----------------------------------------------------------------------------


def test_a_group_tells_what_its_members_have_in_common(store):
    """A group record gives back the cause, the exact count, and the span of time."""
    values = {"control_exception": None, "candidate_exception": "builtins.KeyError"}
    store.write(mismatches=[mismatch(5, **values), mismatch(2, **values), mismatch(9, **values)])
    (group,) = store.groups("e")
    assert group.experiment == "e"
    assert group.fingerprint == "f00d"
    assert (group.candidate, group.outcome, group.reason) == ("new", "mismatched", None)
    assert (group.kinds, group.paths) == (("changed",), ("$.a[*]",))
    assert group.control_exception is None
    assert group.candidate_exception == "builtins.KeyError"
    assert (group.count, group.state) == (3, "new")
    assert group.first_seen == NOON + datetime.timedelta(seconds=2)
    assert group.last_seen == NOON + datetime.timedelta(seconds=9)


def test_groups_come_by_count_and_are_found_by_prefix(store):
    """The largest group comes first; a prefix finds groups of any experiment, literally."""
    store.write(mismatches=[mismatch(n, fingerprint="aa1") for n in range(2)])
    store.write(mismatches=[mismatch(n, fingerprint="aa2") for n in range(3)])
    store.write(mismatches=[mismatch(0, fingerprint="b", experiment="other")])
    assert [group.fingerprint for group in store.groups("e")] == ["aa2", "aa1"]
    assert [group.fingerprint for group in store.find_groups("aa")] == ["aa2", "aa1"]
    assert [group.experiment for group in store.find_groups("b")] == ["other"]
    assert store.find_groups("a_") == []
    assert store.find_groups("%") == []


def test_an_exemplar_gives_back_what_was_kept(store):
    """The payload and where it came from come back as they were."""
    hostile = payload(context={"text": "\udc80 \0 é", "number": 1.5, "none": None})
    store.write(mismatches=[mismatch(3, payload=hostile)])
    (exemplar,) = store.exemplars("f00d")
    assert exemplar.payload == hostile
    assert (exemplar.result_id, exemplar.sequence) == ("r3", 1)
    assert (exemplar.host, exemplar.pid, exemplar.release) == ("here", 7, "1.2")
    assert exemplar.recorded_at == NOON + datetime.timedelta(seconds=3)


def test_names_of_any_text_are_stored(store):
    """Lone surrogates and NUL, which databases refuse, are stored as escapes and found again."""
    name = "\ud800 e\0 'quoted\" ünï"
    changes = {"candidate": name, "reason": name, "release": name, "paths": (name,)}
    store.write(
        [increment(Tally(experiments=2), experiment=name)],
        [mismatch(experiment=name, **changes)],
    )
    assert store.tally(name) == Tally(experiments=2)
    assert store.groups(name)[0].count == 1
    assert store.experiments()[0].name == "\\ud800 e\\x00 'quoted\" ünï"


@pytest.mark.parametrize("batch", [3, 7, 100])
def test_exemplars_are_bounded_while_the_count_stays_exact(store, batch):
    """The first ten stay, ten of the later ones are kept; every member counts."""
    for start in range(0, 100, batch):
        store.write(mismatches=[mismatch(n) for n in range(start, min(start + batch, 100))])
    kept = [exemplar.sequence for exemplar in store.exemplars("f00d")]
    assert store.groups("e")[0].count == 100
    assert kept[:10] == list(range(1, 11))
    assert len(kept) == len(set(kept)) == 20
    assert all(e.result_id == f"r{e.sequence - 1}" for e in store.exemplars("f00d"))


def test_later_members_have_equal_chances():
    """The reservoir keeps each later member as often as any other (chi-squared test)."""
    later, trials = 30, 3000
    kept = Counter()
    for _ in range(trials):
        slots = {}
        for sequence in range(1, writing.FIRST_KEPT + later + 1):
            slot = writing._slot(sequence)
            if slot is not None:
                slots[slot] = sequence
        kept.update(sequence for slot, sequence in slots.items() if slot >= writing.FIRST_KEPT)
    expected = trials * writing.RESERVOIR / later
    # Each count is binomial; their sum is fixed, so later - 1 degrees of freedom remain.
    share = 1 - writing.RESERVOIR / later
    members = range(writing.FIRST_KEPT + 1, writing.FIRST_KEPT + later + 1)
    statistic = sum((kept[n] - expected) ** 2 / expected for n in members) / share
    assert statistic < 83  # P(chi-squared with 29 degrees of freedom > 83) < 1e-6


def test_a_result_seen_before_is_not_counted_twice(store):
    """A batch delivered again changes nothing, however few exemplars of it are kept."""
    batch = [mismatch(n) for n in range(1500)]
    store.write(mismatches=[*batch, *batch])
    store.write(mismatches=batch)
    assert store.groups("e")[0].count == 1500
    exemplars = store.exemplars("f00d")
    assert len(exemplars) == len({exemplar.result_id for exemplar in exemplars}) == 20


def test_only_the_newest_results_are_known_again(store, path, monkeypatch):
    """The store does not grow with the number of mismatches; an old one counts as new."""
    monkeypatch.setattr(writing, "RECENT", 5)
    for n in range(12):
        store.write(mismatches=[mismatch(n)])
    store.write(mismatches=[mismatch(n) for n in range(7, 12)])
    assert store.groups("e")[0].count == 12
    with sqlite3.connect(path) as connection:
        kept = [row[0] for row in connection.execute("SELECT result_id FROM recent_mismatches")]
    connection.close()
    assert kept == ["r7", "r8", "r9", "r10", "r11"]


def test_a_store_of_the_first_version_knows_its_exemplars_again(store, path):
    """What it kept in full is not counted twice after it was brought forward."""
    store.write(mismatches=[mismatch(n) for n in range(5)])
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE recent_mismatches")
        connection.execute("UPDATE schema_version SET version = 1")
    connection.close()
    store.write(mismatches=[mismatch(n) for n in range(3, 7)])
    assert store.groups("e")[0].count == 7


def test_one_result_may_be_in_several_groups(store):
    """Two candidates of one result count each in its own group."""
    store.write(mismatches=[mismatch(1, fingerprint="a"), mismatch(1, fingerprint="b")])
    assert [group.count for group in store.groups("e")] == [1, 1]


@pytest.mark.parametrize("part", ["context", "value", "differences"])
def test_a_payload_too_large_is_kept_without_its_values(store, part):
    """An exemplar has at most 64 KiB, keeps its shape, and says that it was cut."""
    huge = payload(id="huge")
    difference = {"path": "$", "kind": "changed", "control": "x" * 1000, "candidate": 2}
    if part == "context":
        huge["context"] = {"a": "x" * 70_000}
    elif part == "value":
        huge["candidate"]["value"] = ["x" * 70_000]
    else:
        huge["candidate"]["differences"] = [difference] * 1000
    store.write(mismatches=[mismatch(payload=huge)])
    (exemplar,) = store.exemplars("f00d")
    assert len(json.dumps(exemplar.payload)) < writing.PAYLOAD_LIMIT
    assert exemplar.payload.keys() == huge.keys()
    assert exemplar.payload["candidate"].keys() == huge["candidate"].keys()
    assert exemplar.payload["candidate"]["value"] == {"$cut": "size"}
    assert exemplar.payload["id"] == "huge"


def test_a_write_is_all_or_nothing(store):
    """What can't be written takes the whole batch with it, so that it can come again."""
    with pytest.raises(TypeError):
        store.write([increment(Tally(experiments=1))], [mismatch(payload={"no": object()})])
    assert store.experiments() == []
    store.write([increment(Tally(experiments=1))], [mismatch()])
    assert store.tally("e") == Tally(experiments=1)


def test_many_mismatches_at_once_are_counted(store):
    """More than one statement can take are written in one transaction."""
    store.write(mismatches=[mismatch(n, fingerprint=f"{n % 3}") for n in range(2500)])
    assert sorted(group.count for group in store.groups("e")) == [833, 833, 834]


# Processes ---------------------------------------------------------------------------------------


WRITER = """
    import datetime, sys
    from twinrun.store import Mismatch, Store, TallyIncrement
    from twinrun.tally import Tally

    path, process, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
    store = Store(path)
    print("ready", flush=True)
    sys.stdin.readline()
    for n in range(rounds):
        now = datetime.datetime.now(datetime.UTC)
        store.write(
            [TallyIncrement(experiment="e", process=process, recorded_at=now,
                            tally=Tally(experiments=3))],
            [Mismatch(experiment="e", candidate="new", fingerprint=fingerprint,
                      outcome="mismatched", result_id=f"{process} {n}", recorded_at=now,
                      payload={"n": n}, host="here", pid=1)
             for fingerprint in ("shared", process)],
        )
        print(n, flush=True)
"""


def writer(path, process, rounds):
    """Start a writing process that waits for a line."""
    command = [sys.executable, "-c", textwrap.dedent(WRITER), path, process, str(rounds)]
    started = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert started.stdout.readline() == "ready\n"
    return started


def test_two_processes_writing_at_once_lose_nothing(path):
    """Counts of two processes that make and write one file at the same time add up exactly."""
    writers = [writer(path, name, 40) for name in ("one", "two")]
    for process in writers:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in writers:
        process.communicate(timeout=60)
        assert process.returncode == 0
    with Store(path, create=False) as store:
        assert store.tally("e") == Tally(experiments=2 * 40 * 3)
        groups = {group.fingerprint: group.count for group in store.groups("e")}
        assert groups == {"shared": 80, "one": 40, "two": 40}
        assert len(store.exemplars("shared")) == 20


@pytest.mark.skipif(os.name != "posix", reason="kills by signal")
@pytest.mark.parametrize("after", [1, 7, 20])
def test_a_killed_writer_leaves_a_sound_store(path, after):
    """After kill -9 the database is whole and holds every write that had returned."""
    process = writer(path, "one", 1_000_000)
    process.stdin.write("go\n")
    for _ in range(after):
        process.stdout.readline()
    process.kill()
    printed = after + len(process.communicate(timeout=60)[0].split())
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    with Store(path, create=False) as store:
        (one, shared) = (store.find_groups(name)[0].count for name in ("one", "shared"))
        assert one == shared
        assert printed <= one <= printed + 1
        assert store.tally("e").experiments == 3 * one


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize("kind", ["path", "engine"])
def test_a_forked_child_writes_through_connections_of_its_own(path, kind):
    """Parent and child write to one file after a fork, and both are counted."""
    engine = sqlalchemy.create_engine(f"sqlite:///{path}") if kind == "engine" else None
    with Store(engine or path) as store:
        store.write(mismatches=[mismatch(0)])
        pid = os.fork()
        if pid == 0:
            store.write(mismatches=[mismatch(1)])
            os._exit(0)
        store.write(mismatches=[mismatch(2)])
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert store.groups("e")[0].count == 3
    if engine is not None:
        engine.dispose()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_fork_closes_the_connection_so_that_no_write_goes_into_a_removed_log(path):
    """SQLite would think the child holds the parent's locks, and the parent removes the log."""
    here, there = os.pipe(), os.pipe()
    store = Store(path)
    store.write(mismatches=[mismatch(0)])  # the connection stays open
    pid = os.fork()
    if pid == 0:
        own = Store(path)
        own.write(mismatches=[mismatch(1)])
        os.write(here[1], b".")
        os.read(there[0], 1)
        own.write(mismatches=[mismatch(2)])
        os._exit(0)
    os.read(here[0], 1)
    store.close()  # the last one to close, as far as SQLite can see, removes the log
    os.write(there[1], b".")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert store.groups("e")[0].count == 3
    store.close()
    for end in (*here, *there):
        os.close(end)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_forked_inside_a_transaction_is_told_that_the_store_is_none_for_it(path):
    """Nothing that it writes can be thrown away; the parent's transaction is unharmed."""
    with Store(path) as store:
        store.write(mismatches=[mismatch(0)])
        with store._writing():
            pid = os.fork()
            if pid == 0:
                try:
                    Store(path).write(mismatches=[mismatch(1)])
                except OSError as error:
                    os._exit(7 if "forked" in str(error) else 8)
                os._exit(9)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        store.write(mismatches=[mismatch(2)])
        assert store.groups("e")[0].count == 2

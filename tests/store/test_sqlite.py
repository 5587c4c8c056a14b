"""Facts about a store in an SQLite file: who may open it, who may not, and what a fork does."""

import os
import sqlite3
import stat

import pytest
import sqlalchemy

from evidence import mismatch, writer
from twinrun.errors import ConfigurationError
from twinrun.store import Store, StoreNotFoundError


@pytest.fixture
def store(path):
    """Give a store that is still to be made."""
    with Store(path) as store:
        yield store


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
    with store.reading() as connection:
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
@pytest.mark.parametrize("kind", ["path", "engine"])
def test_a_fork_closes_the_connection_so_that_no_write_goes_into_a_removed_log(path, kind):
    """SQLite would think the child holds the parent's locks, and the parent removes the log."""
    here, there = os.pipe(), os.pipe()
    with Store(path) as first:
        first.write(mismatches=[mismatch(0)])  # there is a log from here on
    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    store = Store(engine if kind == "engine" else path)
    store.write(mismatches=[mismatch(1)])  # the connection stays open
    pid = os.fork()
    if pid == 0:
        own = Store(path)
        own.write(mismatches=[mismatch(2)])
        os.write(here[1], b".")
        os.read(there[0], 1)
        own.write(mismatches=[mismatch(3)])
        os._exit(0)
    os.read(here[0], 1)
    store.close()  # the last one to close, as far as SQLite can see, removes the log
    engine.dispose()
    os.write(there[1], b".")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert store.groups("e")[0].count == 4
    store.close()
    engine.dispose()
    for end in (*here, *there):
        os.close(end)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_fork_leaves_an_engine_in_memory_what_it_has():
    """Closing its one connection would end its database."""
    engine = sqlalchemy.create_engine("sqlite://", poolclass=sqlalchemy.StaticPool)
    with Store(engine) as store:
        store.write(mismatches=[mismatch(0)])
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        assert store.groups("e")[0].count == 1
    engine.dispose()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_forked_inside_a_transaction_is_told_that_the_store_is_none_for_it(path):
    """Nothing that it writes can be thrown away; the parent's transaction is unharmed."""
    with Store(path) as store:
        store.write(mismatches=[mismatch(0)])
        with store.writing():
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

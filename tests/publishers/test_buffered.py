"""Facts about Buffered: what stands before any publisher, in memory or on disk."""

import contextlib
import datetime
import gc
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
import types
import weakref
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import twinrun
from twinrun._delivery.spooled import shared_out
from twinrun.delivery import Counts
from twinrun.errors import ConfigurationError
from twinrun.observation import Observation
from twinrun.publishers import (
    Buffered,
    MemoryPublisher,
    StorePublisher,
    StructlogPublisher,
)
from twinrun.result import Comparison, Outcome, Result
from twinrun.store import Store

LONG = 30.0
FOREVER = 3600.0
posix = pytest.mark.skipif(os.name != "posix", reason="a spool needs a POSIX system")


def result(number=0, value=None, name="quote"):
    """Give a result that is worth keeping."""
    control = Observation(name="control", value=number if value is None else value, duration_ns=1)
    candidate = Observation(name="candidate", value=None, duration_ns=1)
    return Result(
        id=f"r{number}",
        experiment=name,
        started_at=datetime.datetime(2024, 2, 29, tzinfo=datetime.UTC),
        context={},
        order=("control", "candidate"),
        control=control,
        candidates=(candidate,),
        comparisons=(Comparison(candidate, Outcome.MISMATCHED, fingerprint="f"),),
    )


class Ledger:
    """An experiment's account that hears of losses."""

    def __init__(self, name="quote"):
        self.name = name
        self.drops = Counter()

    def tally(self):
        """Have counted nothing."""
        return twinrun.Tally()

    def drop(self, reason, count=1):
        """Count what was dropped."""
        self.drops[reason] += count


class Sink:
    """A user's own sink: keeps the ids of results."""

    def __init__(self):
        self.delivered = []
        self.error = None
        self.poison = None

    def record(self, result):
        """Make a record, but of no result whose number is odd."""
        if int(result.id[1:]) % 2:
            return None
        return json.dumps({"experiment": result.experiment, "id": result.id}).encode()

    def deliver(self, records):
        """Take all or nothing."""
        ids = [json.loads(record)["id"] for record in records]
        if self.error is not None:
            raise self.error
        if self.poison in ids:
            raise ValueError(self.poison)
        self.delivered += ids


@pytest.fixture
def make():
    """Make buffered publishers; close them afterwards."""
    made = []

    def make(publisher, **options):
        options.setdefault("interval", FOREVER)
        made.append(Buffered(publisher, **options))
        return made[-1]

    yield make
    for buffered in made:
        buffered._delivery.close(1.0)


@pytest.fixture
def told(monkeypatch):
    """Collect what is told by `twinrun._logging.warn`."""
    heard = []
    module = types.ModuleType("twinrun._logging")
    module.warn = lambda event, **keys: heard.append((event, keys))
    monkeypatch.setitem(sys.modules, "twinrun._logging", module)
    return heard


# Any publisher -----------------------------------------------------------------------------------


def test_a_plain_callable_gets_the_results_on_another_thread(make):
    """In the order in which they were published."""
    seen = []
    buffered = make(lambda result: seen.append((threading.get_ident(), result)))
    for number in range(3):
        buffered.publish(result(number))
    assert buffered.flush(LONG)
    assert [(each.id, each.control.value) for _, each in seen] == [("r0", 0), ("r1", 1), ("r2", 2)]
    assert threading.get_ident() not in {thread for thread, _ in seen}
    assert buffered.counts == Counts(accepted=3, delivered=3)


class Value:
    """A value that pickles."""


def test_nothing_of_the_caller_is_kept_alive_while_results_wait(make):
    """What is queued is a copy of known size, however large what it was made of."""
    value = Value()
    value.payload = bytes(10_000)
    alive = weakref.ref(value)
    buffered = make(MemoryPublisher())
    buffered.publish(result(value=value))
    del value
    gc.collect()
    assert alive() is None
    assert buffered._delivery._waiting.size > 10_000
    assert buffered.flush(LONG)


def test_results_whose_values_do_not_pickle_arrive_too(make):
    """A placeholder stands for such a value."""
    memory = MemoryPublisher()
    buffered = make(memory)
    buffered.publish(result(value=threading.Lock()))
    assert buffered.flush(LONG)
    assert "lock" in memory.results[0].control.value.type


def test_a_publisher_is_flushed_and_closed_with_its_buffer(make):
    """Its own flush has its say in ours, and it hears of the experiments."""

    class Publisher:
        evidence_only = True

        def __init__(self):
            self.calls = []
            self.may_flush = False

        def publish(self, result):
            self.calls.append(result.id)

        def flush(self, timeout):
            self.calls.append("flush")
            return self.may_flush

        def watch(self, ledger):
            self.calls.append(ledger.name)

        def close(self):
            self.calls.append("close")

    publisher = Publisher()
    buffered = make(publisher, interval=0.01)
    assert buffered.evidence_only is True
    buffered.watch(Ledger())
    buffered.publish(result())
    assert not buffered.flush(0.1)
    publisher.may_flush = True
    assert buffered.flush(LONG)
    buffered.close()
    assert list(dict.fromkeys(publisher.calls)) == ["quote", "r0", "flush", "close"]


def test_a_result_that_one_publisher_always_refuses_holds_up_no_other(make, told):
    """It is set aside after three tries; what went through is not published twice."""
    seen = []

    def refuse(result):
        if result.id == "r2":
            raise ValueError("never")
        seen.append(result.id)

    buffered = make(refuse, interval=0.001)
    ledger = Ledger()
    buffered.watch(ledger)
    number = 0
    while not ledger.drops:
        buffered.publish(result(number))
        number += 1
        buffered.flush(0.01)
    buffered.flush(LONG)
    assert buffered.flush(LONG)
    assert ledger.drops == {"poison": 1}
    assert sorted(seen) == sorted(f"r{n}" for n in range(number) if n != 2)


@pytest.mark.parametrize(
    "error", [SystemExit(), KeyboardInterrupt(), GeneratorExit(), OSError(), RecursionError()]
)
def test_whatever_a_publisher_raises_stays_with_the_worker(make, told, error):
    """It comes again, and nothing reaches the caller."""
    seen = []

    def publish(result):
        seen.append(result.id)
        if len(seen) < 3:
            raise error

    buffered = make(publish, interval=0.001)
    buffered.publish(result())
    assert buffered.flush(LONG)
    assert seen == ["r0"] * 3


def test_a_stuck_publisher_costs_the_caller_nothing_and_memory_is_bounded(make):
    """What finds no room is counted, in the experiment's tally too."""
    stuck = threading.Event()
    buffered = make(lambda result: stuck.wait(LONG), capacity=10, max_bytes=1 << 20)
    slow = twinrun.Experiment("buffered.stuck", publishers=[buffered])
    for _ in range(50):
        assert slow.run(control=lambda: 1, candidate=lambda: 2) == 1
    assert twinrun.tallies()["buffered.stuck"].dropped == {"full": 40}
    assert buffered.counts == Counts(accepted=10, pending=10, dropped={"full": 40})
    start = time.monotonic()
    assert not buffered.flush(0.05)
    assert time.monotonic() - start < LONG / 3
    stuck.set()
    assert not buffered.counts.evicted


@pytest.mark.parametrize("given_", [StructlogPublisher(), MemoryPublisher(), print])
def test_publishers_of_every_kind_are_taken(make, given_):
    """A sink is not needed."""
    assert make(given_).evidence_only is getattr(given_, "evidence_only", False)


async def coroutine(result):
    """Be no plain callable."""


@pytest.mark.parametrize("wrong", [None, 3, "text", MemoryPublisher, coroutine])
def test_what_can_not_publish_is_refused(wrong):
    """The error says what is accepted."""
    with pytest.raises(ConfigurationError, match="plain callable of one Result"):
        Buffered(wrong)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"capacity": 0}, "capacity is a whole number"),
        ({"capacity": True}, "capacity is a whole number"),
        ({"max_bytes": 1.5}, "max_bytes is a whole number"),
        ({"batch": -1}, "batch is a whole number"),
        ({"interval": 0}, "interval is a number of seconds"),
        ({"interval": float("inf")}, "interval is a number of seconds"),
        ({"interval": "1"}, "interval is a number of seconds"),
        ({"spool": "somewhere"}, "which only a sink makes"),
    ],
)
def test_wrong_options_are_refused(options, text):
    """When it is made."""
    with pytest.raises(ConfigurationError, match=text):
        Buffered(print, **options)


def test_a_buffer_before_a_buffer_is_refused():
    """It would only hide what became of the results."""
    with pytest.raises(ConfigurationError, match="buffered already"):
        Buffered(Buffered(print))


# Sinks -------------------------------------------------------------------------------------------


def test_a_users_own_sink_makes_the_records(make):
    """What it makes nothing of is not handed over."""
    sink = Sink()
    buffered = make(sink)
    for number in range(5):
        buffered.publish(result(number))
    assert buffered.flush(LONG)
    assert sink.delivered == ["r0", "r2", "r4"]
    assert buffered.counts.handed_over == 3


def test_a_store_publisher_is_taken_over(make, tmp_path):
    """Its own queue never starts; mismatches and tallies go through the outer one."""
    path = tmp_path / "store.db"
    inner = StorePublisher(path)
    buffered = make(inner, capacity=500)
    experiment = twinrun.Experiment("buffered.store", publishers=[buffered])
    for n in range(20):
        experiment.run(control=lambda: 1, candidate=lambda n=n: 1 + n % 2)
    assert buffered.flush(LONG)
    assert inner.counts == Counts()
    assert inner._delivery._worker is None
    buffered.close()
    with Store(path, create=False) as store:
        assert store.groups("buffered.store")[0].count == 10
        assert store.tally("buffered.store") == twinrun.tallies()["buffered.store"]


@given(st.integers(0, 10**6), st.dictionaries(st.text(), st.integers(1, 10**6), min_size=1))
def test_a_number_is_shared_out_whole_and_by_weight(number, weights):
    """The parts add up, and each is the exact share or a neighbour of it."""
    shares = shared_out(number, weights)
    assert sum(shares.values()) == number
    for name, weight in weights.items():
        exact = number * weight / sum(weights.values())
        assert abs(shares.get(name, 0) - exact) <= len(weights)


# With a spool ------------------------------------------------------------------------------------


def files(directory):
    """Give the segments in a spool."""
    return sorted(Path(directory).glob("*.segment")) if Path(directory).exists() else []


@posix
def test_what_is_spooled_is_delivered_from_there_and_leaves_nothing(make, tmp_path):
    """Accepted means written; delivered means gone."""
    sink = Sink()
    buffered = make(sink, spool=tmp_path / "spool")
    assert not (tmp_path / "spool").exists()
    for number in range(0, 100, 2):
        buffered.publish(result(number))
    assert buffered.counts == Counts(accepted=50, spooled=50)
    assert b'"r98"' in b"".join(path.read_bytes() for path in files(tmp_path / "spool"))
    assert buffered.flush(LONG)
    assert sorted(sink.delivered) == sorted(f"r{n}" for n in range(0, 100, 2))
    assert buffered.counts == Counts(accepted=50, delivered=50)
    buffered.close()
    assert files(tmp_path / "spool") == []


@posix
def test_what_a_closed_buffer_could_not_deliver_is_delivered_by_the_next(make, tmp_path, told):
    """It stays on disk, and is no loss."""
    sink = Sink()
    sink.error = OSError("down")
    first = make(sink, spool=tmp_path / "spool")
    for number in range(0, 10, 2):
        first.publish(result(number))
    first._delivery.close(0.01)
    assert not first.flush(LONG)
    sink.error = None
    second = make(sink, spool=tmp_path / "spool")
    second.watch(Ledger())
    assert second.flush(LONG)
    assert sorted(sink.delivered) == ["r0", "r2", "r4", "r6", "r8"]
    assert second.counts == Counts(adopted=5, delivered=5)


@posix
def test_a_poisonous_record_is_put_aside_on_disk(make, tmp_path, told):
    """The others go through; it lies in `dead`, and its experiment's ledger says so."""
    sink = Sink()
    sink.poison = "r2"
    buffered = make(sink, spool=tmp_path / "spool", interval=0.001)
    ledger = Ledger()
    buffered.watch(ledger)
    number = 0
    while not ledger.drops:
        buffered.publish(result(number))
        number += 2
        buffered.flush(0.02)
    buffered.flush(LONG)
    assert buffered.flush(LONG)
    assert ledger.drops == {"poison": 1}
    assert sorted(sink.delivered) == sorted(f"r{n}" for n in range(0, number, 2) if n != 2)
    assert buffered.counts == Counts(
        accepted=number // 2, delivered=number // 2 - 1, evicted={"poison": 1}
    )
    dead = b"".join(path.read_bytes() for path in files(tmp_path / "spool" / "dead"))
    assert b'"r2"' in dead


@posix
def test_a_disk_that_refuses_costs_nothing_but_durability(make, tmp_path, told):
    """Records wait in memory meanwhile, and are written once it takes them, within two seconds."""
    place, sink = tmp_path / "spool", Sink()
    sink.error = OSError("down")
    buffered = make(sink, spool=place, interval=0.01)
    buffered.publish(result(0))
    shutil.rmtree(place)
    place.write_bytes(b"a file in its place")
    for number in range(2, 40, 2):
        buffered.publish(result(number))
    counts = buffered.counts
    assert counts.accepted == 20
    assert counts.pending == 19
    assert not buffered.flush(0.05)
    place.unlink()
    deadline = time.monotonic() + LONG
    while buffered.counts.pending:
        assert time.monotonic() < deadline, (buffered.counts, told)
        time.sleep(0.02)
    assert buffered.counts == Counts(accepted=20, spooled=19, evicted={"evicted": 1})
    sink.error = None
    assert not buffered.flush(LONG)  # the one in the directory that was removed
    assert buffered.flush(LONG)
    assert buffered.counts == Counts(accepted=20, delivered=19, evicted={"evicted": 1})
    events = [event for event, _ in told]
    assert events.index("spool.failed") < events.index("spool.recovered")


@posix
def test_without_room_on_disk_or_in_memory_drops_are_counted_exactly(make, tmp_path, told):
    """By the reason that the disk is to blame."""
    place, sink = tmp_path / "spool", Sink()
    buffered = make(sink, spool=place, capacity=5)
    ledger = Ledger()
    buffered._delivery._ledgers[ledger.name] = ledger
    place.write_bytes(b"a file in its place")
    for number in range(0, 40, 2):
        buffered.publish(result(number))
    assert buffered.counts == Counts(accepted=5, pending=5, dropped={"disk_full": 15})
    assert ledger.drops == {"disk_full": 15}


@posix
def test_the_oldest_are_evicted_whole_and_counted(make, tmp_path, told):
    """A sink that is down for long costs bounded room; each experiment bears its share."""
    from twinrun.spool import Spool

    sink = Sink()
    sink.error = OSError("down")
    buffered = make(sink, spool=tmp_path / "spool")
    spool = Spool(tmp_path / "spool", max_bytes=16384, segment_bytes=4096)
    delivery = buffered._delivery
    delivery._spool = spool
    delivery.after_fork()
    ledgers = [Ledger("a"), Ledger("b")]
    for ledger in ledgers:
        buffered.watch(ledger)
    for number in range(0, 4000, 2):
        buffered.publish(result(number, name="ab"[number % 4 // 2]))
    counts = buffered.counts
    assert counts.accepted == 2000 == counts.spooled + counts.evicted["evicted"]
    assert sum(path.stat().st_size for path in files(tmp_path / "spool")) <= 16384
    drops = [ledger.drops["evicted"] for ledger in ledgers]
    assert sum(drops) == counts.evicted["evicted"]
    assert abs(drops[0] - drops[1]) <= 20
    sink.error = None
    assert not buffered.flush(LONG)
    assert buffered.flush(LONG)
    assert len(sink.delivered) == counts.spooled


@posix
def test_a_forked_child_leaves_its_parents_records_alone(tmp_path):
    """Each process delivers what it has written itself, once."""
    done = program(
        """
        for number in range(100):
            mismatch(number)
        pid = os.fork()
        for number in range(50):
            mismatch(number if pid else -number)
        if pid:
            assert os.waitpid(pid, 0)[1] == 0
        """,
        tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    with Store(tmp_path / "store.db", create=False) as store:
        assert sum(group.count for group in store.groups("quote")) == 200
    assert files(tmp_path / "spool") == []


PROGRAM = """
    import os, signal, sys, threading, time
    import twinrun
    from twinrun.publishers import Buffered, StorePublisher

    store, spool = sys.argv[1], sys.argv[2]
    publisher = Buffered(StorePublisher(store), spool=spool, interval=float(sys.argv[3]))
    experiment = twinrun.Experiment("quote", publishers=[publisher])

    def mismatch(number):
        experiment.run(control=lambda: number, candidate=lambda: None, context={"n": number})
"""


def program(text, tmp_path, *, interval=FOREVER):
    """Run a program that publishes through a spool; give the ended process."""
    source = textwrap.dedent(PROGRAM) + textwrap.dedent(text)
    where = [str(tmp_path / "store.db"), str(tmp_path / "spool"), str(interval)]
    quiet = "ignore:This process:DeprecationWarning"  # of a fork beside threads
    command = [sys.executable, "-W", quiet, "-c", source, *where]
    return subprocess.run(command, capture_output=True, text=True, timeout=900)


@posix
@pytest.mark.parametrize("end", ["os._exit(7)", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_what_was_accepted_survives_any_end(tmp_path, end):
    """The next process that publishes there delivers it."""
    first = program(f"for n in range(300): mismatch(n)\n{end}", tmp_path)
    assert first.returncode in (7, -signal.SIGKILL)
    assert not (tmp_path / "store.db").exists()
    second = program("mismatch(300)", tmp_path)
    assert (second.returncode, second.stderr) == (0, "")
    with Store(tmp_path / "store.db", create=False) as store:
        assert sum(group.count for group in store.groups("quote")) == 301
    assert files(tmp_path / "spool") == []


KILLING = """
    import random

    trials, seed = TRIALS
    chance = random.Random(seed)
    acknowledged = {}
    warm = Buffered(StorePublisher(store + ".warm"), spool=spool + ".warm")
    twinrun.Experiment("warm", publishers=[warm]).run(control=lambda: 1, candidate=lambda: 2)
    warm.close()  # all is imported now
    for trial in range(trials):
        read, write = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(read)
            while True:
                experiment.run(control=lambda: 1, candidates={f"trial {trial}": lambda: 2})
                os.write(write, b".")
        os.close(write)
        acknowledged[f"trial {trial}"] = len(os.read(read, 1))
        time.sleep(chance.uniform(0, 0.05))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        while data := os.read(read, 65536):
            acknowledged[f"trial {trial}"] += len(data)
        os.close(read)

    mismatch(0)  # starts the delivery, which adopts what they left
    assert publisher.flush(60), publisher.counts
    from twinrun.store import Store
    stored = {group.candidate: group.count for group in Store(store).groups("quote")}
    for trial, accepted in acknowledged.items():
        assert accepted <= stored.get(trial, 0) <= accepted + 1, (seed, trial, accepted, stored)
    print(sum(acknowledged.values()))
"""


@posix
@pytest.mark.parametrize(
    "trials",
    [20, pytest.param(1000, marks=[pytest.mark.soak, pytest.mark.timeout(900)])],
)
def test_nothing_that_was_accepted_is_lost_to_kill_9_or_counted_twice(tmp_path, trials):
    """Wherever it strikes: while writing, delivering, storing, or forgetting what is stored."""
    seed = random.randrange(10**9)
    done = program(KILLING.replace("TRIALS", f"{trials}, {seed}"), tmp_path, interval=0.002)
    assert (done.returncode, done.stderr) == (0, ""), f"seed {seed}"
    assert int(done.stdout) >= trials
    with contextlib.closing(sqlite3.connect(tmp_path / "store.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_what_finds_no_room_is_not_even_made(make):
    """A storm of mismatches before a sink that is down costs next to nothing."""
    made = []

    class Choosy(Sink):
        def wants(self, result):
            return result.id != "r4"

        def record(self, result):
            made.append(result.id)
            return super().record(result)

    sink = Choosy()
    buffered = make(sink, capacity=2, batch=3)
    sink.error = OSError("down")
    for number in range(0, 12, 2):
        buffered.publish(result(number))
    assert made == ["r0", "r2"]
    assert buffered.counts == Counts(accepted=2, pending=2, dropped={"full": 3})

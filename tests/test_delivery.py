"""Facts about a delivery: what it keeps, what it drops, and that it says so."""

import _thread
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import types
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinrun import _forks
from twinrun.delivery import Counts, Delivery

LONG = 30.0
FOREVER = 3600.0
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


class Sink:
    """Takes batches of numbers, and fails or waits when told to."""

    def __init__(self):
        self.records = []
        self.batches = []
        self.error = None
        self.poison = set()
        self.attempts = 0
        self.entered = threading.Event()
        self.may_go = threading.Event()
        self.may_go.set()

    def record(self, result):
        """Make no records of results."""

    def deliver(self, batch):
        """Take a batch, or nothing of it."""
        self.attempts += 1
        self.entered.set()
        self.may_go.wait(LONG)
        numbers = [int(record) for record in batch]
        if self.error is not None:
            raise self.error
        if self.poison.intersection(numbers):
            raise ValueError("poison")
        self.batches.append(len(batch))
        self.records += numbers


class IdleSink(Sink):
    """Is called when there is time, too."""

    def __init__(self):
        super().__init__()
        self.calls = []
        self.idle_error = None

    def idle(self, ledgers):
        """Note who is watched, or fail."""
        self.calls.append([ledger.name for ledger in ledgers])
        if self.idle_error is not None:
            raise self.idle_error


class Ledger:
    """An experiment's account that hears of losses."""

    def __init__(self, name):
        self.name = name
        self.drops = Counter()

    def drop(self, reason, count=1):
        """Count what was dropped."""
        self.drops[reason] += count


def put(delivery, *numbers, experiment="e"):
    """Put numbers; give those that were accepted."""
    return [n for n in numbers if delivery.put(b"%d" % n, experiment)]


@pytest.fixture
def sink():
    """Give a sink that works."""
    return Sink()


@pytest.fixture
def make(sink):
    """Make deliveries to the sink; close them afterwards."""
    made = []

    def make(to=sink, **options):
        options.setdefault("interval", FOREVER)
        made.append(Delivery(to, name="sink", **options))
        return made[-1]

    yield make
    sink.error = None
    sink.may_go.set()
    for delivery in made:
        delivery.close(LONG)


@pytest.fixture
def told(monkeypatch):
    """Collect what is told by `twinrun._logging.warn`."""
    heard = []
    module = types.ModuleType("twinrun._logging")
    module.warn = lambda event, **keys: heard.append((event, keys))
    monkeypatch.setitem(sys.modules, "twinrun._logging", module)
    return heard


PRELUDE = """
    import atexit, os, signal, sys, threading, time, types
    from twinrun import delivery
    from twinrun._delivery import exits
    from twinrun.delivery import Delivery

    quiet = sys.modules["twinrun._logging"] = types.ModuleType("twinrun._logging")
    quiet.warn = lambda event, **keys: None

    class File:
        def record(self, result):
            return None
        def deliver(self, records):
            with open(sys.argv[1], "ab", buffering=0) as file:
                file.write(b"".join(record + b"\\n" for record in records))

    def put(n):
        return queue.put(str(n).encode(), "e")

    last = []  # what is done when the delivery has ended
    atexit.register(lambda: [do() for do in last])
    queue = Delivery(File(), name="file", interval=3600)
"""


def run(script, *arguments, check=True, dev=True):
    """Run a script in a fresh interpreter; give the ended process."""
    program = textwrap.dedent(PRELUDE) + textwrap.dedent(script)
    mode = ["-X", "dev"] if dev else []
    command = [sys.executable, *mode, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if check:
        assert done.returncode == 0, done.stderr
    return done


# Delivering --------------------------------------------------------------------------------------


def test_what_is_put_arrives_in_order(make, sink):
    """Records arrive in the order in which one thread put them."""
    delivery = make()
    assert len(put(delivery, *range(1000))) == 1000
    assert delivery.flush(LONG)
    assert sink.records == list(range(1000))
    assert delivery.counts == Counts(accepted=1000, delivered=1000)


def test_batches_are_bounded(make, sink):
    """No batch is larger than `batch`."""
    delivery = make(batch=7)
    put(delivery, *range(100))
    assert delivery.flush(LONG)
    assert max(sink.batches) <= 7
    assert sum(sink.batches) == 100


def test_a_full_batch_is_delivered_before_the_interval_is_over(make, sink):
    """A full batch wakes the worker by itself."""
    put(make(batch=5), *range(5))
    assert sink.entered.wait(LONG)


def test_many_bytes_are_delivered_before_the_interval_is_over(make, sink):
    """So does a quarter of the bytes that may wait, however few records that is."""
    make(max_bytes=100).put(b"1" * 26, "e")
    assert not sink.entered.is_set()
    make(max_bytes=100).put(b"1" * 24, "e")
    delivery = make(max_bytes=100)
    delivery.put(b"1" * 24, "e")
    delivery.put(b"1" * 24, "e")
    assert sink.entered.wait(LONG)


def test_records_go_out_after_the_interval_without_a_flush(make, sink):
    """A single record is delivered by itself when the interval is over."""
    put(make(interval=0.01), 1)
    assert sink.entered.wait(LONG)


def test_nothing_runs_before_the_first_record(make, monkeypatch):
    """Neither making nor flushing an unused delivery starts a thread; the first record does."""
    started = []
    start = _thread.start_new_thread

    def note(function, arguments):
        started.append(function)
        return start(function, arguments)

    monkeypatch.setattr(_thread, "start_new_thread", note)
    delivery = make()
    delivery.watch(Ledger("e"))
    assert delivery.flush(LONG)
    assert not started
    put(delivery, 1, 2)
    assert len(started) == 1


# Bounds ------------------------------------------------------------------------------------------


def test_the_newest_are_dropped_when_full_and_counted(make, sink):
    """What finds no room is refused and counted, for its experiment; what was accepted arrives."""
    sink.may_go.clear()
    delivery = make(capacity=10, batch=3)
    mine, others = Ledger("e"), Ledger("other")
    delivery.watch(mine)
    delivery.watch(others)
    accepted = put(delivery, *range(25))
    assert accepted == list(range(10))
    assert delivery.counts == Counts(accepted=10, pending=10, dropped={"full": 15})
    assert delivery.counts.handed_over == 25
    assert (mine.drops, others.drops) == ({"full": 15}, {})
    sink.may_go.set()
    assert delivery.flush(LONG)
    assert sink.records == accepted


def test_bytes_are_bounded_and_come_free_again(make, sink):
    """Records of any size share `max_bytes`; one that is larger never fits."""
    sink.may_go.clear()
    delivery = make(max_bytes=100, batch=1)
    sizes = [60, 50, 40, 1, 101]
    assert [delivery.put(b"7" * size, "e") for size in sizes] == [True, False, True, False, False]
    assert delivery.counts.dropped == {"bytes": 3}
    sink.may_go.set()
    assert delivery.flush(LONG)
    assert [delivery.put(b"7" * size, "e") for size in (101, 100)] == [False, True]


# Sinks that fail ---------------------------------------------------------------------------------


def test_a_failing_sink_loses_nothing_and_is_told_of_once(make, sink, told):
    """What failed is tried again; one warning until it works, one when it does."""
    sink.error = OSError("down")
    delivery = make(interval=0.001)
    put(delivery, 1)
    while sink.attempts < 4:
        sink.entered.clear()
        assert sink.entered.wait(LONG)
    assert not delivery.flush(0.01)
    sink.error = None
    assert delivery.flush(LONG)
    assert sink.records == [1]
    assert [event for event, _ in told] == ["delivery.failed", "delivery.recovered"]
    assert told[0][1] == {"sink": "sink", "error": "OSError: down"}
    sink.error = OSError("down again")
    put(delivery, 2)
    while len(told) < 3:
        assert not delivery.flush(0.01)
    sink.error = None
    assert delivery.flush(LONG)
    assert sink.records == [1, 2]


@pytest.mark.parametrize(
    "error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit(), BaseException()]
)
def test_the_worker_outlives_whatever_a_sink_raises(make, sink, told, error):
    """No exception ends the worker."""
    sink.error = error
    delivery = make(interval=0.001)
    put(delivery, 1)
    assert not delivery.flush(0.05)
    sink.error = None
    assert delivery.flush(LONG)
    assert sink.records == [1]


def test_a_sink_that_is_down_for_long_is_tried_ever_later(make, sink, told):
    """The pauses double up to a minute, each shortened by chance by up to a half."""
    sink.error = OSError("down")
    delivery = make()
    delivery._interval = 1.0
    put(delivery, 1)
    pauses = []
    for _ in range(8):
        delivery._round()
        pauses.append(delivery._pause())
    for expected, pause in zip([2, 4, 8, 16, 32, 60, 60, 60], pauses, strict=True):
        assert expected / 2 - 0.5 < pause <= expected
    assert len(set(pauses)) == 8


def test_what_a_sink_took_before_it_failed_does_not_come_again(make, sink, told):
    """Records that it removed from the front of its list are delivered."""
    seen = []

    def deliver(records):
        while records:
            if records[0] == b"3" and len(seen) < 6:
                seen.append(b"failed")
                raise OSError("the third one")
            seen.append(records.pop(0))

    sink.deliver = deliver
    delivery = make(interval=0.001)
    put(delivery, *range(6))
    assert delivery.flush(LONG)
    assert sorted(set(seen) - {b"failed"}) == [b"%d" % n for n in range(6)]
    assert len(seen) - seen.count(b"failed") == 6
    assert delivery.counts == Counts(accepted=6, delivered=6)


def test_a_record_that_always_fails_is_set_aside(make, sink, told):
    """After three tries, while others go through; counted as poison, told by one flush."""
    sink.poison = {5}
    delivery = make(interval=0.001)
    ledger = Ledger("e")
    delivery.watch(ledger)
    put(delivery, *range(10))
    number = 10
    while delivery.counts.evicted != {"poison": 1}:
        put(delivery, number)
        number += 1
        delivery.flush(0.05)
    delivery.flush(LONG)
    assert delivery.flush(LONG)
    assert sorted(sink.records) == [n for n in range(number) if n != 5]
    assert delivery.counts == Counts(accepted=number, delivered=number - 1, evicted={"poison": 1})
    assert ledger.drops == {"poison": 1}


def test_a_flush_in_which_a_record_was_set_aside_is_false(make, sink, told):
    """Not all that was put before has arrived; the next one is true."""
    sink.poison = {1}
    delivery = make(interval=0.001)
    answers = []
    put(delivery, 1)
    for number in range(2, 200):
        put(delivery, number)
        answers.append(delivery.flush(LONG if delivery.counts.evicted else 0.05))
        if delivery.counts.evicted and len(answers) > 1 and answers[-1]:
            break
    assert answers[-2:] == [False, True]


def test_a_sink_that_is_down_sets_nothing_aside(make, sink, told):
    """Where nothing goes through, no record is to blame, however often it fails."""
    sink.error = OSError("down")
    delivery = make(interval=0.0001)
    put(delivery, *range(20))
    while sink.attempts < 100:
        assert not delivery.flush(0.01)
    sink.error = None
    assert delivery.flush(LONG)
    assert sorted(sink.records) == list(range(20))
    assert delivery.counts.evicted == {}


# Flush and close ---------------------------------------------------------------------------------


def test_flush_keeps_its_time_and_tells_the_truth(make, sink):
    """A stuck sink makes `flush` False; later it is True, and all has arrived."""
    sink.may_go.clear()
    delivery = make()
    put(delivery, 1)
    assert not delivery.flush(0.01)
    assert not delivery.flush(-1)
    sink.may_go.set()
    assert delivery.flush(LONG)
    assert sink.records == [1]


def test_a_flush_from_within_the_sink_is_false_at_once(make, sink):
    """The worker can't wait for itself."""
    answers = []
    sink.deliver = lambda batch: answers.append(delivery.flush(LONG))
    delivery = make()
    put(delivery, 1)
    assert delivery.flush(LONG)
    assert answers == [False]


def test_idle_is_called_before_a_flush_is_done(make):
    """What `idle` does is part of what a flush waits for; it sees the ledgers."""
    sink = IdleSink()
    delivery = make(sink)
    delivery.watch(Ledger("a"))
    delivery.watch(Ledger("b"))
    put(delivery, 1)
    assert delivery.flush(LONG)
    assert sink.records == [1]
    assert sink.calls[-1] == ["a", "b"]


def test_a_failing_idle_makes_flush_false_but_delivers_nothing_twice(make, told):
    """Records that arrived stay delivered when `idle` fails after them."""
    sink = IdleSink()
    sink.idle_error = OSError("idle")
    delivery = make(sink, interval=0.001)
    put(delivery, 1)
    while not told:
        assert not delivery.flush(0.01)
    sink.idle_error = None
    assert delivery.flush(LONG)
    assert sink.records == [1]


def test_close_delivers_then_refuses_and_counts(make, sink):
    """After `close` nothing is taken, which is counted by that reason."""
    delivery = make()
    put(delivery, 1)
    delivery.close(LONG)
    assert sink.records == [1]
    assert not put(delivery, 2)
    assert delivery.counts == Counts(accepted=1, delivered=1, dropped={"closed": 1})
    delivery.close(LONG)
    assert delivery.flush(LONG)


def test_close_gives_up_what_is_left_and_says_so(make, sink, told):
    """What could not be delivered in time is counted, for each experiment; flush stays False."""
    sink.error = OSError("down")
    delivery = make()
    ledgers = Ledger("e"), Ledger("other")
    for ledger in ledgers:
        delivery.watch(ledger)
    put(delivery, 1, 2)
    put(delivery, 3, experiment="other")
    delivery.close(0.01)
    assert delivery.counts == Counts(accepted=3, evicted={"closed": 3})
    assert [ledger.drops for ledger in ledgers] == [{"closed": 2}, {"closed": 1}]
    assert not delivery.flush(LONG)


def test_a_ledger_that_raises_harms_nothing(make, sink):
    """Its account is its own."""

    class Broken(Ledger):
        def drop(self, reason, count=1):
            raise RuntimeError("broken")

    delivery = make(capacity=1, batch=5)
    delivery.watch(Broken("e"))
    assert put(delivery, 1, 2) == [1]
    assert delivery.counts.dropped == {"full": 1}


# Counting under stress ---------------------------------------------------------------------------


def test_eight_threads_lose_nothing_and_count_exactly(make, sink):
    """The counts add up under 8 threads that are switched all the time, and small bounds."""
    delivery = make(capacity=50, max_bytes=200, batch=10)
    ledger = Ledger("e")
    ledgers = [Ledger(f"e{k}") for k in range(8)]
    for ledger in ledgers:
        delivery.watch(ledger)
    accepted = []
    start = threading.Barrier(8)

    def work(k):
        start.wait()
        numbers = range(10_000 * k, 10_000 * k + 1500)
        accepted.extend(put(delivery, *numbers, experiment=f"e{k}"))

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert delivery.flush(LONG)
    finally:
        sys.setswitchinterval(before)
    assert sorted(sink.records) == sorted(accepted)
    counts = delivery.counts
    assert counts.handed_over == 12_000
    assert (counts.accepted, counts.delivered) == (len(accepted), len(accepted))
    told = sum((Counter(ledger.drops) for ledger in ledgers), Counter())
    assert told == counts.dropped
    assert delivery._waiting.size == 0


@given(st.lists(st.sampled_from(["put", "fail", "mend", "poison", "flush"]), max_size=30))
def test_the_counts_add_up_whatever_the_sink_does(steps):
    """handed over = accepted + dropped, accepted = delivered + evicted, for any history."""
    sink = Sink()
    delivery = Delivery(sink, name="sink", capacity=4, batch=2, interval=FOREVER)
    accepted = []
    number = 0
    for step in steps:
        if step in ("put", "poison"):
            if step == "poison":
                sink.poison.add(number)
            accepted += put(delivery, number)
            number += 1
        elif step == "flush":
            healthy = sink.error is None and not sink.poison
            pending = delivery.counts.pending
            done = delivery.flush(LONG if healthy else 0.002)
            if done:
                assert delivery.counts.pending == 0
            assert done or not healthy
            assert pending >= delivery.counts.pending
        else:
            sink.error = OSError("down") if step == "fail" else None
    healthy = sink.error is None and not sink.poison
    delivery.close(LONG if healthy else 0.002)
    counts = delivery.counts
    assert counts.handed_over == number
    assert counts.accepted == len(accepted)
    assert counts.accepted == counts.delivered + sum(counts.evicted.values())
    assert sorted(sink.records) == sorted(set(sink.records))
    assert len(sink.records) == counts.delivered
    assert set(sink.records) <= set(accepted) - sink.poison
    assert not healthy or counts.evicted == {}


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs interval timers")
def test_a_signal_handler_may_put_while_its_thread_puts(make, sink):
    """Putting from a handler that interrupts a `put` neither hangs nor loses anything."""
    delivery = make(batch=2, capacity=500)
    handled = []

    def handle(*_):
        handled.append(len(put(delivery, 1)))

    before = signal.signal(signal.SIGALRM, handle)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        tried = accepted = 0
        while len(handled) < 300:
            tried += 1
            accepted += len(put(delivery, 2))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert delivery.flush(LONG)
    assert len(sink.records) == accepted + sum(handled) == delivery.counts.accepted
    assert delivery.counts.handed_over == tried + len(handled)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs interval timers")
def test_a_signal_handler_that_raises_leaves_the_bounds_exact(make, sink):
    """Wherever it strikes within a `put`, bytes and records are counted together or not at all."""

    class Struck(Exception):
        pass

    def strike(*_):
        if armed:
            raise Struck

    delivery = make(capacity=100_000)
    struck, armed = 0, []
    before = signal.signal(signal.SIGALRM, strike)
    gc.disable()  # what is raised within a collection is lost
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        while struck < 200:
            try:
                armed.append(True)
                while True:
                    delivery.put(b"123", "e")
            except Struck:
                armed.clear()
                struck += 1
                if len(delivery._waiting) > 50_000:
                    assert delivery.flush(LONG)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        gc.enable()
    assert delivery.flush(LONG)
    assert (delivery._waiting.size, delivery.counts.pending) == (0, 0)
    assert delivery.counts.accepted == delivery.counts.delivered == len(sink.records)


def test_a_finalizer_may_put_while_its_thread_puts(make, sink):
    """A garbage collection in the middle of a `put` may put something itself."""
    delivery = make(capacity=100_000)

    class Finalized:
        def __init__(self):
            self.itself = self

        def __del__(self):
            put(delivery, 1)

    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(300):
            Finalized()
            put(delivery, 2)
    finally:
        gc.set_threshold(*before)
    gc.collect()
    assert delivery.flush(LONG)
    assert Counter(sink.records) == {1: 300, 2: 300}
    assert delivery.counts == Counts(accepted=600, delivered=600)


def test_without_threads_a_flush_delivers_by_itself(make, sink, monkeypatch):
    """Where no thread can be started, records wait for a flush in the caller's thread."""

    def refuse(*_):
        raise RuntimeError("can't start new thread")

    delivery = make()
    with monkeypatch.context() as patch:
        patch.setattr(_thread, "start_new_thread", refuse)
        assert put(delivery, 1, 2) == [1, 2]
        assert delivery.flush(LONG)
        assert sink.records == [1, 2]
        put(delivery, 3)
        sink.error = OSError("down")
        assert not delivery.flush(0.1)
        sink.error = KeyboardInterrupt()
        with pytest.raises(KeyboardInterrupt):
            delivery.flush(LONG)
    sink.error = None
    assert put(delivery, 4)
    assert delivery.flush(LONG)
    assert sorted(sink.records) == [1, 2, 3, 4]
    assert delivery._worker is not None


def test_a_full_queue_without_a_thread_asks_for_one_again(make, sink, monkeypatch):
    """What no thread could be had for is delivered by itself once there can be one."""

    def refuse(*_):
        raise RuntimeError("can't start new thread")

    delivery = make(capacity=1, batch=1)
    with monkeypatch.context() as patch:
        patch.setattr(_thread, "start_new_thread", refuse)
        put(delivery, 1)
    delivery._start_after = 0.0  # a second later
    put(delivery, 2)
    delivery._alarm()
    assert sink.entered.wait(LONG)
    assert delivery.counts.dropped == {"full": 1}


# Forks -------------------------------------------------------------------------------------------


FORKING = """
    parent = os.getpid()
    for n in range(5):
        put(f"{parent} before {n}")
    if os.fork() == 0:
        assert queue.counts == delivery.Counts()
        USE
        sys.exit(0)
    os.wait()
    put(f"{parent} after")
    print(parent)
"""


@forks
@pytest.mark.parametrize("uses", [False, True])
def test_a_forked_child_delivers_only_its_own(tmp_path, uses):
    """Records pending at a fork are delivered by the parent once, and never by the child."""
    path = tmp_path / "delivered"
    use = "put(f'{os.getpid()} child')" if uses else "pass"
    parent = run(FORKING.replace("USE", use), path).stdout.strip()
    lines = path.read_text().splitlines()
    mine = [line for line in lines if line.startswith(parent)]
    assert mine == [f"{parent} before {n}" for n in range(5)] + [f"{parent} after"]
    assert [line.split()[1] for line in lines if line not in mine] == (["child"] if uses else [])


STORM = """
    quiet = Delivery(File(), name="file", interval=3600, batch=50)
    queue = quiet
    stop = threading.Event()
    put_by_threads = [0, 0, 0]

    def work(k):
        while not stop.is_set():
            put_by_threads[k] += put(f"{os.getpid()} thread")
            time.sleep(0.0002)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(3)]
    for thread in threads:
        thread.start()
    children = 0
    for n in range(int(sys.argv[2])):
        pid = os.fork()
        if pid == 0:
            ok = put(f"child {n}") and queue.flush(30) and queue.counts.accepted == 1
            os._exit(0 if ok else 1)
        children += os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    stop.set()
    for thread in threads:
        thread.join()
    assert queue.flush(30)
    print(children, sum(put_by_threads))
"""


@forks
@pytest.mark.parametrize("forked", [100, pytest.param(1000, marks=pytest.mark.soak)])
def test_children_forked_under_load_work_and_nothing_is_doubled(tmp_path, forked):
    """However busy the parent's threads are, each child delivers its own record, and only that."""
    path = tmp_path / "delivered"
    children, put_by_threads = map(int, run(STORM, path, forked, dev=False).stdout.split())
    assert children == forked
    kinds = Counter(line.split()[0] == "child" for line in path.read_text().splitlines())
    assert kinds == {True: forked, False: put_by_threads}
    lines = [line for line in path.read_text().splitlines() if line.startswith("child")]
    assert len(set(lines)) == forked


@forks
def test_a_sink_that_forks_leaves_one_worker_in_each_process(tmp_path):
    """The worker's twin in the child ends; what the child puts is delivered by its own."""
    path = tmp_path / "delivered"
    run(
        """
        parent = os.getpid()

        class Forking(File):
            def deliver(self, records):
                pid = os.getpid() == parent and os.fork()
                if pid is False:
                    return super().deliver(records)
                if pid:
                    assert os.waitpid(pid, 0)[1] == 0
                    return super().deliver(records)
                put("child")
                os._exit(0 if queue.flush(30) else 1)

        queue = Delivery(Forking(), name="forking", interval=3600)
        put("parent")
        assert queue.flush(30)
        """,
        path,
    )
    assert path.read_text().splitlines() == ["child", "parent"]


# Exits -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["pass", "sys.exit(0)", "os.kill(os.getpid(), 2)", "1 / 0"])
def test_an_exit_delivers_what_is_queued(tmp_path, end):
    """Without a flush, every normal way to end delivers everything."""
    path = tmp_path / "delivered"
    run(f"for n in range(500): put(n)\n{end}", path, check=False)
    assert path.read_text().splitlines() == [str(n) for n in range(500)]


@pytest.mark.parametrize("deliver", ["time.sleep(3600)", "1 / 0", "sys.exit()"])
def test_an_exit_gives_a_dead_sink_its_time_then_counts_and_is_silent(deliver):
    """A stuck or broken sink holds up the exit for a bounded time, and nothing is printed."""
    script = """
        exits.EXIT_SECONDS = 0.2
        last.append(lambda: print(dict(queue.counts.evicted)))
        queue._sink.deliver = lambda records: DELIVER
        queue = Delivery(queue._sink, name="dead", interval=3600)
        for n in range(5):
            put(n)
    """
    done = run(script.replace("DELIVER", deliver))
    assert done.stdout == "{'exit': 5}\n"
    assert done.stderr == ""


def test_all_deliveries_of_a_process_share_the_time():
    """However many sinks are stuck, an exit takes two seconds once."""
    done = run(
        """
        exits.EXIT_SECONDS = 0.3
        start = time.monotonic()
        last.append(lambda: print(time.monotonic() - start))
        stuck = types.SimpleNamespace(record=None, deliver=lambda records: time.sleep(3600))
        for n in range(20):
            queue = Delivery(stuck, name="dead", interval=3600)
            put(n)
        """
    )
    assert 0.25 < float(done.stdout) < 3
    assert done.stderr == ""


def test_what_must_be_drained_before_is_drained_first(tmp_path):
    """Hooks run before the deliveries are asked, with the same deadline, whatever they raise."""
    path = tmp_path / "delivered"
    run(
        """
        def late(deadline):
            assert 0 < deadline - time.monotonic() <= 2
            put("late")
            raise RuntimeError("broken")

        delivery.before_exit(late)
        delivery.before_exit(late)
        put("early")
        """,
        path,
    )
    assert path.read_text().splitlines() == ["early", "late"]


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.parametrize("handler", ["default_int_handler", "raise_exit"])
def test_a_second_signal_ends_an_exit_at_once_and_silently(handler):
    """Whoever interrupts the exit gets no traceback of ours, and what is left is counted."""
    done = run(
        """
        def raise_exit(*_):
            sys.exit(3)

        class Stuck(File):
            def deliver(self, records):
                os.kill(os.getpid(), signal.SIGUSR1)
                time.sleep(3600)

        signal.signal(signal.SIGUSR1, globals().get("HANDLER") or signal.HANDLER)
        exits.EXIT_SECONDS = 3600
        last.append(lambda: print(dict(queue.counts.evicted)))
        queue = Delivery(Stuck(), name="stuck", interval=3600)
        put(1)
        """.replace("HANDLER", handler).replace("signal.raise_exit", "None")
    )
    assert done.stdout == "{'exit': 1}\n"
    assert done.stderr == ""


def test_what_is_put_when_threads_can_no_more_be_started_is_delivered(tmp_path):
    """Python 3.12 refuses new threads at the end: the exit delivers by itself."""
    path = tmp_path / "delivered"
    run("delivery.before_exit(lambda deadline: put('last'))", path)
    assert path.read_text().splitlines() == ["last"]


@pytest.mark.parametrize("forks", ["False", "hasattr(os, 'fork') and os.fork() == 0"])
def test_exit_handlers_of_the_application_may_still_put(tmp_path, forks):
    """Those that were registered after the delivery was made run before it ends."""
    path = tmp_path / "delivered"
    run(
        f"""
        parent = os.getpid()
        atexit.register(lambda: put("parent" if os.getpid() == parent else "child"))
        if {forks}:
            sys.exit(0)
        """,
        path,
    )
    deadline = time.monotonic() + LONG
    while len(path.read_text().splitlines()) < 1 + (forks != "False" and hasattr(os, "fork")):
        assert time.monotonic() < deadline
    assert set(path.read_text().splitlines()) <= {"parent", "child"}


PROGRAM = """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
from twinrun.delivery import Delivery

class File:
    def record(self, result):
        return None
    def deliver(self, records):
        with open(sys.argv[1], "ab", buffering=0) as file:
            file.write(b"".join(record + b"\\n" for record in records))

delivery = Delivery(File(), name="file", interval=3600)

def work(path):
    sys.argv[1:] = [path]
    for n in range(3):
        delivery.put(b"%d" % n, "e")

if __name__ == "__main__":
    delivery.put(b"parent", "e")
    context = multiprocessing.get_context(sys.argv[2])
    if sys.argv[3] == "process":
        child = context.Process(target=work, args=(sys.argv[1],))
        child.start()
        child.join()
        sys.exit(child.exitcode)
    elif sys.argv[3] == "pool":
        pool = context.Pool(1)
        pool.map(work, [sys.argv[1]])
        pool.close()
        pool.join()
    else:
        with ProcessPoolExecutor(1, mp_context=context) as executor:
            executor.submit(work, sys.argv[1]).result()
"""


@forks
@pytest.mark.parametrize("kind", ["process", "pool", "executor"])
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_multiprocessing_child_delivers_at_its_end(tmp_path, method, kind):
    """A child of multiprocessing, which may skip atexit, delivers what it has queued."""
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    path = tmp_path / "delivered"
    command = [sys.executable, script, path, method, kind]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert path.read_text().splitlines() == ["0", "1", "2", "parent"]


@forks
def test_objects_hear_of_a_fork_only_while_they_live():
    """`after_fork` is called in the child, once, and not on what is gone."""

    class Heard:
        count = 0

        def after_fork(self):
            Heard.count += 1

    kept = _forks.after_fork_in_child(Heard())
    _forks.after_fork_in_child(Heard())
    pid = os.fork()
    if pid == 0:
        os._exit(Heard.count)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    assert isinstance(kept, Heard)
    assert Heard.count == 0

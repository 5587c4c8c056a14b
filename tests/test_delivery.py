"""Facts about the delivery queue: what it keeps, what it drops, and that it says so."""

import _thread
import itertools
import os
import signal
import subprocess
import sys
import textwrap
import threading
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinrun import _forks
from twinrun.delivery import Delivery

LONG = 30.0
FOREVER = 3600.0
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


class Sink:
    """Takes batches, and fails or waits when told to."""

    def __init__(self):
        self.records = []
        self.batches = []
        self.error = None
        self.attempts = 0
        self.entered = threading.Event()
        self.may_go = threading.Event()
        self.may_go.set()

    def __call__(self, batch):
        """Take a batch."""
        self.attempts += 1
        self.entered.set()
        self.may_go.wait(LONG)
        if self.error is not None:
            raise self.error
        self.batches.append(len(batch))
        self.records += batch


@pytest.fixture
def sink():
    """Give a sink that works."""
    return Sink()


@pytest.fixture
def make(sink):
    """Make deliveries to the sink; close them afterwards."""
    made = []

    def make(deliver=sink, **options):
        options.setdefault("interval", FOREVER)
        made.append(Delivery(deliver, **options))
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


def run(script, *arguments, check=True):
    """Run a script in a fresh interpreter; give what it printed."""
    command = [sys.executable, "-X", "dev", "-c", textwrap.dedent(script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if check:
        assert done.returncode == 0, done.stderr
    return done


def test_what_is_put_arrives_in_order(make, sink):
    """Records arrive in the order in which one thread put them."""
    delivery = make()
    assert all(delivery.put(n) for n in range(1000))
    assert delivery.flush(LONG)
    assert sink.records == list(range(1000))
    assert delivery.pending == 0
    assert delivery.dropped == {}


def test_batches_are_bounded(make, sink):
    """No batch is larger than `batch`."""
    delivery = make(batch=7)
    for n in range(100):
        delivery.put(n)
    assert delivery.flush(LONG)
    assert max(sink.batches) <= 7
    assert sum(sink.batches) == 100


def test_a_full_batch_is_delivered_before_the_interval_is_over(make, sink):
    """A full batch wakes the worker by itself."""
    delivery = make(batch=5)
    for n in range(5):
        delivery.put(n)
    assert sink.entered.wait(LONG)


def test_records_go_out_after_the_interval_without_a_flush(make, sink):
    """A single record is delivered by itself when the interval is over."""
    make(interval=0.01).put(1)
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
    assert delivery.flush(LONG)
    assert not started
    delivery.put(1)
    delivery.put(2)
    assert len(started) == 1


def test_the_newest_are_dropped_when_full_and_counted(make, sink):
    """What finds no room is refused and counted; what was accepted arrives."""
    sink.may_go.clear()
    delivery = make(capacity=10, batch=3)
    accepted = [n for n in range(25) if delivery.put(n)]
    assert accepted == list(range(10))
    assert delivery.dropped == {"full": 15}
    sink.may_go.set()
    assert delivery.flush(LONG)
    assert sink.records == accepted


def test_a_failing_sink_loses_nothing_and_is_told_of_once(make, sink, told):
    """The batch is kept and tried again; one warning until it has worked again."""
    sink.error = OSError("down")
    delivery = make(interval=0.001)
    delivery.put(1)
    while sink.attempts < 4:
        sink.entered.clear()
        assert sink.entered.wait(LONG)
    sink.error = None
    assert delivery.flush(LONG)
    assert sink.records == [1]
    assert [event for event, _ in told] == ["delivery.failed"]
    assert told[0][1]["error"] == "OSError: down"
    sink.error = OSError("down again")
    delivery.put(2)
    while len(told) < 2:
        assert not delivery.flush(0.01)
    sink.error = None
    assert delivery.flush(LONG)
    assert sink.records == [1, 2]


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit()])
def test_the_worker_outlives_whatever_a_sink_raises(make, sink, told, error):
    """No exception ends the worker."""
    sink.error = error
    delivery = make(interval=0.001)
    delivery.put(1)
    assert not delivery.flush(0.05)
    sink.error = None
    assert delivery.flush(LONG)
    assert sink.records == [1]


def test_flush_keeps_its_time_and_tells_the_truth(make, sink):
    """A stuck sink makes `flush` False; later it is True, and all has arrived."""
    sink.may_go.clear()
    delivery = make()
    delivery.put(1)
    assert not delivery.flush(0.01)
    assert not delivery.flush(-1)
    sink.may_go.set()
    assert delivery.flush(LONG)
    assert sink.records == [1]


def test_a_flush_from_within_the_sink_is_false_at_once(make):
    """The worker can't wait for itself."""
    answers = []
    delivery = make(lambda batch: answers.append(delivery.flush(LONG)))
    delivery.put(1)
    assert delivery.flush(LONG)
    assert answers == [False]


def test_idle_is_called_before_a_flush_is_done(make):
    """What `idle` does is part of what a flush waits for."""
    calls = []
    delivery = make(lambda batch: calls.append(batch), idle=lambda: calls.append("idle"))
    delivery.put(1)
    assert delivery.flush(LONG)
    assert calls == [[1], "idle"]


def test_a_failing_idle_makes_flush_false_but_delivers_nothing_twice(make, sink, told):
    """Records that arrived stay delivered when `idle` fails after them."""
    errors = [OSError("idle")]

    def idle():
        if errors:
            raise errors[0]

    delivery = make(idle=idle, interval=0.001)
    delivery.put(1)
    while not told:
        assert not delivery.flush(0.01)
    errors.clear()
    assert delivery.flush(LONG)
    assert sink.records == [1]


def test_close_delivers_then_refuses_and_counts(make, sink):
    """After `close` nothing is taken, which is counted by that reason."""
    delivery = make()
    delivery.put(1)
    delivery.close(LONG)
    assert sink.records == [1]
    assert not delivery.put(2)
    assert delivery.dropped == {"closed": 1}
    delivery.close(LONG)
    assert delivery.closed == "closed"


def test_close_gives_up_what_is_left_and_says_so(make, sink, told):
    """What could not be delivered in time is counted and handed back by `lost`."""
    sink.error = OSError("down")
    lost = []
    delivery = make(lost=lambda reason, records: lost.append((reason, records)))
    delivery.put(1)
    delivery.put(2)
    delivery.close(0.01)
    assert lost == [("closed", [1, 2])]
    assert delivery.dropped == {"closed": 2}
    assert delivery.pending == 0
    assert not delivery.flush(LONG)


def test_eight_threads_lose_nothing_and_count_exactly(make, sink):
    """accepted = delivered; put = accepted + dropped, under 8 threads and a small queue."""
    delivery = make(capacity=50, batch=10)
    accepted = []
    start = threading.Barrier(8)

    def work(base):
        start.wait()
        accepted.extend([base + n for n in range(2000) if delivery.put(base + n)])

    threads = [threading.Thread(target=work, args=(k * 10_000,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert delivery.flush(LONG)
    assert sorted(sink.records) == sorted(accepted)
    assert len(accepted) + delivery.dropped.get("full", 0) == 16_000


@given(st.lists(st.sampled_from(["put", "fail", "mend", "flush"]), max_size=30))
def test_the_counts_add_up_whatever_the_sink_does(steps):
    """handed over = accepted + dropped, accepted = delivered + given up, for any history."""
    sink = Sink()
    delivery = Delivery(sink, capacity=4, batch=2, interval=FOREVER)
    accepted, numbers = [], itertools.count()
    for step in steps:
        if step == "put":
            number = next(numbers)
            if delivery.put(number):
                accepted.append(number)
        elif step == "flush":
            assert delivery.flush(0.002 if sink.error else LONG) is not bool(
                sink.error and delivery.pending
            )
        else:
            sink.error = OSError("down") if step == "fail" else None
    delivery.close(0.002 if sink.error else LONG)
    given_up = delivery.dropped.get("closed", 0)
    assert len(sink.records) + given_up == len(accepted)
    assert sink.records == accepted[: len(sink.records)]
    assert next(numbers) == len(accepted) + delivery.dropped.get("full", 0)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs interval timers")
def test_a_signal_handler_may_put_while_its_thread_puts(make, sink):
    """Putting from a handler that interrupts a `put` neither hangs nor loses anything."""
    delivery = make(batch=2)
    handled = []

    def handle(*_):
        if delivery.put("handler"):
            handled.append(1)

    before = signal.signal(signal.SIGALRM, handle)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
        accepted = 0
        while len(handled) < 50:
            accepted += delivery.put("main")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert delivery.flush(LONG)
    assert sink.records.count("handler") == len(handled)
    assert sink.records.count("main") == accepted


def test_without_threads_a_flush_does_the_work_itself(make, sink, monkeypatch):
    """Where no thread can be started, records wait for a flush in the caller's thread."""

    def refuse(*_):
        raise RuntimeError("can't start new thread")

    delivery = make()
    with monkeypatch.context() as patch:
        patch.setattr(_thread, "start_new_thread", refuse)
        assert delivery.put(1)
        assert delivery.put(2)
        assert delivery.flush(LONG)
        assert sink.records == [1, 2]
    assert delivery.put(3)
    assert delivery.flush(LONG)
    assert sink.records == [1, 2, 3]


FORKING = """
    import os, sys
    from twinrun.delivery import Delivery

    def deliver(batch):
        with open(sys.argv[1], "a") as file:
            file.writelines(f"{os.getpid() == parent} {record}\\n" for record in batch)

    parent = os.getpid()
    delivery = Delivery(deliver, interval=3600)
    for n in range(5):
        delivery.put(f"before {n}")
    if os.fork() == 0:
        assert delivery.pending == 0
        USE
        sys.exit(0)
    os.wait()
    delivery.put("after")
"""


@forks
@pytest.mark.parametrize("uses", [False, True])
def test_a_forked_child_delivers_only_its_own(tmp_path, uses):
    """Records pending at a fork are delivered by the parent once, and never by the child."""
    path = tmp_path / "delivered"
    run(FORKING.replace("USE", "delivery.put('child')" if uses else "pass"), path)
    lines = sorted(path.read_text().splitlines())
    parents = ["True after", *(f"True before {n}" for n in range(5))]
    assert lines == (["False child"] if uses else []) + parents


@forks
def test_a_fork_while_other_threads_put_leaves_a_working_child(make):
    """No lock of the parent's threads is left behind in a child."""
    delivery = make(lambda batch: None, batch=1)
    stop = threading.Event()

    def work():
        while not stop.is_set():
            delivery.put(1)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(20):
            pid = os.fork()
            if pid == 0:
                delivery.put(2)
                os._exit(0 if delivery.flush(LONG) else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()


EXITING = """
    import os, sys, time
    from twinrun.delivery import Delivery

    def deliver(batch):
        with open(sys.argv[1], "a") as file:
            file.writelines(f"{record}\\n" for record in batch)

    delivery = Delivery(deliver, interval=3600)
    for n in range(500):
        delivery.put(n)
    END
"""


@pytest.mark.parametrize("end", ["pass", "sys.exit(0)", "os.kill(os.getpid(), 2)", "1 / 0"])
def test_an_exit_delivers_what_is_queued(tmp_path, end):
    """Without a flush, every normal way to end delivers everything."""
    path = tmp_path / "delivered"
    run(EXITING.replace("END", end), path, check=False)
    assert path.read_text().splitlines() == [str(n) for n in range(500)]


@pytest.mark.parametrize("deliver", ["lambda batch: time.sleep(3600)", "lambda batch: 1 / 0"])
def test_an_exit_gives_a_dead_sink_its_time_then_counts_and_is_silent(deliver):
    """A stuck or broken sink holds up the exit for a bounded time, and nothing is printed."""
    script = """
        import atexit, time, sys, types
        sys.modules["twinrun._logging"] = types.ModuleType("twinrun._logging")
        sys.modules["twinrun._logging"].warn = lambda event, **keys: None
        from twinrun import delivery
        from twinrun.delivery import Delivery

        delivery.EXIT_SECONDS = 0.2
        atexit.register(lambda: print(dict(queue.dropped)))
        queue = Delivery(DELIVER, interval=3600)
        for n in range(5):
            queue.put(n)
    """
    done = run(script.replace("DELIVER", deliver))
    assert done.stdout == "{'exit': 5}\n"
    assert done.stderr == ""


@forks
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_multiprocessing_child_delivers_at_its_end(tmp_path, method):
    """A child of multiprocessing, which skips atexit, delivers what it has queued."""
    script = tmp_path / "program.py"
    script.write_text(
        textwrap.dedent(
            """
            import multiprocessing, sys
            from twinrun.delivery import Delivery

            def deliver(batch):
                with open(sys.argv[1], "a") as file:
                    file.writelines(f"{record}\\n" for record in batch)

            delivery = Delivery(deliver, interval=3600)

            def work():
                for n in range(3):
                    delivery.put(n)

            if __name__ == "__main__":
                delivery.put("parent")
                context = multiprocessing.get_context(sys.argv[2])
                child = context.Process(target=work)
                child.start()
                child.join()
                sys.exit(child.exitcode)
            """
        )
    )
    path = tmp_path / "delivered"
    command = [sys.executable, script, path, method]
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

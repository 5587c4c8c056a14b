"""Every run is counted once, by whatever way it ran, in every thread and process."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinrun import Experiment, Outcome, Tally, configure, experiment, tallies
from twinrun._accounts import BATCH, Account, Ticker, account_of
from twinrun.tally import CONTROL_FIRST


@pytest.fixture
def fast_switching() -> Iterator[None]:
    """Let threads switch after every few steps."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def in_threads(function: Any, many: int = 8) -> None:
    """Call a function in several threads at once, and wait for them."""
    threads = [threading.Thread(target=function, args=(i,)) for i in range(many)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def total(counts: Any) -> int:
    """Add up the durations of a histogram."""
    return sum(counts.counts.values()) + counts.zero


def test_no_run_is_lost_between_threads(fast_switching: None) -> None:
    """Matches, mismatches, errors and skips of eight threads add up while another reads."""
    asked = threading.local()

    def wanted(x: int) -> bool:
        return x % 5 != 4

    def candidate(x: int) -> int:
        if x % 5 == 2:
            raise ValueError
        return x + (x % 5 == 1)

    thorough = experiment("accounts.thorough", candidate=candidate, run_if=wanted, publishers=())(
        lambda x: x
    )
    quick = experiment("accounts.quick", candidate=candidate, publishers=())(lambda x: x)
    alone = experiment("accounts.alone", candidate=candidate, enabled=False)(lambda x: x)
    over, readings = threading.Event(), list[Tally]()

    def read() -> None:
        while not over.is_set():
            readings.append(tallies()["accounts.quick"])

    def work(_: int) -> None:
        asked.here = True
        for x in range(500):
            thorough(x)
            quick(x)
            alone(x)

    reader = threading.Thread(target=read)
    reader.start()
    in_threads(work)
    over.set()
    reader.join()
    tally = tallies()["accounts.thorough"]
    assert (tally.runs, tally.experiments, dict(tally.skipped)) == (4000, 3200, {"run_if": 800})
    assert tally.outcomes["candidate"] == {Outcome.MATCHED: 1600, Outcome.MISMATCHED: 1600}
    tally = tallies()["accounts.quick"]
    assert (tally.runs, tally.experiments, dict(tally.skipped)) == (4000, 4000, {})
    assert tally.outcomes["candidate"] == {Outcome.MATCHED: 2400, Outcome.MISMATCHED: 1600}
    assert dict(tally.candidate_errors) == {"candidate": 800}
    assert total(tally.durations["control"]) == total(tally.durations["candidate"]) == 4000
    assert sum(map(total, tally.ratios["candidate"].values())) == 4000
    assert dict(tallies()["accounts.alone"].skipped) == {"enabled": 4000}
    runs = [reading.runs for reading in readings]
    assert runs == sorted(runs)


def test_no_step_of_a_ticker_is_lost_between_threads(fast_switching: None) -> None:
    """However often it is read meanwhile."""
    ticker, over, taken = Ticker(), threading.Event(), list[int]()

    def read() -> None:
        while not over.is_set():
            taken.append(ticker.take())

    def step(_: int) -> None:
        for _ in range(5_000):
            next(ticker.ticks)

    reader = threading.Thread(target=read)
    reader.start()
    in_threads(step)
    over.set()
    reader.join()
    assert sum(taken) + ticker.take() == 40_000


CALLS = st.lists(st.sampled_from(["match", "mismatch", "raise", "skip", "late"]), max_size=40)


@given(CALLS)
def test_runs_are_experiments_and_skips_in_every_reading(calls: list[str]) -> None:
    """The identity holds at any moment, and each call steps the runs by one."""
    account = account_of("accounts.identity")
    made = Experiment(
        "accounts.identity",
        control=lambda call: 1,
        candidate=lambda call: 1 // (call != "raise") + (call == "mismatch"),
        run_if=lambda call: call != "skip",
        publishers=(),
    )
    for call in calls:
        before = account.tally()
        made(call)
        step = account.tally() - before
        assert step.runs == 1
        assert step.experiments == (call != "skip")
        assert step.count(Outcome.MISMATCHED) == (call in {"mismatch", "raise"})
        assert sum(step.candidate_errors.values()) == (call == "raise")
        assert sum(step.skipped.values()) == (call == "skip")


@given(st.lists(st.tuples(st.integers(0, 10**10), st.integers(0, 10**10), st.booleans())))
def test_what_two_accounts_count_adds_up_to_what_one_would(
    runs: list[tuple[int, int, bool]],
) -> None:
    """Durations, ratios and outcomes alike, clocks that stand still included."""
    whole, parts = Account("whole"), (Account("a"), Account("b"))
    for i, (control_ns, candidate_ns, first) in enumerate(runs):
        for account in (whole, parts[i % 2]):
            account.record(
                "control",
                control_ns,
                (("new", Outcome.IGNORED, candidate_ns, False, first, ("a", "b")),),
            )
            account.skip("sample")
            account.drop("queue", i + 1)
    assert parts[0].tally() + parts[1].tally() == whole.tally()


@given(st.lists(st.tuples(st.integers(0, 10**10), st.integers(0, 10**10), st.booleans())))
def test_the_quick_way_counts_what_the_thorough_way_counts(
    runs: list[tuple[int, int, bool]],
) -> None:
    """The buffers of matched runs come to the same tally as single records."""
    quick, thorough = Account("quick"), Account("thorough")
    pairs = quick.pairs("control", "new")
    for control_ns, candidate_ns, first in runs:
        buffer = pairs.control_first if first else pairs.control_last
        buffer.append((control_ns, candidate_ns))
        thorough.record(
            "control", control_ns, (("new", Outcome.MATCHED, candidate_ns, False, first, ()),)
        )
    assert quick.tally() == thorough.tally()


PART = """
import json, sys, twinrun
part = int(sys.argv[1])
f = twinrun.experiment("part", candidate=lambda x: x // 3 * 3, run_if=lambda x: x % 2,
                       publishers=())(lambda x: x)
for x in range(part * 100, part * 100 + 100):
    f(x)
print(json.dumps(twinrun.tallies()["part"].as_dict()))
"""


def test_the_tallies_of_two_processes_add_up_to_the_whole() -> None:
    """They travel as JSON."""
    import json

    texts = [
        subprocess.run(
            [sys.executable, "-c", PART, str(part)], capture_output=True, text=True, check=True
        ).stdout
        for part in (0, 1)
    ]
    whole = Tally()
    for text in texts:
        whole += Tally.from_dict(json.loads(text))
    odd = [x for x in range(200) if x % 2]
    assert (whole.runs, whole.experiments, dict(whole.skipped)) == (200, 100, {"run_if": 100})
    assert whole.outcomes["candidate"] == {
        Outcome.MATCHED: sum(x % 3 == 0 for x in odd),
        Outcome.MISMATCHED: sum(x % 3 != 0 for x in odd),
    }
    assert total(whole.durations["control"]) == 100


HANDLER = """
import signal, twinrun
from twinrun._accounts import account_of

account = account_of("handler")
read = []
signal.signal(signal.SIGALRM, lambda *_: read.append(twinrun.tallies()["handler"].runs))
f = twinrun.experiment("handler", candidate=lambda: 3, sample=0.5, publishers=())(lambda: 3)
runs = armed = 0
while len(read) < 20:
    if armed == len(read):
        armed += 1
        signal.setitimer(signal.ITIMER_REAL, 0.0005)
    f()
    runs += 1
    account.tally()
assert twinrun.tallies()["handler"].runs == runs, (twinrun.tallies()["handler"].runs, runs)
print("ok")
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timers")
def test_a_signal_handler_may_read_the_tally_at_any_moment() -> None:
    """In the middle of a fold too: it doesn't deadlock, and nothing is counted twice."""
    done = subprocess.run(
        [sys.executable, "-c", HANDLER], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stdout.strip(), done.stderr) == ("ok", "")


def test_a_reader_that_meets_a_fold_of_its_own_thread_gives_late_counts() -> None:
    """As a signal handler does: the reading before, and no deadlock."""
    account = Account("late")
    account.skip("sample")
    first = account.tally()
    seen = []

    class Interrupted(deque[Any]):
        def popleft(self) -> Any:
            seen.append(account.tally())
            return super().popleft()

    account._events = Interrupted()
    account.skip("sample")
    assert account.tally().skipped == {"sample": 2}
    assert seen == [first]


class Watcher:
    """A publisher that watches tallies."""

    evidence_only = True

    def __init__(self) -> None:
        self.watched: list[Any] = []

    def publish(self, result: Any) -> None:
        """Take a result."""

    def watch(self, account: Any) -> None:
        """Hear of an account."""
        self.watched.append(account.name)


def test_a_publisher_hears_of_each_tally_once() -> None:
    """At the first run, matched or not; one configured later at the next run."""
    first, later = Watcher(), Watcher()
    configure(publishers=[first])
    made = [
        Experiment(f"accounts.watch{i}", control=int, candidate=candidate)
        for i, candidate in enumerate((int, str))
    ]
    assert first.watched == []
    for _ in range(600):
        for each in made:
            each()
    assert first.watched == ["accounts.watch0", "accounts.watch1"]
    configure(publishers=[first, later])
    for _ in range(3):
        for each in made:
            each()
    assert first.watched == later.watched == ["accounts.watch0", "accounts.watch1"]


def test_experiments_of_one_name_share_a_tally() -> None:
    """However many objects there are."""
    for _ in range(3):
        Experiment("accounts.shared", publishers=()).run(control=int, candidate=int)
    assert tallies()["accounts.shared"].experiments == 3


@given(
    st.lists(st.tuples(st.integers(1, 10**12), st.integers(1, 10**12)), min_size=1, max_size=BATCH),
    st.floats(0, 1),
)
def test_a_quantile_of_durations_and_ratios_is_within_its_error(
    pairs: list[tuple[int, int]], q: float
) -> None:
    """From one nanosecond to a quarter of an hour, it is off by 1.1 % at most."""
    account = Account("quantiles")
    account.pairs("control", "candidate").control_first.extend(pairs)
    tally = account.tally()
    rank = max(1, math.ceil(q * len(pairs))) - 1
    for histogram, values in (
        (tally.durations["control"], [control / 1e9 for control, _ in pairs]),
        (tally.durations["candidate"], [candidate / 1e9 for _, candidate in pairs]),
        (tally.ratios["candidate"][CONTROL_FIRST], [b / a for a, b in pairs]),
    ):
        exact = sorted(values)[rank]
        assert abs(histogram.quantile(q) - exact) <= 0.011 * exact

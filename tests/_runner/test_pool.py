"""The pool: few threads, exact room, nothing that waits but a flush."""

from __future__ import annotations

import _thread
import threading
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import pytest

import twinrun
from twinrun._runner.pool import Pool

WATCHDOG = 30.0  # seconds, a safety net only


class Ticket:
    """What is admitted."""

    def __init__(self) -> None:
        self.given_up: list[str] = []

    def give_up(self, reason: str) -> None:
        """Remember why."""
        self.given_up.append(reason)


class Blocker:
    """A job that waits until it is let go."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.let_go = threading.Event()

    def __call__(self) -> None:
        """Wait."""
        self.started.set()
        assert self.let_go.wait(WATCHDOG)


@pytest.fixture
def pool() -> Pool:
    """Make a pool of its own."""
    return Pool()


@pytest.fixture
def blockers() -> Iterator[Callable[[], Blocker]]:
    """Make jobs that wait, and let them go in the end."""
    made: list[Blocker] = []

    def make() -> Blocker:
        made.append(Blocker())
        return made[-1]

    yield make
    for each in made:
        each.let_go.set()


def done(pool: Pool, *jobs: Callable[[], Any]) -> None:
    """Submit jobs and wait for them."""
    over = threading.Semaphore(0)
    for job in jobs:
        assert pool.submit(job) is None
        assert pool.submit(over.release) is None
    for _ in jobs:
        assert over.acquire(timeout=WATCHDOG)


def test_a_job_runs_on_a_daemon_thread_of_ours(pool: Pool) -> None:
    """It is neither the caller's thread nor one that an exit joins."""
    idents: list[int] = []
    done(pool, lambda: idents.append(threading.get_ident()))
    assert idents != [threading.get_ident()]
    assert not any(t.ident in idents for t in threading.enumerate() if not t.daemon)


def test_there_are_never_more_threads_than_workers(pool: Pool, blockers: Any) -> None:
    """Jobs beyond them wait."""
    twinrun.configure(workers=2)
    jobs = [blockers() for _ in range(3)]
    for job in jobs:
        assert pool.submit(job) is None
    assert jobs[0].started.wait(WATCHDOG)
    assert jobs[1].started.wait(WATCHDOG)
    assert not jobs[2].started.is_set()
    jobs[0].let_go.set()
    assert jobs[2].started.wait(WATCHDOG)


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_worker_outlives_what_a_job_raises(pool: Pool, kind: type[BaseException]) -> None:
    """The one worker does the next job."""
    twinrun.configure(workers=1)
    idents: list[int] = []

    def broken() -> None:
        idents.append(threading.get_ident())
        raise kind

    done(pool, broken, lambda: idents.append(threading.get_ident()))
    assert len(set(idents)) == 1


def test_room_is_what_works_and_what_may_wait(pool: Pool) -> None:
    """Candidates are admitted all or none, and released once."""
    twinrun.configure(workers=1, queue=3)
    first, second = (Ticket(), Ticket(), Ticket()), (Ticket(), Ticket())
    assert pool.admit("one", *first) is None
    assert pool.admit("one", *second) == "queue full"
    assert pool.admit("two", Ticket()) is None
    assert pool.admit("two", Ticket()) == "queue full"
    pool.release(*first)
    pool.release(*first)
    assert pool.admit("one", *second) is None
    assert pool.admit("one", *second[:1]) is None, "it is in already"
    assert pool.admit("one", Ticket()) is None
    assert pool.admit("one", Ticket()) == "queue full"


def test_room_follows_the_settings(pool: Pool) -> None:
    """More room holds at once, less room as soon as enough is released."""
    twinrun.configure(workers=1, queue=1)
    tickets = [(Ticket(),) for _ in range(5)]
    assert [pool.admit("one", *t) for t in tickets[:3]] == [None, None, "queue full"]
    twinrun.configure(queue=2)
    assert [pool.admit("one", *t) for t in tickets[2:4]] == [None, "queue full"]
    twinrun.configure(queue=1)
    pool.release(*tickets[0])
    assert pool.admit("one", *tickets[3]) == "queue full"
    pool.release(*tickets[1])
    assert pool.admit("one", *tickets[3]) is None


def test_a_flush_waits_for_what_was_admitted_before(pool: Pool, blockers: Any) -> None:
    """It is true once that is released, and keeps its time where it is not."""
    first, later = (Ticket(),), (Ticket(),)
    assert pool.flush(monotonic())
    pool.admit("one", *first)
    assert not pool.flush(monotonic() + 0.01)
    started = threading.Event()
    answers: list[bool] = []

    def wait() -> None:
        started.set()
        answers.append(pool.flush(monotonic() + WATCHDOG))

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert started.wait(WATCHDOG)
    while not pool._flushes:
        pass
    pool.admit("one", *later)
    pool.release(*first)
    waiting.join(WATCHDOG)
    assert answers == [True]


def test_a_worker_that_flushes_does_not_wait_for_itself(pool: Pool) -> None:
    """What it is in the middle of can't be over."""
    pool.admit("one", Ticket())
    answers: list[bool] = []
    done(pool, lambda: answers.append(pool.flush(monotonic() + WATCHDOG)))
    assert answers == [False]


def test_a_drained_pool_counts_what_is_left_and_takes_nothing_more(pool: Pool) -> None:
    """What an exit can't wait for is given up: exit."""
    ticket = Ticket()
    pool.admit("one", ticket)
    pool.drain(monotonic())
    assert ticket.given_up == ["exit"]
    assert pool.admit("one", Ticket()) == "exit"


def test_a_worker_past_its_limit_is_replaced(pool: Pool, blockers: Any) -> None:
    """Another thread does the next jobs; the stuck one ends when it comes back."""
    twinrun.configure(workers=1)
    abandoned, stuck = threading.Event(), blockers()
    idents: list[int] = []

    def slow() -> None:
        idents.append(threading.get_ident())
        pool.limit(0.001, lambda: abandoned.set() or True, "one")
        stuck()
        pool.unlimit()

    assert pool.submit(slow) is None
    assert abandoned.wait(WATCHDOG)
    done(pool, lambda: idents.append(threading.get_ident()))
    assert len(set(idents)) == 2
    assert pool.is_stuck("one")
    assert pool.admit("one", Ticket()) == "stuck"
    assert pool.admit("two", Ticket()) is None
    stuck.let_go.set()
    deadline = monotonic() + WATCHDOG
    while pool.is_stuck("one") and monotonic() < deadline:
        pass
    assert pool.admit("one", Ticket()) is None


def test_what_is_over_in_time_is_not_abandoned(pool: Pool, blockers: Any) -> None:
    """A later job of the same worker is not taken for an earlier one."""
    twinrun.configure(workers=1)
    abandoned: list[str] = []
    next_limit = threading.Event()

    def quick() -> None:
        pool.limit(0.05, lambda: bool(abandoned.append("quick")), "one")
        pool.unlimit()

    def slow() -> None:
        pool.limit(0.1, lambda: bool(abandoned.append("slow") or next_limit.set()), "one")
        assert next_limit.wait(WATCHDOG)
        pool.unlimit()

    done(pool, quick, slow)
    assert set(abandoned) == {"slow"}
    assert not pool.is_stuck("one")


def test_where_no_thread_can_be_had_nothing_is_taken(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again after a pause, not at each call."""
    tried: list[int] = []

    def refuse(*args: Any) -> int:
        tried.append(1)
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(_thread, "start_new_thread", refuse)
        for _ in range(10):
            assert pool.admit("one", Ticket()) == "no thread"
            assert pool.submit(lambda: None) == "no thread"
    assert len(tried) < 20
    pool._hire_after = monotonic()
    done(pool, lambda: None)


def test_fewer_workers_end_the_surplus(pool: Pool, blockers: Any) -> None:
    """A thread that is too many ends after its job."""
    twinrun.configure(workers=3)
    jobs = [blockers() for _ in range(3)]
    for job in jobs:
        pool.submit(job)
        assert job.started.wait(WATCHDOG)
    twinrun.configure(workers=1)
    for job in jobs:
        job.let_go.set()
    idents: set[int] = set()
    for _ in range(20):
        done(pool, lambda: idents.add(threading.get_ident()))
    assert len(pool._seats) <= 1

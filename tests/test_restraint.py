"""What comes again and again is said a few times, then once in a while, and counted always."""

from __future__ import annotations

import threading
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinrun._restraint import Leave, Restraint

STEPS = st.lists(st.tuples(st.integers(0, 40), st.sampled_from("abc")), max_size=60)


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Give the time that is set."""
        return self.now


@given(st.integers(1, 4), STEPS)
def test_no_kind_is_said_more_often_than_its_burst_and_one_in_so_many_seconds(
    burst: int, steps: list[tuple[int, str]]
) -> None:
    """In any stretch of time, whatever comes of the other kinds."""
    clock = Clock()
    restraint = Restraint(burst, 10.0, clock)
    said = defaultdict(list)
    for pause, kind in steps:
        clock.now += pause
        if restraint.ask(kind):
            said[kind].append(clock.now)
    for times in said.values():
        for first, start in enumerate(times):
            for further, end in enumerate(times[first:]):
                assert further <= burst - 1 + (end - start) / 10.0


@given(st.integers(1, 4), STEPS)
def test_what_is_left_out_is_told_by_the_next_that_is_said(
    burst: int, steps: list[tuple[int, str]]
) -> None:
    """None is left out without need, and none is told twice or not at all."""
    clock = Clock()
    restraint = Restraint(burst, 10.0, clock)
    asked, told = dict.fromkeys("abc", 0), dict.fromkeys("abc", 0)
    for pause, kind in steps:
        clock.now += pause
        asked[kind] += 1
        leave = restraint.ask(kind)
        if leave:
            told[kind] += 1 + leave.left_out
    clock.now += 10.0
    for kind in "abc":
        leave = restraint.ask(kind)
        assert leave is not None
        assert told[kind] + leave.left_out == asked[kind]


def test_the_last_of_a_burst_is_told_that_it_is() -> None:
    """So is each one after it, until the kind was quiet for longer."""
    clock = Clock()
    restraint = Restraint(3, 60.0, clock)
    first = [restraint.ask("kind") for _ in range(5)]
    assert first == [Leave(0, False), Leave(0, False), Leave(0, True), None, None]
    clock.now = 60.0
    assert restraint.ask("kind") == Leave(2, True)
    clock.now = 180.0
    assert [restraint.ask("kind") for _ in range(3)] == [Leave(0, False), Leave(0, True), None]


def test_memory_is_bounded_however_many_kinds_there_are() -> None:
    """Those beyond a thousand count as one kind, until there is room again."""
    clock = Clock()
    restraint = Restraint(2, 60.0, clock)
    said = sum(restraint.ask(number) is not None for number in range(5_000))
    assert said == 1_000 + 2
    assert len(restraint._kinds) == 1_000
    clock.now = 60.0
    assert all(restraint.ask(number) for number in range(5_000, 6_000))
    assert len(restraint._kinds) == 1_000


def test_a_storm_of_new_kinds_is_not_searched_for_room_again_and_again() -> None:
    """There is none before the first of those that are known comes to rest."""
    clock = Clock()
    restraint = Restraint(1, 60.0, clock)
    for number in range(1_000):
        clock.now = float(number) / 1_000
        restraint.ask(number)
    restraint.ask("one too many")
    kept = restraint._kinds
    assert not restraint.ask("another")
    clock.now = 59.9
    assert not restraint.ask("another")
    assert restraint._kinds is kept
    clock.now = 60.5
    assert restraint.ask("room") == Leave(0, True)
    assert len(restraint._kinds) == 500


@pytest.mark.timeout(60)
def test_no_count_is_lost_between_threads() -> None:
    """Said and left out add up to what was asked."""
    clock = Clock()
    restraint = Restraint(5, 60.0, clock)
    said: list[int] = []
    together = threading.Barrier(4)

    def ask() -> None:
        together.wait()
        said.append(sum(restraint.ask("kind") is not None for _ in range(2_000)))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(said) == 5
    clock.now = 60.0
    leave = restraint.ask("kind")
    assert leave == Leave(4 * 2_000 - 5, is_last=True)


def test_a_forked_child_takes_a_lock_of_its_own() -> None:
    """A thread of the parent's may hold it at the moment of the fork."""
    restraint = Restraint(1, 60.0)
    taken = restraint._lock
    with taken:
        restraint.after_fork()
        assert restraint._lock is not taken
    assert restraint.ask("kind")


def test_asking_while_asking_does_not_wait() -> None:
    """As a signal handler or a finalizer may, in the middle of it."""
    inner: list[Leave | None] = []

    def clock() -> float:
        if not inner:
            inner.append(None)
            inner.append(restraint.ask("kind"))
        return 0.0

    restraint = Restraint(1, 60.0, clock)
    assert restraint.ask("kind") is None
    assert inner == [None, Leave(0, True)]

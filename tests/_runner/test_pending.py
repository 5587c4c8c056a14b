"""A run off the path ends exactly once, whoever is last, and however it ends."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from twinrun import Result, tallies
from twinrun._runner.pending import Part, Pending
from twinrun._runner.pool import pool
from twinrun._runner.recipe import recipe_of
from twinrun._runner.steps import observed
from twinrun._wakeups import Wakeup
from twinrun.result import Outcome

WATCHDOG = 30.0  # seconds, a safety net only


@attrs.frozen
class Trial:
    """A pending run, and what is published of it."""

    name: str
    run: Pending
    results: list[Result]
    threads: list[int]

    def control(self) -> None:
        """Have the control arrive."""
        self.run.control_over(observed("control", 1, None, 10))

    def candidate(self, part: Part, value: int = 1) -> bool:
        """Have a candidate arrive."""
        return part.over(observed(part.name, value, None, 10))

    def wait(self) -> None:
        """Wait until the run is over."""
        assert self.run.waiter is not None
        assert self.run.waiter.wait(WATCHDOG)

    @property
    def skipped(self) -> dict[str, int]:
        """How often the experiment was skipped, by reason."""
        return dict(tallies()[self.name].skipped)


@pytest.fixture
def trial(request: pytest.FixtureRequest) -> Iterator[Trial]:
    """Make a run of two candidates, already admitted; end it where the test doesn't."""
    results: list[Result] = []
    threads: list[int] = []

    def publish(result: Result) -> None:
        results.append(result)
        threads.append(threading.get_ident())

    name = request.node.nodeid
    run = Pending(recipe_of(name, {"publishers": [publish]}), "control", ("a", "b"))
    run.waiter = Wakeup()
    assert run.admit() is None
    yield Trial(name, run, results, threads)
    run.give_up("end of the test")


@pytest.mark.parametrize("order", list(itertools.permutations([0, 1, 2])))
def test_whoever_is_last_has_the_run_concluded_on_a_worker(
    trial: Trial, order: tuple[int, ...]
) -> None:
    """It is recorded once, off the thread of whoever was last, and its room is given back."""
    parts = trial.run.parts
    arrivals: list[Any] = [
        trial.control,
        lambda: trial.candidate(parts[0]),
        lambda: trial.candidate(parts[1], 2),
    ]
    for n in order:
        arrivals[n]()
    trial.wait()
    [result] = trial.results
    assert trial.run.result is result
    assert [c.outcome for c in result.comparisons] == [Outcome.MATCHED, Outcome.MISMATCHED]
    assert trial.threads != [threading.get_ident()]
    tally = tallies()[trial.name]
    assert (tally.experiments, dict(tally.skipped)) == (1, {})
    assert pool._admitted.isdisjoint(parts)


def test_a_candidate_is_over_once(trial: Trial) -> None:
    """What comes later is dropped, and counted: late."""
    a, b = trial.run.parts
    assert trial.candidate(a)
    assert not trial.candidate(a, 3)
    trial.control()
    assert trial.candidate(b)
    trial.wait()
    assert not trial.candidate(b, 3)
    assert trial.results[0].matched
    assert dict(tallies()[trial.name].dropped) == {"late": 2}


@pytest.mark.parametrize("before", [0, 1, 2])
def test_a_run_given_up_is_skipped_once(trial: Trial, before: int) -> None:
    """The first reason counts, nothing is published, and what arrives later changes nothing."""
    parts = trial.run.parts
    for part in parts[:before]:
        trial.candidate(part)
    trial.run.give_up("interrupted")
    trial.run.give_up("exit")
    trial.control()
    for part in parts[before:]:
        trial.candidate(part)
    trial.wait()
    assert trial.results == []
    assert trial.skipped == {"interrupted": 1}
    assert tallies()[trial.name].experiments == 0
    assert pool._admitted.isdisjoint(parts)


def test_what_a_candidate_is_given_up_for_ends_its_run(trial: Trial) -> None:
    """All candidates of a run are shed together."""
    trial.run.parts[0].give_up("stuck")
    trial.wait()
    assert trial.skipped == {"stuck": 1}


def test_a_race_between_the_last_one_and_giving_up_counts_once(
    request: pytest.FixtureRequest,
) -> None:
    """Whichever is first, the run is in exactly one count."""
    name, runs = request.node.nodeid, 300
    recipe = recipe_of(name, {"publishers": ()})
    for _ in range(runs):
        run = Pending(recipe, "control", ("a",))
        run.waiter = Wakeup()
        assert run.admit() is None
        run.control_over(observed("control", 1, None, 10))
        start = threading.Barrier(2)

        def arrive(part: Part = run.parts[0], start: threading.Barrier = start) -> None:
            start.wait(WATCHDOG)
            part.over(observed("a", 1, None, 10))

        thread = threading.Thread(target=arrive)
        thread.start()
        start.wait(WATCHDOG)
        run.give_up("exit")
        thread.join(WATCHDOG)
        assert run.waiter.wait(WATCHDOG)
    assert pool.flush(float("inf"))
    tally = tallies()[name]
    assert tally.experiments + sum(tally.skipped.values()) == runs


def test_a_conclusion_that_breaks_is_counted(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that could not be concluded is skipped: internal."""

    def broken(run: Any) -> None:
        raise MemoryError

    trial.run.concluding = broken
    for part in trial.run.parts:
        trial.candidate(part)
    trial.control()
    trial.wait()
    assert trial.skipped == {"internal": 1}


def test_a_run_that_is_over_is_freed_at_once(trial: Trial) -> None:
    """It makes no reference cycle that waits for the garbage collector."""
    import gc
    import weakref

    class Value:
        pass

    value = Value()
    gone = weakref.ref(value)
    run = Pending(trial.run.recipe, "control", ("a",))
    waiter = run.waiter = Wakeup()
    assert run.admit() is None
    freed = threading.Event()
    weakref.finalize(value, freed.set)
    gc.disable()
    try:
        run.parts[0].over(observed("a", value, None, 10))
        run.control_over(observed("control", value, None, 10))
        assert waiter.wait(WATCHDOG)
        trial.results.clear()
        del run, value
        assert freed.wait(WATCHDOG)
        assert gone() is None
    finally:
        gc.enable()

"""Inside a candidate or a callback no experiment starts; a control that calls itself runs alone."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import Any

import pytest

from twinrun import Experiment, Outcome, Result, experiment, in_candidate, recording, tallies

VAR: contextvars.ContextVar[str] = contextvars.ContextVar("var", default="outside")

# The quick and the thorough way of running, and one with a mismatch.
WAYS = [{}, {"compare": lambda a, b: True}, {"order": "control-first"}, {"order": "control-last"}]


@pytest.mark.parametrize("way", range(len(WAYS)))
@pytest.mark.parametrize("raises", [False, True])
def test_what_a_candidate_sets_never_leaks_and_what_the_control_sets_stays(
    way: int, raises: bool
) -> None:
    """Context variables: each candidate sees those of before the run, the caller the control's."""
    seen: list[str] = []

    def candidate() -> None:
        seen.append(VAR.get())
        VAR.set("candidate")
        if raises:
            raise ValueError

    def control() -> None:
        seen.append(VAR.get())
        VAR.set("control")

    made = Experiment(
        "scope.vars", control=control, candidate=candidate, publishers=(), **WAYS[way]
    )  # type: ignore[arg-type]

    def run() -> str:
        made()
        return VAR.get()

    for _ in range(4):
        assert contextvars.copy_context().run(run) == "control"
    assert seen == ["outside"] * 8


@pytest.mark.parametrize("way", range(len(WAYS)))
def test_in_candidate_is_true_inside_candidates_and_a_baseline_only(way: int) -> None:
    """Not in the control, nor before, nor after."""
    seen: dict[str, list[bool]] = {"control": [], "candidate": []}
    options: Any = WAYS[way]
    made = Experiment(
        "scope.in",
        control=lambda: seen["control"].append(in_candidate()),
        candidate=lambda: seen["candidate"].append(in_candidate()),
        publishers=(),
        **options,
    )
    for _ in range(3):
        made()
        assert not in_candidate()
    assert seen == {"control": [False] * 3, "candidate": [True] * 3}
    alone: list[bool] = []
    with_baseline = Experiment(
        "scope.in.baseline",
        control=lambda: alone.append(in_candidate()),
        baseline=1.0,
        publishers=(),
        **options,
    )
    with_baseline()
    assert sorted(alone) == [False, True]


@pytest.mark.parametrize("way", range(len(WAYS)))
def test_a_control_that_calls_itself_is_one_experiment(way: int) -> None:
    """The inner calls run the control alone, and are counted as such."""
    name = f"scope.recursive{way}"
    options: Any = WAYS[way]

    @experiment(name, candidate=lambda n: 120, publishers=(), **options)
    def factorial(n: int) -> int:
        return 1 if n == 0 else n * factorial(n - 1)

    for _ in range(2):
        assert factorial(5) == 120
    tally = tallies()[name]
    assert (tally.runs, tally.experiments, dict(tally.skipped)) == (12, 2, {"reentry": 10})


@pytest.mark.parametrize("way", range(len(WAYS)))
def test_a_candidate_that_calls_the_decorated_function_gets_the_control(way: int) -> None:
    """As replacements that wrap the old code do."""
    name = f"scope.wrapping{way}"
    options: Any = WAYS[way]

    @experiment(name, candidate=lambda n: old(n), publishers=(), **options)
    def old(n: int) -> int:
        return n

    assert old(3) == 3
    tally = tallies()[name]
    assert (tally.experiments, dict(tally.skipped)) == (1, {"reentry": 1})
    assert tally.outcomes["candidate"] == {Outcome.MATCHED: 1}


@pytest.mark.parametrize("way", range(len(WAYS)))
def test_another_experiment_runs_in_a_control_but_not_in_a_candidate(way: int) -> None:
    """There its control runs alone."""
    name = f"scope.other{way}"
    options: Any = WAYS[way]

    @experiment(name, candidate=lambda: 3, publishers=(), **options)
    def inner() -> int:
        return 3

    outer = Experiment(
        f"{name}.outer", control=lambda: inner(), candidate=lambda: inner(), publishers=()
    )
    assert outer() == 3
    tally = tallies()[name]
    assert (tally.experiments, dict(tally.skipped)) == (1, {"reentry": 1})


def test_no_experiment_starts_in_a_callback() -> None:
    """It would ask or publish without end."""
    results: list[Result] = []

    def hook(*args: Any) -> Any:
        old()
        return True

    def publish(result: Result) -> None:
        results.append(result)
        old()

    @experiment(
        "scope.hooks",
        candidate=lambda: 2,
        run_if=lambda: hook(),
        before_run=hook,
        after_run=hook,
        ignore=hook,
        publishers=[publish],
    )
    def old() -> int:
        return 1

    assert old() == 1
    assert len(results) == 1
    assert tallies()["scope.hooks"].experiments == 1
    assert dict(tallies()["scope.hooks"].skipped) == {"reentry": 5}


def test_after_a_run_that_raised_experiments_run_again() -> None:
    """In the control, in the candidate, and past both."""

    def fail(kind: type[BaseException]) -> None:
        raise kind

    made = Experiment("scope.again", control=fail, candidate=fail, publishers=())
    for kind in (ValueError, KeyboardInterrupt, ValueError):
        with pytest.raises(kind):
            made(kind)
        assert not in_candidate()
    assert tallies()["scope.again"].experiments == 2
    assert dict(tallies()["scope.again"].skipped) == {"interrupted": 1}


def test_a_thread_that_outlives_its_control_experiments_again() -> None:
    """Being inside a control ends with the control."""
    go, threads = threading.Event(), list[threading.Thread]()

    @experiment("scope.thread", candidate=lambda start: 1, publishers=())
    def old(start: bool) -> int:
        if start:

            def later() -> None:
                go.wait()
                old(False)

            threads.append(threading.Thread(target=later))
            threads[0].start()
        return 1

    old(True)
    go.set()
    threads[0].join()
    assert tallies()["scope.thread"].experiments == 2
    assert dict(tallies()["scope.thread"].skipped) == {}


def test_a_task_that_outlives_its_control_experiments_again() -> None:
    """Though it carries on a copy of the control's context."""
    tasks: list[asyncio.Task[None]] = []

    @experiment("scope.task", candidate=lambda start: 1, publishers=())
    def old(start: bool) -> int:
        if start:

            async def later() -> None:
                old(False)

            tasks.append(asyncio.get_running_loop().create_task(later()))
        return 1

    async def main() -> None:
        old(True)
        await tasks[0]

    asyncio.run(main())
    assert tallies()["scope.task"].experiments == 2
    assert dict(tallies()["scope.task"].skipped) == {}


def test_a_baseline_is_the_control_once_more_and_counts_in_nothing() -> None:
    """An A/A experiment runs with no candidate at all, and never raises."""
    values = iter(range(100))
    made = Experiment(
        "scope.baseline",
        control=lambda: next(values),
        baseline=1.0,
        raise_on_mismatch=True,
        publishers=(),
    )
    with recording() as results:
        made()
    [result] = results
    [comparison] = result.comparisons
    assert (comparison.candidate.name, comparison.outcome) == ("baseline", Outcome.MISMATCHED)
    assert (result.matched, result.mismatched, result.ignored) == (True, False, False)
    assert sorted([result.control.value, comparison.candidate.value]) == [0, 1]
    tally = tallies()["scope.baseline"]
    assert (tally.experiments, tally.count(Outcome.MISMATCHED)) == (1, 0)
    assert tally.outcomes["baseline"] == {Outcome.MISMATCHED: 1}


def test_a_baseline_stands_beside_candidates_last() -> None:
    """Ignored differences of it don't count either; without it drawn, candidates run alone."""
    made = Experiment(
        "scope.beside",
        control=object,
        candidates={"b": int, "a": int},
        compare=lambda a, b: type(b) is int,
        ignore=lambda a, b: True,
        baseline=1.0,
    )
    result = made.observe()
    assert [c.candidate.name for c in result.comparisons] == ["b", "a", "baseline"]
    assert [c.outcome for c in result.comparisons] == ["matched", "matched", "ignored"]
    assert (result.matched, result.mismatched, result.ignored) == (True, False, False)


def test_a_baselines_share_is_drawn_and_what_is_not_drawn_runs_the_control_alone() -> None:
    """Every run is counted."""
    made = Experiment("scope.share", control=int, baseline=0.5, publishers=())
    for _ in range(400):
        made()
    tally = tallies()["scope.share"]
    assert tally.runs == 400
    assert 100 < tally.experiments < 300
    assert tally.experiments + tally.skipped["baseline"] == 400

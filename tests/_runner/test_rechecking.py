"""With recheck, both sides of a mismatch run once more, and what does not repeat is marked."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import random
import sys
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest

import twinrun
from twinrun import (
    ConfigurationError,
    Experiment,
    MismatchError,
    Outcome,
    Result,
    experiment,
    in_candidate,
    recording,
    tallies,
)
from twinrun._runner import breaking
from twinrun.cleaners import payload
from twinrun.result import Recheck
from twinrun.samplers import Breaker

WATCHDOG = 60.0  # seconds, a safety net only
MODES = ("inline", "concurrent", "background")
OFF_THE_PATH = MODES[1:]


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    """Give each mode."""
    return str(request.param)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """Name the experiment like the test."""
    return str(request.node.nodeid)


@pytest.fixture(params=["plain", "awaited"])
def run(request: pytest.FixtureRequest, name: str) -> Callable[..., Any]:
    """Give what runs behaviours, plain or awaited, and gives the Result."""

    def run_plain(control: Any, candidate: Any = None, **options: Any) -> Result:
        made = Experiment(name, recheck=True, publishers=(), **options)
        return made.observe(control=control, candidate=candidate)

    def run_awaited(control: Any, candidate: Any = None, **options: Any) -> Result:
        def awaited(function: Callable[[], Any]) -> Callable[[], Any]:
            async def behaviour() -> Any:
                await asyncio.sleep(0)
                return function()

            return behaviour

        async def main() -> Result:
            made = Experiment(name, recheck=True, publishers=(), **options)
            return await made.aobserve(control=awaited(control), candidate=awaited(candidate))

        return asyncio.run(main())

    return run_plain if request.param == "plain" else run_awaited


def giving(*values: Any) -> Callable[[], Any]:
    """Make what gives one value after the other, or raises it."""
    coming = iter(values)

    def behaviour() -> Any:
        value = next(coming)
        if isinstance(value, BaseException):
            raise value
        return value

    return behaviour


@pytest.mark.parametrize(
    ("control", "candidate", "expected"),
    [
        ((1, 1), (2, 2), Recheck.REPEATED),
        ((1, 2), (2, 2), Recheck.CONTROL),
        ((2, 2), (1, 2), Recheck.CANDIDATE),
        ((1, 2), (3, 4), Recheck.BOTH),
        ((1, ValueError("x")), (2, 2), Recheck.CONTROL),
        ((KeyError("x"), KeyError("x")), (2, 2), Recheck.REPEATED),
        ((1, 1), (ValueError("a"), ValueError("a")), Recheck.REPEATED),
        ((1, 1), (ValueError("a"), ValueError("b")), Recheck.CANDIDATE),
        ((1,), (1,), None),
    ],
)
def test_who_gave_something_else_is_marked(
    run: Callable[..., Any], mode: str, control: Any, candidate: Any, expected: Any
) -> None:
    """In each mode, plain or awaited; what matches does not run again."""
    result = run(giving(*control), giving(*candidate), mode=mode)
    [judged] = result.comparisons
    assert judged.recheck is expected
    assert judged.unstable is (expected not in (None, Recheck.REPEATED))
    assert judged.outcome is (Outcome.MISMATCHED if expected else Outcome.MATCHED)


@pytest.mark.parametrize(
    ("control", "candidate", "expected"),
    [
        # A field that always changes beside a bug that repeats.
        (
            [{"at": 1, "n": 1}, {"at": 2, "n": 1}],
            [{"at": 3, "n": 2}, {"at": 4, "n": 2}],
            "repeated",
        ),
        ([{"at": 1, "n": 1}, {"at": 2, "n": 1}], [{"at": 3, "n": 1}, {"at": 4, "n": 1}], "both"),
        # Items in an order that changes: others may have moved.
        ([[1, 2, 3], [2, 1, 3]], [[3, 2, 1], [1, 3, 2]], "both"),
        (
            [{"l": [1, 2, 3], "n": 1}, {"l": [2, 1, 3], "n": 1}],
            [{"l": [3, 2, 1], "n": 2}] * 2,
            "repeated",
        ),
        # A change in one record says nothing of another one.
        (
            [[{"p": 1, "q": 1}, {"p": 1, "q": 5}], [{"p": 1, "q": 1}, {"p": 1, "q": 6}]],
            [[{"p": 2, "q": 1}, {"p": 1, "q": 5}]] * 2,
            "repeated",
        ),
        # What is around and inside a place that changed has changed.
        ([{"a": {"b": 1}}, {"a": None}], [{"a": {"b": 2}}] * 2, "control"),
        ([{"a": None}, {"a": {"b": 1}}], [{"a": {"b": 1}}] * 2, "control"),
        ([{"odd key": 1}] * 2, [{"odd key": 2, "other key": 3}, {"odd key": 2}], "repeated"),
    ],
)
def test_a_mismatch_repeats_if_one_of_its_places_does(
    name: str, control: Any, candidate: Any, expected: str
) -> None:
    """A place repeats where each side is the same there the second time."""
    made = Experiment(name, recheck=True, publishers=(), order="control-first")
    result = made.observe(control=giving(*control), candidate=giving(*candidate))
    assert result.comparisons[0].recheck == expected


def test_nothing_is_said_where_not_all_that_differs_was_found(
    run: Callable[..., Any], mode: str
) -> None:
    """A bug that repeats may stand behind a hundred places that change."""
    values = [{"items": list(range(n, n + 150)), "total": n > 300} for n in (0, 150, 450, 600)]
    result = run(giving(*values[:2]), giving(*values[2:]), mode=mode)
    [judged] = result.comparisons
    assert judged.outcome is Outcome.MISMATCHED
    assert judged.differences.cut
    assert (judged.recheck, judged.unstable) == (None, False)


def test_what_is_unstable_is_tallied_shown_and_stored(mode: str, name: str) -> None:
    """It stays a mismatch, in its group."""
    with recording() as results:
        made = Experiment(
            name, mode=mode, recheck=True, control=giving(1, 2, 1, 1), candidate=giving(2, 2, 2, 2)
        )
        assert (made(), twinrun.flush(WATCHDOG)) == (1, True)
        assert (made(), twinrun.flush(WATCHDOG)) == (1, True)
    tally = tallies()[name]
    assert tally.outcomes["candidate"] == {Outcome.MISMATCHED: 2}
    assert tally.unstable == {"candidate": 1}
    shown = [payload(result)["candidates"][0]["recheck"] for result in results]
    assert shown == ["control", "repeated"]


def test_without_recheck_nothing_runs_twice(mode: str, name: str) -> None:
    """The mark is left out of what is stored."""
    with recording() as results:
        made = Experiment(name, mode=mode, control=giving(1), candidate=giving(2))
        assert (made(), twinrun.flush(WATCHDOG)) == (1, True)
    assert results[0].comparisons[0].recheck is None
    assert "recheck" not in payload(results[0])["candidates"][0]
    assert tallies()[name].unstable == {}


def test_only_candidates_that_differ_run_again_and_the_control_once(mode: str, name: str) -> None:
    """A baseline is the control's own second run, and does not run once more."""
    calls: list[str] = []

    def behaviour(called: str, value: Any) -> Callable[[], Any]:
        return lambda: (calls.append(called), value)[1]

    made = Experiment(
        name,
        mode=mode,
        recheck=True,
        baseline=1.0,
        publishers=(),
        control=behaviour("control", 1),
        candidates={"same": behaviour("same", 1), "a": behaviour("a", 2), "b": behaviour("b", 3)},
        ignore=lambda control, candidate: candidate.value == 3,
    )
    made()
    assert twinrun.flush(WATCHDOG)
    assert sorted(calls) == ["a", "a", "b", "control", "control", "control", "same"]


def test_a_baseline_that_differs_is_not_run_again(mode: str, name: str) -> None:
    """That is what it is for."""
    count = itertools.count()
    made = Experiment(name, mode=mode, recheck=True, baseline=1.0, publishers=())
    result = made.observe(control=lambda: next(count))
    assert result.comparisons[0].outcome is Outcome.MISMATCHED
    assert (result.comparisons[0].recheck, next(count)) == (None, 2)


def test_each_run_has_arguments_of_its_own_from_before_anything_ran(mode: str, name: str) -> None:
    """Neither side sees what any other run did to its arguments; nor does the caller."""
    seen: list[list[int]] = []

    def control(items: list[int]) -> int:
        seen.append(list(items))
        items.append(0)
        return 1

    def candidate(items: list[int]) -> int:
        seen.append(list(items))
        items.clear()
        return 2

    made = Experiment(
        name, mode=mode, recheck=True, publishers=(), control=control, candidate=candidate
    )
    mine = [7]
    assert made(mine) == 1
    assert twinrun.flush(WATCHDOG)
    assert seen == [[7]] * 4
    assert mine == [7, 0]


def test_shared_arguments_are_shared(name: str) -> None:
    """With isolate="share" nothing is copied for the second time either."""
    seen: list[int] = []

    def behaviour(value: int) -> Callable[[Any], int]:
        return lambda items: (seen.append(id(items)), value)[1]

    made = Experiment(
        name,
        recheck=True,
        isolate="share",
        publishers=(),
        control=behaviour(1),
        candidate=behaviour(2),
    )
    mine = [7]
    made(mine)
    assert seen == [id(mine)] * 4


def test_what_arguments_became_is_compared_again(mode: str, name: str) -> None:
    """Where only they differ, and the control does something else to them, it is the control's."""
    words = iter(["x", "y"])

    def control(items: list[str]) -> None:
        items.append(next(words))

    made = Experiment(
        name,
        mode=mode,
        recheck=True,
        compare_arguments=True,
        publishers=(),
        control=control,
        candidate=lambda items: items.append("z"),
    )
    with recording() as results:
        made([])
        assert twinrun.flush(WATCHDOG)
    assert results[0].comparisons[0].recheck is Recheck.CONTROL


def test_the_second_time_all_are_marked_as_candidates(run: Callable[..., Any], mode: str) -> None:
    """The control's second run is not the caller's: what must not be done twice is not."""
    marks: list[tuple[str, bool]] = []

    def control() -> int:
        marks.append(("control", in_candidate()))
        return 1

    def candidate() -> int:
        marks.append(("candidate", in_candidate()))
        return 2

    run(control, candidate, mode=mode)
    assert sorted(marks[2:]) == [("candidate", True), ("control", True)]
    assert sorted(marks[:2]) == [("candidate", True), ("control", False)]


def test_experiments_inside_run_their_control_alone_the_second_time(name: str) -> None:
    """As inside a candidate; recursion too."""
    inner = Experiment(f"{name} inner", publishers=(), control=lambda: 1, candidate=lambda: 1)

    @experiment(name, candidate=lambda n: 2, recheck=True, publishers=())
    def outer(n: int) -> int:
        inner()
        return outer(n - 1) if n else 1

    assert outer(1) == 1
    assert (tallies()[name].experiments, tallies()[name].skipped) == (1, {"reentry": 2})
    assert tallies()[f"{name} inner"].experiments == 2
    assert tallies()[f"{name} inner"].skipped == {"reentry": 2}


@pytest.mark.parametrize("mode", OFF_THE_PATH)
def test_off_the_path_nothing_runs_again_on_the_callers_thread(mode: str, name: str) -> None:
    """The caller has its value while the second runs still wait."""
    let_go, threads = threading.Event(), []

    def control() -> int:
        threads.append(threading.get_ident())
        if len(threads) > 1:
            assert let_go.wait(WATCHDOG)
        return 1

    made = Experiment(name, mode=mode, recheck=True, publishers=())
    assert made.run(control=control, candidate=lambda: 2) == 1
    let_go.set()
    assert twinrun.flush(WATCHDOG)
    assert len(threads) == 2
    assert threading.get_ident() == threads[0] != threads[1]


@pytest.mark.parametrize("mode", OFF_THE_PATH)
def test_off_the_path_an_awaited_control_runs_again_in_a_task_of_its_own(
    mode: str, name: str
) -> None:
    """The caller's task has its value before."""
    tasks: list[Any] = []

    async def main() -> None:
        go_on = asyncio.Event()

        async def control() -> int:
            tasks.append(asyncio.current_task())
            if len(tasks) > 1:
                await go_on.wait()
            return 1

        async def candidate() -> int:
            return 2

        made = Experiment(name, mode=mode, recheck=True, publishers=())
        assert await made.arun(control=control, candidate=candidate) == 1
        go_on.set()
        assert await twinrun.aflush(WATCHDOG)
        assert len(tasks) == 2
        assert tasks[0] is asyncio.current_task() is not tasks[1]

    asyncio.run(main())
    assert tallies()[name].outcomes["candidate"] == {Outcome.MISMATCHED: 1}


def test_a_loop_that_ends_first_leaves_a_mismatch_unmarked(name: str) -> None:
    """What was found is kept, and the run is in one count."""

    async def main() -> None:
        async def control() -> int:
            if in_candidate():
                await asyncio.sleep(WATCHDOG)
            return 1

        async def candidate() -> int:
            return 2

        made = Experiment(name, mode="concurrent", recheck=True, publishers=())
        assert await made.arun(control=control, candidate=candidate) == 1
        while not any(" again" in task.get_name() for task in asyncio.all_tasks()):
            await asyncio.sleep(0.001)

    asyncio.run(main())
    assert twinrun.flush(WATCHDOG)
    assert tallies()[name].outcomes["candidate"] == {Outcome.MISMATCHED: 1}
    assert (tallies()[name].unstable, tallies()[name].skipped) == ({}, {})


def test_a_loop_that_is_closed_with_a_second_run_inside_loses_nothing(name: str) -> None:
    """Even where nobody cancels what is left in it."""
    loop = asyncio.new_event_loop()

    async def main() -> None:
        async def control() -> int:
            if in_candidate():
                await asyncio.sleep(WATCHDOG)
            return 1

        made = Experiment(name, mode="background", recheck=True, publishers=())
        assert await made.arun(control=control, candidate=lambda: 2) == 1
        while not any(" again" in task.get_name() for task in asyncio.all_tasks()):
            await asyncio.sleep(0.001)

    loop.run_until_complete(main())
    loop.close()
    assert twinrun.flush(WATCHDOG)
    assert tallies()[name].outcomes["candidate"] == {Outcome.MISMATCHED: 1}
    assert tallies()[name].unstable == {}


@pytest.mark.parametrize("mode", OFF_THE_PATH)
@pytest.mark.parametrize("side", ["control", "candidate"])
def test_a_second_run_that_hangs_leaves_a_mismatch_unmarked(
    mode: str, side: str, name: str
) -> None:
    """It is given up after the time that a candidate may take."""
    let_go, first = threading.Event(), {"control": True, "candidate": True}

    def behaviour(called: str, value: int) -> Callable[[], int]:
        def run() -> int:
            if not first.pop(called, False) and called == side:
                let_go.wait(WATCHDOG)
            return value

        return run

    made = Experiment(name, mode=mode, recheck=True, timeout=0.2, publishers=())
    try:
        made.run(control=behaviour("control", 1), candidate=behaviour("candidate", 2))
        assert twinrun.flush(WATCHDOG)
        assert tallies()[name].outcomes["candidate"] == {Outcome.MISMATCHED: 1}
        assert tallies()[name].unstable == {}
    finally:
        let_go.set()


@pytest.mark.parametrize("mode", MODES)
def test_an_awaited_second_run_that_hangs_leaves_a_mismatch_unmarked(mode: str, name: str) -> None:
    """It is cancelled after the time that a candidate may take."""

    async def main() -> Result:
        async def control() -> int:
            if in_candidate():
                await asyncio.sleep(WATCHDOG)
            return 1

        async def candidate() -> int:
            return 2

        made = Experiment(name, mode=mode, recheck=True, timeout=0.05, publishers=())
        return await made.aobserve(control=control, candidate=candidate)

    [judged] = asyncio.run(main()).comparisons
    assert (judged.outcome, judged.recheck) == (Outcome.MISMATCHED, None)


@pytest.mark.parametrize("mode", OFF_THE_PATH)
def test_a_comparison_of_second_runs_that_hangs_is_given_up(mode: str, name: str) -> None:
    """The first verdict stands."""
    let_go, comparisons = threading.Event(), itertools.count()

    def compare(a: int, b: int) -> bool:
        if next(comparisons):
            let_go.wait(WATCHDOG)
        return a == b

    made = Experiment(name, mode=mode, recheck=True, timeout=0.2, compare=compare, publishers=())
    try:
        made.run(control=lambda: 1, candidate=lambda: 2)
        assert twinrun.flush(WATCHDOG)
        assert tallies()[name].outcomes["candidate"] == {Outcome.MISMATCHED: 1}
    finally:
        let_go.set()


def test_nothing_is_said_where_the_second_time_cannot_be_judged(
    run: Callable[..., Any], mode: str
) -> None:
    """A comparator that fails then is counted."""
    calls = itertools.count()

    def compare(a: int, b: int) -> bool:
        if next(calls):
            raise ValueError("not again")
        return False

    [judged] = run(giving(1, 1), giving(2, 2), mode=mode, compare=compare).comparisons
    assert (judged.outcome, judged.recheck) == (Outcome.MISMATCHED, None)


def test_each_pair_is_compared_once(name: str, mode: str) -> None:
    """The verdict is not found twice: control with candidate, and each with itself."""
    compared: list[tuple[int, int]] = []

    def compare(a: int, b: int) -> bool:
        compared.append((a, b))
        return a == b

    made = Experiment(name, mode=mode, recheck=True, compare=compare, publishers=())
    made.observe(control=lambda: 1, candidate=lambda: 2)
    assert compared == [(1, 2), (1, 1), (2, 2)]


@pytest.mark.parametrize("mode", MODES)
def test_the_caller_gets_the_first_outcome(mode: str, name: str) -> None:
    """Its very object, or its very exception with its own traceback, whatever comes later."""
    values = [object(), object()]
    made = Experiment(name, mode=mode, recheck=True, publishers=())
    assert made.run(control=giving(*values), candidate=giving(1, 2)) is values[0]
    errors = [ValueError("first"), ValueError("second")]
    with pytest.raises(ValueError, match="first") as caught:
        made.run(control=giving(*errors), candidate=giving(KeyError(1), KeyError(2)))
    assert caught.value is errors[0]
    assert (caught.value.__context__, caught.value.__cause__) == (None, None)
    assert twinrun.flush(WATCHDOG)


def test_one_exception_that_is_raised_each_time_stays_the_callers(name: str) -> None:
    """Neither frames nor contexts of the second runs are left on it."""
    error = ValueError("always the same")

    def control() -> None:
        raise error

    def candidate() -> None:
        try:
            raise error
        finally:
            raise KeyError("from it") from error

    made = Experiment(name, recheck=True, publishers=(), order="control-first")
    with pytest.raises(ValueError, match="always") as caught:
        made.run(control=control, candidate=candidate)
    functions = [entry.name for entry in caught.traceback]
    assert functions.count("control") == 1
    assert "candidate" not in functions
    assert (error.__context__, error.__cause__) == (None, None)


@pytest.mark.parametrize("awaited", [False, True])
def test_no_cycle_and_no_frame_is_left(awaited: bool, name: str) -> None:
    """What behaviours hold goes when they are over, also where all of them raised."""

    class Held:
        pass

    held: list[weakref.ref[Held]] = []

    def control() -> None:
        local = Held()
        held.append(weakref.ref(local))
        raise ValueError(str(len(held)))

    async def awaited_control() -> None:
        control()

    made = Experiment(name, recheck=True, publishers=())

    async def main() -> None:
        with contextlib.suppress(ValueError):
            await made.arun(control=awaited_control, candidate=control)

    gc.collect()
    gc.disable()
    try:
        if awaited:
            asyncio.run(main())
        else:
            with contextlib.suppress(ValueError):
                made.run(control=control, candidate=control)
        assert len(held) == 4
        assert [each() for each in held] == [None] * 4
    finally:
        gc.enable()


def test_an_interrupt_in_a_second_run_reaches_the_caller_inline(name: str) -> None:
    """It is aimed at the caller, and the run is in one count."""
    made = Experiment(name, recheck=True, publishers=())
    with pytest.raises(KeyboardInterrupt):
        made.run(control=giving(1, KeyboardInterrupt()), candidate=giving(2, 2))
    assert (tallies()[name].experiments, tallies()[name].skipped) == (0, {"interrupted": 1})


def test_a_cancellation_in_a_second_run_reaches_the_caller(name: str) -> None:
    """It is raised at once, and the run is in one count."""

    async def main() -> None:
        started = asyncio.Event()

        async def control() -> int:
            if in_candidate():
                started.set()
                await asyncio.sleep(WATCHDOG)
            return 1

        async def candidate() -> int:
            return 2

        made = Experiment(name, recheck=True, publishers=())
        task = asyncio.ensure_future(made.arun(control=control, candidate=candidate))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert (tallies()[name].experiments, tallies()[name].skipped) == (0, {"interrupted": 1})


def test_arguments_that_cannot_be_copied_leave_the_control_alone(mode: str, name: str) -> None:
    """All copies are made before anything runs."""
    copies = itertools.count()

    def isolate(value: Any) -> Any:
        if next(copies) >= 2:
            raise ValueError("no more")
        return value

    made = Experiment(
        name,
        mode=mode,
        recheck=True,
        isolate=isolate,
        publishers=(),
        control=lambda x: x,
        candidate=lambda x: 2,
    )
    assert made(1) == 1
    assert twinrun.flush(WATCHDOG)
    assert tallies()[name].skipped == {"isolate": 1}


def test_generators_are_refused_with_the_reason(name: str) -> None:
    """Their caller is part of what they do."""

    def control() -> Iterator[int]:
        yield 1

    def candidate() -> Generator[int, None, None]:
        yield 2

    with pytest.raises(ConfigurationError, match="its caller decides how far it goes"):
        Experiment(name, recheck=True, control=control, candidate=candidate)


@pytest.mark.parametrize("value", [1, "yes", None, 0.5])
def test_recheck_is_a_bool(value: Any, name: str) -> None:
    """Everything else is refused when the experiment is made."""
    with pytest.raises(ConfigurationError, match="recheck must be a bool"):
        Experiment(name, recheck=value)


def test_an_error_says_whether_it_repeats(name: str) -> None:
    """In tests an unstable mismatch raises like any other, and says so."""
    made = Experiment(name, recheck=True, publishers=(), raise_on_mismatch=True)
    with pytest.raises(MismatchError, match="when both ran once more: the control gave something"):
        made.run(control=giving(1, 2), candidate=giving(2, 2))
    with pytest.raises(MismatchError, match="when both ran once more: the same"):
        made.run(control=giving(1, 1), candidate=giving(2, 2))


def test_the_breaker_is_charged_with_second_runs(
    run: Callable[..., Any], mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A budget of CPU time holds for all that an experiment costs."""
    charged: list[int] = []
    burnt: list[int] = []

    def note(self: object, number: int, failed: bool, cpu_ns: int) -> None:
        charged.append(cpu_ns)

    def burn(value: int) -> int:
        began = time.thread_time_ns()
        sum(range(100_000))
        if in_candidate():
            burnt.append(time.thread_time_ns() - began)
        return value

    monkeypatch.setattr(breaking.Circuit, "note", note)
    breaker = Breaker(cpu_share=0.5)
    run(lambda: burn(1), lambda: burn(2), mode=mode, breaker=breaker)
    assert twinrun.flush(WATCHDOG)
    assert len(burnt) == 3
    assert charged[0] >= sum(burnt)


@pytest.mark.parametrize("awaited", [False, True])
def test_a_stack_at_its_end_takes_nothing_from_the_caller(awaited: bool, name: str) -> None:
    """Wherever it ends: the caller gets what the control has given, if five calls had room."""
    given: list[int] = []
    made = Experiment(name, recheck=True, publishers=(), order="control-first")

    def control(calls: int = 5) -> int:
        if calls:
            return control(calls - 1)
        given.append(1)
        return 1

    async def awaited_control() -> int:
        return control()

    def call() -> Any:
        if not awaited:
            return made.run(control=control, candidate=lambda: 2)
        coroutine: Any = made.arun(control=awaited_control, candidate=lambda: 2)
        try:
            coroutine.send(None)
        except StopIteration as stop:
            return stop.value
        finally:
            coroutine.close()
        raise AssertionError("it waits for nothing")

    def deep(depth: int) -> Any:
        return deep(depth - 1) if depth else call()

    lost = []
    call()
    for depth in range(sys.getrecursionlimit() - 250, sys.getrecursionlimit()):
        given.clear()
        try:
            deep(depth)
        except RecursionError:
            lost.append(len(given))
    assert lost
    assert not any(lost)


def test_in_a_storm_of_threads_each_run_is_in_one_count(mode: str, name: str) -> None:
    """Whatever raises, differs, is late or finds no room."""
    chance = random.Random(4)
    lock = threading.Lock()

    def behaviour(value: int) -> Callable[[], float]:
        def run() -> float:
            with lock:
                drawn = chance.random()
            if drawn < 0.1:
                raise ValueError("now and then")
            return value if drawn < 0.8 else drawn

        return run

    made = Experiment(
        name,
        mode=mode,
        recheck=True,
        baseline=0.5,
        timeout=10.0,
        breaker=None,
        publishers=(),
        control=behaviour(1),
        candidate=behaviour(2),
    )

    def work() -> None:
        for _ in range(100):
            with contextlib.suppress(ValueError):
                made()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert twinrun.flush(WATCHDOG)
    tally = tallies()[name]
    assert tally.runs == 400
    assert sum(tally.outcomes["candidate"].values()) == tally.experiments
    assert 0 < tally.unstable["candidate"] < tally.outcomes["candidate"][Outcome.MISMATCHED]
    assert tally.failures == {}

"""Async generators run inline, on asyncio's own event loop and on uvloop."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import itertools
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from functools import partial
from typing import Any

import pytest
import uvloop

import twinrun
from twinrun import NOTHING, MismatchError, Outcome, Result, Stream, experiment, in_candidate

ORDERS = ("control-first", "control-last")
Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run a coroutine on one kind of event loop, whose complaints are errors."""

    def run_on(coroutine: Coroutine[Any, Any, Any]) -> Any:
        complaints: list[dict[str, Any]] = []

        async def main() -> Any:
            asyncio.get_running_loop().set_exception_handler(
                lambda loop, context: complaints.append(context)
            )
            async with asyncio.timeout(30):
                return await coroutine

        with asyncio.Runner(loop_factory=request.param, debug=True) as runner:
            made = runner.run(main())
        assert complaints == []
        return made

    return run_on


def gives(*items: Any, error: BaseException | None = None) -> Any:
    """Make an async generator function that gives these items."""

    async def generate(*_: Any) -> AsyncGenerator[Any, Any]:
        for item in items:
            await asyncio.sleep(0)
            yield item
        if error is not None:
            raise error

    return generate


def watched(control: Any, candidate: Any, **options: Any) -> tuple[Any, list[Result]]:
    """Decorate a control; give the function and the list of its results."""
    results: list[Result] = []
    options = {"publishers": (results.append,), **options}
    return experiment("async.streams", candidate=candidate, **options)(control), results


async def listed(generator: AsyncIterator[Any]) -> list[Any]:
    """Give all items."""
    return [item async for item in generator]


def told(result: Result) -> list[tuple[Any, ...]]:
    """Give the only candidate's differences as tuples."""
    [comparison] = result.comparisons
    return [(d.path, str(d.kind), d.control, d.candidate) for d in comparison.differences]


def skipped(name: str, reason: str) -> int:
    """How many runs were skipped for a reason."""
    tally = twinrun.tallies().get(name)
    return 0 if tally is None else tally.skipped.get(reason, 0)


async def settled() -> None:
    """Let what is under way in other tasks come to its end."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_it_stays_an_async_generator_function(run: Run) -> None:
    """And where no experiment is made, the caller gets the control's own generator."""
    control = gives(1)
    decorated = experiment("async.kind", candidate=gives(1), publishers=())(control)
    assert inspect.isasyncgenfunction(decorated)
    assert inspect.isasyncgen(decorated())
    off = experiment("async.kind", candidate=gives(1), sample=0)(control)
    assert inspect.isasyncgenfunction(off)
    assert off().ag_code is control.__code__
    assert run(listed(decorated())) == [1]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("control", "candidate", "differences"),
    [
        (gives(1, 2, 3), gives(1, 5, 6), [("$[1]", "changed", 2, 5)]),
        (gives(1, 2), gives(1), [("$[1]", "removed", 2, NOTHING)]),
        (gives(1), gives(1, 2, 3), [("$[1]", "added", NOTHING, 2)]),
        (gives(1, 2), gives(1, 2), []),
    ],
)
def test_items_are_compared_in_order(
    run: Run, order: str, control: Any, candidate: Any, differences: list[Any]
) -> None:
    """The first difference is told by its place."""
    function, results = watched(control, candidate, order=order)
    run(listed(function()))
    assert told(results[0]) == differences
    assert results[0].control.value.ended == "returned"


@pytest.mark.parametrize("order", ORDERS)
def test_exceptions_are_the_controls_own_and_are_compared(run: Run, order: str) -> None:
    """The candidate's is evidence."""
    error = KeyError(1)
    function, results = watched(gives(1, error=error), gives(1, error=KeyError(2)), order=order)
    with pytest.raises(KeyError) as caught:
        run(listed(function()))
    assert caught.value is error
    assert told(results[0])[0][:2] == ("$[1]", "raised")
    assert "KeyError: 2" in (results[0].candidates[0].traceback or "")


@pytest.mark.parametrize("order", ORDERS)
def test_what_the_caller_sends_and_throws_goes_to_both(run: Run, order: str) -> None:
    """With `asend`, `athrow` and `aclose`."""

    async def totals() -> AsyncGenerator[float, float]:
        total = 0.0
        try:
            while True:
                total += (yield total) or 0
        except LookupError:
            yield -total

    async def script() -> list[float]:
        generator = function()
        return [
            await anext(generator),
            await generator.asend(2),
            await generator.asend(3),
            await generator.athrow(LookupError()),
            await generator.aclose(),
        ]

    function, results = watched(totals, totals, order=order)
    assert run(script()) == [0, 2, 5, -5, None]
    assert results[0].matched
    assert results[0].candidates[0].value == Stream(items=4, ended="closed")


@pytest.mark.parametrize("order", ORDERS)
def test_an_endless_candidate_is_asked_for_one_item_more_at_most(run: Run, order: str) -> None:
    """It is closed at the end."""
    asked = itertools.count(1)
    closed: list[bool] = []

    async def endless() -> AsyncIterator[int]:
        try:
            for item in asked:
                yield item
        finally:
            await asyncio.sleep(0)
            closed.append(True)

    async def script() -> None:
        assert await listed(function()) == [1, 2, 3]
        await settled()

    function, results = watched(gives(1, 2, 3), endless, order=order)
    run(script())
    assert next(asked) == 5
    assert closed == [True]
    assert told(results[0]) == [("$[3]", "added", NOTHING, 4)]


def test_a_candidate_may_be_a_plain_function_of_an_async_iterable(run: Run) -> None:
    """What can't be iterated so is what it raised."""

    class Numbers:
        def __init__(self) -> None:
            self.number = 0

        def __aiter__(self) -> Numbers:
            return self

        async def __anext__(self) -> int:
            self.number += 1
            if self.number > 2:
                raise StopAsyncIteration
            return self.number

    function, results = watched(gives(1, 2), lambda: Numbers())
    run(listed(function()))
    assert results[0].matched
    function, results = watched(gives(1, 2), lambda: [1, 2])
    run(listed(function()))
    assert told(results[0])[0][:2] == ("$[0]", "raised")


@pytest.mark.parametrize("where", ["control", "candidate"])
def test_the_callers_cancellation_takes_effect_at_once_and_reaches_the_control(
    run: Run, where: str
) -> None:
    """Whoever is waiting then: the control cleans up, the candidate is cancelled too."""
    happened: list[str] = []
    waiting = asyncio.Event()

    async def wait(who: str) -> AsyncIterator[int]:
        try:
            yield 1
            if who == where:
                waiting.set()
                await asyncio.Event().wait()
            yield 2
        except asyncio.CancelledError:
            happened.append(f"{who} cancelled")
            raise
        finally:
            happened.append(f"{who} cleaned up")

    async def script() -> None:
        task = asyncio.create_task(listed(function()))
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert "control cancelled" in happened
        await settled()

    name = "async.cancelled"
    order = "control-first" if where == "control" else "control-last"
    control = partial(wait, "control")
    function = experiment(name, candidate=partial(wait, "candidate"), order=order, publishers=())(
        control
    )
    before = skipped(name, "interrupted")
    run(script())
    assert {"control cleaned up", "candidate cleaned up"} <= set(happened)
    assert skipped(name, "interrupted") == before + 1


def test_a_candidate_that_swallows_its_cancellation_holds_nobody(run: Run) -> None:
    """The caller goes on at once."""

    waiting, released = asyncio.Event(), asyncio.Event()

    async def stubborn() -> AsyncIterator[int]:
        while not released.is_set():
            try:
                waiting.set()
                await released.wait()
            except asyncio.CancelledError:
                pass
        yield 1

    async def script() -> None:
        task = asyncio.create_task(listed(function()))
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        released.set()
        await settled()

    function, results = watched(gives(1), stubborn, order="control-last")
    run(script())
    assert results == []


def test_a_candidates_own_cancellation_is_evidence(run: Run) -> None:
    """So is what it does to the task that it takes for the caller's."""

    async def cancelling() -> AsyncIterator[int]:
        yield 1
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)
        yield 2

    function, results = watched(gives(1, 2), cancelling)
    assert run(listed(function())) == [1, 2]
    assert told(results[0])[0][:2] == ("$[1]", "raised")
    assert isinstance(results[0].candidates[0].exception, asyncio.CancelledError)


def test_a_candidates_timeout_around_a_yield_cancels_nobody_else(run: Run) -> None:
    """Not even while the caller is doing something else."""

    async def timed() -> AsyncIterator[int]:
        async with asyncio.timeout(0.01):
            yield 1
            yield 2

    async def script() -> list[int]:
        items = []
        async for item in function():
            items.append(item)
            await asyncio.sleep(0.03)
        return items

    function, results = watched(gives(1, 2), timed)
    assert run(script()) == [1, 2]
    assert len(results) == 1


def test_a_candidate_that_takes_too_long_is_cancelled(run: Run) -> None:
    """The control goes on alone, and waits for it no longer."""
    happened: list[str] = []

    async def slow() -> AsyncIterator[int]:
        yield 1
        try:
            await asyncio.Event().wait()
        finally:
            happened.append("cancelled")

    async def script() -> None:
        assert await listed(function()) == [1, 2, 3]
        await settled()

    function, results = watched(gives(1, 2, 3), slow, timeout=0.01)
    run(script())
    [comparison] = results[0].comparisons
    assert comparison.outcome is Outcome.TIMED_OUT
    assert comparison.candidate.duration >= 0.01
    assert happened == ["cancelled"]


def test_a_candidate_runs_in_a_context_of_its_own(run: Run) -> None:
    """The control, as any async generator, in the caller's."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
    seen: list[Any] = []

    async def control() -> AsyncIterator[int]:
        yield 1
        seen.append(("control", variable.get(), in_candidate()))

    async def candidate() -> AsyncIterator[int]:
        token = variable.set("the candidate's")
        yield 1
        seen.append(("candidate", variable.get(), in_candidate()))
        variable.reset(token)

    async def script() -> None:
        generator = function()
        await anext(generator)
        variable.set("the caller's")
        assert await listed(generator) == []

    function, results = watched(control, candidate, order="control-first")
    run(script())
    assert seen == [("control", "the caller's", False), ("candidate", "the candidate's", True)]
    assert results[0].matched


def test_a_recursive_async_generator_is_one_experiment(run: Run) -> None:
    """What both sides call of it is the control's own generator."""
    calls: list[str] = []

    async def new(tree: Any) -> AsyncIterator[int]:
        calls.append("new")
        yield tree[0]
        for branch in tree[1:]:
            async for item in walk(branch):
                yield item

    @experiment("async.tree", candidate=new, publishers=())
    async def walk(tree: Any) -> AsyncIterator[int]:
        calls.append("old")
        yield tree[0]
        for branch in tree[1:]:
            async for item in walk(branch):
                yield item

    before = skipped("async.tree", "reentry")
    assert run(listed(walk([1, [2, [3]], [4]]))) == [1, 2, 3, 4]
    assert (calls.count("new"), calls.count("old")) == (1, 7)
    assert skipped("async.tree", "reentry") == before + 6


@pytest.mark.parametrize("way", ["close", "drop", "end of the loop"])
def test_a_caller_that_stops_early_compares_what_it_has_seen(run: Run, way: str) -> None:
    """Closed by it, by the event loop when it is dropped, or when the loop ends."""
    kept: list[Any] = []

    async def script() -> None:
        generator = function()
        assert [await anext(generator), await anext(generator)] == [1, 2]
        if way == "close":
            await generator.aclose()
        elif way == "drop":
            del generator
            await settled()
        else:
            kept.append(generator)

    function, results = watched(gives(1, 2, 3), gives(1, 2, 7))
    run(script())
    [result] = results
    assert result.matched
    assert result.control.value == result.candidates[0].value == Stream(items=2, ended="closed")


def test_the_cpu_time_of_the_steps_alone_is_measured(run: Run) -> None:
    """Not that of other tasks meanwhile."""

    async def busy() -> None:
        for _ in range(100):
            sum(range(10_000))
            await asyncio.sleep(0)

    async def waits() -> AsyncIterator[int]:
        for _ in range(100):
            await asyncio.sleep(0)
        yield 1

    async def script() -> None:
        await asyncio.gather(busy(), listed(function()))

    function, results = watched(waits, waits, cpu_time=True)
    run(script())
    [result] = results
    for side in (result.control, *result.candidates):
        assert side.cpu_time is not None
        assert 0 < side.cpu_time < side.duration


def test_a_mismatch_raises_at_the_end_where_that_is_asked_for(run: Run) -> None:
    """In place of the end, and at the close."""
    function, _ = watched(gives(1, 2), gives(1, 3), raise_on_mismatch=True)

    async def script() -> None:
        with pytest.raises(MismatchError):
            await listed(function())
        generator = function()
        assert [await anext(generator), await anext(generator)] == [1, 2]
        with pytest.raises(MismatchError):
            await generator.aclose()

    run(script())


def test_without_an_event_loop_of_asyncios_the_control_runs_alone() -> None:
    """As under trio, or where steps are driven by hand."""

    async def control() -> AsyncIterator[int]:
        yield 1

    function = experiment("async.bare", candidate=control, publishers=())(control)
    before = skipped("async.bare", "no loop")
    generator: Any = function()
    with pytest.raises(StopIteration) as stopped:
        generator.asend(None).send(None)
    assert stopped.value.value == 1
    del generator
    assert skipped("async.bare", "no loop") == before + 1


PROGRAM = """
import asyncio, gc, sys
import twinrun

async def candidate():
    try:
        for item in range(9):
            await asyncio.sleep(0)
            yield item
    finally:
        await asyncio.sleep(0)

@twinrun.experiment("noise", candidate=candidate, publishers=(lambda r: print(r.matched),))
async def control():
    try:
        for item in range(9):
            yield item
    finally:
        await asyncio.sleep(0)

async def main():
    async for item in control():
        break
    cycle = [control()]
    cycle.append(cycle)
    await anext(cycle[0])
    del cycle
    gc.collect()
    await asyncio.sleep(0.01)
    global kept, never_begun
    never_begun = control()
    kept = control()
    await anext(kept)

asyncio.run(main())

loop = asyncio.new_event_loop()
async def left():
    generator = control()
    await anext(generator)
    return generator
generator = loop.run_until_complete(left())
loop.close()
del generator
gc.collect()
print("end")
"""


def test_streams_that_are_dropped_make_no_noise() -> None:
    """By the last reference, the collector, the end of the loop, and after it, as undecorated."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    assert done.stdout.split() == ["True"] * 3 + ["end"]

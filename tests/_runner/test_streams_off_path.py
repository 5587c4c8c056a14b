"""Candidates' streams off the caller's path: driven from a record, when the control is over."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Generator, Iterator
from functools import partial
from typing import Any

import pytest

import twinrun
from twinrun import NOTHING, MismatchError, Outcome, Result, Stream, experiment

MODES = ("concurrent", "background")
WATCHDOG = 30.0


def watched(control: Any, candidate: Any, **options: Any) -> tuple[Any, list[Result]]:
    """Decorate a control; give the function and the list of its results."""
    results: list[Result] = []
    options = {"publishers": (results.append,), "mode": "background", **options}
    name = options.pop("name", "streams.off")
    return experiment(name, candidate=candidate, **options)(control), results


def the_one(results: list[Result]) -> Result:
    """Give the only result, once it is there."""
    assert twinrun.flush(WATCHDOG)
    [result] = results
    return result


def told(result: Result) -> list[tuple[Any, ...]]:
    """Give the only candidate's differences as tuples."""
    [comparison] = result.comparisons
    return [(d.path, str(d.kind), d.control, d.candidate) for d in comparison.differences]


def skipped(name: str, reason: str) -> int:
    """How many runs were skipped for a reason."""
    tally = twinrun.tallies().get(name)
    return 0 if tally is None else tally.skipped.get(reason, 0)


def gives(*items: Any, returned: Any = None) -> Any:
    """Make a generator function that gives these items."""

    def generate() -> Generator[Any, Any, Any]:
        yield from items
        return returned

    return generate


@pytest.mark.parametrize("mode", MODES)
def test_the_caller_never_waits_for_a_candidate(mode: str) -> None:
    """The candidate begins when the control is over, on a thread of ours, and may take its time."""
    released = threading.Event()
    threads: list[int] = []

    def slow() -> Iterator[int]:
        threads.append(threading.get_ident())
        assert released.wait(WATCHDOG)
        yield 1
        yield 3

    function, results = watched(gives(1, 2, 3), slow, mode=mode)
    assert list(function()) == [1, 2, 3]
    assert results == []
    released.set()
    result = the_one(results)
    assert told(result) == [("$[1]", "changed", 2, 3)]
    assert result.order == ("control", "candidate")
    assert result.control.value == Stream(items=3, ended="returned", returned=None)
    assert threads != [threading.get_ident()]


def test_what_is_compared_is_what_the_caller_was_given() -> None:
    """Before the caller changed it; what the control goes on to make of that is its outcome."""

    def control() -> Generator[list[int], None, list[int]]:
        items = [1]
        yield items
        return items

    function, results = watched(control, control)
    generator = function()
    next(generator).append(2)
    with pytest.raises(StopIteration) as stopped:
        next(generator)
    stopped.value.value.append(3)
    result = the_one(results)
    assert told(result) == [("$.returned[1]", "removed", 2, NOTHING)]
    assert result.control.value.returned == [1, 2]


@pytest.mark.parametrize("mode", MODES)
def test_what_the_caller_sent_and_threw_is_played_to_the_candidate(mode: str) -> None:
    """As it was then, step by step."""
    seen: list[Any] = []

    def listening(log: list[Any] | None) -> Generator[int, Any, str]:
        try:
            while True:
                got = yield 1
                if log is not None:
                    log.append(got)
        except LookupError as error:
            yield 2
            return str(error)

    control = partial(listening, None)
    function, results = watched(control, partial(listening, seen), mode=mode)
    generator = function()
    next(generator)
    message = ["as sent"]
    generator.send(message)
    message.append("changed")
    generator.throw(LookupError("enough"))
    assert list(generator) == []
    assert the_one(results).matched
    assert seen == [["as sent"]]


def test_an_endless_candidate_is_asked_for_one_item_more_at_most() -> None:
    """And a caller that stops early compares what it has seen."""
    asked = itertools.count(1)
    function, results = watched(gives(1, 2), lambda: asked)
    assert list(function()) == [1, 2]
    assert told(the_one(results)) == [("$[2]", "added", NOTHING, 3)]
    assert next(asked) == 4
    function, results = watched(gives(1, 2, 3), lambda: itertools.count(1))
    for _ in function():
        break
    result = the_one(results)
    assert result.matched
    assert result.candidates[0].value == Stream(items=1, ended="closed")


def test_a_candidate_that_is_stuck_is_timed_out() -> None:
    """The stream of another call goes on meanwhile."""
    released = threading.Event()

    def stuck() -> Iterator[int]:
        yield 1
        released.wait(WATCHDOG)
        yield 2

    function, results = watched(gives(1, 2), stuck, timeout=0.05, breaker=None)
    try:
        assert list(function()) == [1, 2]
        [comparison] = the_one(results).comparisons
        assert comparison.outcome is Outcome.TIMED_OUT
    finally:
        released.set()


def test_a_full_queue_sheds_the_run_when_the_control_is_over() -> None:
    """That is counted by its reason, and the caller notices nothing."""
    released, begun = threading.Event(), threading.Event()

    def waits() -> Iterator[int]:
        begun.set()
        released.wait(WATCHDOG)
        yield 1

    twinrun.configure(workers=1, queue=1)
    function, results = watched(gives(1), waits, name="streams.full")
    before = skipped("streams.full", "queue full")
    try:
        assert list(function()) == [1]
        assert begun.wait(WATCHDOG)
        assert list(function()) + list(function()) == [1, 1]
        assert skipped("streams.full", "queue full") == before + 1
    finally:
        released.set()
    assert twinrun.flush(WATCHDOG)
    assert [result.matched for result in results] == [True, True]


def test_a_record_is_bounded_and_says_where_it_was_cut() -> None:
    """Nothing is claimed of what was not compared; a difference before that is found."""
    big = "x" * 64_000
    many = gives(*[big] * 200)
    function, results = watched(many, many)
    assert len(list(function())) == 200
    [comparison] = the_one(results).comparisons
    assert comparison.outcome is Outcome.INCONCLUSIVE
    assert comparison.reason == "only the first 99 steps of the stream were recorded"
    assert comparison.candidate.value == Stream(items=99, ended="closed")
    function, results = watched(many, gives(big, "other"))
    list(function())
    assert the_one(results).mismatched


def test_items_that_cannot_be_copied_leave_it_undecided() -> None:
    """The caller's iterators are not touched."""
    function, results = watched(gives(1, iter([2, 3])), gives(1, 2))
    items = list(function())
    assert list(items[1]) == [2, 3]
    [comparison] = the_one(results).comparisons
    assert (comparison.outcome, comparison.reason) == (Outcome.INCONCLUSIVE, "isolate")


def test_what_the_control_raised_stays_the_callers() -> None:
    """With its traceback; what is compared is a twin."""
    error = KeyError("both")

    def raising(error: KeyError) -> Iterator[int]:
        yield 1
        raise error

    function, results = watched(partial(raising, error), partial(raising, KeyError("both")))
    with pytest.raises(KeyError) as caught:
        list(function())
    assert caught.value is error
    trace = error.__traceback__
    result = the_one(results)
    assert result.matched
    assert error.__traceback__ is trace
    assert result.control.exception is not error
    assert "KeyError: 'both'" in (result.control.traceback or "")
    assert result.control.value == Stream(items=1, ended="raised")


def test_where_a_mismatch_raises_it_is_done_inline() -> None:
    """Tests must see it."""
    function, _ = watched(gives(1), gives(2), raise_on_mismatch=True)
    with pytest.raises(MismatchError):
        list(function())


def test_a_control_interrupted_by_its_caller_is_not_compared() -> None:
    """It is counted."""

    def interrupted() -> Iterator[int]:
        yield 1
        raise KeyboardInterrupt

    function, results = watched(interrupted, gives(1), name="streams.off.hit")
    before = skipped("streams.off.hit", "interrupted")
    with pytest.raises(KeyboardInterrupt):
        list(function())
    assert skipped("streams.off.hit", "interrupted") == before + 1
    assert twinrun.flush(WATCHDOG)
    assert results == []


@pytest.mark.parametrize("mode", MODES)
def test_async_candidates_are_driven_by_tasks(mode: str) -> None:
    """The caller goes on; a candidate's own exceptions are evidence."""

    async def control() -> AsyncIterator[int]:
        yield 1
        yield 2

    async def slow() -> AsyncIterator[int]:
        await released.wait()
        yield 1
        raise KeyboardInterrupt

    async def script() -> None:
        assert [item async for item in function()] == [1, 2]
        assert results == []
        released.set()
        assert await twinrun.aflush(WATCHDOG)

    released = asyncio.Event()
    function, results = watched(control, slow, mode=mode)
    asyncio.run(script())
    result = the_one(results)
    assert told(result)[0][:3] == ("$[1]", "raised", 2)
    assert isinstance(result.candidates[0].exception, KeyboardInterrupt)


def test_an_async_candidate_that_takes_too_long_is_cancelled() -> None:
    """And judged so."""
    happened: list[str] = []

    async def control() -> AsyncIterator[int]:
        yield 1

    async def stuck() -> AsyncIterator[int]:
        try:
            await asyncio.Event().wait()
        finally:
            happened.append("cancelled")
        yield 1

    async def script() -> None:
        assert [item async for item in function()] == [1]
        assert await twinrun.aflush(WATCHDOG)
        await asyncio.sleep(0)

    function, results = watched(control, stuck, timeout=0.01, breaker=None)
    asyncio.run(script())
    [comparison] = the_one(results).comparisons
    assert comparison.outcome is Outcome.TIMED_OUT
    assert happened == ["cancelled"]


def test_an_async_candidate_ends_with_its_event_loop() -> None:
    """Which is counted; nothing complains."""

    async def control() -> AsyncIterator[int]:
        yield 1

    async def endless() -> AsyncIterator[int]:
        await asyncio.Event().wait()
        yield 1

    async def script() -> None:
        assert [item async for item in function()] == [1]
        await asyncio.sleep(0)

    function, results = watched(control, endless, name="streams.off.loop")
    before = skipped("streams.off.loop", "loop closed")
    asyncio.run(script())
    assert twinrun.flush(WATCHDOG)
    assert results == []
    assert skipped("streams.off.loop", "loop closed") == before + 1

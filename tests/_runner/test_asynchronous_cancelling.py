"""A cancellation of the caller takes effect at once; a candidate's own stays its own."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from twinrun import Experiment, Outcome, Result, flush, tallies

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Behaviour = Callable[[], Coroutine[Any, Any, Any]]

LONG = 60.0
"""Seconds that no test waits for: something holds the caller if it ever does."""

ORDERS = ("control-first", "control-last")
numbers = itertools.count()


def made(candidate: Any, control: Any, **options: Any) -> tuple[Experiment, list[Result]]:
    """Make an experiment with a name of its own, and a list of its results."""
    results: list[Result] = []
    name = f"cancelling.{next(numbers)}"
    options.setdefault("publishers", [results.append])
    return Experiment(name, control=control, candidate=candidate, **options), results


async def two() -> int:
    """Be a control that waits a little."""
    await asyncio.sleep(0)
    return 2


async def hangs() -> int:
    """Wait for ever."""
    await asyncio.Event().wait()
    return 2


async def swallows() -> int:
    """Take no notice of being cancelled."""
    while True:
        with contextlib.suppress(BaseException):
            await asyncio.Event().wait()


async def swallows_deep_inside() -> int:
    """Take no notice, two calls further in."""

    async def inner() -> int:
        return await swallows()

    try:
        return await inner()
    finally:
        await asyncio.sleep(0)


async def returns_when_cancelled() -> int:
    """Take the cancellation for a reason to be ready."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return 2
    return 3


async def fails_when_cancelled() -> int:
    """Make another exception of it."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        raise ValueError from None
    return 3


async def cleans_up_slowly() -> int:
    """Wait once more before it ends."""
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(LONG)
    return 3


async def waits_for_a_stubborn_task() -> int:
    """Wait for a task that takes its time to be cancelled."""

    async def stubborn() -> None:
        for _ in range(50):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.001)
        raise ValueError("nobody looks at this")

    await asyncio.create_task(stubborn())
    return 2


async def gathers() -> int:
    """Wait for several at once."""
    await asyncio.gather(hangs(), hangs())
    return 2


async def spins() -> int:
    """Give way to others again and again, and wait for nothing."""
    while True:
        await asyncio.sleep(0)


HELD: tuple[Behaviour, ...] = (
    hangs,
    swallows,
    swallows_deep_inside,
    returns_when_cancelled,
    fails_when_cancelled,
    cleans_up_slowly,
    waits_for_a_stubborn_task,
    gathers,
    spins,
)


async def cancelled_by_task(call: Behaviour) -> None:
    """Cancel the calling task from outside, with a message."""
    task = asyncio.ensure_future(call())
    await asyncio.sleep(0.002)
    task.cancel("from outside")
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert caught.value.args == ("from outside",)


async def cancelled_by_timeout(call: Behaviour) -> None:
    """Call within `asyncio.timeout`."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.002):
            await call()


async def cancelled_by_wait_for(call: Behaviour) -> None:
    """Call within `asyncio.wait_for`."""
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(call(), 0.002)


async def cancelled_by_group(call: Behaviour) -> None:
    """Call in a TaskGroup, another task of which fails."""

    async def failing() -> None:
        await asyncio.sleep(0.002)
        raise LookupError

    async def grouped() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(call())
            group.create_task(failing())

    with pytest.raises(ExceptionGroup) as caught:
        await grouped()
    assert [type(error) for error in caught.value.exceptions] == [LookupError]


CANCELLED = (cancelled_by_task, cancelled_by_timeout, cancelled_by_wait_for, cancelled_by_group)


@pytest.mark.parametrize("candidate", HELD)
@pytest.mark.parametrize("cancelled", CANCELLED)
def test_no_candidate_holds_a_caller_that_is_cancelled(
    run: Run, candidate: Behaviour, cancelled: Callable[[Behaviour], Coroutine[Any, Any, None]]
) -> None:
    """Nothing is published; the run is counted as interrupted, and is no mismatch."""
    experiment, results = made(candidate, two)

    async def main() -> None:
        started = time.monotonic()
        await cancelled(lambda: experiment())
        assert time.monotonic() - started < LONG / 2
        await asyncio.sleep(0)

    run(main())
    assert results == []
    tally = tallies()[experiment.name]
    assert (tally.skipped, tally.experiments) == ({"interrupted": 1}, 0)


@pytest.mark.parametrize("mode", ["inline", "concurrent", "background"])
@pytest.mark.parametrize("cancelled", CANCELLED)
def test_a_control_that_is_cancelled_with_its_caller_is_no_outcome(
    run: Run, cancelled: Callable[[Behaviour], Coroutine[Any, Any, None]], mode: str
) -> None:
    """Candidates that are under way are cancelled too, and nothing is published."""
    told: list[str] = []

    async def candidate() -> int:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            told.append("cancelled")
            raise
        return 2

    order = {"order": "control-first"} if mode == "inline" else {}
    experiment, results = made(candidate, hangs, mode=mode, breaker=None, **order)

    async def main() -> None:
        await cancelled(lambda: experiment())
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    run(main())
    assert results == []
    assert told == (["cancelled"] if mode == "concurrent" else [])
    tally = tallies()[experiment.name]
    assert (tally.skipped, tally.experiments) == ({"interrupted": 1}, 0)


@pytest.mark.parametrize("candidate", HELD)
@pytest.mark.parametrize("mode", ["inline", "concurrent", "background"])
def test_no_candidate_outlives_its_timeout(run: Run, candidate: Behaviour, mode: str) -> None:
    """The outcome is `timed_out`; the control's value comes, and nobody waits for the candidate."""
    experiment, results = made(candidate, None, mode=mode, timeout=0.02, breaker=None)

    async def main() -> Result:
        started = time.monotonic()
        result = await experiment.aobserve(control=two)
        assert time.monotonic() - started < LONG / 2
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        return result

    result = run(main())
    assert result.control.value == 2
    assert result.comparisons[0].outcome is Outcome.TIMED_OUT
    assert results == [result]


async def within_timeout() -> str:
    """Be timed out by oneself, and wait while cleaning up."""
    try:
        async with asyncio.timeout(0.002):
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0.002)
    except TimeoutError:
        return "timed out"
    return "never"


async def within_wait_for() -> str:
    """The same by `wait_for`."""
    try:
        await asyncio.wait_for(cleans_up(), 0.002)
    except TimeoutError:
        return "timed out"
    return "never"


async def cleans_up() -> None:
    """Wait while being cancelled."""
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0.002)


async def within_timeouts() -> str:
    """Two timeouts, one in the other; the outer one strikes."""
    try:
        async with asyncio.timeout(0.002):
            async with asyncio.timeout(LONG):
                await cleans_up()
    except TimeoutError:
        return "timed out"
    return "never"


async def in_the_past() -> str:
    """A timeout that is over when it begins."""
    try:
        async with asyncio.timeout(-1):
            await asyncio.sleep(0)
            await asyncio.sleep(LONG)
    except TimeoutError:
        return "timed out"
    return "never"


async def within_a_group() -> str:
    """Be cancelled by a TaskGroup of one's own."""

    async def failing() -> None:
        await asyncio.sleep(0.002)
        raise LookupError

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(failing())
            group.create_task(hangs())
            await cleans_up()
    except* LookupError:
        pass
    return "timed out"


async def cancels_itself_and_goes_on() -> str:
    """Cancel the task and take that back."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        task.uncancel()
        return "timed out"
    return "never"


OWN = (
    within_timeout,
    within_wait_for,
    within_timeouts,
    in_the_past,
    within_a_group,
    cancels_itself_and_goes_on,
)


@pytest.mark.parametrize("behaviour", OWN)
@pytest.mark.parametrize("mode", ["inline", "concurrent", "background"])
def test_what_cancels_itself_inside_is_a_behaviour_like_any_other(
    run: Run, behaviour: Behaviour, mode: str
) -> None:
    """Its own timeouts and groups work, and are not taken for a cancellation of the caller."""
    orders: tuple[dict[str, str], ...] = ({},)
    if mode == "inline":
        orders = tuple({"order": order} for order in ORDERS)
    for order in orders:
        experiment, results = made(behaviour, None, mode=mode, breaker=None, **order)

        async def main(experiment: Experiment = experiment) -> None:
            result = await experiment.aobserve(control=behaviour)
            assert result.control.value == "timed out"
            assert result.matched
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0
            await asyncio.sleep(0.02)

        run(main())
        assert len(results) == 1


async def raises_it() -> int:
    """Raise a CancelledError."""
    raise asyncio.CancelledError("own")


async def waits_for_what_was_cancelled() -> int:
    """Wait for a future that was cancelled."""
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    future.cancel("own")
    return await future


async def waits_for_what_gets_cancelled() -> int:
    """Wait for a task that is cancelled meanwhile."""
    task = asyncio.ensure_future(hangs())
    asyncio.get_running_loop().call_later(0.01, task.cancel, "own")
    return await task


async def cancels_its_task() -> int:
    """Cancel the task that it runs in, and leave it so."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel("own")
    await asyncio.sleep(LONG)
    return 3


@pytest.mark.parametrize(
    "candidate",
    [
        raises_it,
        waits_for_what_was_cancelled,
        waits_for_what_gets_cancelled,
        cancels_its_task,
    ],
)
@pytest.mark.parametrize("mode", ["inline", "concurrent", "background"])
def test_a_cancellation_of_the_candidates_own_is_what_it_raised(
    run: Run, candidate: Behaviour, mode: str
) -> None:
    """Recorded like any exception; the caller's task is left as it was."""
    experiment, results = made(candidate, two, mode=mode, breaker=None)

    async def main() -> None:
        assert await experiment() == 2
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(0.05)

    run(main())
    assert flush()
    [result] = results
    assert result.mismatched
    assert type(result.candidates[0].exception) is asyncio.CancelledError
    assert result.candidates[0].exception.args == ("own",)


@pytest.mark.parametrize("order", ORDERS)
def test_a_candidate_that_cancels_its_task_at_its_very_end_cancels_nobody(
    run: Run, order: str
) -> None:
    """The cancellation would reach whatever the caller waits for next."""

    async def candidate() -> int:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return 2

    experiment, results = made(candidate, two, order=order)

    async def main() -> None:
        assert await experiment() == 2
        await asyncio.sleep(0.01)

    run(main())
    assert results[0].matched


@pytest.mark.parametrize("order", ORDERS)
def test_a_cancellation_that_waits_for_the_caller_strikes_at_its_next_wait(
    run: Run, order: str
) -> None:
    """As it does undecorated: in the control or in the candidate, whichever waits first."""
    experiment, results = made(two, two, order=order)

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel("before")
        with pytest.raises(asyncio.CancelledError, match="before"):
            await experiment()
        task.uncancel()

    run(main())
    assert results == []
    assert tallies()[experiment.name].skipped == {"interrupted": 1}


def test_a_control_that_swallows_its_cancellation_gives_its_value(run: Run) -> None:
    """As it does undecorated; then the candidate runs."""
    experiment, results = made(two, returns_when_cancelled, order="control-first")

    async def main() -> None:
        task = asyncio.ensure_future(experiment())
        await asyncio.sleep(0.01)
        task.cancel()
        assert await task == 2

    run(main())
    assert results[0].matched


def test_the_cancellation_is_raised_as_it_came(run: Run) -> None:
    """What the candidate did to the very exception is undone."""
    seen: list[BaseException] = []

    async def candidate() -> int:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            seen.append(error)
            try:
                raise LookupError
            except LookupError as other:
                raise error from other
        return 2

    experiment, _ = made(candidate, two, order="control-last")

    async def main() -> None:
        async def call() -> None:
            try:
                await experiment()
            except asyncio.CancelledError as error:
                assert error is seen[0]
                assert error.__cause__ is None
                assert error.__context__ is None
                raise

        await cancelled_by_task(call)

    run(main())
    assert len(seen) == 1


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("candidate", [hangs, cleans_up_slowly, swallows_deep_inside])
def test_closing_the_callers_coroutine_closes_the_candidate(
    candidate: Behaviour, order: str
) -> None:
    """As a loop does that is given up; nothing is published."""
    experiment, results = made(candidate, hangs, order=order)
    loop = asyncio.new_event_loop()
    try:
        called = experiment()
        task = loop.create_task(called)
        loop.call_later(0.01, loop.stop)
        loop.run_forever()
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        called.close()
    finally:
        loop.close()
    assert results == []
    assert tallies()[experiment.name].skipped == {"interrupted": 1}


def test_what_awaits_without_a_task_works_too() -> None:
    """Whatever drives the coroutine: another library's loop, or a test by hand."""

    class Trap:
        def __await__(self) -> Any:
            return (yield "trap")

    async def behaviour() -> Any:
        return await Trap()

    experiment, results = made(behaviour, behaviour, timeout=LONG)
    called = experiment()
    assert called.send(None) == "trap"
    assert called.send("first") == "trap"
    with pytest.raises(StopIteration):
        called.send("second")
    assert results[0].mismatched or results[0].matched

    outside, _ = made(behaviour, behaviour, mode="background")
    called = outside()
    assert called.send(None) == "trap"
    with pytest.raises(StopIteration) as ended:
        called.send("value")
    assert ended.value.value == "value"
    assert tallies()[outside.name].skipped == {"no loop": 1}

"""Off the caller's path candidates are tasks of the loop: never waited for, counted if it ends."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

import twinrun
from twinrun import Experiment, Outcome, Result, aflush, experiment, flush, tallies
from twinrun._runner.pool import pool

Run = Callable[[Coroutine[Any, Any, Any]], Any]
MODES = ("concurrent", "background")


@pytest.fixture
def named(request: pytest.FixtureRequest) -> str:
    """Give a name that no other test has."""
    return request.node.nodeid


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """See to it that after each test nothing is under way."""
    yield
    assert flush()
    assert len(pool._admitted) == 0


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
        try:
            await asyncio.Event().wait()
        except BaseException:
            await asyncio.sleep(0)


@pytest.mark.parametrize("mode", MODES)
def test_the_caller_returns_while_the_candidate_goes_on(run: Run, mode: str, named: str) -> None:
    """The run is concluded when both are over, on a thread of the pool, in order of starting."""
    results: list[Result] = []
    threads: list[int] = []
    go_on: list[asyncio.Event] = []

    async def candidate() -> int:
        await go_on[0].wait()
        return 2

    def publish(result: Result) -> None:
        threads.append(threading.get_ident())
        results.append(result)

    made = experiment(named, candidate=candidate, mode=mode, publishers=[publish])(two)

    async def main() -> None:
        go_on.append(asyncio.Event())
        assert await made() == 2
        assert results == []
        go_on[0].set()
        assert await aflush()
        assert len(results) == 1

    run(main())
    assert results[0].matched
    assert results[0].order == ("control", "candidate")
    assert threads != [threading.get_ident()]


@pytest.mark.parametrize("mode", ["inline", *MODES])
def test_a_task_that_is_given_up_shows_where_it_stood(run: Run, mode: str, named: str) -> None:
    """Its frames from the candidate inwards, as text; nothing of ours and no values."""
    results: list[Result] = []

    async def wait_for_it(secret: str) -> None:
        await asyncio.Event().wait()

    async def stuck_candidate(secret: str) -> None:
        await wait_for_it(secret)

    async def control(secret: str) -> None:
        await asyncio.sleep(0)

    made = experiment(
        named, candidate=stuck_candidate, mode=mode, timeout=0.01, publishers=[results.append]
    )(control)

    async def main() -> None:
        await made("hunter2")
        assert await aflush(30)

    run(main())
    assert results[0].comparisons[0].outcome is Outcome.TIMED_OUT
    for text in (results[0].candidates[0].traceback, results[0].comparisons[0].candidate.traceback):
        assert text is not None
        assert text.index("in stuck_candidate") < text.index("in wait_for_it")
        assert "twinrun/_runner" not in text.replace("tests/_runner", "")
        assert "hunter2" not in text


def test_concurrent_candidates_run_beside_the_control_and_background_ones_after_it(
    run: Run, named: str
) -> None:
    """Told by who waits for whom."""
    log: list[str] = []

    def behaviour(name: str) -> Callable[[], Coroutine[Any, Any, None]]:
        async def act() -> None:
            for _ in range(3):
                log.append(name)
                await asyncio.sleep(0)

        return act

    async def main() -> None:
        for mode in MODES:
            made = Experiment(
                f"{named}{mode}",
                control=behaviour("control"),
                candidate=behaviour("candidate"),
                mode=mode,
                publishers=(),
            )
            await made()
            assert await aflush()

    run(main())
    assert log[:6] == ["control", "candidate"] * 3
    assert log[6:] == ["control"] * 3 + ["candidate"] * 3


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, ValueError])
def test_nothing_that_a_candidates_task_raises_ends_the_loop(
    run: Run, mode: str, error: type[BaseException], named: str
) -> None:
    """It is evidence, as on a thread of ours."""
    results: list[Result] = []

    async def candidate() -> int:
        await asyncio.sleep(0)
        raise error("now")

    async def main() -> None:
        made = Experiment(
            named, control=two, candidate=candidate, mode=mode, publishers=[results.append]
        )
        assert await made() == 2
        assert await aflush()

    run(main())
    assert type(results[0].candidates[0].exception) is error


@pytest.mark.parametrize("mode", MODES)
def test_tasks_are_held_while_nobody_else_holds_them(run: Run, mode: str, named: str) -> None:
    """The loop itself holds its tasks but weakly; when they are over, nothing is left of them."""

    class Big:
        pass

    alive: list[weakref.ref[Big]] = []

    async def candidate() -> int:
        big = Big()
        alive.append(weakref.ref(big))
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.01, future.set_result, None)
        await future
        return 2

    async def main() -> None:
        made = Experiment(named, control=two, candidate=candidate, mode=mode, publishers=())
        assert await made() == 2
        await asyncio.sleep(0)
        gc.collect()
        assert await aflush()

    run(main())
    gc.collect()
    assert tallies()[named].outcomes == {"candidate": {Outcome.MATCHED: 1}}
    assert [ref() for ref in alive] == [None]


@pytest.mark.parametrize("mode", MODES)
def test_what_is_too_much_is_shed_and_counted(run: Run, mode: str, named: str) -> None:
    """One bound for threads and tasks; the caller pays nothing for it."""
    twinrun.configure(workers=1, queue=2)
    made = experiment(named, candidate=hangs, mode=mode, publishers=(), breaker=None)(two)

    async def main() -> None:
        for _ in range(10):
            assert await made() == 2

    run(main())
    assert flush()
    assert tallies()[named].skipped == {"queue full": 7, "loop closed": 3}


@pytest.mark.parametrize("candidate", [hangs, swallows])
@pytest.mark.parametrize("mode", MODES)
def test_a_loop_that_ends_counts_what_was_under_way(
    run: Run, mode: str, candidate: Any, named: str
) -> None:
    """Begun or not; no candidate keeps `asyncio.run` from ending."""
    made = experiment(named, candidate=candidate, mode=mode, publishers=(), breaker=None)(two)

    async def main() -> None:
        assert await made() == 2
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert await made() == 2

    run(main())
    assert flush()
    assert tallies()[named].skipped == {"loop closed": 2}


@pytest.mark.parametrize("mode", MODES)
def test_a_loop_closed_in_the_middle_counts_what_was_under_way(mode: str, named: str) -> None:
    """Whoever flushes, or runs next, finds that out."""
    made = experiment(named, candidate=hangs, mode=mode, publishers=(), breaker=None)(two)
    loop = asyncio.new_event_loop()
    assert loop.run_until_complete(made()) == 2
    loop.close()
    assert flush()
    assert tallies()[named].skipped == {"loop closed": 1}


def test_several_loops_in_threads_do_not_meet(run: Run, named: str) -> None:
    """Each loop's tasks are its own."""
    made = experiment(named, candidate=two, mode="background", publishers=(), breaker=None)(two)

    async def main() -> None:
        for _ in range(20):
            assert await made() == 2
        while tallies()[named].experiments < 80:
            await asyncio.sleep(0.001)

    threads = [threading.Thread(target=run, args=(main(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert flush()
    assert tallies()[named].outcomes == {"candidate": {Outcome.MATCHED: 80}}


def test_flush_in_the_loops_own_thread_says_that_tasks_are_left(run: Run, named: str) -> None:
    """In its time; `aflush` lets them go on, and keeps its time too."""
    made = experiment(named, candidate=hangs, mode="background", publishers=(), breaker=None)(two)

    async def main() -> None:
        assert await aflush()
        assert await made() == 2
        started = time.monotonic()
        assert not flush(0.05)
        assert not await aflush(0.05)
        assert time.monotonic() - started < 30

    run(main())


def test_aflush_waits_for_publishers_off_the_loop(run: Run, named: str) -> None:
    """A publisher that blocks while flushing doesn't hold up the loop, nor `aflush` itself."""
    flushing, let_go = threading.Event(), threading.Event()

    class Slow:
        def publish(self, result: Result) -> None:
            pass

        def flush(self, timeout: float) -> bool:
            flushing.set()
            return let_go.wait(30)

    class Broken:
        def publish(self, result: Result) -> None:
            pass

        def flush(self, timeout: float) -> bool:
            raise SystemExit

    async def main() -> None:
        twinrun.configure(publishers=[Slow()])
        waiting = asyncio.ensure_future(aflush(30))
        while not flushing.is_set():
            await asyncio.sleep(0.001)
        assert not waiting.done()
        let_go.set()
        assert await waiting
        let_go.clear()
        assert not await aflush(0.01)
        let_go.set()
        twinrun.configure(publishers=[Broken()])
        assert not await aflush(1)
        twinrun.configure(publishers=None)

    run(main())


@pytest.mark.parametrize("mode", MODES)
def test_aobserve_waits_off_the_callers_path(run: Run, mode: str, named: str) -> None:
    """For every candidate; a cancellation of the caller ends the waiting."""

    async def main() -> None:
        made = Experiment(named, mode=mode, publishers=(), breaker=None)
        result = await made.aobserve(control=two, candidates={"a": two, "b": lambda: 3})
        assert [each.outcome for each in result.comparisons] == ["matched", "mismatched"]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await made.aobserve(control=two, candidate=hangs)

    run(main())
    assert tallies()[named].skipped == {"interrupted": 1}


@pytest.mark.parametrize("mode", MODES)
def test_the_controls_value_is_kept_before_the_caller_changes_it(
    run: Run, mode: str, named: str
) -> None:
    """And the arguments before the control does."""
    results: list[Result] = []

    async def control(xs: list[int]) -> list[int]:
        xs.append(1)
        return xs

    made = experiment(named, candidate=control, mode=mode, publishers=[results.append])(control)

    async def main() -> None:
        value = await made([])
        value.append(2)
        assert await aflush()

    run(main())
    assert results[0].matched
    assert results[0].control.value == [1]


def test_cpu_that_a_candidate_burns_is_charged_to_its_breaker(run: Run, named: str) -> None:
    """Only its own steps count, not what others do while it waits."""
    charged: list[int] = []

    async def burns() -> int:
        for _ in range(3):
            deadline = time.thread_time() + 0.02
            while time.thread_time() < deadline:
                pass
            await asyncio.sleep(0)
        return 2

    async def main() -> None:
        made = Experiment(named, mode="background", publishers=(), cpu_time=True)
        result = await made.aobserve(control=two, candidate=burns)
        spent = result.candidates[0].cpu_time
        assert spent is not None
        charged.append(round(spent * 1000))

    run(main())
    assert charged[0] >= 60


PROGRAM = """
import asyncio, sys, twinrun
async def two(): return 2
async def hangs():
    try: await asyncio.Event().wait()
    finally: await asyncio.sleep(60)
async def swallows():
    while True:
        try: await asyncio.Event().wait()
        except BaseException: pass
made = [
    twinrun.experiment("ends", candidate=c, mode=m, publishers=(), breaker=None)(two)
    for c in (hangs, swallows) for m in ("concurrent", "background")
]
async def main():
    for _ in range(2):
        for each in made: assert await each() == 2
        await asyncio.sleep(0)
    if sys.argv[1] == "exit": sys.exit(3)
if sys.argv[1] == "closed":
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.close()
else:
    asyncio.run(main())
twinrun.flush()
print(twinrun.tallies()["ends"].skipped)
"""


@pytest.mark.parametrize("way", ["run", "closed", "exit"])
def test_a_process_ends_in_time_and_without_a_word(way: str) -> None:
    """However its loop ended: nothing is destroyed while pending, never retrieved, or unclosed."""
    flags = ["-X", "dev", "-c", PROGRAM, way]
    environment = {**os.environ, "PYTHONASYNCIODEBUG": "0"}
    done = subprocess.run(
        [sys.executable, *flags], capture_output=True, text=True, timeout=60, env=environment
    )
    assert done.stderr == ""
    assert done.returncode == (3 if way == "exit" else 0)
    assert done.stdout == ("" if way == "exit" else "{'loop closed': 8}\n")

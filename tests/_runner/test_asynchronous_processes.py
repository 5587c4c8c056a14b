"""Tasks under way belong to the process that started them; what a signal raises in one, to it."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest

from twinrun import Experiment, Outcome, aflush, experiment, flush, tallies

MODES = ("concurrent", "background")
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX")


async def two() -> int:
    """Be a control."""
    return 2


@pytest.mark.parametrize("mode", MODES)
def test_a_child_forked_with_tasks_under_way_works_and_leaves_them_to_its_parent(mode: Any) -> None:
    """It counts its own runs alone, and its flush has nothing of the parent's to wait for."""
    name = f"processes.fork.{mode}"
    may: list[asyncio.Event] = []

    async def waits() -> int:
        if may:
            await may[0].wait()
        return 2

    made = experiment(name, candidate=waits, mode=mode, publishers=(), breaker=None)(two)

    async def calls() -> bool:
        assert await made() == 2
        return await aflush()

    def in_child() -> int:
        asyncio._set_running_loop(None)
        may.clear()
        is_done = flush() and asyncio.run(calls())
        tally = tallies()[name]
        return int(not is_done or tally.experiments != 1 or sum(tally.skipped.values()))

    async def main() -> None:
        may.append(asyncio.Event())
        for _ in range(3):
            assert await made() == 2
        await asyncio.sleep(0)
        child = os.fork()
        if not child:
            os._exit(in_child())
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        may[0].set()
        assert await aflush()

    asyncio.run(main())
    assert tallies()[name].experiments == 3


class TimeLimitError(Exception):
    """Like celery's soft time limit."""


def _interrupting(error: type[BaseException]) -> Any:
    """Make a candidate in which a signal's handler raises."""

    def handler(*_: object) -> None:
        raise error("from a handler")

    async def signalled() -> int:
        await asyncio.sleep(0)
        before = signal.signal(signal.SIGUSR1, handler)
        try:
            signal.raise_signal(signal.SIGUSR1)
        finally:
            signal.signal(signal.SIGUSR1, before)
        return 2

    return signalled


@pytest.mark.parametrize("mode", MODES)
def test_what_a_signals_handler_raises_in_a_candidates_task_is_recorded(mode: Any) -> None:
    """The task has no caller; the loop and all that runs there live on."""
    made = Experiment(f"processes.signal.{mode}", mode=mode, publishers=())

    async def main() -> None:
        result = await made.aobserve(control=two, candidate=_interrupting(TimeLimitError))
        assert result.comparisons[0].outcome is Outcome.MISMATCHED
        assert type(result.candidates[0].exception) is TimeLimitError
        assert await two() == 2

    asyncio.run(main())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_a_handler_that_ends_the_process_does_so_from_a_candidates_task(
    mode: Any, error: type[BaseException]
) -> None:
    """It ends the event loop, as it would from any task; the run is counted once."""
    name = f"processes.ends.{mode}.{error.__name__}"
    made = experiment(name, candidate=_interrupting(error), mode=mode, publishers=(), breaker=None)(
        two
    )

    async def main() -> None:
        assert await made() == 2
        await asyncio.Event().wait()

    with pytest.raises(error):
        asyncio.run(main())
    assert flush()
    tally = tallies()[name]
    assert tally.experiments + sum(tally.skipped.values()) == 1

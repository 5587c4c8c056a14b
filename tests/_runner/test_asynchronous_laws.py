"""The law of awaited experiments: decorated, a coroutine function does what it does undecorated."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
from collections.abc import Callable
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st

from twinrun import experiment, flush, tallies

WAITS: dict[str, Callable[[], Any]] = {
    "bare": lambda: asyncio.sleep(0),
    "timer": lambda: asyncio.sleep(0.0005),
    "task": lambda: asyncio.ensure_future(asyncio.sleep(0)),
    "gather": lambda: asyncio.gather(asyncio.sleep(0), asyncio.sleep(0.0005)),
}
ERRORS: tuple[Callable[[], BaseException], ...] = (
    lambda: ValueError("wrong", [1]),
    lambda: ExceptionGroup("several", [ValueError(1), KeyError(2)]),
    lambda: asyncio.CancelledError("own"),
    lambda: StopIteration(3),
    lambda: StopAsyncIteration(3),
    lambda: TimeoutError(),
    lambda: GeneratorExit(),
)
var: contextvars.ContextVar[str] = contextvars.ContextVar("var", default="unset")
numbers = itertools.count()


@attrs.frozen
class Conduct:
    """What a behaviour does: wait so often, in these ways, then return or raise.

    When it is cancelled, it lets that happen, makes another exception of it, or takes no notice.
    """

    waits: list[str]
    error: Callable[[], BaseException] | None
    cancelled: str
    within: float | None

    async def act(self, log: list[str], xs: list[int], who: str) -> Any:
        """Be the behaviour."""
        var.set(who)
        xs.append(len(xs))
        if self.within is None:
            return await self._act(log, xs)
        try:
            async with asyncio.timeout(self.within):
                return await self._act(log, xs)
        except TimeoutError:
            return "timed out"

    async def _act(self, log: list[str], xs: list[int]) -> Any:
        for wait in self.waits:
            log.append(wait)
            try:
                await WAITS[wait]()
            except asyncio.CancelledError:
                log.append("cancelled")
                if self.cancelled == "another":
                    raise LookupError("of the cancellation") from None
                if self.cancelled == "raised":
                    raise
        if self.error is not None:
            raise self.error()
        return xs


def conducts(*, timers: bool) -> st.SearchStrategy[Conduct]:
    """Whatever a coroutine function may do; with inner timeouts where its time may be its own."""
    return st.builds(
        Conduct,
        st.lists(st.sampled_from(sorted(WAITS) if timers else ["bare"]), max_size=4),
        st.none() | st.sampled_from(ERRORS),
        st.sampled_from(["raised", "another", "ignored"]),
        st.none() | (st.sampled_from([0.0, 10.0]) if timers else st.just(10.0)),
    )


async def told(call: Callable[[list[int]], Any], cancel_at: int | None) -> tuple[Any, ...]:
    """Make the call in a task, cancel that at the given turn of the loop, and tell what is seen."""
    xs: list[int] = [7]
    seen: list[Any] = []

    async def caller() -> Any:
        try:
            return await call(xs)
        except BaseException as error:
            seen.append((type(error.__context__), type(error.__cause__)))
            raise
        finally:
            task = asyncio.current_task()
            assert task is not None
            seen.append((task.cancelling(), var.get()))

    task = asyncio.ensure_future(caller())
    turns = itertools.count()
    while not task.done():
        if next(turns) == cancel_at:
            task.cancel("from outside")
        await asyncio.sleep(0)
    try:
        outcome: tuple[Any, ...] = ("returned", await task)
    except BaseException as error:
        outcome = ("raised", type(error), str(error))
    return outcome, xs, seen


def law(control: Conduct, candidate: Conduct, cancel_at: int | None, **options: Any) -> None:
    """Compare the decorated and the undecorated in all that the caller sees."""
    name = f"async.law.{next(numbers)}"
    logs: list[list[str]] = [[], []]

    async def plain(xs: list[int]) -> Any:
        return await control.act(logs[0], xs, "control")

    async def controlled(xs: list[int]) -> Any:
        return await control.act(logs[1], xs, "control")

    async def other(xs: list[int]) -> Any:
        return await candidate.act([], xs, "candidate")

    decorated = experiment(name, candidate=other, publishers=(), breaker=None, **options)(
        controlled
    )

    async def main(call: Callable[[list[int]], Any]) -> tuple[Any, ...]:
        return await told(call, cancel_at)

    with_experiment = asyncio.run(main(decorated))
    if cancel_at is None or options.get("mode"):
        assert with_experiment == asyncio.run(main(plain))
        assert logs[0] == logs[1]
    assert flush()
    tally = tallies()[name]
    assert tally.experiments + sum(tally.skipped.values()) == 1
    assert set(tally.skipped) <= {"interrupted", "loop closed"}
    assert tally.failures == {}


@given(
    control=conducts(timers=True),
    candidate=conducts(timers=True),
    mode=st.sampled_from(["inline", "concurrent", "background"]),
    timeout=st.none() | st.just(0.001),
)
def test_the_decorated_coroutine_function_does_what_the_undecorated_one_does(
    control: Conduct, candidate: Conduct, mode: str, timeout: float | None
) -> None:
    """Same outcome, same chain, same changes; the control acts once, and the counts add up."""
    law(control, candidate, None, mode=mode, timeout=timeout)


@given(
    control=conducts(timers=False),
    candidate=conducts(timers=True),
    mode=st.sampled_from(["concurrent", "background"]),
    cancel_at=st.integers(1, 6),
)
def test_off_the_callers_path_a_cancellation_strikes_where_it_does_undecorated(
    control: Conduct, candidate: Conduct, mode: str, cancel_at: int
) -> None:
    """At the same step of the control, with the same end; the candidate changes no turn."""
    law(control, candidate, cancel_at, mode=mode)


@given(
    control=conducts(timers=False),
    candidate=conducts(timers=True),
    order=st.sampled_from(["control-first", "control-last"]),
    cancel_at=st.integers(1, 8),
)
def test_inline_a_cancellation_strikes_whatever_runs(
    control: Conduct, candidate: Conduct, order: str, cancel_at: int
) -> None:
    """The caller never waits for what the candidate does then, and the counts add up."""
    law(control, candidate, cancel_at, order=order)

"""The run function of coroutine functions, made from the control's own parameters."""

from __future__ import annotations

import asyncio
import functools
import inspect
import linecache
import os
from collections.abc import Callable
from typing import Any

import pytest

import twinrun
from twinrun import Outcome, Result, experiment, tallies


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """Name the experiment like the test."""
    return str(request.node.nodeid)


async def positional_only(a: Any, b: Any, /, c: Any, *, d: Any) -> tuple[Any, ...]:
    """Have every kind of parameter that must be given."""
    return a, b, c, d


async def none() -> tuple[Any, ...]:
    """Take nothing, and wait."""
    await asyncio.sleep(0)
    return ()


async def defaults(a: Any, b: Any = 2, *, c: Any = 3) -> tuple[Any, ...]:
    """Have defaults."""
    return a, b, c


async def variadic(*args: Any, **kwargs: Any) -> tuple[Any, ...]:
    """Take anything."""
    return (*args, *kwargs.items())


async def underscored(_value: Any, _control: Any) -> tuple[Any, ...]:
    """Have parameters named like the made function's own."""
    return _value, _control


CALLS: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = [
    (positional_only, (1, "2", 3.0), {"d": None}),
    (positional_only, ([1], {2: []}), {"c": 3, "d": (4, [5])}),
    (none, (), {}),
    (defaults, (1,), {}),
    (defaults, (1, [5]), {"c": {6}}),
    (variadic, (1, [2]), {"x": 3}),
    (underscored, (1, [2]), {}),
]


@pytest.mark.parametrize(("function", "args", "kwargs"), CALLS)
@pytest.mark.parametrize("order", ["random", "control-first", "control-last"])
@pytest.mark.parametrize("options", [{}, {"isolate": "share"}, {"sample": 0.5}])
def test_both_sides_get_the_arguments_of_the_call(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    order: str,
    options: dict[str, Any],
    name: str,
) -> None:
    """Whatever the parameters are, the two calls are the caller's, and match."""
    made = experiment(name, candidate=function, order=order, **options)(function)

    async def main() -> None:
        for _ in range(10):
            assert await made(*args, **kwargs) == await function(*args, **kwargs)

    asyncio.run(main())
    tally = tallies()[name]
    assert tally.runs == 10
    assert tally.count(Outcome.MATCHED) == tally.experiments
    assert inspect.iscoroutinefunction(made)
    assert inspect.signature(made) == inspect.signature(function)


class Called:
    """An object that is called for a coroutine."""

    async def __call__(self, value: Any) -> Any:
        """Give the argument."""
        return value


async def first(other: Any, value: Any) -> Any:
    """Give the second argument."""
    return value


def handing_on(value: Any) -> Any:
    """Give another one's coroutine."""
    return first(None, value)


@pytest.mark.parametrize(
    "candidate", [Called(), Called().__call__, functools.partial(first, None), handing_on]
)
def test_a_candidate_may_be_anything_that_gives_a_coroutine(
    candidate: Callable[..., Any], name: str
) -> None:
    """Objects, methods, partials and functions that hand one on are awaited like any other."""

    async def control(value: Any) -> Any:
        return value

    made = experiment(name, candidate=candidate)(control)

    async def main() -> None:
        for _ in range(5):
            assert await made([1]) == [1]

    asyncio.run(main())
    assert tallies()[name].outcomes["candidate"] == {Outcome.MATCHED: 5}


@pytest.mark.parametrize("order", ["control-first", "control-last"])
@pytest.mark.parametrize("argument", [1, [1]])
def test_arguments_that_do_not_fit_the_candidate_are_what_it_raised(
    order: str, argument: Any, name: str
) -> None:
    """Its caller gets the control's value, and the TypeError is evidence."""

    async def control(value: Any) -> Any:
        return value

    async def candidate() -> None:
        raise AssertionError

    results: list[Result] = []
    options: dict[str, Any] = {"order": order, "publishers": [results.append]}
    made = experiment(name, candidate=candidate, **options)(control)
    assert asyncio.run(made(argument)) is argument
    assert [type(r.candidates[0].exception) for r in results] == [TypeError]
    quick = experiment(f"{name} quick", candidate=candidate, order=order, publishers=())(control)
    assert asyncio.run(quick(argument)) is argument
    tally = tallies()[f"{name} quick"]
    assert tally.outcomes["candidate"] == {Outcome.MISMATCHED: 1}
    assert tally.candidate_errors == {"candidate": 1}


@pytest.mark.parametrize("order", ["control-first", "control-last"])
def test_a_traceback_has_one_frame_of_ours_that_shows_its_line(order: str, name: str) -> None:
    """It points to a line of the library's own file that says what it does."""

    async def control(x: int) -> int:
        raise KeyError(x)

    made = experiment(name, candidate=control, order=order, publishers=())(control)
    with pytest.raises(KeyError) as caught:
        asyncio.run(made(1))
    ours = [
        f for f in caught.traceback if str(f.path).startswith(os.path.dirname(twinrun.__file__))
    ]
    assert len(ours) == 1
    line = linecache.getline(str(ours[0].path), ours[0].lineno + 1)
    assert line.strip() == "raise _ending.before_raise()"
    assert tallies()[name].outcomes["candidate"] == {Outcome.MATCHED: 1}


@pytest.mark.parametrize("order", ["control-first", "control-last"])
def test_an_application_may_replace_what_knows_the_current_task(
    order: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked for at each run, as asyncio gives it then, so that a cancellation is seen."""

    async def control() -> None:
        started.set()
        await asyncio.Event().wait()

    async def candidate() -> None:
        """Wait for nothing."""

    made = experiment(name, candidate=candidate, order=order, publishers=())(control)

    async def main() -> None:
        real, asked = asyncio.current_task, []
        monkeypatch.setattr(asyncio, "current_task", lambda: asked.append(1) or real())
        task = asyncio.create_task(made())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asked
        assert task.cancelled()

    started = asyncio.Event()
    asyncio.run(main())
    assert tallies()[name].skipped == {"interrupted": 1}

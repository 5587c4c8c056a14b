"""The run function that is made from the control's own parameters."""

from __future__ import annotations

import asyncio
import inspect
import linecache
import warnings
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from typing import Any

import pytest

import twinrun
from twinrun import experiment, tallies
from twinrun._accounts import BATCH


def positional_only(a: Any, b: Any, /, c: Any, *, d: Any) -> tuple[Any, ...]:
    """Have every kind of parameter that must be given."""
    return a, b, c, d


def none() -> tuple[Any, ...]:
    """Take nothing."""
    return ()


def keywords(*, a: Any, b: Any) -> tuple[Any, ...]:
    """Take keywords only."""
    return a, b


def defaults(a: Any, b: Any = 2, *, c: Any = 3) -> tuple[Any, ...]:
    """Have defaults."""
    return a, b, c


def variadic(*args: Any, **kwargs: Any) -> tuple[Any, ...]:
    """Take anything."""
    return (*args, *kwargs.items())


def underscored(_value: Any, _control: Any) -> tuple[Any, ...]:
    """Have parameters named like the made function's own."""
    return _value, _control


def shadowing(len: Any, type: Any, next: Any) -> tuple[Any, ...]:
    """Have parameters named like builtins."""
    return len, type, next


CALLS: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = [
    (positional_only, (1, "2", 3.0), {"d": None}),
    (positional_only, (1, "2"), {"c": 3.0, "d": [4]}),
    (positional_only, ([1], {2: []}, 3), {"d": (4, [5])}),
    (none, (), {}),
    (keywords, (), {"b": 1, "a": 2}),
    (defaults, (1,), {}),
    (defaults, (1, 5), {"c": 6}),
    (variadic, (1, [2]), {"x": 3}),
    (underscored, (1, 2), {}),
    (shadowing, (1, 2, 3), {}),
    (lambda x, y: x + y, (1, 2), {}),
]


@pytest.mark.parametrize(("function", "args", "kwargs"), CALLS)
@pytest.mark.parametrize("order", ["random", "control-first", "control-last"])
@pytest.mark.parametrize("sample", [1.0, 0.5])
def test_both_sides_get_the_arguments_of_the_call(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    order: str,
    sample: float,
    request: pytest.FixtureRequest,
) -> None:
    """Whatever the parameters are, the two calls are the caller's, and match."""
    name = request.node.nodeid
    decorated = experiment(name, candidate=function, order=order, sample=sample)(function)
    for _ in range(20):
        assert decorated(*args, **kwargs) == function(*args, **kwargs)
    tally = tallies()[name]
    assert tally.runs == 20
    assert tally.count(twinrun.Outcome.MATCHED) == tally.experiments
    assert inspect.signature(decorated) == inspect.signature(function)


@pytest.mark.parametrize(
    ("function", "args"), [(positional_only, (1,)), (none, (1,)), (keywords, ()), (defaults, ())]
)
def test_a_wrong_call_is_the_same_error_as_without_the_decorator(
    function: Callable[..., Any], args: tuple[Any, ...], request: pytest.FixtureRequest
) -> None:
    """It is a `TypeError` with the very text that Python gives for the function itself."""
    decorated = experiment(request.node.nodeid, candidate=function)(function)
    with pytest.raises(TypeError) as plain:
        function(*args)
    with pytest.raises(TypeError) as caught:
        decorated(*args)
    assert str(caught.value) == str(plain.value)


def test_a_candidate_keeps_its_own_defaults(request: pytest.FixtureRequest) -> None:
    """What the caller leaves out is left out for both, and each fills in its own."""

    def candidate(a: Any, b: Any = 20, *, c: Any = 30) -> tuple[Any, ...]:
        return a, b, c

    decorated = experiment(request.node.nodeid, candidate=candidate)(defaults)
    with twinrun.recording() as results:
        assert decorated(1) == (1, 2, 3)
    assert results[0].candidates[0].value == (1, 20, 30)


def test_a_traceback_shows_the_line_that_ran(request: pytest.FixtureRequest) -> None:
    """Our one frame points to a line of the library's own file that says what it does."""

    def control(x: int) -> int:
        raise KeyError(x)

    decorated = experiment(request.node.nodeid, candidate=control)(control)
    with pytest.raises(KeyError) as caught:
        decorated(1)
    frame = caught.traceback[1]
    assert linecache.getline(str(frame.path), frame.lineno + 1).strip() == (
        "raise _ending.before_raise()"
    )


def test_a_coroutine_that_nobody_awaits_is_closed(request: pytest.FixtureRequest) -> None:
    """A plain candidate that gives one warns of nothing, however it is compared."""

    async def later() -> int:
        return 1

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for options in ({}, {"compare": lambda a, b: a == b}):
            name = f"{request.node.nodeid}{len(options)}"
            decorated = experiment(name, candidate=lambda: later(), **options)(lambda: 1)
            assert decorated() == 1
            assert tallies()[name].experiments == 1


@pytest.mark.parametrize("options", [{"enabled": False}, {"sample": 0.0}, {"candidate": None}])
def test_disabled_is_counted_before_any_other_reason(
    options: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    """An experiment that is off for good counts a disabled run as disabled."""
    name = request.node.nodeid
    decorated = experiment(name, **{"candidate": none, **options})(none)
    decorated()
    with twinrun.disabled():
        decorated()
    assert tallies()[name].skipped["disabled"] == 1
    assert tallies()[name].runs == 2


def runs_of(name: str, answers: Iterator[Any], kind: str) -> Callable[[int], int]:
    """Give what runs an experiment so many times, and says how many mismatches there were so far.

    Its control gives `{"ok": True}`, its candidate the next answer in place of that.
    """
    options: dict[str, Any] = {"name": name, "publishers": ()}

    if kind == "awaited":

        async def new() -> dict[str, Any]:
            return {"ok": next(answers)}

        @experiment(candidate=new, **options)
        async def old() -> dict[str, Any]:
            return {"ok": True}

        async def repeated(count: int) -> None:
            for _ in range(count):
                await old()

        def run_all(count: int) -> None:
            asyncio.run(repeated(count))
    else:

        @experiment(candidate=lambda: {"ok": next(answers)}, **options)
        def plain() -> dict[str, Any]:
            return {"ok": True}

        def run_all(count: int) -> None:
            for _ in range(count):
                plain()

    def run(count: int) -> int:
        run_all(count)
        return tallies()[name].outcomes["candidate"].get(twinrun.Outcome.MISMATCHED, 0)

    return run


@pytest.mark.parametrize("kind", ["plain", "awaited"])
def test_the_first_matches_are_looked_at_for_truth_values(kind: str) -> None:
    """`{"ok": 1}` equals `{"ok": True}` by `==` only, and each such run is a mismatch."""
    run = runs_of(f"quick.truth.{kind}", repeat(1), kind)
    assert run(1) == 1
    assert run(300) == 301


@pytest.mark.parametrize("kind", ["plain", "awaited"])
def test_later_matches_are_looked_at_now_and_then_for_truth_values(kind: str) -> None:
    """It is noticed within a batch of runs of each order; from then on each run is looked at."""
    late = 2 * BATCH
    answers = chain(repeat(True, 1_000), repeat(1, late + 100), repeat(True, 100), repeat(1))
    run = runs_of(f"quick.late.{kind}", answers, kind)
    found = run(1_000 + late)
    assert 0 < found < late
    assert run(100) == found + 100
    assert run(100) == found + 100
    assert run(1) == found + 101

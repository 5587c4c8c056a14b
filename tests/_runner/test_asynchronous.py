"""What is awaited is an experiment like any other: inline, in the caller's own task."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import inspect
import os
import types
import weakref
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from typing import Any

import attrs
import pytest

import twinrun
from twinrun import (
    NOTHING,
    ConfigurationError,
    Experiment,
    MismatchError,
    Outcome,
    Result,
    experiment,
    in_candidate,
    tallies,
)

Run = Callable[[Coroutine[Any, Any, Any]], Any]

OURS = os.path.dirname(twinrun.__file__)
FORMS = ("function", "method", "called", "arun")
VALUE = ["the control's own object"]


class ControlError(Exception):
    """What the control raises."""


class Boom(Exception):
    """What a callback raises."""


class GeventTimeout(BaseException):
    """Like the timeouts of gevent, trio and eventlet."""


@attrs.define(slots=False)
class Trial:
    """One experiment in one of its forms, and everything that was heard of it."""

    form: str
    raises: bool
    options: dict[str, Any]
    candidate: Callable[..., Any]
    name: str
    error: ControlError = attrs.field(factory=lambda: ControlError("of the control"))
    controls: int = 0
    candidates: int = 0
    heard: list[tuple[str, type, str]] = attrs.field(factory=list)
    results: list[Result] = attrs.field(factory=list)

    async def control(self, *args: Any) -> Any:
        """Be the control, and count it."""
        self.controls += 1
        await asyncio.sleep(0)
        if self.raises:
            raise self.error
        return VALUE

    async def counted_candidate(self, *args: Any) -> Any:
        """Be the candidate, and count it."""
        self.candidates += 1
        await asyncio.sleep(0)
        value = self.candidate(*args)
        return await value if inspect.isawaitable(value) else value

    async def call(self) -> Any:
        """Make the experiment in its form, and call it once."""
        trial = self
        options = {
            "publishers": [self.results.append],
            "on_failure": lambda op, error, name: self.heard.append((op, type(error), name)),
            **self.options,
        }
        if self.form == "function":

            @experiment(self.name, candidate=self.counted_candidate, **options)
            async def function(x: Any) -> Any:
                return await trial.control(x)

            return await function([1])
        if self.form == "method":

            class Owner:
                async def new(self, x: Any) -> Any:
                    return await trial.counted_candidate(x)

                @experiment(trial.name, candidate=new, **options)
                async def old(self, x: Any) -> Any:
                    return await trial.control(x)

            return await Owner().old([1])
        if self.form == "called":
            made = Experiment(
                self.name, control=self.control, candidate=self.counted_candidate, **options
            )
            return await made([1])
        return await Experiment(self.name, **options).arun(
            control=self.control, candidate=self.counted_candidate
        )

    async def check_outcome(self) -> None:
        """The caller gets the control's own object, or its own exception as it was raised."""
        if not self.raises:
            assert await self.call() is VALUE
            assert self.controls == 1
            return
        with pytest.raises(ControlError) as caught:
            await self.call()
        assert caught.value is self.error
        assert self.controls == 1
        assert self.error.__context__ is None
        assert self.error.__cause__ is None
        files = [frame.f_code.co_filename for frame in frames(self.error)]
        assert len([file for file in files if file.startswith(OURS)]) == 1
        assert frames(self.error)[-1].f_code.co_name == "control"

    def check_counts(self, **skipped: int) -> None:
        """Every call was either skipped for a reason or an experiment."""
        tally = tallies()[self.name]
        assert tally.skipped == skipped
        outcomes = tally.outcomes.get("candidate", {})
        assert tally.experiments == sum(outcomes.values())
        assert tally.experiments + sum(skipped.values()) == 1


def frames(error: BaseException) -> list[types.FrameType]:
    """Give the frames of a traceback."""
    found, trace = [], error.__traceback__
    while trace is not None:
        found.append(trace.tb_frame)
        trace = trace.tb_next
    return found


def fail(*args: Any, **kwargs: Any) -> Any:
    """Raise an Exception."""
    raise Boom


def exit_(*args: Any, **kwargs: Any) -> Any:
    """Raise SystemExit."""
    raise SystemExit(3)


def cancel(*args: Any, **kwargs: Any) -> Any:
    """Raise asyncio's CancelledError."""
    raise asyncio.CancelledError


def leave(*args: Any, **kwargs: Any) -> Any:
    """Raise GeneratorExit."""
    raise GeneratorExit


def drive(called: Coroutine[Any, Any, Any]) -> None:
    """Run a coroutine to its end without an event loop."""
    while True:
        called.send(None)


async def two() -> int:
    """Be a coroutine function that waits."""
    await asyncio.sleep(0)
    return 2


async def three() -> int:
    """Be another one."""
    await asyncio.sleep(0)
    return 3


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    """Give each form of an experiment."""
    return str(request.param)


@pytest.fixture
def named(request: pytest.FixtureRequest) -> Iterator[str]:
    """Give a name that no other test has."""
    return request.node.nodeid


@pytest.fixture(params=[False, True], ids=["returns", "raises"])
def trial(form: str, named: str, request: pytest.FixtureRequest) -> Callable[..., Trial]:
    """Make trials in this form whose control returns or raises."""

    def make(candidate: Any = lambda *_: VALUE, **options: Any) -> Trial:
        return Trial(form, request.param, options, candidate, named)

    return make


@pytest.mark.parametrize("broken", [fail, cancel])
@pytest.mark.parametrize("gate", ["enabled", "run_if", "sample", "sample_by", "before_run"])
def test_a_failing_gate_leaves_an_awaited_control_alone(
    trial: Callable[..., Trial], gate: str, broken: Callable[..., Any]
) -> None:
    """A gate that raises fails closed: the control runs once, the candidate not at all."""
    t = trial(**{gate: broken}, **({"sample": 0.5} if gate == "sample_by" else {}))
    asyncio.run(t.check_outcome())
    assert (t.candidates, t.results) == (0, [])
    assert [(op, name) for op, _, name in t.heard] == [(gate, t.name)]
    t.check_counts(**{gate: 1})


@pytest.mark.parametrize("order", ["control-first", "control-last"])
@pytest.mark.parametrize("broken", [fail, exit_, cancel, leave])
def test_what_an_awaited_candidate_raises_is_evidence(
    trial: Callable[..., Trial], broken: Callable[..., Any], order: str
) -> None:
    """It is in the Result and the tally, and `on_failure` hears nothing of it."""
    t = trial(broken, order=order)
    asyncio.run(t.check_outcome())
    [result] = t.results
    assert t.heard == []
    assert result.mismatched
    assert result.candidates[0].raised
    assert "counted_candidate" in (result.candidates[0].traceback or "")
    assert (
        "twinrun"
        not in (result.candidates[0].traceback or "")
        .replace("tests", "")
        .split("counted_candidate")[0]
    )
    assert tallies()[t.name].candidate_errors == {"candidate": 1}
    t.check_counts()


@pytest.mark.parametrize("order", ["control-first", "control-last"])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, GeventTimeout])
def test_what_is_aimed_at_an_awaiting_caller_propagates(
    trial: Callable[..., Trial], kind: type[BaseException], order: str
) -> None:
    """`KeyboardInterrupt` and every other BaseException goes on at once; nothing is published.

    Without an event loop, which would let them out of its own `run`.
    """

    def interrupted(*args: Any) -> Any:
        raise kind("now")

    t = trial(interrupted, order=order)
    t.raises = False
    with pytest.raises(kind, match="now"):
        drive(t.call())
    assert t.controls == (order == "control-first")
    assert (t.results, t.heard) == ([], [])
    t.check_counts(interrupted=1)


def test_a_failing_context_order_ignore_or_after_run_changes_nothing(
    trial: Callable[..., Trial],
) -> None:
    """Each is heard of, and the run goes on."""
    t = trial(lambda *_: "other", context=fail, order=fail, ignore=fail, after_run=fail, clean=fail)
    asyncio.run(t.check_outcome())
    assert {op for op, *_ in t.heard} == {"context", "order", "ignore", "after_run"}
    assert t.results[0].mismatched
    t.check_counts()


@pytest.mark.parametrize("broken", [fail, exit_, cancel])
def test_a_failing_comparison_of_awaited_values_is_inconclusive(
    trial: Callable[..., Trial], broken: Callable[..., Any]
) -> None:
    """It is neither a match nor a mismatch."""
    t = trial(compare=broken, compare_errors=broken)
    if t.raises:
        t.candidate = fail
    asyncio.run(t.check_outcome())
    assert t.results[0].comparisons[0].outcome is Outcome.INCONCLUSIVE
    t.check_counts()


@pytest.mark.parametrize("broken", [fail, exit_, cancel])
def test_a_failing_publisher_keeps_an_awaited_result_from_nobody(
    trial: Callable[..., Trial], broken: Callable[..., Any]
) -> None:
    """The others still get it."""
    t = trial()
    t.options["publishers"] = [broken, t.results.append]
    asyncio.run(t.check_outcome())
    assert len(t.results) == 1
    assert [op for op, *_ in t.heard] == ["publish"]


@pytest.mark.parametrize("kind", [SystemExit, GeneratorExit, asyncio.CancelledError])
@pytest.mark.parametrize("order", ["control-first", "control-last"])
def test_an_awaited_control_that_leaves_is_compared_and_published(
    form: str, kind: type[BaseException], order: str, named: str
) -> None:
    """Its own SystemExit, GeneratorExit or CancelledError is an outcome like an exception."""
    own = kind("of the control")

    async def leaves(*args: Any) -> Any:
        raise own

    t = Trial(form, False, {"order": order}, leaves, named)
    t.control = leaves  # type: ignore[method-assign]
    with pytest.raises(kind) as caught:
        drive(t.call())
    assert caught.value is own
    assert t.results[0].matched
    t.check_counts()


def test_both_may_raise_the_very_same_object_when_awaited(run: Run, form: str, named: str) -> None:
    """A failure that is kept and raised anew by both keeps the control's own traceback."""
    for order in ("control-first", "control-last"):
        t = Trial(form, True, {"order": order}, fail, f"{named}{order}")

        async def same(*args: Any, t: Trial = t) -> Any:
            await asyncio.sleep(0)
            try:
                raise Boom
            except Boom:
                raise t.error  # noqa: B904, the context is what must not leak

        t.candidate = same
        run(t.check_outcome())
        assert t.results[0].matched
        assert t.results[0].candidates[0].exception is not t.error


def test_no_frame_and_no_cycle_is_left_by_what_is_awaited(run: Run, form: str, named: str) -> None:
    """After a run in which both raise, nothing waits for the garbage collector."""

    class Big:
        pass

    alive: list[weakref.ref[Big]] = []

    async def holding(*args: Any) -> Any:
        big = Big()
        alive.append(weakref.ref(big))
        await asyncio.sleep(0)
        raise Boom("with a frame")

    async def main() -> None:
        t = Trial(form, True, {}, holding, named)
        t.control = holding  # type: ignore[method-assign]
        gc.collect()
        gc.disable()
        try:
            with contextlib.suppress(Boom):
                await t.call()
            assert [ref() for ref in alive] == [None, None]
            assert t.results[0].candidates[0].exception.__traceback__ is None  # type: ignore[union-attr]
        finally:
            gc.enable()

    run(main())


def test_a_decorated_coroutine_function_stays_one(named: str) -> None:
    """For frameworks that ask; and its name, signature and control are there."""

    async def fetch_v2(key: str) -> int:
        return 1

    for options in ({}, {"sample": 0.0}, {"run_if": bool}, {"mode": "background"}):

        @experiment(named, candidate=fetch_v2, **options)  # type: ignore[arg-type]
        async def fetch(key: str) -> int:
            """Fetch."""
            return 1

        assert inspect.iscoroutinefunction(fetch)
        assert (fetch.__name__, fetch.__doc__) == ("fetch", "Fetch.")
        assert str(inspect.signature(fetch)) == "(key: 'str') -> 'int'"
        assert fetch.__wrapped__ is fetch.experiment.control


def test_calling_an_experiment_with_an_awaited_control_gives_an_awaitable(
    run: Run, named: str
) -> None:
    """Whatever the candidate is."""

    async def main() -> None:
        made = Experiment(named, control=two, candidate=lambda: 2, publishers=())
        given = made()
        assert inspect.isawaitable(given)
        assert await given == 2

    run(main())
    assert tallies()[named].outcomes == {"candidate": {Outcome.MATCHED: 1}}


def test_methods_and_classmethods_share_self_with_their_candidate(run: Run, named: str) -> None:
    """As with plain functions; `classmethod` stands outside."""

    class Owner:
        factor = 2

        async def _new(self, xs: list[int]) -> tuple[Any, list[int]]:
            await asyncio.sleep(0)
            xs.append(9)
            return self, [x * self.factor for x in xs[:2]]

        @experiment(named, candidate=_new, publishers=())
        async def old(self, xs: list[int]) -> tuple[Any, list[int]]:
            await asyncio.sleep(0)
            return self, [x + x for x in xs]

        async def _new_made(cls) -> int:
            return cls.factor  # type: ignore[attr-defined, no-any-return]

        @classmethod
        @experiment(f"{named}.class", candidate=_new_made, publishers=())
        async def made(cls) -> int:
            await asyncio.sleep(0)
            return cls.factor

    async def main() -> None:
        owner, xs = Owner(), [1, 2]
        assert await owner.old(xs) == (owner, [2, 4])
        assert xs == [1, 2]
        assert await Owner.made() == 2
        assert await owner.made() == 2

    run(main())
    assert tallies()[named].outcomes == {"candidate": {Outcome.MATCHED: 1}}
    assert tallies()[f"{named}.class"].outcomes == {"candidate": {Outcome.MATCHED: 2}}


def test_a_reference_to_a_coroutine_function_is_awaited(run: Run, named: str) -> None:
    """One that can't be found is what the candidate raised."""

    async def main() -> None:
        with twinrun.recording() as results:
            for text in ("asyncio:sleep", "asyncio:no_such_thing"):
                made = experiment(named, candidate=text, publishers=())
                assert await made(asyncio.sleep)(0, "slept") == "slept"
        first, second = results
        assert first.matched
        assert type(second.candidates[0].exception) is AttributeError

    run(main())


class Later:
    """An awaitable of one's own."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __await__(self) -> Iterator[Any]:
        yield
        return self.value


@types.coroutine
def by_generator() -> Iterator[Any]:
    """Be a coroutine of the old kind."""
    yield
    return 2


def by_future() -> asyncio.Future[int]:
    """Give a future."""
    future = asyncio.get_running_loop().create_future()
    future.get_loop().call_soon(future.set_result, 2)
    return future


def by_task() -> asyncio.Task[int]:
    """Give a task."""
    return asyncio.ensure_future(two())


AWAITABLES: tuple[Callable[[], Any], ...] = (
    two,
    lambda: 2,
    lambda: Later(2),
    lambda: by_generator(),
    by_future,
    by_task,
    partial(asyncio.sleep, 0, 2),
)


@pytest.mark.parametrize("candidate", AWAITABLES)
@pytest.mark.parametrize("control", AWAITABLES)
def test_arun_awaits_whatever_can_be_awaited(
    run: Run, control: Callable[[], Any], candidate: Callable[[], Any], named: str
) -> None:
    """Coroutines, awaitables of every kind, and plain values may stand side by side."""

    async def main() -> None:
        made = Experiment(named, publishers=(), compare=lambda a, b: (a, b) == (2, 2))
        with twinrun.recording() as results:
            assert await made.arun(control=control, candidate=candidate) == 2
            result = await made.aobserve(control=control, candidate=candidate)
        assert [each.matched for each in results] == [True, True]
        assert results[1] is result

    run(main())


@pytest.mark.skipif(not hasattr(inspect, "markcoroutinefunction"), reason="needs Python 3.12")
@pytest.mark.parametrize("given", AWAITABLES)
@pytest.mark.parametrize("order", ["control-first", "control-last"])
def test_a_function_that_is_marked_as_a_coroutine_function_may_give_any_awaitable(
    run: Run, given: Callable[[], Any], order: str, named: str
) -> None:
    """A decorator that hands a coroutine on, or a future of one, marks what it makes so."""
    mark = inspect.markcoroutinefunction

    async def main() -> None:
        made = experiment(named, candidate=mark(lambda: given()), order=order, publishers=())(two)
        both = experiment(
            f"{named} both",
            candidate=two,
            order=order,
            publishers=(),
        )(mark(lambda: given()))
        for _ in range(3):
            assert await made() == await both() == 2

    run(main())
    for name in (named, f"{named} both"):
        assert tallies()[name].outcomes["candidate"] == {Outcome.MATCHED: 3}


@pytest.mark.skipif(not hasattr(inspect, "markcoroutinefunction"), reason="needs Python 3.12")
def test_what_a_future_of_a_marked_candidate_raises_is_evidence(run: Run, named: str) -> None:
    """It is what the candidate raised, as if it were a coroutine function."""

    def failing() -> asyncio.Future[int]:
        future = asyncio.get_running_loop().create_future()
        future.set_exception(Boom("late"))
        return future

    async def main() -> None:
        results: list[Result] = []
        marked = inspect.markcoroutinefunction(failing)
        made = experiment(named, candidate=marked, publishers=[results.append])(two)
        assert await made() == 2
        assert isinstance(results[0].candidates[0].exception, Boom)

    run(main())


def test_arun_runs_several_candidates_and_a_named_control(run: Run, named: str) -> None:
    """Each in its turn, compared with the control."""

    async def main() -> None:
        ways = {"first": two, "second": three, "third": two}
        made = Experiment(named, publishers=(), order=lambda names: sorted(names))
        result = await made.aobserve(candidates=ways, control="second", context={"key": 1})
        assert await made.arun(candidates=ways, control="second") == 3
        assert result.order == ("first", "second", "third")
        assert result.control.value == 3
        assert [each.value for each in result.candidates] == [2, 2]
        assert result.context == {"key": 1}

    run(main())
    outcomes = {"first": {Outcome.MISMATCHED: 2}, "third": {Outcome.MISMATCHED: 2}}
    assert tallies()[named].outcomes == outcomes


def test_wrong_use_is_said_before_anything_runs(run: Run, named: str) -> None:
    """A coroutine candidate of a plain control, `run` with coroutine functions, generators."""

    def generator() -> Iterator[int]:
        yield 1

    made = Experiment(named)
    with pytest.raises(ConfigurationError, match="coroutine function"):
        Experiment(named, control=lambda: 2, candidate=two)
    with pytest.raises(ConfigurationError, match="`arun` and `aobserve` coroutine functions"):
        made.run(control=two)
    with pytest.raises(ConfigurationError, match="`arun` and `aobserve` coroutine functions"):
        made.observe(control=two, candidate=lambda: 2)

    async def main() -> None:
        with pytest.raises(ConfigurationError, match="generator function"):
            await made.arun(control=generator)
        with pytest.raises(ConfigurationError, match="generator function"):
            await made.arun(control=two, candidate=generator)
        with pytest.raises(ConfigurationError, match="has no behaviour 'control'"):
            await made.arun(candidate=two)
        with pytest.raises(ConfigurationError, match="two behaviours with the name 'candidate'"):
            await Experiment(named, candidate=two).arun(candidates={"candidate": three})

    run(main())


def test_aobserve_never_raises_what_the_control_raises(run: Run, named: str) -> None:
    """It gives the Result, of the control alone where the experiment is off."""
    error = ControlError()

    async def control() -> int:
        await asyncio.sleep(0)
        raise error

    async def main() -> None:
        results: list[Result] = []
        made = Experiment(named, publishers=[results.append])
        result = await made.aobserve(control=control, candidate=two)
        assert results == [result]
        assert result.mismatched
        assert type(result.control.exception) is ControlError
        with twinrun.disabled():
            alone = await made.aobserve(control=control, candidate=two)
        assert alone.candidates == ()
        assert alone.control.raised
        assert results == [result]

    run(main())
    assert tallies()[named].skipped == {"disabled": 1}


def test_the_candidate_runs_in_the_callers_task_in_a_copy_of_its_context(
    run: Run, named: str
) -> None:
    """What it sets never leaks, and what the control sets stays; between awaits, too."""
    var: contextvars.ContextVar[str] = contextvars.ContextVar("var", default="outside")
    seen: list[Any] = []

    def behaviour(name: str) -> Callable[[], Any]:
        async def act() -> None:
            seen.append((name, var.get(), in_candidate(), asyncio.current_task()))
            var.set(name)
            await asyncio.sleep(0)
            seen.append((name, var.get(), in_candidate(), asyncio.current_task()))
            await asyncio.sleep(0)

        return act

    async def main() -> None:
        here = asyncio.current_task()
        control, candidate = behaviour("control"), behaviour("candidate")
        for order in ("control-first", "control-last"):
            var.set("outside")
            await Experiment(
                named, control=control, candidate=candidate, order=order, publishers=()
            )()
            assert var.get() == "control"
            assert not in_candidate()
            sides = [
                [("control", "outside", False, here), ("control", "control", False, here)],
                [("candidate", "outside", True, here), ("candidate", "candidate", True, here)],
            ]
            assert seen == [*sides[order == "control-last"], *sides[order == "control-first"]]
            seen.clear()

    run(main())


def test_a_candidate_that_never_waits_costs_no_turn_of_the_loop(run: Run, named: str) -> None:
    """Nor does a control."""

    async def quiet() -> int:
        return 2

    async def main() -> None:
        turns: list[str] = []
        asyncio.get_running_loop().call_soon(turns.append, "turn")
        made = Experiment(named, control=quiet, candidate=quiet, publishers=())
        assert await made() == 2
        assert turns == []
        await asyncio.sleep(0)
        assert turns == ["turn"]

    run(main())


def test_a_recursive_control_experiments_once(run: Run, named: str) -> None:
    """Directly, by `gather`, and in tasks; other experiments inside it do experiment."""
    results: list[Result] = []

    @experiment(f"{named}.other", candidate=lambda n: n, publishers=())
    async def other(n: int) -> int:
        return n

    async def fast(n: int) -> int:
        return n

    @experiment(named, candidate=fast, publishers=[results.append])
    async def slow(n: int) -> int:
        await asyncio.sleep(0)
        if n == 0:
            return await other(0)
        first, _ = await asyncio.gather(slow(n - 1), slow(0))
        return first + 1

    assert run(slow(3)) == 3
    assert len(results) == 1
    assert tallies()[named].skipped == {"reentry": 6}
    assert tallies()[f"{named}.other"].experiments == 4


def test_concurrent_tasks_of_one_loop_each_experiment(run: Run, named: str) -> None:
    """That another task is inside the control says nothing of this one."""

    async def copy(n: int) -> int:
        await asyncio.sleep(0)
        return n

    made = experiment(named, candidate=copy, publishers=())(copy)

    async def main() -> list[int]:
        return await asyncio.gather(*(made(n) for n in range(50)))

    assert run(main()) == list(range(50))
    assert tallies()[named].outcomes == {"candidate": {Outcome.MATCHED: 50}}


def test_what_a_control_leaves_behind_experiments_again(run: Run, named: str) -> None:
    """A task that it started is inside it only as long as it runs."""
    left: list[asyncio.Task[int]] = []

    async def leaving() -> int:
        left.append(asyncio.ensure_future(later()))
        return 2

    async def later() -> int:
        for _ in range(10):
            await asyncio.sleep(0)
        return await made()

    async def once() -> int:
        return 2

    made = experiment(named, candidate=once, publishers=())(once)
    parent = experiment(named, candidate=once, publishers=())(leaving)

    async def main() -> None:
        assert await parent() == 2
        assert await left[0] == 2

    run(main())
    assert tallies()[named].outcomes == {"candidate": {Outcome.MATCHED: 2}}


def test_experiments_inside_an_awaited_candidate_run_their_control_only(
    run: Run, named: str
) -> None:
    """Also in the tasks that it starts, and when they outlive it."""

    @experiment(f"{named}.inner", candidate=three, publishers=())
    async def inner() -> int:
        return await two()

    tasks: list[asyncio.Task[int]] = []

    async def candidate() -> int:
        tasks.append(asyncio.ensure_future(inner()))
        return await inner()

    async def main() -> None:
        made = Experiment(f"{named}.outer", control=two, candidate=candidate, publishers=())
        assert await made() == 2
        assert await tasks[0] == 2

    run(main())
    assert tallies()[f"{named}.inner"].skipped == {"reentry": 2}
    assert tallies()[f"{named}.outer"].outcomes == {"candidate": {Outcome.MATCHED: 1}}


def test_a_mismatch_raises_where_that_is_asked_for(run: Run, named: str) -> None:
    """After it was published, in each mode."""

    async def main() -> None:
        for mode in ("inline", "concurrent", "background"):
            results: list[Result] = []
            made = Experiment(
                named,
                control=two,
                candidate=three,
                mode=mode,
                publishers=[results.append],
                raise_on_mismatch=True,
            )
            with pytest.raises(MismatchError, match="did not match"):
                await made()
            assert len(results) == 1

    run(main())


def test_cpu_time_leaves_out_what_other_tasks_do_meanwhile(run: Run, named: str) -> None:
    """Only the steps of the behaviour itself are measured."""

    async def working() -> None:
        while True:
            sum(range(100_000))
            await asyncio.sleep(0)

    async def main() -> Result:
        worker = asyncio.ensure_future(working())
        made = Experiment(named, cpu_time=True, publishers=())
        result = await made.aobserve(
            control=partial(asyncio.sleep, 0.05), candidate=partial(asyncio.sleep, 0.05)
        )
        worker.cancel()
        return result

    result: Result = run(main())
    for each in (result.control, result.candidates[0]):
        assert each.cpu_time is not None
        assert each.cpu_time < each.duration / 2


def test_a_candidate_past_its_timeout_is_cancelled(run: Run, named: str) -> None:
    """The outcome is `timed_out`, with no value and the time that it had."""
    cancelled: list[str] = []

    async def hanging() -> int:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append("cancelled")
            raise
        return 2

    async def busy() -> int:
        while True:
            await asyncio.sleep(0)

    async def main() -> None:
        for candidate in (hanging, busy):
            made = Experiment(named, timeout=0.05, publishers=())
            result = await made.aobserve(control=two, candidate=candidate)
            [comparison] = result.comparisons
            assert comparison.outcome is Outcome.TIMED_OUT
            assert comparison.candidate.value is NOTHING
            assert comparison.candidate.duration > 0.05
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0

    run(main())
    assert cancelled == ["cancelled"]
    assert tallies()[named].outcomes == {"candidate": {Outcome.TIMED_OUT: 2}}


def test_off_for_good_still_awaits(run: Run, named: str) -> None:
    """Each reason for which no call can ever be an experiment is counted."""

    async def main() -> None:
        reasons: tuple[dict[str, Any], ...] = ({"enabled": False}, {"sample": 0.0})
        for options in reasons:
            made = experiment(named, candidate=three, **options)(two)
            assert await made() == 2
        with twinrun.disabled():
            assert await experiment(named, candidate=three)(two)() == 2

    run(main())
    assert tallies()[named].skipped == {"enabled": 1, "sample": 1, "disabled": 1}

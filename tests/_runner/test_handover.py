"""The run function off the caller's path, made from the control's own parameters."""

from __future__ import annotations

import inspect
import linecache
import signal
from collections.abc import Callable
from typing import Any

import pytest

import twinrun
from twinrun import Outcome, experiment, recording, tallies
from twinrun._accounts import account_of
from twinrun._runner.breaking import Circuit
from twinrun.samplers import Breaker

WATCHDOG = 60.0  # seconds, a safety net only


class Interrupted(Exception):
    """What a signal's handler raises."""


@pytest.fixture(params=["concurrent", "background"])
def mode(request: pytest.FixtureRequest) -> str:
    """Give each mode off the path."""
    return str(request.param)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """Name the experiment like the test."""
    return str(request.node.nodeid)


def positional_only(a: Any, b: Any, /, c: Any, *, d: Any) -> tuple[Any, ...]:
    """Have every kind of parameter that must be given."""
    return a, b, c, d


def none() -> tuple[Any, ...]:
    """Take nothing."""
    return ()


def defaults(a: Any, b: Any = 2, *, c: Any = 3) -> tuple[Any, ...]:
    """Have defaults."""
    return a, b, c


def variadic(*args: Any, **kwargs: Any) -> tuple[Any, ...]:
    """Take anything."""
    return (*args, *kwargs.items())


def underscored(_value: Any, _run: Any) -> tuple[Any, ...]:
    """Have parameters named like the made function's own."""
    return _value, _run


CALLS: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = [
    (positional_only, (1, "2", 3.0), {"d": None}),
    (positional_only, ([1], {2: []}), {"c": 3, "d": (4, [5])}),
    (none, (), {}),
    (defaults, (1,), {}),
    (defaults, (1, [5]), {"c": {6}}),
    (variadic, (1, [2]), {"x": 3}),
    (underscored, (1, [2]), {}),
    (lambda x, y: x + y, (1, 2), {}),
]


@pytest.mark.parametrize(("function", "args", "kwargs"), CALLS)
@pytest.mark.parametrize("options", [{}, {"isolate": "share"}, {"sample": 0.5, "breaker": None}])
def test_both_sides_get_the_arguments_of_the_call(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    options: dict[str, Any],
    mode: str,
    name: str,
) -> None:
    """Whatever the parameters are, the two calls are the caller's, and match."""
    made = experiment(name, candidate=function, mode=mode, publishers=(), **options)(function)
    for _ in range(10):
        assert made(*args, **kwargs) == function(*args, **kwargs)
    assert twinrun.flush(WATCHDOG)
    tally = tallies()[name]
    assert tally.runs == 10
    assert tally.count(Outcome.MATCHED) == tally.experiments
    assert set(tally.skipped) <= {"sample"}
    assert inspect.signature(made) == inspect.signature(function)


def test_a_candidate_keeps_its_own_defaults(mode: str, name: str) -> None:
    """What the caller leaves out is left out for both, and each fills in its own."""

    def candidate(a: Any, b: Any = 20, *, c: Any = 30) -> tuple[Any, ...]:
        return a, b, c

    results: list[twinrun.Result] = []
    made = experiment(name, candidate=candidate, mode=mode, publishers=[results.append])(defaults)
    assert made(1) == (1, 2, 3)
    assert twinrun.flush(WATCHDOG)
    assert results[0].candidates[0].value == (1, 20, 30)


def test_a_traceback_shows_the_line_that_ran(mode: str, name: str) -> None:
    """Our one frame points to the line of the library's own file that called the control."""

    def control(x: int) -> int:
        raise KeyError(x)

    made = experiment(name, candidate=control, mode=mode, publishers=())(control)
    with pytest.raises(KeyError) as caught:
        made(1)
    ours, own = caught.traceback[1:]
    assert (
        linecache.getline(str(ours.path), ours.lineno + 1).strip() == "_value = _control({passing})"
    )
    assert own.name == "control"
    assert twinrun.flush(WATCHDOG)


def test_a_recorded_run_is_done_the_thorough_way(mode: str, name: str) -> None:
    """Its control's exception still is the caller's own."""
    error = KeyError("mine")

    def control() -> None:
        raise error

    made = experiment(name, candidate=control, mode=mode, publishers=())(control)
    with recording() as results:
        with pytest.raises(KeyError) as caught:
            made()
        assert twinrun.flush(WATCHDOG)
    assert caught.value is error
    assert [r.matched for r in results] == [True]


def test_one_permit_serves_all_runs_while_the_experiment_is_on() -> None:
    """None is open from the moment at which it pauses; the next phase has another one."""
    now = 0.0
    circuit = Circuit(Breaker(failures=1, cpu_share=None), lambda: now, lambda: 0.0)
    first = circuit.permit()
    assert first is not None
    assert circuit.open is first
    first.note(True, 0)
    assert circuit.open is None
    assert circuit.permit() is None
    now = 3600.0
    trial = circuit.permit()
    assert trial is not None
    assert circuit.open is None
    trial.note(False, 0)
    second = circuit.permit()
    assert second is not None
    assert circuit.open is second
    assert second.number not in (first.number, trial.number)


@pytest.mark.parametrize("late", ["begins", "ends"])
def test_a_permit_that_outlives_its_phase_lets_in_until_the_first_run_under_it(late: str) -> None:
    """A thread that stood still between asking and opening does no lasting harm."""
    circuit = Circuit(Breaker(failures=1, cpu_share=None))
    first = circuit.permit()
    assert first is not None
    first.note(True, 0)
    circuit.open = first
    if late == "begins":
        assert not first.holds()
    else:
        assert first.note(False, 0) is None
    assert circuit.open is None
    assert circuit.permit() is None


def test_a_paused_experiment_leaves_nothing(mode: str, name: str) -> None:
    """Its calls are counted as paused, before anybody looks at what they are given."""

    def candidate(value: Any) -> None:
        raise ValueError

    options: dict[str, Any] = {"breaker": Breaker(failures=1), "publishers": ()}
    made = experiment(name, candidate=candidate, mode=mode, **options)(lambda value: None)
    made(1)
    assert twinrun.flush(WATCHDOG)
    for _ in range(5):
        made(iter([1]))
    assert tallies()[name].experiments == 1
    assert tallies()[name].skipped == {"paused": 5}


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers that send signals")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # in a finalizer
def test_a_signals_handler_that_raises_anywhere_leaves_no_run_behind(mode: str, name: str) -> None:
    """Each run that was let in ends, and no thread is thought to be inside a control."""
    armed = [False]

    def handle(*_: object) -> None:
        if armed[0]:
            armed[0] = False
            raise Interrupted

    options: dict[str, Any] = {"breaker": None, "publishers": ()}
    made = experiment(name, candidate=variadic, mode=mode, **options)(variadic)
    interrupted = 0
    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
    try:
        for n in range(3000):
            try:
                armed[0] = True
                made(n, [n])
                armed[0] = False
            except Interrupted:
                interrupted += 1
            if n % 200 == 0:
                assert twinrun.flush(WATCHDOG)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert twinrun.flush(WATCHDOG)
    tally = tallies()[name]
    assert 3000 - interrupted <= tally.runs <= 3000
    assert tally.skipped.get("interrupted", 0) <= interrupted
    assert account_of(name).active == set()

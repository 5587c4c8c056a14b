"""Real experiments pause for bad candidates, try one run, and go on; the control never suffers."""

from __future__ import annotations

import asyncio
import itertools
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import twinrun
from twinrun import Experiment, Observation, Outcome, Tally, configure, experiment, tallies
from twinrun.samplers import Breaker

WATCHDOG = 10.0  # seconds, a safety net only
THREE = Breaker(failures=3, cpu_share=None, cooldown=8.0)


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Give the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock for `timed`."""
    return Clock()


def timed(made: Any, clock: Clock) -> Any:
    """Have an experiment's breaker, or a decorated function's, tell the time by this clock."""
    circuit = getattr(made, "experiment", made)._recipe.circuit
    circuit._clock, circuit._random = clock, lambda: 0.0
    circuit.after_fork()
    return made


def tally_of(made: Any) -> Tally:
    """Read the tally of an experiment or a decorated function when all is over."""
    assert twinrun.flush(WATCHDOG)
    return tallies()[getattr(made, "experiment", made).name]


@pytest.fixture
def names(request: pytest.FixtureRequest) -> Iterator[str]:
    """Give names of experiments that nobody else has."""
    return (f"{request.node.nodeid} {i}" for i in itertools.count())


class Unwell:
    """A candidate that raises until it is well, and counts its calls."""

    def __init__(self) -> None:
        self.calls = 0
        self.is_well = False

    def __call__(self, *_: Any) -> int:
        """Raise, or give what the control gives."""
        self.calls += 1
        if not self.is_well:
            raise ConnectionError("down")
        return 1


def one(*_: Any) -> int:
    """The control of most."""
    return 1


def burn(ms: float = 3.0) -> int:
    """Take so many milliseconds of CPU time."""
    end = time.thread_time() + ms / 1000
    while time.thread_time() < end:
        pass
    return 1


MODES = ("inline", "background", "concurrent")


def called(run: Callable[[], Any], times: int) -> None:
    """Call an experiment so often, one run after the other; its control is never in danger."""
    for _ in range(times):
        assert run() == 1
        assert twinrun.flush(WATCHDOG)


@pytest.mark.parametrize("mode", MODES)
def test_a_failing_candidate_pauses_its_experiment(
    mode: str, names: Iterator[str], clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """One run is tried after the cool-down; when it is well all go on; each is said once."""
    candidate = Unwell()
    name = next(names)
    run = timed(
        Experiment(name, control=one, candidate=candidate, mode=mode, breaker=THREE, publishers=()),
        clock,
    )
    called(run, 10)
    assert candidate.calls == 3
    clock.now += 8
    called(run, 5)  # the one that is tried fails
    assert candidate.calls == 4
    clock.now += 8
    called(run, 5)  # 8 of 16 s
    assert candidate.calls == 4
    candidate.is_well = True
    clock.now += 8
    called(run, 10)
    assert candidate.calls == 14
    tally = tally_of(run)
    assert tally.skipped == {"paused": 16}
    assert tally.count(Outcome.MISMATCHED) == 4
    assert tally.count(Outcome.MATCHED) == 10
    assert tally.runs == 30
    assert caplog.messages == [
        f"experiment.paused experiment={name!r} reason=failures cooldown=8.0",
        f"experiment.resumed experiment={name!r} paused_for=24.0",
    ]


def burn_in_c(ms: float = 3.0) -> int:
    """Take so many milliseconds of CPU time, in steps in which no other thread gets on."""
    numbers = list(range(10_000))
    end = time.thread_time() + ms / 1000
    while time.thread_time() < end:
        sum(numbers)
    return 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("burning", [burn, burn_in_c])
def test_a_candidate_that_burns_cpu_is_paused(
    mode: str, burning: Callable[[], int], names: Iterator[str], clock: Clock
) -> None:
    """After what it may run ahead: 10 ms here, of 3 ms each."""
    breaker = Breaker(failures=None, cpu_share=0.001)
    run = timed(
        Experiment(
            next(names), control=one, candidate=burning, mode=mode, breaker=breaker, publishers=()
        ),
        clock,
    )
    called(run, 20)
    tally = tally_of(run)
    assert 2 <= tally.experiments <= 5
    assert tally.skipped == {"paused": 20 - tally.experiments}


def test_what_waits_in_the_queue_does_not_begin_when_it_is_paused(
    names: Iterator[str], clock: Clock
) -> None:
    """It was let in before; it is counted as paused, as if it had come later."""
    may_end = threading.Event()
    begun = itertools.count()

    def fail() -> int:
        next(begun)
        assert may_end.wait(WATCHDOG)
        raise ConnectionError("down")

    configure(workers=1)
    breaker = Breaker(failures=1, cpu_share=None)
    run = timed(
        Experiment(
            next(names),
            control=one,
            candidate=fail,
            mode="background",
            breaker=breaker,
            publishers=(),
        ),
        clock,
    )
    for _ in range(20):
        assert run() == 1
    may_end.set()
    assert twinrun.flush(WATCHDOG)
    tally = tally_of(run)
    # A worker that an earlier test left behind may take one more, which began by then.
    assert tally.experiments == next(begun) <= 2
    assert tally.skipped == {"paused": 20 - tally.experiments}


def test_a_full_queue_leaves_the_place_of_the_run_that_is_tried(
    names: Iterator[str], clock: Clock
) -> None:
    """It says nothing of the candidate: the next run is tried."""
    candidate = Unwell()
    run = timed(
        Experiment(
            next(names),
            control=one,
            candidate=candidate,
            mode="background",
            breaker=THREE,
            publishers=(),
        ),
        clock,
    )
    called(run, 3)
    candidate.is_well = True
    clock.now += 8

    may_end = threading.Event()
    holding = Experiment(
        next(names),
        control=one,
        candidate=lambda: may_end.wait(WATCHDOG),
        mode="background",
        publishers=(),
    )
    configure(workers=1, queue=1)
    try:
        assert holding() == holding() == 1  # which is all the room there is
        assert run() == 1
    finally:
        may_end.set()
    assert twinrun.flush(WATCHDOG)
    called(run, 1)
    tally = tally_of(run)
    assert tally.skipped == {"queue full": 1}
    assert tally.count(Outcome.MATCHED) == 1


def ignore_all(control: Observation, candidate: Observation) -> bool:
    """Say that every difference is known."""
    return True


def fails(*_: Any) -> int:
    """Raise as a control may, too."""
    raise ValueError("no number")


def fails_otherwise(*_: Any) -> int:
    """Raise something else."""
    raise KeyError("no number")


@pytest.mark.parametrize(
    ("control", "candidate", "options"),
    [
        (fails, fails, {}),
        (fails, fails_otherwise, {}),
        (fails, one, {}),
        (one, lambda: 2, {}),
        (one, fails, {"ignore": ignore_all}),
    ],
)
def test_other_differences_than_the_candidates_own_failures_pause_nothing(
    control: Any, candidate: Any, options: dict[str, Any], names: Iterator[str]
) -> None:
    """Evidence is what an experiment is for."""
    run = Experiment(
        next(names),
        control=control,
        candidate=candidate,
        breaker=THREE,
        publishers=(),
        **options,
    )
    for _ in range(10):
        try:
            run()
        except ValueError as error:
            assert str(error) == "no number"
    assert tally_of(run).skipped == {}


def test_a_baseline_that_fails_is_no_failure_of_a_candidate(names: Iterator[str]) -> None:
    """The control itself does not always do the same."""
    calls = itertools.count()

    def every_other() -> int:
        if next(calls) % 2:
            raise ValueError("at times")
        return 1

    run = Experiment(
        next(names),
        control=every_other,
        candidate=one,
        baseline=1.0,
        order=lambda names: ["control", "baseline", "candidate"],
        breaker=THREE,
        publishers=(),
    )
    for _ in range(10):
        assert run() == 1
    assert tally_of(run).skipped == {}


@pytest.mark.parametrize("mode", MODES)
def test_timeouts_are_failures(mode: str, names: Iterator[str], clock: Clock) -> None:
    """What takes too long is not waited for again and again."""
    run = timed(
        Experiment(
            next(names),
            control=one,
            candidate=lambda: time.sleep(0.02) or 1,
            timeout=0.001,
            mode=mode,
            breaker=THREE,
            publishers=(),
        ),
        clock,
    )
    called(run, 6)
    tally = tally_of(run)
    assert tally.count(Outcome.TIMED_OUT) == 3
    assert tally.skipped == {"paused": 3}


def test_of_several_candidates_one_that_fails_pauses_the_experiment(names: Iterator[str]) -> None:
    """They run together or not at all."""
    run = Experiment(
        next(names),
        control=one,
        candidates={"well": one, "unwell": Unwell()},
        breaker=THREE,
        publishers=(),
    )
    called(run, 5)
    assert tally_of(run).skipped == {"paused": 2}


def test_the_controls_own_exception_reaches_the_caller_while_it_is_paused(
    names: Iterator[str],
) -> None:
    """The very object, as always."""
    error = LookupError("mine")
    is_bad = False

    def control() -> int:
        if is_bad:
            raise error
        return 1

    run = Experiment(next(names), control=control, candidate=Unwell(), breaker=THREE, publishers=())
    called(run, 4)
    is_bad = True
    with pytest.raises(LookupError) as caught:
        run()
    assert caught.value is error
    assert caught.value.__context__ is None
    assert tally_of(run).skipped == {"paused": 2}


def test_a_paused_run_does_nothing_but_the_control(names: Iterator[str]) -> None:
    """No hook before it is called and nothing is copied; `run_if` and `sample` were asked."""
    asked: list[str] = []

    def told(what: str, answer: Any) -> Callable[..., Any]:
        def tell(*_: Any) -> Any:
            asked.append(what)
            return answer

        return tell

    run = Experiment(
        next(names),
        control=one,
        candidate=Unwell(),
        run_if=told("run_if", True),
        sample=told("sample", 1.0),
        before_run=told("before_run", None),
        isolate=told("isolate", []),
        context=told("context", {}),
        breaker=THREE,
        publishers=(),
    )
    for _ in range(3):
        assert run([]) == 1
    asked.clear()
    assert run([]) == 1
    assert asked == ["sample", "run_if"]


def test_a_run_that_another_gate_stops_is_not_the_one_that_is_tried(
    names: Iterator[str], clock: Clock
) -> None:
    """Nor is one whose arguments can't be copied: the next has its chance."""
    candidate = Unwell()
    run = timed(
        Experiment(
            next(names),
            control=one,
            candidate=candidate,
            run_if=lambda *args: args != ("no",),
            breaker=THREE,
            publishers=(),
        ),
        clock,
    )
    for _ in range(3):
        assert run(1) == 1
    candidate.is_well = True
    clock.now += 8
    assert run("no") == 1
    assert run(iter("eaten")) == 1
    assert run(1) == 1
    tally = tally_of(run)
    assert tally.skipped == {"run_if": 1, "isolate": 1}
    assert tally.count(Outcome.MATCHED) == 1


def test_where_a_mismatch_raises_nothing_is_paused(names: Iterator[str]) -> None:
    """A test must not pass because its experiment is paused, in whatever mode it is."""
    for mode in MODES:
        run = Experiment(
            next(names), control=one, candidate=Unwell(), mode=mode, breaker=THREE, publishers=()
        )
        called(run, 3) if mode == "inline" else None
        with twinrun.raising():
            for _ in range(5):
                with pytest.raises(twinrun.MismatchError):
                    run()


def test_observe_gives_the_control_alone_while_it_is_paused(names: Iterator[str]) -> None:
    """As wherever the experiment is off."""
    run = Experiment(next(names), candidate=Unwell(), breaker=THREE, publishers=())
    for _ in range(3):
        assert run.observe(control=one).mismatched
    result = run.observe(control=one)
    assert result.control.value == 1
    assert result.candidates == ()


def test_coroutine_functions_pause_too(names: Iterator[str]) -> None:
    """In the caller's task."""
    candidate = Unwell()

    @experiment(next(names), candidate=candidate, breaker=THREE, publishers=())
    async def control() -> int:
        return 1

    async def main() -> None:
        for _ in range(5):
            assert await control() == 1

    asyncio.run(main())
    assert candidate.calls == 3
    assert tally_of(control).skipped == {"paused": 2}


def test_tasks_that_are_to_begin_do_not_when_it_is_paused(names: Iterator[str]) -> None:
    """A loop that is flooded by candidates is given back to its service."""
    begun = itertools.count()

    async def pause() -> int:
        next(begun)
        circuit = run.experiment._recipe.circuit
        assert circuit is not None
        assert circuit.note(circuit.admit(), True, 0) is not None
        return 1

    @experiment(
        next(names),
        candidate=pause,
        mode="background",
        breaker=Breaker(failures=1, cpu_share=None, cooldown=None),
        publishers=(),
    )
    async def run() -> int:
        return 1

    async def main() -> None:
        for _ in range(20):
            assert await run() == 1
        assert await twinrun.aflush(WATCHDOG)

    asyncio.run(main())
    tally = tally_of(run)
    assert tally.experiments == next(begun) == 1
    assert tally.skipped == {"paused": 19}


def test_generators_pause_too(names: Iterator[str], clock: Clock) -> None:
    """By the stream: the next one is the control's alone."""
    candidate = Unwell()

    @experiment(next(names), candidate=candidate, breaker=THREE, publishers=())
    def control() -> Iterator[int]:
        yield 1
        yield 2

    timed(control, clock)
    for _ in range(5):
        assert list(control()) == [1, 2]
    assert candidate.calls == 3
    assert tally_of(control).skipped == {"paused": 2}


def test_an_inline_run_that_was_interrupted_does_not_pause_for_ever(
    names: Iterator[str], clock: Clock
) -> None:
    """It never reports; after the cool-down it counts as failed, and another is tried."""
    candidate = Unwell()
    run = timed(
        Experiment(next(names), control=one, candidate=candidate, breaker=THREE, publishers=()),
        clock,
    )
    called(run, 3)
    clock.now += 8

    def interrupt() -> int:
        raise KeyboardInterrupt

    other = Experiment(run.name, control=one, candidate=interrupt, breaker=THREE, publishers=())
    with pytest.raises(KeyboardInterrupt):
        other()
    candidate.is_well = True
    called(run, 1)
    clock.now += 8 + 16
    called(run, 2)
    tally = tally_of(run)
    assert tally.skipped == {"interrupted": 1, "paused": 1}
    assert tally.count(Outcome.MATCHED) == 2


def test_a_log_that_fails_hurts_nobody(names: Iterator[str]) -> None:
    """It is counted, and the experiment is paused all the same."""

    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            """Fail."""
            raise OSError("the disk is full")

    run = Experiment(next(names), control=one, candidate=Unwell(), breaker=THREE, publishers=())
    handler = Broken()
    logging.getLogger("twinrun").addHandler(handler)
    try:
        called(run, 5)
    finally:
        logging.getLogger("twinrun").removeHandler(handler)
    tally = tally_of(run)
    assert tally.skipped == {"paused": 2}
    assert tally.failures == {"internal": 1}
    assert tally.count(Outcome.MISMATCHED) == 3


GREENLETS = """
from gevent import monkey; monkey.patch_all()
import time, gevent, twinrun
from twinrun.samplers import Breaker

breaker = Breaker(failures=None, cpu_share=0.001)
options = {"mode": "background", "publishers": (), "breaker": breaker}
run = twinrun.experiment("greenlets", candidate=lambda: gevent.sleep(0), **options)(lambda: None)
for _ in range(300):
    run()
    until = time.thread_time() + 0.001
    while time.thread_time() < until:  # the application's own work, which is no candidate's
        pass
    gevent.sleep(0)
assert twinrun.flush(30)
print(twinrun.tallies()["greenlets"].skipped.get("paused", 0))
"""


def test_under_gevent_the_work_of_others_is_no_candidates_cpu_time() -> None:
    """Greenlets share a thread's clock: what the budget would see there is not the candidate's."""
    command = [sys.executable, "-c", GREENLETS]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout.split() == ["0"], ended.stderr

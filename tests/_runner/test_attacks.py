"""Attacks on the promises: hostile values, re-entry, threads, signals, forks, a full stack."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from typing import Any

import pytest

import twinrun.cleaners
from twinrun import Experiment, Outcome, experiment, tallies


def run_script(script: str, *flags: str, **environment: str) -> str:
    """Run Python on a script in a process of its own; it must end well and soon."""
    done = subprocess.run(
        [sys.executable, *flags, "-c", textwrap.dedent(script)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class Denying(type):
    """A metaclass that refuses every question about its classes."""

    def _deny(cls, *args: Any) -> Any:
        raise ZeroDivisionError

    # Not __subclasscheck__ too: Python itself asks it when it catches an exception.
    __hash__ = __eq__ = __getattribute__ = __instancecheck__ = _deny  # type: ignore[assignment]


class Denied(metaclass=Denying):
    """A value of a class that can't even be hashed."""


class DeniedError(Exception, metaclass=Denying):
    """An exception of a class that can't even be hashed."""


def give(value: Any) -> Callable[..., Any]:
    """Make a behaviour that returns a value."""
    return lambda *args, **kwargs: value


def throw(error: BaseException) -> Callable[..., Any]:
    """Make a behaviour that raises an exception."""

    def thrower(*args: Any, **kwargs: Any) -> Any:
        raise error

    return thrower


# Values, arguments and exceptions ----------------------------------------------------------------


def test_parameters_may_be_named_like_what_the_engine_uses() -> None:
    """The names of builtins, and of anything in a run's code, are free for the control's."""
    seen = []

    def control(type: Any, next: Any, len: Any, map: Any, BaseException: Any, *, run: Any) -> Any:
        seen.append((type, next, len, map, BaseException, run))
        return [0]

    run: Any = experiment("attack.names", candidate=give([0]), publishers=())(control)
    for _ in range(3):
        assert run(1, 2, 3, 4, 5, run=6) == [0]
    assert seen == [(1, 2, 3, 4, 5, 6)] * 3
    assert tallies()["attack.names"].outcomes["candidate"][Outcome.MATCHED] == 3


@pytest.mark.parametrize("order", ["control-first", "control-last"])
def test_classes_may_refuse_every_question(order: Any) -> None:
    """The metaclass of an argument, a value or an exception can't keep the outcome from anybody."""
    value, error = Denied(), DeniedError()
    options: dict[str, Any] = {"order": order, "publishers": [twinrun.cleaners.payload]}
    for candidate in (give(Denied()), give(1), throw(DeniedError()), throw(error)):
        returning: Any = experiment("attack.denied", candidate=candidate, **options)(give(value))
        assert returning() is value
        assert returning(Denied(), key=Denied()) is value
        raising: Any = experiment("attack.denied", candidate=candidate, **options)(throw(error))
        try:
            raising()
        except BaseException as caught:
            assert caught is error
        else:
            pytest.fail("the control's exception is lost")


def test_a_recycled_memory_error_brings_nothing_along() -> None:
    """What Python leaves of a candidate's MemoryError isn't seen on the control's next one."""

    def candidate() -> None:
        raise MemoryError from KeyError()

    def control() -> None:
        raise MemoryError

    run: Any = experiment("attack.memory", candidate=candidate, publishers=())(control)
    for _ in range(20):
        with pytest.raises(MemoryError) as caught:
            run()
        assert caught.value.__suppress_context__ is False
        del caught


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("order", ["control-first", "control-last"])
def test_coroutines_and_generators_from_plain_functions_reach_the_caller(order: Any) -> None:
    """The control's is untouched; the candidate's is closed without a warning."""

    async def coroutine() -> int:
        return 1

    run: Any = experiment("attack.coroutine", candidate=lambda: coroutine(), order=order)(
        lambda: coroutine()
    )
    given = run()
    with pytest.raises(StopIteration) as ended:
        given.send(None)
    assert ended.value.value == 1
    raising: Any = experiment("attack.coroutine", candidate=lambda: coroutine(), order=order)(
        throw(KeyError())
    )
    with pytest.raises(KeyError):
        raising()
    run = experiment("attack.generator", candidate=lambda: iter([1]), order=order)(
        lambda: iter([1, 2])
    )
    assert list(run()) == [1, 2]
    gc.collect()


def test_a_publisher_cannot_change_the_experiments_context() -> None:
    """What a publisher does to a Result's context is not seen in the next one."""
    seen = []

    def publisher(result: Any) -> None:
        seen.append(dict(result.context))
        result.context["more"] = 1

    run: Any = experiment(
        "attack.context", candidate=give(2), context={"a": 1}, publishers=[publisher]
    )(give(1))
    run()
    run()
    assert seen == [{"a": 1}, {"a": 1}]


@pytest.mark.parametrize("name", ["\ud800", "a\x00b", "x" * 100_000, "‮"])
def test_any_text_is_a_name(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Lone surrogates and what can't be printed are experiments' names like others."""
    run: Any = experiment(name, candidate=give(2), sample_by=give(1), sample=0.99)(give(1))
    assert [run() for _ in range(3)] == [1] * 3
    assert tallies()[name].runs == 3


class Shout(str):
    """A text with opinions."""

    __slots__ = ()

    def __str__(self) -> str:
        raise ZeroDivisionError

    def __hash__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        return True


def test_a_name_is_taken_as_the_text_that_it_is() -> None:
    """A subclass of str gives its text, whatever it says of itself."""
    made = Experiment(Shout("attack.shout"), control=give(1), candidate=give(1))
    assert made() == 1
    assert type(made.name) is str
    assert tallies()["attack.shout"].runs == 1


# Re-entry ----------------------------------------------------------------------------------------


HOOKS = ("enabled", "run_if", "before_run", "isolate", "context", "compare", "ignore", "clean")


@pytest.mark.parametrize("hook", [*HOOKS, "after_run", "publishers", "on_failure", "=="])
def test_a_callback_may_call_the_experiment(hook: str) -> None:
    """It runs the control only, and nothing goes round in circles."""
    calls, candidates = [], []

    def again(*args: Any) -> Any:
        assert len(calls) < 50
        run([2])
        return {} if hook == "context" else args[0] if hook == "isolate" else hook != "ignore"

    class Value:
        def __eq__(self, other: object) -> bool:
            return bool(again())

        __hash__ = object.__hash__

    def control(argument: Any) -> Any:
        calls.append(argument)
        return Value() if hook == "==" else 1

    def candidate(argument: Any) -> Any:
        candidates.append(argument)
        return Value() if hook == "==" else 2

    options: dict[str, Any] = {"publishers": [lambda result: twinrun.cleaners.payload(result)]}
    if hook == "on_failure":
        options["before_run"] = throw(KeyError())
    if hook != "==":
        options[hook] = [again] if hook == "publishers" else again
    run: Any = experiment(f"attack.again.{hook}", candidate=candidate, **options)(control)
    run([1])
    assert calls.count([1]) == 1
    assert len(candidates) == (0 if hook == "on_failure" else 1)


def test_finalizers_and_the_collector_may_call_experiments() -> None:
    """`__del__` and gc's callbacks run anywhere in a run, and neither harms nor hangs it."""

    class Dying:
        def __del__(self) -> None:
            assert run(0) == [0]
            tallies()

        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = object.__hash__

    def behave(number: int) -> Any:
        if number:
            Dying().me = Dying()  # type: ignore[attr-defined]
        return [number]

    run: Any = experiment("attack.dying", candidate=behave, publishers=[lambda r: None])(behave)
    thresholds = gc.get_threshold()
    # Python 3.11 collects in the middle of ContextVar.set, and crashes where that is called anew.
    callbacks = [lambda *_: run(0)] if sys.version_info >= (3, 12) else []
    gc.callbacks += callbacks
    gc.set_threshold(20)
    try:
        for number in range(1, 300):
            assert run(number) == [number]
    finally:
        gc.set_threshold(*thresholds)
        del gc.callbacks[len(gc.callbacks) - len(callbacks) :]
    tally = tallies()["attack.dying"]
    assert set(tally.outcomes["candidate"]) == {Outcome.MATCHED}


def test_equality_that_calls_experiments_stays_shallow_and_is_counted() -> None:
    """Inside `==` the experiment runs its control only; one that is interrupted is counted."""
    asked = []

    class Value:
        def __eq__(self, other: object) -> bool:
            asked.append(1)
            assert type(run()) is Value
            return True

        __hash__ = object.__hash__

    class Interrupting:
        def __eq__(self, other: object) -> bool:
            raise KeyboardInterrupt

        __hash__ = object.__hash__

    run: Any = experiment("attack.equality", candidate=lambda: Value(), publishers=())(
        lambda: Value()
    )
    run()
    assert len(asked) == 1
    interrupted: Any = experiment("attack.interrupted", candidate=Interrupting, publishers=())(
        lambda: Interrupting()
    )
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert tallies()["attack.interrupted"].skipped == {"interrupted": 1}


# Threads, memory and the stack -------------------------------------------------------------------


def test_a_storm_of_threads_loses_no_run() -> None:
    """Every call gets its own outcome, and the tally counts each of them once."""
    wrong = []
    interval = sys.getswitchinterval()
    run: Any = experiment(
        "attack.storm", candidate=lambda x, y: [x] if x % 7 else 1 / 0, publishers=()
    )(lambda x, y: [x] if x % 5 else [x][y])

    def work(start: int) -> None:
        for x in range(start, start + 500):
            try:
                if run(x, [[x]] if x % 5 else 9) != [x]:
                    wrong.append(x)
            except IndexError:
                if x % 5:
                    wrong.append(x)

    threads = [threading.Thread(target=work, args=(500 * n,)) for n in range(8)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []
    tally = tallies()["attack.storm"]
    assert tally.experiments == tally.runs == 4000
    assert sum(tally.outcomes["candidate"].values()) == 4000


def test_experiments_made_again_and_again_take_no_memory() -> None:
    """Experiments of one name, made and dropped, leave nothing behind."""

    def make() -> None:
        run: Any = experiment("attack.many", candidate=give(2), sample=0.5, publishers=())(give(1))
        assert run() == 1

    for _ in range(300):
        make()
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(1000):
        make()
    gc.collect()
    tallies()
    assert len(gc.get_objects()) - before < 300


STACK = """
    import sys, gc
    from twinrun import experiment, Experiment, tallies

    ERROR = KeyError("control")
    calls = 0
    def inner():
        global calls
        calls += 1
        if RAISES: raise ERROR
        return 1
    def control():
        return deep(5, inner)
    def candidate():
        if CANDIDATE: raise ValueError
        return 2
    def deep(n, f):
        return f() if n == 0 else deep(n - 1, f)
    options = dict(publishers=[] if QUIET else [lambda r: None], baseline=0.0 if QUIET else 1.0)
    run = experiment("stack", candidate=candidate, **options)(control)
    sys.setrecursionlimit(300)
    odd = set()
    for depth in range(250, 300):
        calls = 0
        try:
            outcome = deep(depth, run)
        except KeyError as error:
            outcome = error
        except RecursionError as error:
            outcome = "full"
        if calls and outcome is not (ERROR if RAISES else 1):
            odd.add((depth, repr(outcome), calls))
    assert not odd, sorted(odd)
"""


@pytest.mark.parametrize("quiet", [True, False])
def test_where_the_control_found_room_the_caller_gets_its_outcome(quiet: bool) -> None:
    """However little of the stack is left for what comes after it, if five calls had room."""
    for raises in (True, False):
        for candidate in (True, False):
            values = f"RAISES, CANDIDATE, QUIET = {raises}, {candidate}, {quiet}\n"
            run_script(values + textwrap.dedent(STACK))


# Signals, forks and the interpreter's modes ------------------------------------------------------


SIGNALS = """
    import random, signal, time
    from twinrun import experiment, tallies

    class Alarm(Exception): pass
    class Odd(Exception): pass
    def handler(number, frame): raise Alarm
    signal.signal(signal.SIGALRM, handler)

    def control(x):
        if x == 3: raise Odd
        return [x]
    def candidate(x):
        if x == 2: raise ValueError
        return [x] if x else [1]
    quiet = experiment("quiet", candidate=candidate, publishers=())(control)
    loud = experiment(
        "loud", candidate=candidate, publishers=[lambda r: None], run_if=lambda x: True
    )(control)
    alarms = calls = 0
    end = time.monotonic() + 40
    while alarms < 1000 and time.monotonic() < end:
        for run in (quiet, loud):
            for x in range(4):
                try:
                    signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 150e-6))
                    try:
                        calls += 1
                        try:
                            assert run(x) == [x]
                        except Odd as error:
                            assert x == 3
                    finally:
                        signal.setitimer(signal.ITIMER_REAL, 0)
                except Alarm:
                    alarms += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert alarms >= 1000, alarms
    for run, name in ((quiet, "quiet"), (loud, "loud")):
        before = tallies()[name].experiments
        for _ in range(1000):
            assert run(1) == [1]
        assert tallies()[name].experiments == before + 1000, tallies()[name].skipped
"""


def test_signal_handlers_may_raise_anywhere() -> None:
    """The caller gets the handler's exception or the control's outcome; later runs are whole."""
    run_script(SIGNALS)


FORKS = """
    import os, sys, threading, time
    import twinrun
    from twinrun import experiment, tallies

    def candidate(x):
        return [x] if x % 3 else [0]
    run = experiment("fork", candidate=candidate)(lambda x: [x])
    twinrun.configure(publishers=[lambda result: result.context])
    for x in range(9):
        run(x)  # loads all there is to load: Python itself can't fork while a thread imports
    stop = threading.Event()
    def work():
        while not stop.is_set():
            for x in range(1, 9):
                run(x)
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads: thread.start()
    sys.setswitchinterval(1e-5)

    def child():
        assert tallies()["fork"].runs == 0, tallies()["fork"]
        with twinrun.recording() as results:
            assert run(3) == [3]
        assert len(results) in (0, 1)
        for x in range(300):
            assert run(x) == [x]
        assert tallies()["fork"].runs == 301
        twinrun.configure(publishers=[])
        thread = threading.Thread(target=run, args=(1,))
        thread.start()
        thread.join()
        assert tallies()["fork"].runs == 302, tallies()["fork"]

    for _ in range(15):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                child()
                code = 0
            finally:
                os._exit(code)
        deadline = time.monotonic() + 40
        while True:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                break
            if time.monotonic() > deadline:
                os.kill(pid, 9)
                os.waitpid(pid, 0)
                stop.set()
                sys.exit("a child hangs")
            time.sleep(0.001)
        if status:
            stop.set()
            sys.exit(f"a child failed: {status}")
    stop.set()
    for thread in threads: thread.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes don't fork here")
def test_forking_while_threads_experiment_gives_whole_children() -> None:
    """A child starts its tally at zero and experiments; none hangs on a lock of before."""
    run_script(FORKS)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes don't fork here")
def test_a_candidate_may_fork() -> None:
    """Parent and child both go on from the call with the control's outcome."""
    out = run_script("""
        import os
        from twinrun import experiment, tallies
        pid = None
        def candidate():
            global pid
            if pid is None:
                pid = os.fork()
        run = experiment("forking", candidate=candidate, publishers=())(lambda: "control")
        outcome = run()
        if pid:
            assert os.waitpid(pid, 0)[1] == 0
        elif run() != "control":
            os._exit(1)
        print(outcome, flush=True)
    """)
    assert out.split() == ["control", "control"]


MODES = """
    import sys, time, threading
    from twinrun import experiment, tallies, flush
    seen = []
    if TRACED:
        def trace(frame, event, arg):
            seen.append(event)
            return trace
        sys.settrace(trace)
        sys.setprofile(lambda *_: None)
    def candidate(x):
        if x == 1: raise ValueError
        return x if x else object()
    run = experiment("modes", candidate=candidate)(lambda x: x)
    for _ in range(50):
        for x in range(3):
            if run(x) != x: sys.exit("wrong")
    tally = tallies()["modes"]
    if (tally.runs, tally.experiments) != (150, 150) or tally.failures:
        sys.exit(repr(tally))
    if TRACED and not seen: sys.exit("not traced")
    if sum(h.count for h in tally.durations.values()) != 300: sys.exit("durations")
    flush()
"""


@pytest.mark.parametrize(
    "flags", [["-O"], ["-OO"], ["-X", "dev"], ["-W", "error"], ["-I", "-X", "dev", "-b", "-b"]]
)
@pytest.mark.parametrize("traced", [False, True])
def test_it_works_in_every_mode_of_the_interpreter(flags: list[str], traced: bool) -> None:
    """Optimised, in development mode, with warnings as errors, under a debugger's hooks."""
    run_script(f"TRACED = {traced}\n" + textwrap.dedent(MODES), *flags, PYTHONMALLOC="debug")


def test_clocks_may_stand_still_or_go_backwards() -> None:
    """No clock's oddity reaches the caller or the counts."""
    clock = """
        import time, itertools
        ticks = itertools.cycle([1000, 1000, 500, 10, 0])
        time.perf_counter_ns = lambda: next(ticks)
        time.time = time.monotonic = lambda: -float(next(ticks))
        TRACED = False
    """
    run_script(textwrap.dedent(clock) + textwrap.dedent(MODES))

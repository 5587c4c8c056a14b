"""Off the caller's path: the caller waits for nothing, and every run is in exactly one count."""

from __future__ import annotations

import contextvars
import functools
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import twinrun
from twinrun import (
    Experiment,
    Outcome,
    Result,
    experiment,
    flush,
    in_candidate,
    recording,
    tallies,
)
from twinrun.cleaners import payload

WATCHDOG = 60.0  # seconds, a safety net only
MODES = ("concurrent", "background")


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    """Give each mode off the path."""
    return str(request.param)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """Name the experiment like the test."""
    return str(request.node.nodeid)


@pytest.fixture
def let_go() -> Iterator[threading.Event]:
    """Give what blocked candidates wait for; they are let go in the end, and waited for."""
    event = threading.Event()
    yield event
    event.set()
    assert twinrun.flush(WATCHDOG)


def total(name: str) -> int:
    """Add up in which counts the runs are."""
    tally = tallies()[name]
    return tally.experiments + sum(tally.skipped.values())


def test_the_caller_does_not_wait_for_the_candidate(
    mode: str, name: str, let_go: threading.Event
) -> None:
    """It has its value while the candidate still runs."""
    started = threading.Event()

    def stuck() -> bool:
        started.set()
        return let_go.wait(WATCHDOG)

    assert Experiment(name, mode=mode).run(control=lambda: True, candidate=stuck) is True
    assert started.wait(WATCHDOG)
    assert tallies()[name].experiments == 0
    let_go.set()
    assert twinrun.flush(WATCHDOG)
    assert tallies()[name].outcomes["candidate"][Outcome.MATCHED] == 1


def test_the_control_runs_on_the_callers_thread_and_nothing_else_does(mode: str, name: str) -> None:
    """The candidate, a baseline, the comparison, publishers and `after_run` run elsewhere."""
    seen: dict[str, int] = {}

    def at(what: str) -> Callable[..., Any]:
        return lambda *_: seen.update({what: threading.get_ident()})

    made = Experiment(
        name,
        mode=mode,
        baseline=1.0,
        compare=at("compare"),
        publishers=[at("publish")],
        after_run=at("after_run"),
    )
    threads: list[int] = []
    result = made.observe(
        control=lambda: threads.append(threading.get_ident()), candidate=at("candidate")
    )
    here = threading.get_ident()
    assert sorted(seen) == ["after_run", "candidate", "compare", "publish"]
    assert here not in seen.values()
    assert here in threads
    assert len(set(threads)) == 2
    assert [c.candidate.name for c in result.comparisons] == ["candidate", "baseline"]


@pytest.mark.parametrize("options", [{}, {"cpu_time": True}], ids=["simple", "thorough"])
def test_what_the_caller_changes_afterwards_is_not_compared(
    name: str, options: dict[str, Any], let_go: threading.Event
) -> None:
    """The arguments and the control's value are those of before."""
    results: list[Result] = []

    def candidate(items: list[int]) -> dict[str, Any]:
        assert let_go.wait(WATCHDOG)
        return {"items": [*items], "deep": [[1]]}

    @experiment(
        name, candidate=candidate, mode="background", publishers=[results.append], **options
    )
    def control(items: list[int]) -> dict[str, Any]:
        return {"items": [*items], "deep": [[1]]}

    items = [1, 2]
    value = control(items)
    items.append(3)
    value["items"].append(4)
    value["deep"][0].clear()
    let_go.set()
    assert twinrun.flush(WATCHDOG)
    assert results[0].matched
    assert results[0].control.value == {"items": [1, 2], "deep": [[1]]}


def test_a_value_that_cannot_be_kept_is_inconclusive(mode: str, name: str) -> None:
    """Nothing can be said of the candidate, and the caller's value is untouched."""
    source = iter([1, 2])
    made = Experiment(name, mode=mode, publishers=())
    assert made.run(control=lambda: source, candidate=lambda: [1, 2]) is source
    assert list(source) == [1, 2]
    result = made.observe(control=lambda: iter([1]), candidate=lambda: 1)
    assert result.comparisons[0].outcome is Outcome.INCONCLUSIVE
    assert result.comparisons[0].reason == "isolate"


def test_a_full_queue_sheds_whole_runs(name: str, let_go: threading.Event) -> None:
    """All candidates of a run are shed together, with no Result; the caller has its value."""
    twinrun.configure(workers=1, queue=1)
    results: list[Result] = []
    made = Experiment(name, mode="background", publishers=[results.append])

    def call(**candidates: Any) -> Any:
        return made.run(control=lambda: 1, candidates=candidates)

    def stuck() -> int:
        return 1 if let_go.wait(WATCHDOG) else 0

    assert [call(a=stuck), call(a=stuck, b=stuck), call(a=stuck), call(a=stuck)] == [1, 1, 1, 1]
    alone = made.observe(control=lambda: 1, candidate=stuck)
    assert alone.candidates == ()
    let_go.set()
    assert twinrun.flush(WATCHDOG)
    assert tallies()[name].skipped == {"queue full": 3}
    assert len(results) == tallies()[name].experiments == 2


def test_a_candidate_past_its_timeout_is_abandoned(mode: str, name: str) -> None:
    """The outcome is told at once, without a value; what comes late is dropped and counted."""
    let_go, back = threading.Event(), threading.Event()

    def slow() -> int:
        let_go.wait(WATCHDOG)
        back.set()
        return 1

    made = Experiment(name, mode=mode, timeout=0.01, publishers=())
    result = made.observe(control=lambda: 1, candidate=slow)
    [comparison] = result.comparisons
    assert comparison.outcome is Outcome.TIMED_OUT
    assert comparison.candidate.value is twinrun.NOTHING
    assert comparison.candidate.duration > 0.01
    assert not back.is_set()
    let_go.set()
    while not tallies()[name].dropped:
        assert back.wait(WATCHDOG)
    assert tallies()[name].dropped == {"late": 1}
    assert tallies()[name].experiments == 1


def test_an_experiment_whose_candidates_hang_is_shed_and_another_is_not(name: str) -> None:
    """Stuck threads are replaced up to as many as there are workers, until they come back."""
    twinrun.configure(workers=2)
    let_go = threading.Event()
    hung = Experiment(name, mode="background", timeout=0.001, publishers=(), breaker=None)
    other = Experiment(f"{name} other", mode="background", publishers=())
    try:
        for _ in range(2):
            hung.observe(control=lambda: 1, candidate=lambda: let_go.wait(WATCHDOG))
        alone = hung.observe(control=lambda: 1, candidate=lambda: let_go.wait(WATCHDOG))
        assert alone.candidates == ()
        assert tallies()[name].skipped == {"stuck": 1}
        assert other.observe(control=lambda: 1, candidate=lambda: 1).matched
    finally:
        let_go.set()
    while not hung.observe(control=lambda: 1, candidate=lambda: 1).candidates:
        pass
    assert total(name) == tallies()[name].experiments + tallies()[name].skipped["stuck"]


@pytest.mark.parametrize(
    "kind", [KeyboardInterrupt, SystemExit, GeneratorExit, pytest.fail.Exception]
)
def test_whatever_a_candidate_raises_on_our_thread_is_recorded(
    mode: str, name: str, kind: type[BaseException]
) -> None:
    """It is aimed at no caller."""

    def leave() -> None:
        raise kind("now")

    result = Experiment(name, mode=mode, publishers=()).observe(control=lambda: 1, candidate=leave)
    assert type(result.candidates[0].exception) is kind
    assert result.mismatched


@pytest.mark.parametrize("option", ["compare", "after_run", "ignore"])
def test_whatever_a_callback_raises_on_our_thread_is_contained(
    mode: str, name: str, option: str
) -> None:
    """Also what would be aimed at a caller."""

    def interrupt(*args: Any) -> Any:
        raise KeyboardInterrupt

    heard: list[str] = []
    made = Experiment(
        name,
        mode=mode,
        publishers=(),
        on_failure=lambda operation, *_: heard.append(operation),
        **{option: interrupt},  # type: ignore[arg-type]
    )
    made.observe(control=lambda: 1, candidate=lambda: 2)
    assert heard == [option]


@pytest.mark.parametrize("form", ["run", "called"])
def test_a_control_that_is_interrupted_ends_its_run(mode: str, name: str, form: str) -> None:
    """The caller gets it at once; the run is skipped, and nothing is published."""

    def interrupted() -> None:
        raise KeyboardInterrupt

    results: list[Result] = []
    behaviours: dict[str, Any] = {"control": interrupted, "candidate": lambda: 1}
    made = Experiment(name, mode=mode, publishers=[results.append])
    call = Experiment(name, mode=mode, publishers=[results.append], **behaviours)
    if form == "run":
        call = functools.partial(made.run, **behaviours)  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        call()
    assert twinrun.flush(WATCHDOG)
    assert results == []
    assert tallies()[name].skipped == {"interrupted": 1}


def test_request_ids_are_seen_and_what_a_candidate_sets_is_not(mode: str, name: str) -> None:
    """Candidate and publisher run in copies of the caller's context."""
    request = contextvars.ContextVar("request", default="none")
    seen: list[Any] = []

    def candidate() -> None:
        seen.append((request.get(), in_candidate()))
        request.set("the candidate's")

    request.set("mine")
    made = Experiment(name, mode=mode, publishers=[lambda _: seen.append(request.get())])
    made.observe(control=lambda: None, candidate=candidate)
    assert seen == [("mine", True), "mine"]
    assert request.get() == "mine"


def test_where_a_mismatch_raises_the_run_is_done_inline(mode: str, name: str) -> None:
    """Raising is for tests."""
    made = Experiment(name, mode=mode, publishers=())
    with twinrun.raising(), pytest.raises(twinrun.MismatchError):
        made.run(control=lambda: 1, candidate=lambda: 2)


def test_experiments_inside_a_candidate_run_their_control_only(mode: str, name: str) -> None:
    """On a worker too."""
    inner = Experiment(f"{name} inner", mode=mode, publishers=())
    ran: list[int] = []

    def candidate() -> int:
        return int(inner.run(control=lambda: 1, candidate=lambda: ran.append(1)))

    made = Experiment(name, mode=mode, publishers=())
    assert made.observe(control=lambda: 1, candidate=candidate).matched
    assert ran == []
    assert tallies()[f"{name} inner"].skipped == {"reentry": 1}


@pytest.mark.parametrize("interval", [1e-6, 0.005])
def test_a_storm_of_threads_loses_no_count(mode: str, name: str, interval: float) -> None:
    """calls = skipped + experiments, whatever the room, which changes meanwhile."""
    threads, calls = 16, 250
    made = Experiment(
        name, control=lambda n: [n], candidate=lambda n: [n], mode=mode, publishers=()
    )
    start = threading.Barrier(threads)

    def storm() -> None:
        start.wait(WATCHDOG)
        for n in range(calls):
            assert made(n) == [n]
            if n % 50 == 0:
                twinrun.configure(workers=1 + n % 3, queue=1 + n % 40)

    before = sys.getswitchinterval()
    sys.setswitchinterval(interval)
    try:
        workers = [threading.Thread(target=storm) for _ in range(threads)]
        for each in workers:
            each.start()
        for each in workers:
            each.join(WATCHDOG)
        assert twinrun.flush(WATCHDOG)
    finally:
        sys.setswitchinterval(before)
    assert total(name) == threads * calls
    assert tallies()[name].outcomes["candidate"] == {Outcome.MATCHED: tallies()[name].experiments}


def run(program: str, *flags: str) -> str:
    """Run a program in a process of its own; it must end well, and say nothing on stderr."""
    head = "import os, signal, sys, threading, time, twinrun\nfrom twinrun import *\n"
    done = subprocess.run(
        [sys.executable, *flags, "-c", head + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=WATCHDOG,
        env={**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(twinrun.__file__))},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("flags", [(), ("-X", "dev")], ids=["plain", "dev"])
def test_an_exit_waits_for_what_is_short_and_not_for_what_hangs(flags: tuple[str, ...]) -> None:
    """What is left is counted: exit."""
    out = run(
        """
        import atexit
        began = time.monotonic()
        def ended():
            tally = tallies()["exit"]
            print(tally.experiments, dict(tally.skipped), time.monotonic() - began < 10)
        atexit.register(ended)
        made = Experiment("exit", mode="background", publishers=())
        for n in range(20):
            made.run(control=lambda: 1, candidate=lambda: 1)
        made.run(control=lambda: 1, candidate=lambda: time.sleep(3600))
        """,
        *flags,
    )
    assert out == "20 {'exit': 1} True\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_a_pool_of_its_own() -> None:
    """It starts empty beside a busy parent, works, and counts its own runs alone."""
    out = run(
        """
        import warnings
        warnings.simplefilter("ignore")
        let_go = threading.Event()
        configure(workers=2, queue=100)
        made = Experiment("fork", mode="background", publishers=())
        for n in range(20):
            made.run(control=lambda: 1, candidate=let_go.wait)
        for n in range(30):
            pid = os.fork()
            if pid == 0:
                ok = made.observe(control=lambda: 1, candidate=lambda: 1).matched
                ok = ok and tallies()["fork"].experiments == 1 and flush(30)
                os._exit(0 if ok else 1)
            assert os.waitpid(pid, 0)[1] == 0
        let_go.set()
        print(flush(30), tallies()["fork"].experiments)
        """
    )
    assert out == "True 20\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_candidate_that_forks_is_recorded_by_the_parent() -> None:
    """Its child ends without a word."""
    out = run(
        """
        import warnings
        warnings.simplefilter("ignore")
        def forks():
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            return os.waitpid(pid, 0)[1]
        made = Experiment("forks", mode="background", publishers=())
        print(made.observe(control=lambda: 0, candidate=forks).matched)
        """
    )
    assert out == "True\n"


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX signals")
def test_a_signal_handler_may_call_an_experiment_anywhere() -> None:
    """In the middle of a hand-over too: nothing hangs, and no call is lost."""
    out = run(
        """
        made = Experiment("signals", control=lambda n: n, candidate=lambda n: n,
                          mode="background", publishers=())
        calls = [0]
        def handler(*args):
            calls[0] += 1
            made(1)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            calls[0] += 1
            made(2)
        signal.setitimer(signal.ITIMER_REAL, 0)
        done = flush(30)
        tally = tallies()["signals"]
        print(done, calls[0] - tally.experiments - sum(tally.skipped.values()))
        """
    )
    assert out == "True 0\n"


def test_where_no_thread_can_be_had_the_control_runs_alone() -> None:
    """It is counted, and the experiment goes on once there is one."""
    out = run(
        """
        import _thread
        start, refused = _thread.start_new_thread, [0]
        def refuse(*args):
            refused[0] += 1
            raise RuntimeError("can't start new thread")
        _thread.start_new_thread = refuse
        made = Experiment("none", mode="background", publishers=(),
                          control=lambda: 1, candidate=lambda: 1)
        print({made() for _ in range(100)}, refused[0] < 20, dict(tallies()["none"].skipped))
        _thread.start_new_thread = start
        until = time.monotonic() + 30
        while not made.observe().candidates and time.monotonic() < until:
            time.sleep(0.01)
        print(flush(30), tallies()["none"].experiments)
        """
    )
    assert out == "{1} True {'no thread': 100}\nTrue 1\n"


@pytest.mark.parametrize("patched", ["before", "after"])
def test_it_works_under_gevent(patched: str) -> None:
    """Workers are greenlets then, wherever the patching comes; a hanging one is abandoned too."""
    pytest.importorskip("gevent")
    patch = "from gevent import monkey; monkey.patch_all()\n"
    program = """
        import gevent
        made = Experiment("greenlets", control=lambda n: n, mode="background", publishers=(),
                          candidate=lambda n: time.sleep(0.001) or n, breaker=None)
        loops = [gevent.spawn(lambda: [made(n) for n in range(20)]) for _ in range(10)]
        gevent.joinall(loops, raise_error=True)
        hung = Experiment("hung", mode="concurrent", publishers=(), timeout=0.01)
        result = hung.observe(control=lambda: 1, candidate=lambda: time.sleep(3600))
        print(flush(30), tallies()["greenlets"].experiments, result.comparisons[0].outcome)
        """
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            (patch if patched == "before" else "")
            + "import time, twinrun\nfrom twinrun import *\n"
            + (patch if patched == "after" else "")
            + textwrap.dedent(program),
        ],
        capture_output=True,
        text=True,
        timeout=WATCHDOG,
        env={**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(twinrun.__file__))},
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True 200 timed_out\n", "")


def test_a_candidate_that_is_given_up_shows_where_it_stood() -> None:
    """Its frames from the candidate inwards, as text; nothing of ours and no values."""
    let_go = threading.Event()

    def wait_for_it(secret: str) -> None:
        let_go.wait(60)

    def stuck_candidate(secret: str) -> None:
        wait_for_it(secret)

    run: Any = experiment(
        "background.stack", candidate=stuck_candidate, mode="background", timeout=0.01
    )(lambda secret: None)
    try:
        with recording() as results:
            run("hunter2")
            assert flush(30)
    finally:
        let_go.set()
    [result] = results
    text = result.candidates[0].traceback
    assert result.comparisons[0].outcome is Outcome.TIMED_OUT
    assert text is not None
    assert text.index("in stuck_candidate") < text.index("in wait_for_it")
    assert "let_go.wait(60)" in text
    assert "run_candidate" not in text
    assert "hunter2" not in text
    assert "in wait_for_it" in payload(result)["candidates"][0]["traceback"]


def test_a_comparison_that_hangs_is_given_up_like_a_candidate() -> None:
    """After as many seconds as a candidate has; the run is inconclusive, and counted once."""
    let_go, back = threading.Event(), threading.Event()

    def compare(control: Any, candidate: Any) -> bool:
        let_go.wait(60)
        back.set()
        return True

    run: Any = experiment(
        "background.compare", candidate=lambda: 2, mode="background", timeout=0.05, compare=compare
    )(lambda: 1)
    try:
        with recording() as results:
            assert run() == 1
            assert flush(30)
        [comparison] = results[0].comparisons
        assert (comparison.outcome, comparison.reason) == (
            Outcome.INCONCLUSIVE,
            "compare timed out",
        )
    finally:
        let_go.set()
    assert back.wait(30)
    assert flush(30)
    tally = tallies()["background.compare"]
    assert (tally.runs, tally.experiments) == (1, 1)
    assert tally.outcomes["candidate"] == {Outcome.INCONCLUSIVE: 1}

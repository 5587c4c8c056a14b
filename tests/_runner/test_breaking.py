"""One experiment's breaker behaves like its simple model, under threads, signals and forks too."""

from __future__ import annotations

import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from twinrun._runner import breaking
from twinrun._runner.breaking import BUDGET_SECONDS, REFUSED, Change, Circuit, circuit_of
from twinrun.samplers import Breaker

MILLISECOND = 1_000_000  # ns
SECOND = 1_000_000_000  # ns


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Give the time."""
        return self.now


def made(clock: Clock, chance: float = 0.0, **options: Any) -> Circuit:
    """Make a circuit whose pauses are shortened by this part of a quarter."""
    return Circuit(Breaker(**options), clock, lambda: chance)


def fail(circuit: Circuit, times: int) -> Change | None:
    """Let so many admitted runs fail; give the last one's change."""
    change = None
    for _ in range(times):
        change = circuit.note(circuit.admit(), True, 0)
    return change


def paused(clock: Clock, **options: Any) -> Circuit:
    """Make a circuit that has just paused for its failures."""
    circuit = made(clock, **{"failures": 1, "cpu_share": None, **options})
    fail(circuit, 1)
    return circuit


# --- the model ---


@attrs.define
class Model:
    """The breaker as one would tell it to a person; None stands for what is not there."""

    breaker: Breaker
    now: float
    paused_at: float | None = None
    first_paused_at: float = 0.0
    until: float = 0.0
    trying: int | None = None
    refused: int = 0
    cooldown: float | None = None
    on_since: float = 0.0
    in_a_row: int = 0
    charges: list[tuple[float, float]] = attrs.Factory(list)

    def pause(self, at: float) -> None:
        """Wait from then on for the cool-down as it is."""
        assert self.cooldown is not None
        self.paused_at, self.until = at, at + self.cooldown
        self.trying, self.refused = None, 0

    def grow(self) -> None:
        """Double the cool-down, up to the longest."""
        assert self.cooldown is not None
        self.cooldown = min(self.cooldown * 2, self.breaker.longest_cooldown or float("inf"))

    def ask(self) -> str:
        """Say what a run gets: admitted, refused, or to be the one that is tried."""
        if self.paused_at is None:
            return "admitted"
        if self.trying is not None and self.now >= self.until:
            self.grow()
            self.pause(self.until)
        if self.trying is not None or self.now < self.until:
            self.refused += 1
            return "refused"
        assert self.cooldown is not None
        self.until = self.now + self.cooldown
        return "tried"

    def overdrawn(self) -> bool:
        """Say whether the earlier runs took more CPU than the share and what it lets run ahead."""
        share = self.breaker.cpu_share
        debt, before = 0.0, self.on_since
        for at, cpu in self.charges:
            debt = max(0.0, debt - (at - before) * (share or 0)) + cpu
            before = at
        debt = max(0.0, debt - (self.now - before) * (share or 0))
        return share is not None and debt > BUDGET_SECONDS * share

    def report(self, failed: bool, cpu: float) -> str | None:
        """Take in a run that belongs to the present phase; say what it changes."""
        share = self.breaker.cpu_share
        if self.paused_at is not None:
            elapsed = self.now - self.paused_at
            if failed or (share is not None and cpu * (self.refused + 1) > share * elapsed):
                self.grow()
                self.pause(self.now)
                return None
            self.paused_at = self.trying = None
            self.on_since, self.in_a_row, self.charges = self.now, 0, [(self.now, cpu)]
            return "experiment.resumed"
        self.in_a_row = self.in_a_row + 1 if failed else 0
        if self.overdrawn():
            reason = "budget"
        elif self.breaker.failures is not None and self.in_a_row >= self.breaker.failures:
            reason = "failures"
        else:
            self.charges.append((self.now, cpu))
            return None
        if self.cooldown is None or self.now - self.on_since >= self.cooldown:
            self.cooldown = self.breaker.cooldown or float("inf")
        else:
            self.grow()
        self.first_paused_at = self.now
        self.pause(self.now)
        return f"experiment.paused by {reason}"


SECONDS = st.integers(0, 40).map(lambda quarters: quarters / 4)  # exact in binary
CPU = st.integers(0, 16).map(lambda parts: parts / 16)
BREAKERS = st.builds(
    Breaker,
    failures=st.integers(1, 4),
    cpu_share=st.none() | st.sampled_from([1 / 64, 1 / 16, 1.0]),
    cooldown=st.none() | st.sampled_from([0.25, 1.0, 4.0]),
    longest_cooldown=st.none() | st.sampled_from([4.0, 5.0, 64.0]),
)


class BreakerMachine(RuleBasedStateMachine):
    """Whatever comes in whatever order, the circuit does as its model."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.open: list[int] = []  # what was admitted and has not reported
        self.stale: list[int] = []
        self.circuit: Circuit | None = None

    @precondition(lambda self: self.circuit is None)
    @rule(breaker=BREAKERS)
    def make(self, breaker: Breaker) -> None:
        """Begin with any breaker."""
        self.circuit = Circuit(breaker, self.clock, lambda: 0.0)
        self.model = Model(breaker, self.clock.now, on_since=self.clock.now)
        self.model.charges = []

    @precondition(lambda self: self.circuit is not None)
    @rule(seconds=SECONDS)
    def wait(self, seconds: float) -> None:
        """Time goes by."""
        self.clock.now += seconds
        self.model.now = self.clock.now

    @precondition(lambda self: self.circuit is not None)
    @rule()
    def ask(self) -> None:
        """A run asks whether it is an experiment."""
        assert self.circuit is not None
        was_trying = self.model.trying
        expected = self.model.ask()
        number = self.circuit.admit()
        if was_trying is not None and self.model.trying is None:
            self.retire()
        assert (number != REFUSED) == (expected != "refused")
        if expected == "tried":
            self.model.trying = number
        if number != REFUSED:
            assert self.circuit.holds(number)
            self.open.append(number)

    @precondition(lambda self: self.circuit is not None)
    @rule(failed=st.booleans(), cpu=CPU)
    def ask_and_report(self, failed: bool, cpu: float) -> None:
        """A run that is let in is over at once."""
        before = len(self.open)
        self.ask()
        if len(self.open) > before:
            self.end(self.open.pop(), failed, cpu)

    @precondition(lambda self: self.open)
    @rule(failed=st.booleans(), cpu=CPU, pick=st.randoms(use_true_random=False))
    def report(self, failed: bool, cpu: float, pick: Any) -> None:
        """A run that was admitted in this phase ends."""
        self.end(self.open.pop(pick.randrange(len(self.open))), failed, cpu)

    def end(self, number: int, failed: bool, cpu: float) -> None:
        """Let a run end, and compare what comes of it."""
        assert self.circuit is not None
        was_paused = self.model.paused_at is not None
        expected = self.model.report(failed, cpu)
        change = self.circuit.note(number, failed, round(cpu * SECOND))
        if expected is not None or was_paused:
            self.retire()
        self.check(change, expected)

    def check(self, change: Change | None, expected: str | None) -> None:
        """Compare what is to be said with what the model would say."""
        if change is None or expected is None:
            assert change is expected is None
        elif change.event == "experiment.paused":
            assert expected == f"experiment.paused by {change.facts['reason']}"
            cooldown = self.model.cooldown
            assert change.facts["cooldown"] == (None if cooldown == float("inf") else cooldown)
        else:
            assert expected == change.event
            assert change.facts == {"paused_for": self.clock.now - self.model.first_paused_at}

    def retire(self) -> None:
        """What was admitted in a phase that is over is heard no longer."""
        self.stale += self.open
        self.open.clear()

    @precondition(lambda self: self.stale)
    @rule(failed=st.booleans(), cpu=CPU, pick=st.randoms(use_true_random=False))
    def report_late(self, failed: bool, cpu: float, pick: Any) -> None:
        """A run of an earlier phase ends, which changes nothing."""
        assert self.circuit is not None
        number = self.stale.pop(pick.randrange(len(self.stale)))
        assert not self.circuit.holds(number)
        assert self.circuit.note(number, failed, round(cpu * SECOND)) is None

    @precondition(lambda self: self.open)
    @rule(pick=st.randoms(use_true_random=False))
    def drop(self, pick: Any) -> None:
        """A run that was admitted does not begin: the next may, if it was to be the one."""
        assert self.circuit is not None
        number = self.open.pop(pick.randrange(len(self.open)))
        self.circuit.drop(number)
        if self.model.paused_at is not None:
            self.model.trying, self.model.until = None, self.clock.now
            self.stale.append(number)

    @precondition(lambda self: self.stale)
    @rule(pick=st.randoms(use_true_random=False))
    def drop_late(self, pick: Any) -> None:
        """A run of an earlier phase does not begin, which changes nothing."""
        assert self.circuit is not None
        self.circuit.drop(self.stale.pop(pick.randrange(len(self.stale))))

    @invariant()
    def at_most_one_is_tried(self) -> None:
        """While it is paused, one run at most is under way that would be heard."""
        if self.circuit is not None and self.model.paused_at is not None:
            assert len(self.open) == (self.model.trying is not None)


TestBreaker = BreakerMachine.TestCase
TestBreaker.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


# --- facts ---


def test_so_many_failures_in_a_row_pause_it() -> None:
    """A run that goes well in between begins the count anew."""
    circuit = made(Clock(), failures=3, cpu_share=None)
    assert fail(circuit, 2) is None
    assert circuit.note(circuit.admit(), False, 0) is None
    assert fail(circuit, 2) is None
    assert fail(circuit, 1) == Change("experiment.paused", {"reason": "failures", "cooldown": 1.0})
    assert circuit.admit() == REFUSED


def test_a_pause_ends_with_one_run_that_goes_well() -> None:
    """Until it has reported, no other is let in beside it."""
    clock = Clock()
    circuit = paused(clock, cooldown=2.0)
    clock.now += 1.99
    assert circuit.admit() == REFUSED
    clock.now += 0.01
    number = circuit.admit()
    assert number != REFUSED
    assert circuit.admit() == REFUSED
    change = circuit.note(number, False, 0)
    assert change == Change("experiment.resumed", {"paused_for": 2.0})
    assert circuit.admit() != REFUSED


def trial(circuit: Circuit, clock: Clock, failed: bool = True, cpu_ns: int = 0) -> float:
    """Wait until a run is let in, in steps of 1/8 s; report it; give how long it took."""
    for step in range(10_000):
        number = circuit.admit()
        if number != REFUSED:
            circuit.note(number, failed, cpu_ns)
            return step / 8
        clock.now += 1 / 8
    raise AssertionError("no run was let in")


def test_pauses_double_up_to_the_longest() -> None:
    """A run that is tried and fails waits twice as long for the next."""
    clock = Clock()
    circuit = paused(clock, cooldown=1.0, longest_cooldown=10.0)
    assert [trial(circuit, clock) for _ in range(6)] == [1, 2, 4, 8, 10, 10]


def test_a_pause_without_a_cooldown_has_no_end() -> None:
    """And says that it has none."""
    clock = Clock()
    circuit = made(clock, failures=1, cpu_share=None, cooldown=None)
    assert fail(circuit, 1) == Change("experiment.paused", {"reason": "failures", "cooldown": None})
    clock.now += 1e9
    assert circuit.admit() == REFUSED


@pytest.mark.parametrize(("seconds_on", "next_pause"), [(1.75, 4.0), (2.0, 1.0)])
def test_growth_is_forgotten_after_the_time_of_the_last_pause(
    seconds_on: float, next_pause: float
) -> None:
    """After pauses of 1 and 2 seconds, what goes on for 2 has earned a fresh start."""
    clock = Clock()
    circuit = paused(clock, cooldown=1.0, cpu_share=0.5)
    trial(circuit, clock)
    trial(circuit, clock, failed=False, cpu_ns=1)
    for _ in range(2):
        clock.now += seconds_on / 2
        circuit.note(circuit.admit(), False, 1)
    fail(circuit, 1)
    assert trial(circuit, clock) == next_pause


@given(st.floats(0, 1, exclude_max=True), st.floats(0.001, 1000))
def test_chance_shortens_a_pause_by_a_quarter_at_most(chance: float, cooldown: float) -> None:
    """So that many processes don't try in step, and none waits longer than it was told to."""
    clock = Clock()
    circuit = made(clock, chance, failures=1, cooldown=cooldown, longest_cooldown=None)
    fail(circuit, 1)
    clock.now += cooldown * 0.7499
    assert circuit.admit() == REFUSED
    clock.now += cooldown * 0.2502
    assert circuit.admit() != REFUSED


def test_a_run_that_never_reports_has_failed_after_the_cooldown() -> None:
    """It hangs, was interrupted or is lost: the next is tried after a pause twice as long."""
    clock = Clock()
    circuit = paused(clock, cooldown=1.0)
    clock.now += 1
    lost = circuit.admit()
    clock.now += 0.99
    assert circuit.admit() == REFUSED  # it may still come
    clock.now += 2
    assert circuit.admit() == REFUSED  # 1.99 s of 2 after it was given up
    assert not circuit.holds(lost)
    clock.now += 0.01
    assert circuit.admit() != REFUSED
    assert circuit.note(lost, False, 0) is None  # too late to be heard


def test_a_run_that_is_tried_and_dropped_gives_its_place_to_the_next() -> None:
    """A full queue says nothing of the candidate."""
    clock = Clock()
    circuit = paused(clock, cooldown=1.0)
    clock.now += 1
    circuit.drop(circuit.admit())
    assert trial(circuit, clock, failed=False) == 0


def test_runs_admitted_before_a_pause_change_nothing_in_it() -> None:
    """What waits in a queue from before may not begin, and is not taken for the run tried."""
    clock = Clock()
    circuit = made(clock, failures=1, cpu_share=None)
    early = circuit.admit()
    fail(circuit, 1)
    assert not circuit.holds(early)
    clock.now += 1
    tried = circuit.admit()
    assert circuit.note(early, False, 0) is None
    assert circuit.holds(tried)
    assert circuit.admit() == REFUSED


def runs_before_a_pause(circuit: Circuit, clock: Clock, cpu_ns: int, every: float) -> int | None:
    """Count the runs of so much CPU time, at such distances, until one pauses it."""
    for n in range(1, 10_000):
        clock.now += every
        change = circuit.note(circuit.admit(), False, cpu_ns)
        if change is not None:
            assert change.facts["reason"] == "budget"
            return n
    return None


def test_candidates_that_burn_cpu_are_stopped_within_a_second_of_it() -> None:
    """16 ms each, a hundred a second, with the share that is the default."""
    circuit = made(clock := Clock())
    runs = runs_before_a_pause(circuit, clock, 16 * MILLISECOND, every=0.01)
    assert runs is not None
    assert 0.5 < runs * 0.016 < 0.6


def test_candidates_within_their_share_go_on_for_ever() -> None:
    """4.9 % of a core, where 5 % are given."""
    circuit = made(clock := Clock())
    assert runs_before_a_pause(circuit, clock, 490_000, every=0.01) is None


def test_a_short_peak_is_no_reason_to_pause() -> None:
    """Half a second of CPU at once, after which there is silence, again and again."""
    circuit = made(clock := Clock())
    for _ in range(10):
        clock.now += 10
        assert runs_in_a_burst(circuit, 31)
    assert not runs_in_a_burst(circuit, 31)


def runs_in_a_burst(circuit: Circuit, runs: int) -> bool:
    """Run 16 ms each without a pause between them; say whether all were let in."""
    return all(circuit.note(circuit.admit(), False, 16 * MILLISECOND) is None for _ in range(runs))


def test_the_run_that_was_tried_is_charged_too() -> None:
    """To the last nanosecond: what may be run ahead is no reason to pause, what is above it is."""
    for above, pauses in ((0, False), (1, True)):
        clock = Clock()
        circuit = paused(clock, failures=1, cpu_share=1 / 16, cooldown=1.0)
        clock.now += 1000
        ahead = round(BUDGET_SECONDS * SECOND / 16) + above
        assert circuit.note(circuit.admit(), False, ahead) is not None  # it resumes
        assert (circuit.note(circuit.admit(), False, 0) is not None) is pauses


def test_one_long_run_alone_is_no_reason_to_pause() -> None:
    """2 s of CPU once an hour is no burden, although it is more than may be run ahead."""
    circuit = made(clock := Clock())
    for _ in range(5):
        clock.now += 3600
        assert circuit.note(circuit.admit(), False, 2 * SECOND) is None


@given(
    st.lists(st.tuples(st.floats(0, 2), st.integers(0, SECOND // 4)), min_size=1, max_size=200),
    st.sampled_from([0.01, 0.05, 0.5, 1.0]),
)
def test_the_budget_holds_over_every_stretch_of_time(
    runs: list[tuple[float, int]], share: float
) -> None:
    """What is let in between pauses takes its share, what may be run ahead, and two runs more."""
    clock = Clock()
    circuit = made(clock, failures=None, cpu_share=share, cooldown=None)
    spent = [0.0]
    times = [clock.now]
    for wait, cpu_ns in runs:
        clock.now += wait
        number = circuit.admit()
        if number == REFUSED:
            break
        circuit.note(number, False, cpu_ns)
        times.append(clock.now)
        spent.append(spent[-1] + cpu_ns / 1e9)
    for i, start in enumerate(times):
        for end, total in zip(times[i:], spent[i:], strict=True):
            bound = share * (end - start + BUDGET_SECONDS) + 2 * 0.25
            assert total - spent[i] <= bound + 1e-6


@pytest.mark.parametrize(("refused", "resumes"), [(0, True), (4, True), (5, False), (100, False)])
def test_the_run_that_is_tried_speaks_for_those_that_were_refused(
    refused: int, resumes: bool
) -> None:
    """10 ms of CPU a second is within 5 %, and so are five of them, six are not."""
    clock = Clock()
    circuit = paused(clock, cpu_share=0.05, cooldown=1.0)
    for _ in range(refused):
        assert circuit.admit() == REFUSED
    clock.now += 1
    number = circuit.admit()
    circuit.note(number, False, 10 * MILLISECOND)
    assert (circuit.admit() != REFUSED) is resumes


def test_runs_refused_beside_the_one_that_is_tried_count_too() -> None:
    """They wanted to run in the same time."""
    clock = Clock()
    circuit = paused(clock, cpu_share=0.05, cooldown=1.0)
    clock.now += 1
    number = circuit.admit()
    for _ in range(5):
        assert circuit.admit() == REFUSED
    assert circuit.note(number, False, 10 * MILLISECOND) is None


def test_a_breaker_that_watches_nothing_but_failures_knows_no_budget() -> None:
    """However much CPU is taken."""
    circuit = made(Clock(), cpu_share=None)
    assert all(circuit.note(circuit.admit(), False, SECOND) is None for _ in range(100))


def test_a_breaker_that_watches_nothing_but_cpu_knows_no_failures() -> None:
    """However many there are in a row."""
    circuit = made(Clock(), failures=None)
    assert fail(circuit, 1000) is None


# --- threads, signals, forks ---


@pytest.fixture
def fast_switching() -> Iterator[None]:
    """Let threads switch after every few steps."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def together(threads: int, function: Callable[[], None]) -> None:
    """Run a function in so many threads that begin at once."""
    barrier = threading.Barrier(threads)

    def run() -> None:
        barrier.wait(30)
        function()

    running = [threading.Thread(target=run) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(60)
    assert not any(thread.is_alive() for thread in running)


@pytest.mark.usefixtures("fast_switching")
def test_exactly_one_thread_of_many_is_let_in() -> None:
    """Each time that a pause is over."""
    clock = Clock()
    circuit = paused(clock, cooldown=1.0, longest_cooldown=1.0)
    for _ in range(50):
        clock.now += 1
        admitted: list[int] = []
        together(8, lambda: admitted.append(circuit.admit()))  # noqa: B023, they end in the loop
        [number] = [number for number in admitted if number != REFUSED]
        circuit.note(number, True, 0)


@pytest.mark.usefixtures("fast_switching")
def test_no_failure_is_lost_between_threads() -> None:
    """Of 8 threads that fail as often as it takes together, exactly one pauses it, once."""
    circuit = made(Clock(), failures=4000, cpu_share=None)
    changes: list[Change] = []

    def run() -> None:
        for _ in range(500):
            change = circuit.note(circuit.admit(), True, 0)
            if change is not None:
                changes.append(change)

    together(8, run)
    assert [change.event for change in changes] == ["experiment.paused"]


@pytest.mark.usefixtures("fast_switching")
def test_no_cpu_time_is_lost_between_threads() -> None:
    """8 threads charge exactly what may be run ahead, one run more is free, the next pauses it."""
    circuit = made(Clock(), failures=None, cpu_share=1.0)
    cpu_ns = round(BUDGET_SECONDS * SECOND) // 4096

    def run() -> None:
        for _ in range(512):
            circuit.note(circuit.admit(), False, cpu_ns)

    together(8, run)
    assert circuit.admit() != REFUSED
    assert circuit.note(circuit.admit(), False, cpu_ns) is None
    assert circuit.note(circuit.admit(), False, 0) is not None


class Interruption(Exception):
    """What a signal's handler raises."""


def interrupted(function: Callable[[], None], step: int, handle: Callable[[], None]) -> bool:
    """Call a function, and a handler before this step of the breaker's code, as a signal might.

    Each instruction is a step, so that no place is left out. False where it has fewer steps.
    """
    steps = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal steps
        if frame.f_code.co_filename != breaking.__file__:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            steps += 1
            if steps == step:
                handle()
        return trace

    before = sys.gettrace()
    sys._getframe().f_trace_opcodes = True  # Python 3.12 looks for it when tracing begins
    sys.settrace(trace)
    try:
        function()
    except Interruption:
        pass
    finally:
        sys.settrace(before)
    return steps >= step


def test_a_signal_handler_may_use_it_anywhere() -> None:
    """No failure is lost, and nothing waits for the code that was interrupted."""
    for step in itertools.count(1):
        circuit = made(Clock(), failures=100, cpu_share=0.5)
        number = circuit.admit()
        if not interrupted(
            lambda: circuit.note(number, True, 1),  # noqa: B023, it is called in the loop
            step,
            lambda: circuit.note(circuit.admit(), True, 1),  # noqa: B023
        ):
            break
        assert fail(circuit, 97) is None
        assert fail(circuit, 1) is not None
    assert step > 50


def test_a_signal_handler_and_its_thread_are_not_both_let_in() -> None:
    """Wherever it comes when a pause is over, one of the two is tried."""
    for step in itertools.count(1):
        circuit = paused(clock := Clock())
        clock.now += 1
        admitted: list[int] = []

        def ask(circuit: Circuit = circuit, admitted: list[int] = admitted) -> None:
            admitted.append(circuit.admit())

        if not interrupted(ask, step, ask):
            break
        assert len([number for number in admitted if number != REFUSED]) == 1
    assert step > 50


def test_a_handler_that_raises_anywhere_leaves_it_working() -> None:
    """It pauses, tries one run at a time, and resumes, wherever it was interrupted."""

    def handle() -> None:
        raise Interruption

    for step in itertools.count(1):
        clock = Clock()
        circuit = made(clock, failures=2, cpu_share=0.5, longest_cooldown=1.0)

        def run(circuit: Circuit = circuit, clock: Clock = clock) -> None:
            for failed in (True, True, True, False, False):  # pause, fail the trial, resume, go on
                circuit.note(circuit.admit(), failed, 1)
                clock.now += 1
            fail(circuit, 2)
            clock.now += 1
            circuit.drop(circuit.admit())

        if not interrupted(run, step, handle):
            break
        clock.now += 100
        circuit.note(circuit.admit(), False, 0)
        clock.now += 100
        circuit.note(circuit.admit(), False, 0)
        fail(circuit, 2)
        assert circuit.admit() == REFUSED
        assert trial(circuit, clock, failed=False) == 1
        assert circuit.admit() != REFUSED
    assert step > 500


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_starts_with_its_experiment_on() -> None:
    """What the parent's candidates did is not held against it; the parent stays paused."""
    circuit = paused(Clock(), cooldown=None)
    child = os.fork()
    if child == 0:
        on = circuit.admit() != REFUSED and fail(circuit, 1) is not None
        os._exit(0 if on and circuit.admit() == REFUSED else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert circuit.admit() == REFUSED


def test_experiments_of_one_name_and_equal_breakers_share_a_circuit() -> None:
    """Another name or another breaker has its own."""
    one = circuit_of("breaking.shared", Breaker(failures=3))
    assert circuit_of("breaking.shared", Breaker(failures=3)) is one
    assert circuit_of("breaking.shared", Breaker(failures=4)) is not one
    assert circuit_of("breaking.other", Breaker(failures=3)) is not one

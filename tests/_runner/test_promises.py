"""Nothing of ours and nothing of a candidate's reaches the caller: the table, row by row."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import attrs
import pytest

import twinrun
from twinrun import Experiment, Outcome, Result, experiment, tallies


class ControlError(Exception):
    """What the control raises."""


class Boom(Exception):
    """What a callback raises."""


class GeventTimeout(BaseException):
    """Like the timeouts of gevent, trio and eventlet."""


VALUE = ["the control's own object"]
OURS = os.path.dirname(twinrun.__file__)
FORMS = ("function", "method", "called", "run")
OFF_THE_PATH = tuple(f"{form} {mode}" for mode in ("concurrent", "background") for form in FORMS)
WATCHDOG = 60.0  # seconds, a safety net only

inline_only = pytest.mark.parametrize("form", FORMS, indirect=True)
"""For what holds of the caller's thread alone."""


@attrs.define(slots=False)
class Trial:
    """One experiment in one of its forms and modes, and everything that was heard of it."""

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

    def control(self, *args: Any) -> Any:
        """Be the control, and count it."""
        self.controls += 1
        if self.raises:
            raise self.error
        return VALUE

    def counted_candidate(self, *args: Any) -> Any:
        """Be the candidate, and count it."""
        self.candidates += 1
        return self.candidate(*args)

    def call(self) -> Any:
        """Make the experiment in its form, call it once, and wait until its run is over."""
        try:
            return self._call()
        finally:
            assert twinrun.flush(WATCHDOG)

    def _call(self) -> Any:
        trial = self
        form, _, mode = self.form.partition(" ")
        if mode:
            self.options = {k: v for k, v in self.options.items() if k != "order"} | {"mode": mode}
        options = {
            "publishers": [self.results.append],
            "on_failure": lambda op, error, name: self.heard.append((op, type(error), name)),
            **self.options,
        }
        if form == "function":
            wrapped = experiment(
                self.name, candidate=lambda x: trial.counted_candidate(x), **options
            )
            return wrapped(lambda x: trial.control(x))([1])
        if form == "method":

            class Owner:
                def new(self, x: Any) -> Any:
                    return trial.counted_candidate(x)

                @experiment(trial.name, candidate=new, **options)
                def old(self, x: Any) -> Any:
                    return trial.control(x)

            return Owner().old([1])
        if form == "called":
            made = Experiment(
                self.name, control=self.control, candidate=self.counted_candidate, **options
            )
            return made([1])
        return Experiment(self.name, **options).run(
            control=self.control, candidate=self.counted_candidate
        )

    def check_outcome(self) -> None:
        """The caller gets the control's own object, or its own exception as it was raised."""
        if not self.raises:
            assert self.call() is VALUE
            assert self.controls == 1
            return
        with pytest.raises(ControlError) as caught:
            self.call()
        assert caught.value is self.error
        assert self.controls == 1
        assert self.error.__context__ is None
        assert self.error.__cause__ is None
        assert innermost(self.error) == "control"
        ours = [f for f in frame_files(self.error) if f.startswith(OURS)]
        assert len(ours) == (2 if self.form.startswith("called") else 1)


def innermost(error: BaseException) -> str:
    """Give the name of the function that raised."""
    trace = error.__traceback__
    assert trace is not None
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_code.co_name


def frame_files(error: BaseException) -> list[str]:
    """Give the file of each frame in a traceback."""
    files, trace = [], error.__traceback__
    while trace is not None:
        files.append(trace.tb_frame.f_code.co_filename)
        trace = trace.tb_next
    return files


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


class HostileEq:
    """Its `==` raises."""

    def __eq__(self, other: object) -> bool:
        raise Boom

    __hash__ = object.__hash__


class Doubtful:
    """Its `==` gives this, whose truth is not to be had."""

    def __eq__(self, other: object) -> Any:
        return self

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        raise Boom


@pytest.fixture(params=FORMS + OFF_THE_PATH)
def form(request: pytest.FixtureRequest) -> str:
    """Give each form of an experiment."""
    return str(request.param)


@pytest.fixture(params=[False, True], ids=["returns", "raises"])
def raises(request: pytest.FixtureRequest) -> bool:
    """Say whether the control raises."""
    return bool(request.param)


@pytest.fixture
def trial(form: str, raises: bool, request: pytest.FixtureRequest) -> Callable[..., Trial]:
    """Make trials in this form."""

    def make(candidate: Any = lambda *_: VALUE, **options: Any) -> Trial:
        return Trial(form, raises, options, candidate, request.node.nodeid)

    return make


def skipped(trial: Trial) -> dict[str, int]:
    """Read how often the experiment was skipped, by reason."""
    return dict(tallies()[trial.name].skipped)


@pytest.mark.parametrize("broken", [fail, exit_, cancel, leave])
@pytest.mark.parametrize("gate", ["enabled", "run_if", "sample", "sample_by", "before_run"])
def test_a_failing_gate_leaves_the_control_alone(
    trial: Callable[..., Trial], gate: str, broken: Callable[..., Any]
) -> None:
    """A gate that raises fails closed: the control runs once, the candidate not at all."""
    options = {gate: broken, **({"sample": 0.5} if gate == "sample_by" else {})}
    t = trial(**options)
    t.check_outcome()
    assert t.candidates == 0
    assert t.results == []
    assert [(op, name) for op, _, name in t.heard] == [(gate, t.name)]
    assert skipped(t) == {gate: 1}
    assert tallies()[t.name].failures == {gate: 1}


@pytest.mark.parametrize("answer", ["many", None, -0.1, 1.5, float("nan"), True])
def test_a_sample_that_is_no_share_is_a_failing_gate(
    trial: Callable[..., Trial], answer: Any
) -> None:
    """What is not a number within 0..1 fails closed."""
    t = trial(sample=lambda: answer)
    t.check_outcome()
    assert t.candidates == 0
    assert [op for op, *_ in t.heard] == ["sample"]


@pytest.mark.parametrize("broken", [fail, exit_])
def test_arguments_that_cannot_be_copied_leave_the_control_alone(
    raises: bool, broken: Callable[..., Any], request: pytest.FixtureRequest
) -> None:
    """A failing copy is counted as skipped: isolate."""
    for form in ("function", "method", "called"):
        t = Trial(form, raises, {"isolate": broken}, lambda x: VALUE, f"{request.node.name}{form}")
        t.check_outcome()
        assert t.candidates == 0
        assert [op for op, *_ in t.heard] == ["isolate"]
        assert skipped(t) == {"isolate": 1}


def test_a_failing_context_is_left_out(trial: Callable[..., Trial]) -> None:
    """The run goes on with the context it has."""
    t = trial(context=fail)
    t.check_outcome()
    assert t.candidates == 1
    assert [op for op, *_ in t.heard] == ["context"]
    [result] = t.results
    assert result.context == {}


@inline_only
@pytest.mark.parametrize("order", [fail, exit_, lambda names: ["control", "control"], len])
def test_a_failing_order_leaves_it_to_chance(trial: Callable[..., Trial], order: Any) -> None:
    """The run goes on, and the control runs once."""
    t = trial(order=order)
    t.check_outcome()
    assert t.candidates == 1
    assert [op for op, *_ in t.heard] == ["order"]
    [result] = t.results
    assert sorted(result.order) == ["candidate", "control"]


@pytest.mark.parametrize("order", ["control-first", "control-last"])
@pytest.mark.parametrize("broken", [fail, exit_, leave, cancel])
def test_what_a_candidate_raises_is_evidence(
    trial: Callable[..., Trial], broken: Callable[..., Any], order: str
) -> None:
    """It is in the Result and the tally, and `on_failure` hears nothing of it."""
    t = trial(broken, order=order)
    t.check_outcome()
    assert t.heard == []
    [result] = t.results
    assert result.mismatched
    assert result.candidates[0].raised
    tally = tallies()[t.name]
    assert tally.candidate_errors == {"candidate": 1}
    assert tally.failures == {}


@inline_only
@pytest.mark.parametrize("order", ["control-first", "control-last"])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, GeventTimeout, pytest.fail.Exception])
def test_what_is_aimed_at_the_caller_propagates(
    trial: Callable[..., Trial], kind: type[BaseException], order: str
) -> None:
    """`KeyboardInterrupt` and every other BaseException goes on at once; nothing is published."""

    def interrupted(*args: Any) -> Any:
        raise kind("now")

    t = trial(interrupted, order=order)
    with pytest.raises(kind):
        t.call()
    assert t.controls == (order == "control-first")
    assert t.results == []
    assert t.heard == []
    assert skipped(t) == {"interrupted": 1}


@inline_only
@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs POSIX signals")
@pytest.mark.parametrize("kind", [TimeoutError, SystemExit])
def test_what_a_signal_handler_raises_in_a_candidate_propagates(
    trial: Callable[..., Trial], kind: type[BaseException]
) -> None:
    """A soft time limit may be an Exception: it is told by the handler's frame."""

    def handler(number: int, frame: Any) -> None:
        raise kind("of the handler")

    def struck(*args: Any) -> Any:
        signal.raise_signal(signal.SIGUSR1)
        return VALUE

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        t = trial(struck)
        with pytest.raises(kind, match="of the handler"):
            t.call()
        assert t.results == []
        assert skipped(t) == {"interrupted": 1}
    finally:
        signal.signal(signal.SIGUSR1, before)


@inline_only
@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs POSIX signals")
def test_a_signal_handler_is_told_however_it_is_made(form: str, request: Any) -> None:
    """Handlers that are methods, take `*args`, or were removed by themselves are found too."""

    class Limits:
        def on_signal(self, number: int, frame: Any) -> None:
            raise TimeoutError("method")

    def variadic(*args: Any) -> None:
        raise TimeoutError("variadic")

    def once(number: int, frame: Any) -> None:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        raise TimeoutError("once")

    def forgetful(number: int, frame: Any) -> None:
        del frame
        raise TimeoutError("forgetful")

    before = signal.getsignal(signal.SIGUSR1)
    try:
        for handler in (Limits().on_signal, variadic, once, forgetful):
            signal.signal(signal.SIGUSR1, handler)
            t = Trial(
                form, False, {}, lambda *_: signal.raise_signal(signal.SIGUSR1), request.node.name
            )
            with pytest.raises(TimeoutError):
                t.call()
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("broken", [fail, exit_, cancel])
@pytest.mark.parametrize("option", ["compare", "compare_errors"])
def test_a_failing_comparison_is_inconclusive(
    trial: Callable[..., Trial], option: str, broken: Callable[..., Any]
) -> None:
    """It is neither a match nor a mismatch, and the reason is said."""
    t = trial(**{option: broken})
    errors = option == "compare_errors"
    if t.raises:
        t.candidate = fail
    t.check_outcome()
    [result] = t.results
    if errors is t.raises:
        assert result.comparisons[0].outcome is Outcome.INCONCLUSIVE
        assert (result.comparisons[0].reason or "").startswith(f"{option} raised")
        assert [op for op, *_ in t.heard] == [option]
    else:
        assert t.heard == []


@pytest.mark.parametrize("hostile", [HostileEq, Doubtful])
def test_equality_that_raises_is_inconclusive(form: str, hostile: type, request: Any) -> None:
    """`==` and the truth of what it gives are operation "compare"."""
    t = Trial(form, False, {}, lambda *_: hostile(), request.node.nodeid)
    own = hostile()
    t.control = lambda *_: own  # type: ignore[method-assign]
    assert t.call() is own
    assert t.results[0].comparisons[0].outcome is Outcome.INCONCLUSIVE
    assert [op for op, *_ in t.heard] == ["compare"]


def test_a_failing_ignore_rule_says_no_and_the_next_is_asked(
    trial: Callable[..., Trial],
) -> None:
    """One broken rule does not hide what a later one knows."""
    t = trial(lambda *_: "other", ignore=[fail, exit_, lambda control, candidate: True])
    t.check_outcome()
    assert [op for op, *_ in t.heard] == ["ignore", "ignore"]
    [result] = t.results
    assert result.ignored
    assert not result.mismatched
    assert not result.matched


def test_a_failing_clean_gives_a_placeholder(trial: Callable[..., Trial]) -> None:
    """The raw value never leaves in its place."""
    from twinrun.cleaners import payload

    payloads: list[str] = []
    t = trial(lambda *_: "the secret of the candidate", clean=fail)
    t.options["publishers"] = [lambda result: payloads.append(str(payload(result)))]
    t.check_outcome()
    assert "secret" not in payloads[0]
    assert "own object" not in payloads[0]
    assert {op for op, *_ in t.heard} == {"clean"}


@pytest.mark.parametrize("broken", [fail, exit_, cancel])
def test_a_failing_publisher_keeps_the_result_from_nobody(
    trial: Callable[..., Trial], broken: Callable[..., Any]
) -> None:
    """The others still get it."""
    t = trial()
    t.options["publishers"] = [broken, t.results.append]
    t.check_outcome()
    assert len(t.results) == 1
    assert [op for op, *_ in t.heard] == ["publish"]


def test_a_failing_after_run_is_only_reported(trial: Callable[..., Trial]) -> None:
    """It comes after the publishers, and changes nothing."""
    t = trial(after_run=fail)
    t.check_outcome()
    assert len(t.results) == 1
    assert [op for op, *_ in t.heard] == ["after_run"]


@pytest.mark.parametrize("broken", [fail, exit_])
def test_on_failure_may_fail_itself(trial: Callable[..., Trial], broken: Any) -> None:
    """Still nothing reaches the caller."""
    t = trial(after_run=fail, run_if=lambda *_: True, on_failure=broken)
    t.check_outcome()
    assert tallies()[t.name].failures == {"after_run": 1}


@inline_only
def test_interrupting_a_callback_interrupts_the_caller(form: str, request: Any) -> None:
    """A KeyboardInterrupt is aimed at the caller wherever it strikes."""

    def interrupt(*args: Any) -> Any:
        raise KeyboardInterrupt

    for option in ("run_if", "before_run", "compare", "after_run", "context", "order"):
        t = Trial(form, False, {option: interrupt}, lambda *_: VALUE, request.node.nodeid + option)
        with pytest.raises(KeyboardInterrupt):
            t.call()


def test_a_control_that_is_interrupted_gives_it_at_once(form: str, request: Any) -> None:
    """Nothing is published, and no candidate runs after it."""
    t = Trial(form, False, {"order": "control-first"}, lambda *_: VALUE, request.node.nodeid)
    t.control = lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        t.call()
    assert t.candidates == 0
    assert t.results == []


@pytest.mark.parametrize("kind", [SystemExit, GeneratorExit, asyncio.CancelledError])
def test_a_control_that_leaves_is_compared_and_published(
    form: str, kind: type[BaseException], request: Any
) -> None:
    """Its own SystemExit, GeneratorExit or CancelledError is an outcome like an exception."""
    own = kind("of the control")

    def leaves(*args: Any) -> Any:
        raise own

    t = Trial(form, False, {}, leaves, request.node.nodeid)
    t.control = leaves  # type: ignore[method-assign]
    with pytest.raises(kind) as caught:
        t.call()
    assert caught.value is own
    assert t.results[0].matched


def test_the_context_of_the_controls_exception_stays_as_it_was(form: str, request: Any) -> None:
    """Neither the candidate nor the caller's own handling changes what it was raised from."""
    t = Trial(form, True, {}, fail, request.node.nodeid)
    inner = ValueError("inner")

    def chained(*args: Any) -> Any:
        try:
            raise inner
        except ValueError:
            raise t.error from None

    t.control = chained  # type: ignore[method-assign]
    try:
        raise RuntimeError("being handled by the caller")
    except RuntimeError as handled:
        trace = handled.__traceback__
        with pytest.raises(ControlError) as caught:
            t.call()
        assert handled.__traceback__ is trace
    assert caught.value.__context__ is inner
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@inline_only
def test_both_may_raise_the_very_same_object(form: str, request: Any) -> None:
    """A failure that is kept and raised anew by both keeps the control's own traceback."""
    for order in ("control-first", "control-last"):
        t = Trial(form, True, {"order": order}, fail, request.node.nodeid)

        def same(*args: Any, t: Trial = t) -> Any:
            try:
                raise Boom
            except Boom:
                raise t.error  # noqa: B904, the context is what must not leak

        t.candidate = same
        t.check_outcome()
        assert t.results[0].matched
        assert t.results[0].candidates[0].exception is not t.error


def test_no_frame_and_no_cycle_is_left(form: str, request: Any) -> None:
    """After a run in which both raise, nothing waits for the garbage collector."""
    import gc
    import weakref

    class Big:
        pass

    t = Trial(form, True, {}, fail, request.node.nodeid)
    alive: list[weakref.ref[Big]] = []

    def holding(*args: Any) -> Any:
        big = Big()
        alive.append(weakref.ref(big))
        raise Boom("with a frame")

    def holding_too(*args: Any) -> Any:
        big = Big()
        alive.append(weakref.ref(big))
        raise ControlError("with a frame of its own")

    t.candidate = holding
    t.control = holding_too  # type: ignore[method-assign]
    gc.collect()
    gc.disable()
    try:
        with contextlib.suppress(ControlError):
            t.call()
        assert [ref() for ref in alive] == [None, None]
        assert t.results[0].candidates[0].exception.__traceback__ is None  # type: ignore[union-attr]
        assert t.results[0].control.exception.__traceback__ is None  # type: ignore[union-attr]
        assert "with a frame" in (t.results[0].candidates[0].traceback or "")
    finally:
        gc.enable()


def test_the_global_random_state_is_not_touched(form: str, request: Any) -> None:
    """A seeded application draws the same numbers with and without experiments."""
    import random

    random.seed(7)
    expected = [random.random() for _ in range(5)]
    random.seed(7)
    drawn = []
    for _ in range(5):
        Trial(form, False, {"sample": 0.5}, lambda *_: VALUE, request.node.nodeid).call()
        drawn.append(random.random())
    assert drawn == expected


def test_a_stack_that_is_nearly_full_still_gives_the_controls_outcome() -> None:
    """Where our own frames find no room, the control's value still comes back."""
    plain_depth = 0

    def control(x: int) -> int:
        return x

    decorated = experiment("deep", candidate=lambda x: x, publishers=())(control)

    def dive(call: Callable[[int], int]) -> int:
        nonlocal plain_depth
        plain_depth += 1
        try:
            return dive(call)
        except RecursionError:
            return call(1)

    before = sys.getrecursionlimit()
    sys.setrecursionlimit(len(__import__("inspect").stack()) + 120)
    try:
        assert dive(decorated) == 1
    finally:
        sys.setrecursionlimit(before)


def test_disabled_beats_everything(form: str, request: Any) -> None:
    """In `disabled()` nothing is asked, copied, run or published."""
    t = Trial(
        form,
        False,
        {"enabled": fail, "raise_on_mismatch": True, "isolate": fail, "context": fail},
        fail,
        request.node.nodeid,
    )
    with twinrun.disabled(), twinrun.raising():
        t.check_outcome()
    assert (t.candidates, t.heard, t.results) == (0, [], [])
    assert skipped(t) == {"disabled": 1}

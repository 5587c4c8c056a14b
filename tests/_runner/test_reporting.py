"""Results go to everybody who wants them, in the promised order; gates are asked in theirs."""

from __future__ import annotations

import logging
import pickle
from typing import Any

import pytest

from twinrun import (
    Experiment,
    MismatchError,
    Outcome,
    Result,
    configure,
    experiment,
    raising,
    recording,
    tallies,
)
from twinrun._restraint import Restraint
from twinrun._runner import containment


def raise_(error: BaseException) -> Any:
    """Raise, where a lambda can't."""
    raise error


class OwnError(MismatchError):
    """A mismatch error of the tests' own."""


class Odd(MismatchError):
    """A mismatch error that takes other arguments."""

    def __init__(self) -> None:
        raise AssertionError


class EvidenceOnly:
    """A publisher that takes only what is worth keeping."""

    evidence_only = True

    def __init__(self) -> None:
        self.results: list[Result] = []

    def publish(self, result: Result) -> None:
        """Keep a result."""
        self.results.append(result)


def test_the_end_is_published_then_after_run_then_raised() -> None:
    """Recorders and every publisher first."""
    heard: list[str] = []
    made = Experiment(
        "reporting.order",
        before_run=lambda: heard.append("before"),
        after_run=lambda result: heard.append(f"after {len(recorded)}"),
        publishers=[lambda r: heard.append("first"), lambda r: heard.append("second")],
        raise_on_mismatch=True,
        order="control-first",
    )
    with recording() as recorded, pytest.raises(MismatchError):
        made.run(
            control=lambda: heard.append("control"),
            candidate=lambda: heard.append("candidate") or 1,
        )
    assert heard == ["before", "control", "candidate", "first", "second", "after 1"]


def test_gates_are_asked_in_their_order_with_the_calls_arguments() -> None:
    """`enabled` and `sample` get nothing, `sample_by` and `run_if` the call's, `self` included."""
    heard: list[Any] = []

    def gate(name: str, answer: Any) -> Any:
        return lambda *args, **kwargs: heard.append((name, args, kwargs)) or answer

    class Owner:
        def new(self, x: int, *, y: int) -> int:
            return x

        @experiment(
            "reporting.gates",
            candidate=new,
            enabled=gate("own", True),
            sample=gate("sample", 0.999_999_999_999),
            sample_by=gate("sample_by", "key"),
            run_if=gate("run_if", True),
            before_run=gate("before_run", None),
            context=gate("context", {"a": 1}),
            publishers=(),
        )
        def old(self, x: int, *, y: int) -> int:
            return x

    configure(enabled=gate("configured", True))
    owner = Owner()
    assert owner.old(1, y=2) == 1
    call = ((owner, 1), {"y": 2})
    assert heard == [
        ("configured", (), {}),
        ("own", (), {}),
        ("sample", (), {}),
        ("sample_by", *call),
        ("run_if", *call),
        ("before_run", (), {}),
        ("context", *call),
    ]


@pytest.mark.parametrize("stop", ["configured", "own", "sample", "run_if"])
def test_a_gate_that_says_no_ends_the_asking(stop: str) -> None:
    """The run is counted under its reason, and neither before_run nor after_run is called."""
    heard: list[str] = []

    def gate(name: str, yes: Any, no: Any) -> Any:
        return lambda *args: heard.append(name) or (no if name == stop else yes)

    name = f"reporting.stop.{stop}"
    made = Experiment(
        name,
        control=lambda x: x,
        candidate=lambda x: heard.append("candidate"),
        enabled=gate("own", True, 0),
        sample=gate("sample", 1, 0),
        run_if=gate("run_if", [1], []),
        before_run=gate("before_run", None, None),
        after_run=gate("after_run", None, None),
    )
    configure(enabled=gate("configured", "yes", ""))
    assert made(3) == 3
    gates = ["configured", "own", "sample", "run_if"]
    assert heard == gates[: gates.index(stop) + 1]
    reason = {"configured": "enabled", "own": "enabled"}.get(stop, stop)
    assert dict(tallies()[name].skipped) == {reason: 1}


def test_run_and_observe_give_gates_no_arguments() -> None:
    """They have none."""
    heard: list[Any] = []
    made = Experiment(
        "reporting.none", run_if=lambda *a, **k: heard.append((a, k)) or True, publishers=()
    )
    made.run(control=int, candidate=int)
    made.observe(control=int, candidate=int)
    assert heard == [((), {})] * 2


def test_the_context_of_a_run_is_merged_over_the_experiments() -> None:
    """In a copy for each run; both may be callables."""
    results: list[Result] = []
    made = Experiment("reporting.context", context={"a": 1, "b": 1}, publishers=[results.append])
    both: Any = {"control": int, "candidate": int}
    made.run(**both, context={"b": 2, "c": 2})
    made.run(**both, context=lambda: {"b": 3})
    made.run(**both)
    assert [dict(r.context) for r in results] == [
        {"a": 1, "b": 2, "c": 2},
        {"a": 1, "b": 3},
        {"a": 1, "b": 1},
    ]


def test_what_is_no_mapping_is_a_failing_context() -> None:
    """It is reported and left out; what the experiment gave stays."""
    failures: list[Any] = []
    made = Experiment(
        "reporting.no_mapping",
        context={"a": 1},
        on_failure=lambda *failure: failures.append(failure),
    )
    for context in (3, [("a", 2)], lambda: None):
        result = made.observe(control=int, candidate=int, context=context)  # type: ignore[arg-type]
        assert dict(result.context) == {"a": 1}
    assert [operation for operation, _, _ in failures] == ["context"] * 3
    assert dict(tallies()["reporting.no_mapping"].failures) == {"context": 3}


def test_a_callable_gets_every_result_and_an_evidence_sink_what_is_worth_keeping() -> None:
    """Also where the experiment would otherwise run the quick way."""
    sink, everything = EvidenceOnly(), list[Result]()
    publishers: Any = [sink, everything.append]
    for given in (publishers, [sink]):
        made = Experiment(
            "reporting.evidence",
            control=lambda x: 1,
            candidate=lambda x: x,
            ignore=lambda a, b: b.value == 3,
            publishers=given,
        )
        for x in (1, 2, 3):
            made(x)
    kept = [r.comparisons[0].outcome for r in everything]
    assert kept == [Outcome.MATCHED, Outcome.MISMATCHED, Outcome.IGNORED]
    assert [r.mismatched for r in sink.results] == [True, True]


def test_observe_gives_the_whole_result_and_never_raises_the_controls_exception() -> None:
    """It publishes; where the experiment is off it gives a Result of the control alone."""
    results: list[Result] = []
    error = ValueError("of the control")
    made = Experiment("reporting.observe", publishers=[results.append])
    result = made.observe(control=lambda: raise_(error), candidate=int)
    assert results == [result]
    assert repr(result.control.exception) == repr(error)
    assert result.control.exception is not error
    off = Experiment("reporting.observe.off", enabled=False, publishers=[results.append])
    alone = off.observe(control=lambda: raise_(error), candidate=int)
    assert (alone.candidates, alone.comparisons, alone.order) == ((), (), ("control",))
    assert repr(alone.control.exception) == repr(error)
    assert results == [result]


def test_a_mismatch_error_names_and_shows_everything_cleaned() -> None:
    """The experiment, both values, what differs; no raw value where there is a clean."""
    made = Experiment(
        "reporting.text",
        control=lambda: {"secret": 1},
        candidate=lambda: {"secret": 2},
        clean=lambda value: "cleaned",
        raise_on_mismatch=True,
        publishers=(),
    )
    with pytest.raises(MismatchError) as caught:
        made()
    text = str(caught.value)
    assert "reporting.text" in text
    assert text.count("cleaned") >= 2
    assert "$[*] changed" in text  # a key of the data is data
    assert "{'secret'" not in text
    assert caught.value.result.mismatched
    assert caught.value.__cause__ is None


def test_a_mismatch_error_shows_both_tracebacks_and_comes_from_the_controls_exception() -> None:
    """The very object that the control raised."""
    error = ValueError("of the control")

    def old() -> None:
        raise error

    def new() -> None:
        raise KeyError("of the candidate")

    made = Experiment("reporting.cause", mismatch_error=OwnError, publishers=())
    with raising(), pytest.raises(OwnError) as caught:
        made.run(control=old, candidate=new)
    assert caught.value.__cause__ is error
    assert isinstance(caught.value, AssertionError)
    text = str(caught.value)
    assert "in old" in text
    assert "in new" in text
    assert "of the control" in text
    assert "of the candidate" in text


def test_a_mismatch_error_pickles_with_its_result() -> None:
    """As test runners that work in several processes need; values that don't pickle too."""
    made = Experiment(
        "reporting.pickle", mismatch_error=OwnError, raise_on_mismatch=True, publishers=()
    )
    with pytest.raises(OwnError) as caught:
        made.run(control=lambda: 1, candidate=lambda: lambda: 1)
    loaded = pickle.loads(pickle.dumps(caught.value))
    assert type(loaded) is OwnError
    assert str(loaded) == str(caught.value)
    assert loaded.result.id == caught.value.result.id
    assert loaded.result.mismatched


def test_an_error_class_that_takes_other_arguments_is_replaced_by_ours() -> None:
    """A mismatch is never hidden by the wrong error."""
    made = Experiment("reporting.odd", mismatch_error=Odd, raise_on_mismatch=True, publishers=())
    with pytest.raises(MismatchError, match=r"reporting\.odd"):
        made.run(control=lambda: 1, candidate=lambda: 2)


@pytest.mark.parametrize(
    ("options", "raises"),
    [
        ({"compare": lambda a, b: raise_(ValueError())}, True),
        ({"timeout": 1e-9}, True),
        ({"ignore": lambda a, b: True}, False),
        ({"compare": lambda a, b: True}, False),
    ],
)
def test_what_neither_matches_nor_is_ignored_raises(options: Any, raises: bool) -> None:
    """Inconclusive and timed out are no match."""
    made = Experiment("reporting.raises", publishers=(), on_failure=lambda *_: None, **options)
    both: Any = {"control": lambda: 1, "candidate": lambda: 2}
    with raising():
        if raises:
            with pytest.raises(MismatchError):
                made.run(**both)
        else:
            assert made.run(**both) == 1


def test_a_mismatch_raises_though_nobody_publishes() -> None:
    """And a matching control's own exception stays what the caller gets."""
    made = Experiment("reporting.nobody", raise_on_mismatch=True, publishers=())
    with pytest.raises(MismatchError):
        made.run(control=lambda: 1, candidate=lambda: 2)
    error = ValueError()
    with pytest.raises(ValueError, match=r"^$") as caught:
        made.run(control=lambda: raise_(error), candidate=lambda: raise_(ValueError()))
    assert caught.value is error


def test_a_failure_is_warned_of_once_and_then_at_most_once_a_minute(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For each experiment and operation; what was left unsaid is counted."""
    now = 1_000.0
    monkeypatch.setattr(containment, "_warnings", Restraint(1, 60.0, clock=lambda: now))
    made = [
        Experiment(
            f"reporting.warn{i}",
            control=int,
            candidate=int,
            publishers=(),
            before_run=lambda: raise_(ValueError("of the hook")),
        )
        for i in range(2)
    ]
    with caplog.at_level(logging.WARNING, logger="twinrun"):
        for _ in range(5):
            made[0]()
        assert len(caplog.records) == 1
        text = caplog.text
        assert "reporting.warn0" in text
        assert "before_run" in text
        assert "of the hook" in text
        made[1]()
        assert len(caplog.records) == 2
        now += 59
        made[0]()
        assert len(caplog.records) == 2
        now += 2
        made[0]()
        assert len(caplog.records) == 3
        assert "unsaid=5" in caplog.records[2].getMessage()
    assert dict(tallies()["reporting.warn0"].failures) == {"before_run": 7}


def test_an_own_on_failure_wins_over_the_configured_one() -> None:
    """Either hears of the operation, the error and the experiment's name."""
    configured: list[Any] = []
    own: list[Any] = []
    configure(on_failure=lambda *failure: configured.append(failure))
    error = ValueError()
    for options in ({}, {"on_failure": lambda *failure: own.append(failure)}):
        Experiment("reporting.failure", run_if=lambda: raise_(error), publishers=(), **options).run(
            control=int, candidate=int
        )
    assert configured == own == [("run_if", error, "reporting.failure")]

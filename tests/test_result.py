"""A Result holds one run's observations and says how its candidates were judged."""

from __future__ import annotations

import datetime
import gc
import pickle
import threading
import weakref
from collections.abc import Mapping
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinrun._pickling import Unpicklable
from twinrun.difference import Difference, DifferenceKind
from twinrun.observation import NOTHING, Observation
from twinrun.result import BASELINE, Comparison, Outcome, Result


class Forgets:
    """A context key that can be hashed until it was pickled."""

    def __init__(self, alive: bool) -> None:
        self.alive = alive

    def __hash__(self) -> int:
        if not self.alive:
            raise TypeError("no hash any more")
        return 1

    def __reduce__(self) -> Any:
        return Forgets, (False,)


def result_of(
    *judged: tuple[str, Outcome],
    context: Mapping[Any, Any] | None = None,
    value: Any = 1,
    clean: Any = None,
) -> Result:
    """Make a Result of named candidates and how they were judged."""
    candidates = tuple(Observation(name=name, value=value, duration_ns=2) for name, _ in judged)
    return Result(
        id="0123",
        experiment="pricing.quote",
        started_at=datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.UTC),
        context=context or {},
        order=("control", *(name for name, _ in judged)),
        control=Observation(name="control", value=value, duration_ns=1),
        candidates=candidates,
        comparisons=tuple(
            Comparison(candidate, outcome)
            for candidate, (_, outcome) in zip(candidates, judged, strict=True)
        ),
        clean=clean,
    )


outcomes = st.lists(st.sampled_from(Outcome), max_size=5)


@given(outcomes)
def test_matched_means_all_and_mismatched_and_ignored_mean_any(found: list[Outcome]) -> None:
    """An ignored, timed-out or inconclusive comparison is no match, and hides no mismatch."""
    result = result_of(*((f"c{n}", outcome) for n, outcome in enumerate(found)))
    assert result.matched == (set(found) <= {Outcome.MATCHED})
    assert result.mismatched == (Outcome.MISMATCHED in found)
    assert result.ignored == (Outcome.IGNORED in found)


@given(outcomes, st.sampled_from(Outcome))
def test_a_baseline_counts_in_none_of_the_three(found: list[Outcome], baseline: Outcome) -> None:
    """A baseline has its comparison and changes no verdict."""
    judged = [(f"c{n}", outcome) for n, outcome in enumerate(found)]
    without, with_it = result_of(*judged), result_of(*judged, (BASELINE, baseline))
    assert len(with_it.comparisons) == len(without.comparisons) + 1
    for verdict in ("matched", "mismatched", "ignored"):
        assert getattr(with_it, verdict) == getattr(without, verdict)


def test_outcomes_are_text() -> None:
    """An outcome can be stored and read back as text."""
    assert [str(outcome) for outcome in Outcome] == [
        "matched",
        "mismatched",
        "ignored",
        "timed_out",
        "inconclusive",
    ]


def test_repr_names_the_experiment_and_its_outcomes() -> None:
    """No value is shown."""
    result = result_of(("a", Outcome.MATCHED), ("b", Outcome.TIMED_OUT), value="secret")
    assert repr(result) == "<Result of 'pricing.quote' (a: matched, b: timed_out)>"
    assert repr(result_of()) == "<Result of 'pricing.quote' (control only)>"
    assert repr(result.comparisons[1]) == "<Comparison 'b' timed_out>"


@pytest.mark.parametrize("field", ["id", "context", "comparisons"])
def test_it_is_immutable_and_has_no_dict(field: str) -> None:
    """Values are frozen and slotted."""
    result = result_of(("a", Outcome.MATCHED))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(result, field, None)
    assert not hasattr(result, "__dict__")


def test_it_is_compared_by_identity() -> None:
    """Two runs that found the same are two results."""
    assert result_of() != result_of()


def test_it_makes_no_reference_cycle() -> None:
    """A dropped result is freed at once, without the garbage collector."""
    gc.disable()
    try:
        result = result_of(("a", Outcome.MATCHED))
        parts = [weakref.ref(part) for part in (result, result.control, *result.comparisons)]
        del result
        assert [part() for part in parts] == [None] * 3
    finally:
        gc.enable()


def test_a_pickle_keeps_every_field() -> None:
    """What pickles comes back as it was, and a candidate is still its comparison's."""
    result = attrs.evolve(
        result_of(("a", Outcome.MISMATCHED), context={"user": 7, "tags": ["x"]}, clean=len),
        order=("a", "control"),
    )
    loaded = pickle.loads(pickle.dumps(result))
    for field in ("id", "experiment", "started_at", "context", "order", "_clean"):
        assert getattr(loaded, field) == getattr(result, field)
    assert loaded.control.value == 1
    assert loaded.comparisons[0].candidate is loaded.candidates[0]
    assert loaded.mismatched


def test_a_comparison_keeps_its_findings_through_a_pickle() -> None:
    """Reason, differences and fingerprint survive."""
    comparison = Comparison(
        Observation(name="a", duration_ns=1),
        Outcome.IGNORED,
        "rule",
        (Difference("$.x", DifferenceKind.ADDED, NOTHING, 3),),
        "f00d",
    )
    loaded = pickle.loads(pickle.dumps(comparison))
    for field in ("outcome", "reason", "differences", "fingerprint"):
        assert getattr(loaded, field) == getattr(comparison, field)


@pytest.mark.parametrize("hostile", [threading.Lock(), lambda: None, (n for n in "ab")])
def test_it_pickles_whatever_it_holds(hostile: Any) -> None:
    """What can't travel is a placeholder in the pickle; the result itself is unchanged."""
    result = result_of(
        ("a", Outcome.MATCHED), context={"lock": hostile}, value=hostile, clean=lambda value: value
    )
    loaded = pickle.loads(pickle.dumps(result))
    lost = [loaded.context["lock"], loaded.control.value, loaded.candidates[0].value, loaded._clean]
    assert [type(value) for value in lost] == [Unpicklable] * 4
    assert loaded.matched
    assert result.control.value is hostile


def test_a_context_key_that_forgot_its_hash_becomes_its_types_name() -> None:
    """No key, however hostile, keeps a pickle from loading."""
    result = result_of(context={Forgets(alive=True): 1, "user": 2})
    assert pickle.loads(pickle.dumps(result)).context == {"Forgets": 1, "user": 2}

"""Candidates are judged by the recipe's own rules, and by nothing else."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import pytest

from twinrun import NOTHING, DifferenceKind, Experiment, Observation, Outcome, Result


def observe(control: Any, candidate: Any, **options: Any) -> Result:
    """Run two behaviours and give the whole Result."""
    return Experiment("judging", publishers=(), **options).observe(
        control=control, candidate=candidate
    )


def raise_(error: BaseException) -> Any:
    """Raise, where a lambda can't."""
    raise error


def test_a_plain_callable_compares_two_values() -> None:
    """The control's comes first; its answer's truth decides."""
    seen: list[Any] = []

    def compare(a: Any, b: Any) -> Any:
        seen.append((a, b))
        return "yes" if b < 10 else ""

    assert observe(lambda: 1, lambda: 2, compare=compare).matched
    result = observe(lambda: 1, lambda: 20, compare=compare)
    assert seen == [(1, 2), (1, 20)]
    [comparison] = result.comparisons
    assert (comparison.outcome, comparison.reason) == (Outcome.MISMATCHED, None)
    [difference] = comparison.differences
    assert (difference.path, difference.kind) == ("$", DifferenceKind.CHANGED)
    assert (difference.control, difference.candidate) == (1, 20)


def test_none_is_a_value() -> None:
    """It matches None, and differs from what is returned otherwise; nothing is no None."""
    assert observe(lambda: None, lambda: None).matched
    [comparison] = observe(lambda: None, lambda: 0).comparisons
    assert comparison.outcome is Outcome.MISMATCHED
    result = observe(lambda: None, lambda: raise_(ValueError()))
    assert (result.control.value, result.candidates[0].value) == (None, NOTHING)


def test_errors_are_compared_by_type_and_message_or_as_is_asked_for() -> None:
    """`compare_errors` sees the real exceptions, tracebacks and all, and only where both raised."""
    seen: list[Any] = []

    def compare_errors(a: BaseException, b: BaseException) -> bool:
        seen.append((a.args, b.args, a.__traceback__ is not None, b.__traceback__ is not None))
        return True

    fails = [lambda: raise_(ValueError("a")), lambda: raise_(ValueError("b"))]
    assert observe(fails[0], fails[0]).matched
    assert observe(*fails).mismatched
    assert observe(fails[0], lambda: raise_(KeyError("a"))).mismatched
    assert observe(*fails, compare_errors=compare_errors).matched
    assert seen == [(("a",), ("b",), True, True)]
    assert observe(lambda: 1, fails[0], compare_errors=compare_errors).mismatched
    assert observe(fails[0], lambda: 1, compare_errors=compare_errors).mismatched
    assert len(seen) == 1


def test_one_side_raising_is_a_difference_of_its_own_kind() -> None:
    """It shows the value on one side and the exception on the other."""
    [comparison] = observe(lambda: 1, lambda: raise_(ValueError("b"))).comparisons
    [difference] = comparison.differences
    assert (difference.path, difference.kind) == ("$", DifferenceKind.RAISED)
    assert difference.control == 1
    assert isinstance(difference.candidate, ValueError)


def test_ignore_rules_see_mismatches_only_and_the_first_yes_ends_the_asking() -> None:
    """Raised ones too; they get both observations."""
    asked: list[str] = []

    def says(name: str, answer: bool) -> Any:
        def rule(control: Observation, candidate: Observation) -> bool:
            asked.append(f"{name}:{control.name}:{candidate.name}")
            return answer

        return rule

    rules = [says("no", False), says("yes", True), says("never", True)]
    assert observe(lambda: 1, lambda: 1, ignore=rules).matched
    assert asked == []
    result = observe(lambda: 1, lambda: 2, ignore=rules)
    assert (result.matched, result.mismatched, result.ignored) == (False, False, True)
    assert asked == ["no:control:candidate", "yes:control:candidate"]
    [comparison] = result.comparisons
    assert comparison.reason is not None
    assert "ignored by" in comparison.reason
    assert comparison.fingerprint is not None
    assert comparison.differences
    assert observe(lambda: 1, lambda: raise_(ValueError()), ignore=rules).ignored
    assert observe(lambda: raise_(ValueError()), lambda: 1, ignore=rules[1]).ignored
    assert observe(lambda: 1, lambda: 2, ignore=None).mismatched
    assert observe(lambda: 1, lambda: 2, ignore=rules[0]).mismatched


def test_an_ignored_difference_hides_no_other_candidates_mismatch() -> None:
    """Each candidate is judged by itself."""
    result = Experiment(
        "judging.several",
        control=lambda: 1,
        candidates={"match": lambda: 1, "ignored": lambda: 2, "mismatch": lambda: 3},
        ignore=lambda a, b: b.value == 2,
        publishers=(),
    ).observe()
    assert [c.outcome for c in result.comparisons] == ["matched", "ignored", "mismatched"]
    assert (result.matched, result.mismatched, result.ignored) == (False, True, True)


@pytest.mark.parametrize("fails", [False, True])
def test_a_candidate_that_took_longer_than_its_timeout_is_timed_out(fails: bool) -> None:
    """Plain code can't be interrupted: the caller waits; its Observation keeps only the time."""

    def late() -> int:
        threading.Event().wait(0.002)
        if fails:
            raise ValueError
        return 1

    result = observe(lambda: 1, late, timeout=0.001, ignore=lambda a, b: True)
    [comparison] = result.comparisons
    assert (comparison.outcome, comparison.differences) == (Outcome.TIMED_OUT, ())
    assert comparison.reason == "took longer than 0.001 s"
    late_one = result.candidates[0]
    assert (late_one.value, late_one.exception, late_one.traceback) == (NOTHING, None, None)
    assert late_one.duration > 0.001
    assert (result.matched, result.mismatched, result.ignored) == (False, False, False)


def test_a_timeout_is_the_candidates_not_the_controls() -> None:
    """And one within it is judged as ever."""

    def late() -> int:
        threading.Event().wait(0.002)
        return 1

    assert observe(late, lambda: 1, timeout=60).matched
    result = observe(late, int, timeout=0.0015)
    assert result.comparisons[0].outcome in {Outcome.MISMATCHED, Outcome.TIMED_OUT}
    assert result.control.value == 1


def test_values_that_looking_uses_up_are_inconclusive() -> None:
    """The caller's iterator still gives all it has."""
    result = observe(lambda: iter([1, 2]), lambda: iter([1, 2]))
    [comparison] = result.comparisons
    assert comparison.outcome is Outcome.INCONCLUSIVE
    assert comparison.reason is not None
    assert list(result.control.value) == [1, 2]
    assert list(result.candidates[0].value) == [1, 2]


def test_a_coroutine_that_a_candidate_gives_is_closed() -> None:
    """Nobody would await it, and Python would warn of that."""

    async def coroutine() -> None:
        """Do nothing."""

    result = observe(lambda: 1, lambda: coroutine())
    assert result.comparisons[0].outcome is Outcome.INCONCLUSIVE
    assert result.candidates[0].value.cr_frame is None


@pytest.mark.parametrize("measured", [False, True])
def test_cpu_time_is_measured_where_that_is_asked_for(measured: bool) -> None:
    """In seconds of the thread; beside the duration, which is measured always."""
    result = observe(int, int, cpu_time=measured)
    for each in (result.control, *result.candidates):
        assert each.duration_ns > 0
        assert (each.cpu_time is not None) is measured
        assert each.cpu_time is None or each.cpu_time >= 0


def test_waiting_takes_no_cpu_time() -> None:
    """Which is what tells it from the duration."""
    result = observe(lambda: threading.Event().wait(0.05), lambda: False, cpu_time=True)
    assert result.control.duration >= 0.05
    assert result.control.cpu_time is not None
    assert result.control.cpu_time < result.control.duration


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("control-first", {("control", "a", "b"), ("control", "b", "a")}),
        ("control-last", {("a", "b", "control"), ("b", "a", "control")}),
        ("random", set(itertools.permutations(("control", "a", "b")))),
        (lambda names: sorted(names, reverse=True), {("control", "b", "a")}),
    ],
)
def test_behaviours_run_in_the_order_that_is_asked_for(order: Any, expected: Any) -> None:
    """The Result says in which; candidates stand in it as they were given."""
    seen: set[tuple[str, ...]] = set()
    for _ in range(200):
        ran: list[str] = []
        result = Experiment("judging.order", order=order, publishers=()).observe(
            control=lambda ran=ran: ran.append("control"),
            candidates={"a": lambda ran=ran: ran.append("a"), "b": lambda ran=ran: ran.append("b")},
        )
        assert result.order == tuple(ran)
        assert [c.name for c in result.candidates] == ["a", "b"]
        seen.add(result.order)
    assert seen == expected

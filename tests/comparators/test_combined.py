"""Comparators made of others."""

from __future__ import annotations

import re
from typing import Any

import pytest

import twinrun
from twinrun import Outcome, experiment
from twinrun.comparators import (
    approx,
    both,
    budgeted,
    by,
    case_insensitive,
    either,
    equal,
    exact,
    ignoring,
    json_text,
    loose,
    unordered,
)
from twinrun.comparators.structural import BudgetExceededError
from twinrun.errors import ConfigurationError


def found(compare: Any, control: Any, candidate: Any) -> list[str]:
    """The differences as `kind path`."""
    return [f"{d.kind} {d.path}" for d in compare.differences(control, candidate)]


def same_length(a: Any, b: Any) -> bool:
    """A plain callable."""
    return len(a) == len(b)


def test_both_ask_for_all() -> None:
    """What differs by any of them is told once, in their order."""
    compare = both(ignoring("$.a"), ignoring("$.b"), same_length)
    ours, theirs = {"a": 1, "b": 1, "c": 1}, {"a": 2, "b": 2, "c": 2}
    assert compare(ours, dict(ours))
    assert compare.differences(ours, dict(ours)) == ()
    assert not compare(ours, theirs)
    assert found(compare, ours, theirs) == ["changed $.b", "changed $.c", "changed $.a"]
    assert found(compare, ours, {**ours, "d": 1}) == ["added $.d", "changed $"]


def test_either_asks_for_one() -> None:
    """Where none says yes, the shortest list is told."""
    compare = either(ignoring("$.a"), ignoring("$.b"))
    ours = {"a": 1, "b": 1, "c": 1}
    assert compare(ours, {**ours, "a": 2})
    assert compare.differences(ours, {**ours, "b": 2}) == ()
    assert not compare(ours, {**ours, "a": 2, "b": 2})
    assert found(compare, ours, {"a": 1, "b": 2, "c": 2}) == ["changed $.c"]
    assert found(either(same_length, equal), [1, 2], [3]) == ["changed $"]


def test_later_comparators_are_asked_only_where_they_matter() -> None:
    """As `and` and `or` do."""
    asked = []

    def note(a: Any, b: Any) -> bool:
        asked.append((a, b))
        return True

    assert not both(equal, note)(1, 2)
    assert either(equal, note)(1, 1)
    assert asked == []


def test_what_was_cut_is_told_by_those_that_combine() -> None:
    """Each reason once."""
    ours, theirs = [0] * 300, [1] * 300
    assert both(equal, equal).differences(ours, theirs).cut == "more than 100 differences"
    few = budgeted(differences=2)
    told = either(equal, few).differences(ours, theirs)
    assert (len(told), told.cut) == (2, "more than 2 differences")
    assert both(few, same_length).differences([1], [2]).cut is None


@pytest.mark.parametrize("make", [both, either])
def test_wrong_parts_are_refused(make: Any) -> None:
    """Fewer than two, or what can't be asked."""
    for comparators in ((), (equal,), (equal, 3), (None, equal)):
        with pytest.raises(ConfigurationError, match="two"):
            make(*comparators)


def test_by_compares_what_a_function_makes() -> None:
    """Of both sides; what it raises escapes."""
    assert by(str.strip)(" a", "a ")
    assert found(by(sorted), [2, 1], [1, 3]) == ["changed $[1]"]
    assert by(str, compare=by(len))(12, 34)
    assert ignoring("$.a", compare=by(dict))([("a", 1)], [("a", 2)])
    with pytest.raises(TypeError):
        by(sorted)([1, "a"], [1])
    with pytest.raises(ConfigurationError, match="callable of one value"):
        by("strip")  # type: ignore[arg-type]


def test_reprs_are_readable() -> None:
    """They name what they are made of."""
    assert repr(both(approx(rel=0.1), same_length)) == "both(approx(rel=0.1), same_length)"
    assert repr(either(exact, unordered("id"))) == "either(exact, unordered('id'))"
    assert repr(by(len)) == "by(len)"
    assert repr(by(str.strip, compare=exact)) == "by(str.strip, compare=exact)"
    assert re.fullmatch(r"both\(equal, .*<lambda>\)", repr(both(equal, lambda a, b: True)))
    assert [repr(c) for c in (equal, exact, loose, case_insensitive, json_text)] == [
        "equal",
        "exact",
        "loose",
        "case_insensitive",
        "json_text",
    ]
    assert repr(budgeted(seconds=1, nodes=5)) == "budgeted(nodes=5, seconds=1)"


def test_exact_tells_classes_apart_everywhere() -> None:
    """Numbers, containers, subclasses; what is of one class is compared as ever."""
    assert found(exact, [1, True, (1,)], [1.0, 1, [1]]) == ["type $[0]", "type $[1]", "type $[2]"]
    assert found(exact, {"a": {1: 2}}, {"a": {1: 3}}) == ["changed $.a[1]"]
    assert found(exact, {"a": {1: 2}}, {"a": {True: 2}}) == ["type $.a"]
    assert found(exact, [{1, 2}], [{1.0, 2}]) == ["type $[0]"]
    assert exact([{1, 2}, {1: {"a"}}], [{2, 1}, {1: {"a"}}])
    assert exact([float("nan"), {"a": (1, 2.0)}], [float("nan"), {"a": (1, 2.0)}])
    assert not exact(type("Text", (str,), {})("a"), "a")


def test_loose_takes_truth_values_for_numbers() -> None:
    """As Python does."""
    assert loose(True, 1)
    assert loose([{"a": False}, 2.5], [{"a": 0}, 2.5])
    assert found(loose, [True, 2], [1, 3]) == ["changed $[1]"]
    assert found(equal, [True, 2], [1, 3]) == ["type $[0]", "changed $[1]"]
    assert not equal(True, 1)
    assert equal.differences(False, 0) != ()


def test_budgets_are_kept_and_what_was_cut_is_said() -> None:
    """Each of them; where nothing differed before, it can't be told whether something does."""
    nested = [[[[1]]]], [[[[2]]]]
    nans = ([[[float("nan")]] for _ in range(20)] for _ in range(2))
    for options, values, reason in [
        ({"nodes": 10}, tuple(nans), "more than 10 parts"),
        ({"depth": 2}, nested, "deeper than 2 levels"),
        ({"seconds": 1e-9}, nested, "more than 1e-09 s"),
    ]:
        compare = budgeted(**options)  # type: ignore[arg-type]
        for ask in (compare, compare.differences):
            with pytest.raises(BudgetExceededError, match=reason):
                ask(*values)
    one, two = [1, *nested[0]], [2, *nested[1]]
    assert budgeted(depth=2).differences(one, two).cut == "deeper than 2 levels"
    told = budgeted(differences=3).differences([1] * 9, [2] * 9)
    assert (len(told), told.cut) == (3, "more than 3 differences")
    assert budgeted(differences=9).differences([1] * 9, [2] * 9).cut is None


@pytest.mark.parametrize(
    "options",
    [{"nodes": 0}, {"depth": 1.5}, {"differences": True}, {"seconds": -1}, {"seconds": "1"}],
    ids=repr,
)
def test_wrong_budgets_are_refused(options: Any) -> None:
    """The error names the option and what is accepted."""
    with pytest.raises(ConfigurationError, match=f"{next(iter(options))}=.* above 0 is accepted"):
        budgeted(**options)


@pytest.mark.parametrize(
    ("control", "candidate", "compare", "matched"),
    [
        (True, 1, equal, False),
        (True, 1, loose, True),
        (1, 1.0, equal, True),
        (1, 1.0, exact, False),
        ([2, 1], [1, 2], unordered(), True),
        ({"a": 1.0}, {"a": 1.001}, approx(abs=0.01), True),
        ({"a": 1.0}, {"a": 1.1}, both(approx(abs=0.01), same_length), False),
    ],
    ids=repr,
)
def test_an_experiment_is_judged_by_its_comparator(
    control: Any, candidate: Any, compare: Any, matched: bool
) -> None:
    """Whichever way it is run."""

    name = f"combined.judged {control!r} {compare!r}"

    @experiment(name, candidate=lambda: candidate, compare=compare)
    def judged() -> Any:
        return control

    judged()  # the quick way, where there is one
    with twinrun.recording() as results:
        judged()
    assert results[0].matched is matched
    outcome = Outcome.MATCHED if matched else Outcome.MISMATCHED
    assert twinrun.tallies()[name].outcomes["candidate"] == {outcome: 2}


def test_a_result_says_what_was_cut() -> None:
    """With the differences that were found."""

    @experiment("combined.cut", candidate=lambda: [1] * 300)
    def cut() -> list[int]:
        return [0] * 300

    with twinrun.recording() as results:
        cut()
    told = results[0].comparisons[0].differences
    assert len(told) == 100
    assert getattr(told, "cut", None) == "more than 100 differences"

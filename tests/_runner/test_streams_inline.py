"""Generators run inline: what is compared, what is told of it, and what stays out of the way."""

from __future__ import annotations

import contextvars
import inspect
import itertools
import pickle
import subprocess
import sys
import threading
import tracemalloc
import weakref
from collections.abc import Generator, Iterator
from typing import Any

import pytest

import twinrun
from twinrun import (
    NOTHING,
    Comparison,
    Experiment,
    MismatchError,
    Outcome,
    Result,
    Stream,
    experiment,
    in_candidate,
)
from twinrun.cleaners import payload

ORDERS = ("control-first", "control-last")


def gives(*items: Any, returned: Any = None, error: BaseException | None = None) -> Any:
    """Make a generator function that gives these items."""

    def generate(*_: Any) -> Generator[Any, Any, Any]:
        yield from items
        if error is not None:
            raise error
        return returned

    return generate


def watched(control: Any, candidate: Any, **options: Any) -> tuple[Any, list[Result]]:
    """Decorate a control; give the function and the list of its results."""
    results: list[Result] = []
    options = {"publishers": (results.append,), **options}
    return experiment("streams", candidate=candidate, **options)(control), results


def judged(control: Any, candidate: Any, **options: Any) -> Comparison:
    """Run both to the end, and give what came of it."""
    function, results = watched(control, candidate, **options)
    try:
        for _ in function():
            pass
    except Exception:
        pass
    [result] = results
    [comparison] = result.comparisons
    return comparison


def told(comparison: Comparison) -> list[tuple[Any, ...]]:
    """Give the differences as tuples."""
    return [(d.path, str(d.kind), d.control, d.candidate) for d in comparison.differences]


def test_it_stays_a_generator_function() -> None:
    """Of the same name, signature and kind, and with its experiment."""

    def rows(count: int, *, first: int = 0) -> Iterator[int]:
        yield from range(first, count)

    decorated = experiment("streams", candidate=rows)(rows)
    assert inspect.isgeneratorfunction(decorated)
    assert inspect.signature(decorated) == inspect.signature(rows)
    assert (decorated.__name__, decorated.__wrapped__) == ("rows", rows)
    assert isinstance(decorated.experiment, Experiment)
    generator = decorated(3)
    assert inspect.isgenerator(generator)
    assert generator.__qualname__ == rows(3).__qualname__  # type: ignore[attr-defined]
    assert list(generator) == [0, 1, 2]


def test_wrong_arguments_raise_at_the_call() -> None:
    """As they do for any generator function; that is no run."""
    function, results = watched(lambda a, /: (yield a), gives(1))
    with pytest.raises(TypeError, match="argument"):
        function()
    assert results == []


@pytest.mark.parametrize("off", [{"sample": 0}, {"enabled": False}, {"run_if": lambda: False}])
def test_what_is_no_experiment_is_the_controls_own_generator(off: dict[str, Any]) -> None:
    """Nothing of ours stands between it and the caller, and the kind of function stays."""
    control = gives(1)
    function = experiment("streams.off", candidate=gives(2), **off)(control)
    assert inspect.isgeneratorfunction(function)
    assert function().gi_code is control.__code__
    with twinrun.disabled():
        assert function().gi_code is control.__code__


def test_a_share_of_the_calls_is_experiments_and_each_is_counted() -> None:
    """Whatever the settings are meanwhile."""
    function = experiment("streams.share", candidate=gives(1), sample=0.25, publishers=())(gives(1))
    assert inspect.isgeneratorfunction(function)
    for _ in range(400):
        assert list(function()) == [1]
    with twinrun.recording() as results:
        for _ in range(400):
            assert list(function()) == [1]
    with twinrun.disabled():
        assert list(function()) == [1]
    tally = twinrun.tallies()["streams.share"]
    assert 0 < len(results) < tally.experiments
    assert tally.experiments + tally.skipped["sample"] == 800
    assert 80 < tally.experiments < 350
    assert tally.skipped["disabled"] == 1


@pytest.mark.parametrize("order", ORDERS)
def test_nothing_runs_before_the_first_step(order: str) -> None:
    """No behaviour, no hook that comes before them; a generator that never begins is no run."""
    happened: list[str] = []

    def control() -> Iterator[int]:
        happened.append("control")
        yield 1

    def candidate() -> Iterator[int]:
        happened.append("candidate")
        yield 1

    function, results = watched(
        control, candidate, order=order, before_run=lambda: happened.append("before_run")
    )
    function().close()
    assert (happened, results) == ([], [])
    next(function())
    assert happened[0] == "before_run"
    assert len(happened) == 3
    assert [r.matched for r in results] == [True]


def test_arguments_are_copied_when_the_generator_begins() -> None:
    """What changes between the call and the first step changes for both."""

    def control(items: list[int]) -> Iterator[int]:
        yield from items

    function, results = watched(control, control)
    items = [1]
    generator = function(items)
    items.append(2)
    assert list(generator) == [1, 2]
    assert results[0].matched


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("control", "candidate", "differences"),
    [
        (gives(1, 2, 3), gives(1, 5, 6), [("$[1]", "changed", 2, 5)]),
        (gives({"a": [1]}), gives({"a": [2]}), [("$[0].a[0]", "changed", 1, 2)]),
        (gives(1, 2), gives(1), [("$[1]", "removed", 2, NOTHING)]),
        (gives(1), gives(1, 2), [("$[1]", "added", NOTHING, 2)]),
        (gives(1), gives(1, 2, 3), [("$[1]", "added", NOTHING, 2)]),
        (gives(), gives(None), [("$[0]", "added", NOTHING, None)]),
        (gives(1, returned=2), gives(1, returned=3), [("$.returned", "changed", 2, 3)]),
        (
            gives(1, returned={"a": 1}),
            gives(1, returned={}),
            [("$.returned.a", "removed", 1, NOTHING)],
        ),
        (gives(1, 2, returned=1), gives(1, 2, returned=1), []),
    ],
)
def test_the_first_difference_is_told_by_its_place(
    order: str, control: Any, candidate: Any, differences: list[tuple[Any, ...]]
) -> None:
    """An item by its index, the return value by its name, an end by what the other side has."""
    comparison = judged(control, candidate, order=order)
    assert told(comparison) == differences
    assert comparison.outcome is (Outcome.MISMATCHED if differences else Outcome.MATCHED)


@pytest.mark.parametrize("order", ORDERS)
def test_exceptions_are_compared_with_what_the_other_side_did_then(order: str) -> None:
    """Both raise the same: a match; one of them, or others: told with the place."""
    same = judged(gives(1, error=KeyError(1)), gives(1, error=KeyError(1)), order=order)
    assert same.outcome is Outcome.MATCHED
    other = judged(gives(1, error=KeyError(1)), gives(1, error=KeyError(2)), order=order)
    only = judged(gives(1, 2), gives(1, error=KeyError(1)), order=order)
    early = judged(gives(1, error=KeyError(1)), gives(1, 2), order=order)
    assert [told(each)[0][:2] for each in (other, only, early)] == [("$[1]", "raised")] * 3
    assert repr(only.differences[0].candidate) == "KeyError(1)"
    assert only.candidate.exception is only.differences[0].candidate
    assert "KeyError: 1" in (only.candidate.traceback or "")
    assert repr(early.differences[0].control) == "KeyError(1)"


def test_the_result_tells_how_many_items_there_were_and_how_each_side_ended() -> None:
    """A candidate that goes on is closed, after one item more than the control's."""
    function, results = watched(gives(1, 2, returned="end"), gives(1, 5, 3, 4))
    list(function())
    [result] = results
    assert result.control.value == Stream(items=2, ended="returned", returned="end")
    assert result.candidates[0].value == Stream(items=3, ended="closed")
    raising = judged(gives(1, 2), gives(1, error=KeyError(1)))
    assert raising.candidate.value == Stream(items=1, ended="raised")
    assert raising.candidate.raised


def test_a_stream_pickles_and_can_be_shown() -> None:
    """Its repr calls nothing, its payload is JSON."""
    comparison = judged(gives(1, returned=[2]), gives(1, returned=[3]))
    value = comparison.candidate.value
    assert repr(value) == "<Stream of 1 items, returned>"
    assert pickle.loads(pickle.dumps(value)) == value
    assert (
        pickle.loads(pickle.dumps(Stream(items=0, ended="returned", returned=lambda: 0))).items == 0
    )
    function, results = watched(gives(1, returned=[2]), gives(1, returned=[3]))
    list(function())
    [shown] = payload(results[0])["candidates"]
    assert shown["value"] == {
        "$type": "twinrun.observation.Stream",
        "items": 1,
        "ended": "returned",
        "returned": [3],
    }


@pytest.mark.parametrize("order", ORDERS)
def test_an_endless_candidate_is_asked_for_one_item_more_at_most(order: str) -> None:
    """Neither a control that ends nor a caller that stops waits for it."""
    asked = itertools.count(1)
    closed: list[bool] = []

    def endless() -> Iterator[int]:
        try:
            yield from asked
        finally:
            closed.append(True)

    function, results = watched(gives(1, 2, 3), endless, order=order)
    assert list(function()) == [1, 2, 3]
    assert next(asked) == 5
    assert closed == [True]
    assert told(results[0].comparisons[0]) == [("$[3]", "added", NOTHING, 4)]


@pytest.mark.parametrize("stop", ["break", "close", "throw"])
@pytest.mark.parametrize("order", ORDERS)
def test_a_caller_that_stops_early_compares_what_it_has_seen(order: str, stop: str) -> None:
    """It matches where that is equal, however either side would have gone on."""
    function, results = watched(gives(1, 2, 3), gives(1, 2, 7, 8), order=order)
    generator = function()
    assert [next(generator), next(generator)] == [1, 2]
    if stop == "close":
        generator.close()
    elif stop == "throw":
        with pytest.raises(GeneratorExit):
            generator.throw(GeneratorExit())
    del generator
    [result] = results
    assert result.matched
    assert result.control.value == result.candidates[0].value == Stream(items=2, ended="closed")


def test_what_a_candidate_does_when_it_is_closed_is_compared() -> None:
    """An error in its clean-up would have reached the caller."""

    def candidate() -> Iterator[int]:
        try:
            yield 1
        finally:
            raise OSError("no clean-up")

    function, results = watched(gives(1, 2), candidate)
    for _ in function():
        break
    assert told(results[0].comparisons[0])[0][:2] == ("$[1]", "raised")


@pytest.mark.parametrize("order", ORDERS)
def test_what_the_caller_sends_and_throws_goes_to_both(order: str) -> None:
    """A coroutine in the old style: its answers depend on what it is sent."""

    def totals() -> Generator[float, float, str]:
        total = 0.0
        try:
            while True:
                total += (yield total) or 0
        except LookupError as error:
            yield -total
            return str(error)

    def wrong() -> Generator[float, float, str]:
        total = yield from totals()
        return total + "!"

    function, results = watched(totals, wrong, order=order)
    generator = function()
    next(generator)
    assert [generator.send(2), generator.send(3)] == [2, 5]
    error = LookupError("enough")
    assert generator.throw(error) == -5
    with pytest.raises(StopIteration) as stopped:
        next(generator)
    assert stopped.value.value == "enough"
    assert told(results[0].comparisons[0]) == [("$.returned", "changed", "enough", "enough!")]
    assert results[0].control.value.items == results[0].candidates[0].value.items == 4


@pytest.mark.parametrize("order", ORDERS)
def test_a_candidate_gets_copies_of_what_is_sent_and_thrown(order: str) -> None:
    """Whatever it does to them, the control sees what the caller gave."""

    def control() -> Generator[Any, Any, Any]:
        got = yield
        try:
            yield list(got)
        except ValueError as error:
            yield list(error.args)

    def candidate() -> Generator[Any, Any, Any]:
        got = yield
        got.append("spoilt")
        try:
            yield got[:1]
        except ValueError as error:
            error.args = ("spoilt",)
            yield [1]

    function, results = watched(control, candidate, order=order)
    generator = function()
    next(generator)
    assert generator.send([1]) == [1]
    assert generator.throw(ValueError(1)) == [1]
    generator.close()
    assert results[0].matched


def test_what_is_sent_and_cannot_be_copied_leaves_it_undecided() -> None:
    """An iterator would be used up by the candidate; the control goes on alone."""

    def control() -> Generator[Any, Any, Any]:
        yield list((yield))

    function, results = watched(control, control)
    generator = function()
    next(generator)
    assert generator.send(iter([1, 2])) == [1, 2]
    generator.close()
    [comparison] = results[0].comparisons
    assert comparison.outcome is Outcome.INCONCLUSIVE
    assert "isolate" in (comparison.reason or "")


@pytest.mark.parametrize(
    ("candidate", "outcome"),
    [
        (lambda: [1, 2], Outcome.MATCHED),
        (lambda: iter((1, 2)), Outcome.MATCHED),
        (lambda: [1], Outcome.MISMATCHED),
        (lambda: 3, Outcome.MISMATCHED),
        (lambda: next(iter(())), Outcome.MISMATCHED),
        ("itertools:count", Outcome.MISMATCHED),
        ("twinrun_has:no_such", Outcome.MISMATCHED),
    ],
)
def test_a_candidate_may_be_a_plain_function_of_what_can_be_iterated(
    candidate: Any, outcome: Outcome
) -> None:
    """What can't be is what it raised."""
    assert judged(gives(1, 2), candidate).outcome is outcome


def test_ignore_rules_see_the_items_that_differ() -> None:
    """What they ignore ends no comparison: a later difference is found."""
    seen: list[tuple[Any, Any]] = []

    def is_small(control: Any, candidate: Any) -> bool:
        seen.append((control.value, candidate.value))
        return candidate.value < 10  # type: ignore[no-any-return]

    ignored = judged(gives(1, 2, 3), gives(1, 5, 6), ignore=is_small)
    assert ignored.outcome is Outcome.IGNORED
    assert told(ignored) == [("$[1]", "changed", 2, 5)]
    assert seen == [(2, 5), (3, 6)]
    found = judged(gives(1, 2, 3), gives(1, 5, 60), ignore=is_small)
    assert told(found) == [("$[2]", "changed", 3, 60)]
    assert found.outcome is Outcome.MISMATCHED


def test_a_comparator_that_fails_leaves_it_undecided_and_is_asked_no_more() -> None:
    """It is reported once."""
    failures: list[str] = []

    def fail(a: int, b: int) -> bool:
        raise ZeroDivisionError

    comparison = judged(
        gives(1, 2, 3),
        gives(1, 2, 3),
        compare=fail,
        on_failure=lambda *told: failures.append(told[0]),
    )
    assert (comparison.outcome, failures) == (Outcome.INCONCLUSIVE, ["compare"])
    assert comparison.candidate.value.items == 3


def test_items_that_would_be_used_up_by_comparing_are_not() -> None:
    """The caller gets them unread."""
    function, results = watched(gives(iter([1, 2])), gives(iter([1, 2])))
    [item] = function()
    assert list(item) == [1, 2]
    assert results[0].comparisons[0].outcome is Outcome.INCONCLUSIVE


def test_a_candidate_runs_in_a_context_of_its_own() -> None:
    """The same one in all steps; the control, as any generator, in the caller's."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
    seen: list[Any] = []

    def control() -> Iterator[int]:
        seen.append(("control", variable.get(), in_candidate()))
        yield 1
        seen.append(("control", variable.get(), in_candidate()))

    def candidate() -> Iterator[int]:
        token = variable.set("the candidate's")
        yield 1
        seen.append(("candidate", variable.get(), in_candidate()))
        variable.reset(token)

    function, results = watched(control, candidate, order="control-last")
    variable.set("first")
    generator = function()
    next(generator)
    variable.set("second")
    assert list(generator) == []
    assert seen == [
        ("control", "first", False),
        ("candidate", "the candidate's", True),
        ("control", "second", False),
    ]
    assert results[0].matched


def test_a_recursive_generator_is_one_experiment() -> None:
    """What the control calls of itself is the control's own generator, so is the candidate's."""
    calls: list[str] = []

    def new(tree: Any) -> Iterator[int]:
        calls.append("new")
        yield tree[0]
        for branch in tree[1:]:
            yield from walk(branch)

    @experiment("streams.tree", candidate=new, publishers=(lambda result: results.append(result),))
    def walk(tree: Any) -> Iterator[int]:
        calls.append("old")
        yield tree[0]
        for branch in tree[1:]:
            yield from walk(branch)

    results: list[Result] = []
    before = (
        twinrun.tallies()["streams.tree"].skipped if "streams.tree" in twinrun.tallies() else {}
    )
    assert list(walk([1, [2, [3]], [4]])) == [1, 2, 3, 4]
    assert calls.count("new") == 1
    assert calls.count("old") == 4 + 3
    assert [result.matched for result in results] == [True]
    tally = twinrun.tallies()["streams.tree"]
    assert tally.skipped["reentry"] - before.get("reentry", 0) == 6


def test_it_works_inside_a_class_and_is_delegated_to() -> None:
    """`self` is shared; `yield from` gives the return value."""

    class Shelf:
        def __init__(self, books: list[str]) -> None:
            self.books = books

        def _titles_v2(self, prefix: str) -> Iterator[str]:
            return (book for book in self.books if book.startswith(prefix))

        @experiment("streams.shelf", candidate=_titles_v2, publishers=())
        def titles(self, prefix: str) -> Generator[str, None, int]:
            found = 0
            for book in self.books:
                if book.startswith(prefix):
                    found += 1
                    yield book
            return found

        def __iter__(self) -> Generator[Any, None, None]:
            yield (yield from self.titles("a"))

    assert list(Shelf(["ab", "b", "ac"])) == ["ab", "ac", 2]


def test_a_run_counts_once_when_it_is_over() -> None:
    """Not when it begins, and once for a generator that is closed again and again."""
    function = experiment("streams.counted", candidate=gives(1, 2), publishers=())(gives(1, 2))

    def experiments() -> int:
        tally = twinrun.tallies().get("streams.counted")
        return 0 if tally is None else tally.experiments

    before = experiments()
    generator = function()
    next(generator)
    assert experiments() == before
    generator.close()
    generator.close()
    assert list(generator) == []
    assert experiments() == before + 1


def test_the_consumers_time_is_not_the_behaviours() -> None:
    """What passes between two steps is nobody's duration."""
    function, results = watched(gives(1, 2), gives(1, 2))
    released = threading.Event()
    for _ in function():
        released.wait(0.05)
    [result] = results
    assert 0 < result.control.duration < 0.05
    assert 0 < result.candidates[0].duration < 0.05


def test_a_candidate_that_takes_too_long_is_driven_no_further() -> None:
    """It is judged timed out, and the control goes on alone."""
    gave: list[int] = []

    def slow() -> Iterator[int]:
        for item in (1, 2, 3):
            threading.Event().wait(0.02)
            gave.append(item)
            yield item

    comparison = judged(gives(1, 2, 3), slow, timeout=0.01)
    assert comparison.outcome is Outcome.TIMED_OUT
    assert gave == [1]


@pytest.mark.parametrize("order", ORDERS)
def test_what_is_aimed_at_the_caller_reaches_it_through_the_control(order: str) -> None:
    """The control cleans up, as if it had been hit itself; the run counts as interrupted."""
    happened: list[str] = []

    def control() -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            happened.append("cleaned up")

    def candidate() -> Iterator[int]:
        yield 1
        raise KeyboardInterrupt

    function = experiment("streams.hit", candidate=candidate, order=order, publishers=())(control)
    before = skipped("streams.hit", "interrupted")
    generator = function()
    next(generator)
    with pytest.raises(KeyboardInterrupt):
        next(generator)
    assert happened == ["cleaned up"]
    assert list(generator) == []
    assert skipped("streams.hit", "interrupted") == before + 1


def skipped(name: str, reason: str) -> int:
    """How many runs were skipped for a reason."""
    tally = twinrun.tallies().get(name)
    return 0 if tally is None else tally.skipped.get(reason, 0)


def test_every_step_may_be_on_another_thread() -> None:
    """As web servers do it."""
    function, results = watched(gives(1, 2, 3), gives(1, 2, 3))
    generator = function()
    items: list[int] = []
    for _ in range(4):
        thread = threading.Thread(target=lambda: items.extend(itertools.islice(generator, 1)))
        thread.start()
        thread.join()
    assert items == [1, 2, 3]
    assert results[0].matched


def test_a_baseline_is_a_stream_too() -> None:
    """The control is run once more, in step with itself."""
    counter = itertools.count()

    def control() -> Iterator[int]:
        yield next(counter)

    function, results = watched(control, None, baseline=1.0)
    list(function())
    [comparison] = results[0].comparisons
    assert comparison.candidate.name == "baseline"
    assert told(comparison)[0][0] == "$[0]"


def test_several_candidates_are_driven_each_on_its_own() -> None:
    """One that fails early keeps no other one from its end."""
    results: list[Result] = []
    function = experiment(
        "streams",
        candidates={
            "bad": gives(7, error=KeyError(1)),
            "good": gives(1, 2),
            "long": gives(1, 2, 3),
        },
        publishers=(results.append,),
    )(gives(1, 2))
    assert list(function()) == [1, 2]
    outcomes = [
        (c.candidate.name, c.outcome, c.candidate.value.items) for c in results[0].comparisons
    ]
    assert outcomes == [
        ("bad", Outcome.MISMATCHED, 1),
        ("good", Outcome.MATCHED, 2),
        ("long", Outcome.MISMATCHED, 3),
    ]


def test_a_mismatch_raises_at_the_end_where_that_is_asked_for() -> None:
    """In place of the end, at the close too; a generator that is dropped has nobody to tell."""
    function = experiment("streams", candidate=gives(1, 3), raise_on_mismatch=True, publishers=())(
        gives(1, 2, 3)
    )
    generator = function()
    assert [next(generator), next(generator), next(generator)] == [1, 2, 3]
    with pytest.raises(MismatchError):
        next(generator)
    generator = function()
    assert list(itertools.islice(generator, 2)) == [1, 2]
    with pytest.raises(MismatchError):
        generator.close()
    generator = function()
    assert list(itertools.islice(generator, 2)) == [1, 2]
    del generator


def test_a_control_that_goes_on_when_it_is_closed_goes_on() -> None:
    """Its experiment is over then."""

    def stubborn() -> Generator[int, None, None]:
        try:
            yield 1
        except GeneratorExit:
            yield 2
        yield 3

    function, results = watched(stubborn, stubborn)
    generator = function()
    next(generator)
    with pytest.raises(RuntimeError, match="generator ignored GeneratorExit"):
        generator.close()
    assert list(generator) == [3]
    assert len(results) == 1


def test_a_control_that_ignores_every_end_is_complained_of_once() -> None:
    """When it is dropped, as undecorated; not once more for what stands around it."""

    def stubborn() -> Generator[int, None, None]:
        while True:
            try:
                yield 1
            except GeneratorExit:
                closed.append(True)

    closed: list[bool] = []
    complaints: list[Any] = []
    function, results = watched(stubborn, stubborn)
    before, sys.unraisablehook = sys.unraisablehook, complaints.append
    try:
        generator = function()
        next(generator)
        with pytest.raises(RuntimeError):
            generator.close()
        by_both = len(closed)
        del generator
    finally:
        sys.unraisablehook = before
    assert [type(each.exc_value) for each in complaints] == [RuntimeError]
    assert len(closed) == by_both + 1
    assert len(results) == 1


def test_a_finalizer_in_the_middle_of_a_callback_publishes_nothing() -> None:
    """The callback may hold a lock that publishing would wait for; the run counts as skipped."""
    lock = threading.Lock()
    results: list[Result] = []

    def publish(result: Result) -> None:
        assert lock.acquire(timeout=10)
        try:
            results.append(result)
            held.clear()  # the last reference to the other stream
        finally:
            lock.release()

    function = experiment("streams.final", candidate=gives(1, 2), publishers=(publish,))(
        gives(1, 2)
    )
    held = [function()]
    next(held[0])
    before = skipped("streams.final", "finalised")
    assert list(function()) == [1, 2]
    assert len(results) == 1
    assert skipped("streams.final", "finalised") == before + 1


def test_memory_does_not_grow_with_the_stream() -> None:
    """After 4,000 items that all differ, no more is kept than after 400."""

    def items(count: int, extra: int) -> Iterator[dict[str, Any]]:
        for number in range(count):
            yield {"number": number, "text": f"{number:0100}", "extra": extra}

    function = experiment(
        "streams.long",
        candidate=lambda count, extra: items(count, 1),
        ignore=lambda a, b: True,
        publishers=(),
    )(items)

    def peak(count: int) -> int:
        tracemalloc.start()
        for _ in function(count, 0):
            pass
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(400)
    assert peak(4_000) < peak(400) + 20_000


def test_what_the_caller_is_done_with_is_let_go() -> None:
    """A suspended stream holds no item that the control doesn't hold itself."""

    class Item:
        def __init__(self) -> None:
            alive.append(self)

        def __eq__(self, other: object) -> bool:
            return True

    alive: list[Any] = []

    def control() -> Iterator[Item]:
        yield Item()
        yield Item()

    function, _ = watched(control, control)
    generator = function()
    item = next(generator)
    dead = [weakref.ref(each) for each in alive]
    alive.clear()
    del item
    assert [each() for each in dead] == [None, None]
    generator.close()


PROGRAM = """
import gc, sys
import twinrun

def candidate():
    try:
        yield from range(9)
    finally:
        print("closed")

@twinrun.experiment("noise", candidate=candidate, publishers=(lambda r: print(r.matched),))
def control():
    yield from range(9)

for item in control():
    break
generator = control()
next(generator)
cycle = [generator]
cycle.append(cycle)
del generator, cycle
gc.collect()
never_begun = control()
alive = control()
next(alive)
class Holder: pass
holder = Holder()
holder.me = holder
holder.generator = control()
next(holder.generator)
print("end")
"""


def test_streams_that_are_dropped_make_no_noise() -> None:
    """By the last reference, by the collector, and at the exit, in development mode."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    lines = done.stdout.split()
    assert done.stderr == ""
    assert lines[: lines.index("end")] == ["closed", "True"] * 2

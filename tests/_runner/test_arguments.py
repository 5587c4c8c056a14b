"""What both sides did to their arguments is compared, where that is asked for."""

from __future__ import annotations

import asyncio
import copy
import functools
import itertools
import json
import pickle
import threading
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import twinrun
from strategies import documents
from twinrun import ConfigurationError, Experiment, Outcome, Result, experiment, recording, tallies
from twinrun.cleaners import payload
from twinrun.comparators import approx, both, by_field, equal, ignoring, only, unordered
from twinrun.comparators.structural import differences
from twinrun.difference import Difference, DifferenceKind
from twinrun.ignores import kind, path

MODES = ["inline", "concurrent", "background"]


def judged(run: Callable[[], Any]) -> twinrun.Comparison:
    """Give how the only candidate of the only run was judged, whatever the mode."""
    with recording() as results:
        run()
        assert twinrun.flush(30)
    [result] = results
    return result.comparisons[0]


def compared(
    control: Callable[..., Any], candidate: Callable[..., Any], *args: Any, **options: Any
) -> twinrun.Comparison:
    """Run an experiment on these arguments, and give how its candidate was judged."""
    options = {"compare_arguments": True, "publishers": (), **options}
    made = Experiment("arguments", control=control, candidate=candidate, **options)
    return judged(lambda: made(*args))


def places(comparison: twinrun.Comparison) -> list[tuple[str, str]]:
    """Give the paths and kinds of what differs."""
    return [(d.path, str(d.kind)) for d in comparison.differences]


def shown(found: tuple[Difference, ...]) -> list[tuple[Any, ...]]:
    """Give differences as values that can be compared, also if they hold NaN."""
    return [(d.path, d.kind, repr(d.control), repr(d.candidate)) for d in found]


# Edits: where to go, what to do there, and with what.
EDITS = st.lists(
    st.tuples(st.lists(st.integers(0, 3), max_size=3), st.sampled_from("asdr"), st.integers(-2, 2)),
    max_size=4,
)


def edited(edits: list[Any], *values: Any) -> None:
    """Change values in place."""
    for steps, action, value in edits:
        inside: Any = values[steps[0] % len(values)] if steps else values[0]
        for step in steps[1:]:
            parts = list(inside.values() if type(inside) is dict else inside)
            inner = parts[step % len(parts)] if parts else None
            inside = inner if type(inner) in (list, dict) else inside
        if type(inside) is dict:
            _edit_dict(inside, action, value)
        else:
            _edit_list(inside, action, value)


def _edit_dict(inside: dict[Any, Any], action: str, value: int) -> None:
    if action == "d":
        inside.clear()
    else:
        inside["edited" if action == "a" else next(iter(inside), "s")] = value


def _edit_list(inside: list[Any], action: str, value: int) -> None:
    if action == "a" or not inside:
        inside.insert(0, value)
    elif action == "s":
        inside[-1] = value
    elif action == "d":
        del inside[0]
    else:
        inside.reverse()


CONTAINERS = documents().filter(lambda value: type(value) in (list, dict))


@given(CONTAINERS, CONTAINERS, EDITS, EDITS, st.sampled_from(MODES))
def test_arguments_differ_as_what_was_done_to_them_does(
    cart: Any, order: Any, ours: Any, theirs: Any, mode: str
) -> None:
    """The same edits match; others give their structural diff; the caller sees the control's."""
    expected = copy.deepcopy({"cart": cart, "order": order})
    other = copy.deepcopy(expected)
    edited(ours, *expected.values())
    edited(theirs, *other.values())

    def control(cart: Any, order: Any) -> None:
        edited(ours, cart, order)

    def candidate(cart: Any, order: Any) -> None:
        edited(theirs, cart, order)

    made = compared(control, candidate, cart, order, mode=mode)
    assert repr({"cart": cart, "order": order}) == repr(expected)
    found = differences(expected, other, root="$args")
    assert shown(made.differences) == shown(found)
    assert made.outcome is (Outcome.MISMATCHED if found else Outcome.MATCHED)


@given(CONTAINERS, EDITS, st.sampled_from(MODES))
def test_the_same_edits_match(cart: Any, edits: Any, mode: str) -> None:
    """Whatever they are, and wherever they are made."""
    made = compared(
        lambda cart: edited(edits, cart), lambda cart: edited(edits, cart), cart, mode=mode
    )
    assert made.outcome is Outcome.MATCHED
    assert made.differences == ()


def add(cart: dict[str, Any], *more: Any, quantity: int = 1, **tags: Any) -> None:
    """Add to what is given."""
    cart["items"].append(quantity)


def add_twice(cart: dict[str, Any], *more: Any, quantity: int = 1, **tags: Any) -> None:
    """Add to all that is given."""
    cart["items"] += [quantity, quantity]
    for each in (*more, *tags.values()):
        each.append(quantity)


def test_parameters_are_named_as_the_control_names_them() -> None:
    """What has no name of its own is named by its position, or by its keyword."""
    made = Experiment(
        "arguments", control=add, candidate=add_twice, compare_arguments=True, publishers=()
    )
    found = judged(lambda: made({"items": []}, [], [], quantity=2, tags=[], sizes=[]))
    assert places(found) == [
        ("$args.cart.items[1]", "added"),
        ("$args[1][0]", "added"),
        ("$args[2][0]", "added"),
        ("$args.tags[0]", "added"),
        ("$args.sizes[0]", "added"),
    ]


class Adder:
    """Adds to a list, by calling it."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __call__(self, numbers: list[int]) -> None:
        """Add to a list."""
        numbers.append(self.value)

    def method(self, numbers: list[int]) -> None:
        """Add to a list, by a method."""
        numbers.append(self.value)


@functools.wraps(add)
def wrapped(*args: Any, **kwargs: Any) -> None:
    """Add, from inside another function."""
    add(*args, **kwargs)


class Untellable:
    """Is called, and does not tell by which parameters."""

    @property
    def __signature__(self) -> Any:
        raise RuntimeError("no signature")

    def __call__(self, *args: Any) -> None:
        """Add to the first argument."""
        args[0].append(0)


@pytest.mark.parametrize(
    ("control", "candidate", "argument", "expected"),
    [
        (Adder(1), Adder(2), [], "$args.numbers[0]"),
        (Adder(1).method, Adder(2).method, [], "$args.numbers[0]"),
        (functools.partial(add, quantity=3), add_twice, {"items": []}, "$args.cart.items[0]"),
        (wrapped, functools.partial(add, quantity=4), {"items": []}, "$args.cart.items[0]"),
        (list.reverse, list.clear, [1], "$args.self[0]"),
        (Untellable(), Adder(1), [], "$args[0][0]"),
    ],
)
def test_names_are_found_for_every_kind_of_callable(
    control: Any, candidate: Any, argument: Any, expected: str
) -> None:
    """Where a callable has no signature, positions stand for them."""
    assert places(compared(control, candidate, argument))[0][0] == expected


def test_self_is_shared_and_not_compared() -> None:
    """A method's own object is the same one on both sides."""

    class Cart:
        def __init__(self) -> None:
            self.items: list[int] = []

        def add_v2(self, found: list[int]) -> None:
            found.append(2)

        @experiment("arguments.method", candidate=add_v2, compare_arguments=True, publishers=())
        def add(self, found: list[int]) -> None:
            self.items.append(1)
            found.append(1)

    cart = Cart()
    assert places(judged(lambda: cart.add([]))) == [("$args.found[0]", "changed")]
    assert cart.items == [1]


@pytest.mark.parametrize("mode", MODES)
def test_arguments_are_taken_before_the_caller_can_change_them(mode: str) -> None:
    """Off the caller's path the control's are copied right when it returned, at any depth."""
    release = threading.Event()

    def candidate(cart: dict[str, Any]) -> None:
        if mode != "inline":
            assert release.wait(30)
        cart["items"][0].append(1)

    made = Experiment(
        "arguments.late",
        control=lambda cart: cart["items"][0].append(1),
        candidate=candidate,
        compare_arguments=True,
        mode=mode,
        publishers=(),
    )
    cart: dict[str, Any] = {"items": [[]]}

    def run() -> None:
        made(cart)
        cart["items"][0].append("the caller's own")
        cart.clear()
        release.set()

    assert judged(run).outcome is Outcome.MATCHED


@pytest.mark.parametrize("mode", MODES)
def test_arguments_of_coroutine_functions_are_compared(run: Any, mode: str) -> None:
    """In the caller's task and in tasks of their own, and before the caller goes on."""

    async def control(numbers: list[int]) -> None:
        await asyncio.sleep(0)
        numbers.append(1)

    async def candidate(numbers: list[int]) -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        numbers.append(2)

    made = Experiment(
        "arguments.async",
        control=control,
        candidate=candidate,
        compare_arguments=True,
        mode=mode,
        publishers=(),
    )

    async def main() -> list[int]:
        numbers: list[int] = []
        await made(numbers)
        numbers.append(3)
        assert await twinrun.aflush(30)
        return numbers

    with recording() as results:
        assert run(main()) == [1, 3]
    [difference] = results[0].comparisons[0].differences
    assert (difference.path, difference.control, difference.candidate) == ("$args.numbers[0]", 1, 2)


@pytest.mark.parametrize("mode", MODES)
def test_arguments_are_compared_where_both_raised(mode: str) -> None:
    """The same exception after different changes is a mismatch of the changes alone."""

    def control(numbers: list[int]) -> None:
        numbers.append(1)
        raise ValueError("both")

    def candidate(numbers: list[int]) -> None:
        raise ValueError("both")

    made = Experiment(
        "arguments.raised",
        control=control,
        candidate=candidate,
        compare_arguments=True,
        mode=mode,
        publishers=(),
    )
    numbers: list[int] = []

    def run() -> None:
        with pytest.raises(ValueError, match="both"):
            made(numbers)

    assert places(judged(run)) == [("$args.numbers[0]", "removed")]
    assert numbers == [1]


def test_what_was_returned_comes_first() -> None:
    """Values and arguments may differ in one run; a callable that says no names them as a whole."""

    def no(control: Any, candidate: Any) -> bool:
        return False

    found = compared(lambda a: 1, lambda a: a.append(1), [], compare_arguments=no)
    assert places(found) == [("$", "type"), ("$args", "changed")]
    assert found.differences[1].candidate == {"a": [1]}


@pytest.mark.parametrize(
    ("compare", "expected"),
    [
        (True, ["$args.cart.total", "$args.cart.at"]),
        (approx(abs=0.1), ["$args.cart.at"]),
        (ignoring("$args.cart.at"), ["$args.cart.total"]),
        (ignoring("$args..at", "$.cart.total"), ["$args.cart.total"]),
        (only("$args.cart.at"), ["$args.cart.at"]),
        (by_field({"$args.cart.total": approx(abs=0.1)}), ["$args.cart.at"]),
        (both(ignoring("$args.cart.at"), equal), ["$args.cart.total", "$args.cart.at"]),
        (both(ignoring("$args.cart.at"), approx(abs=0.1)), ["$args.cart.total", "$args.cart.at"]),
        (lambda a, b: a["cart"]["items"] == b["cart"]["items"], []),
    ],
)
def test_a_comparator_may_be_given_for_arguments(compare: Any, expected: list[str]) -> None:
    """Its patterns begin with `$args`, so that a path of a report can be pasted."""

    def control(cart: dict[str, Any]) -> None:
        cart |= {"total": 1.0, "at": 1}

    def candidate(cart: dict[str, Any]) -> None:
        cart |= {"total": 1.05, "at": 2}

    found = compared(control, candidate, {"items": [1]}, compare_arguments=compare)
    assert sorted(d.path for d in found.differences) == sorted(expected)


def test_compare_is_of_what_was_returned_alone() -> None:
    """A comparator of the value says nothing of the arguments, nor the reverse."""
    found = compared(
        lambda numbers: 1, lambda numbers: numbers.append(1), [], compare=lambda a, b: True
    )
    assert places(found) == [("$args.numbers[0]", "added")]
    found = compared(lambda numbers: 1.0, lambda numbers: 1.05, [], compare_arguments=approx(abs=1))
    assert places(found) == [("$", "changed")]


class Reporting:
    """A comparator of a user's own that tells what differs."""

    def __call__(self, control: Any, candidate: Any) -> bool:
        """Say no."""
        return False

    def differences(self, control: Any, candidate: Any) -> list[Difference]:
        """Tell of one place."""
        return [Difference("$.numbers", DifferenceKind.CHANGED)]


def test_paths_of_other_comparators_are_put_among_the_arguments() -> None:
    """They know of no root but `$`."""
    found = compared(lambda numbers: 1, lambda numbers: 1, [], compare_arguments=Reporting())
    assert places(found) == [("$args.numbers", "changed")]


def test_ignore_rules_are_asked_about_arguments() -> None:
    """By path, by kind, and as callables of the observations, which have the arguments."""
    sides = lambda cart: cart.update(at=1), lambda cart: cart.update(at=2)
    for rule in (
        path("$args.cart.at"),
        path("$args"),
        kind("changed"),
        lambda a, b: a.arguments["cart"].keys() == b.arguments["cart"].keys(),
    ):
        found = compared(*sides, {}, ignore=rule)
        assert found.outcome is Outcome.IGNORED, rule
    assert compared(*sides, {}, ignore=path("$")).outcome is Outcome.MISMATCHED


def test_groups_are_told_apart_by_what_changed() -> None:
    """The same place is one group, whatever the index; another place is another one."""

    def appending(name: str, at: int) -> Callable[..., None]:
        return lambda cart: cart[name].insert(at, 9)

    def group(name: str, at: int) -> str | None:
        cart = {"items": [1, 2], "codes": [1, 2]}
        return compared(lambda cart: None, appending(name, at), cart).fingerprint

    assert group("items", 0) == group("items", 2) != group("codes", 0)


@attrs.define
class Cart:
    """An object that a candidate may change, as it is no built-in container."""

    items: list[int] = attrs.field(factory=list)


def test_objects_are_shared_unless_they_are_copied_deeply() -> None:
    """What both sides changed at the same object can't differ."""

    def candidate(cart: Cart) -> None:
        cart.items.append(2)

    def control(cart: Cart) -> None:
        cart.items.append(1)

    assert compared(control, candidate, Cart()).outcome is Outcome.MATCHED
    for mode, isolate in itertools.product(MODES, ["deepcopy", copy.deepcopy]):
        found = compared(control, candidate, Cart(), isolate=isolate, mode=mode)
        assert places(found) == [("$args.cart.items[0]", "changed")]


def test_deep_copies_are_compared_where_they_are_allowed() -> None:
    """By `isolate="deepcopy"`, what is a container may hold what is none."""

    def control(carts: list[Cart]) -> None:
        carts[0].items.append(1)

    def candidate(carts: list[Cart]) -> None:
        carts[0].items.append(2)

    for mode in MODES:
        found = compared(control, candidate, [Cart()], isolate="deepcopy", mode=mode)
        assert places(found) == [("$args.carts[0].items[0]", "changed")]


@pytest.mark.parametrize("mode", ["concurrent", "background"])
def test_arguments_that_can_no_longer_be_copied_are_not_judged(mode: str) -> None:
    """The control has put an iterator among them, which is for the caller alone."""
    numbers: list[Any] = []
    found = compared(lambda n: n.append(iter([1])), lambda n: None, numbers, mode=mode)
    assert (found.outcome, found.reason) == (Outcome.INCONCLUSIVE, "isolate")
    assert next(numbers[0]) == 1


class Unequal:
    """A value that can't be compared."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no")

    __hash__ = None  # type: ignore[assignment]


def test_a_comparison_of_arguments_that_fails_is_inconclusive() -> None:
    """It is counted under the option's name."""
    failures: list[str] = []

    def fails(control: Any, candidate: Any) -> bool:
        raise RuntimeError("no")

    for compare in (fails, True):
        found = compared(
            lambda n: n.append(Unequal()),
            lambda n: n.append(Unequal()),
            [],
            compare_arguments=compare,
            on_failure=lambda operation, error, name: failures.append(operation),
        )
        assert found.outcome is Outcome.INCONCLUSIVE
        assert found.reason == "compare_arguments raised RuntimeError"
    assert failures == ["compare_arguments"] * 2


def test_a_candidate_that_takes_too_long_is_not_compared() -> None:
    """It may still be changing them."""
    found = compared(lambda n: None, lambda n: n.append(1), [], timeout=1e-9)
    assert found.outcome is Outcome.TIMED_OUT
    assert found.candidate.arguments is None


def test_the_baseline_is_compared_too() -> None:
    """A control that doesn't do the same to its arguments each time differs from itself."""
    made = Experiment(
        "arguments.baseline",
        control=lambda n: n.append(object()),
        compare_arguments=True,
        baseline=1.0,
        publishers=(),
    )
    assert places(judged(lambda: made([]))) == [("$args.n[0]", "changed")]


def test_a_mismatch_raises_and_says_where() -> None:
    """In tests, the text of the error shows the places."""
    made = Experiment(
        "arguments.raising",
        control=lambda numbers: numbers.append(1),
        candidate=lambda numbers: numbers.append(2),
        compare_arguments=True,
        raise_on_mismatch=True,
        publishers=(),
    )
    with pytest.raises(twinrun.MismatchError, match=r"\$args\.numbers\[0\] changed: 1 -> 2"):
        made([])


def written(run: Callable[[], Any]) -> list[dict[str, Any]]:
    """Give what a sink writes of the differences of a run."""
    with recording() as results:
        run()
    return payload(results[0])["candidates"][0]["differences"]  # type: ignore[no-any-return]


def login(user: str, password: list[str], api_key: dict[str, str]) -> None:
    """Change secrets."""
    password[0], api_key["value"] = "hunter2", "hunter3"


def login_v2(user: str, password: list[str], api_key: dict[str, str]) -> None:
    """Change them otherwise."""
    password[0], api_key["value"] = "hunter4", "hunter5"


def test_secrets_are_known_by_the_names_of_parameters() -> None:
    """What a secret parameter holds leaves in no form."""
    made = Experiment(
        "arguments.secret",
        control=login,
        candidate=login_v2,
        compare_arguments=True,
        publishers=(),
    )
    found = written(lambda: made("ann", ["hunter0"], {"value": "hunter1"}))
    assert [d["path"] for d in found] == ["$args.password[0]", "$args.api_key.value"]
    assert "hunter" not in json.dumps(found)


def test_what_an_argument_names_as_secret_is_found_in_others() -> None:
    """A secret parameter, or a key inside of an argument: put into a list that has no such name."""

    def control(api_key: str, config: dict[str, str], asked: list[str]) -> None:
        asked.append(f"GET /?key={api_key}&as={config['token']}")

    def candidate(api_key: str, config: dict[str, str], asked: list[str]) -> None:
        asked += [api_key, config["token"]]

    made = Experiment(
        "arguments.passed on",
        control=control,
        candidate=candidate,
        compare_arguments=True,
        publishers=(),
    )
    found = written(lambda: made("zebra crossing", {"token": "giraffe neck"}, []))
    assert [d["path"] for d in found] == ["$args.asked[0]", "$args.asked[1]"]
    assert "zebra" not in json.dumps(found)
    assert "giraffe" not in json.dumps(found)


def test_capture_keeps_parameters_names_and_no_data() -> None:
    """Keys of the data are hidden, what the program calls its parameters is not."""

    def candidate(carts: dict[str, Any], **more: Any) -> None:
        carts["ann@example.com"]["total"] = 2
        more["size"].append(1)
        more["bob@example.com"].append(1)

    made = Experiment(
        "arguments.capture",
        control=lambda carts, **more: None,
        candidate=candidate,
        compare_arguments=True,
        capture="nothing",
        publishers=(),
    )
    carts = {"ann@example.com": {"total": 1}}
    odd: dict[str, Any] = {"bob@example.com": []}
    found = written(lambda: made(carts, size=[], **odd))
    assert [d["path"] for d in found] == ["$args.carts[*][*]", "$args.size[0]", "$args[*][0]"]
    assert "example" not in json.dumps(found)


def test_clean_gets_each_argument() -> None:
    """What it leaves out is withheld, what it gives is shown; where it fails, nothing is."""

    def candidate(cart: dict[str, Any], numbers: list[int]) -> None:
        cart |= {"total": 2, "card": "b"}
        numbers.append(1)

    def differences_with(clean: Callable[[Any], Any]) -> list[dict[str, Any]]:
        made = Experiment(
            "arguments.clean",
            control=lambda cart, numbers: None,
            candidate=candidate,
            compare_arguments=True,
            clean=clean,
            publishers=(),
            on_failure=lambda *_: None,
        )
        return written(lambda: made({"total": 1, "card": "a"}, []))

    def without_card(value: Any) -> Any:
        return {"total": value["total"]} if type(value) is dict else value

    withheld = {"$withheld": "clean"}
    assert differences_with(without_card) == [
        {"path": "$args.cart.total", "kind": "changed", "control": 1, "candidate": 2},
        {"path": "$args.cart[*]", "kind": "changed", "control": withheld, "candidate": withheld},
        {"path": "$args.numbers[0]", "kind": "added", "candidate": 1},
    ]
    failed = {"$withheld": "clean failed"}
    found = differences_with(lambda value: value["total"])
    assert [d.get("candidate") for d in found] == [failed] * 3


def test_a_result_with_arguments_pickles() -> None:
    """What can't be pickled among them is replaced, as values are."""
    with recording() as results:
        experiment("arguments.pickled", candidate=add_twice, compare_arguments=True, publishers=())(
            add
        )({"items": [], "lock": threading.Lock()})
    again: Result = pickle.loads(pickle.dumps(results[0]))
    assert again.control.arguments is not None
    assert again.comparisons[0].differences[0].path == "$args.cart.items[1]"


@pytest.mark.parametrize("value", [1, "yes", None, [equal]])
def test_what_is_no_comparator_is_refused(value: Any) -> None:
    """When the experiment is made."""
    with pytest.raises(ConfigurationError, match="compare_arguments must be a bool, or a compar"):
        Experiment("arguments", compare_arguments=value)


def test_it_is_refused_where_there_is_nothing_to_compare() -> None:
    """With shared arguments, for generators, and where behaviours get none."""
    with pytest.raises(ConfigurationError, match="isolate='share'"):
        Experiment("arguments", compare_arguments=True, isolate="share")

    def numbers(given: list[int]) -> Any:
        yield from given

    with pytest.raises(ConfigurationError, match="is a generator function, whose arguments may"):
        Experiment("arguments", control=numbers, candidate=numbers, compare_arguments=True)
    made = Experiment("arguments", compare_arguments=True)
    with pytest.raises(ConfigurationError, match="can't compare arguments here"):
        made.run(control=lambda: 1, candidate=lambda: 2)


def test_without_it_no_arguments_are_kept() -> None:
    """Nothing is named, and the candidate's changes are nobody's business."""
    for said in ({}, {"compare_arguments": False}):
        made = Experiment("arguments.off", control=add, candidate=add_twice, publishers=(), **said)
        with recording() as results:
            made({"items": []})
        assert results[0].control.arguments is None
        assert results[0].matched


def test_order_may_not_count() -> None:
    """Where a control fills a list in any order."""
    found = compared(
        lambda n: n.extend([1, 2]),
        lambda n: n.extend([2, 1]),
        [],
        compare_arguments=unordered(at="$args.n"),
    )
    assert found.outcome is Outcome.MATCHED
    assert tallies()["arguments"].runs > 0

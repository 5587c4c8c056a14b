"""Rules say which differences are known and wanted, and what they leave is a mismatch."""

from __future__ import annotations

import datetime
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import twinrun
from twinrun import ConfigurationError, Experiment, Observation, Outcome
from twinrun._runner import ignoring
from twinrun.comparators import equal
from twinrun.difference import Difference, DifferenceKind, Differences
from twinrun.ignores import Rule, kind, name_of, path, raised, rule, when
from twinrun.result import Comparison

UTC = datetime.UTC
NOW = datetime.datetime(2026, 6, 15, 12, tzinfo=UTC)
PAST, FUTURE = datetime.date(2000, 1, 1), datetime.date(9999, 12, 30)


def seen(value: Any = None, error: BaseException | None = None) -> Observation:
    """An observation of a value or an exception."""
    return Observation(name="x", value=value, exception=error, duration_ns=1)


def covers(
    asked: Rule,
    at: str = "$",
    of: str = "changed",
    control: Observation | None = None,
    candidate: Observation | None = None,
    context: Mapping[str, Any] | None = None,
    now: datetime.datetime = NOW,
) -> bool:
    """Whether a rule covers one difference."""
    difference = Difference(at, DifferenceKind(of))
    return asked.covers(difference, control or seen(1), candidate or seen(2), context or {}, now)


def judged(control: Any, candidate: Any, *rules: Any, **options: Any) -> Comparison:
    """Judge a candidate by these rules; exceptions are raised, all else is returned."""
    name = options.pop("name", "ignores.judged")

    def does(what: Any) -> Callable[[], Any]:
        def behaviour() -> Any:
            if isinstance(what, BaseException):
                raise what
            return what

        return behaviour

    recipe = Experiment(name, ignore=rules, publishers=(), **options)
    result = recipe.observe(
        control=does(control), candidate=does(candidate), context={"land": "DE"}
    )
    return result.comparisons[0]


def places(differences: tuple[Difference, ...]) -> list[str]:
    """The paths of differences."""
    return [each.path for each in differences]


# What a rule covers ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "at", "covered"),
    [
        (path("$.a"), "$.a", True),
        (path("$.a"), "$.a.b[3]", True),
        (path("$.a"), "$.ab", False),
        (path("$.a"), "$", False),
        (path("$.items[*].price"), "$.items[3].price", True),
        (path("$..at", "$.b"), "$.x[2].at", True),
        (path("$..at", "$.b"), "$.b", True),
        (path("$"), "$.anything", True),
    ],
)
def test_a_path_covers_its_place_and_what_is_inside(asked: Rule, at: str, covered: bool) -> None:
    """What is around it, or beside it, counts."""
    assert covers(asked, at) is covered


def test_kinds_are_told_by_name_or_member() -> None:
    """Several may be given."""
    asked = kind("added", DifferenceKind.REMOVED)
    assert [each.value for each in DifferenceKind if covers(asked, of=each)] == ["added", "removed"]


@pytest.mark.parametrize(
    ("by", "control", "candidate", "covered"),
    [
        ("candidate", None, KeyError(), True),
        ("candidate", KeyError(), None, False),
        ("candidate", ValueError(), IndexError(), True),
        ("candidate", None, ValueError(), False),
        ("control", KeyError(), None, True),
        ("control", None, KeyError(), False),
        ("both", KeyError(), IndexError(), True),
        ("both", KeyError(), ValueError(), False),
        ("both", None, KeyError(), False),
    ],
)
def test_it_is_told_who_raised(by: Any, control: Any, candidate: Any, covered: bool) -> None:
    """The candidate, unless said otherwise; derived types are of the type."""
    asked = raised(LookupError, by=by)
    assert covers(asked, control=seen(error=control), candidate=seen(error=candidate)) is covered


def test_several_types_may_be_raised() -> None:
    """Any of them will do."""
    asked = raised(KeyError, ZeroDivisionError)
    assert covers(asked, candidate=seen(error=ZeroDivisionError()))
    assert not covers(asked, candidate=seen(error=TypeError()))


def test_a_predicate_gets_the_runs_context() -> None:
    """It says for which runs a rule holds."""
    asked = when(lambda context: context.get("land") == "DE")
    assert covers(asked, context={"land": "DE"})
    assert not covers(asked, context={"land": "FR"})
    assert judged({"a": 1}, {"a": 2}, asked).outcome is Outcome.IGNORED
    assert judged({"a": 1}, {"a": 2}, ~asked).outcome is Outcome.MISMATCHED


def test_a_callable_of_two_observations_makes_a_rule() -> None:
    """So it can be given a reason, and be composed."""
    asked = rule(lambda control, candidate: candidate.value > control.value, reason="rounded up")
    assert covers(asked)
    assert not covers(asked, control=seen(3))
    assert asked.reason == "rounded up"


# Composition -------------------------------------------------------------------------------------


YES, NO = when(lambda context: True), when(lambda context: False)
ENDED = when(lambda context: True, until=PAST)
KLEENE = {True: YES, False: NO, None: ENDED}


@given(
    st.recursive(
        st.sampled_from([True, False, None]),
        lambda inner: st.one_of(
            st.tuples(st.just("~"), inner), st.tuples(st.sampled_from("&|"), inner, inner)
        ),
    )
)
def test_composition_is_the_logic_of_three_values(formula: Any) -> None:
    """What has ended is unknown, so that neither a rule nor its opposite holds because of it."""

    def built(part: Any) -> Rule:
        if not isinstance(part, tuple):
            return KLEENE[part]
        inner = [built(each) for each in part[1:]]
        if part[0] == "~":
            return ~inner[0]
        return inner[0] & inner[1] if part[0] == "&" else inner[0] | inner[1]

    def rank(part: Any) -> float:
        if not isinstance(part, tuple):
            return 0.5 if part is None else float(part)
        inner = [rank(each) for each in part[1:]]
        return 1 - inner[0] if part[0] == "~" else min(inner) if part[0] == "&" else max(inner)

    assert covers(built(formula)) is (rank(formula) == 1)


def test_plain_callables_are_composed_on_either_side() -> None:
    """They are asked like rules of two observations."""

    def smaller(control: Observation, candidate: Observation) -> bool:
        return bool(control.value < candidate.value)

    for asked in (smaller & path("$.a"), path("$.a") & smaller):
        assert covers(asked, "$.a")
        assert not covers(asked, "$.b")
        assert not covers(asked, "$.a", control=seen(9))
    for asked in (smaller | path("$.a"), path("$.a") | smaller):
        assert covers(asked, "$.b")
        assert not covers(asked, "$.b", control=seen(9))


@pytest.mark.parametrize("word", [lambda a, b: a and b, lambda a, b: a or b, lambda a, b: not a])
def test_and_or_and_not_are_refused(word: Callable[[Any, Any], Any]) -> None:
    """They would silently keep one of two rules."""
    with pytest.raises(ConfigurationError, match=r"compose rules by &, \| and ~"):
        word(path("$.a"), path("$.b"))


# Reasons and ends --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("until", "last", "first"),
    [
        (datetime.date(2026, 6, 15), "2026-06-15T23:59:59", "2026-06-16T00:00:00"),
        (datetime.datetime(2026, 6, 15, 8, tzinfo=UTC), "2026-06-15T07:59:59", "2026-06-15T08:00"),
    ],
)
def test_a_rule_holds_until_the_end_of_its_last_day(
    until: datetime.date, last: str, first: str
) -> None:
    """In UTC; or up to a moment, where it was given one."""
    asked = path("$.a", until=until)
    before, after = (datetime.datetime.fromisoformat(t).replace(tzinfo=UTC) for t in (last, first))
    assert covers(asked, "$.a", now=before)
    assert asked.expired(before) == ()
    assert not covers(asked, "$.a", now=after)
    assert asked.expired(after) == (asked,)


def test_what_is_composed_may_be_given_an_end() -> None:
    """The ends of parts hold besides; all that have ended are named."""
    part = path("$.a", until=PAST)
    whole = rule(part | kind("added"), until=FUTURE)
    assert covers(whole, of="added")
    assert not covers(whole, "$.a")
    assert whole.expired(NOW) == (part,)
    assert not covers(rule(kind("added") | path("$.b"), until=PAST), of="added")


def test_an_end_is_said_once_and_the_rule_does_not_hold() -> None:
    """By the logger of the application; once for each experiment."""
    code = (
        "import datetime, logging\n"
        "logging.basicConfig(format='%(message)s')\n"
        "from twinrun import Experiment\n"
        "from twinrun.ignores import path\n"
        "old = path('$.a', reason='rounding', until=datetime.date(2001, 2, 3))\n"
        "for name in 'one', 'one', 'two':\n"
        "    e = Experiment(name, ignore=old, publishers=())\n"
        "    r = e.observe(control=lambda: {'a': 1}, candidate=lambda: {'a': 2})\n"
        "    print(r.comparisons[0].outcome)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["mismatched"] * 3
    said = done.stderr.strip().splitlines()
    assert [line.split()[:2] for line in said] == [
        ["ignore.expired", "experiment=one"],
        ["ignore.expired", "experiment=two"],
    ]
    assert "path('$.a'): rounding" in said[0]
    assert "2001-02-03" in said[0]


def test_what_was_said_is_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many experiments are made, and whatever their names."""
    said: list[str] = []
    monkeypatch.setattr("twinrun._logging.warn", lambda event, **keys: said.append(event))
    monkeypatch.setattr(ignoring, "_MANY_ENDED", 3)
    monkeypatch.setattr(ignoring, "_ended", remembered := set[tuple[str, str]]())
    for number in range(20):
        judged(1, 2, path("$", until=PAST), name=f"ignores.bounded.{number}")
        assert len(remembered) <= 4
    assert len(said) == 20


def test_a_log_that_fails_is_a_rule_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mismatch is found all the same."""

    def fail(event: str, **keys: Any) -> None:
        raise OSError("no log")

    monkeypatch.setattr("twinrun._logging.warn", fail)
    heard: list[str] = []
    found = judged(
        1,
        2,
        path("$", until=PAST),
        name="ignores.no_log",
        on_failure=lambda operation, *_: heard.append(operation),
    )
    assert (found.outcome, heard) == (Outcome.MISMATCHED, ["ignore"])


# Names -------------------------------------------------------------------------------------------


def known(control: Observation, candidate: Observation) -> bool:
    """A plain rule."""
    return True


class Known:
    """A plain rule that is an object, and must not be asked how it is shown."""

    def __call__(self, control: Observation, candidate: Observation) -> bool:
        """Say yes."""
        return True

    def __repr__(self) -> str:
        raise AssertionError("nobody asks")


DAY = datetime.date(2027, 1, 2)


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        (path("$.a", "$..b"), "path('$.a', '$..b')"),
        (path('$["odd key"]'), "path('$[\"odd key\"]')"),
        (kind("added", reason="new field"), "kind('added', reason='new field')"),
        (raised(KeyError), "raised(KeyError)"),
        (raised(KeyError, OSError, by="both"), "raised(KeyError, OSError, by='both')"),
        (when(known), "when(known)"),  # type: ignore[arg-type]
        (rule(known, until=DAY), "rule(known, until=datetime.date(2027, 1, 2))"),
        (rule(Known()), "rule(Known)"),
        (rule(partial(known)), "rule(known)"),
        (~path("$.a"), "~path('$.a')"),
        (path("$.a") & kind("added"), "path('$.a') & kind('added')"),
        (path("$.a") & kind("type") & known, "path('$.a') & kind('type') & rule(known)"),
        ((path("$.a") | kind("type")) & known, "(path('$.a') | kind('type')) & rule(known)"),
        (~(path("$.a") | kind("type")), "~(path('$.a') | kind('type'))"),
        (~~path("$.a"), "~~path('$.a')"),
        (rule(path("$.a") | known, reason="x"), "rule(path('$.a') | rule(known), reason='x')"),
    ],
)
def test_a_repr_is_the_call_that_made_it(asked: Rule, text: str) -> None:
    """Nothing of the callables in it is called for that."""
    assert repr(asked) == text


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        (path("$.a"), "path('$.a')"),
        (path("$.a", reason="rounding", until=DAY), "path('$.a'): rounding"),
        (known, "known"),
        (partial(known), "known"),
        (Known(), "Known"),
        ([].append, "list.append"),
        (path("$." + "a" * 300), "path('$." + "a" * 191 + "…"),
    ],
)
def test_a_rule_is_named_shortly_and_with_its_reason(asked: Any, name: str) -> None:
    """So that a report says why a difference is ignored."""
    assert name_of(asked) == name
    assert len(name) <= 200


# Wrong arguments ---------------------------------------------------------------------------------


async def awaited(*_: Any) -> bool:
    """Nobody would await this one."""
    return True


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: path(), "path() takes path patterns"),
        (lambda: path(3), "path() takes path patterns"),  # type: ignore[arg-type]
        (lambda: path("a"), "begins with \\$"),
        (lambda: kind(), "kind()"),
        (lambda: kind("gone"), "'changed', 'added', 'removed', 'type', 'raised'"),
        (lambda: kind(["added"]), "are accepted"),  # type: ignore[arg-type]
        (lambda: raised(), "types of exceptions"),
        (lambda: raised("KeyError"), "types of exceptions"),  # type: ignore[arg-type]
        (lambda: raised(int), "types of exceptions"),  # type: ignore[arg-type]
        (lambda: raised(KeyError, by="me"), "'candidate', 'control', 'both'"),  # type: ignore[arg-type]
        (lambda: when("DE"), "callable of the run's context"),  # type: ignore[arg-type]
        (lambda: when(awaited), "plain callable"),
        (lambda: rule(3), "a rule or a plain callable"),  # type: ignore[arg-type]
        (lambda: rule(awaited), "plain callable"),
        (lambda: path("$.a") & 3, "a rule or a plain callable"),  # type: ignore[operator]
        (lambda: 3 | path("$.a"), "a rule or a plain callable"),  # type: ignore[operator]
        (lambda: path("$.a", reason=""), "reason is a non-empty text"),
        (lambda: kind("added", reason=3), "reason is a non-empty text"),  # type: ignore[arg-type]
        (lambda: when(known, until="2027-01-01"), "until is a date"),  # type: ignore[arg-type]
        (lambda: path("$.a", until=datetime.datetime(2027, 1, 1)), "needs a zone"),
    ],
)
def test_wrong_arguments_are_told_at_once(make: Callable[[], object], said: str) -> None:
    """What was given, and what is accepted."""
    with pytest.raises(ConfigurationError, match=said.replace("(", r"\(").replace(")", r"\)")):
        make()


def test_a_rule_that_has_ended_can_still_be_made() -> None:
    """An application must not fail to start because a day has passed."""
    assert path("$.a", until=PAST).until == PAST


# What comes of it --------------------------------------------------------------------------------


CONTROL = {"a": 1, "b": 1, "c": 1}
CANDIDATE = {"a": 2, "b": 2, "c": 1, "d": 1}


def test_all_differences_may_be_covered_by_different_rules() -> None:
    """Then the outcome is ignored, and says by whom; rules that had no part are not named."""
    rules = path("$.a", reason="rounding"), path("$.c"), kind("added"), path("$.b"), known
    found = judged(CONTROL, CANDIDATE, *rules)
    assert found.outcome is Outcome.IGNORED
    assert found.ignored_by == ("path('$.a'): rounding", "kind('added')", "path('$.b')")
    assert found.reason == "ignored by path('$.a'): rounding; kind('added'); path('$.b')"
    assert places(found.differences) == places(found.ignored_differences) == ["$.a", "$.b", "$.d"]


def test_what_no_rule_covers_is_a_mismatch() -> None:
    """What was ignored stands beside it."""
    found = judged(CONTROL, CANDIDATE, path("$.a"), kind("added"))
    assert (found.outcome, found.reason) == (Outcome.MISMATCHED, None)
    assert places(found.differences) == ["$.b"]
    assert places(found.ignored_differences) == ["$.a", "$.d"]
    assert found.ignored_by == ("path('$.a')", "kind('added')")


def test_the_group_is_that_of_what_counts() -> None:
    """What is ignored besides makes no group of its own."""
    part = judged(CONTROL, CANDIDATE, path("$.a"), kind("added"), name="ignores.group")
    alone = judged({"b": 1}, {"b": 2}, name="ignores.group")
    assert part.fingerprint == alone.fingerprint
    assert alone.ignored_by == alone.ignored_differences == ()


def test_a_plain_callable_ignores_all_that_is_left() -> None:
    """It is asked once, where it stands in the order, and ends the asking."""
    asked: list[int] = []

    def plain(control: Observation, candidate: Observation) -> bool:
        asked.append(1)
        return True

    found = judged(CONTROL, CANDIDATE, path("$.a"), plain, path("$.b"))
    assert found.outcome is Outcome.IGNORED
    assert found.ignored_by == ("path('$.a')", name_of(plain))
    assert asked == [1]
    assert judged(CONTROL, {**CONTROL, "a": 2}, path("$.a"), plain).outcome is Outcome.IGNORED
    assert asked == [1]


def test_a_rule_of_the_run_is_asked_once() -> None:
    """However many differences there are, and if nothing in what is composed looks at them."""
    asked: list[int] = []
    whole = when(lambda context: bool(asked.append(1)))
    assert whole.whole
    assert (whole | raised(KeyError)).whole
    assert not (whole | path("$.a")).whole
    judged(list(range(50)), [-each - 1 for each in range(50)], whole | raised(KeyError))
    assert asked == [1]


@given(
    st.lists(st.sampled_from("abcdef"), unique=True, min_size=1),
    st.lists(st.sampled_from("abcdef"), unique=True),
)
def test_the_rest_is_what_the_rules_leave(differing: list[str], covered: list[str]) -> None:
    """In its order, whatever stands in how many rules."""
    control = dict.fromkeys("abcdef", 0)
    rules = [path(f"$.{name}") for name in covered]
    found = judged(control, {**control, **dict.fromkeys(differing, 1)}, *rules)
    rest = sorted({*differing} - {*covered})
    assert found.outcome is (Outcome.MISMATCHED if rest else Outcome.IGNORED)
    assert places(found.differences) == [f"$.{name}" for name in rest or sorted(differing)]
    assert {*places(found.ignored_differences)} == {
        f"$.{name}" for name in {*differing} & {*covered}
    }
    if rest:
        assert len(found.differences) + len(found.ignored_differences) == len(differing)


def test_a_failing_rule_says_no_and_the_later_ones_are_asked() -> None:
    """It is counted; what it had covered before it failed counts, too."""

    def fails(context: Mapping[str, Any]) -> bool:
        raise LookupError

    heard: list[tuple[str, type]] = []
    name = "ignores.failing"
    before = twinrun.tallies().get(name, twinrun.Tally()).failures.get("ignore", 0)
    found = judged(
        CONTROL,
        CANDIDATE,
        path("$.a") | when(fails),
        path("$.a"),
        rule(lambda a, b: 1 // 0),
        name=name,
        on_failure=lambda operation, error, _: heard.append((operation, type(error))),
    )
    assert heard == [("ignore", LookupError), ("ignore", ZeroDivisionError)]
    assert twinrun.tallies()[name].failures["ignore"] == before + 2
    assert places(found.differences) == ["$.b", "$.d"]
    assert found.ignored_by == ("path('$.a')",)


def test_what_was_not_looked_for_is_not_ignored_by_rules_of_places() -> None:
    """Behind the differences that were found there may be one that counts."""
    control, candidate = {"a": list(range(300)), "z": 1}, {"a": [-1] * 300, "z": 2}
    found = judged(control, candidate, path("$.a"), compare=equal)
    assert isinstance(found.differences, Differences)
    assert found.differences.cut is not None
    assert found.outcome is Outcome.MISMATCHED
    assert found.ignored_by == found.ignored_differences == ()
    assert len(found.differences) > 10
    part = judged(control, candidate, path("$.a"), when(lambda context: True), compare=equal)
    assert (part.outcome, part.ignored_by[-1].startswith("when(")) == (Outcome.IGNORED, True)
    assert judged(control, candidate, path("$.a"), known).outcome is Outcome.IGNORED


def test_exceptions_are_ignored_by_type() -> None:
    """Whichever side raised; the Result keeps no frame of theirs alive."""
    found = judged(1, KeyError("a"), raised(LookupError))
    assert found.outcome is Outcome.IGNORED
    [difference] = found.ignored_differences
    assert isinstance(difference.candidate, KeyError)
    assert difference.candidate.__traceback__ is None
    assert difference.candidate is found.candidate.exception
    with pytest.raises(KeyError):
        Experiment("ignores.by", publishers=(), ignore=raised(KeyError, by="control")).run(
            control=partial({}.__getitem__, "a"), candidate=lambda: 1
        )
    assert twinrun.tallies()["ignores.by"].ignored == {
        "candidate": {"raised(KeyError, by='control')": 1}
    }
    assert judged(1, ValueError(), raised(LookupError)).outcome is Outcome.MISMATCHED


@pytest.mark.parametrize("mode", ["inline", "concurrent", "background"])
def test_rules_hold_in_every_mode(mode: str) -> None:
    """Off the caller's path they see a twin of the control's exception, of the same type."""
    name = f"ignores.mode.{mode}"
    asked = raised(KeyError, by="control") & when(lambda context: context["land"] == "DE")
    recipe = Experiment(name, mode=mode, ignore=[path("$.a"), asked], publishers=())
    context = {"land": "DE"}
    recipe.run(control=lambda: {"a": 1}, candidate=lambda: {"a": 2}, context=context)
    with pytest.raises(KeyError):
        recipe.run(control=partial({}.__getitem__, "a"), candidate=lambda: 1, context=context)
    assert twinrun.flush(30)
    tally = twinrun.tallies()[name]
    assert tally.outcomes == {"candidate": {Outcome.IGNORED: 2}}
    assert tally.ignored == {"candidate": {"path('$.a')": 1, str(asked): 1}}


@pytest.mark.parametrize("mode", ["inline", "background"])
def test_rules_see_the_items_of_a_stream_and_its_context(mode: str) -> None:
    """A difference's path is the item's."""
    asked = path("$[1].at") & when(lambda context: context["land"] == "DE")
    name = f"ignores.streams.{mode}"

    def newer() -> Iterator[dict[str, int]]:
        yield {"at": 1}
        yield {"at": 3}

    @twinrun.experiment(
        name, candidate=newer, mode=mode, ignore=asked, context={"land": "DE"}, publishers=()
    )
    def older() -> Iterator[dict[str, int]]:
        yield {"at": 1}
        yield {"at": 2}

    list(older())
    assert twinrun.flush(30)
    assert twinrun.tallies()[name].ignored == {"candidate": {str(asked): 1}}


def test_the_tally_counts_by_rule_what_was_ignored() -> None:
    """A mismatch is not counted there, even if something of it was ignored."""
    name = "ignores.counted"
    rules = path("$.a"), path("$.b")
    for candidate in ({"a": 2, "b": 2}, {"a": 2, "b": 1}, {"a": 2, "c": 1}, {"a": 1, "b": 1}):
        judged({"a": 1, "b": 1}, candidate, *rules, name=name)
    tally = twinrun.tallies()[name]
    assert tally.outcomes["candidate"] == {"matched": 1, "mismatched": 1, "ignored": 2}
    assert tally.ignored == {"candidate": {"path('$.a')": 2, "path('$.b')": 1}}

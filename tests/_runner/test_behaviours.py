"""Behaviours are checked and named when they are given."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

import pytest

from twinrun import ConfigurationError, Experiment, Outcome, Result, experiment
from twinrun._kinds import Kind
from twinrun._runner.behaviours import lineup_of


async def coroutine() -> None:
    """Be a coroutine function."""


async def async_generator() -> Any:
    """Be an async generator function."""
    yield


def generator() -> Any:
    """Be a generator function."""
    yield


class Kinds:
    """Unwaited functions in other clothes."""

    async def method(self) -> None:
        """Be a coroutine function that is bound."""

    async def __call__(self) -> None:
        """Make objects coroutine functions."""


KINDS: dict[Kind, Any] = {
    Kind.PLAIN: len,
    Kind.COROUTINE: coroutine,
    Kind.GENERATOR: generator,
    Kind.ASYNC_GENERATOR: async_generator,
}

UNWAITED = [
    coroutine,
    async_generator,
    generator,
    functools.partial(coroutine),
    functools.partial(functools.partial(generator)),
    Kinds().method,
    functools.partial(Kinds().method),
    Kinds(),
]


@pytest.mark.parametrize("function", UNWAITED)
def test_a_plain_control_takes_plain_candidates_only(function: Any) -> None:
    """When made and by `run`, before anything runs; also behind partials and methods."""
    ran: list[int] = []
    for given in ({"candidate": function}, {"candidates": {"new": function}}):
        with pytest.raises(ConfigurationError, match="must here be a plain function"):
            Experiment("behaviours.kinds", control=lambda: ran.append(1), **given)
        made = Experiment("behaviours.kinds")
        for method in ("run", "observe"):
            with pytest.raises(ConfigurationError, match="must here be a plain function"):
                getattr(made, method)(control=lambda: ran.append(1), **given)
    assert ran == []


@pytest.mark.parametrize("function", UNWAITED)
def test_run_and_observe_take_plain_controls_only(function: Any) -> None:
    """The error names those that take others."""
    for method in ("run", "observe"):
        with pytest.raises(ConfigurationError, match="`arun` and `aobserve` coroutine functions"):
            getattr(Experiment("behaviours.kinds"), method)(control=function)


@pytest.mark.parametrize("control", list(KINDS))
@pytest.mark.parametrize("candidate", list(KINDS))
def test_a_candidate_is_plain_or_of_its_controls_kind(control: Kind, candidate: Kind) -> None:
    """A plain one may give what is awaited or iterated."""
    named = {"control": KINDS[control], "candidate": KINDS[candidate]}
    if candidate in {control, Kind.PLAIN}:
        assert lineup_of("behaviours.kinds", named, "control").kind is control
    else:
        with pytest.raises(ConfigurationError, match=candidate.value):
            lineup_of("behaviours.kinds", named, "control")


@pytest.mark.parametrize("wrong", [3, b"module:function", object()])
def test_what_cannot_be_called_is_refused(wrong: Any) -> None:
    """As control (given as an object) and as candidate."""
    with pytest.raises(ConfigurationError, match=f"callable, not a {type(wrong).__name__}"):
        Experiment("behaviours.callable", control=wrong)
    with pytest.raises(ConfigurationError, match=f"callable, not a {type(wrong).__name__}"):
        Experiment("behaviours.callable", candidate=wrong)
    with pytest.raises(ConfigurationError, match="mapping of names"):
        Experiment("behaviours.callable", candidates=[print])  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", 3, None])
def test_a_behaviours_name_is_a_non_empty_text(name: Any) -> None:
    """What was given is said."""
    with pytest.raises(ConfigurationError, match=f"non-empty text, not {name!r}"):
        Experiment("behaviours.names", candidates={name: print})


def test_two_behaviours_of_one_name_are_refused() -> None:
    """Within what is given, and between the experiment's own and those of `run`."""
    for given in (
        {"candidate": print, "candidates": {"candidate": print}},
        {"control": print, "candidates": {"control": print}},
    ):
        with pytest.raises(ConfigurationError, match="two behaviours with the name"):
            Experiment("behaviours.twice", **given)  # type: ignore[arg-type]
    made = Experiment("behaviours.twice", control=lambda: 1, candidates={"new": lambda: 1})
    ran: list[int] = []
    for given in ({"control": lambda: ran.append(1)}, {"candidates": {"new": print}}):
        with pytest.raises(ConfigurationError, match="two behaviours with the name"):
            made.run(**given)  # type: ignore[arg-type]
    assert ran == []


def test_baseline_is_a_name_of_its_own_where_a_baseline_runs() -> None:
    """And an ordinary name where none does."""
    with pytest.raises(ConfigurationError, match="'baseline'"):
        Experiment("behaviours.baseline", candidates={"baseline": print}, baseline=0.1)
    with pytest.raises(ConfigurationError, match="'baseline'"):
        Experiment("behaviours.baseline", baseline=0.1).run(
            control=print, candidates={"baseline": print}
        )
    assert Experiment("behaviours.baseline", control=int, candidates={"baseline": int})() == 0


def test_any_named_behaviour_can_be_the_control() -> None:
    """The others are its candidates; an unknown name is refused with the known ones."""
    ways = Experiment("behaviours.ways", publishers=())
    both = {"first-way": lambda: 1, "second-way": lambda: 2}
    assert ways.run(candidates=both, control="second-way") == 2
    result = ways.observe(candidates=both, control="first-way")
    assert (result.control.name, [c.name for c in result.candidates]) == (
        "first-way",
        ["second-way"],
    )
    with pytest.raises(ConfigurationError, match=r"'third'.*'first-way', 'second-way'"):
        ways.run(candidates=both, control="third")


def test_without_a_control_nothing_runs() -> None:
    """By `run`, `observe` and the call."""
    ran: list[int] = []
    made = Experiment("behaviours.none", candidate=lambda: ran.append(1))
    for call in (made, made.run, made.observe):
        with pytest.raises(ConfigurationError, match="control"):
            call()
    assert ran == []


def test_an_unknown_keyword_of_run_is_a_type_error() -> None:
    """As with any function."""
    with pytest.raises(TypeError):
        Experiment("behaviours.keyword").run(control=int, candidat=int)  # type: ignore[call-arg]


def test_what_a_decorator_made_must_stand_outside_of_ours() -> None:
    """The error says so, naming it."""
    for wrapper in (classmethod, staticmethod, property):
        with pytest.raises(ConfigurationError, match=f"@{wrapper.__name__} outside"):
            experiment("behaviours.wrappers", candidate=print)(wrapper(lambda x: x))


def test_decorated_methods_of_every_kind_are_candidates_and_stand_outside() -> None:
    """Candidates are unwrapped; each side gets what a method of its kind gets."""
    results: list[Result] = []
    seen: list[Any] = []

    class Owner:
        @classmethod
        def new_class(cls, x: int) -> Any:
            seen.append(cls)
            return x

        @staticmethod
        def new_static(x: int) -> Any:
            seen.append("static")
            return x

        @property
        def new_property(self) -> Any:
            seen.append(self)
            return 3

        @classmethod
        @experiment("behaviours.class", candidate=new_class, publishers=[results.append])
        def old_class(cls, x: int) -> Any:
            return x

        @staticmethod
        @experiment("behaviours.static", candidate=new_static, publishers=[results.append])
        def old_static(x: int) -> Any:
            return x

        @property
        @experiment("behaviours.property", candidate=new_property, publishers=[results.append])
        def old_property(self) -> Any:
            return 3

    owner = Owner()
    assert (owner.old_class(1), Owner.old_class(1)) == (1, 1)
    assert (owner.old_static(2), Owner.old_static(2)) == (2, 2)
    assert owner.old_property == 3
    assert seen == [Owner, Owner, "static", "static", owner]
    assert len(results) == 5
    assert all(result.matched for result in results)


@pytest.mark.parametrize(
    "text", ["", "module", "module:", ":function", "a b:c", "module:f()", "a..b:c", "a:b:c", "1:f"]
)
def test_a_malformed_reference_is_refused_when_made(text: str) -> None:
    """The error shows the accepted form."""
    for given in ({"candidate": text}, {"candidates": {"new": text}}):
        with pytest.raises(ConfigurationError, match=r"package\.module:function"):
            Experiment("behaviours.reference", **given)  # type: ignore[arg-type]


def test_a_reference_is_asked_for_again_until_found_and_then_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What can't be found is what the candidate raised; the control's outcome stays."""
    monkeypatch.syspath_prepend(tmp_path)
    results: list[Result] = []
    made = Experiment(
        "behaviours.later",
        control=lambda x: x,
        candidate="behaviours_later:Holder.new",
        publishers=[results.append],
    )
    assert made(1) == 1
    assert isinstance(results[-1].candidates[0].exception, ModuleNotFoundError)
    (tmp_path / "behaviours_later.py").write_text("class Holder:\n    pass\n")
    sys.path_importer_cache.clear()
    assert made(1) == 1
    assert isinstance(results[-1].candidates[0].exception, AttributeError)
    module: Any = sys.modules["behaviours_later"]
    module.Holder.new = staticmethod(lambda x: x)
    assert made(1) == 1
    assert results[-1].matched
    module.Holder.new = None
    assert made(1) == 1
    assert results[-1].matched
    monkeypatch.delitem(sys.modules, "behaviours_later")


def test_a_reference_to_what_cannot_run_is_what_the_candidate_raised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A coroutine function that is found late is not called."""
    monkeypatch.setattr(sys.modules[__name__], "target", coroutine, raising=False)
    made = Experiment("behaviours.late", control=lambda: 1, candidate=f"{__name__}:target")
    result = made.observe()
    assert result.comparisons[0].outcome is Outcome.MISMATCHED
    assert isinstance(result.candidates[0].exception, ConfigurationError)


def test_the_behaviours_can_be_read_but_not_changed() -> None:
    """An experiment is compared by identity, and immutable."""
    made = Experiment("behaviours.read", control=int, candidates={"a": str, "b": float})
    assert made.name == "behaviours.read"
    assert made.control is int
    assert dict(made.candidates) == {"a": str, "b": float}
    with pytest.raises(TypeError):
        made.candidates["c"] = int  # type: ignore[index]
    with pytest.raises(AttributeError):
        made.name = "other"  # type: ignore[misc]
    assert made != Experiment("behaviours.read", control=int, candidates={"a": str, "b": float})

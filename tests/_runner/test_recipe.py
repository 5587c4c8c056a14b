"""Wrong options are refused when an experiment is made, saying what was given and accepted."""

from __future__ import annotations

from typing import Any

import pytest

from twinrun import ConfigurationError, Experiment, MismatchError, experiment
from twinrun._runner.recipe import recipe_of
from twinrun.samplers import Breaker


class Unshowable:
    """A value whose own repr fails."""

    def __repr__(self) -> str:
        raise RuntimeError


async def coroutine(*args: Any) -> None:
    """Be a hook that nobody would await."""


def generator(*args: Any) -> Any:
    """Be a hook that nobody would iterate."""
    yield


WRONG = [
    ("sample", -0.1, "within 0..1"),
    ("sample", 1.1, "within 0..1"),
    ("sample", float("nan"), "within 0..1"),
    ("sample", True, "within 0..1"),
    ("sample", "0.5", "within 0..1"),
    ("sample", None, "within 0..1"),
    ("sample_by", "user", "a callable"),
    ("enabled", 1, "a bool or a callable"),
    ("enabled", None, "a bool or a callable"),
    ("run_if", True, "a callable"),
    ("mode", "sideways", "'inline', 'concurrent', 'background'"),
    ("mode", ["inline"], "'inline', 'concurrent', 'background'"),
    ("order", "sorted", "'random', 'control-first', 'control-last'"),
    ("order", ["control"], "'random', 'control-first', 'control-last'"),
    ("timeout", 0, "seconds above 0"),
    ("timeout", -1.0, "seconds above 0"),
    ("timeout", float("nan"), "seconds above 0"),
    ("timeout", True, "seconds above 0"),
    ("isolate", "copy", "'containers', 'share', 'deepcopy'"),
    ("isolate", None, "'containers', 'share', 'deepcopy'"),
    ("compare", None, "a callable"),
    ("compare", "equal", "a callable"),
    ("compare_errors", 3, "a callable"),
    ("ignore", 3, "a rule"),
    ("ignore", "rule", "a rule"),
    ("ignore", [3], "a callable"),
    ("clean", "summary", "a callable"),
    ("context", [("user", 1)], "a mapping or a callable"),
    ("before_run", 3, "a callable"),
    ("after_run", 3, "a callable"),
    ("baseline", 2, "within 0..1"),
    ("baseline", lambda: 0.5, "within 0..1"),
    ("cpu_time", 1, "a bool"),
    ("breaker", 5, "a twinrun.samplers.Breaker"),
    ("raise_on_mismatch", "yes", "a bool"),
    ("mismatch_error", AssertionError, "a subclass of MismatchError"),
    ("mismatch_error", "MismatchError", "a subclass of MismatchError"),
    ("on_failure", [], "a callable"),
]


@pytest.mark.parametrize(("option", "value", "accepted"), WRONG)
def test_a_wrong_value_is_refused_naming_it_and_what_is_accepted(
    option: str, value: Any, accepted: str
) -> None:
    """The error, a ValueError, names the option, the value and the accepted kinds."""
    for form in (Experiment, experiment):
        with pytest.raises(ConfigurationError) as caught:
            form("recipe.wrong", **{option: value})(lambda: 1)  # type: ignore[operator]
        text = str(caught.value)
        assert option in text
        assert accepted in text
        assert (repr(value[0]) if type(value) is list and value else repr(value)) in text
        assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("value", ["abc", {print}, print, [3], [list], [None]])
def test_publishers_come_in_a_sequence_and_can_publish(value: Any) -> None:
    """No text, set or single publisher; and nothing in it that can't publish."""
    with pytest.raises(ConfigurationError, match="publisher"):
        Experiment("recipe.publishers", publishers=value)


HOOKS = [
    *("sample", "sample_by", "enabled", "run_if", "order", "isolate", "compare", "compare_errors"),
    *("ignore", "clean", "context", "before_run", "after_run", "on_failure"),
]


@pytest.mark.parametrize("hook", [coroutine, generator])
@pytest.mark.parametrize("option", HOOKS)
def test_a_coroutine_or_generator_function_is_no_hook(option: str, hook: Any) -> None:
    """It would give a truthy object and do nothing."""
    with pytest.raises(ConfigurationError, match=option):
        Experiment("recipe.hooks", **{option: hook})


@pytest.mark.parametrize("publisher", [coroutine, generator])
def test_a_coroutine_or_generator_function_is_no_publisher(publisher: Any) -> None:
    """It would publish nothing."""
    with pytest.raises(ConfigurationError, match="publisher"):
        Experiment("recipe.publishers", publishers=[publisher])


def test_an_unknown_option_is_refused_naming_the_known() -> None:
    """A misspelt option must not silently do nothing."""
    for form in (Experiment, experiment):
        with pytest.raises(ConfigurationError, match=r"'samples'.*sample, sample_by"):
            form("recipe.unknown", samples=0.5)(lambda: 1)  # type: ignore[call-arg, operator]


@pytest.mark.parametrize("name", ["", None, 3, b"bytes"])
def test_a_name_is_a_non_empty_text(name: Any) -> None:
    """What is given is said."""
    with pytest.raises(ConfigurationError, match=f"non-empty text, not {name!r}"):
        Experiment(name)


@pytest.mark.parametrize("name", [" ", "a b", "ä.ö", "x" * 1000, "\ud800", "$%"])
def test_any_non_empty_text_is_a_name(name: str) -> None:
    """No characters are forbidden."""
    assert Experiment(name, control=lambda: 3, candidate=lambda: 3)() == 3
    assert Experiment(name).name == name


def test_a_wrong_value_that_cannot_be_shown_is_named_by_its_type() -> None:
    """The error is ours, not that of the value's repr."""
    with pytest.raises(ConfigurationError, match="Unshowable"):
        Experiment("recipe.unshowable", sample=Unshowable())  # type: ignore[arg-type]


def test_the_bounds_of_a_share_are_accepted() -> None:
    """0 and 1, as whole numbers too, and any positive timeout."""
    for share in (0, 1, 0.0, 1.0, 0.5):
        assert Experiment("recipe.bounds", sample=share, baseline=share, timeout=0.1)


def test_a_contexts_later_changes_do_not_reach_the_experiment() -> None:
    """A recipe is immutable."""
    results: list[Any] = []
    context = {"a": 1}
    made = Experiment("recipe.context", context=context, publishers=[results.append])
    context["a"] = 2
    made.run(control=lambda: 1, candidate=lambda: 2)
    assert results[0].context == {"a": 1}


def test_a_mismatch_error_of_ones_own_is_a_subclass() -> None:
    """It is raised in place of MismatchError."""

    class OwnError(MismatchError):
        pass

    made = Experiment("recipe.own", mismatch_error=OwnError, raise_on_mismatch=True, publishers=())
    with pytest.raises(OwnError):
        made.run(control=lambda: 1, candidate=lambda: 2)


@pytest.mark.parametrize("mode", ["concurrent", "background"])
def test_an_order_is_refused_off_the_callers_path(mode: str) -> None:
    """The mode says itself who starts first."""
    with pytest.raises(ConfigurationError, match="order says who runs first"):
        Experiment("recipe.order", mode=mode, order="random")


@pytest.mark.parametrize(
    ("mode", "default"), [("inline", None), ("concurrent", Breaker()), ("background", Breaker())]
)
def test_off_the_callers_path_a_mild_breaker_is_the_default(
    mode: str, default: Breaker | None
) -> None:
    """None switches it off; one that is given is taken."""
    assert recipe_of("recipe.breaker", {"mode": mode}).breaker == default
    assert recipe_of("recipe.breaker", {"mode": mode, "breaker": None}).breaker is None
    own = Breaker(failures=3)
    assert recipe_of("recipe.breaker", {"mode": mode, "breaker": own}).breaker is own


def test_experiments_of_one_name_and_breaker_share_its_state() -> None:
    """Without a breaker there is none."""
    one = recipe_of("recipe.shared", {"breaker": Breaker(failures=3)})
    assert one.circuit is not None
    assert recipe_of("recipe.shared", {"breaker": Breaker(failures=3)}).circuit is one.circuit
    assert recipe_of("recipe.shared", {}).circuit is None


def test_a_budget_inline_measures_cpu_time() -> None:
    """Off the caller's path it is measured anyway, and shown only where that is asked for."""
    inline: dict[str, Any] = {"breaker": Breaker()}
    assert recipe_of("recipe.budget", inline).cpu_time
    assert not recipe_of("recipe.budget", {"breaker": Breaker(cpu_share=None)}).cpu_time
    assert not recipe_of("recipe.budget", {**inline, "mode": "background"}).cpu_time

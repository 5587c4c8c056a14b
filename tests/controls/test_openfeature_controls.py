"""Feature flags say which share of runs are experiments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from twinrun import ConfigurationError
from twinrun.controls import OpenFeatureControls

openfeature = pytest.importorskip("openfeature")

from openfeature import api  # noqa: E402
from openfeature.evaluation_context import EvaluationContext  # noqa: E402
from openfeature.flag_evaluation import FlagResolutionDetails  # noqa: E402
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider  # noqa: E402


@pytest.fixture
def provide() -> Iterator[Any]:
    """Give what sets flags, each with one value."""

    def flags(**values: Any) -> None:
        made = {name: InMemoryFlag("on", {"on": value}) for name, value in values.items()}
        api.set_provider(InMemoryProvider(made), "twinrun")

    yield flags
    api.clear_providers()


def test_a_flag_of_the_experiments_name_says_its_share(provide: Any) -> None:
    """A number; one that is not there says nothing, also before any provider is set up."""
    controls = OpenFeatureControls()
    assert controls("quote") is None
    provide(quote=0.25, off=0, on=1)
    controls = OpenFeatureControls()
    assert [controls(name) for name in ("quote", "off", "on", "other")] == [0.25, 0.0, 1.0, None]
    provide(quote=0.5)
    assert controls("quote") == 0.5


def test_keys_and_context_are_the_applications(provide: Any) -> None:
    """A flag may have another name, and depend on the context."""
    asked = []

    def by_region(flag: Any, context: Any) -> FlagResolutionDetails[float]:
        asked.append(context.attributes)
        return FlagResolutionDetails(0.75)

    flag = InMemoryFlag("on", {"on": 0.0}, context_evaluator=by_region)
    api.set_provider(InMemoryProvider({"twinrun-quote": flag}), "shop")
    controls = OpenFeatureControls(
        api.get_client("shop"),
        flag=lambda name: f"twinrun-{name}",
        context=EvaluationContext(attributes={"region": "eu"}),
        every=30,
    )
    assert controls("quote") == 0.75
    assert asked == [{"region": "eu"}]
    assert controls.every == 30


def test_a_flag_that_cannot_be_told_raises(provide: Any) -> None:
    """So that the last word holds: a flag of text, or a provider that fails."""
    provide(quote="half", yes=True)
    controls = OpenFeatureControls()
    with pytest.raises(LookupError, match="flag 'quote': TYPE_MISMATCH"):
        controls("quote")
    with pytest.raises(LookupError, match="flag 'yes' is a switch"):
        controls("yes")


def test_wrong_use_is_refused() -> None:
    """When it is made."""
    with pytest.raises(ConfigurationError, match="flag is a callable"):
        OpenFeatureControls(flag="quote")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="every is a number of seconds"):
        OpenFeatureControls(every=-1)

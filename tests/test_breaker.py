"""A breaker is a value that is checked when it is made."""

from __future__ import annotations

import inspect
import pickle
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinrun import ConfigurationError
from twinrun.samplers import Breaker

POSITIVE = st.floats(min_value=0, exclude_min=True, allow_infinity=False, allow_nan=False)


@given(
    st.none() | st.integers(1),
    st.none() | st.floats(0, 1, exclude_min=True),
    st.none() | POSITIVE | st.integers(1, 1000),
    st.none() | POSITIVE | st.integers(1, 1000),
)
def test_what_makes_sense_is_taken_as_it_is(
    failures: int | None, share: float | None, cooldown: float | None, longest: float | None
) -> None:
    """Each part may be None; equal parts make equal breakers, also pickled ones."""
    if failures is share is None:
        share = 0.5
    if cooldown is not None and longest is not None:
        cooldown, longest = sorted((cooldown, longest))
    parts = {
        "failures": failures,
        "cpu_share": share,
        "cooldown": cooldown,
        "longest_cooldown": longest,
    }
    breaker = Breaker(**parts)  # type: ignore[arg-type]
    assert attrs.asdict(breaker) == parts
    assert breaker == Breaker(**parts)  # type: ignore[arg-type]
    assert hash(breaker) == hash(Breaker(**parts))  # type: ignore[arg-type]
    assert pickle.loads(pickle.dumps(breaker)) == breaker


class Unshown:
    """What can't say what it is."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


NO_NUMBERS = ["5", b"5", True, [5], float("nan"), float("inf"), object(), Unshown()]


@pytest.mark.parametrize("value", [*NO_NUMBERS, 0, -1, 1.0])
def test_failures_are_a_whole_number_from_1_upwards(value: Any) -> None:
    """The error says so, and what was given."""
    with pytest.raises(ConfigurationError, match="failures must be a whole number from 1 upwards"):
        Breaker(failures=value)


@pytest.mark.parametrize("value", [*NO_NUMBERS, 0, -0.1, 5, 1.01])
def test_cpu_share_is_a_share_of_one_core(value: Any) -> None:
    """A percentage is refused, which would never pause anything."""
    with pytest.raises(ConfigurationError, match="cpu_share must be a share of one core above 0"):
        Breaker(cpu_share=value)


@pytest.mark.parametrize("name", ["cooldown", "longest_cooldown"])
@pytest.mark.parametrize("value", [*NO_NUMBERS, 0, -1])
def test_cooldowns_are_seconds_above_0(name: str, value: Any) -> None:
    """None stands for no end, infinity for nothing."""
    with pytest.raises(ConfigurationError, match=f"{name} must be a number of seconds above 0"):
        Breaker(**{name: value})


def test_a_breaker_that_watches_nothing_is_refused() -> None:
    """The error says how to have none."""
    with pytest.raises(ConfigurationError, match="breaker=None is for neither"):
        Breaker(failures=None, cpu_share=None)


def test_pauses_cannot_shrink() -> None:
    """The longest is not below the first, and the error gives both."""
    with pytest.raises(ConfigurationError, match=r"longest_cooldown \(1 s\) .* cooldown \(2 s\)"):
        Breaker(cooldown=2, longest_cooldown=1)


def test_what_was_given_is_shown_and_bounded() -> None:
    """A long value is cut off."""
    with pytest.raises(ConfigurationError, match="not 'xxx") as caught:
        Breaker(failures="x" * 10_000)  # type: ignore[arg-type]
    assert len(str(caught.value)) < 400


def test_parts_are_given_by_name_only() -> None:
    """And none can be changed afterwards."""
    kinds = {p.kind for p in inspect.signature(Breaker).parameters.values()}
    assert kinds == {inspect.Parameter.KEYWORD_ONLY}
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Breaker().failures = 1  # type: ignore[misc]

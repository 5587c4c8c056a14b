"""What calling a function gives can be told without calling it."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Generator
from functools import partial
from typing import Any

import pytest

from twinrun import ConfigurationError, Experiment, experiment, tallies
from twinrun._kinds import Kind, is_unwaited, kind_of


@types.coroutine
def rests() -> Generator[Any, Any, int]:
    """Give one after a turn of the event loop."""
    yield
    return 1


async def one() -> int:
    """Give one at once."""
    return 1


@pytest.mark.parametrize("function", [rests, partial(rests), one])
def test_a_generator_made_a_coroutine_is_of_the_coroutines_kind(function: Any) -> None:
    """What `types.coroutine` decorates is awaited, not iterated."""
    assert kind_of(function) is Kind.COROUTINE
    assert is_unwaited(function)


def test_such_a_coroutine_serves_on_both_sides() -> None:
    """It is awaited as control and as candidate, in line too."""
    made = experiment("kinds.both", candidate=rests)(one)
    turned: Any = experiment("kinds.turned", candidate=one)(rests)

    async def main() -> None:
        for _ in range(20):
            assert await made() == await turned() == 1

    asyncio.run(main())
    for name in ("kinds.both", "kinds.turned"):
        assert tallies()[name].outcomes["candidate"] == {"matched": 20}


def test_such_a_candidate_of_a_plain_control_is_refused() -> None:
    """As is every candidate that somebody would have to await."""
    with pytest.raises(ConfigurationError):
        Experiment("kinds.refused", control=lambda: 1, candidate=rests)

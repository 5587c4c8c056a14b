"""Event loops for the tests of what is awaited: asyncio's, uvloop's, and with eager tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

EAGER = getattr(asyncio, "eager_task_factory", None)  # from Python 3.12 on


def eager_loop() -> asyncio.AbstractEventLoop:
    """Make a loop whose tasks begin when they are made."""
    loop = asyncio.new_event_loop()
    loop.set_task_factory(EAGER)
    return loop


@pytest.fixture(params=["asyncio", "uvloop", "eager"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Give what runs a coroutine to its end, on each kind of loop."""
    make: Any = asyncio.new_event_loop
    if request.param == "uvloop":
        make = pytest.importorskip("uvloop").new_event_loop
    if request.param == "eager":
        if EAGER is None:
            pytest.skip("needs Python 3.12")
        make = eager_loop

    def run_on_loop(main: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=make) as runner:
            return runner.run(main)

    return run_on_loop

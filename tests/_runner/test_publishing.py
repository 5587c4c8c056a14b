"""Awaited runs in line hand their records to a thread: the event loop never makes one."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from twinrun import Experiment, MismatchError, Result, aflush, configure, experiment, tallies
from twinrun._runner import publishing
from twinrun.publishers import Buffered

WATCHDOG = 20.0
user: ContextVar[str] = ContextVar("user", default="nobody")


class Sink:
    """Makes each record only when it may."""

    def __init__(self) -> None:
        self.may = threading.Event()
        self.asked = threading.Event()
        self.threads: list[int] = []
        self.users: list[str] = []
        self.delivered: list[bytes] = []

    def record(self, result: Result) -> bytes:
        """Wait for leave to make a record."""
        self.threads.append(threading.get_ident())
        self.users.append(user.get())
        self.asked.set()
        assert self.may.wait(WATCHDOG)
        return result.id.encode()

    def deliver(self, records: list[bytes]) -> None:
        """Take records."""
        self.delivered += records


@pytest.fixture
def sink() -> Iterator[Sink]:
    """Give a sink, and in the end let it make what it was asked for."""
    made = Sink()
    yield made
    made.may.set()


async def one() -> int:
    """Be a control."""
    return 1


async def two() -> int:
    """Be a candidate that differs."""
    return 2


async def stream() -> AsyncIterator[int]:
    """Be a control that yields."""
    yield 1


async def other_stream() -> AsyncIterator[int]:
    """Be a candidate that yields something else."""
    yield 2


def told(name: str) -> int:
    """Say how many runs of an experiment are counted as one thing or another."""
    tally = tallies()[name]
    return tally.experiments + sum(tally.skipped.values())


async def _asked(sink: Sink) -> None:
    """Wait, without the help of the event loop's executor, until a record is asked for."""
    while not sink.asked.is_set():
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("form", ["function", "thorough", "arun", "stream"])
def test_the_loop_goes_on_while_a_record_is_made(form: str, sink: Sink) -> None:
    """Only the loop lets the sink make its record, so a loop that waits for it never would."""
    name = f"publishing.{form}"
    with_sink: dict[str, Any] = {"publishers": [Buffered(sink)]}

    async def call() -> Any:
        if form == "arun":
            return await Experiment(name, **with_sink).arun(control=one, candidate=two)
        if form == "stream":
            made = experiment(name, candidate=other_stream, **with_sink)(stream)
            [item] = [item async for item in made()]
            return item
        context = {"context": {"a": 1}} if form == "thorough" else {}
        return await experiment(name, candidate=two, **context, **with_sink)(one)()

    async def main() -> None:
        user.set("me")
        task = asyncio.create_task(call())
        await _asked(sink)
        assert not task.done()
        sink.may.set()
        assert await task == 1
        assert await aflush(WATCHDOG)

    asyncio.run(main())
    assert threading.get_ident() not in sink.threads
    assert sink.users == ["me"]
    assert len(sink.delivered) == told(name) == 1


def test_the_end_keeps_its_order_on_the_loops_own_thread(sink: Sink) -> None:
    """Sinks first, then plain callables, then `after_run`, then the mismatch is raised."""
    seen: list[tuple[str, int, int]] = []

    def note(what: str) -> Callable[[Result], None]:
        return lambda _: seen.append((what, threading.get_ident(), len(sink.threads)))

    made = experiment(
        "publishing.order",
        candidate=two,
        publishers=[note("plain"), Buffered(sink)],
        after_run=note("after"),
        raise_on_mismatch=True,
    )(one)
    sink.may.set()

    async def main() -> None:
        with pytest.raises(MismatchError):
            await made()
        assert await aflush(WATCHDOG)

    asyncio.run(main())
    here = threading.get_ident()
    assert seen == [("plain", here, 1), ("after", here, 1)]


@pytest.mark.parametrize("form", ["function", "thorough"])
def test_a_cancellation_does_not_wait_for_a_record(form: str, sink: Sink) -> None:
    """The caller goes at once; the run is counted once, and everybody gets its result."""
    name = f"publishing.cancelled.{form}"
    heard: list[Result] = []
    context: dict[str, Any] = {"context": {"a": 1}} if form == "thorough" else {}
    made = experiment(name, candidate=two, publishers=[Buffered(sink), heard.append], **context)(
        one
    )

    async def main() -> None:
        task = asyncio.create_task(made())
        await _asked(sink)
        task.cancel("enough")
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await task
        assert not sink.may.is_set()
        assert len(heard) == told(name) == 1
        sink.may.set()
        assert await aflush(WATCHDOG)

    asyncio.run(main())
    assert sink.delivered == [heard[0].id.encode()]


def test_where_no_thread_can_be_had_the_loop_makes_the_record(
    sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller gets the control's value, and the sink the result."""
    made = experiment("publishing.threadless", candidate=two, publishers=[Buffered(sink)])(one)
    sink.may.set()

    def refuse(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        with monkeypatch.context() as patch:
            patch.setattr("_thread.start_new_thread", refuse)
            assert await made() == 1
        assert sink.threads == [threading.get_ident()]
        assert await aflush(WATCHDOG)

    asyncio.run(main())
    assert len(sink.delivered) == 1


def test_what_finds_no_room_is_dropped_and_counted(sink: Sink) -> None:
    """Callers that were cancelled leave no more results behind than may wait."""
    name = "publishing.full"
    made = experiment(name, candidate=two, publishers=[Buffered(sink)])(one)
    configure(queue=2)

    async def main() -> None:
        tasks = [asyncio.create_task(made())]
        await _asked(sink)
        tasks += [asyncio.create_task(made()) for _ in range(2)]
        await asyncio.sleep(0)
        assert await made() == 1
        sink.may.set()
        assert await asyncio.gather(*tasks) == [1, 1, 1]
        assert await aflush(WATCHDOG)

    try:
        asyncio.run(main())
    finally:
        configure(queue=None)
    assert tallies()[name].dropped == {"queue full": 1}
    assert len(sink.delivered) == 3


def test_a_flush_waits_for_records_that_are_being_made(sink: Sink) -> None:
    """It is true only once they are delivered, and keeps its time."""
    made = experiment("publishing.flush", candidate=two, publishers=[Buffered(sink)])(one)

    async def main() -> None:
        task = asyncio.create_task(made())
        await _asked(sink)
        assert not await aflush(0.05)
        sink.may.set()
        assert await aflush(WATCHDOG)
        assert len(sink.delivered) == 1
        await task

    asyncio.run(main())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_publishes_its_own_and_none_of_its_parents(sink: Sink) -> None:
    """What waits in the parent is the parent's; the child has a thread of its own."""
    made = experiment("publishing.fork", candidate=two, publishers=[Buffered(sink)])(one)

    async def main() -> None:
        task = asyncio.create_task(made())
        await _asked(sink)
        child = os.fork()
        if not child:
            os._exit(_in_child())
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        sink.may.set()
        await task
        assert await aflush(WATCHDOG)

    def _in_child() -> int:
        asyncio._set_running_loop(None)
        sink.may = threading.Event()
        sink.may.set()
        sink.threads.clear()
        value = asyncio.run(made())
        done = publishing._desk.flush(float("inf"))
        return int((value, done, len(sink.threads)) != (1, True, 1))

    asyncio.run(main())
    assert len(sink.delivered) == 1

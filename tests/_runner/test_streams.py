"""The law of streams: a decorated generator function does exactly what the undecorated one does."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import sys
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st

import twinrun
from twinrun import experiment

OURS = os.path.dirname(twinrun.__file__)

get_context = BaseException.__dict__["__context__"].__get__
get_cause = BaseException.__dict__["__cause__"].__get__
get_suppress = BaseException.__dict__["__suppress_context__"].__get__
get_traceback = BaseException.__dict__["__traceback__"].__get__

ERRORS: tuple[Callable[[], BaseException], ...] = (
    lambda: ValueError("wrong"),
    lambda: StopIteration("thrown"),
    lambda: KeyError(1),
    lambda: GeneratorExit("thrown"),
    lambda: SystemExit(2),
    lambda: RuntimeError("generator raised StopIteration"),
)
MODES = ("inline", "concurrent", "background")


@attrs.frozen
class Act:
    """One `yield` of a generator, and what it does with an exception that is thrown in there."""

    item: int
    reaction: str
    error: Callable[[], BaseException]


@attrs.frozen
class Conduct:
    """What a generator does: its yields, and how it ends."""

    acts: tuple[Act, ...]
    ending: str
    error: Callable[[], BaseException]


@attrs.define
class World:
    """All that can be told afterwards."""

    told: list[Any] = attrs.field(factory=list)
    names: dict[int, str] = attrs.field(factory=dict)
    kept: list[Any] = attrs.field(factory=list)
    frameless: set[int] = attrs.field(factory=set)

    def name(self, what: Any, name: str) -> Any:
        """Remember an object by a name that is the same in every world."""
        self.names[id(what)] = name
        self.kept.append(what)
        return what

    def seen(self, what: Any) -> Any:
        """Say which object this is."""
        return self.names.get(id(what), type(what).__name__) if what is not None else None

    def tell(self, *what: Any) -> None:
        """Note that something happened."""
        self.told.append(what)

    def facts(self, error: BaseException | None, depth: int = 3) -> Any:
        """Tell what an exception carries, but for the engine's frames."""
        if error is None or not depth:
            return self.seen(error)
        return (
            self.seen(error),
            type(error).__name__,
            error.args,
            self.facts(get_context(error), depth - 1),
            self.facts(get_cause(error), depth - 1),
            get_suppress(error),
            () if id(error) in self.frameless else tuple(frames(error)),
        )

    def perform(self, conduct: Conduct, who: str) -> Generator[Any, Any, Any]:
        """Be a generator that acts so."""
        for number, act in enumerate(conduct.acts):
            try:
                got = yield self.name([act.item], f"{who}'s item {number}")
            except BaseException as error:
                self.tell(who, "caught", self.facts(error))
                if act.reaction == "raise":
                    raise
                if act.reaction == "chain":
                    raise self.name(act.error(), f"{who}'s error {number}") from error
                if act.reaction == "replace":
                    raise self.name(act.error(), f"{who}'s error {number}")  # noqa: B904
                if act.reaction == "return":
                    return self.name(["early"], f"{who}'s early value")
                if act.reaction == "yield":
                    self.tell(who, "got", self.seen((yield [f"from within {number}"])))
            else:
                self.tell(who, "got", self.seen(got), self.facts(sys.exception()))
        if conduct.ending == "raise":
            raise self.name(conduct.error(), f"{who}'s last error")
        return self.name([conduct.ending], f"{who}'s value")

    async def perform_awaited(self, conduct: Conduct, who: str) -> AsyncGenerator[Any, Any]:
        """Be an async generator that acts so, and gives other tasks a turn now and then."""
        for number, act in enumerate(conduct.acts):
            try:
                if act.item:
                    await asyncio.sleep(0)
                got = yield self.name([act.item], f"{who}'s item {number}")
            except BaseException as error:
                self.tell(who, "caught", self.facts(error))
                if act.item:
                    await asyncio.sleep(0)
                if act.reaction == "raise":
                    raise
                if act.reaction == "chain":
                    raise self.name(act.error(), f"{who}'s error {number}") from error
                if act.reaction == "replace":
                    raise self.name(act.error(), f"{who}'s error {number}")  # noqa: B904
                if act.reaction == "return":
                    return
                if act.reaction == "yield":
                    self.tell(who, "got", self.seen((yield [f"from within {number}"])))
            else:
                self.tell(who, "got", self.seen(got), self.facts(sys.exception()))
        if conduct.ending == "raise":
            raise self.name(conduct.error(), f"{who}'s last error")


def frames(error: BaseException) -> Iterator[str]:
    """Name the functions in a traceback, but for the engine's."""
    step = get_traceback(error)
    while step is not None:
        if not step.tb_frame.f_code.co_filename.startswith(OURS):
            yield step.tb_frame.f_code.co_name
        step = step.tb_next


def conducts() -> st.SearchStrategy[Conduct]:
    """Whatever a generator may do."""
    reactions = st.sampled_from(["raise", "chain", "replace", "return", "yield", "swallow"])
    errors = st.sampled_from(ERRORS)
    acts = st.lists(st.builds(Act, st.integers(0, 1), reactions, errors), max_size=4).map(tuple)
    return st.builds(Conduct, acts, st.sampled_from(["raise", "return"]), errors)


def moves() -> st.SearchStrategy[Any]:
    """Whatever a caller may do with a generator."""
    thrown = st.tuples(st.just("throw"), st.sampled_from(ERRORS))
    sent = st.tuples(st.just("send"), st.sampled_from([None, 1, [1], {"a": []}]))
    return st.one_of(st.just(("next",)), sent, thrown, st.just(("again",)), st.just(("close",)))


def play(world: World, generator: Any, script: list[Any]) -> None:
    """Do what the script says, and tell what comes of it."""
    gave, thrown = None, world.name(ValueError("the first"), "thrown")
    for number, (way, *what) in enumerate(script):
        begun = inspect.getgeneratorstate(generator) != inspect.GEN_CREATED
        gave = None
        try:
            if way == "next":
                gave = next(generator)
            elif way == "send":
                gave = generator.send(what[0] if what[0] is None else world.name(*sent(what[0])))
            elif way == "throw":
                thrown = world.name(what[0](), f"thrown {number}")
                gave = generator.throw(thrown)
            elif way == "again":
                gave = generator.throw(thrown)
            else:
                gave = generator.close()
            world.tell(way, "gave", world.seen(gave))
        except BaseException as error:
            world.kept.append(error)
            if not begun and way in ("throw", "again"):  # what is raised comes from a frame of ours
                world.frameless |= {id(error), id(thrown)}
            world.tell(way, "raised", world.facts(error))
            if type(error) is StopIteration:
                world.tell("returned", world.seen(error.value))
        world.tell(inspect.getgeneratorstate(generator))
    del generator, gave  # which the frames of exceptions would keep


def sent(value: Any) -> tuple[Any, str]:
    """Make an object to send, and name it."""
    return [value], f"sent {value}"


def handling(wanted: bool, call: Callable[[], Any]) -> Any:
    """Call in the middle of handling an exception, which has a context of its own."""
    if not wanted:
        return call()
    try:
        try:
            raise OSError("context")
        except OSError:
            raise LookupError("handled") from None
    except LookupError:
        return call()


@contextmanager
def unraisables(world: World) -> Iterator[None]:
    """Tell what is raised where nobody can hear it."""

    def hear(event: Any) -> None:
        world.tell("unraisable", type(event.exc_value).__name__, event.exc_value.args)

    before, sys.unraisablehook = sys.unraisablehook, hear
    try:
        yield
    finally:
        sys.unraisablehook = before


def story(make: Callable[[World], Any], script: list[Any], in_handler: bool) -> World:
    """Play a script on a generator, then drop it."""
    world = World()

    def call() -> None:
        with unraisables(world):
            play(world, make(world)(), script)

    handling(in_handler, call)
    return world


@given(
    control=conducts(),
    candidate=conducts(),
    script=st.lists(moves(), max_size=7),
    in_handler=st.booleans(),
    mode=st.sampled_from(MODES),
    order=st.sampled_from(["random", "control-first", "control-last"]),
)
def test_a_decorated_generator_does_what_the_undecorated_one_does(
    control: Conduct,
    candidate: Conduct,
    script: list[Any],
    in_handler: bool,
    mode: str,
    order: str,
) -> None:
    """Same items, same errors with the same chains and frames, same end, whatever the caller does.

    That holds for what the control sees of the caller, too; and each run is counted once.
    """

    def undecorated(world: World) -> Any:
        return partial(world.perform, control, "control")

    def decorated(world: World) -> Any:
        other = partial(World().perform, candidate, "candidate")
        given: dict[str, Any] = {"publishers": (), "mode": mode}
        if mode == "inline":
            given["order"] = order
        return experiment("law.streams", candidate=other, **given)(undecorated(world))

    before = counted("law.streams")
    assert story(decorated, script, in_handler).told == story(undecorated, script, in_handler).told
    # Nothing but None can be sent to a generator that has not begun.
    first = next((move for move in script if move[0] != "send" or move[1] is None), ("none",))
    assert counted("law.streams") - before == (first[0] in ("next", "send"))


def counted(name: str) -> int:
    """How many runs of an experiment are counted."""
    assert twinrun.flush(30)
    tally = twinrun.tallies().get(name)
    return 0 if tally is None else tally.experiments + sum(tally.skipped.values())


async def play_awaited(world: World, generator: Any, script: list[Any]) -> None:
    """Do what the script says with an async generator, and tell what comes of it."""
    gave, thrown = None, world.name(ValueError("the first"), "thrown")
    begun = False
    for number, (way, *what) in enumerate(script):
        gave = None
        try:
            if way == "next":
                gave = await anext(generator)
            elif way == "send":
                value = what[0] if what[0] is None else world.name(*sent(what[0]))
                gave = await generator.asend(value)
            elif way == "throw":
                thrown = world.name(what[0](), f"thrown {number}")
                gave = await generator.athrow(thrown)
            elif way == "again":
                gave = await generator.athrow(thrown)
            else:
                gave = await generator.aclose()
            world.tell(way, "gave", world.seen(gave))
        except BaseException as error:
            world.kept.append(error)
            if not begun and way in ("throw", "again"):
                world.frameless |= {id(error), id(thrown)}
            world.tell(way, "raised", world.facts(error))
        begun = begun or way == "next" or (way == "send" and what[0] is None)
        world.tell(generator.ag_running, generator.ag_frame is None)
    del generator, gave


def story_awaited(make: Callable[[World], Any], script: list[Any], in_handler: bool) -> World:
    """Play a script on an async generator, drop it, and let the event loop close it."""
    world = World()

    def complain(loop: Any, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if type(error) is not SystemExit:  # which ends the loop, and is complained of at some time
            world.tell("complained", type(error).__name__)

    async def call() -> None:
        asyncio.get_running_loop().set_exception_handler(complain)
        await play_awaited(world, make(world)(), script)
        for _ in range(30):  # so that the loop closes what was dropped
            await asyncio.sleep(0)
        gc.collect(1)  # so that it complains now of errors that nobody asked its tasks for

    async def handled() -> None:
        try:
            raise LookupError("handled")
        except LookupError:
            await call()

    with unraisables(world):
        try:
            asyncio.run(handled() if in_handler else call())
        except SystemExit as error:  # of a generator that the loop closes
            world.tell("exit", world.seen(error))
    return world


@given(
    control=conducts(),
    candidate=conducts(),
    script=st.lists(moves(), max_size=7),
    in_handler=st.booleans(),
    mode=st.sampled_from(MODES),
    order=st.sampled_from(["random", "control-first", "control-last"]),
)
def test_a_decorated_async_generator_does_what_the_undecorated_one_does(
    control: Conduct,
    candidate: Conduct,
    script: list[Any],
    in_handler: bool,
    mode: str,
    order: str,
) -> None:
    """The same law, with `asend`, `athrow`, `aclose` and the event loop's closing."""

    def undecorated(world: World) -> Any:
        return partial(world.perform_awaited, control, "control")

    def decorated(world: World) -> Any:
        other = partial(World().perform_awaited, candidate, "candidate")
        given: dict[str, Any] = {"publishers": (), "mode": mode}
        if mode == "inline":
            given["order"] = order
        return experiment("law.async", candidate=other, **given)(undecorated(world))

    before = counted("law.async")
    expected = story_awaited(undecorated, script, in_handler).told
    assert story_awaited(decorated, script, in_handler).told == expected
    first = next((move for move in script if move[0] != "send" or move[1] is None), ("none",))
    assert counted("law.async") - before == (first[0] in ("next", "send"))

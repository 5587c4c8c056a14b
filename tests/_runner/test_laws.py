"""The law of every experiment: a decorated function does exactly what the undecorated one does."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st

import twinrun
from strategies import plain
from twinrun import Experiment, experiment

OURS = os.path.dirname(twinrun.__file__)
WATCHDOG = 60.0  # seconds, a safety net only


class FrozenError(Exception):
    """Nothing can be set on it."""

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(name)


class SecretError(Exception):
    """Nothing can be read of it."""

    def __getattribute__(self, name: str) -> Any:
        raise LookupError(name)


class OutOfMemory(MemoryError):
    """Python recycles MemoryErrors of the very type, with what is left of the one before."""


class LyingError(Exception):
    """It shadows what Python keeps on exceptions."""

    __traceback__ = __cause__ = __context__ = property(lambda self: 1 / 0)  # type: ignore[assignment]

    def with_traceback(self, tb: Any) -> Any:
        """Fail."""
        raise ZeroDivisionError


class Hostile:
    """Every question about it fails."""

    __class__ = property(lambda self: 1 / 0)  # type: ignore[assignment]

    def _fail(self, *args: Any) -> Any:
        raise ZeroDivisionError

    __eq__ = __hash__ = __bool__ = __repr__ = __len__ = __iter__ = _fail  # type: ignore[assignment]


ERRORS: tuple[Callable[[], BaseException], ...] = (
    lambda: ValueError("wrong", [1]),
    lambda: FrozenError("frozen"),
    lambda: SecretError("secret"),
    lambda: LyingError("lying"),
    lambda: ExceptionGroup("several", [ValueError(1), ExceptionGroup("more", [KeyError(2)])]),
    lambda: StopIteration(3),
    lambda: RecursionError(),
    lambda: OutOfMemory(),
    lambda: SystemExit(4),
    lambda: GeneratorExit(),
    lambda: asyncio.CancelledError(),
    lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "odd"),
)
HOOKS = (
    *("enabled", "run_if", "sample", "sample_by", "before_run", "isolate", "context", "order"),
    *("compare", "compare_errors", "ignore", "clean", "after_run", "publishers", "on_failure"),
)
RETURNS, RAISES, CHAINS, RERAISES, WRAPS = "returns", "raises", "chains", "reraises", "wraps"
get_context = BaseException.__dict__["__context__"].__get__
get_cause = BaseException.__dict__["__cause__"].__get__
get_suppress = BaseException.__dict__["__suppress_context__"].__get__
get_traceback = BaseException.__dict__["__traceback__"].__get__


@attrs.frozen
class Conduct:
    """What a behaviour does: change its arguments or not, then return or raise."""

    mutates: bool
    way: str
    value: Any
    error: Callable[[], BaseException]


@attrs.define
class World:
    """All that a call may be told by, afterwards."""

    handled: BaseException | None
    """What the caller is handling at the time of the call."""
    calls: int = 0
    made: dict[int, str] = attrs.field(factory=dict)
    kept: list[Any] = attrs.field(factory=list)

    def name(self, what: Any, name: str) -> Any:
        """Remember an object by a name that is the same in every world."""
        self.made[id(what)] = name
        self.kept.append(what)
        return what

    def seen(self, what: Any) -> Any:
        """Say which object this is."""
        return self.made.get(id(what), type(what)) if what is not None else None

    def control(self, conduct: Conduct) -> Callable[..., Any]:
        """Make a control that acts so."""

        def control(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            return act(conduct, self, "control", *args, **kwargs)

        return control


def act(conduct: Conduct, world: World, who: str, *args: Any, **kwargs: Any) -> Any:
    """Be a behaviour."""
    for each in (*args, *kwargs.values()):
        if conduct.mutates and type(each) is list:
            each.append(who)
            each[0].clear()
    handled = world.handled
    if conduct.way == RETURNS:
        value = conduct.value() if isinstance(conduct.value, type) else conduct.value
        return world.name([value], f"{who}'s value")
    if handled is not None and conduct.way == RERAISES:
        raise handled
    error = world.name(conduct.error(), f"{who}'s error")
    if handled is not None and conduct.way == WRAPS:
        raise world.name(ExceptionGroup("of both", [handled, KeyError(who)]), f"{who}'s group")
    if conduct.way == CHAINS:
        raise error from world.name(KeyError("cause"), f"{who}'s cause")
    raise error


def told(world: World, call: Callable[[], Any], arguments: list[Any]) -> dict[str, Any]:
    """Make the call and tell all that the caller can see of it."""
    try:
        outcome = "returned", world.seen(call())
    except BaseException as error:
        outcome = "raised", *facts(world, error)
    handled = world.handled
    return {
        "outcome": outcome,
        "calls": world.calls,
        "arguments": repr(arguments),
        "handled": None if handled is None else facts(world, handled),
    }


def facts(world: World, error: BaseException) -> tuple[Any, ...]:
    """Tell what an exception carries, but for the frames of ours and of this test's own calls."""
    members: tuple[Any, ...] = ()
    if issubclass(type(error), BaseExceptionGroup):
        members = tuple(facts(world, each) for each in error.exceptions)  # type: ignore[attr-defined]
    return (
        world.seen(error),
        world.seen(get_context(error)),
        world.seen(get_cause(error)),
        get_suppress(error),
        tuple(frames(error)),
        members,
    )


def frames(error: BaseException) -> Iterator[str]:
    """Name the functions in a traceback, but for the engine's."""
    step = get_traceback(error)
    while step is not None:
        code = step.tb_frame.f_code
        if not code.co_filename.startswith(OURS):
            yield code.co_name
        step = step.tb_next


def handling(wanted: bool, call: Callable[[BaseException | None], Any]) -> Any:
    """Call in the middle of handling an exception, which has a cause and a context of its own."""
    if not wanted:
        return call(None)
    try:
        try:
            raise OSError("context")
        except OSError:
            raise LookupError("handled") from TypeError("cause")
    except LookupError as error:
        return call(error)


def decorated(form: str, control: Any, candidate: Any, options: dict[str, Any]) -> Any:
    """Make the experiment in one of its forms; what it gives is called with the arguments."""
    if form == "function":
        return experiment("law", candidate=candidate, **options)(control)
    if form == "called":
        return Experiment("law", control=control, candidate=candidate, **options)
    if form == "method":

        class Owner:
            def new(self, *args: Any, **kwargs: Any) -> Any:
                return candidate(*args, **kwargs)

            def old(self, *args: Any, **kwargs: Any) -> Any:
                return control(*args, **kwargs)

        Owner.old = experiment("law", candidate=Owner.new, **options)(Owner.old)  # type: ignore[assignment, method-assign]
        return Owner().old
    made = Experiment("law", **options)
    return lambda *args, **kwargs: made.run(
        control=lambda: control(*args, **kwargs), candidate=lambda: candidate([[]], key=[[]])
    )


def conducts() -> st.SearchStrategy[Conduct]:
    """Whatever a function may do."""
    values = st.one_of(plain(allow_nan=True), st.sampled_from([Hostile, object]))
    ways = st.sampled_from([RETURNS, RAISES, CHAINS, RERAISES, WRAPS])
    return st.builds(Conduct, st.booleans(), ways, values, st.sampled_from(ERRORS))


def failing(error: Callable[[], BaseException]) -> Callable[..., Any]:
    """Make a callback that raises."""

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise error()

    return fail


@given(
    form=st.sampled_from(["function", "method", "called", "run"]),
    control=conducts(),
    candidate=conducts(),
    hooks=st.dictionaries(st.sampled_from(HOOKS), st.sampled_from(ERRORS), max_size=4),
    order=st.sampled_from(["random", "control-first", "control-last"]),
    in_handler=st.booleans(),
)
def test_the_decorated_function_does_what_the_undecorated_one_does(
    form: str,
    control: Conduct,
    candidate: Conduct,
    hooks: dict[str, Callable[[], BaseException]],
    order: str,
    in_handler: bool,
) -> None:
    """Same outcome, same chain, same frames, same changed arguments; the control runs once.

    What the caller is handling meanwhile stays as it was, too.
    """
    options = {"order": order, **hooked(hooks)}
    with_experiment = told_of(form, control, candidate, in_handler, options)
    assert with_experiment == told_of(form, control, None, in_handler, {"enabled": False})


@given(
    form=st.sampled_from(["function", "method", "called", "run"]),
    mode=st.sampled_from(["concurrent", "background"]),
    control=conducts(),
    candidate=conducts(),
    hooks=st.dictionaries(
        st.sampled_from(sorted({*HOOKS} - {"order"})), st.sampled_from(ERRORS), max_size=2
    ),
    in_handler=st.booleans(),
)
def test_so_it_does_where_the_candidate_runs_on_another_thread(
    form: str,
    mode: str,
    control: Conduct,
    candidate: Conduct,
    hooks: dict[str, Callable[[], BaseException]],
    in_handler: bool,
) -> None:
    """Whatever the candidate does there but to raise an exception that the caller handles."""
    if candidate.way == RERAISES:
        candidate = attrs.evolve(candidate, way=RAISES)
    options = {"mode": mode, "breaker": None, **hooked(hooks)}
    with_experiment = told_of(form, control, candidate, in_handler, options)
    assert with_experiment == told_of(form, control, None, in_handler, {"enabled": False})


def hooked(hooks: dict[str, Callable[[], BaseException]]) -> dict[str, Any]:
    """Make the options of callbacks that fail."""
    options: dict[str, Any] = {"on_failure": lambda *_: None, "publishers": ()}
    for name, error in hooks.items():
        options[name] = (failing(error),) if name == "publishers" else failing(error)
    if "sample_by" in hooks:
        options.setdefault("sample", 0.5)
    return options


def told_of(
    form: str,
    control: Conduct,
    candidate: Conduct | None,
    in_handler: bool,
    options: dict[str, Any],
) -> dict[str, Any]:
    """Tell all that can be seen of a call, once its candidate is over."""

    def story(handled: BaseException | None) -> dict[str, Any]:
        world = World(handled)
        if handled is not None:
            world.name(handled, "handled")
        behaviour = world.control(control)
        other = behaviour if candidate is None else partial(act, candidate, world, "candidate")
        call = decorated(form, behaviour, other, options)
        arguments = [[[1]], [[2], "b"]]

        def call_and_wait() -> Any:
            try:
                return call(arguments[0], "atom", key=arguments[1])
            finally:
                assert twinrun.flush(WATCHDOG)

        return told(world, call_and_wait, arguments)

    return handling(in_handler, story)  # type: ignore[no-any-return]

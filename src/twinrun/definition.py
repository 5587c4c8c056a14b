"""Experiments: as an object, and as a decorator."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Concatenate, NoReturn, ParamSpec, Protocol, TypeVar, Unpack, overload

import attrs

from twinrun._kinds import Kind
from twinrun._runner.background import execute
from twinrun._runner.behaviours import CONTROL_NAME, Lineup, behaviours_of, lineup_of
from twinrun._runner.choice import runner
from twinrun._runner.inline import control_alone
from twinrun._runner.pool import pool
from twinrun._runner.recipe import Options, Recipe, recipe_of
from twinrun.errors import ConfigurationError
from twinrun.result import Result
from twinrun.typing import Behaviour, Context

__all__ = ["Experiment", "Experimental", "experiment"]

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
S = TypeVar("S")


@attrs.frozen(eq=False, init=False, repr=False)
class Experiment:
    """A recipe for running a control and its candidates side by side.

    It is immutable, holds no state of a run, is safe to share between threads, and is compared by
    identity. Behaviours may be given here or to `run`; with both a control and a candidate here, it
    can be called like the control itself.

    Args:
        name: any non-empty text; experiments of one name share a tally.
        control: the trusted code, whose outcome the caller gets.
        candidate: its replacement, or `"package.module:function"`, looked up at first use.
        candidates: several replacements by name.
        **options: see the table of options in the reference.

    Raises:
        ConfigurationError: a name, behaviour or option is visibly wrong.
    """

    _recipe: Recipe
    _named: Mapping[str, Behaviour]
    _lineup: Lineup | None
    _run: Callable[..., Any]

    def __init__(
        self,
        name: str,
        *,
        control: Behaviour | None = None,
        candidate: Behaviour | str | None = None,
        candidates: Mapping[str, Behaviour | str] | None = None,
        **options: Unpack[Options],
    ) -> None:
        recipe = recipe_of(name, options)
        named = behaviours_of(name, control, candidate, candidates, recipe.baseline)
        by_name = recipe.compare_arguments is not None
        lineup = None if control is None else lineup_of(name, named, CONTROL_NAME, by_name=by_name)
        run = _no_control(name) if lineup is None else runner(recipe, lineup)
        if recipe.mode != "inline":
            pool.hook_exit()  # now, so that exit handlers of the application may still run it
        self.__attrs_init__(recipe, named, lineup, run)

    def __repr__(self) -> str:
        return f"<Experiment {self.name!r}: {', '.join(self._named) or 'no behaviours yet'}>"

    @property
    def name(self) -> str:
        """The experiment's name."""
        return self._recipe.name

    @property
    def control(self) -> Behaviour | None:
        """The control, where one was given when the experiment was made."""
        return None if self._lineup is None else self._lineup.control

    @property
    def candidates(self) -> Mapping[str, Behaviour]:
        """The candidates by name that were given when the experiment was made."""
        return MappingProxyType(
            {name: each for name, each in self._named.items() if each is not self.control}
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the experiment on these arguments and give what the control gave.

        Raises:
            ConfigurationError: the experiment was made without a control.
        """
        return self._run(*args, **kwargs)

    def run(
        self,
        *,
        control: Behaviour | str | None = None,
        candidate: Behaviour | str | None = None,
        candidates: Mapping[str, Behaviour | str] | None = None,
        context: Context | None = None,
    ) -> Any:
        """Run behaviours that take no arguments, and give what the control gave.

        Args:
            control: the trusted code, or the name of the behaviour that is to be the control.
            candidate: its replacement.
            candidates: several behaviours by name.
            context: what to remember of this run, merged over the experiment's own context.

        Raises:
            ConfigurationError: there is no control, or a behaviour is wrong; nothing has run then.
        """
        lineup = self._lined_up(control, candidate, candidates)
        ending = execute(self._recipe, lineup, (), {}, context)
        if ending is None:
            return lineup.control()
        if ending.error is None:
            return ending.value
        try:
            raise ending.before_raise()
        finally:
            ending.after_raise()

    def observe(
        self,
        *,
        control: Behaviour | str | None = None,
        candidate: Behaviour | str | None = None,
        candidates: Mapping[str, Behaviour | str] | None = None,
        context: Context | None = None,
    ) -> Result:
        """Run behaviours like `run`, publish, and give the whole Result.

        It never raises what the control raised. Where the experiment is off, the Result is of the
        control alone.

        Raises:
            ConfigurationError: there is no control, or a behaviour is wrong; nothing has run then.
        """
        lineup = self._lined_up(control, candidate, candidates)
        ending = execute(self._recipe, lineup, (), {}, context, observe=True)
        if ending is None:
            return control_alone(self._recipe, lineup)
        return ending.result_or_control()

    async def arun(
        self,
        *,
        control: Behaviour | str | None = None,
        candidate: Behaviour | str | None = None,
        candidates: Mapping[str, Behaviour | str] | None = None,
        context: Context | None = None,
    ) -> Any:
        """Run behaviours like `run`; what they give is awaited, where it can be.

        Coroutine functions and plain ones may stand side by side.

        Raises:
            ConfigurationError: there is no control, or a behaviour is wrong; nothing has run then.
        """
        from twinrun._runner import asynchronous

        lineup = self._lined_up(control, candidate, candidates, Kind.COROUTINE)
        ending = await asynchronous.execute(self._recipe, lineup, (), {}, context)
        if ending is None:
            value = lineup.control()
            return await value if asynchronous.is_awaitable(value) else value
        if ending.error is None:
            return ending.value
        try:
            raise ending.before_raise()
        finally:
            ending.after_raise()

    async def aobserve(
        self,
        *,
        control: Behaviour | str | None = None,
        candidate: Behaviour | str | None = None,
        candidates: Mapping[str, Behaviour | str] | None = None,
        context: Context | None = None,
    ) -> Result:
        """Run behaviours like `arun`, publish, and give the whole Result, like `observe`.

        A cancellation of the calling task is no outcome of the control: it is raised.

        Raises:
            ConfigurationError: there is no control, or a behaviour is wrong; nothing has run then.
        """
        from twinrun._runner import asynchronous

        lineup = self._lined_up(control, candidate, candidates, Kind.COROUTINE)
        ending = await asynchronous.execute(self._recipe, lineup, (), {}, context, observe=True)
        if ending is None:
            return await asynchronous.control_alone(self._recipe, lineup)
        return ending.result_or_control()

    def _lined_up(
        self,
        control: Behaviour | str | None,
        candidate: Behaviour | str | None,
        candidates: Mapping[str, Behaviour | str] | None,
        kind: Kind = Kind.PLAIN,
    ) -> Lineup:
        """Put together the behaviours given here and those given when this was made."""
        name = self.name
        if self._recipe.compare_arguments is not None:
            raise ConfigurationError(
                f"{name!r} can't compare arguments here, where its behaviours get none: with "
                "compare_arguments it is called, or decorates a function"
            )
        role = control if isinstance(control, str) else CONTROL_NAME
        function = None if isinstance(control, str) else control
        given = behaviours_of(name, function, candidate, candidates, self._recipe.baseline)
        for twice in given.keys() & self._named.keys():
            raise ConfigurationError(f"{name!r} has two behaviours with the name {twice!r}")
        lineup = lineup_of(name, {**self._named, **given}, role, kind is Kind.COROUTINE)
        if lineup.kind is not kind:
            raise ConfigurationError(
                f"{name!r} can't run a {lineup.kind.value} as its control here: `run` and "
                "`observe` take plain functions, `arun` and `aobserve` coroutine functions; "
                "generator functions are decorated, or called through an Experiment with a control"
            )
        return lineup


def _no_control(name: str) -> Callable[..., NoReturn]:
    """Make what calling an experiment without a control comes to."""

    def run(*args: Any, **kwargs: Any) -> NoReturn:
        raise ConfigurationError(
            f"{name!r} can't be called: it has no control; give control= when making it"
        )

    return run


class Experimental(Protocol[P, R_co]):
    """A decorated function as type checkers see it: the function's own signature, and more."""

    experiment: Experiment
    __name__: str
    __qualname__: str

    @property
    def __wrapped__(self) -> Callable[P, R_co]:
        """The control itself."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Run the experiment and give what the control gave."""

    # As mypy tells them apart: a classmethod's, a function of the class, a method's of an instance,
    # a staticmethod's. Callable, not Experimental, since only its parameters are checked strictly.
    @overload
    def __get__(  # type: ignore[misc]
        self: Callable[Concatenate[type[S], Q], R_co], instance: Any, owner: type[S], /
    ) -> Callable[Q, R_co]: ...
    @overload
    def __get__(self, instance: None, owner: type[Any], /) -> Experimental[P, R_co]: ...
    @overload
    def __get__(
        self: Callable[Concatenate[S, Q], R_co], instance: S, owner: type[Any] | None = None, /
    ) -> Callable[Q, R_co]: ...
    @overload
    def __get__(self, instance: Any, owner: type[Any], /) -> Experimental[P, R_co]: ...


def experiment(
    name: str,
    *,
    candidate: Behaviour | str | None = None,
    candidates: Mapping[str, Behaviour | str] | None = None,
    **options: Unpack[Options],
) -> Callable[[Callable[P, R]], Experimental[P, R]]:
    """Decorate a function or method that is to be replaced: it becomes the control.

    The result is a real function of the same signature; its `experiment` is the `Experiment`, its
    `__wrapped__` the control. Arguments and errors are those of `Experiment`.
    """

    def decorate(control: Callable[P, R]) -> Experimental[P, R]:
        made = Experiment(
            name, control=control, candidate=candidate, candidates=candidates, **options
        )
        run: Any = functools.wraps(control)(made._run)
        run.experiment = made
        return run  # type: ignore[no-any-return]

    return decorate

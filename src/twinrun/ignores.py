"""Ignore rules: which differences are known and wanted.

A plain callable of the control's and the candidate's observation says yes or no to all that differs
between them. A `Rule` is asked about each difference, and also knows the run's context. Rules are
composed by `&`, `|` and `~`, with each other and with plain callables.
"""

from __future__ import annotations

import datetime
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any, Final, Literal, TypeAlias

import attrs

from twinrun.comparators._rules import patterns_of
from twinrun.difference import Difference, DifferenceKind
from twinrun.errors import ConfigurationError
from twinrun.observation import Observation
from twinrun.patterns import Pattern
from twinrun.typing import Ignore

__all__ = ["Rule", "kind", "name_of", "path", "raised", "rule", "when"]

_LONGEST_NAME: Final = 200
_SIDES: Final = ("candidate", "control", "both")


@attrs.frozen
class _Case:
    """What a rule is asked about."""

    difference: Difference
    control: Observation
    candidate: Observation
    context: Mapping[str, Any]
    now: datetime.datetime


_Answer: TypeAlias = bool | None
"""Whether a rule covers a difference; None where it does not hold any longer.

This is Kleene's logic of three values: what has ended is unknown, and so is `~` of it, so that
nothing is ignored because a rule has ended.
"""


@attrs.frozen(eq=False, repr=False)
class Rule:
    """Says which differences are ignored; `path`, `kind`, `raised`, `when` and `rule` make one.

    `whole` tells that it looks at the run alone, so that its answer is the same for all differences
    of a run. `reason` and `until` are what they were made with; those of parts stay with them.
    """

    _text: str
    _says: Callable[[_Case], Any]
    whole: bool = False
    reason: str | None = None
    until: datetime.date | None = None
    _parts: tuple[Rule, ...] = ()
    _sign: str = ""

    def covers(
        self,
        difference: Difference,
        control: Observation,
        candidate: Observation,
        context: Mapping[str, Any],
        now: datetime.datetime,
    ) -> bool:
        """Whether this difference is ignored; `now` is an aware time, context is the run's."""
        return self._answer(_Case(difference, control, candidate, context, now)) is True

    def expired(self, now: datetime.datetime) -> tuple[Rule, ...]:
        """Give the rules in it, itself first, that don't hold any longer at this time."""
        own = (self,) if self._has_ended(now) else ()
        return own + tuple(each for part in self._parts for each in part.expired(now))

    def _has_ended(self, now: datetime.datetime) -> bool:
        return self.until is not None and now >= _end(self.until)

    def _answer(self, case: _Case) -> _Answer:
        """Answer, unless this rule has ended."""
        if self._has_ended(case.now):
            return None
        said = self._says(case)
        return None if said is None else bool(said)

    def __and__(self, other: Rule | Ignore) -> Rule:
        return _composed("&", self, other)

    def __rand__(self, other: Ignore) -> Rule:
        return _composed("&", other, self)

    def __or__(self, other: Rule | Ignore) -> Rule:
        return _composed("|", self, other)

    def __ror__(self, other: Ignore) -> Rule:
        return _composed("|", other, self)

    def __invert__(self) -> Rule:
        def says(case: _Case) -> _Answer:
            answer = self._answer(case)
            return None if answer is None else not answer

        inner = f"({self._text})" if self._sign in ("&", "|") else self._text
        return Rule(f"~{inner}", says, self.whole, parts=(self,), sign="~")

    def __bool__(self) -> bool:
        """Refuse: `and`, `or` and `not` would take one of two rules and drop the other."""
        raise ConfigurationError(f"{self!r} is neither true nor false: compose rules by &, | and ~")

    def __str__(self) -> str:
        """Name the rule, with the reason of it, as a comparison and the tally do."""
        text = self._text if self.reason is None else f"{self._text}: {self.reason}"
        return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…"

    def __repr__(self) -> str:
        """Write the call that made it."""
        if self._sign:
            return self._text
        said = {"reason": self.reason, "until": self.until}
        added = [f"{name}={value!r}" for name, value in said.items() if value is not None]
        return f"{', '.join([self._text[:-1], *added])})"


def path(
    *patterns: str | Pattern, reason: str | None = None, until: datetime.date | None = None
) -> Rule:
    """Ignore what differs at these places, or inside them: `path("$.items[*].price")`.

    Takes path patterns; `$` is the whole of what was returned, and covers all
    of it; what differs among compared arguments is under `$args`. Like every rule it may be given a
    `reason` (a text), and `until`: the last day, in UTC, on which it holds, or an aware datetime
    up to which it does. Raises ConfigurationError for anything else.
    """
    found = patterns_of(patterns, "path()")

    def says(case: _Case) -> bool:
        return any(pattern.covers(case.difference.path) for pattern in found)

    return _made("path", [repr(each.text) for each in found], says, False, reason, until)


def kind(
    *kinds: DifferenceKind | str, reason: str | None = None, until: datetime.date | None = None
) -> Rule:
    """Ignore differences of these kinds: `kind("added")`.

    The kinds are `changed`, `added`, `removed`, `type` and `raised`. `reason` and `until` as for
    `path`. Raises ConfigurationError for anything else.
    """
    accepted = [each.value for each in DifferenceKind]
    if not kinds or any(not isinstance(each, str) or each not in accepted for each in kinds):
        given = ", ".join(map(repr, kinds))
        raise ConfigurationError(
            f"kind({given}): one or several of {', '.join(map(repr, accepted))} are accepted"
        )
    found = tuple(map(DifferenceKind, kinds))

    def says(case: _Case) -> bool:
        return case.difference.kind in found

    return _made("kind", [repr(each.value) for each in found], says, False, reason, until)


def raised(
    *exceptions: type[BaseException],
    by: Literal["candidate", "control", "both"] = "candidate",
    reason: str | None = None,
    until: datetime.date | None = None,
) -> Rule:
    """Ignore runs in which the candidate raised an exception of these types, or derived from them.

    `by="control"` asks what the control raised, `by="both"` wants it of both sides. A group's
    members are not looked at. `reason` and `until` as for `path`. Raises ConfigurationError for
    anything else.
    """
    if not exceptions or not all(
        isinstance(each, type) and issubclass(each, BaseException) for each in exceptions
    ):
        given = ", ".join(map(repr, exceptions))
        raise ConfigurationError(
            f"raised({given}): one or several types of exceptions are accepted, as raised(KeyError)"
        )
    if by not in _SIDES:
        raise ConfigurationError(
            f"raised(by={by!r}): one of {', '.join(map(repr, _SIDES))} is accepted"
        )

    def says(case: _Case) -> bool:
        seen = {"candidate": case.candidate, "control": case.control}
        asked = seen.values() if by == "both" else [seen[by]]
        return all(issubclass(type(each.exception), exceptions) for each in asked)

    shown = [each.__qualname__ for each in exceptions]
    shown += [f"by={by!r}"] if by != "candidate" else []
    return _made("raised", shown, says, True, reason, until)


def when(
    predicate: Callable[[Mapping[str, Any]], Any],
    *,
    reason: str | None = None,
    until: datetime.date | None = None,
) -> Rule:
    """Ignore runs of whose context a callable says yes: `when(lambda c: c["country"] == "DE")`.

    `reason` and `until` as for `path`. Raises ConfigurationError for what is no plain callable.
    """
    _check_callable("when", "a plain callable of the run's context", predicate)
    return _made(
        "when", [name_of(predicate)], lambda case: predicate(case.context), True, reason, until
    )


def rule(
    given: Rule | Ignore, *, reason: str | None = None, until: datetime.date | None = None
) -> Rule:
    """Make a rule of a callable of two observations, or give a composed one a reason and an end.

    `reason` and `until` as for `path`. Raises ConfigurationError for anything else.
    """
    if isinstance(given, Rule):
        text = given._text
        return _made("rule", [text], given._answer, given.whole, reason, until, (given,))
    _check_callable("rule", "a rule or a plain callable of two observations", given)
    return _made(
        "rule",
        [name_of(given)],
        lambda case: bool(given(case.control, case.candidate)),
        True,
        reason,
        until,
    )


def name_of(given: Any) -> str:
    """Name a rule or a callable, within 200 characters, without one call into unknown code."""
    if isinstance(given, Rule):
        return str(given)
    if type(given) is partial:
        return name_of(given.func)
    known = type(given) in (FunctionType, MethodType, BuiltinFunctionType)
    named: Any = given if known else type(given)
    return str(named.__qualname__)[:_LONGEST_NAME]


def _made(
    name: str,
    arguments: Sequence[str],
    says: Callable[[_Case], Any],
    whole: bool,
    reason: str | None,
    until: datetime.date | None,
    parts: tuple[Rule, ...] = (),
) -> Rule:
    """Make a rule of what was checked, but for its reason and its end."""
    text = f"{name}({', '.join(arguments)})"
    if reason is not None and (not isinstance(reason, str) or not reason):
        raise ConfigurationError(f"{text}: reason is a non-empty text, not {reason!r}")
    if until is not None and not isinstance(until, datetime.date):
        raise ConfigurationError(f"{text}: until is a date, or a datetime with a zone: {until!r}")
    if isinstance(until, datetime.datetime) and until.utcoffset() is None:
        raise ConfigurationError(f"{text}: a datetime as until needs a zone: {until!r} has none")
    return Rule(text, says, whole, reason, until, parts)


def _check_callable(name: str, accepted: str, given: Any) -> None:
    """Refuse what can't be called, and what nobody would await."""
    if not callable(given) or inspect.iscoroutinefunction(given):
        raise ConfigurationError(f"{name}({given!r}): {accepted} is accepted")


def _composed(sign: str, *given: Rule | Ignore) -> Rule:
    """Compose two rules; `&` is settled by the first no, `|` by the first yes."""
    rules = tuple(each if isinstance(each, Rule) else rule(each) for each in given)
    settling = sign == "|"

    def says(case: _Case) -> _Answer:
        known = True
        for each in rules:
            answer = each._answer(case)
            if answer is settling:
                return settling
            known = known and answer is not None
        return not settling if known else None

    texts = (f"({r._text})" if r._sign in {"&", "|"} - {sign} else r._text for r in rules)
    whole = all(each.whole for each in rules)
    return Rule(f" {sign} ".join(texts), says, whole, parts=rules, sign=sign)


def _end(until: datetime.date) -> datetime.datetime:
    """Give the moment from which a rule does not hold any longer."""
    if isinstance(until, datetime.datetime):
        return until
    midnight = datetime.datetime.combine(until, datetime.time(), datetime.UTC)
    return midnight + datetime.timedelta(days=1)

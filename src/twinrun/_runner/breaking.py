"""The state of one experiment's breaker in this process: on, paused, or trying one run.

There is no lock: a state is a value, and the next one is hung onto it by `dict.setdefault`, which
lets exactly one thread succeed. Signal handlers, finalizers and forks may come at any point.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import count
from math import inf
from typing import Any, Final, TypeAlias

import attrs

from twinrun._accounts import dice
from twinrun._forks import after_fork_in_child
from twinrun.samplers import Breaker

__all__ = ["BUDGET_SECONDS", "REFUSED", "Change", "Circuit", "Permit", "circuit_of"]

BUDGET_SECONDS: Final = 10.0
"""Candidates may run ahead of their share of CPU by what it comes to in so many seconds."""

REFUSED: Final = 0
"""What `Circuit.admit` gives where the control must run alone."""

_JITTER: Final = 0.25


@attrs.define(eq=False, kw_only=True)
class _State:
    """A state, with the number of its phase; `after` holds the state that took its place."""

    number: int
    since: float
    cooldown: float
    """The last cool-down in seconds, before chance shortens it; 0 where there was none yet."""
    after: dict[None, _Phase] = attrs.field(init=False, factory=dict)


@attrs.define(eq=False, kw_only=True)
class _On(_State):
    """Runs are experiments; failures in a row, and CPU seconds by which the share is exceeded."""

    failures: int = 0
    debt: float = 0.0
    as_of: float


@attrs.define(eq=False, kw_only=True)
class _Paused(_State):
    """Controls run alone until a time; a counter of these runs; when the first pause began."""

    until: float
    began: float
    refused: Iterator[int] = attrs.field(factory=count)


@attrs.define(eq=False, kw_only=True)
class _Trying(_State):
    """One run is under way after a pause; if it has not reported by `until`, it has failed."""

    until: float
    pause: _Paused


_Phase: TypeAlias = _On | _Paused | _Trying


@attrs.frozen
class Change:
    """That an experiment paused or resumed, and what there is to say of it."""

    event: str
    facts: dict[str, Any]


class Circuit:
    """Decides for a breaker which runs are experiments, by what became of the earlier ones.

    Each run is admitted under the number of the phase it falls into, and reports under it: what
    comes from an earlier phase says nothing of the present one.
    """

    def __init__(
        self,
        breaker: Breaker,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = dice.random,
    ) -> None:
        """Take what gives seconds that only grow, and what gives numbers within 0..1."""
        self._clock = clock
        self._random = random
        self._failures = breaker.failures or inf
        self._share = breaker.cpu_share
        self._cooldown = breaker.cooldown or inf
        self._longest = breaker.longest_cooldown or inf
        self.after_fork()
        after_fork_in_child(self)

    def after_fork(self) -> None:
        """Start anew: what the parent's candidates did, the parent's breaker has seen."""
        now = self._clock()
        self.open: Permit | None = None
        """What lets runs in unasked: a permit of the present phase, while the experiment is on."""
        self._state: _Phase = _On(number=REFUSED + 1, since=now, cooldown=0.0, as_of=now)

    def admit(self) -> int:
        """Give the number under which a run is admitted, or `REFUSED`.

        While the experiment is paused one run is admitted when the cool-down is over, and none
        beside it until it has reported, was dropped, or has taken as long as the cool-down.
        """
        while True:
            state = self._state
            if state.after:
                state = self._latest()
            if isinstance(state, _On):
                return state.number
            pause = state if isinstance(state, _Paused) else state.pause
            now = self._clock()
            if now < state.until:
                next(pause.refused)
                return REFUSED
            if isinstance(state, _Trying):  # it never reported
                self._replace(state, self._paused(state, state.until, pause.began))
                continue
            trying = self._trying(state, now)
            if self._replace(state, trying):
                return trying.number

    def permit(self) -> Permit | None:
        """Give a permit for a run that is admitted; None where it is refused.

        While the experiment is on, `open` is one that serves all runs.
        """
        number = self.admit()
        if number == REFUSED:
            return None
        permit = Permit(self, number)
        if isinstance(self._state, _On) and self._state.number == number:
            self.open = permit
        return permit

    def holds(self, number: int) -> bool:
        """Say whether a run that was admitted is still to begin: no phase has come since."""
        if self._latest().number == number:
            return True
        self.open = None
        return False

    def note(self, number: int, failed: bool, cpu_ns: int) -> Change | None:
        """Take in how an admitted run ended; give what changed by it, for whoever says so."""
        while True:
            state = self._latest()
            if state.number != number or isinstance(state, _Paused):
                self.open = None
                return None
            now, cpu = self._clock(), cpu_ns / 1e9
            if isinstance(state, _On):
                new, change = self._after_run(state, failed, cpu, now)
            else:
                new, change = self._after_trial(state, failed, cpu, now)
            if new is state or self._replace(state, new):
                return change

    def drop(self, number: int) -> None:
        """Take in that an admitted run never began: if it was to be the one, the next one is."""
        state = self._latest()
        if isinstance(state, _Trying) and state.number == number:
            self._replace(state, attrs.evolve(state.pause, number=number + 1, until=self._clock()))

    def _latest(self) -> _Phase:
        state = self._state
        while state.after:  # as long as another thread is at it, or one was interrupted there
            state = state.after[None]
        return state

    def _replace(self, state: _Phase, new: _Phase) -> bool:
        """Put a state in another's place, unless that was done before."""
        if state.after.setdefault(None, new) is not new:
            return False
        self._state = new
        if not isinstance(new, _On):
            self.open = None
        return True

    def _after_run(
        self, state: _On, failed: bool, cpu: float, now: float
    ) -> tuple[_Phase, Change | None]:
        """Go on, or pause."""
        failures = state.failures + 1 if failed else 0
        debt = 0.0
        if self._share is not None:
            debt = max(0.0, state.debt - (now - state.as_of) * self._share)
            if debt > BUDGET_SECONDS * self._share:  # by the runs before this one, not by one alone
                return self._pause(state, "budget", now)
        if failures >= self._failures:
            return self._pause(state, "failures", now)
        if failures == state.failures and not (cpu and self._share):
            return state, None
        return (
            _On(
                number=state.number,
                since=state.since,
                cooldown=state.cooldown,
                failures=failures,
                debt=debt + cpu,
                as_of=now,
            ),
            None,
        )

    def _after_trial(
        self, state: _Trying, failed: bool, cpu: float, now: float
    ) -> tuple[_Phase, Change | None]:
        """Go on if the run was well, and if as many as were refused would be within the budget."""
        pause = state.pause
        if self._share is not None:
            runs = next(pause.refused) + 1
            failed = failed or cpu * runs > self._share * (now - pause.since)
        if failed:
            return self._paused(state, now, pause.began), None
        on = _On(number=state.number + 1, since=now, cooldown=state.cooldown, debt=cpu, as_of=now)
        return on, Change("experiment.resumed", {"paused_for": round(now - pause.began, 3)})

    def _pause(self, state: _On, reason: str, now: float) -> tuple[_Phase, Change]:
        """Pause, for the shortest time where the experiment was on for long enough."""
        paused = self._paused(state, now, now, now - state.since >= state.cooldown)
        wait = None if paused.until == inf else round(paused.until - now, 3)
        return paused, Change("experiment.paused", {"reason": reason, "cooldown": wait})

    def _paused(self, state: _State, now: float, began: float, afresh: bool = False) -> _Paused:
        """Make the pause that follows a state."""
        cooldown = self._cooldown if afresh else min(state.cooldown * 2, self._longest)
        return _Paused(
            number=state.number + 1,
            since=now,
            cooldown=cooldown,
            until=now + cooldown * (1 - self._random() * _JITTER),
            began=began,
        )

    def _trying(self, state: _Paused, now: float) -> _Trying:
        """Make the trial that follows a pause."""
        return _Trying(
            number=state.number + 1,
            since=now,
            cooldown=state.cooldown,
            until=now + state.cooldown,
            pause=state,
        )


@attrs.frozen(eq=False)
class Permit:
    """That a run was admitted, to be handed on with it: it ends with one `note` or `drop`."""

    circuit: Circuit
    number: int

    def holds(self) -> bool:
        """Say whether the run may still begin."""
        return self.circuit.holds(self.number)

    def note(self, failed: bool, cpu_ns: int) -> Change | None:
        """Report how the run ended; give what changed by it, for whoever says so."""
        return self.circuit.note(self.number, failed, cpu_ns)

    def drop(self) -> None:
        """Report that the run never began."""
        self.circuit.drop(self.number)


_circuits: dict[tuple[str, Breaker], Circuit] = {}


def circuit_of(name: str, breaker: Breaker) -> Circuit:
    """Give the circuit of this name: experiments with one name and equal breakers share it."""
    known = _circuits.get((name, breaker))
    return known if known is not None else _circuits.setdefault((name, breaker), Circuit(breaker))

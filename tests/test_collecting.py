"""Collecting goes on through every failure, says what an operator should know, and no more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from twinrun import collecting
from twinrun.errors import ConfigurationError
from twinrun.storing import RefusedError

redis = pytest.importorskip("redis")

from twinrun.collecting import Stop, collect_all, reason  # noqa: E402
from twinrun.consumer import Totals  # noqa: E402

AWAY = redis.ConnectionError("Error 111 connecting to cache:6379. Connection refused.")
LOCKED = OperationalError("INSERT …", {"password": "hunter2"}, Exception("database is locked"))


class Script:
    """A consumer whose rounds go as the test says: a number of messages, or an error."""

    def __init__(self, *rounds: int | BaseException, then: Callable[[], object]) -> None:
        self._rounds, self._then = iter(rounds), then
        self.waits: list[bool] = []
        self.totals = Totals()
        self.claims = 0

    def round(self, wait: bool = True) -> int:
        """Do what comes next; after the last, what the test wants to happen then."""
        self.waits.append(wait)
        for now in self._rounds:
            if isinstance(now, BaseException):
                raise now
            return now
        self._then()
        return 0

    def claim(self) -> bool:
        """Find messages of others the first time."""
        self.claims += 1
        return self.claims == 1

    def look(self) -> Totals:
        """Give the totals as the test has set them."""
        return self.totals


@pytest.fixture(autouse=True)
def haste(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Note how long it would have paused, and do not."""
    pauses: list[float] = []
    monkeypatch.setattr(Stop, "wait", lambda _, seconds: pauses.append(seconds))
    monkeypatch.setattr(collecting.random, "uniform", lambda low, high: high)
    monkeypatch.setattr(collecting, "_LOOK", 0.0)
    return pauses


def told_by(*rounds: int | BaseException, **given: Any) -> list[str]:
    """Collect until the script ends; give what was told."""
    stop, told = Stop(), list[str]()
    script = Script(*rounds, then=stop.ask)
    for name, value in given.items():
        setattr(script, name, value)
    collect_all(script, stop, told.append)  # type: ignore[arg-type]
    assert all(script.waits)
    return told


def test_what_fails_is_told_once_and_when_it_works_again() -> None:
    """However often it is tried in between."""
    assert told_by(3, AWAY, AWAY, AWAY, 2, LOCKED, LOCKED, 0) == [
        "Redis fails, and is tried again: Error 111 connecting to cache:6379. Connection refused.",
        "Redis works again.",
        "The store fails, and is tried again: database is locked.",
        "The store works again.",
    ]


def test_two_that_fail_in_turn_are_both_told() -> None:
    """First the one, then the other."""
    told = told_by(AWAY, LOCKED, LOCKED, RefusedError("the store takes no record: x"), 1)
    assert [each.partition(",")[0] for each in told] == [
        "Redis fails",
        "The store fails",
        "The store works again.",
    ]


def test_pauses_grow_to_half_a_minute_and_start_anew(haste: list[float]) -> None:
    """What is away for long is not asked for all the time."""
    told_by(*[AWAY] * 12, 1, AWAY)
    assert haste[:4] == [0.1, 0.2, 0.4, 0.8]
    assert haste[9:12] == [30.0, 30.0, 30.0]
    assert haste[12] == 0.1


@pytest.mark.parametrize("error", [AWAY, LOCKED, RefusedError("none"), OSError("disk full")])
def test_once_ends_with_the_first_failure(error: Exception) -> None:
    """Whoever asked for one pass is told what came in between."""
    script = Script(3, error, then=pytest.fail)
    with pytest.raises(type(error)):
        collect_all(script, Stop(), list[str]().append, once=True)  # type: ignore[arg-type]


def test_once_ends_when_nothing_is_left_to_read_or_to_take_over() -> None:
    """What others left is collected, too; nobody is waited for."""
    script = Script(3, 0, 2, 0, then=pytest.fail)
    collect_all(script, Stop(), list[str]().append, once=True)  # type: ignore[arg-type]
    assert (script.waits, script.claims) == ([False] * 4, 2)


def test_what_can_not_mend_itself_ends_it() -> None:
    """A store of a newer twinrun; a password that was wrong from the start."""
    for error in (ConfigurationError("newer"), redis.AuthenticationError("WRONGPASS")):
        with pytest.raises(type(error)):
            told_by(error)
    assert "Redis works again." in told_by(1, redis.AuthenticationError("WRONGPASS"), 1)


def test_what_is_lost_or_set_aside_is_told_as_it_grows() -> None:
    """Each number once."""
    told: list[str] = []
    stop = Stop()
    script = Script(1, 1, 1, then=stop.ask)
    grown = iter(
        [
            Totals(stored=1_000, lost=20),
            Totals(stored=2_000, lost=20, set_aside=3),
            Totals(stored=2_000, lost=1_020, lost_tallies=2, set_aside=3),
            Totals(stored=2_000, lost=1_020, lost_tallies=2, set_aside=3),
        ]
    )
    script.look = lambda: next(grown)  # type: ignore[method-assign]
    collect_all(script, stop, told.append)  # type: ignore[arg-type]
    assert told == [
        "20 messages with mismatches lost: Redis cut them away unread.",
        "3 messages can't be stored: set aside.",
        "1,000 messages with mismatches lost: Redis cut them away unread.",
        "2 messages with gains of tallies lost, counts are too low: Redis cut them away unread.",
    ]


def test_now_and_then_it_is_told_how_much_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a minute; here, each time."""
    assert told_by(1, 1) == []
    monkeypatch.setattr(collecting, "_NEWS", 0.0)
    assert told_by(1, totals=Totals(stored=1_000, waiting=7)) == [
        "1,000 messages stored, 7 waiting.",
        "1,000 messages stored, 7 waiting.",
    ]


def test_a_reason_shows_neither_statement_nor_parameters() -> None:
    """What the database has to say is enough."""
    assert reason(LOCKED) == "database is locked"

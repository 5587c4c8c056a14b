"""Of each group it is known, or known within bounds, how many members a window has."""

from __future__ import annotations

import contextlib
import datetime
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinrun.analysis.against import Between
from twinrun.analysis.policy import Policy
from twinrun.analysis.verdict import Status, read
from twinrun.analysis.window import LATE, members, open_window
from twinrun.result import Outcome
from twinrun.store import Exemplar, Mismatch, Store, TallyIncrement
from verdicts import NOON, group, tally

HOUR = datetime.timedelta(hours=1)
DAY = 24 * HOUR


def exemplar(at: datetime.datetime, release: str | None = None) -> Exemplar:
    """Make a kept member of a group."""
    return Exemplar(
        fingerprint="f",
        result_id="r",
        sequence=1,
        payload={},
        host="h",
        pid=1,
        release=release,
        recorded_at=at,
    )


KEPT = [exemplar(NOON - HOUR, "v2"), exemplar(NOON), exemplar(NOON + HOUR, "v2")]


@pytest.mark.parametrize(
    ("first", "last", "kept", "release", "elsewhere", "expected"),
    [
        (0, 2, [], None, 0, Between(10, 10)),
        (-2, -1, KEPT[:1], None, 0, Between(0, 0)),
        (-2, 2, KEPT, None, 0, Between(2, 9)),
        (-2, 2, KEPT, "v2", 3, Between(1, 8)),
        (0, 2, KEPT[1:], "v2", 9, Between(1, 9)),
        (0, 2, KEPT[1:], "v2", 3, Between(7, 9)),
        (0, 2, [], "v2", 0, Between(10, 10)),
    ],
)
def test_of_a_group_so_much_is_known(
    first: int,
    last: int,
    kept: list[Exemplar],
    release: str | None,
    elsewhere: int,
    expected: Between,
) -> None:
    """Its exemplars tell of themselves; what other releases counted bounds the rest."""
    seen = group("f", 10, first_seen=NOON + first * HOUR, last_seen=NOON + last * HOUR)
    assert members(seen, kept, NOON, release, elsewhere) == expected


@given(
    st.lists(st.tuples(st.integers(-5, 5), st.sampled_from(["v1", "v2"])), min_size=1), st.data()
)
def test_the_truth_lies_between_the_bounds(
    came: list[tuple[int, str]], data: st.DataObject
) -> None:
    """Whichever members are kept as exemplars, and exactly there where all are."""
    kept = data.draw(st.sets(st.sampled_from(range(len(came)))))
    release = data.draw(st.sampled_from([None, "v1", "v2"]))
    hours = [hour for hour, _ in came]
    seen = group(
        "f", len(came), first_seen=NOON + min(hours) * HOUR, last_seen=NOON + max(hours) * HOUR
    )
    elsewhere = sum(hour >= 0 and release not in (None, of) for hour, of in came)
    truth = sum(hour >= 0 and release in (None, of) for hour, of in came)
    each = [exemplar(NOON + hour * HOUR, of) for hour, of in came]
    found = members(seen, [each[n] for n in kept], NOON, release, elsewhere)
    assert found.least <= truth <= found.most
    assert members(seen, each, NOON, release, elsewhere) == Between(truth, truth)


def write(
    store: Store, at: datetime.datetime, wrong: int, release: str | None = None, **given: Any
) -> None:
    """Count mismatches of one group, and 10,000 matches beside them."""
    values: dict[str, Any] = {
        "experiment": "prices",
        "candidate": "candidate",
        "fingerprint": "f00d",
        "outcome": "mismatched",
        "kinds": ("changed",),
        "paths": ("$.total",),
        "recorded_at": at,
        "payload": {"candidate": {"differences": []}, "control": {}},
        "host": "h",
        "pid": 1,
        "release": release,
        **given,
    }
    counted = tally(10_000, {Outcome.MISMATCHED: wrong})
    store.write(
        [
            TallyIncrement(
                experiment="prices",
                process=f"p{at}{release}",
                recorded_at=at,
                tally=counted,
                release=release,
            )
        ],
        [Mismatch(result_id=f"{at} {release} {n}", **values) for n in range(wrong)],
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give the file of the store."""
    return tmp_path / "t.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    """Give an empty store."""
    with Store(path) as opened:
        yield opened


def within(store: Store, since: Any = None, release: str | None = None) -> Between:
    """Ask how many members of the one group belong to a window."""
    counted, groups = store.tally("prices", since, release), store.groups("prices")
    window = open_window(store, "prices", counted, groups, since, release)
    return window.members["f00d"]


def test_over_all_time_every_member_counts(store: Store) -> None:
    """Even those that were told of a while before their tally could be."""
    write(store, NOON, 50, recorded_at=NOON - LATE / 2)
    assert within(store) == Between(50, 50)


def test_members_whose_tallies_were_purged_pardon_nothing(store: Store, path: Path) -> None:
    """A group that goes on keeps its count; what went is not taken off what is left."""
    write(store, NOON - 100 * DAY, 500)
    write(store, NOON, 40)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM tallies WHERE minute < ?", [NOON.timestamp() // 60 - 1440])
    assert store.tally("prices").outcomes["candidate"][Outcome.MISMATCHED] == 40
    write(store, NOON, 60, fingerprint="beef", release="other")
    [verdict] = read(store, "prices", Policy(accepted=["f00d"]))
    assert verdict.against is not None
    assert verdict.against.mismatches.most >= 60
    assert verdict.status is not Status.READY


def test_where_one_release_ran_all_its_members_are_known(store: Store) -> None:
    """However few are kept."""
    write(store, NOON, 50, "v1")
    assert within(store, release="v1") == Between(50, 50)
    assert within(store, release="v2") == Between(0, 0)


def test_what_other_releases_counted_bounds_the_rest(store: Store) -> None:
    """At the same time, of the same outcome."""
    write(store, NOON, 50, "v1")
    write(store, NOON, 7, "v2")
    found = within(store, release="v1")
    assert 50 <= found.least + 7 <= found.most + 7 <= 57 + 7
    assert found.least == 50


def test_a_window_begins_with_its_minute(store: Store) -> None:
    """Of a group that began before, what was kept tells."""
    write(store, NOON - DAY, 5)
    write(store, NOON + 30 * HOUR / 3600, 6)
    assert within(store, NOON + 50 * HOUR / 3600) == Between(6, 6)
    assert within(store, NOON + HOUR) == Between(0, 0)
    window = open_window(store, "prices", tally(0, {}), [], NOON - 2 * DAY, None)
    assert (window.since, window.age) == (NOON - 2 * DAY, DAY)

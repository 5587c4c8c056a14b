"""Facts about looking after a store: old tallies are rolled up, old records go, room is free."""

import datetime
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evidence import NOON, increment, mismatch, payload, run_sql
from twinrun.errors import ConfigurationError
from twinrun.result import Outcome
from twinrun.store import Store
from twinrun.store.upkeep import EVERY, Purged, compact, purge, roll_up, tend
from twinrun.tally import Tally

HOUR = datetime.timedelta(hours=1)
DAY = datetime.timedelta(days=1)
LONG = 60


def tally(runs=1):
    """Give a tally of so many runs."""
    return Tally(experiments=runs, outcomes={"new": {Outcome.MATCHED: runs}})


def fill(store, minutes, processes=3, release=None):
    """Have processes write what they counted in so many minutes from noon on."""
    store.write(
        [
            increment(
                tally(n + 1),
                f"web:{process}:a",
                NOON + datetime.timedelta(minutes=n),
                sequence=n,
                release=release,
            )
            for process in range(processes)
            for n in range(minutes)
        ]
    )


def rows(url):
    """Give the spans of all tallies' rows, and whether each is of a store."""
    return sorted(
        (span, process.startswith("store:"))
        for span, process in run_sql(url, "SELECT span, process FROM tallies")
    )


def test_minutes_of_all_processes_become_one_row_each(url, store):
    """After ten minutes a row is no longer of one process; what is newer stays as it was."""
    fill(store, 30)
    before = store.tally("e")
    assert roll_up(store, NOON + datetime.timedelta(minutes=30))
    assert rows(url) == [(1, False)] * 3 * 10 + [(1, True)] * 20
    assert store.tally("e") == before


def test_minutes_become_hours_and_hours_become_days(url, store):
    """Rows older than two days are of an hour, those older than thirty days of a day."""
    fill(store, 12 * 60)
    before = store.tally("e")
    roll_up(store, NOON + 2 * DAY + 13 * HOUR)
    assert rows(url) == [(60, True)] * 12
    roll_up(store, NOON + 32 * DAY)
    assert rows(url) == [(1440, True)]
    assert store.tally("e") == before


def test_what_comes_late_is_added_to_what_was_rolled_up(url, store):
    """A process that could not write for days loses nothing, and counts nothing twice."""
    fill(store, 5)
    roll_up(store, NOON + 3 * DAY)
    fill(store, 6)  # five of each are known by their sequence
    roll_up(store, NOON + 3 * DAY)
    assert store.tally("e").experiments == 3 * sum(range(1, 7))
    assert rows(url) == [(60, True)]


def test_releases_stay_apart(store):
    """What ran under each release can still be told when minutes are days."""
    fill(store, 3, release="1")
    fill(store, 4, processes=1, release="2")
    store.write([increment(tally(7), "web:9:a", NOON, release="2")])
    roll_up(store, NOON + 60 * DAY)
    assert store.tally("e", release="1").experiments == 3 * 6
    assert store.tally("e", release="2").experiments == 7 + 4


@settings(max_examples=10, deadline=None)
@given(ages=st.lists(st.integers(0, 70 * 1440), min_size=1, max_size=30), data=st.data())
def test_rolling_up_keeps_every_count(tmp_path_factory, ages, data):
    """However old the rows and however often it is done: the tally from any time on adds up."""
    now = NOON + 70 * DAY
    with Store(tmp_path_factory.mktemp("store") / "store.db") as store:
        minutes = [now - datetime.timedelta(minutes=age) for age in ages]
        store.write([increment(tally(n), "p", at) for n, at in enumerate(minutes, 1)])
        since = data.draw(st.sampled_from(minutes)).replace(hour=0, minute=0, second=0)
        whole, part = store.tally("e"), store.tally("e", since=since)
        for at in data.draw(st.lists(st.sampled_from(minutes), max_size=3)):
            roll_up(store, at)
        roll_up(store, now)
        assert store.tally("e") == whole
        assert store.tally("e", since=since) == part  # a day's beginning is every span's


def test_several_that_roll_up_at_once_count_nothing_twice(url):
    """Processes that tend the same store together leave what one alone would."""
    with Store(url) as store:
        fill(store, 40, processes=20)
        whole = store.tally("e")

    def run():
        with Store(url) as own:
            roll_up(own, NOON + 3 * DAY)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    with Store(url) as store:
        assert store.tally("e") == whole
        assert rows(url) == [(60, True)]


def test_writers_that_go_on_meanwhile_lose_nothing(url):
    """A process that adds to a row that is being rolled up adds to what is there then."""
    late = NOON + 3 * DAY
    stopped = threading.Event()

    def run():
        with Store(url) as own:
            while not stopped.is_set():
                roll_up(own, late)

    thread = threading.Thread(target=run)
    thread.start()
    with Store(url) as store:
        for n in range(60):
            store.write([increment(tally(), "web:1:a", NOON, sequence=n)])
        stopped.set()
        thread.join(LONG)
        assert store.tally("e").experiments == 60


def test_a_store_is_tended_by_one_every_ten_minutes(url, store):
    """Who asks next finds that it was done, until it is due again; the time may go back."""
    fill(store, 5)
    now = NOON + HOUR
    assert tend(store, now)
    assert rows(url) == [(1, True)] * 5
    with Store(url) as other:
        assert not tend(other, now + EVERY / 2)
        assert tend(other, now + EVERY)
        assert tend(other, now - DAY)


def test_what_could_not_be_rolled_up_in_time_is_for_the_next_one(url, store):
    """With no patience it ends at once, and nobody has to wait ten minutes for the rest."""
    fill(store, 5)
    assert tend(store, NOON + HOUR, patience=-1)
    assert rows(url) == [(1, False)] * 15
    assert tend(store, NOON + HOUR)
    assert rows(url) == [(1, True)] * 5


def test_whoever_writes_for_a_minute_tends_the_store(url, store):
    """Then every ten minutes; what it wrote is there even where that fails."""
    fill(store, 3)
    assert rows(url) == [(1, False)] * 9
    store._untended_until = 0  # a minute has passed
    store.write(mismatches=[mismatch(1)])
    assert rows(url) == [(1440, True)]  # those minutes are of a day long ago
    store._untended_until = 0
    run_sql(url, "DROP TABLE identity")
    store.write([increment(tally(), sequence=0)])
    assert store.tally("e").experiments == 19


def test_what_is_old_goes(url, store):
    """Counts whose time is over, groups not seen since, and the examples of those that were."""
    fill(store, 2)
    store.write([increment(tally(), "web:1:b", NOON + 9 * DAY)])
    store.write(mismatches=[mismatch(n, fingerprint="old") for n in range(3)])
    both = [mismatch(1, fingerprint="new"), mismatch(9 * 86400, fingerprint="new")]
    store.write([increment(tally(), experiment="gone")], [*both, mismatch(1, experiment="gone")])
    expected = Purged(experiments=1, tallies=7, groups=2, examples=5)
    assert purge(store, NOON + 8 * DAY, dry_run=True) == expected
    assert store.tally("e").experiments == 10
    assert purge(store, NOON + 8 * DAY) == expected
    assert store.tally("e").experiments == 1
    assert [(g.fingerprint, g.count) for g in store.groups("e")] == [("new", 2)]
    assert [e.result_id for e in store.exemplars("new")] == [f"r{9 * 86400}"]
    assert purge(store, NOON + 8 * DAY) == Purged()


def test_examples_may_go_before_the_rest(store):
    """They hold values; counts and groups tell nothing of anybody."""
    fill(store, 1)
    store.write(mismatches=[mismatch(1)])
    gone = purge(store, NOON - DAY, examples_before=NOON + DAY)
    assert gone == Purged(examples=1)
    assert store.exemplars("f00d") == []
    assert store.groups("e")[0].count == 1


def test_an_experiment_of_which_nothing_is_left_goes(store):
    """It is forgotten a week after the last counts, when nothing can come twice any more."""
    fill(store, 1)
    store.write(mismatches=[mismatch(1)])
    assert purge(store, NOON + DAY).experiments == 0
    assert purge(store, NOON + 8 * DAY).experiments == 1
    assert store.experiments() == []
    store.write([increment(tally())], [mismatch(1)])
    assert store.groups("e")[0].count == 1


def test_what_was_purged_and_comes_again_is_counted_once(store):
    """What is delivered a second time in the week after a purge is still known."""
    fill(store, 1, processes=1)
    store.write(mismatches=[mismatch(1)])
    purge(store, NOON + DAY)
    fill(store, 1, processes=1)
    store.write(mismatches=[mismatch(1)])
    assert store.tally("e") == Tally()
    assert store.groups("e") == []
    store.write(mismatches=[mismatch(2)])
    assert [group.count for group in store.groups("e")] == [1]


def test_a_file_gets_smaller(path):
    """Where a quarter of an SQLite file is free it is written anew; else it is left."""
    with Store(path) as store:
        store.write(mismatches=[mismatch(n, fingerprint=f"f{n}") for n in range(300)])
        assert compact(store) == 0
        store.close()
        size = path.stat().st_size
        purge(store, NOON + DAY)
        freed = compact(store)
        store.close()
        assert freed > 0
        assert path.stat().st_size <= size - freed + 65536


def test_a_file_that_is_full_lets_its_oldest_examples_go(path):
    """It grows no further, whatever comes; every mismatch is counted, and new ones are kept."""
    size, batches = 2**20, 40
    with Store(path, max_bytes=size) as store:
        for batch in range(batches):
            numbers = range(batch * 50, batch * 50 + 50)
            large = {"payload": payload(context={"text": "x" * 4000})}
            store.write(mismatches=[mismatch(n, fingerprint=f"f{n}", **large) for n in numbers])
            with store.reading() as connection:
                used = "SELECT (SELECT page_count FROM pragma_page_count) * 4096"
                assert connection.exec_driver_sql(used).scalar() < 2 * size
        groups = store.groups("e")
        assert sum(group.count for group in groups) == 50 * batches
        assert store.exemplars("f0") == []
        assert store.exemplars(f"f{50 * batches - 1}") != []


@pytest.mark.parametrize("size", [0, 1000, -1, True, None, 2.0**30, "1G"])
def test_a_file_needs_some_room(path, size):
    """A limit that nothing fits into is refused when the store is made."""
    with pytest.raises(ConfigurationError, match="max_bytes is a whole number of at least 1048576"):
        Store(path, max_bytes=size)


def test_a_server_needs_no_help_to_give_room_back(postgresql):
    """PostgreSQL's autovacuum does it."""
    with Store(postgresql) as store:
        fill(store, 1)
        assert compact(store) == 0


@pytest.mark.parametrize("now", [NOON - 5000 * DAY, NOON + 5000 * DAY])
def test_a_clock_that_is_wrong_breaks_nothing(store, now):
    """Rolling up long before or after the counts keeps them."""
    fill(store, 3)
    roll_up(store, now)
    assert store.tally("e").experiments == 18

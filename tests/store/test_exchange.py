"""Facts about exports: another store takes them in, and whatever is taken twice counts once."""

import datetime
import itertools
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evidence import NOON, increment, mismatch
from twinrun.result import Outcome
from twinrun.store import Store
from twinrun.store.exchange import exported
from twinrun.store.lines import ExportError
from twinrun.store.taking import Taken, take
from twinrun.store.upkeep import purge, roll_up
from twinrun.tally import Tally

DAY = datetime.timedelta(days=1)


def tally(runs=1):
    """Give a tally of so many runs."""
    return Tally(experiments=runs, outcomes={"new": {Outcome.MATCHED: runs}})


def use(store, name, start=0, count=3):
    """Have two processes of a machine write counts and mismatches."""
    numbers = range(start, start + count)
    store.write(
        [
            increment(
                tally(n + 1), f"{name}:{p}:a", NOON + datetime.timedelta(minutes=n), sequence=n
            )
            for n in numbers
            for p in (1, 2)
        ],
        [
            mismatch(n, result_id=f"{name} {n}", fingerprint=fingerprint, release=None)
            for n in numbers
            for fingerprint in ("shared", name)
        ],
    )


def lines_of(store):
    """Give what a store exports as it comes out of a file."""
    return [json.loads(json.dumps(line)) for line in exported(store)]


def take_all(store, lines):
    """Take lines in, and sum up what was new."""
    return sum(take(store, lines), start=Taken())


def held(store):
    """Give all that a store tells of the one experiment."""
    groups = {
        group.fingerprint: (group.count, group.first_seen, group.last_seen, group.paths)
        for group in store.groups("e")
    }
    return store.tally("e"), groups, store.experiments()


@pytest.fixture
def stores(tmp_path):
    """Give stores of other machines, by their number."""
    with Store(tmp_path / "1.db") as first, Store(tmp_path / "2.db") as second:
        yield first, second


def test_another_store_takes_all_of_it(store, stores):
    """Counts, groups with their examples, and when they were seen are the same there."""
    use(stores[0], "a")
    assert take_all(store, lines_of(stores[0])) == Taken(tallies=3, groups=2, examples=6)
    assert held(store) == held(stores[0])
    assert [e.payload for e in store.exemplars("a")] == [
        e.payload for e in stores[0].exemplars("a")
    ]


def test_what_is_taken_twice_counts_once(store, stores):
    """The same export, and a later one that has all of it again, bring what is new alone."""
    use(stores[0], "a")
    first = lines_of(stores[0])
    take_all(store, first)
    assert take_all(store, first) == Taken()
    use(stores[0], "a", start=3, count=2)
    assert take_all(store, lines_of(stores[0])) == Taken(tallies=2, groups=2, examples=4)
    assert held(store) == held(stores[0])
    assert take_all(store, first) == Taken()  # an older one does no harm
    assert held(store) == held(stores[0])


def test_it_is_added_to_what_was_counted_there(store, stores):
    """A store that has counts of its own, and of a third one, adds them up by group."""
    use(store, "own")
    for other, name in zip(stores, "ab", strict=True):
        use(other, name)
        take_all(store, lines_of(other))
    assert store.tally("e").experiments == 3 * 12
    counts = {group.fingerprint: group.count for group in store.groups("e")}
    assert counts == {"shared": 9, "own": 3, "a": 3, "b": 3}
    use(store, "own", start=3, count=1)
    assert store.tally("e").experiments == 3 * 12 + 2 * 4


def test_ways_that_meet_count_once(tmp_path):
    """What came through another store, and directly, and back home, is still one."""
    with Store(tmp_path / "a") as a, Store(tmp_path / "b") as b, Store(tmp_path / "c") as c:
        use(a, "a")
        use(b, "b")
        take_all(b, lines_of(a))
        take_all(c, lines_of(b))
        take_all(c, lines_of(a))
        take_all(c, lines_of(b))
        assert c.tally("e").experiments == 24
        take_all(a, lines_of(c))
        assert held(a)[:2] == held(c)[:2] == held(b)[:2]


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_the_order_of_what_happens_does_not_matter(tmp_path_factory, seed):
    """Whatever is counted, rolled up, exported and taken in between: the sums are exact."""
    order = random.Random(seed)
    folder = tmp_path_factory.mktemp("stores")
    written = dict.fromkeys("ab", 0)
    with Store(folder / "a") as a, Store(folder / "b") as b, Store(folder / "c") as c:
        exports = [lines_of(a)]
        for _ in range(12):
            name, store = order.choice([("a", a), ("b", b)])
            match order.randrange(4):
                case 0:
                    use(store, name, start=written[name], count=2)
                    written[name] += 2
                case 1:
                    exports.append(lines_of(store))
                case 2:
                    roll_up(order.choice([a, b, c]), NOON + order.randrange(40) * DAY)
                case 3:
                    take_all(c, order.choice(exports))
        for store in (a, b):
            take_all(c, lines_of(store))
        runs = sum(2 * n for count in written.values() for n in range(1, count + 1))
        assert c.tally("e").experiments == runs
        groups = {group.fingerprint: group.count for group in c.groups("e")}
        assert groups.get("shared", 0) == sum(written.values())


def test_what_was_purged_at_its_origin_stays(store, stores):
    """An archive keeps what its sources forgot, and adds what comes to them after that."""
    use(stores[0], "a")
    take_all(store, lines_of(stores[0]))
    purge(stores[0], NOON + 8 * DAY)
    assert take_all(store, lines_of(stores[0])) == Taken()
    late = [mismatch(n, recorded_at=NOON + 9 * DAY, fingerprint="shared") for n in range(20, 25)]
    stores[0].write([increment(tally(5), "a:1:a", NOON + 9 * DAY, sequence=99)], late)
    for _ in range(2):
        take_all(store, lines_of(stores[0]))
        assert store.tally("e").experiments == 12 + 5
        counts = {group.fingerprint: group.count for group in store.groups("e")}
        assert counts == {"shared": 8, "a": 3}


def test_only_some_experiments_can_be_exported(stores, store):
    """Those that are named; the others stay where they are."""
    use(stores[0], "a")
    stores[0].write([increment(tally(), experiment="other", sequence=0)])
    take_all(store, list(exported(stores[0], ["other"])))
    assert [each.name for each in store.experiments()] == ["other"]


def test_a_store_refuses_its_own_export(stores):
    """It can't tell a copy's counts from its own."""
    use(stores[0], "a")
    with pytest.raises(ExportError, match="this very store, or from a copy"):
        take_all(stores[0], lines_of(stores[0]))
    assert stores[0].tally("e").experiments == 12


def test_the_beginning_of_an_export_is_not_taken_for_all_of_it(store, stores):
    """What is there is taken, and it is said that the rest is missing."""
    use(stores[0], "a")
    lines = lines_of(stores[0])
    for cut in range(1, len(lines)):
        with pytest.raises(ExportError, match=f"not whole: it ends after line {cut}"):
            take_all(store, lines[:cut])
    take_all(store, lines)
    assert held(store) == held(stores[0])


@pytest.mark.parametrize("lines", [[], [{}], [{"line": "tally"}], [["head"]], [7], [None]])
def test_what_is_no_export_is_refused(store, lines):
    """Nothing of it is taken."""
    with pytest.raises(ExportError):
        take_all(store, lines)
    assert store.experiments() == []


def test_an_export_of_a_newer_twinrun_is_refused(store, stores):
    """With the advice to upgrade."""
    head = {**lines_of(stores[0])[0], "twinrun": 2}
    with pytest.raises(ExportError, match="version 2, and this twinrun reads 1: upgrade"):
        take_all(store, [head])


WRONG = [None, -1, 2**63, "x", [], {}, True, "2024-01-01T00:00:00", "\ud800", 1.5]


def wrong_lines(lines):
    """Give each line with each of its parts replaced by what doesn't belong there."""
    for line in lines:
        for name, wrong in itertools.product(line, WRONG):
            if name != "line" and line[name] != wrong:
                yield {**line, name: wrong}


def test_a_line_that_was_tampered_with_breaks_nothing(store, stores):
    """Each part of each line replaced by something else is taken or refused, but never raises
    anything else; what came before is there.
    """
    use(stores[0], "a", count=1)
    head, *lines, _ = lines_of(stores[0])
    refused = 0
    for line in wrong_lines(lines):
        try:
            take_all(store, [head, line, {"line": "end", "lines": 2}])
        except ExportError as error:
            refused += 1
            assert "line 2" in str(error)
    assert refused > 200


def test_a_group_keeps_its_examples_and_takes_others_while_there_is_room(store, stores):
    """Twenty at most, and none twice."""
    store.write(mismatches=[mismatch(n, fingerprint="shared") for n in range(12)])
    use(stores[0], "a", count=15)
    assert take_all(store, lines_of(stores[0])).examples == 8 + 15
    kept = [each.result_id for each in store.exemplars("shared")]
    assert len(set(kept)) == 20
    assert {f"r{n}" for n in range(12)} <= set(kept)


def test_the_tallies_of_a_day_are_taken_in_one_transaction(store, stores):
    """Else a window that is rolled up there could be told from one half of it."""
    minutes = [NOON + datetime.timedelta(minutes=n) for n in range(700)]
    stores[0].write([increment(tally(), at=at, sequence=n) for n, at in enumerate(minutes)])
    assert [each.tallies for each in take(store, lines_of(stores[0]))] == [700]
    take_all(store, lines_of(stores[0]))
    roll_up(store, NOON + 3 * DAY)
    stores[0].write([increment(tally(), sequence=700)])
    assert take_all(store, lines_of(stores[0])).tallies > 0
    assert store.tally("e") == stores[0].tally("e")

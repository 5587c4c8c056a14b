"""Facts about the store on every database: what goes in comes out, exact and bounded."""

import datetime
import itertools
import json
import random
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evidence import NOON, increment, mismatch, payload, run_sql, writer
from twinrun.errors import ConfigurationError
from twinrun.histogram import Histogram
from twinrun.paired import PairCounts, PairedRuns
from twinrun.result import Outcome
from twinrun.store import Store, _recent, grouping
from twinrun.store._packing import pack, total, unpack
from twinrun.tally import Tally

# Opening -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", ":memory:", "mysql://u:s3cret@h/d", "a://s3cret:x@"]
)
def test_a_url_that_cannot_be_a_store_is_refused_without_its_password(url):
    """A wrong URL is a ConfigurationError at once, and no password is in its text."""
    with pytest.raises(ConfigurationError) as caught:
        Store(url)
    assert "s3cret" not in str(caught.value)


# Experiments and tallies -------------------------------------------------------------------------


def test_experiments_are_listed_by_name_with_their_times(store):
    """First and last seen span everything that was recorded, as aware times in UTC."""
    later = NOON + datetime.timedelta(days=1)
    store.write([increment(Tally(experiments=1), at=later)], [mismatch()])
    store.write([increment(Tally(experiments=1), experiment="a")])
    a, e = store.experiments()
    assert (a.name, a.first_seen, a.last_seen) == ("a", NOON, NOON)
    assert (e.name, e.first_seen, e.last_seen) == ("e", NOON, later)
    assert e.first_seen.tzinfo is datetime.UTC


def test_a_tally_is_kept_by_minute_and_process(store, url):
    """Increments of one minute and process share a row; the sum is what was written."""
    minute = datetime.timedelta(minutes=1)
    for process, at in [("p", NOON), ("p", NOON), ("p", NOON + minute), ("q", NOON)]:
        store.write([increment(Tally(experiments=1, skipped={"sample": 2}), process, at)])
    assert store.tally("e") == Tally(experiments=4, skipped={"sample": 8})
    rows = run_sql(url, "SELECT minute, process FROM tallies")
    noon = int(NOON.timestamp()) // 60
    assert sorted(rows) == [(noon, "p"), (noon, "q"), (noon + 1, "p")]


def test_a_tally_can_begin_at_a_minute(store):
    """The minute that a moment falls into counts as a whole; the span tells what there is."""
    hour = datetime.timedelta(hours=1)
    increments = [increment(Tally(experiments=10**n), at=NOON + n * hour) for n in range(3)]
    store.write(increments)
    later = NOON + hour + datetime.timedelta(seconds=50)
    minutes = [(NOON + n * hour).replace(second=0, microsecond=0) for n in range(3)]
    assert store.tally("e").experiments == 111
    assert store.tally("e", since=later).experiments == 110
    assert store.span("e") == (minutes[0], minutes[2])
    assert store.span("e", since=later) == (minutes[1], minutes[2])
    assert store.span("e", since=NOON + 3 * hour) is None
    assert store.span("unknown") is None


def test_an_unknown_experiment_has_an_empty_tally_and_no_groups(store):
    """Asking for what is not there is no error."""
    assert store.tally("nobody") == Tally()
    assert store.groups("nobody") == []
    assert store.exemplars("nobody") == []


words = st.sampled_from(["new", "scale", "counts", "zero"])
counts = st.dictionaries(words, st.integers(1, 5), max_size=2)
histograms = st.builds(
    Histogram.of, st.lists(st.floats(0, 10) | st.floats(0.9, 1.1), min_size=1, max_size=6)
)
pair_counts = st.builds(PairCounts, st.integers(1, 5), st.integers(0, 5), st.integers(0, 5))
tallies = st.builds(
    Tally,
    experiments=st.integers(0, 9),
    outcomes=st.dictionaries(
        words, st.dictionaries(st.sampled_from(Outcome), st.integers(1, 5), min_size=1)
    ),
    skipped=counts,
    dropped=counts,
    durations=st.dictionaries(words, histograms, max_size=2),
    ratios=st.dictionaries(words, st.dictionaries(words, histograms, min_size=1), max_size=2),
    ignored=st.dictionaries(
        words, st.dictionaries(words, st.integers(1, 5), min_size=1), max_size=2
    ),
    paired=st.dictionaries(
        words,
        st.builds(
            PairedRuns,
            runs=st.integers(1, 9),
            whole=pair_counts,
            places=st.dictionaries(words, pair_counts),
            uncounted=counts,
        ),
        max_size=2,
    ),
)


@given(st.lists(tallies, max_size=4))
def test_tallies_as_they_are_kept_add_up_like_tallies(parts):
    """Whatever names are counted, as they are kept now or were before: numbers come to the same."""
    whole = sum(parts, start=Tally())
    kept = [pack(tally) for tally in parts]
    assert [unpack(text) for text in kept] == parts
    assert total(kept) == whole
    assert total([json.dumps(tally.as_dict()) for tally in parts]) == whole
    assert total([*kept, json.dumps(whole.as_dict()), *reversed(kept)]) == whole + whole + whole


names = map("e{}".format, itertools.count())  # for each example, as they share a store


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(tallies, st.sampled_from("pq"), st.integers(0, 2)), max_size=6))
def test_any_split_of_a_tally_into_increments_adds_up_to_it(store, parts):
    """However a tally is cut by writes, minutes and processes, the store gives its sum."""
    name = next(names)
    for tally, process, minutes in parts:
        at = NOON + datetime.timedelta(minutes=minutes)
        store.write([increment(tally, process, at, name)])
    assert store.tally(name) == sum((tally for tally, _, _ in parts), start=Tally())


def test_clocks_that_go_wrong_lose_nothing(store):
    """Hosts whose clocks are fast, slow or absurd are counted, each under its own time."""
    times = [
        datetime.datetime(1901, 1, 1, tzinfo=datetime.UTC),
        NOON - datetime.timedelta(minutes=7),
        NOON,
        NOON + datetime.timedelta(days=1),
        datetime.datetime(9999, 12, 31, 23, 59, tzinfo=datetime.UTC),
    ]
    for number in (2, 4, 0, 3, 1):
        at = times[number]
        store.write(
            [increment(Tally(experiments=10**number), f"host{number}", at, sequence=0)],
            [mismatch(number, recorded_at=at)],
        )
    assert store.tally("e").experiments == 11111
    assert store.tally("e", since=NOON).experiments == 11100
    (experiment,), (group,) = store.experiments(), store.groups("e")
    for record in (experiment, group):
        assert (record.first_seen, record.last_seen) == (times[0], times[-1])
    assert store.span("e") == (times[0], times[-1])


def test_when_an_experiment_was_last_seen_is_not_written_all_the_time(store, url):
    """All writers meet at that row: it is left alone while it is right to ten seconds."""
    seconds = [0, 1, 9.9, 10.5, 12, 30]
    seen = []
    for second in seconds:
        store.write([increment(Tally(experiments=1), at=NOON + datetime.timedelta(seconds=second))])
        seen.append((store.experiments()[0].last_seen - NOON).total_seconds())
    assert seen == [0, 0, 0, 10.5, 10.5, 30]


def test_names_longer_than_an_index_takes_are_stored(store):
    """Texts that nothing could be found by otherwise are cut, each to something of its own."""
    noise = random.Random(1)
    names = ["".join(chr(noise.randrange(0x100, 0xD000)) for _ in range(5000)) for _ in range(2)]
    for name in names:
        changes = {"fingerprint": name, "result_id": name, "release": name, "reason": name}
        store.write(
            [increment(Tally(experiments=1), name, experiment=name, release=name, sequence=0)],
            [mismatch(experiment=name, candidate=name, **changes)],
        )
    for name in names:
        assert store.tally(name, release=name).experiments == 1
        assert [exemplar.sequence for exemplar in store.exemplars(name)] == [1]
        assert store.groups(name)[0].candidate == name
    assert len({record.name for record in store.experiments()}) == 2


# Groups and exemplars ----------------------------------------------------------------------------


def test_a_group_tells_what_its_members_have_in_common(store):
    """A group record gives back the cause, the exact count, and the span of time."""
    values = {"control_exception": None, "candidate_exception": "builtins.KeyError"}
    store.write(mismatches=[mismatch(5, **values), mismatch(2, **values), mismatch(9, **values)])
    (group,) = store.groups("e")
    assert group.experiment == "e"
    assert group.fingerprint == "f00d"
    assert (group.candidate, group.outcome, group.reason) == ("new", "mismatched", None)
    assert (group.kinds, group.paths) == (("changed",), ("$.a[*]",))
    assert group.control_exception is None
    assert group.candidate_exception == "builtins.KeyError"
    assert (group.count, group.state) == (3, "new")
    assert group.first_seen == NOON + datetime.timedelta(seconds=2)
    assert group.last_seen == NOON + datetime.timedelta(seconds=9)


def test_groups_come_by_count_and_are_found_by_prefix(store):
    """The largest group comes first; a prefix finds groups of any experiment, literally."""
    store.write(mismatches=[mismatch(n, fingerprint="aa1") for n in range(2)])
    store.write(mismatches=[mismatch(n, fingerprint="aa2") for n in range(3)])
    store.write(mismatches=[mismatch(0, fingerprint="b", experiment="other")])
    assert [group.fingerprint for group in store.groups("e")] == ["aa2", "aa1"]
    assert [group.fingerprint for group in store.find_groups("aa")] == ["aa2", "aa1"]
    assert [group.experiment for group in store.find_groups("b")] == ["other"]
    assert store.find_groups("a_") == []
    assert store.find_groups("%") == []


def test_an_exemplar_gives_back_what_was_kept(store):
    """The payload and where it came from come back as they were."""
    hostile = payload(context={"text": "\udc80 \0 é", "number": 1.5, "none": None})
    store.write(mismatches=[mismatch(3, payload=hostile)])
    (exemplar,) = store.exemplars("f00d")
    assert exemplar.payload == hostile
    assert (exemplar.result_id, exemplar.sequence) == ("r3", 1)
    assert (exemplar.host, exemplar.pid, exemplar.release) == ("here", 7, "1.2")
    assert exemplar.recorded_at == NOON + datetime.timedelta(seconds=3)


def test_names_of_any_text_are_stored(store):
    """Lone surrogates and NUL, which databases refuse, are stored as escapes and found again."""
    name = "\ud800 e\0 'quoted\" ünï"
    changes = {"candidate": name, "reason": name, "release": name, "paths": (name,)}
    store.write(
        [increment(Tally(experiments=2), experiment=name)],
        [mismatch(experiment=name, **changes)],
    )
    assert store.tally(name) == Tally(experiments=2)
    assert store.groups(name)[0].count == 1
    assert store.experiments()[0].name == "\\ud800 e\\x00 'quoted\" ünï"


@pytest.mark.parametrize("batch", [3, 7, 100])
def test_exemplars_are_bounded_while_the_count_stays_exact(store, batch):
    """The first ten stay, ten of the later ones are kept; every member counts."""
    for start in range(0, 100, batch):
        store.write(mismatches=[mismatch(n) for n in range(start, min(start + batch, 100))])
    kept = [exemplar.sequence for exemplar in store.exemplars("f00d")]
    assert store.groups("e")[0].count == 100
    assert kept[:10] == list(range(1, 11))
    assert len(kept) == len(set(kept)) == 20
    assert all(e.result_id == f"r{e.sequence - 1}" for e in store.exemplars("f00d"))


def test_later_members_have_equal_chances():
    """The reservoir keeps each later member as often as any other (chi-squared test)."""
    later, trials = 30, 3000
    kept = Counter()
    draw = random.Random().random
    for _ in range(trials):
        slots = {}
        for sequence in range(1, grouping.FIRST_KEPT + later + 1):
            slot = grouping._slot(sequence, draw)
            if slot is not None:
                slots[slot] = sequence
        kept.update(sequence for slot, sequence in slots.items() if slot >= grouping.FIRST_KEPT)
    expected = trials * grouping.RESERVOIR / later
    # Each count is binomial; their sum is fixed, so later - 1 degrees of freedom remain.
    share = 1 - grouping.RESERVOIR / later
    members = range(grouping.FIRST_KEPT + 1, grouping.FIRST_KEPT + later + 1)
    statistic = sum((kept[n] - expected) ** 2 / expected for n in members) / share
    assert statistic < 83  # P(chi-squared with 29 degrees of freedom > 83) < 1e-6


def test_a_result_seen_before_is_not_counted_twice(store):
    """A batch delivered again changes nothing, however few exemplars of it are kept."""
    batch = [mismatch(n) for n in range(1500)]
    store.write(mismatches=[*batch, *batch])
    store.write(mismatches=batch)
    assert store.groups("e")[0].count == 1500
    exemplars = store.exemplars("f00d")
    assert len(exemplars) == len({exemplar.result_id for exemplar in exemplars}) == 20


def test_only_the_newest_results_are_known_again(store, url, monkeypatch):
    """The store does not grow with the number of mismatches; an old one counts as new."""
    monkeypatch.setattr(_recent, "RECENT", 5)
    for n in range(12):
        store.write(mismatches=[mismatch(n)])
    store.write(mismatches=[mismatch(n) for n in range(7, 12)])
    assert store.groups("e")[0].count == 12
    assert run_sql(url, "SELECT count(*) FROM recent_mismatches") == [(5,)]
    store.write(mismatches=[mismatch(0)])
    assert store.groups("e")[0].count == 13


def test_one_result_may_be_in_several_groups(store):
    """Two candidates of one result count each in its own group."""
    store.write(mismatches=[mismatch(1, fingerprint="a"), mismatch(1, fingerprint="b")])
    assert [group.count for group in store.groups("e")] == [1, 1]


@pytest.mark.parametrize("part", ["context", "value", "differences"])
def test_a_payload_too_large_is_kept_without_its_values(store, part):
    """An exemplar has at most 64 KiB, keeps its shape, and says that it was cut."""
    huge = payload(id="huge")
    difference = {"path": "$", "kind": "changed", "control": "x" * 1000, "candidate": 2}
    if part == "context":
        huge["context"] = {"a": "x" * 70_000}
    elif part == "value":
        huge["candidate"]["value"] = ["x" * 70_000]
    else:
        huge["candidate"]["differences"] = [difference] * 1000
    store.write(mismatches=[mismatch(payload=huge)])
    (exemplar,) = store.exemplars("f00d")
    assert len(json.dumps(exemplar.payload)) < grouping.PAYLOAD_LIMIT
    assert exemplar.payload.keys() == huge.keys()
    assert exemplar.payload["candidate"].keys() == huge["candidate"].keys()
    assert exemplar.payload["candidate"]["value"] == {"$cut": "size"}
    assert exemplar.payload["id"] == "huge"


def test_a_write_is_all_or_nothing(store):
    """What can't be written takes the whole batch with it, so that it can come again."""
    with pytest.raises(TypeError):
        store.write([increment(Tally(experiments=1))], [mismatch(payload={"no": object()})])
    assert store.experiments() == []
    store.write([increment(Tally(experiments=1))], [mismatch()])
    assert store.tally("e") == Tally(experiments=1)


def test_many_mismatches_at_once_are_counted(store):
    """More than one statement can take are written in one transaction."""
    store.write(mismatches=[mismatch(n, fingerprint=f"{n % 3}") for n in range(2500)])
    assert sorted(group.count for group in store.groups("e")) == [833, 833, 834]


# Processes ---------------------------------------------------------------------------------------


def test_two_processes_writing_at_once_lose_nothing(url):
    """Counts of two processes that make and write one store at the same time add up exactly."""
    writers = [writer(url, name, 40) for name in ("one", "two")]
    for process in writers:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in writers:
        process.communicate(timeout=60)
        assert process.returncode == 0
    with Store(url, create=False) as store:
        assert store.tally("e") == Tally(experiments=2 * 40 * 3)
        groups = {group.fingerprint: group.count for group in store.groups("e")}
        assert groups == {"shared": 80, "one": 40, "two": 40}
        assert len(store.exemplars("shared")) == 20

"""A spool keeps what it accepted until it is delivered, within its bounds, and counts it all."""

from __future__ import annotations

import os
import stat
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from twinrun.errors import ConfigurationError
from twinrun.spool import Counts, Position, Spool

if os.name != "posix":
    pytest.skip("a spool needs a POSIX system", allow_module_level=True)

SMALL = {"max_bytes": 1 << 16, "segment_bytes": 1 << 12}


@pytest.fixture
def spool(tmp_path: Path) -> Any:
    """Give a spool with small segments."""
    spool = Spool(tmp_path / "spool", **SMALL)
    yield spool
    spool.close()


def segments(folder: Path | str) -> list[Path]:
    """The segment files in a directory."""
    return sorted(Path(folder).glob("*.segment"))


def records(spool: Spool, limit: int = 10_000) -> list[bytes]:
    """What is read."""
    return [record for _, record in spool.read(limit)]


def deliver(spool: Spool, limit: int = 10_000) -> list[bytes]:
    """Read once and report all of it as delivered."""
    read = spool.read(limit)
    spool.done([position for position, _ in read])
    return [record for _, record in read]


def drain(spool: Spool) -> list[bytes]:
    """Deliver all there is."""
    found = []
    while more := deliver(spool):
        found += more
    return found


def accounted(counts: Counts) -> bool:
    """Whether the counts add up."""
    what_came = counts.appended + counts.adopted
    went = counts.delivered + counts.set_aside + counts.evicted + counts.corrupt
    return what_came == went + counts.pending


def test_records_come_back_in_their_order(spool: Spool) -> None:
    """What was appended first is read first, whatever bytes it has."""
    given = [b"", b"one", bytes(range(256)), b"x" * 3000]
    assert spool.append(given[:3]) == 3
    assert spool.append(given[3:]) == 1
    assert records(spool) == given


def test_what_is_not_reported_is_read_again(spool: Spool) -> None:
    """Reading takes nothing away: only `done` does."""
    spool.append([b"a", b"b", b"c"])
    assert records(spool, 2) == [b"a", b"b"]
    assert deliver(spool, 2) == [b"a", b"b"]
    assert records(spool) == [b"c"]


def test_records_may_be_reported_in_any_order_and_twice(spool: Spool) -> None:
    """Each counts once."""
    spool.append([b"a", b"b", b"c"])
    (a, _), (b, _), (c, _) = spool.read(3)
    spool.done([c, c])
    assert records(spool) == [b"a", b"b"]
    spool.done([a, c])
    assert records(spool) == [b"b"]
    spool.done([b])
    assert records(spool) == []
    assert spool.counts == Counts(appended=3, delivered=3)


def test_a_position_of_nothing_known_is_ignored(spool: Spool) -> None:
    """What was evicted meanwhile, or is another spool's, can be reported without harm."""
    spool.append([b"a"])
    nowhere = Position("0" * 16, 0, 21, 0)
    spool.done([nowhere])
    assert not spool.set_aside(nowhere)
    assert spool.counts == Counts(appended=1, pending=1)


def test_a_batch_spans_segments(spool: Spool) -> None:
    """Each segment is at most as long as asked for; the order stays."""
    given = [b"%04d" % n * 100 for n in range(60)]
    assert spool.append(given) == 60
    assert len(segments(str(spool))) > 1
    assert all(path.stat().st_size <= SMALL["segment_bytes"] for path in segments(str(spool)))
    assert drain(spool) == given


def test_delivered_segments_are_removed(spool: Spool) -> None:
    """Only the one that is appended to stays, until it is full too."""
    spool.append([b"x" * 1000] * 40)
    drain(spool)
    assert len(segments(str(spool))) == 1
    spool.append([b"x" * 1000] * 4)
    drain(spool)
    assert len(segments(str(spool))) == 1


def test_one_read_gives_no_more_than_a_segment(spool: Spool) -> None:
    """However many are asked for, memory stays bounded; one record there is always."""
    spool.append([b"x" * 2000] * 20)
    assert len(records(spool)) == 3
    spool.append([b"y" * spool.largest])
    assert len(drain(spool)) == 21


def test_a_record_that_is_too_large_is_refused_and_the_others_kept(spool: Spool) -> None:
    """`largest` is exactly what fits a segment."""
    fits, too_large = b"x" * spool.largest, b"x" * (spool.largest + 1)
    assert spool.append([b"a", too_large, fits, b"b"]) == 3
    assert drain(spool) == [b"a", fits, b"b"]
    assert spool.counts == Counts(appended=3, refused=1, delivered=3)


def test_nothing_is_kept_beyond_the_bound(spool: Spool) -> None:
    """The oldest go, whole segments at once, and are counted."""
    given = [b"%05d" % n * 100 for n in range(400)]
    for record in given:
        assert spool.append([record]) == 1
        used = sum(path.stat().st_size for path in segments(str(spool)))
        assert used <= SMALL["max_bytes"]
    counts = spool.counts
    assert counts.evicted > 0
    assert accounted(counts)
    assert drain(spool) == given[counts.evicted :]


def test_evicted_while_in_delivery_counts_once(spool: Spool) -> None:
    """A record that was read, then evicted, then reported, was evicted."""
    spool.append([b"old" * 1000])
    old = spool.read(1)
    spool.append([b"new" * 1000] * 40)
    spool.done([position for position, _ in old])
    counts = spool.counts
    assert counts.delivered == 0
    assert accounted(counts)


def test_only_the_owner_may_see_it(spool: Spool) -> None:
    """The directory is 0700, each file 0600, whatever the umask."""
    before = os.umask(0)
    try:
        spool.append([b"secret"])
    finally:
        os.umask(before)
    folder = Path(str(spool))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_nothing_is_made_before_the_first_record(tmp_path: Path) -> None:
    """Neither by the constructor nor by looking for what is not there."""
    spool = Spool(tmp_path / "spool")
    assert spool.adopt() == 0
    assert spool.read(10) == []
    assert spool.append([]) == 0
    assert spool.counts == Counts()
    assert spool.state == "ready"
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_a_closed_spool_takes_nothing(spool: Spool) -> None:
    """It refuses, counts, gives nothing to read, and may be closed again."""
    spool.append([b"a"])
    spool.close()
    assert spool.append([b"b", b"c"]) == 0
    assert spool.read(10) == []
    assert spool.adopt() == 0
    spool.close()
    assert spool.counts == Counts(appended=1, refused=2, pending=1)


def test_what_a_closed_spool_left_is_adopted(tmp_path: Path, spool: Spool) -> None:
    """While its process lives on, too; delivered ones are not delivered again."""
    spool.append([b"a", b"b", b"c"])
    assert deliver(spool, 1) == [b"a"]
    spool.close()
    other = Spool(str(spool))
    assert other.adopt() == 1
    assert other.counts == Counts(adopted=2, pending=2)
    assert drain(other) == [b"b", b"c"]
    assert other.counts == Counts(adopted=2, delivered=2)
    other.close()
    assert list(Path(str(spool)).iterdir()) == []


def test_what_a_living_spool_holds_is_not_adopted(spool: Spool) -> None:
    """Another one of the same process keeps its hands off it."""
    spool.append([b"x" * 3000] * 3)
    other = Spool(str(spool))
    assert other.adopt() == 0
    other.close()
    assert drain(spool) == [b"x" * 3000] * 3


def test_a_poison_record_is_set_aside(spool: Spool) -> None:
    """It goes to a spool of its own, from which it may be delivered once the cause is mended."""
    spool.append([b"a", b"poison", b"c"])
    _, (position, _), _ = spool.read(3)
    assert spool.set_aside(position)
    assert not spool.set_aside(position), "it is there already"
    assert records(spool) == [b"a", b"c"]
    assert spool.counts == Counts(appended=3, set_aside=1, pending=2)
    spool.close()
    dead = Spool(Path(str(spool), "dead"))
    assert dead.adopt() == 1
    assert records(dead) == [b"poison"]
    dead.close()


def test_what_is_set_aside_is_bounded(spool: Spool) -> None:
    """Two segments hold it, whoever filled them."""
    for _ in range(2):
        again = Spool(str(spool), **SMALL)
        for _ in range(10):
            again.append([b"poison" * 300])
            [(position, _)] = again.read(1)
            assert again.set_aside(position)
        again.close()
    kept = segments(Path(str(spool), "dead"))
    assert 0 < sum(path.stat().st_size for path in kept) <= 2 * SMALL["segment_bytes"]


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"directory": 3}, "a spool is given by its directory, not by a int: 3"),
        ({"directory": b"spool"}, "not by a bytes"),
        ({"directory": "nul\0"}, "can't be a spool's directory"),
        ({"directory": "missing/spool"}, "there is no directory"),
        ({"segment_bytes": 100}, "segment_bytes is at least 4096, not 100"),
        ({"segment_bytes": 4096.0}, "segment_bytes is a number of bytes, not 4096.0"),
        ({"max_bytes": True}, "max_bytes is a number of bytes, not True"),
        ({"max_bytes": 1 << 20}, "max_bytes is at least two segments, 2097152, not 1048576"),
        ({"segment_bytes": 1 << 33, "max_bytes": 1 << 40}, "segment_bytes is at most"),
    ],
)
def test_nonsense_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], complaint: str
) -> None:
    """The error says what was given and what is accepted."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError) as caught:
        Spool(**{"directory": "spool", **given})
    assert complaint in str(caught.value)


def test_an_unfit_directory_is_refused_at_once(tmp_path: Path) -> None:
    """A file, a symbolic link, or what everybody may write to."""
    (tmp_path / "file").touch()
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    for name, complaint in (
        ("file", "it is no directory"),
        ("link", "it is a symbolic link"),
        ("open", "everybody may write to it: chmod o-w"),
    ):
        with pytest.raises(ConfigurationError, match=complaint):
            Spool(tmp_path / name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_somebody_elses_directory_is_refused(tmp_path: Path) -> None:
    """Who owns the directory can do to its files what he likes."""
    (tmp_path / "other").mkdir()
    os.chown(tmp_path / "other", 12345, -1)
    with pytest.raises(ConfigurationError, match="it belongs to user 12345"):
        Spool(tmp_path / "other")


def test_a_directory_that_became_a_trap_is_refused_later(tmp_path: Path) -> None:
    """A link put in its place before the first record gets none."""
    spool = Spool(tmp_path / "spool")
    (tmp_path / "target").mkdir()
    (tmp_path / "spool").symlink_to(tmp_path / "target")
    assert spool.append([b"a"]) == 0
    assert spool.state == "broken"
    assert spool.counts == Counts(refused=1)
    assert list((tmp_path / "target").iterdir()) == []
    spool.close()


def test_a_relative_directory_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that changes its working directory takes no spool along."""
    monkeypatch.chdir(tmp_path)
    spool = Spool("spool")
    monkeypatch.chdir("/")
    spool.append([b"a"])
    assert (tmp_path / "spool").is_dir()
    spool.close()


class Life(RuleBasedStateMachine):
    """A spool against a plain list, over any sequence of what may be done to it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.spool = Spool(Path(self.folder.name, "spool"), **SMALL)
        self.number = 0
        self.waiting: list[bytes] = []
        self.newest = b""  # of those that were reported
        self.became: Counter[str] = Counter()

    @rule(sizes=st.lists(st.integers(0, 1500), max_size=12))
    def append(self, sizes: list[int]) -> None:
        """Append; what had to go for it are the oldest."""
        fresh = [b"%08d" % (self.number + n) + b"x" * size for n, size in enumerate(sizes)]
        self.number += len(fresh)
        evicted = self.spool.counts.evicted
        assert self.spool.append(fresh) == len(fresh)
        evicted = self.spool.counts.evicted - evicted
        self.waiting += fresh
        del self.waiting[:evicted]
        self.became.update(appended=len(fresh), evicted=evicted)

    @rule(limit=st.integers(0, 30), data=st.data())
    def deliver_some(self, limit: int, data: st.DataObject) -> None:
        """Report some of what was read, in any order."""
        read = self.spool.read(limit)
        assert [record for _, record in read] == self.waiting[: len(read)]
        chosen = data.draw(st.lists(st.sampled_from(read), unique_by=id)) if read else []
        self.spool.done([position for position, _ in chosen])
        gone = {record for _, record in chosen}
        self.waiting = [record for record in self.waiting if record not in gone]
        self.became.update(delivered=len(gone))
        self.newest = max([self.newest, *gone])

    @rule()
    def set_one_aside(self) -> None:
        """Take the first out of the way."""
        for position, record in self.spool.read(1):
            assert self.spool.set_aside(position)
            self.waiting.remove(record)
            self.became.update(set_aside=1)

    @rule()
    def change_hands(self) -> None:
        """Close it, and go on with another one that adopts what is left.

        What was reported out of order would be read again, so all that is older is reported first.
        """
        while older := [position for position, r in self.spool.read(30) if r < self.newest]:
            self.spool.done(older)
        self.waiting = [record for record in self.waiting if record > self.newest]
        self.spool.close()
        self.spool = Spool(str(self.spool), **SMALL)
        self.spool.adopt()
        self.became = Counter(adopted=len(self.waiting))

    @invariant()
    def counts_are_exact(self) -> None:
        """Every count is what the list says."""
        expected = Counts(**self.became, pending=len(self.waiting))
        assert self.spool.counts == expected
        assert accounted(expected)

    def teardown(self) -> None:
        """All that waits is there to the last."""
        try:
            assert drain(self.spool) == self.waiting
        finally:
            self.spool.close()
            self.folder.cleanup()


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=40, stateful_step_count=25)


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=20), st.data())
def test_damaged_records_are_counted_and_the_others_delivered(
    given: list[bytes], data: st.DataObject
) -> None:
    """Whatever part of a segment is overwritten, the counts add up in its own process."""
    with tempfile.TemporaryDirectory() as folder:
        spool = Spool(Path(folder, "spool"))
        spool.append(given)
        [path] = segments(str(spool))
        raw = bytearray(path.read_bytes())
        start = data.draw(st.integers(0, len(raw) - 1))
        for place in range(start, min(len(raw), start + data.draw(st.integers(1, 80)))):
            raw[place] ^= 0xA5
        path.write_bytes(bytes(raw))
        delivered = drain(spool)
        spool.close()
        assert len(delivered) < len(given)
        assert not Counter(delivered) - Counter(given)
        heir = Spool(str(spool))
        heir.adopt()
        assert drain(heir) == []
        counts = attrs.astuple(spool.counts)
        assert accounted(spool.counts), counts
        assert spool.counts.delivered == len(delivered)
        assert accounted(heir.counts)
        heir.close()


def test_damage_in_an_adopted_segment_is_counted_by_records(spool: Spool) -> None:
    """The numbers of the frames tell how many are missing between two, and before the first."""
    spool.append([b"%d" % n for n in range(10)])
    spool.close()
    [path] = segments(str(spool))
    raw = bytearray(path.read_bytes())
    for frame in (0, 4, 5, 9):  # each is 21 bytes long
        raw[frame * 21 + 20] ^= 1
    path.write_bytes(bytes(raw))
    heir = Spool(str(spool))
    heir.adopt()
    assert heir.counts == Counts(adopted=10, pending=10)
    assert drain(heir) == [b"1", b"2", b"3", b"6", b"7", b"8"]
    assert heir.counts == Counts(adopted=10, delivered=6, corrupt=4)
    heir.close()
    assert segments(str(spool)) == []


def test_a_torn_tail_is_no_damage(spool: Spool) -> None:
    """What a dying process had half written was never accepted."""
    spool.append([b"a", b"b"])
    spool.close()
    [path] = segments(str(spool))
    path.write_bytes(path.read_bytes()[:-1])
    heir = Spool(str(spool))
    heir.adopt()
    assert drain(heir) == [b"a"]
    assert heir.counts == Counts(adopted=1, delivered=1)
    heir.close()

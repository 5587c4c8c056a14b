"""One consumer of a group: what it stores, reports, takes over, sets aside and finds lost."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pytest

import twinrun
from twinrun.cleaners import payload
from twinrun.consumer import Consumer, Totals
from twinrun.publishers import RedisPublisher
from twinrun.store import Store, TallyIncrement
from twinrun.store.incoming import record
from twinrun.storing import RefusedError
from twinrun.tally import Tally
from twinrun.transit import Keys, client, tally_record

redis = pytest.importorskip("redis")

NOW = datetime.datetime(2026, 3, 1, 8, 30, tzinfo=datetime.UTC)
KEYS = Keys("twinrun")


def evidence(count: int) -> list[bytes]:
    """Make records of so many mismatches of one group."""
    with twinrun.recording() as results:
        compared = twinrun.Experiment("totals", publishers=())
        for _ in range(count):
            compared.run(control=lambda: 7, candidate=lambda: 8)
    given: dict[str, Any] = {"experiment": "totals", "recorded_at": NOW, "host": "web-1"}
    return [record(payload(result), **given, pid=1, release=None) for result in results]


def gains(count: int) -> list[bytes]:
    """Make records of so many gains of one run each."""
    return [
        tally_record(
            TallyIncrement(
                experiment="totals",
                process="web-1:1:abc",
                sequence=number,
                recorded_at=NOW,
                tally=Tally(experiments=1),
            )
        )
        for number in range(count)
    ]


class Bench:
    """A Redis, a store, and consumers between them."""

    def __init__(self, url: str, path: Path) -> None:
        self.client = client(url)
        self.store = Store(path)
        self.publisher = RedisPublisher(url)

    def consumer(self, **given: Any) -> Consumer:
        """Make a consumer, which takes over at once what others leave."""
        return Consumer(self.client, self.store, KEYS, **{"idle": 0.0, **given})

    def publish(self, mismatches: list[bytes] = [], tallies: list[bytes] = []) -> None:  # noqa: B006
        """Append records as a process does."""
        for stream, records in zip(KEYS.streams, (mismatches, tallies), strict=True):
            if records:
                self.publisher._append(stream, records)

    @property
    def stored(self) -> tuple[int, int]:
        """How many mismatches and runs the store has counted."""
        mismatches = sum(group.count for group in self.store.groups("totals"))
        return mismatches, self.store.tally("totals").experiments

    @property
    def dead(self) -> list[dict[bytes, bytes]]:
        """What was set aside."""
        return [fields for _, fields in self.client.xrange(KEYS.dead)]


@pytest.fixture
def bench(redis_url: str, tmp_path: Path) -> Any:
    """Give a Redis that is empty and a store that is, too."""
    bench = Bench(redis_url, tmp_path / "twinrun.db")
    yield bench
    bench.publisher.close()
    bench.store.close()
    bench.client.close()


def drain(consumer: Consumer) -> Totals:
    """Have a consumer deal with all there is."""
    while consumer.round(wait=False):
        pass
    return consumer.look()


def test_what_was_published_is_stored_once_and_reported(bench: Bench) -> None:
    """Mismatches and gains of tallies, in batches of both."""
    bench.publish(evidence(25), gains(12))
    assert drain(bench.consumer(batch=10)) == Totals(stored=37)
    assert bench.stored == (25, 12)
    assert drain(bench.consumer()) == Totals()


def test_what_comes_twice_is_counted_once(bench: Bench) -> None:
    """A publisher whose answer was lost sends again; both messages are collected."""
    mismatches, tallies = evidence(3), gains(3)
    bench.publish(mismatches, tallies)
    bench.publish(mismatches, tallies)
    assert drain(bench.consumer()) == Totals(stored=12)
    assert bench.stored == (3, 3)


def test_two_consumers_share_the_messages(bench: Bench) -> None:
    """Each is stored by one of them."""
    bench.publish(evidence(20), gains(20))
    one, other = bench.consumer(batch=5, idle=60), bench.consumer(batch=5, idle=60)
    while one.round(wait=False) + other.round(wait=False):
        pass
    assert one.look().stored == other.look().stored == 20
    assert bench.stored == (20, 20)


def test_what_a_consumer_does_not_finish_another_one_takes_over(bench: Bench) -> None:
    """It read and died: after the idle time its messages are claimed."""
    bench.publish(evidence(7), gains(2))
    dying = bench.consumer(consumer="dying")
    dying._prepare()
    assert len(dying._read(">")) == 9
    assert dying.look() == Totals(held=9)
    patient = bench.consumer(idle=3600)
    assert drain(patient) == Totals(held=9)
    assert drain(bench.consumer()) == Totals(stored=9, claimed=9)
    assert bench.stored == (7, 2)


def test_a_consumer_of_the_same_name_goes_on_at_once(bench: Bench) -> None:
    """What was read under a name is read first when the name comes back."""
    bench.publish(evidence(7))
    dying = bench.consumer(consumer="collector-1")
    dying._prepare()
    dying._read(">")
    assert drain(bench.consumer(consumer="collector-1", idle=3600)) == Totals(stored=7)


def test_what_the_store_does_not_take_now_comes_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed transaction costs nothing, and holds nothing in memory."""
    bench.publish(evidence(5))
    consumer = bench.consumer(idle=3600)
    write = Store.write

    def away(*_: object, **__: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(Store, "write", away)
    for _ in range(3):
        with pytest.raises(OSError, match="the disk is full"):
            consumer.round(wait=False)
    assert consumer.look() == Totals(held=5)
    monkeypatch.setattr(Store, "write", write)
    assert drain(consumer) == Totals(stored=5)
    assert bench.stored == (5, 0)


def test_what_is_stored_and_not_reported_is_known_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis goes between the transaction and the report: counted once all the same."""
    bench.publish(evidence(5), gains(5))
    consumer = bench.consumer(idle=3600)

    def gone(*_: object) -> None:
        raise redis.ConnectionError("gone")

    with monkeypatch.context() as patched:
        patched.setattr(Consumer, "_settle", gone)
        with pytest.raises(redis.ConnectionError):
            consumer.round(wait=False)
    assert bench.stored == (5, 5)
    assert drain(consumer) == Totals(stored=10)
    assert bench.stored == (5, 5)


def test_what_can_not_be_read_is_set_aside(bench: Bench) -> None:
    """It stands in the stream of the dead, with the reason; the others are stored."""
    good, tallies = evidence(2), gains(1)
    bad = [b"no JSON", b'{"version": 99}', b"[" * 100_000, b"17", tallies[0][:-1]]
    future = json.dumps({**json.loads(tallies[0]), "version": 99}).encode()
    bench.publish([good[0], *bad, good[1]], [*tallies, future])
    bench.client.xadd(KEYS.stream, {"something": "else"})
    consumer = bench.consumer()
    assert drain(consumer) == Totals(stored=3, set_aside=7)
    assert bench.stored == (2, 1)
    kept = [fields[b"record"] for fields in bench.dead]
    assert kept == [*bad, repr({b"something": b"else"}).encode(), future]
    assert all(fields[b"reason"] for fields in bench.dead)
    assert bench.dead[-1][b"stream"] == KEYS.tallies.encode()
    assert b"version 99" in bench.dead[-1][b"reason"]


def test_the_stream_of_the_dead_can_be_collected(bench: Bench) -> None:
    """A later twinrun may read what this one can't."""
    bench.client.xadd(KEYS.dead, {"record": evidence(1)[0], "reason": "ValueError: too new"})
    again = Consumer(bench.client, bench.store, Keys(KEYS.dead), idle=0.0)
    assert drain(again) == Totals(stored=1)
    assert bench.stored == (1, 0)


def poison() -> bytes:
    """Make a record that can be read, and that no database takes."""
    made = evidence(1)[0].replace(b'"pid":1', b'"pid":' + b"9" * 30)
    assert b"9" * 30 in made
    return made


def test_what_the_store_refuses_is_set_aside_if_it_takes_others(bench: Bench) -> None:
    """A record that breaks its whole batch costs none of the others."""
    bench.publish([*evidence(3), poison(), *evidence(3)])
    assert drain(bench.consumer()) == Totals(stored=6, set_aside=1)
    assert bench.stored == (6, 0)
    assert len(bench.dead) == 1


def test_a_record_refused_alone_waits_until_others_show_whose_fault_it_is(bench: Bench) -> None:
    """Where nothing else comes it may be the store's; the next good one decides."""
    bench.publish([poison()])
    consumer = bench.consumer(idle=3600)
    for _ in range(3):
        with pytest.raises(RefusedError):
            consumer.round(wait=False)
    assert bench.dead == []
    bench.publish(evidence(1))
    assert drain(consumer) == Totals(stored=1, set_aside=1)


def trim(bench: Bench, left: int) -> None:
    """Cut the stream of mismatches as publishers do that are too many."""
    bench.client.xtrim(KEYS.stream, maxlen=left, approximate=False)


def test_what_redis_cut_away_unread_is_counted(bench: Bench) -> None:
    """Before anybody came, and while somebody is behind."""
    bench.publish(evidence(10), gains(3))
    trim(bench, 4)
    consumer = bench.consumer(batch=2, idle=3600)
    consumer._prepare()
    assert consumer.look() == Totals(waiting=7, lost=6)
    consumer.round(wait=False)
    assert consumer.look() == Totals(stored=4, waiting=3, lost=6)
    trim(bench, 1)
    assert drain(consumer) == Totals(stored=6, lost=7)
    assert bench.stored == (3, 3)


def test_what_redis_cut_away_while_it_was_held_is_stored_by_who_has_it(bench: Bench) -> None:
    """What was read is safe as long as its reader lives."""
    bench.publish(evidence(5))
    consumer = bench.consumer()
    consumer._prepare()
    held = consumer._read(">")
    trim(bench, 0)
    consumer._store_all(held)
    assert consumer.look() == Totals(stored=5)
    assert bench.stored == (5, 0)


def test_what_redis_cut_away_while_its_reader_was_dead_is_counted(bench: Bench) -> None:
    """Nobody has it any more: it is claimed, found empty, and told as lost."""
    bench.publish(evidence(5), gains(5))
    dying = bench.consumer(consumer="dying")
    dying._prepare()
    dying._read(">")
    trim(bench, 2)
    bench.client.xtrim(KEYS.tallies, maxlen=1, approximate=False)
    totals = drain(bench.consumer())
    assert (totals.stored, totals.lost, totals.lost_tallies, totals.held) == (3, 3, 4, 0)
    assert bench.stored == (2, 1)


def test_a_second_group_has_everything_to_itself(bench: Bench) -> None:
    """Groups do not disturb each other."""
    bench.publish(evidence(3))
    assert drain(bench.consumer()) == Totals(stored=3)
    assert drain(bench.consumer(group="archive")) == Totals(stored=3)


def test_a_stream_that_is_deleted_is_made_anew(bench: Bench) -> None:
    """With its group; what was in it is told as lost."""
    bench.publish(evidence(3))
    consumer = bench.consumer()
    drain(consumer)
    bench.publish(evidence(2))
    bench.client.delete(KEYS.stream)
    assert consumer.round(wait=False) == 0
    bench.publish(evidence(4))
    assert drain(consumer) == Totals(stored=7, lost=2)


def test_a_redis_that_comes_back_empty_is_gone_on_with(bench: Bench) -> None:
    """As after a restart without persistence."""
    bench.publish(evidence(3))
    consumer = bench.consumer()
    drain(consumer)
    bench.client.flushall()
    bench.publish(evidence(2), gains(2))
    assert drain(consumer) == Totals(stored=7)
    assert bench.stored == (5, 2)


def test_who_leaves_is_forgotten_unless_messages_are_in_its_name(bench: Bench) -> None:
    """Consumers do not pile up, and no message goes with one."""
    bench.publish(evidence(1))
    done, dying = (bench.consumer(consumer=name, idle=3600) for name in ("done", "dying"))
    dying._prepare()
    dying._read(">")
    bench.publish(evidence(1))
    drain(done)
    for consumer in (done, dying):
        consumer.leave()
    [left] = bench.client.xinfo_consumers(KEYS.stream, "twinrun")
    assert (left["name"], left["pending"]) == (b"dying", 1)

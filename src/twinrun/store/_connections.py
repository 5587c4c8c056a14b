"""Connections to SQLite files, which a process that forks must not have open."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import Any, Final, TypeVar

from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.pool import Pool

from twinrun.store._backend import Backend

__all__ = ["SQLITE", "create_private", "dispose", "identity", "inherited", "tainted"]

T = TypeVar("T")

_BUSY_TIMEOUT: Final = 5.0
_PRAGMAS: Final = (
    "PRAGMA synchronous = NORMAL",
    "PRAGMA wal_autocheckpoint = 128",
    "PRAGMA journal_size_limit = 4194304",
)

inherited: Final[list[Pool]] = []
"""Pools of a parent process: SQLite forbids even closing a connection across a fork."""

tainted: Final[set[tuple[int, int] | None]] = set()
"""Files of which a parent process had connections when it forked.

SQLite would take the parent's locks for its own here: what is written could be thrown away.
"""


def _engine(url: URL) -> Engine:
    """Make an engine for a file; nothing is opened yet."""
    engine = create_engine(
        url,
        pool_size=1,  # the writer's, kept: the last one to be closed costs a checkpoint
        connect_args={"timeout": _BUSY_TIMEOUT, "check_same_thread": False},
        hide_parameters=True,
    )
    event.listen(engine, "connect", _set_up_connection)
    return engine


def dispose(engine: Engine, pid: int) -> None:
    """Close an engine's connections, unless they are a parent process's."""
    if pid == os.getpid():
        engine.dispose()
    else:
        inherited.append(engine.pool)


def identity(path: str | None) -> tuple[int, int] | None:
    """Tell a file from another one that takes its place."""
    try:
        found = os.stat(path) if path is not None else None
    except OSError:
        return None
    return None if found is None else (found.st_dev, found.st_ino)


def _set_up_connection(connection: Any, _record: object) -> None:
    # SQLite does not wait for a lock here; who holds it may be setting the very same mode.
    with contextlib.suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA journal_mode = WAL").close()
    for pragma in _PRAGMAS:
        connection.execute(pragma).close()


def create_private(path: str) -> None:
    """Make the file for its owner's eyes only; SQLite gives its journals the same mode."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _lock(connection: Connection) -> None:
    """Become the only writer until the transaction ends: what is read now stays true."""
    driver: Any = connection.connection.dbapi_connection
    if not driver.in_transaction:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _leave(it: T) -> T:
    """Change nothing: any engine will do, and a reader needs nothing."""
    return it


SQLITE: Final = Backend(open=_engine, adopt=_leave, read=_leave, write=_lock, change=_lock)

"""Writes records into a database and reads them back, through SQLAlchemy Core."""

from __future__ import annotations

import contextlib
import datetime
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Concatenate, Final, ParamSpec, Self, TypeVar

from sqlalchemy import inspect, select
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DatabaseError, DBAPIError

from twinrun._forks import around_fork
from twinrun.errors import ConfigurationError
from twinrun.store import reading, schema, upkeep
from twinrun.store._connections import (
    SQLITE,
    create_private,
    dispose,
    identity,
    inherited,
    tainted,
)
from twinrun.store._packing import total
from twinrun.store._places import is_file, read_url, shown
from twinrun.store._postgresql import POSTGRESQL, is_passing
from twinrun.store.migrations import migrate, newest
from twinrun.store.records import (
    Exemplar,
    ExperimentRecord,
    GroupRecord,
    Mismatch,
    TallyIncrement,
)
from twinrun.store.writing import add_records
from twinrun.tally import Tally

__all__ = ["MAX_BYTES", "Store", "StoreNotFoundError", "StoreVersionError"]

_PATIENCE: Final = 0.5  # seconds that a fork, or who closes, waits for a transaction to end
MAX_BYTES: Final = 2**30
"""An SQLite file grows to this size, unless another one is given."""

_LEAST_BYTES: Final = 2**20
_TRIES: Final = 3  # at what fails in passing

P = ParamSpec("P")
T = TypeVar("T")


class StoreNotFoundError(ConfigurationError, LookupError):
    """There is no store where one was to be read."""


class StoreVersionError(ConfigurationError):
    """The store was made by a newer twinrun, which this one must not touch; or by an older one."""


class Store:
    """Experiments, their tallies, mismatch groups and exemplars in one database.

    It takes the path of an SQLite file, a URL such as `sqlite:///twinrun.db` or
    `postgresql://user@host/database`, or a SQLAlchemy Engine, whose owner keeps it. Nothing is
    opened before the first use; any thread may use it. With `create=False` it reads what is there
    and makes nothing. An SQLite file that several processes use must lie on a local disk: its
    write-ahead log does not work over a network. On PostgreSQL the tables lie in a schema of their
    own, `twinrun`.

    A file of `max_bytes` (1 GiB) grows no further: the oldest examples go for what is new. Counts
    and groups always stay.

    Raises:
        ConfigurationError: the URL can't be read, or is not one of a database that is served; the
            database's driver is not installed; `max_bytes` is less than 1 MiB.
        StoreNotFoundError: `create=False`, and there is no such file. (At first use: it is empty.)
    """

    def __init__(
        self,
        url_or_engine: str | os.PathLike[str] | Engine,
        *,
        create: bool = True,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        if type(max_bytes) is not int or max_bytes < _LEAST_BYTES:
            raise ConfigurationError(
                f"max_bytes is a whole number of at least {_LEAST_BYTES}, not {max_bytes!r}"
            )
        self._max_bytes = max_bytes
        self._given = url_or_engine if isinstance(url_or_engine, Engine) else None
        self._url = read_url(url_or_engine)
        self._backend = SQLITE if is_file(self._url) else POSTGRESQL
        self._url.get_dialect()  # imported now: threads should not import while the process forks
        self._create = create
        self._engine: Engine | None = None
        self._pid = 0
        self._release: Callable[[], object] = _do_nothing
        self._file: tuple[int, int] | None = None
        self._ready = False
        self._look_for_file()
        self._untended_until = time.monotonic() + upkeep.FIRST.total_seconds()
        self._users = 0
        self._use = threading.RLock()
        around_fork(self)

    def __str__(self) -> str:
        return shown(self._url)

    def write(
        self, tallies: Sequence[TallyIncrement] = (), mismatches: Sequence[Mismatch] = ()
    ) -> None:
        """Add all of it in one transaction, or nothing of it.

        What is in the store already is not added again, so that a batch may be repeated, whole or
        in parts: increments are known by their sequence, the newest 200,000 mismatches by their
        result and group.

        Raises:
            StoreVersionError: the store was made by a newer twinrun.
            OSError, sqlalchemy.exc.DBAPIError: the database can't be opened or written.
        """
        if not tallies and not mismatches:
            return

        def add() -> None:
            with self.writing() as connection:
                add_records(connection, tallies, mismatches)
                if self._backend is SQLITE:
                    upkeep.make_room(connection, self._max_bytes)

        _persist(add)
        self._tend()

    def _tend(self) -> None:
        """Roll up old tallies now and then; what was written stays so, whatever comes of it."""
        if time.monotonic() < self._untended_until:
            return
        self._untended_until = time.monotonic() + upkeep.EVERY.total_seconds()
        with contextlib.suppress(DBAPIError, OSError):
            upkeep.tend(self, datetime.datetime.now(datetime.UTC))

    def experiments(self) -> list[ExperimentRecord]:
        """Give the experiments by name; when each was last seen is true to ten seconds."""
        return self._read(reading.experiments)

    def tally(
        self, name: str, since: datetime.datetime | None = None, release: str | None = None
    ) -> Tally:
        """Add up an experiment's tallies over all processes; empty if unknown.

        Of all minutes, or of those from the one that `since` falls into (old ones may be rolled up:
        then from the hour or day); of all releases of the application, or of one.
        """
        return total(self._read(reading.tallies, name, since, release))

    def span(
        self, name: str, since: datetime.datetime | None = None, release: str | None = None
    ) -> tuple[datetime.datetime, datetime.datetime] | None:
        """Give the first and the last minute of an experiment's tallies, None where it has none."""
        return self._read(reading.span, name, since, release)

    def releases(self, name: str) -> list[str]:
        """Give the releases of the application that ran an experiment, the latest first."""
        return self._read(reading.releases, name)

    def groups(self, name: str) -> list[GroupRecord]:
        """Give an experiment's groups, the largest first."""
        return self._read(reading.groups, reading.named(name))

    def find_groups(self, prefix: str) -> list[GroupRecord]:
        """Give the groups whose fingerprint starts so, the largest first."""
        return self._read(reading.groups, reading.starting(prefix))

    def exemplars(self, fingerprint: str) -> list[Exemplar]:
        """Give the kept members of a group in the order in which they came."""
        return self._read(reading.exemplars, fingerprint)

    def upgrade(self) -> int:
        """Bring a store that is there forward to this twinrun's version; give the one that it had.

        Raises:
            StoreNotFoundError: there is no store.
            StoreVersionError: the store was made by a newer twinrun.
        """
        self._look_for_file()
        with self._used():
            engine = self._reached()
            version = self._version(engine)
            if version == 0:
                raise StoreNotFoundError(f"{self} holds no twinrun store")
            self._bring_forward(engine)
        return version

    def close(self) -> None:
        """Let go of the database; a later call opens it again."""
        with self._alone():
            self._release()
            self._engine, self._ready = None, False

    def before_fork(self) -> None:
        """Close the connections, for a child must inherit none, and let nobody open others."""
        if not self._use.acquire(timeout=_PATIENCE) or self._users:
            return
        if self._given is None:
            self.close()
        elif identity(self._path) is not None:  # a database in memory goes with its connection
            self._given.dispose()

    def after_fork_in_parent(self) -> None:
        """Let others open connections again."""
        with contextlib.suppress(RuntimeError):  # it could not be had
            self._use.release()

    def after_fork(self) -> None:
        """Refuse a file of which the parent's connections could not be closed."""
        self._users, self._use = 0, threading.RLock()
        if self._given is None:
            self._pid = 0
        if self._engine is not None and self._given is None:
            if self._backend is SQLITE:
                tainted.add(self._file or identity(self._path))
            self._release()
            self._engine, self._ready = None, False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _path(self) -> str | None:
        """The database's file, None where there is none, or SQLite takes a URI of its own."""
        path = self._url.database if self._backend is SQLITE else None
        return None if path is None or path.startswith("file:") else path

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Wait a little for others; a fork that comes meanwhile waits for this."""
        had = self._use.acquire(timeout=_PATIENCE)
        try:
            yield
        finally:
            if had:
                self._use.release()

    @contextlib.contextmanager
    def _used(self) -> Iterator[None]:
        """Be the only thread that uses the connections, while the process does not fork."""
        if (
            self._pid not in (0, os.getpid()) and not self._given
        ):  # forked where no fork hook runs, as under uWSGI
            self.after_fork()
        with self._use:
            self._users += 1
            try:
                yield
            finally:
                self._users -= 1

    def _read(
        self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Ask the database; what it gives is whole before the connection is let go of."""

        def ask() -> T:
            with self.reading() as connection:
                return query(connection, *args, **kwargs)

        return _persist(ask)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection to read its tables by, for what belongs to this package."""
        with self._used(), self._prepared().connect() as connection:
            self._backend.read(connection)
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection with a transaction to write by, likewise."""
        try:
            with self._used(), self._prepared().begin() as connection:
                self._backend.write(connection)
                yield connection
        except BaseException:
            self._ready = False  # the file may have been taken away: look again next time
            raise

    def _prepared(self) -> Engine:
        """Give the engine of this process, its database in place and of this version."""
        engine = self._reached()
        if not self._ready:
            self._prepare(engine)
            self._file, self._ready = identity(self._path), True
        return engine

    def _reached(self) -> Engine:
        """Give the engine of this process, whatever its database holds."""
        if tainted and self._given is None and identity(self._path) in tainted:
            raise OSError(
                f"{self} was in use when this process was forked, and can't be used in it: "
                "fork before the store is used, or give the publisher a spool"
            )
        if self._ready and self._given is None and identity(self._path) != self._file:
            self.close()  # else what is written would go into a file that nobody can see
        engine = self._engine
        if engine is None or self._pid != os.getpid():
            engine = self._engine = self._open()
            self._ready = False
        return engine

    def _open(self) -> Engine:
        """Make an engine, and remember how to let go of it, in this process and in forked ones."""
        self._release()
        if self._given is None:
            engine = self._backend.open(self._url)
            self._release = weakref.finalize(self, dispose, engine, os.getpid())
        else:
            engine = self._backend.adopt(self._given)
            if self._pid not in (0, os.getpid()):
                inherited.append(engine.pool)
                engine.dispose(close=False)
        self._pid = os.getpid()
        return engine

    def _look_for_file(self) -> None:
        if not self._create and self._path is not None and not os.path.isfile(self._path):
            raise StoreNotFoundError(f"there is no store at {self}")

    def _prepare(self, engine: Engine) -> None:
        """Make the tables, or bring an older store forward; whoever comes first does it."""
        self._look_for_file()
        if self._create and self._path is not None:
            create_private(self._path)
        version = self._version(engine)
        if not self._create:
            self._check_for_reading(version)
        elif version < newest():
            self._bring_forward(engine)

    def _version(self, engine: Engine) -> int:
        """Read the store's version, 0 where there is no store yet."""
        try:
            with engine.connect() as connection:
                self._backend.read(connection)
                return self._version_in(connection)
        except DatabaseError as error:
            if getattr(error.orig, "sqlite_errorcode", None) != sqlite3.SQLITE_NOTADB:
                raise
            raise StoreNotFoundError(f"{self} is no SQLite database") from error

    def _version_in(self, connection: Connection) -> int:
        if not inspect(connection).has_table(schema.schema_version.name):
            return 0
        version = connection.scalar(select(schema.schema_version.c.version)) or 0
        if version > newest():
            raise StoreVersionError(
                f"the store {self} has version {version}, made by a newer twinrun; "
                f"this one reads up to version {newest()}: upgrade twinrun"
            )
        return version

    def _check_for_reading(self, version: int) -> None:
        """Refuse what has to be made, or changed, before it can be read."""
        if version == 0:
            raise StoreNotFoundError(f"{self} holds no twinrun store")
        if version < newest():
            raise StoreVersionError(
                f"the store {self} has version {version}, made by an older twinrun, and this one "
                f"reads version {newest()}: the first process that writes to it with this twinrun "
                "brings it forward, and so does `twinrun upgrade`"
            )

    def _bring_forward(self, engine: Engine) -> None:
        with engine.begin() as connection:
            self._backend.change(connection)
            migrate(connection, self._version_in(connection))


def _do_nothing() -> None:
    """Let go of nothing."""


def _persist(action: Callable[[], T]) -> T:
    """Do it again where it failed in passing: a lost connection, a deadlock."""
    for _ in range(_TRIES - 1):
        try:
            return action()
        except DBAPIError as error:
            if not is_passing(error):
                raise
    return action()

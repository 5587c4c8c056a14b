"""Writes records into a database and reads them back (SQLite through SQLAlchemy Core)."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Self

from sqlalchemy import ColumnElement, Row, func, insert, inspect, select, update
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError

from twinrun._forks import around_fork
from twinrun.errors import ConfigurationError
from twinrun.store import schema
from twinrun.store._connections import (
    create_private,
    dispose,
    identity,
    inherited,
    lock,
    sqlite_engine,
    tainted,
)
from twinrun.store.records import (
    Exemplar,
    ExperimentRecord,
    GroupRecord,
    Mismatch,
    TallyIncrement,
    storable_text,
)
from twinrun.store.writing import add_records, moment
from twinrun.tally import Tally

__all__ = ["Store", "StoreNotFoundError", "StoreVersionError"]

_PATIENCE: Final = 0.5  # seconds that a fork, or who closes, waits for a transaction to end
_MINUTE: Final = 60_000_000  # microseconds


class StoreNotFoundError(ConfigurationError, LookupError):
    """There is no store where one was to be read."""


class StoreVersionError(ConfigurationError):
    """The store was made by a newer twinrun, which this one must not touch."""


class Store:
    """Experiments, their tallies, mismatch groups and exemplars in one database.

    It takes the path of an SQLite file, a URL such as `sqlite:///twinrun.db`, or a SQLAlchemy
    Engine, whose owner keeps it. Nothing is opened before the first use; any thread may use it.
    With `create=False` it reads what is there and makes nothing. An SQLite file that several
    processes use must lie on a local disk: its write-ahead log does not work over a network.

    Raises:
        ConfigurationError: the URL can't be read, or is not one of a database that is served.
        StoreNotFoundError: `create=False`, and there is no such file. (At first use: it is empty.)
    """

    def __init__(
        self, url_or_engine: str | os.PathLike[str] | Engine, *, create: bool = True
    ) -> None:
        self._given = url_or_engine if isinstance(url_or_engine, Engine) else None
        self._url = _url(url_or_engine)
        self._url.get_dialect()  # imported now: threads should not import while the process forks
        self._create = create
        self._engine: Engine | None = None
        self._pid = 0
        self._release: Callable[[], object] = _do_nothing
        self._file: tuple[int, int] | None = None
        self._ready = False
        self._look_for_file()
        self._users = 0
        self._use = threading.RLock()
        around_fork(self)

    def __str__(self) -> str:
        return self._url.render_as_string(hide_password=True)

    def write(
        self, tallies: Sequence[TallyIncrement] = (), mismatches: Sequence[Mismatch] = ()
    ) -> None:
        """Add all of it in one transaction, or nothing of it.

        A mismatch that was counted already is not counted again, so that a batch may be repeated:
        the newest 200,000 of each store are known.

        Raises:
            StoreVersionError: the store was made by a newer twinrun.
            OSError, sqlalchemy.exc.DBAPIError: the database can't be opened or written.
        """
        if not tallies and not mismatches:
            return
        with self._writing() as connection:
            add_records(connection, tallies, mismatches)

    def experiments(self) -> list[ExperimentRecord]:
        """Give the experiments by name."""
        table = schema.experiments
        with self._reading() as connection:
            return [
                ExperimentRecord(
                    name=row.name,
                    first_seen=moment(row.first_seen),
                    last_seen=moment(row.last_seen),
                )
                for row in connection.execute(select(table).order_by(table.c.name))
            ]

    def tally(self, name: str, since: datetime.datetime | None = None) -> Tally:
        """Add up an experiment's tallies over all processes; empty if unknown.

        Of all minutes, or of those from the one that `since` falls into.
        """
        query = select(schema.tallies.c.tally).join(schema.experiments).where(*_of(name, since))
        with self._reading() as connection:
            tallies = (Tally.from_dict(json.loads(text)) for text in connection.scalars(query))
            return sum(tallies, start=Tally())

    def span(
        self, name: str, since: datetime.datetime | None = None
    ) -> tuple[datetime.datetime, datetime.datetime] | None:
        """Give the first and the last minute of an experiment's tallies, None where it has none."""
        minute = schema.tallies.c.minute
        query = select(func.min(minute), func.max(minute)).join(schema.experiments)
        with self._reading() as connection:
            first, last = connection.execute(query.where(*_of(name, since))).one()
        return None if first is None else (moment(first * _MINUTE), moment(last * _MINUTE))

    def groups(self, name: str) -> list[GroupRecord]:
        """Give an experiment's groups, the largest first."""
        return self._groups(schema.experiments.c.name == storable_text(name))

    def find_groups(self, prefix: str) -> list[GroupRecord]:
        """Give the groups whose fingerprint starts so, the largest first."""
        fingerprint = schema.mismatch_groups.c.fingerprint
        return self._groups(fingerprint.startswith(storable_text(prefix), autoescape=True))

    def _groups(self, condition: Any) -> list[GroupRecord]:
        table = schema.mismatch_groups
        query = (
            select(table, schema.experiments.c.name.label("experiment"))
            .join(schema.experiments)
            .where(condition)
            .order_by(table.c.count.desc(), table.c.last_seen.desc(), table.c.id)
        )
        with self._reading() as connection:
            return [_group_record(row) for row in connection.execute(query)]

    def exemplars(self, fingerprint: str) -> list[Exemplar]:
        """Give the kept members of a group in the order in which they came."""
        query = (
            select(schema.exemplars, schema.mismatch_groups.c.fingerprint)
            .join(schema.mismatch_groups)
            .where(schema.mismatch_groups.c.fingerprint == storable_text(fingerprint))
            .order_by(schema.exemplars.c.sequence)
        )
        with self._reading() as connection:
            return [_exemplar(row) for row in connection.execute(query)]

    def close(self) -> None:
        """Let go of the database; a later call opens it again."""
        with self._alone():
            self._release()
            self._engine, self._ready = None, False

    def before_fork(self) -> None:
        """Close the connections, for a child must inherit none, and let nobody open others."""
        if self._use.acquire(timeout=_PATIENCE) and not self._users and not self._given:
            self.close()

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
            tainted.add(self._file or identity(self._path))
            self._release()
            self._engine, self._ready = None, False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _path(self) -> str | None:
        """The database's file, None where SQLite takes a URI of its own."""
        path = self._url.database
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

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._used(), self._prepared().connect() as connection:
            yield connection

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Connection]:
        try:
            with self._used(), self._prepared().begin() as connection:
                lock(connection)
                yield connection
        except BaseException:
            self._ready = False  # the file may have been taken away: look again next time
            raise

    def _prepared(self) -> Engine:
        """Give the engine of this process, its database in place and of this version."""
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
        if not self._ready:
            self._prepare(engine)
            self._file, self._ready = identity(self._path), True
        return engine

    def _open(self) -> Engine:
        """Make an engine, and remember how to let go of it, in this process and in forked ones."""
        self._release()
        if self._given is None:
            engine = sqlite_engine(self._url)
            self._release = weakref.finalize(self, dispose, engine, os.getpid())
        else:
            engine = self._given
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
        try:
            with engine.connect() as connection:
                version = self._version(connection)
        except DatabaseError as error:
            if getattr(error.orig, "sqlite_errorcode", None) != sqlite3.SQLITE_NOTADB:
                raise
            raise StoreNotFoundError(f"{self} is no SQLite database") from error
        if version == 0 and not self._create:
            raise StoreNotFoundError(f"{self} holds no twinrun store")
        if version < _newest():
            with engine.begin() as connection:
                lock(connection)
                _migrate(connection, self._version(connection))

    def _version(self, connection: Connection) -> int:
        """Read the store's version, 0 where there is no store yet."""
        if not inspect(connection).has_table(schema.schema_version.name):
            return 0
        version = connection.scalar(select(schema.schema_version.c.version)) or 0
        if version > _newest():
            raise StoreVersionError(
                f"the store {self} has version {version}, made by a newer twinrun; "
                f"this one reads up to version {_newest()}: upgrade twinrun"
            )
        return version


def _url(url_or_engine: str | os.PathLike[str] | Engine) -> URL:
    """Read what the user gave; never repeat it in an error, it may hold a password."""
    if isinstance(url_or_engine, Engine):
        url = url_or_engine.url
    elif isinstance(url_or_engine, str) and "://" in url_or_engine:
        try:
            url = make_url(url_or_engine)
        except (ArgumentError, ValueError):
            raise ConfigurationError(
                "the store's URL can't be read; accepted are a path or sqlite:///path"
            ) from None
    else:
        url = URL.create("sqlite", database=os.fspath(url_or_engine))
    if url.get_backend_name() != "sqlite":
        raise ConfigurationError(
            f"a store is an SQLite file (a path or sqlite:///path), not {url.drivername!r}"
        )
    if not isinstance(url_or_engine, Engine) and url.database in (None, "", ":memory:"):
        raise ConfigurationError("a store in memory can't be shared by threads: name a file")
    return url


def _of(name: str, since: datetime.datetime | None) -> list[ColumnElement[bool]]:
    """Choose the tallies of an experiment, from a minute on."""
    chosen = [schema.experiments.c.name == storable_text(name)]
    if since is not None:
        chosen.append(schema.tallies.c.minute >= int(since.timestamp()) // 60)
    return chosen


def _do_nothing() -> None:
    """Let go of nothing."""


def _newest() -> int:
    """Give the version that this twinrun makes."""
    return 1 + len(schema.MIGRATIONS)


def _migrate(connection: Connection, version: int) -> None:
    if version == 0:
        schema.metadata.create_all(connection)
        connection.execute(insert(schema.schema_version).values(version=_newest()))
        return
    for step in schema.MIGRATIONS[version - 1 :]:
        step(connection)
    connection.execute(update(schema.schema_version).values(version=_newest()))


def _group_record(row: Row[Any]) -> GroupRecord:
    values = row._mapping
    return GroupRecord(
        experiment=values["experiment"],
        fingerprint=values["fingerprint"],
        candidate=values["candidate"],
        outcome=values["outcome"],
        reason=values["reason"],
        kinds=tuple(json.loads(values["kinds"])),
        paths=tuple(json.loads(values["paths"])),
        control_exception=values["control_exception"],
        candidate_exception=values["candidate_exception"],
        count=values["count"],  # `row.count` is the method of a tuple
        first_seen=moment(values["first_seen"]),
        last_seen=moment(values["last_seen"]),
        state=values["state"],
    )


def _exemplar(row: Row[Any]) -> Exemplar:
    return Exemplar(
        fingerprint=row.fingerprint,
        result_id=row.result_id,
        sequence=row.sequence,
        payload=json.loads(row.payload),
        host=row.host,
        pid=row.pid,
        release=row.release,
        recorded_at=moment(row.recorded_at),
    )

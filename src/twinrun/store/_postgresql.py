"""Connections to PostgreSQL servers, which may hang, restart or be out of reach."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import func, select, text
from sqlalchemy.engine import URL, Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError

from twinrun.store._backend import Backend

__all__ = ["POSTGRESQL", "SCHEMA", "is_passing"]

SCHEMA: Final = "twinrun"
"""The schema that all tables lie in, apart from those of others in the same database."""

_BOUNDS: Final = {
    "search_path": SCHEMA,
    "lock_timeout": "5s",
    "statement_timeout": "30s",
    "idle_in_transaction_session_timeout": "30s",  # a writer that is frozen keeps its locks so long
}
_NETWORK: Final = {  # an answer that never comes is given up; what the URL says goes before
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "application_name": "twinrun",
}
_PASSING: Final = frozenset({"40001", "40P01"})  # serialization failure, deadlock


def _engine(url: URL) -> Engine:
    """Make an engine for a server; nothing is opened yet."""
    given = {key: value for key, value in _NETWORK.items() if key not in url.query}
    engine = create_engine(
        url,
        pool_size=1,
        # A prepared statement would be looked for on another connection behind PgBouncer.
        connect_args={"prepare_threshold": None, **given},
        hide_parameters=True,
    )
    return _shared(engine)


def _shared(engine: Engine) -> Engine:
    """Give an engine with the same connections, whose transactions are as ours have to be."""
    return engine.execution_options(isolation_level="READ COMMITTED")


def _begin(connection: Connection, **bounds: str) -> None:
    """Set what holds for one transaction, as it must be where connections are shared out."""
    settings = {**_BOUNDS, **bounds}.items()
    connection.execute(select(*(func.set_config(name, value, True) for name, value in settings)))


def _begin_change(connection: Connection) -> None:
    """Have the schema, and be the only one who changes it until the transaction ends."""
    _begin(connection, statement_timeout="0")
    connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(SCHEMA))))
    exists = text("SELECT 1 FROM pg_namespace WHERE nspname = :name")
    if connection.scalar(exists, {"name": SCHEMA}) is None:
        connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))


def is_passing(error: DBAPIError) -> bool:
    """Whether the same transaction may well succeed if it is tried again at once."""
    original: Any = error.orig
    return error.connection_invalidated or getattr(original, "sqlstate", None) in _PASSING


POSTGRESQL: Final = Backend(
    open=_engine, adopt=_shared, read=_begin, write=_begin, change=_begin_change
)

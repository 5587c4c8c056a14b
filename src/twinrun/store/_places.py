"""Where a store lies: reads what the user gave, and shows it without its secrets."""

from __future__ import annotations

import os
import re
from typing import Final

from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from twinrun.errors import ConfigurationError

__all__ = ["is_file", "read_url", "settled", "shown"]

_ACCEPTED: Final = "accepted are a path, sqlite:///path and postgresql://user@host/database"
_SHOWN_OPTIONS: Final = frozenset({"host", "port"})  # what else a URL says may be secret
_SERVER: Final = re.compile(r"^\s*postgres[\w+]*\s*(:|//)|(password|passwd|pwd)\s*=", re.IGNORECASE)


def read_url(url_or_engine: str | os.PathLike[str] | Engine) -> URL:
    """Read what the user gave; never repeat it in an error, it may hold a password.

    Raises:
        ConfigurationError: it can't be read, or is not one of a database that is served.
    """
    if isinstance(url_or_engine, Engine):
        url = url_or_engine.url
    elif isinstance(url_or_engine, str) and "://" in url_or_engine:
        url = _parsed(url_or_engine)
    else:
        url = URL.create("sqlite", database=_path(url_or_engine))
    if is_file(url):
        if not isinstance(url_or_engine, Engine) and url.database in (None, "", ":memory:"):
            raise ConfigurationError("a store in memory can't be shared by threads: name a file")
        return url
    if url.get_backend_name() != "postgresql":
        raise ConfigurationError(
            f"a store can't be in a database of the kind {url.get_backend_name()!r}; {_ACCEPTED}"
        )
    _check_driver(url)
    return url


def settled(url_or_path: str | os.PathLike[str]) -> URL:
    """Read what the user gave, a file with its whole path: the process may move on."""
    url = read_url(url_or_path)
    if is_file(url) and not str(url.database).startswith("file:"):
        url = url.set(database=os.path.abspath(str(url.database)))
    return url


def is_file(url: URL) -> bool:
    """Whether the store is an SQLite file, and not on a server."""
    return url.get_backend_name() == "sqlite"


def shown(url: URL) -> str:
    """Give the URL for people to read, without what may be secret."""
    if is_file(url):
        return url.render_as_string()
    options = {name: value for name, value in url.query.items() if name in _SHOWN_OPTIONS}
    return url.set(drivername=url.get_backend_name(), query=options).render_as_string()


def _path(given: str | os.PathLike[str]) -> str:
    """Give a path, which is shown whole; refuse what may be a server's URL, mistyped."""
    path = os.fspath(given)
    if (isinstance(given, str) and "@" in path) or _SERVER.search(path):
        raise ConfigurationError(
            "the store's URL can't be read, or it is a path that looks like one: "
            f"{_ACCEPTED}; a path with an @ is written sqlite:///path"
        )
    return path


def _parsed(text: str) -> URL:
    """Parse a URL; psycopg 3 is what PostgreSQL is spoken to with."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ConfigurationError(f"the store's URL can't be read; {_ACCEPTED}") from None
    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+psycopg")
    if is_file(url):
        if url.host or url.username or url.password:
            raise ConfigurationError(
                "an SQLite URL names no host: write sqlite:///path, or sqlite:////absolute/path"
            )
    elif "@" in f"{url.host}{url.database}":
        raise ConfigurationError(
            "the store's URL has an @ too many, or a / before it: write those that belong to "
            "the password as %40 and %2F"
        )
    return url


def _check_driver(url: URL) -> None:
    """Import what the URL needs now: threads should not import while the process forks."""
    try:
        dialect = url.get_dialect()
        dialect.import_dbapi()
    except NoSuchModuleError:
        raise ConfigurationError(f"there is no driver {url.drivername!r}; {_ACCEPTED}") from None
    except ImportError as error:
        raise ConfigurationError(
            'a store in PostgreSQL needs psycopg: pip install "twinrun[postgres]"'
        ) from error
    if dialect.is_async:
        raise ConfigurationError(
            f"a store is written by threads, which {url.drivername!r} can't: "
            "use postgresql+psycopg, which is taken for postgresql://, too"
        )

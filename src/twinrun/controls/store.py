"""Obeys what the command line wrote to a store (needs `twinrun[store]`)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from twinrun._steering import checked_seconds
from twinrun.errors import ConfigurationError, needing

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

__all__ = ["StoreControls"]


class StoreControls:
    """Says what `twinrun ramp`, `pause` and `resume` wrote to a store.

    `url_or_engine` is what `twinrun.store.Store` takes: a path, a URL or an Engine; by default what
    the environment's `TWINRUN_STORE` says. It is read every so many seconds (`every`), by one query
    on a connection that is closed after it; nothing is ever made or changed there. What was heard
    of an experiment holds until something else is: also where the store is out of reach, taken
    away, or replaced by an empty one.

    Raises:
        ConfigurationError: SQLAlchemy is missing, no store is named, the URL is none that a store
            can have, or `every` is no number above 0.
    """

    def __init__(
        self, url_or_engine: str | os.PathLike[str] | Engine | None = None, *, every: float = 5.0
    ) -> None:
        location = url_or_engine or os.environ.get("TWINRUN_STORE")
        if not location:
            raise ConfigurationError(
                "StoreControls reads a store: name it, as StoreControls('twinrun.db'), or in the "
                "environment variable TWINRUN_STORE"
            )
        self.every = checked_seconds(every)
        self._store: Any = None
        self._words: dict[str, float | None] = {}
        # Now, and not on another thread: the process may fork in the middle of an import.
        self._import()
        self._location = self._settled(location)
        self._open()

    def __str__(self) -> str:
        return f"controls of store {self._store or ''}".rstrip()

    def refresh(self) -> None:
        """Read what holds of each experiment; what the store can't say or does not is kept."""
        store = self._store or self._open(wanted=True)
        try:
            with store.reading() as connection:
                said = self._controls.last(connection)
        finally:
            store.close()
        self._words.update((change.experiment, change.word) for change in said)

    def __call__(self, experiment: str) -> float | None:
        """Give the share that holds, None where nothing was said."""
        return self._words.get(self._key(experiment))

    def _import(self) -> None:
        text = 'controls in a store need SQLAlchemy: pip install "twinrun[store]"'
        with needing("sqlalchemy", text):
            from twinrun.store import _places, controls, database, records
        self._places, self._database, self._controls = _places, database, controls
        self._key = records.key_text

    def _settled(self, location: Any) -> Any:
        """Keep a file's whole path: it is opened again and again, and the process may move on."""
        if not isinstance(location, str | os.PathLike):
            return location
        return self._places.settled(location).render_as_string(hide_password=False)

    def _open(self, *, wanted: bool = False) -> Any:
        """Have the store, which need not be there yet unless it is wanted."""
        try:
            self._store = self._database.Store(self._location, create=False)
        except self._database.StoreNotFoundError:
            if wanted:
                raise
        return self._store

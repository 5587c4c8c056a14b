"""Brings the records that dead processes left in a spool into a store."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from sqlalchemy.exc import OperationalError

from twinrun.errors import ConfigurationError
from twinrun.spool import Position, Spool
from twinrun.store import Mismatch, Store
from twinrun.store.incoming import mismatches

__all__ = ["RefusedError", "deliver"]

_BATCH: Final = 500  # records that are stored in one transaction


class RefusedError(Exception):
    """The store takes no record at all, though it can be opened and written."""


def deliver(spool: Spool, store: Store) -> Iterator[int]:
    """Deliver what a spool holds, one transaction after the other; gives how many records each had.

    Raises:
        RefusedError, ConfigurationError, OSError, sqlalchemy.exc.OperationalError: the store can't
            be written. What is not delivered stays in the spool.
    """
    while batch := spool.read(_BATCH):
        _deliver(batch, spool, store)
        yield len(batch)


def _deliver(batch: Sequence[tuple[Position, bytes]], spool: Spool, store: Store) -> None:
    """Store records and report them; set aside what can't be read, or not where others can."""
    found: list[tuple[Position, list[Mismatch]]] = []
    for position, record in batch:
        try:
            found.append((position, mismatches(record)))
        except Exception:
            spool.set_aside(position)
    try:
        _store(found, spool, store)
    except (ConfigurationError, OperationalError, OSError):
        raise
    except Exception as error:
        refused = [
            position for position, each in found if not _is_stored(position, each, spool, store)
        ]
        if len(refused) == len(found):
            raise RefusedError(f"the store takes no record: {error}") from error
        for position in refused:
            spool.set_aside(position)


def _is_stored(position: Position, found: list[Mismatch], spool: Spool, store: Store) -> bool:
    """Store one record alone, if the store takes it."""
    try:
        _store([(position, found)], spool, store)
    except (ConfigurationError, OperationalError, OSError):
        raise
    except Exception:
        return False
    return True


def _store(records: Sequence[tuple[Position, list[Mismatch]]], spool: Spool, store: Store) -> None:
    """Store records and report them as delivered, both or neither."""
    with _uninterrupted():
        store.write(mismatches=[mismatch for _, found in records for mismatch in found])
        spool.done([position for position, _ in records])


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Have Ctrl-C wait until both of two things are done."""
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt

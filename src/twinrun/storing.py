"""Stores batches of records, and finds those that a store never takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias, TypeVar

from sqlalchemy.exc import InterfaceError, OperationalError

from twinrun.errors import ConfigurationError
from twinrun.store import Mismatch, Store, TallyIncrement
from twinrun.transit import contents

__all__ = ["BATCH", "STORE_ERRORS", "RefusedError", "store_records"]

BATCH: Final = 500
"""So many records are stored in one transaction, unless another number is given."""

STORE_ERRORS: Final = (ConfigurationError, OperationalError, InterfaceError, OSError)
"""What a store raises that can't be opened or written, whatever is to be written."""

K = TypeVar("K")
_Contents: TypeAlias = tuple[list[TallyIncrement], list[Mismatch]]


class RefusedError(Exception):
    """The store takes no record at all, though it can be opened and written."""


def store_records(
    store: Store,
    batch: Sequence[tuple[K, bytes]],
    done: Callable[[Sequence[K]], object],
    set_aside: Callable[[K, Exception], object],
) -> None:
    """Store records in one transaction, then report by their keys that they are done.

    Set aside is what can't be read, and what the store does not take while it takes others.

    Raises:
        RefusedError, STORE_ERRORS: the store can't be written. What is neither reported nor set
            aside may come again.
    """
    readable: list[tuple[K, _Contents]] = []
    for key, record in batch:
        try:
            readable.append((key, contents(record)))
        except Exception as error:
            set_aside(key, error)
    whole = _refusal(store, [each for _, each in readable])
    if whole is None:
        done([key for key, _ in readable])
        return
    refused: list[tuple[K, Exception]] = []
    for key, each in readable:
        reason = _refusal(store, [each])
        if reason is None:
            done([key])
        else:
            refused.append((key, reason))
    if len(refused) == len(readable):
        raise RefusedError(f"the store takes no record: {whole}") from whole
    for key, reason in refused:
        set_aside(key, reason)


def _refusal(store: Store, records: Sequence[_Contents]) -> Exception | None:
    """Store all of that or nothing; give what the store has against it."""
    try:
        store.write(
            tallies=[tally for tallies, _ in records for tally in tallies],
            mismatches=[mismatch for _, mismatches in records for mismatch in mismatches],
        )
    except STORE_ERRORS:
        raise
    except Exception as error:
        return error
    return None

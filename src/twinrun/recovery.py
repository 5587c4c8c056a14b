"""Brings the records that dead processes left in a spool into a store."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from twinrun.spool import Spool
from twinrun.store import Store
from twinrun.storing import BATCH, store_records

__all__ = ["deliver"]


def deliver(spool: Spool, store: Store) -> Iterator[int]:
    """Deliver what a spool holds, one transaction after the other; gives how many records each had.

    Raises what `twinrun.storing.store_records` raises; what is not delivered stays in the spool.
    """
    while batch := spool.read(BATCH):
        with _uninterrupted():
            store_records(store, batch, spool.done, lambda position, _: spool.set_aside(position))
        yield len(batch)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Have Ctrl-C wait until what is stored is reported, too."""
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt

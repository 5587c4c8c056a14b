"""What differs between the databases that a store can be in."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from sqlalchemy.engine import URL, Connection, Engine

__all__ = ["Backend"]


@attrs.frozen(kw_only=True)
class Backend:
    """How a database is opened, and how each kind of transaction begins there.

    `adopt` gives an engine of the user's with what ours need; `write` and `change` (the tables)
    have nobody else do the same at the same time, as far as that would disturb.
    """

    open: Callable[[URL], Engine]
    adopt: Callable[[Engine], Engine]
    read: Callable[[Connection], object]
    write: Callable[[Connection], object]
    change: Callable[[Connection], object]

"""What people decided about groups of mismatches."""

from __future__ import annotations

import enum

from sqlalchemy import update

from twinrun.store import schema
from twinrun.store.records import GroupRecord
from twinrun.store.upkeep import Transactions

__all__ = ["State", "decide"]


class State(enum.StrEnum):
    """What a group is known as; one that mismatches make is new."""

    NEW = "new"
    ACCEPTED = "accepted"


def decide(store: Transactions, group: GroupRecord, state: State) -> None:
    """Know a group as that from now on, of whatever experiment has one with its fingerprint."""
    table = schema.mismatch_groups
    change = update(table).where(table.c.fingerprint == group.fingerprint)
    with store.writing() as connection:
        connection.execute(change.values(state=str(state)))

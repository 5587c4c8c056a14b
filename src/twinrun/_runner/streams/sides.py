"""How far one behaviour's stream has come."""

from __future__ import annotations

from typing import Any, Final, Literal

from twinrun import tracebacks
from twinrun._runner.endings import Ending
from twinrun._runner.recipe import Recipe
from twinrun.observation import NOTHING, Observation, Stream

__all__ = ["CLOSED", "RAISED", "RETURNED", "Ended", "Side", "is_closing"]

Ended = Literal["returned", "raised", "closed"]

RETURNED: Final = "returned"
RAISED: Final = "raised"
CLOSED: Final = "closed"


def is_closing(thrown: BaseException | None) -> bool:
    """Say whether what the caller throws in ends the stream, as `close` does."""
    return thrown is not None and issubclass(type(thrown), GeneratorExit)


class Side:
    """One behaviour's stream: what its last step gave, and what all of them came to.

    `item` is `NOTHING` where the last step ended the stream, and once it was taken.
    """

    __slots__ = (
        "_recipe",
        "cpu_ns",
        "ended",
        "ending",
        "item",
        "items",
        "name",
        "ns",
        "raised_at",
        "returned",
    )

    def __init__(self, recipe: Recipe, name: str) -> None:
        self._recipe = recipe
        self.name = name
        self.item: Any = NOTHING
        self.items = 0
        self.ended: Ended | None = None
        self.ending: Ending | None = None
        """How it ended, where it raised."""
        self.raised_at: str | None = None
        self.returned: Any = NOTHING
        self.ns = 0
        self.cpu_ns = 0

    def add(self, ns: int, cpu_ns: int) -> None:
        """Add the time of a step."""
        self.ns += ns
        self.cpu_ns += cpu_ns

    def give(self, item: Any) -> None:
        """Take note of an item."""
        self.item = item
        self.items += 1

    def end(self, ended: Ended, returned: Any = NOTHING, ending: Ending | None = None) -> None:
        """Take note of how the stream ended."""
        self.item = NOTHING
        self.ended = ended
        self.returned = returned
        self.ending = ending
        if ending is not None and ending.error is not None:
            self.raised_at = tracebacks.place(ending.error)

    def raised(self, ending: Ending, thrown: BaseException | None) -> None:
        """Take note of an exception; letting through the one that closes it is no failure."""
        if is_closing(thrown) and issubclass(type(ending.error), GeneratorExit):
            self.end(CLOSED)
        else:
            self.end(RAISED, ending=ending)

    def take(self) -> Any:
        """Give the item away: what the caller is done with, nobody keeps."""
        item, self.item = self.item, NOTHING
        return item

    def seen(self, value: Any) -> Observation:
        """Make an Observation of the stream so far, with this as its value."""
        error = None if self.ending is None else self.ending.error
        return Observation(
            name=self.name,
            value=value,
            exception=error,
            duration_ns=self.ns,
            cpu_time=self.cpu_ns / 1e9 if self._recipe.cpu_time else None,
            raised_at=self.raised_at,
        )

    def observed(self) -> Observation:
        """Make the Observation of the whole stream."""
        ended = self.ended or CLOSED
        return self.seen(Stream(items=self.items, ended=ended, returned=self.returned))

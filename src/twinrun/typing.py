"""Names for the shapes of what users hand to twinrun and of what it hands to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

from twinrun.observation import Observation
from twinrun.result import Result
from twinrun.tally import Tally

__all__ = [
    "AfterRun",
    "Behaviour",
    "Clean",
    "CompareErrors",
    "CompareValues",
    "Context",
    "Controls",
    "Ignore",
    "Ledger",
    "OnFailure",
    "Publisher",
    "PublisherLike",
    "Sink",
]

Behaviour: TypeAlias = Callable[..., Any]
CompareValues: TypeAlias = Callable[[Any, Any], Any]
CompareErrors: TypeAlias = Callable[[BaseException, BaseException], Any]
Ignore: TypeAlias = Callable[[Observation, Observation], Any]
Clean: TypeAlias = Callable[[Any], Any]
Context: TypeAlias = Mapping[str, Any] | Callable[..., Mapping[str, Any]]
AfterRun: TypeAlias = Callable[[Result], Any]
OnFailure: TypeAlias = Callable[[str, BaseException, str], Any]


class Controls(Protocol):
    """Says, while a process runs, which share of runs are to be experiments.

    A plain callable of an experiment's name serves. It gives a share within 0..1, which holds in
    place of the experiment's own `sample`, or None for nothing said. It is asked every few seconds
    for each experiment, on a thread of twinrun's; where it raises, the last word holds. What else
    it may have, and is used where it is there:

    - `refresh()`: called before each round of asking. Where it raises, the last words hold.
    - `every`: the seconds between two rounds (by default 5), as they are when it is configured.
    """

    def __call__(self, experiment: str, /) -> float | None:
        """Give the share of an experiment's runs, None where there is nothing to say."""


class Ledger(Protocol):
    """An experiment's running account in this process, as its publishers see it."""

    @property
    def name(self) -> str:
        """The experiment's name."""

    def tally(self) -> Tally:
        """Read the tally as it stands, from any thread."""

    def drop(self, reason: str, count: int = 1) -> None:
        """Count records that a publisher could not keep."""


class Publisher(Protocol):
    """Something that takes results.

    `publish` is all that is needed; a plain callable of one `Result` serves too. What else a
    publisher may have, and is called where it is there:

    - `evidence_only = True`: it is handed only what is worth keeping (mismatched, ignored, timed
      out, inconclusive), so that a matching run need not build a Result for it.
    - `any_thread = True`: awaited runs give it their results on another thread, while the caller
      waits, so that the event loop need not.
    - `watch(ledger)`: called once in each process for each experiment that publishes here, at its
      first run; the publisher may read the ledger's tally from then on.
    - `flush(timeout) -> bool`: wait at most so many seconds; True only if all was delivered.
    - `close()`: nothing comes after it.
    """

    def publish(self, result: Result) -> None:
        """Take one result; may raise, which is counted as a failure of `publish`."""


PublisherLike: TypeAlias = Publisher | Callable[[Result], Any]
"""What serves as a publisher: a plain callable too."""


class Sink(Protocol):
    """A publisher's two halves, between which `twinrun.publishers.Buffered` can stand.

    What else a sink may have, and is called where it is there:

    - `wants(result)`: whether it makes a record of this one; asked first, so that what there is no
      room for need not be made.
    - `idle(ledgers)`: on the delivering thread, once in an interval and before a flush is done,
      with the ledgers of all experiments that publish here: for what reads tallies. It may raise.
    - `close()`: nothing comes after it.
    """

    def record(self, result: Result) -> bytes | None:
        """Make what is kept of a result, None if it is not worth keeping.

        It is called on the publishing thread, so that the record shows the values as they were
        compared, and keeps none of them alive. With a spool it lies on disk: no secrets, no pickle.
        """

    def deliver(self, records: list[bytes]) -> object:
        """Deliver records, the oldest first; on the delivering thread, which it may hold up.

        If it raises, they come again, alone or in other batches, and so they do in another process
        if this one dies meanwhile: it must not matter if a record is delivered twice. What it
        removes from the front of the list before it raises does not come again.
        """

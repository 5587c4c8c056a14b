"""Stands before any publisher: the caller pays for an append, a thread does the rest."""

from __future__ import annotations

import math
import os
import pickle
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from twinrun._kinds import is_unwaited
from twinrun.delivery import BATCH, CAPACITY, INTERVAL, MAX_BYTES, Counts, Delivery
from twinrun.errors import ConfigurationError
from twinrun.result import Result
from twinrun.tracebacks import type_name
from twinrun.typing import Ledger, PublisherLike

if TYPE_CHECKING:
    from twinrun.spool import Spool

__all__ = ["Buffered"]

_FLUSH_SECONDS: Final = 5.0  # that the publisher behind the buffer has for its own flush


class Buffered:
    """A bounded queue and a thread before a publisher, which may be slow, stuck or broken.

    The thread starts at the first result. A batch goes out when it is full or `interval` seconds
    have passed; what fails is tried again, ever later. A result that fails three times while others
    go through is set aside.

    A publisher that is a `twinrun.typing.Sink`, such as `StorePublisher` and `JSONLinesPublisher`
    (which have a buffer of their own that this one replaces), makes a record of each result at
    once. With `spool=directory` records are written to files there, outlive the process, and are
    delivered from there, if need be by the next process. Other publishers get a copy of the result,
    in memory only.

    Args:
        publisher: a sink, an object with `publish(result)`, or a plain callable of one Result.
        capacity: so many results wait at most; newer ones are dropped, and counted.
        max_bytes: so many bytes their records have at most.
        batch: so many are delivered at once.
        interval: seconds between two deliveries.
        spool: a directory for what must not be lost with the process.

    Raises:
        ConfigurationError: an argument is not of that kind, or the spool can't be.
    """

    any_thread = True

    def __init__(
        self,
        publisher: PublisherLike,
        *,
        capacity: int = CAPACITY,
        max_bytes: int = MAX_BYTES,
        batch: int = BATCH,
        interval: float = INTERVAL,
        spool: str | os.PathLike[str] | None = None,
    ) -> None:
        self._publisher: Any = _checked(publisher)
        for name, number in (("capacity", capacity), ("max_bytes", max_bytes), ("batch", batch)):
            if type(number) is not int or number < 1:
                raise ConfigurationError(f"{name} is a whole number from 1 upwards, not {number!r}")
        if type(interval) not in (int, float) or not 0 < interval < math.inf:
            raise ConfigurationError(f"interval is a number of seconds above 0, not {interval!r}")
        self._is_sink = _is_sink(publisher)
        sink: Any = publisher if self._is_sink else _Unpickling(publisher)
        self._delivery = Delivery(
            sink,
            name=_name(publisher),
            capacity=capacity,
            max_bytes=max_bytes,
            batch=batch,
            interval=interval,
            spool=None if spool is None else _spool(publisher, spool),
        )

    @property
    def evidence_only(self) -> bool:
        """Whether the publisher takes only what is worth keeping."""
        return getattr(self._publisher, "evidence_only", False) is True

    @property
    def counts(self) -> Counts:
        """What became of the results handed over in this process."""
        return self._delivery.counts

    def publish(self, result: Result) -> None:
        """Queue a result; what finds no room is dropped and counted."""
        self._delivery.publish(result)

    def watch(self, ledger: Ledger) -> None:
        """Have the ledger told of what is dropped, and shown to the publisher."""
        self._delivery.watch(ledger)
        watch = None if self._is_sink else getattr(self._publisher, "watch", None)
        if watch is not None:
            watch(ledger)

    def flush(self, timeout: float) -> bool:
        """Wait at most so many seconds; True if all that was published before is delivered.

        A loss is told by the first flush after it. Where no thread can be had, the publisher is
        called from here, and can't be interrupted.
        """
        return self._delivery.flush(timeout)

    def close(self) -> None:
        """Flush for at most two seconds, then take nothing more, and close the publisher."""
        self._delivery.close()
        close = getattr(self._publisher, "close", None)
        if close is not None:
            close()


class _Unpickling:
    """Makes a sink of any publisher: its records are pickled results, for this process alone."""

    def __init__(self, publisher: Any) -> None:
        self._take = getattr(publisher, "publish", publisher)
        self._flush = getattr(publisher, "flush", None)
        self._unflushed = False

    def wants(self, result: Result) -> bool:
        """Take every result that it is handed."""
        return True

    def record(self, result: Result) -> bytes:
        """Copy a result whole; its size is known then, and it keeps nothing of the caller's."""
        return pickle.dumps(result, pickle.HIGHEST_PROTOCOL)

    def deliver(self, records: list[bytes]) -> None:
        """Publish results one by one; those that went through leave the list."""
        while records:
            result = pickle.loads(records[0])
            self._unflushed = True
            self._take(result)
            del records[0]

    def idle(self, _: Sequence[Ledger]) -> None:
        """Have the publisher flush what it took."""
        if self._unflushed and self._flush is not None and not self._flush(_FLUSH_SECONDS):
            raise TimeoutError("its own flush was not done in time")
        self._unflushed = False


def _checked(publisher: PublisherLike) -> PublisherLike:
    """Take what can publish."""
    if isinstance(publisher, Buffered):
        raise ConfigurationError("the publisher is buffered already: give one Buffered its options")
    take = getattr(publisher, "publish", publisher)
    if isinstance(publisher, type) or not (
        _is_sink(publisher) or (callable(take) and not is_unwaited(take))
    ):
        raise ConfigurationError(
            "a publisher is a plain callable of one Result, or an object with publish(result) or "
            f"with record(result) and deliver(records); {publisher!r} is neither"
        )
    return publisher


def _is_sink(publisher: object) -> bool:
    return callable(getattr(publisher, "record", None)) and callable(
        getattr(publisher, "deliver", None)
    )


def _name(publisher: object) -> str:
    """Name a publisher in warnings, without a call into code that may do anything."""
    own = type(publisher).__str__
    if own is not object.__str__ and type(publisher).__module__.startswith("twinrun."):
        return str(publisher)
    return getattr(publisher, "__qualname__", None) or type_name(type(publisher))


def _spool(publisher: PublisherLike, directory: str | os.PathLike[str]) -> Spool:
    """Make the spool of a sink."""
    if not _is_sink(publisher):
        raise ConfigurationError(
            "a spool keeps records, which only a sink makes (record(result) and deliver(records), "
            "as StorePublisher and JSONLinesPublisher have): without one, leave spool out"
        )
    from twinrun.spool import Spool

    return Spool(directory)

"""Publishes what experiments find out to Redis, for collectors (needs `twinrun[redis]`)."""

from __future__ import annotations

import encodings.idna  # noqa: F401, else it is imported on a thread, where a name is looked up
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from twinrun import transit
from twinrun._forks import after_fork_in_child
from twinrun._kinds import is_unwaited
from twinrun.delivery import Counts, Delivery
from twinrun.errors import ConfigurationError
from twinrun.result import Result
from twinrun.store.writer import Writer, is_kept, writer_to
from twinrun.typing import Ledger

if TYPE_CHECKING:
    from redis import Redis, RedisCluster

__all__ = ["RedisPublisher"]

_INTERVAL: Final = 10.0  # seconds: there may be thousands of processes
_PUBLISH: Final = f"""
for i = 3, #ARGV do
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', '{transit.RECORD}', ARGV[i])
end
redis.call('HINCRBY', KEYS[2], ARGV[2], #ARGV - 2)
"""


class RedisPublisher:
    """Publishes mismatches and the tallies of every run to Redis Streams, on a thread of its own.

    `twinrun collect` brings them into a store. `url_or_client` is a URL (`redis://`, `rediss://`,
    `unix://`) or a client of the `redis` package, whose owner keeps it. Mismatches go to `stream`,
    tallies to another one beside it; each is cut to about `maxlen` messages, the newest. `release`
    is kept beside each exemplar (default: the environment's `TWINRUN_RELEASE`).

    Tallies are sent every `interval` seconds, mismatches then or as soon as a batch is full. While
    Redis is away or full, what is queued waits; what finds no room is dropped and counted. With
    other bounds, or a spool on disk: `Buffered(RedisPublisher(…), …)`.

    Raises:
        ConfigurationError: redis is missing, the URL can't be read, or an argument is of another
            kind.
    """

    evidence_only = True
    any_thread = True

    def __init__(
        self,
        url_or_client: str | Redis | RedisCluster,
        *,
        stream: str = transit.STREAM,
        maxlen: int = 100_000,
        release: str | None = None,
        interval: float = _INTERVAL,
    ) -> None:
        if type(maxlen) is not int or maxlen < 1:
            raise ConfigurationError(
                f"maxlen is a number of messages from 1 upwards, not {maxlen!r}"
            )
        if type(interval) not in (int, float) or not 0 < interval < math.inf:
            raise ConfigurationError(f"interval is a number of seconds above 0, not {interval!r}")
        self._keys, self._maxlen = transit.Keys(stream), maxlen
        is_given = _is_client(url_or_client)
        self._client: Any = url_or_client if is_given else transit.client(url_or_client)
        self._url = None if is_given else url_or_client
        self._place = transit.location(self._client)
        self._writer = self._shared_writer(release)
        self._delivery = Delivery(self, name=str(self), interval=interval)
        after_fork_in_child(self)

    def __str__(self) -> str:
        return f"stream {self._keys.stream} of Redis at {self._place}"

    def after_fork(self) -> None:
        """Connect anew."""
        if self._url is not None:  # its connection is the parent's, and so may be its locks
            self._client = transit.client(self._url)

    @property
    def counts(self) -> Counts:
        """What became of the results that were worth keeping, in this process."""
        return self._delivery.counts

    def publish(self, result: Result) -> None:
        """Queue a result if a candidate of it mismatched, timed out or was inconclusive."""
        self._delivery.publish(result)

    def watch(self, ledger: Ledger) -> None:
        """Publish the ledger's tally from now on."""
        self._delivery.watch(ledger)

    def flush(self, timeout: float) -> bool:
        """Wait at most so many seconds; True if Redis has all results and tallies."""
        return self._delivery.flush(timeout)

    def close(self) -> None:
        """Flush for at most two seconds, then take nothing more; a client given stays open."""
        self._delivery.close()
        if self._url is not None:
            self._client.close()

    def wants(self, result: Result) -> bool:
        """Say whether a candidate of a result is worth an exemplar."""
        return is_kept(result)

    def record(self, result: Result) -> bytes:
        """Make the record of a result, cleaned."""
        return self._writer.record(result)

    def deliver(self, records: list[bytes]) -> None:
        """Append records to the stream, all or none; the store knows again what comes twice."""
        self._append(self._keys.stream, records)

    def idle(self, ledgers: Sequence[Ledger]) -> None:
        """Append what each ledger's tally gained; what may not have arrived is appended again."""
        increments = self._writer.unwritten(ledgers)
        if increments:
            self._append(self._keys.tallies, list(map(transit.tally_record, increments)))
            self._writer.done(increments)

    def _shared_writer(self, release: str | None) -> Writer:
        """Give the one writer to a stream, as far as can be told where it is."""
        place = transit.place(self._client)
        return writer_to((*place, self._keys.stream), release) if place else Writer(release)

    def _append(self, stream: str, records: Sequence[bytes]) -> None:
        """Append records and count them, in one step."""
        keys = self._keys
        published = keys.published(stream)
        self._client.eval(_PUBLISH, 2, stream, keys.counts, self._maxlen, published, *records)


def _is_client(given: Any) -> bool:
    """Whether it is a client; one that has to be awaited is none."""
    execute = getattr(given, "execute_command", None)
    return callable(execute) and callable(getattr(given, "eval", None)) and not is_unwaited(execute)

"""Counts and times every run at a statsd server."""

from __future__ import annotations

import contextlib
import re
import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from twinrun._forks import after_fork_in_child
from twinrun.delivery import INTERVAL, Delivery
from twinrun.errors import ConfigurationError
from twinrun.histogram import Histogram
from twinrun.result import Result
from twinrun.tally import Tally
from twinrun.typing import Ledger

if TYPE_CHECKING:
    from statsd.client.base import StatsClientBase  # type: ignore[import-untyped]

__all__ = ["TIMINGS", "StatsdPublisher", "spread"]

TIMINGS: Final = 100
"""So many timings of one name are sent in one interval at most."""

_MILLISECONDS: Final = 1000


class StatsdPublisher:
    """Sends counters and timers of every run through a client of the `statsd` package.

    It reads the experiments' tallies every `interval` seconds on a thread of its own and sends what
    came since, so that a run costs nothing here, and a server that is slow or away harms nobody.

    - `<prefix>.<experiment>.runs`, `.experiments` (runs in which candidates ran)
    - `<prefix>.<experiment>.skipped.<reason>`, `.failures.<operation>`, `.dropped.<reason>`
    - `<prefix>.<experiment>.<candidate>.matched`, `.mismatched`, `.ignored`, `.timed_out`,
      `.inconclusive`, `.raised`, `.unstable` (mismatches that did not repeat, with `recheck`)
    - `<prefix>.<experiment>.<name>.duration`: a timer in milliseconds, of the control and of each
      candidate

    Counters are exact. Each timing is within 1.1 % of what was measured; of more than 100 in one
    interval, 100 are sent that are spread over all of them, so that the server's percentiles are
    right: how many runs there were is told by the counters.

    A dot in an experiment's name starts a new level, as everywhere in statsd; in other names it is
    replaced. What a statsd name can't hold becomes `_`, and a name with letters outside ASCII gets
    its checksum, so that two of them stay apart.

    Raises:
        ConfigurationError: the client is none, or the prefix is no text.
    """

    evidence_only = True

    def __init__(
        self, client: StatsClientBase, prefix: str = "twinrun", *, interval: float = INTERVAL
    ) -> None:
        if not callable(getattr(client, "pipeline", None)):
            raise ConfigurationError(
                "client is a client of the statsd package, such as statsd.StatsClient(), "
                f"not a {type(client).__name__}"
            )
        if not isinstance(prefix, str):
            raise ConfigurationError(f"prefix is a text, not a {type(prefix).__name__}")
        self._client = client
        self._prefix = _levels(prefix)
        self._delivery = Delivery(self, name="statsd", interval=interval)
        self._sent: dict[str, Tally] = {}
        after_fork_in_child(self)

    def after_fork(self) -> None:
        """Begin to count anew; a connection is the parent's."""
        self._sent = {}
        with contextlib.suppress(Exception):
            self._disconnect()

    def publish(self, result: Result) -> None:
        """Take no results: the tallies tell all."""

    def watch(self, ledger: Ledger) -> None:
        """Send what the ledger's tally gains from now on."""
        self._delivery.watch(ledger)

    def flush(self, timeout: float) -> bool:
        """Wait at most so many seconds; True if all that was counted before is sent."""
        return self._delivery.flush(timeout)

    def close(self) -> None:
        """Send the rest, within two seconds; the client stays open."""
        self._delivery.close()

    def record(self, result: Result) -> None:
        """Keep nothing of a result."""

    def deliver(self, records: list[bytes]) -> None:
        """Have no records to deliver."""

    def idle(self, ledgers: Sequence[Ledger]) -> None:
        """Send what each tally gained; raises what a client for TCP or Unix sockets raises."""
        try:
            for ledger in ledgers:
                tally = ledger.tally()
                gain = tally - self._sent.get(ledger.name, Tally())
                if gain != Tally():
                    self._send(ledger.name, gain)
                    self._sent[ledger.name] = tally
        except BaseException:
            self._disconnect()
            raise

    def _send(self, experiment: str, gain: Tally) -> None:
        """Send an experiment's stats through one pipeline."""
        name = ".".join(filter(None, (self._prefix, _levels(experiment) or "_")))
        with self._client.pipeline() as pipe:
            for stat, count in _counts(gain):
                pipe.incr(f"{name}.{stat}", count)
            for side, durations in gain.durations.items():
                for seconds in spread(durations, TIMINGS):
                    pipe.timing(f"{name}.{_level(side)}.duration", seconds * _MILLISECONDS)

    def _disconnect(self) -> None:
        """Have a client that has a connection make a new one: it would go on with a broken one."""
        if hasattr(self._client, "reconnect"):
            self._client.close()


def _counts(gain: Tally) -> Iterator[tuple[str, int]]:
    """Give what is counted, by the end of its name."""
    for stat, count in (("runs", gain.runs), ("experiments", gain.experiments)):
        if count:
            yield stat, count
    reasons = {"skipped": gain.skipped, "failures": gain.failures, "dropped": gain.dropped}
    for kind, counts in reasons.items():
        for reason, count in counts.items():
            yield f"{kind}.{_level(reason)}", count
    for candidate, outcomes in gain.outcomes.items():
        for outcome, count in outcomes.items():
            yield f"{_level(candidate)}.{outcome}", count
    for candidate, count in gain.candidate_errors.items():
        yield f"{_level(candidate)}.raised", count
    for candidate, count in gain.unstable.items():
        yield f"{_level(candidate)}.unstable", count


def spread(durations: Histogram, limit: int) -> Iterator[float]:
    """Give the durations in seconds, or so many of them that stand for all."""
    number = min(durations.count, limit)
    for place in range(number):
        quantile = durations.quantile((place + 0.5) / number)
        assert quantile is not None
        yield quantile


@lru_cache(maxsize=1024)
def _levels(name: str) -> str:
    """Make a name with dots safe, level by level; empty levels are left out."""
    return ".".join(_level(level) for level in name.split(".") if level)


@lru_cache(maxsize=1024)
def _level(name: str) -> str:
    """Make one level of a name safe: the client passes `:|@` on raw and raises on non-ASCII."""
    safe = re.sub(r"[^A-Za-z0-9_-]", "_", name)
    if name.isascii():
        return safe
    return f"{safe}_{zlib.crc32(name.encode('utf-8', 'surrogatepass')):08x}"

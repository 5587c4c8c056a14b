"""Counts and times every run at a statsd server."""

from __future__ import annotations

import re
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING

from twinrun.errors import ConfigurationError
from twinrun.observation import Observation
from twinrun.result import Result

if TYPE_CHECKING:
    from statsd.client.base import StatsClientBase  # type: ignore[import-untyped]

__all__ = ["StatsdPublisher"]


class StatsdPublisher:
    """Sends counters and timers of every run through a client of the `statsd` package.

    - `<prefix>.<experiment>.runs`
    - `<prefix>.<experiment>.<candidate>.matched`, `.mismatched`, `.ignored`, `.timed_out`,
      `.inconclusive`
    - `<prefix>.<experiment>.<name>.raised`, for the control and for candidates
    - `<prefix>.<experiment>.<name>.duration`: a timer in milliseconds

    A dot in an experiment's name starts a new level, as everywhere in statsd; in a candidate's
    name it is replaced. What a statsd name can't hold becomes `_`, and a name with letters
    outside ASCII gets its checksum, so that two of them stay apart. All stats of a run go out
    through one pipeline: in one datagram, as long as the client's `maxudpsize` allows.
    """

    def __init__(self, client: StatsClientBase, prefix: str = "twinrun") -> None:
        if not callable(getattr(client, "pipeline", None)):
            raise ConfigurationError(
                "client is a client of the statsd package, such as statsd.StatsClient(), "
                f"not a {type(client).__name__}"
            )
        if not isinstance(prefix, str):
            raise ConfigurationError(f"prefix is a text, not a {type(prefix).__name__}")
        self._client = client
        self._prefix = _levels(prefix)

    def publish(self, result: Result) -> None:
        """Send the stats of one run."""
        name = ".".join(filter(None, (self._prefix, _levels(result.experiment) or "_")))
        with self._client.pipeline() as pipe:
            pipe.incr(f"{name}.runs")
            _send(pipe, f"{name}.{_level(result.control.name)}", result.control)
            for comparison in result.comparisons:
                side = f"{name}.{_level(comparison.candidate.name)}"
                pipe.incr(f"{side}.{comparison.outcome}")
                _send(pipe, side, comparison.candidate)


def _send(pipe: StatsClientBase, name: str, seen: Observation) -> None:
    """Send what one behaviour did."""
    if seen.raised:
        pipe.incr(f"{name}.raised")
    pipe.timing(f"{name}.duration", seen.duration_ns / 1e6)


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

"""Keeps the newest results in memory, for tests and shells."""

from __future__ import annotations

from collections import deque

from twinrun.errors import ConfigurationError
from twinrun.result import Result

__all__ = ["MemoryPublisher"]


class MemoryPublisher:
    """Keeps the newest results, matched ones too, as they are: neither cleaned nor copied."""

    def __init__(self, limit: int = 1000) -> None:
        if type(limit) is not int or limit < 1:
            raise ConfigurationError(f"limit is a number of results from 1 upwards, not {limit!r}")
        self._results: deque[Result] = deque(maxlen=limit)

    @property
    def results(self) -> list[Result]:
        """The results that are kept, the newest last; a list of your own."""
        return list(self._results.copy())

    def publish(self, result: Result) -> None:
        """Keep a result, in place of the oldest one if the limit is reached."""
        self._results.append(result)

    def clear(self) -> None:
        """Forget all results."""
        self._results.clear()

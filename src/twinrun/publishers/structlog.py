"""Logs what differs, with structlog or the standard logging."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from twinrun import _logging
from twinrun.cleaners import one_line, payload
from twinrun.errors import ConfigurationError
from twinrun.result import BASELINE, Outcome, Result

__all__ = ["StructlogPublisher"]

_EVENTS: Final = {
    Outcome.MISMATCHED.value: "experiment.mismatch",
    Outcome.TIMED_OUT.value: "experiment.timed_out",
    Outcome.INCONCLUSIVE.value: "experiment.inconclusive",
}
_PATHS: Final = 10


class StructlogPublisher:
    """Logs a warning for each candidate that did not match, with flat keys and cleaned values.

    The events are `experiment.mismatch`, `experiment.timed_out` and `experiment.inconclusive`;
    what was ignored, and a baseline, is not logged. Without a logger of your own it uses structlog
    as the application has configured it by then, and the standard logger `twinrun` if it hasn't.
    """

    evidence_only = True
    any_thread = True

    def __init__(self, logger: Any = None) -> None:
        if logger is not None and not (hasattr(logger, "bind") and hasattr(logger, "warning")):
            raise ConfigurationError(
                f"logger is a logger of structlog, not a {type(logger).__name__}; without one, "
                "what the application has configured is used"
            )
        self._logger = logger

    def publish(self, result: Result) -> None:
        """Log what a result has to say, if anything."""
        if all(c.outcome.value not in _EVENTS for c in result.comparisons):
            return
        warn = _logging.warn if self._logger is None else self._logger.warning
        data = payload(result)
        for candidate in data["candidates"]:
            event = _EVENTS.get(candidate["outcome"])
            if event is not None and candidate["name"] != BASELINE:
                warn(event, **dict(_keys(data, candidate)))


def _keys(data: dict[str, Any], candidate: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Give the flat keys of one event."""
    control = data["control"]
    yield "experiment", data["experiment"]
    yield "candidate", candidate["name"]
    yield "id", data["id"]
    for key in ("fingerprint", "reason"):
        if candidate[key] is not None:
            yield key, candidate[key]
    found = candidate["differences"]
    if found:
        yield "differences", len(found) + candidate["differences_cut"]
        if "differences_incomplete" in candidate:
            yield "differences_incomplete", candidate["differences_incomplete"]
        yield "paths", [difference["path"] for difference in found[:_PATHS]]
        yield "kind", found[0]["kind"]
        for side in ("control", "candidate"):
            if side in found[0]:
                yield f"{side}_value", one_line(found[0][side])
    for side, seen in (("control", control), ("candidate", candidate)):
        yield f"{side}_ms", round(seen["duration_ns"] / 1e6, 3)
        if seen["exception"] is not None:
            yield f"{side}_exception", seen["exception"]["type"]

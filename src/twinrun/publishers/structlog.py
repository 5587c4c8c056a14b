"""Logs what differs, with structlog or the standard logging."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import Any, Final

from twinrun import _logging
from twinrun._restraint import Leave, Restraint
from twinrun.cleaners import one_line, payload
from twinrun.errors import ConfigurationError
from twinrun.result import BASELINE, Comparison, Outcome, Result
from twinrun.typing import Ledger

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

    Of each group (one fingerprint, or one reason) of an experiment the first `burst` are logged,
    then one in `interval` seconds: the last of the burst says so by the key `then_one_in`, later
    ones how many were not logged since, by `left_out`. The tally counts these as dropped:
    "log limit". A group that is quiet earns one more in so many seconds, up to its burst.

    Args:
        logger: a logger of structlog to be used, whatever is configured.
        burst: how many of a group are logged one after the other; None logs every one.
        interval: seconds.

    Raises:
        ConfigurationError: an argument is of another kind.
    """

    evidence_only = True
    any_thread = True

    def __init__(
        self, logger: Any = None, *, burst: int | None = 10, interval: float = 60.0
    ) -> None:
        if logger is not None and not (hasattr(logger, "bind") and hasattr(logger, "warning")):
            raise ConfigurationError(
                f"logger is a logger of structlog, not a {type(logger).__name__}; without one, "
                "what the application has configured is used"
            )
        if burst is not None and (type(burst) is not int or burst < 1):
            raise ConfigurationError(
                f"burst is a number of events from 1 upwards, or None for all, not {burst!r}"
            )
        if type(interval) not in (int, float) or not 0 < interval < inf:
            raise ConfigurationError(f"interval is a number of seconds above 0, not {interval!r}")
        self._logger = logger
        self._interval = interval
        self._restraint = None if burst is None else Restraint(burst, interval)
        self._ledgers: dict[str, Ledger] = {}

    def watch(self, ledger: Ledger) -> None:
        """Have the ledger told of what is left out."""
        self._ledgers[ledger.name] = ledger

    def publish(self, result: Result) -> None:
        """Log what a result has to say, if anything, and if not too much of it was said."""
        leaves = [self._ask(result.experiment, each) for each in result.comparisons]
        if not any(leaves):
            return
        warn = _logging.warn if self._logger is None else self._logger.warning
        data = payload(result)
        for candidate, leave in zip(data["candidates"], leaves, strict=True):
            if leave:
                keys = dict(_keys(data, candidate))
                if leave.left_out:
                    keys["left_out"] = leave.left_out
                if leave.is_last:
                    keys["then_one_in"] = f"{self._interval:g} seconds"
                warn(_EVENTS[candidate["outcome"]], **keys)

    def _ask(self, experiment: str, judged: Comparison) -> Leave | None:
        """Ask for leave to log a comparison; None where it has nothing to say, or is left out."""
        if judged.outcome.value not in _EVENTS or judged.candidate.name == BASELINE:
            return None
        if self._restraint is None:
            return Leave(left_out=0, is_last=False)
        group = (judged.outcome, judged.fingerprint, judged.reason)
        leave = self._restraint.ask((experiment, judged.candidate.name, group))
        if leave is None and experiment in self._ledgers:
            self._ledgers[experiment].drop("log limit")
        return leave


def _keys(data: dict[str, Any], candidate: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Give the flat keys of one event."""
    control = data["control"]
    yield "experiment", data["experiment"]
    yield "candidate", candidate["name"]
    yield "id", data["id"]
    for key in ("fingerprint", "reason", "recheck"):
        if candidate.get(key) is not None:
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

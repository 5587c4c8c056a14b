"""Reads the lines of an export, whoever wrote them."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import attrs

from twinrun.errors import ConfigurationError
from twinrun.store._times import microseconds
from twinrun.store.exchange import VERSION
from twinrun.store.grouping import bounded_json
from twinrun.store.identity import is_origin
from twinrun.store.records import key_text, storable_text
from twinrun.tally import Tally

__all__ = [
    "DAY",
    "Count",
    "ExampleLine",
    "ExperimentLine",
    "ExportError",
    "GroupLine",
    "KnownLine",
    "TallyLine",
    "read_lines",
]

DAY: Final = 1440
"""Minutes."""

_SPANS: Final = (1, 60, DAY)
_LARGEST: Final = 2**63 - 1


class ExportError(ConfigurationError):
    """What was to be taken in is no export, or only the beginning of one."""


@attrs.frozen(kw_only=True)
class ExperimentLine:
    """An experiment, and when it was seen first and last."""

    experiment: str
    seen: tuple[int, int]


@attrs.frozen(kw_only=True)
class TallyLine:
    """What the processes of one store counted in one window of time."""

    experiment: str
    store: str
    minute: int
    span: int
    release: str
    tally: Tally

    @property
    def seen(self) -> tuple[int, int]:
        """When the experiment was seen, as far as this tells."""
        return self.minute * 60_000_000, self.minute * 60_000_000

    @property
    def day(self) -> tuple[str, str, str, int]:
        """What follows each other in an export, and is compared as a whole."""
        return self.experiment, self.store, self.release, self.minute // DAY


@attrs.frozen(kw_only=True)
class Count:
    """How many members of a group the processes of one store counted."""

    store: str
    count: int
    first_seen: int
    last_seen: int

    def after(self, row: Mapping[str, Any]) -> dict[str, int]:
        """Say what is known with this, after what was known before.

        A group that was purged where it came from begins anew there, and its old count stays.
        """
        begins_anew = bool(row["count"]) and self.first_seen > row["last_seen"]
        base = row["count"] if begins_anew else row["base"]
        return {
            "base": base,
            "count": max(row["count"], base + self.count),
            "first_seen": self.first_seen,
            "last_seen": max(row["last_seen"], self.last_seen),
        }


@attrs.frozen(kw_only=True)
class GroupLine:
    """Mismatches with the same cause, and what each store counted of them."""

    experiment: str
    fingerprint: str
    counts: tuple[Count, ...]
    described: Mapping[str, Any]

    @property
    def seen(self) -> tuple[int, int]:
        """When a member was seen first and last."""
        firsts, lasts = zip(*((c.first_seen, c.last_seen) for c in self.counts), strict=True)
        return min(firsts), max(lasts)

    def row(self) -> dict[str, Any]:
        """Give the row of a group that has no member yet."""
        first, last = self.seen
        return {**self.described, "count": 0, "first_seen": first, "last_seen": last}


@attrs.frozen(kw_only=True)
class ExampleLine:
    """One member of a group, kept in full."""

    experiment: str
    fingerprint: str
    result_id: str
    recorded_at: int
    kept: Mapping[str, Any]

    @property
    def seen(self) -> tuple[int, int]:
        """When it was seen."""
        return self.recorded_at, self.recorded_at

    def row(self) -> dict[str, Any]:
        """Give the row of it, but for its group and its slot."""
        return {
            "fingerprint": self.fingerprint,
            "result_id": self.result_id,
            "recorded_at": self.recorded_at,
            **self.kept,
        }


KnownLine = ExperimentLine | TallyLine | GroupLine | ExampleLine


def read_lines(lines: Iterable[Mapping[str, Any]], own: str) -> Iterator[KnownLine]:
    """Read an export's lines between its head and its end, for the store of this name.

    Raises:
        ExportError: a line can't be read, the end is missing, or it is the store's own export.
    """
    number = 0
    for number, line in enumerate(lines, 1):
        try:
            kind = line["line"]
            if number == 1:
                _check_head(line, own)
            elif kind == "end":
                if line["lines"] == number - 1:
                    return
                break
            else:
                yield _READERS[kind](line)
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            if isinstance(error, ExportError):
                raise
            raise ExportError(
                f"line {number} is none of an export: {type(error).__name__}: {error}"
            ) from error
    raise ExportError(f"the export is not whole: it ends after line {number}; export it again")


def _check_head(line: Mapping[str, Any], own: str) -> None:
    """Refuse what is no export, or one of a newer twinrun."""
    if line["line"] != "head":
        raise ExportError("this is no export of twinrun: its first line says nothing of one")
    if line["twinrun"] != VERSION:
        raise ExportError(
            f"the export has version {line['twinrun']!r}, and this twinrun reads {VERSION}: "
            "upgrade twinrun"
        )
    if line["store"] == own:
        raise ExportError("it comes from this very store, or from a copy of its file")


def _read_experiment(line: Mapping[str, Any]) -> ExperimentLine:
    seen = _time(line["first_seen"]), _time(line["last_seen"])
    return ExperimentLine(experiment=key_text(line["experiment"]), seen=seen)


def _read_tally(line: Mapping[str, Any]) -> TallyLine:
    span = line["minutes"]
    if span not in _SPANS:
        raise ValueError(f"{span!r} minutes; {', '.join(map(str, _SPANS))} are accepted")
    return TallyLine(
        experiment=key_text(line["experiment"]),
        store=_store(line["store"]),
        minute=_time(line["start"]) // 60_000_000 // span * span,
        span=span,
        release=key_text(line["release"] or ""),
        tally=Tally.from_dict(line["tally"]),
    )


def _read_group(line: Mapping[str, Any]) -> GroupLine:
    texts = ("candidate", "outcome", "state")
    described: dict[str, Any] = {name: storable_text(line[name]) for name in texts}
    for name in ("reason", "control_exception", "candidate_exception"):
        described[name] = None if line[name] is None else storable_text(line[name])
    for name in ("kinds", "paths"):
        described[name] = json.dumps([storable_text(each) for each in line[name]])
    counts = tuple(
        Count(
            store=_store(part["store"]),
            count=_whole(part["count"]),
            first_seen=_time(part["first_seen"]),
            last_seen=_time(part["last_seen"]),
        )
        for part in line["counts"]
    )
    if not counts:
        raise ValueError("a group that nobody counted")
    return GroupLine(
        experiment=key_text(line["experiment"]),
        fingerprint=key_text(line["fingerprint"]),
        counts=counts,
        described=described,
    )


def _read_example(line: Mapping[str, Any]) -> ExampleLine:
    release = line["release"]
    return ExampleLine(
        experiment=key_text(line["experiment"]),
        fingerprint=key_text(line["fingerprint"]),
        result_id=key_text(line["result_id"]),
        recorded_at=_time(line["recorded_at"]),
        kept={
            "sequence": _whole(line["sequence"]),
            "payload": bounded_json(line["payload"]),
            "host": storable_text(line["host"]),
            "pid": _whole(line["pid"]),
            "release": None if release is None else key_text(release),
        },
    )


_READERS: Final[Mapping[str, Callable[[Mapping[str, Any]], KnownLine]]] = {
    "experiment": _read_experiment,
    "tally": _read_tally,
    "group": _read_group,
    "example": _read_example,
}


def _time(text: str) -> int:
    """Read a time; one without a zone is none."""
    read = datetime.datetime.fromisoformat(text)
    if read.utcoffset() is None:
        raise ValueError(f"the time {text!r} has no zone")
    return microseconds(read)


def _store(text: str) -> str:
    """Read the name of a store."""
    if not is_origin(text):
        raise ValueError(f"{text!r} is no name of a store")
    return key_text(text)


def _whole(number: int) -> int:
    """Read a number that a database's column holds."""
    if type(number) is not int or not 0 <= number <= _LARGEST:
        raise ValueError(f"{number!r} is no whole number from 0 to {_LARGEST}")
    return number

"""Sets out an export's lines as flat tables, and writes them as CSV or Parquet."""

from __future__ import annotations

import csv
import datetime
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from itertools import islice
from typing import IO, Any, Final

import attrs

from twinrun.errors import needing
from twinrun.histogram import Histogram
from twinrun.result import Outcome
from twinrun.tally import Tally

__all__ = ["TABLES", "Table", "write_csv", "write_parquet"]

_Line = Mapping[str, Any]

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\0", "＝", "＋", "－", "＠")  # noqa: RUF001
_AT_ONCE: Final = 10_000


@attrs.frozen
class Table:
    """One table: its columns, each with the type of what is in it, and its rows of a line."""

    columns: Mapping[str, type]
    of: str
    rows_of: Callable[[_Line], Iterator[tuple[Any, ...]]]

    def rows(self, lines: Iterable[_Line]) -> Iterator[tuple[Any, ...]]:
        """Give the rows of all lines that tell of this table, in the order of `columns`."""
        for line in lines:
            if line["line"] == self.of:
                yield from self.rows_of(line)


def _groups(line: _Line) -> Iterator[tuple[Any, ...]]:
    counts = line["counts"]
    yield (
        line["experiment"],
        line["fingerprint"],
        line["candidate"],
        line["outcome"],
        line["reason"],
        " ".join(line["kinds"]),
        " ".join(line["paths"]),
        line["control_exception"],
        line["candidate_exception"],
        sum(part["count"] for part in counts),
        _time(min(part["first_seen"] for part in counts)),
        _time(max(part["last_seen"] for part in counts)),
        line["state"],
    )


def _counts(line: _Line) -> Iterator[tuple[Any, ...]]:
    tally = Tally.from_dict(line["tally"])
    window = line["experiment"], _time(line["start"]), line["minutes"], line["release"]
    names = sorted({*tally.outcomes, *tally.candidate_errors, *tally.ratios})
    for name in names or [""]:
        outcomes = tally.outcomes.get(name, {})
        seconds = tally.durations.get(name, Histogram())
        ratio = sum(tally.ratios.get(name, {}).values(), Histogram())
        yield (
            *window,
            line["store"],
            tally.runs,
            tally.experiments,
            name or None,
            *(outcomes.get(outcome, 0) for outcome in Outcome),
            tally.candidate_errors.get(name, 0),
            *(seconds.quantile(q) for q in (0.5, 0.99)),
            *(ratio.quantile(q) for q in (0.5, 0.99)),
        )


def _examples(line: _Line) -> Iterator[tuple[Any, ...]]:
    names = "experiment", "fingerprint", "result_id"
    told = [line[name] for name in ("host", "pid", "release")]
    payload = json.dumps(line["payload"], separators=(",", ":"))
    yield (*(line[name] for name in names), _time(line["recorded_at"]), *told, payload)


def _time(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)


_time_type = datetime.datetime

TABLES: Final[Mapping[str, Table]] = {
    "groups": Table(
        {
            **dict.fromkeys(("experiment", "group", "candidate", "outcome", "reason"), str),
            **dict.fromkeys(("kinds", "paths", "control_exception", "candidate_exception"), str),
            "count": int,
            "first_seen": _time_type,
            "last_seen": _time_type,
            "state": str,
        },
        "group",
        _groups,
    ),
    "counts": Table(
        {
            "experiment": str,
            "start": _time_type,
            "minutes": int,
            "release": str,
            "store": str,
            "runs": int,
            "experiments": int,
            "candidate": str,
            **{str(outcome): int for outcome in Outcome},
            "errors": int,
            "seconds_p50": float,
            "seconds_p99": float,
            "ratio_p50": float,
            "ratio_p99": float,
        },
        "tally",
        _counts,
    ),
    "examples": Table(
        {
            "experiment": str,
            "group": str,
            "result_id": str,
            "recorded_at": _time_type,
            "host": str,
            "pid": int,
            "release": str,
            "payload": str,
        },
        "example",
        _examples,
    ),
}
"""What can be exported as a table, by name."""


def write_csv(table: Table, lines: Iterable[_Line], file: IO[str]) -> None:
    """Write a table with a heading; times in ISO 8601, what is not known as nothing.

    A text that a spreadsheet would take for a formula has an apostrophe put before it (CWE-1236).
    """
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(table.columns)
    for row in table.rows(lines):
        writer.writerow([_cell(value) for value in row])


def _cell(value: Any) -> Any:
    """Write one value for CSV."""
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if isinstance(value, str) and value.lstrip(" ").startswith(_FORMULA):
        return f"'{value}"
    return value


def write_parquet(table: Table, lines: Iterable[_Line], path: str) -> None:
    """Write a table to a Parquet file; times are in microseconds, in UTC.

    Raises:
        ConfigurationError: pyarrow is not installed.
    """
    with needing("pyarrow", 'Parquet needs pyarrow: pip install "pyarrow"'):
        pyarrow: Any = import_module("pyarrow")
        parquet: Any = import_module("pyarrow.parquet")
    types = {
        str: pyarrow.string(),
        int: pyarrow.int64(),
        float: pyarrow.float64(),
        _time_type: pyarrow.timestamp("us", tz="UTC"),
    }
    schema = pyarrow.schema([(name, types[kind]) for name, kind in table.columns.items()])
    rows = table.rows(lines)
    with parquet.ParquetWriter(path, schema) as writer:
        while some := list(islice(rows, _AT_ONCE)):
            columns = dict(zip(table.columns, zip(*some, strict=True), strict=True))
            writer.write_table(pyarrow.table(columns, schema=schema))

"""Tallies as the table keeps them: JSON in which a histogram is a list where that is shorter.

A report adds up thousands of them: reading and adding lists takes a third of the time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from operator import add
from typing import Any, Final

from twinrun.tally import Tally

__all__ = ["pack", "total", "unpack"]

_HISTOGRAMS: Final = ("durations", "ratios")
_SPARSE: Final = 3  # times as many places as counts: a mapping is shorter then


def pack(tally: Tally) -> str:
    """Write a tally, for `unpack`."""
    data = tally.as_dict()
    for name in _HISTOGRAMS:
        data[name] = _packed(data[name])
    return json.dumps(data, separators=(",", ":"))


def unpack(text: str) -> Tally:
    """Read what `pack` wrote, or the JSON of `Tally.as_dict()` in stores of an earlier version."""
    return total([text])


def total(texts: Iterable[str]) -> Tally:
    """Add up tallies as they are kept."""
    sums: dict[str, Any] = {}
    for text in texts:
        _add(sums, json.loads(text))
    if not sums:
        return Tally()
    for name in _HISTOGRAMS:
        sums[name] = _unpacked(sums[name])
    return Tally.from_dict(sums)


def _is_histogram(data: dict[str, Any]) -> bool:
    """Tell it from what is counted by name: nothing else has a number that is called so."""
    return isinstance(data.get("scale"), int) and isinstance(data.get("counts"), dict)


def _packed(data: dict[str, Any]) -> dict[str, Any]:
    if not _is_histogram(data):
        return {key: _packed(value) for key, value in data.items()}
    counts = {int(index): count for index, count in data["counts"].items()}
    first = min(counts, default=0)
    length = max(counts, default=first) - first + 1
    if length > _SPARSE * len(counts):
        return data
    listed = [counts.get(index, 0) for index in range(first, first + length)]
    return {**data, "counts": {}, "first": first, "list": listed}


def _unpacked(data: dict[str, Any]) -> dict[str, Any]:
    if not _is_histogram(data):
        return {key: _unpacked(value) for key, value in data.items()}
    counts = dict(data["counts"])
    for index, count in enumerate(data.get("list", ()), data.get("first", 0)):
        if count:
            counts[str(index)] = counts.get(str(index), 0) + count
    return {**data, "counts": counts}


def _add(sums: dict[str, Any], more: dict[str, Any]) -> None:
    """Add number by number: Tallies of so many rows would take twice the time."""
    if _is_histogram(more):
        if sums.setdefault("scale", more["scale"]) != more.pop("scale"):
            raise ValueError("these histograms have different scales")
        if "list" in more:
            _add_list(sums, more.pop("first"), more.pop("list"))
    for key, value in more.items():
        if isinstance(value, int):
            sums[key] = sums.get(key, 0) + value
        elif isinstance(value, list):
            sums[key] = list(map(add, sums.get(key, [0] * len(value)), value))
        else:
            _add(sums.setdefault(key, {}), value)


def _add_list(sums: dict[str, Any], first: int, counts: list[int]) -> None:
    """Add counts of neighbouring buckets."""
    listed = sums.setdefault("list", [])
    start = first - sums.setdefault("first", first)
    if start < 0:
        listed[:0] = [0] * -start
        sums["first"], start = first, 0
    end = start + len(counts)
    listed += [0] * (end - len(listed))
    listed[start:end] = map(add, listed[start:end], counts)

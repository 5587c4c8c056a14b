"""What a result is on its way into the store: one JSON record, wherever it waits meanwhile."""

from __future__ import annotations

import datetime
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from twinrun.fingerprints import generalise
from twinrun.paired import CUT, MORE
from twinrun.result import Outcome
from twinrun.store.records import Mismatch

__all__ = ["KEPT", "mismatches", "record"]

KEPT: Final = frozenset({Outcome.MISMATCHED, Outcome.TIMED_OUT, Outcome.INCONCLUSIVE})
"""The outcomes that are worth an exemplar."""

_VERSION: Final = 1


def record(
    payload: Mapping[str, Any],
    *,
    experiment: str,
    recorded_at: datetime.datetime,
    host: str,
    pid: int,
    release: str | None,
) -> bytes:
    """Write a payload (of `twinrun.cleaners.payload`) with all that the store keeps beside it."""
    made = {
        "version": _VERSION,
        "experiment": experiment,
        "recorded_at": recorded_at.isoformat(),
        "host": host,
        "pid": pid,
        "release": release,
        "result": payload,
    }
    return json.dumps(made, allow_nan=False, separators=(",", ":")).encode()


def mismatches(record: bytes) -> list[Mismatch]:
    """Read a record: a mismatch for each of its candidates that is worth keeping.

    Raises:
        ValueError: it is none that this twinrun can read.
    """
    try:
        read = json.loads(record)
        if read["version"] != _VERSION:
            raise ValueError(f"the record has version {read['version']!r}, not {_VERSION}")
        candidates = read["result"]["candidates"]
        return [_mismatch(read, each) for each in candidates if each["outcome"] in KEPT]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"this is no record of a result: {error!r}") from error


def _mismatch(read: Mapping[str, Any], candidate: Mapping[str, Any]) -> Mismatch:
    """Give what the store keeps of one candidate."""
    payload = read["result"]
    shared = {name: part for name, part in payload.items() if name != "candidates"}
    places = dict.fromkeys(
        (difference["kind"], generalise(difference["path"]))
        for difference in candidate["differences"]
    )
    if candidate.get("differences_incomplete"):
        places[CUT, "$"] = None
    if candidate.get("differences_cut"):
        places[MORE, "$"] = None
    return Mismatch(
        experiment=read["experiment"],
        candidate=candidate["name"],
        fingerprint=candidate["fingerprint"] or _fingerprint(read["experiment"], candidate),
        outcome=candidate["outcome"],
        reason=candidate["reason"],
        kinds=tuple(kind for kind, _ in places),
        paths=tuple(path for _, path in places),
        control_exception=_exception_type(payload["control"]),
        candidate_exception=_exception_type(candidate),
        result_id=payload["id"],
        recorded_at=datetime.datetime.fromisoformat(read["recorded_at"]),
        payload={**shared, "candidate": candidate},
        host=read["host"],
        pid=read["pid"],
        release=read["release"],
    )


def _fingerprint(experiment: str, candidate: Mapping[str, Any]) -> str:
    """Name the group of what has no differences: the same outcome for the same reason.

    Numbers in the reason don't count, so that a time or a size in it makes no group of its own.
    """
    reason = re.sub(r"\d+", "*", candidate["reason"] or "")
    cause = experiment, candidate["name"], str(candidate["outcome"]), reason
    digest = hashlib.blake2b(ascii(cause).encode(), digest_size=8, usedforsecurity=False)
    return digest.hexdigest()


def _exception_type(observation: Mapping[str, Any]) -> str | None:
    exception = observation["exception"]
    return None if exception is None else str(exception["type"])

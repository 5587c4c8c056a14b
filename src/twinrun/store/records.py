"""What goes into the store and what comes out of it, as values."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Mapping
from typing import Any, Final

import attrs

from twinrun.tally import Tally

__all__ = [
    "Exemplar",
    "ExperimentRecord",
    "GroupRecord",
    "Mismatch",
    "TallyIncrement",
    "key_text",
    "storable_text",
]

_KEY_BYTES: Final = 1000  # PostgreSQL indexes rows of 2,704 bytes at most, and keys come in pairs
_KEPT_CHARACTERS: Final = 200


def storable_text(text: str) -> str:
    """Give the text as every database accepts it: lone surrogates and NUL become escapes."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def key_text(text: str) -> str:
    """Give the text as every database can index it: a very long one becomes its start and hash."""
    stored = storable_text(text)
    encoded = stored.encode()
    if len(encoded) <= _KEY_BYTES:
        return stored
    digest = hashlib.blake2b(encoded, digest_size=16, usedforsecurity=False).hexdigest()
    return f"{stored[:_KEPT_CHARACTERS]}... {digest}"


def _optional_key(text: str | None) -> str | None:
    return None if not text else key_text(text)


def _optional_text(text: str | None) -> str | None:
    return None if text is None else storable_text(text)


def _texts(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(storable_text, texts))


@attrs.frozen(kw_only=True)
class TallyIncrement:
    """What an experiment's tally gained in one process, or part of it.

    `process` names the process for ever: its host, its id and a token of its start. `sequence` is
    which of its increments for this experiment it is, a whole number from 0 upwards, each used
    once: an increment with a number that was added already is not added again, so that it may be
    written until that is known to have worked. One without is added as often as it is written.
    `release` is the release of the application that ran, where it was told.
    """

    experiment: str = attrs.field(converter=key_text)
    process: str = attrs.field(converter=key_text)
    recorded_at: datetime.datetime
    tally: Tally
    sequence: int | None = None
    release: str | None = attrs.field(default=None, converter=_optional_key)

    @property
    def minute(self) -> int:
        """The minute it is booked under, counted in UTC from 1970."""
        return int(self.recorded_at.timestamp()) // 60


@attrs.frozen(kw_only=True)
class Mismatch:
    """One candidate of one result that mismatched, timed out or was inconclusive.

    `kinds` and `paths` tell how and where it differs, the paths generalised; `payload` is what
    `Exemplar.payload` gives back.
    """

    experiment: str = attrs.field(converter=key_text)
    candidate: str = attrs.field(converter=storable_text)
    fingerprint: str = attrs.field(converter=key_text)
    outcome: str
    reason: str | None = attrs.field(default=None, converter=_optional_text)
    kinds: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    paths: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    control_exception: str | None = attrs.field(default=None, converter=_optional_text)
    candidate_exception: str | None = attrs.field(default=None, converter=_optional_text)
    result_id: str = attrs.field(converter=key_text)
    recorded_at: datetime.datetime
    payload: Mapping[str, Any]
    host: str = attrs.field(converter=storable_text)
    pid: int
    release: str | None = attrs.field(default=None, converter=_optional_key)


@attrs.frozen(kw_only=True)
class ExperimentRecord:
    """An experiment that the store knows; both times are aware, in UTC."""

    name: str
    first_seen: datetime.datetime
    last_seen: datetime.datetime


@attrs.frozen(kw_only=True)
class GroupRecord:
    """Mismatches with the same cause, counted exactly.

    `outcome` is `mismatched`, `timed_out` or `inconclusive`; `reason` belongs to the latter two.
    `kinds` and the generalised `paths` tell how and where it differs, pair by pair;
    `control_exception` and `candidate_exception` are the types of what was raised, if anything.
    """

    experiment: str
    fingerprint: str
    candidate: str
    outcome: str
    reason: str | None
    kinds: tuple[str, ...]
    paths: tuple[str, ...]
    control_exception: str | None
    candidate_exception: str | None
    count: int
    first_seen: datetime.datetime
    last_seen: datetime.datetime
    state: str


@attrs.frozen(kw_only=True)
class Exemplar:
    """One member of a group, kept in full.

    `sequence` is which member of its group it was, from 1. `payload` is what
    `twinrun.cleaners.payload` made of the result, narrowed to one candidate: `id`, `experiment`,
    `started_at`, `order`, `context`, `control` and, in place of `candidates`, `candidate`, which
    holds `outcome`, `reason`, `fingerprint` and `differences` beside what it observed.
    """

    fingerprint: str
    result_id: str
    sequence: int
    payload: Mapping[str, Any]
    host: str
    pid: int
    release: str | None
    recorded_at: datetime.datetime

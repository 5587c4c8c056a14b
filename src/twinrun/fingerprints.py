"""Names the group of mismatches that have the same cause."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from twinrun._pickling import type_name
from twinrun.difference import Difference, DifferenceKind
from twinrun.observation import Observation

__all__ = ["VERSION", "fingerprint", "generalise"]

VERSION = 1
"""The version of the rules below; each fingerprint depends on it."""

_STEP = r"""\.[^.\[]+ | \[ (?: "(?:[^"\\]|\\.)*" | [^\]"]* ) \]"""
_LONGEST_NAME = 64


def fingerprint(
    experiment: str,
    candidate: str,
    differences: Sequence[Difference],
    control: Observation,
    candidate_observation: Observation,
) -> str:
    """Give 16 hex digits, the same for mismatches that seem to have the same cause.

    What counts is the experiment, the candidate, the set of differences by kind and generalised
    path (where the types differ, by both types too), and for each side that raised the type of its
    exception and the place it came from. Values, messages, the order and the number of differences
    at one generalised path don't count. It is the same in every process and on every Python.
    """
    import hashlib

    places = sorted({_place(difference) for difference in differences})
    cause = (
        VERSION,
        experiment,
        candidate,
        places,
        _raised(control),
        _raised(candidate_observation),
    )
    # ascii() writes text the same way whatever Unicode the running Python knows.
    digest = hashlib.blake2b(ascii(cause).encode(), digest_size=8, usedforsecurity=False)
    return digest.hexdigest()


def _place(difference: Difference) -> tuple[str, ...]:
    """Say in which way and where two values differ, without the values."""
    place: tuple[str, ...] = (str(difference.kind), generalise(difference.path))
    if difference.kind == DifferenceKind.TYPE:
        place += (type_name(difference.control), type_name(difference.candidate))
    return place


def _raised(observation: Observation) -> tuple[str, str | None] | None:
    """Say what one side raised and where, or None if it returned."""
    if observation.exception is None:
        return None
    return type_name(observation.exception), observation.raised_at


def generalise(path: str) -> str:
    """Write `[*]` for each step of a path that is an index, a number or looks like an id.

    `$.items[3].price` becomes `$.items[*].price`, `$.users.user_1234.age` and
    `$.users["9f1b…"].age` both become `$.users[*].age`. A key looks like an id if it is

    - digits, with or without punctuation: `17`, `2024-01-31`, `192.168.0.1`
    - a UUID, or hexadecimal of at least 8 characters with a digit: `deadbeef1`
    - a name with a number of its own of three digits or more, or with five digits or more in a
      row: `user_1234`, `order-170`, `user12345`, `report_2024`
    - a token of at least 12 letters and digits that mixes them as no name does, with three numbers
      in it, or a change between lower case, upper case and digits at every other character:
      `cus_NffrFeUfNV2Hib`, `01ARZ3NDEKTSV4RRFFQ69G5FAV`
    - an e-mail address, or longer than 64 characters.

    Names stay names: `address2`, `line_10`, `sha256`, `utf8`, `iso8601`, `oauth2AccessToken`,
    `isV2ApiEnabled`, `deadbeef`. So the first hundred of `user_1`, `user_2` … have groups of their
    own, and `sha_256` is taken for an id: a dict's keys can't be told from names for certain.
    """
    return re.sub(_STEP, lambda step: _generalised(step.group()), path, flags=re.VERBOSE)


def _generalised(step: str) -> str:
    """Generalise one step of a path."""
    if step.startswith("."):
        return "[*]" if _is_id(step[1:]) else step
    inner = step[1:-1]
    if inner.startswith('"'):
        return "[*]" if _is_id(_unquoted(inner)) else step
    return step if inner.startswith("<") or inner in ("None", "True", "False") else "[*]"


def _unquoted(text: str) -> str:
    """Read a quoted key; what another comparator quoted in its own way is taken as it is."""
    import json

    try:
        return str(json.loads(text))
    except ValueError:
        return text[1:-1]


def _is_id(key: str) -> bool:
    """Whether a key looks like an id rather than like a field's name."""
    if len(key) > _LONGEST_NAME or re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", key):
        return True
    if not re.search("[0-9]", key):
        return False
    return (
        not any(map(str.isalpha, key))
        or re.fullmatch(r"\{?[0-9a-fA-F-]{8,}\}?", key) is not None
        or re.search(r"[0-9]{5}|(?<![^\W_])[0-9]{3,}(?![^\W_])", key) is not None
        or any(map(_is_mixed, re.findall(r"[A-Za-z0-9]{12,}", key)))
    )


def _is_mixed(token: str) -> bool:
    """Whether a long token mixes lower case, upper case and digits as no name does."""
    runs = list(_runs(token))
    return sum(run.isdigit() for run in runs) >= 3 or 2 * (len(runs) - 1) >= len(token)


def _runs(token: str) -> Iterator[str]:
    """Split a token where it changes between lower case, upper case and digits."""
    return (run.group() for run in re.finditer("[a-z]+|[A-Z]+|[0-9]+", token))

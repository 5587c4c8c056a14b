"""Names the group of mismatches that have the same cause."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final, TypeAlias

from twinrun import tracebacks
from twinrun._pickling import type_name
from twinrun.difference import Difference, DifferenceKind
from twinrun.observation import Observation

__all__ = ["VERSION", "fingerprint", "generalise", "generalise_text"]

VERSION = 2
"""The version of the rules below; each fingerprint depends on it."""

# Nothing is looked for twice: all patterns here take a time that grows with the text alone.
_STEP: Final = re.compile(
    r"""\.[^.\[]++ | \[ (?: "(?:[^"\\]|\\.)*+" | [^\[\]"]*+ ) \]""", re.VERBOSE
)
_LONGEST_NAME: Final = 64
_LONGEST_MESSAGE: Final = 200  # generalised; what comes later is data for the most part
_MEMBERS: Final = 100
_NAMING: Final = (AttributeError, ImportError, KeyError, NameError, TypeError)


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
    exception, of a group those of its members too, the function it came from, and its message,
    generalised. Values, the order and the number of differences at one generalised path don't
    count. It is the same in every process and on every Python that writes the same message.
    """
    import hashlib

    cause = (
        VERSION,
        experiment,
        candidate,
        _places(differences),
        _raised(control),
        _raised(candidate_observation),
    )
    # ascii() writes text the same way whatever Unicode the running Python knows.
    digest = hashlib.blake2b(ascii(cause).encode(), digest_size=8, usedforsecurity=False)
    return digest.hexdigest()


def _places(differences: Sequence[Difference]) -> list[tuple[str, ...]]:
    """Say in which ways and where two values differ.

    Items of a sequence that were both added and removed have changed: which of them were taken for
    the same says nothing of the cause.
    """
    places = {_place(difference) for difference in differences}
    for place in [p for p in places if p[0] == DifferenceKind.ADDED and p[1].endswith("[*]")]:
        removed = (str(DifferenceKind.REMOVED), place[1])
        if removed in places:
            places -= {place, removed}
            places.add((str(DifferenceKind.CHANGED), place[1]))
    return sorted(places)


def _place(difference: Difference) -> tuple[str, ...]:
    """Say in which way and where two values differ, without the values."""
    place: tuple[str, ...] = (str(difference.kind), generalise(difference.path))
    if difference.kind == DifferenceKind.TYPE:
        place += (type_name(difference.control), type_name(difference.candidate))
    return place


_Raised: TypeAlias = tuple[str, str | None, str, list[str]]


def _raised(observation: Observation) -> _Raised | None:
    """Say what one side raised, where, and with which words, or None if it returned."""
    error = observation.exception
    if error is None:
        return None
    said = tracebacks.message(error)
    members = tracebacks.members(error)[:_MEMBERS]
    if members:
        said = said.rpartition(" (")[0]  # without their number
    place = observation.raised_at
    if place is not None and "comp>" in place:
        place = _COMPREHENSION.sub("", place)
    words = generalise_text(said, names=issubclass(type(error), _NAMING))[:_LONGEST_MESSAGE]
    return type_name(error), place, words, sorted({type_name(member) for member in members})


# Python 3.12 runs these inside the function that they stand in.
_COMPREHENSION: Final = re.compile(r"(?:\.<locals>)?\.<(?:list|set|dict)comp>")
_HINT: Final = ". Did you mean"
_URL: Final = re.compile(r"\b[A-Za-z][\w+.-]{1,20}://[^\s'\"<>]+")
_QUOTED: Final = re.compile(
    r"""
    ' (?: (?<!\w') | (?<=\b[bru]') ) (?: [^'\\] | \\.? | '(?=\w) )*+ (?: '|\Z )
    | " (?: (?<!\w") | (?<=\b[bru]") ) (?: [^"\\] | \\.? | "(?=\w) )*+ (?: "|\Z )
    | `[^`]*+ (?: `|\Z ) | „[^“”]*+ (?: [“”]|\Z ) | “[^”]*+ (?: ”|\Z ) | «[^»]*+ (?: »|\Z )
    """,
    re.VERBOSE | re.DOTALL,
)
_ENDS: Final = {"'": "'", '"': '"', "`": "`", "„": "“”", "“": "”", "«": "»"}
_WORD: Final = re.compile(r"""[^\s'"`„“”«»(){}\[\]<>,;=|]+""")
_DATA: Final = re.compile(r"[0-9@/~]")
_NAMED_NUMBER: Final = re.compile(r"[^\W\d_][^:]*\*")  # ORD-*, user_*, sha*
_NUMBER: Final = re.compile(
    r"""
    (?<![A-Za-z0-9]) [-+]? (?:
        0[xX][0-9a-fA-F]+
        | [0-9]+ (?: [.:,/-][0-9]+ )* (?: T[0-9:.,+-]+Z? | [eE][-+]?[0-9]+(?![A-Za-z]) )?
    )
    | (?<=[A-Za-z])[0-9]{3,}(?!\w)
    """,
    re.VERBOSE,
)
_STARS: Final = re.compile(r"\*(?:[\s,;:/.-]*\*)+")


def generalise_text(text: str, *, names: bool = False) -> str:
    """Write `*` for all in a message that looks like data.

    That is quoted text, numbers, addresses in memory, paths of files, URLs, e-mail addresses, and
    words that look like an id, as `generalise` knows them; several in a row are one, and so is
    white space. With `names`, identifiers in quotes stay, as in `'Cart' object has no attribute
    'total'`: a fingerprint has it so for AttributeError, ImportError, KeyError, NameError and
    TypeError, and what is derived from these.
    """
    if text.endswith("?"):
        text = text.rpartition(_HINT)[0] or text
    if "://" in text:
        text = _URL.sub("*", text)
    text = _QUOTED.sub(_kept_name if names else _unnamed, text)
    if len(text) > _LONGEST_NAME or _DATA.search(text):
        text = _WORD.sub(_generalised_word, text)
    return _STARS.sub("*", " ".join(text.split()))


def _unnamed(quoted: re.Match[str]) -> str:
    """Replace what is quoted; what nothing ends is no quote."""
    return "*" if len(quoted[0]) > 1 and quoted[0][-1] in _ENDS[quoted[0][0]] else quoted[0]


def _kept_name(quoted: re.Match[str]) -> str:
    """Keep what is quoted if it is the name of something in a program."""
    inner = quoted[0][1:-1]
    if _unnamed(quoted) != "*":
        return quoted[0]
    is_name = inner.replace(".", "_").isidentifier() and not _is_id(inner)
    return f"'{inner}'" if is_name else "*"


def _generalised_word(found: re.Match[str]) -> str:
    """Generalise one word, but for the punctuation at its end."""
    word = found[0]
    if len(word) <= _LONGEST_NAME and not _DATA.search(word):
        return word
    bare = word.rstrip(".:!?")
    if not bare:
        return word
    made = "*"
    if bare[0] not in "/~" and not _is_token(bare):
        made = _NUMBER.sub("*", bare)
        made = "*" if _is_id(made) or _NAMED_NUMBER.match(made) else made
    return made + word[len(bare) :]


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
    return _STEP.sub(_generalised_step, path)


def _generalised_step(found: re.Match[str]) -> str:
    """Generalise one step of a path."""
    step = found[0]
    if step[0] == "[" and step[1] in "-0123456789":
        return "[*]"
    return _kept(step) if len(step) <= _LONGEST_NAME else _generalised(step)


def _generalised(step: str) -> str:
    """Generalise the text of a step."""
    if step.startswith("."):
        return "[*]" if _is_id(step[1:]) else step
    inner = step[1:-1]
    if inner.startswith('"'):
        return "[*]" if _is_id(_unquoted(inner)) else step
    return step if inner.startswith("<") or inner in ("None", "True", "False") else "[*]"


_kept: Final = lru_cache(maxsize=1024)(_generalised)


def _unquoted(text: str) -> str:
    """Read a quoted key; what another comparator quoted in its own way is taken as it is."""
    import json

    try:
        return str(json.loads(text))
    except ValueError:
        return text[1:-1]


def _is_id(key: str) -> bool:
    """Whether a key looks like an id rather than like a field's name."""
    return _is_token(key) or _NUMBERED.search(key) is not None


_NUMBERED: Final = re.compile(r"[0-9]{5}|(?<![^\W_])[0-9]{3,}(?![^\W_])")
_MAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_HEX: Final = re.compile(r"\{?[0-9a-fA-F-]{8,}\}?")


def _is_token(key: str) -> bool:
    """Whether all of a key is an id, not a name with a number in it."""
    if len(key) > _LONGEST_NAME or ("@" in key and _MAIL.fullmatch(key)):
        return True
    if not re.search("[0-9]", key):
        return False
    return (
        not any(map(str.isalpha, key))
        or _HEX.fullmatch(key) is not None
        or any(map(_is_mixed, re.findall(r"[A-Za-z0-9]{12,}", key)))
    )


def _is_mixed(token: str) -> bool:
    """Whether a long token mixes lower case, upper case and digits as no name does."""
    runs = list(_runs(token))
    return sum(run.isdigit() for run in runs) >= 3 or 2 * (len(runs) - 1) >= len(token)


def _runs(token: str) -> Iterator[str]:
    """Split a token where it changes between lower case, upper case and digits."""
    return (run.group() for run in re.finditer("[a-z]+|[A-Z]+|[0-9]+", token))

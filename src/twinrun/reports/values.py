"""Cleaned values as a Python engineer reads them, on one line or on several."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TypeAlias

import attrs

from twinrun.analysis.summary import Raised
from twinrun.observation import NOTHING
from twinrun.reports.texts import line

__all__ = ["SHORT", "common", "contrast", "lines", "named", "short"]

SHORT: Final = 60
"""How many characters of a value are shown where it has to share a line."""

_SEARCHED = 10_000  # characters in which two sides are searched for where they begin to differ
_TYPE = "$type"
_NOTES = {
    "$more": "… {} more",
    "$cut": "… cut: {}",
    "$withheld": "… withheld: {}",
    "$failed": "… unreadable: {}",
}
_BRACKETS = {"tuple": ("(", ")"), "set": ("{", "}")}


@attrs.frozen
class _Note:
    """What cleaning says in place of something that it left out."""

    text: str


_Shape: TypeAlias = tuple[str, list[tuple[str, Any]], str]


def short(side: Any, limit: int = SHORT) -> str:
    """Write a cleaned value, a `Raised` or `NOTHING` on one line of at most so many characters."""
    text = ""
    for part in _parts(side):
        text += part
        if len(text) > limit:  # the rest of a huge value need not be written at all
            break
    return _cut(text, limit)


def contrast(control: Any, candidate: Any, limit: int = SHORT) -> tuple[str, str]:
    """Write two sides shortly, leaving out a long beginning in which they don't differ."""
    ours, theirs = short(control, _SEARCHED), short(candidate, _SEARCHED)
    if max(len(ours), len(theirs)) > limit:
        same = common(ours, theirs)
        if (start := same - limit // 4) > limit // 4:
            ours, theirs = "…" + ours[start:], "…" + theirs[start:]
    return _cut(ours, limit), _cut(theirs, limit)


def common(ours: str, theirs: str) -> int:
    """Count the characters that two texts have in common at their beginning."""
    pairs = enumerate(zip(ours, theirs, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(ours), len(theirs)))


def _cut(text: str, limit: int) -> str:
    """Keep the beginning of a text, and show that there was more."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def lines(side: Any) -> list[str]:
    """Write it on as many lines as it takes, each element of a container on its own."""
    opening, elements, closing = _shape(side)
    if not elements:
        return [opening + closing]
    if (
        len(elements) == 1
        and opening.endswith("(")
        and opening != "("
        and not _shape(elements[0][1])[1]
    ):
        return ["".join(_parts(side))]  # Decimal('19.99') reads best on its own line
    written = [opening]
    for label, element in elements:
        first, *others = lines(element)
        inner = [label + first, *others]
        inner[-1] += ","
        written += ["  " + row for row in inner]
    return [*written, closing]


def named(key: str, value: Any) -> list[str]:
    """Write one item of a cleaned mapping on lines, or in words what cleaning left out of it."""
    label, element = _element(key, value, f"{line(_key(key))}: ")
    first, *others = lines(element)
    return [label + first, *others]


def _parts(side: Any) -> Iterator[str]:
    """Give a side's text piece by piece."""
    opening, elements, closing = _shape(side)
    yield opening
    for position, (label, element) in enumerate(elements):
        yield f", {label}" if position else label
        yield from _parts(element)
    yield closing


def _shape(side: Any) -> _Shape:
    """Tell how a side begins, its elements with their labels, and how it ends."""
    if side is NOTHING:
        return "nothing", [], ""
    if isinstance(side, _Note):
        return side.text, [], ""
    if isinstance(side, Raised):
        message = f": {line(side.message)}" if side.message else ""
        return f"raised {line(side.type)}{message}", [], ""
    if isinstance(side, list):
        return "[", [("", element) for element in side], "]"
    if not isinstance(side, dict):
        return repr(side), [], ""
    if _TYPE in side:
        return _typed(line(str(side[_TYPE])), {k: v for k, v in side.items() if k != _TYPE})
    elements = [_element(key, value, f"{_key(key)!r}: ") for key, value in side.items()]
    if len(elements) == 1 and isinstance(elements[0][1], _Note):
        return elements[0][1].text, [], ""  # it stands in the place of a value
    return "{", elements, "}"


def _typed(kind: str, fields: dict[str, Any]) -> _Shape:
    """Tell the shape of what is no JSON, as Python writes it where it is a built-in container."""
    items = fields.get("items")
    if len(fields) > 1 or not isinstance(items, list):
        elements = [_element(key, value, f"{line(_key(key))}=") for key, value in fields.items()]
        if len(elements) == 1:
            elements = [("", elements[0][1])]
        return f"{kind}(", elements, ")"
    if kind == "dict" and all(isinstance(i, dict) or _is_pair(i) for i in items):
        pairs = [(f"{short(i[0])}: ", i[1]) if _is_pair(i) else ("", i) for i in items]
        return "{", pairs, "}"
    opening, closing = f"{kind}([", "])"
    if kind == "tuple" or (kind == "set" and items):  # {} is no set
        opening, closing = _BRACKETS[kind]
    return opening, [("", item) for item in items], closing


def _is_pair(item: Any) -> bool:
    """Whether this can be a key and a value."""
    return isinstance(item, list) and len(item) == 2


def _element(key: str, value: Any, label: str) -> tuple[str, Any]:
    """Label an element, or tell in words what cleaning noted under this key."""
    note = _NOTES.get(key)
    return (label, value) if note is None else ("", _Note(note.format(line(str(value)))))


def _key(key: str) -> str:
    """Give a key as it was before cleaning, which doubles the sign of its own keys."""
    return key.removeprefix("$") if key.startswith("$$") else key

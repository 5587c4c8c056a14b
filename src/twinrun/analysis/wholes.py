"""Texts of differences as they are kept in full elsewhere in the same payload."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from twinrun.observation import NOTHING
from twinrun.patterns import split, step

__all__ = ["Kept", "kept", "sides"]

_CUT: Final = re.compile(r"… \((\d+) characters\)\Z")


@attrs.frozen
class Kept:
    """What was kept of a text, and how many characters it had in all."""

    text: str
    length: int

    @property
    def whole(self) -> bool:
        """Whether all of it was kept."""
        return self.length <= len(self.text)


def kept(text: str) -> Kept:
    """Tell a text from the mark that cleaning put at its end where it cut it."""
    mark = _CUT.search(text)
    if mark is None or int(mark[1]) <= mark.start():
        return Kept(text, len(text))
    return Kept(text[: mark.start()], int(mark[1]))


def sides(payload: Mapping[str, Any], difference: Mapping[str, Any]) -> tuple[Any, Any]:
    """Give both sides of one of a payload's differences, `NOTHING` where a side has none.

    All differences share few bytes. A text that was cut there is taken from the value that it is
    part of, where that has more of it.
    """
    found = (_side(payload[name], difference, name) for name in ("control", "candidate"))
    return next(found), next(found)


def _side(observation: Mapping[str, Any], difference: Mapping[str, Any], name: str) -> Any:
    """Give one side, with as much of its text as there is."""
    side = difference.get(name, NOTHING)
    if not isinstance(side, str) or kept(side).whole:
        return side
    there, cut = _at(observation.get("value", NOTHING), difference["path"]), kept(side)
    if not isinstance(there, str):
        return side
    more = kept(there)
    # The other side's path may lead elsewhere in this value.
    is_same = more.length == cut.length and more.text.startswith(cut.text)
    return there if is_same else side


def _at(value: Any, path: str) -> Any:
    """Follow a path into a cleaned value, as far as to `NOTHING` where it leads nowhere."""
    for each in split(path)[1:]:
        value = next((part for name, part in _parts(value) if name == each), NOTHING)
    return value


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """Give what is inside a cleaned value, each part with its step."""
    if isinstance(value, dict) and isinstance(value.get("items"), list):
        if value.get("$type") == "dict":
            pairs = (item for item in value["items"] if isinstance(item, list) and len(item) == 2)
            yield from ((step(key), part) for key, part in pairs)
            return
        if "$type" in value:
            value = value["items"]
    if isinstance(value, dict):
        names = ((key.removeprefix("$") if key[:2] == "$$" else key, key) for key in value)
        yield from ((step(name), value[key]) for name, key in names)
    elif isinstance(value, list):
        yield from ((f"[{n}]", part) for n, part in enumerate(value))

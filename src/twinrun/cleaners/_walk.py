"""The walk through a value that makes it JSON, within bounds of depth, number, size and time.

Types are told by `type()` alone. How a value of some type is read, `_readers` says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from itertools import islice
from time import thread_time_ns
from typing import Any, Final, TypeAlias

from twinrun._types import exact_text
from twinrun.cleaners._texts import hushed, safe
from twinrun.scrubbing import Scrubber
from twinrun.tracebacks import type_name

__all__ = ["ITEMS", "SIZE", "Reader", "UnnamedError", "Walk"]

SIZE: Final = 64 * 1024
"""Bytes of JSON that one value may come to."""

ITEMS: Final = 100
"""Items of one container that are kept."""

_DEPTH: Final = 8
_NODES: Final = 2_000
_TIME: Final = 5_000_000  # nanoseconds of the thread's own time, so that waiting costs nothing
_PARTS: Final = 5  # times that much in all, for walks that belong together
_STRING: Final = 4 * 1024  # bytes of UTF-8
_KEY: Final = 256
_WINDOW: Final = 1024  # characters past the bound in which a secret's end is looked for
_SHORT: Final = 64  # characters of a text that is likely to come again
_LOOK: Final = 32  # values between two looks at the clock, or one text longer than …
_LONG: Final = 256
_END: Final = 500  # bytes that closing what is open may come to
_SMALL: Final = 10**12  # a number below can't be that of a card
_SECRETS: Final = 100  # named secrets that are looked for elsewhere …
_TELLING: Final = 4  # … of at least so many characters

_PLAIN: Final = re.compile(r"[ !#-\[\]-~]*")  # as long in JSON as it is
_INNOCENT: Final = re.compile(r"[ !#$&-9;<>-\[\]-~]{0,12}")  # and too short for a secret
_COUNTED: Final = re.compile("(?i)(?:tokens|cookies|secrets|passwords|credentials)$")

Reader: TypeAlias = Callable[["Walk", Any, type], Any]
"""Makes a value of a known type JSON; may raise, and the value is named by its type then."""


class UnnamedError(Exception):
    """A key is no text."""


class _Shared:
    """What walks of one payload know together."""

    __slots__ = ("innocent", "layouts", "readers", "secrets", "until")

    def __init__(self) -> None:
        self.innocent: set[str] = set()
        self.layouts: dict[int, Any] = {}
        self.readers: dict[int, tuple[type, Reader]] = {}
        self.secrets: dict[str, str] = {}
        self.until: int | None = None


class Walk:
    """Walks through values that share one bound of size, and one of time."""

    __slots__ = (
        "_above",
        "_cut",
        "_look",
        "_nodes",
        "_reader_of",
        "_readers",
        "_until",
        "hidden",
        "scrubber",
        "shared",
        "size",
    )

    def __init__(
        self, reader_of: Callable[[type], Reader], scrubber: Scrubber, size: int = SIZE - _END
    ) -> None:
        self.size = size
        self.scrubber = scrubber
        self.hidden = scrubber.allow is not None and not scrubber.allows("value")
        self.shared = _Shared()
        self._reader_of, self._readers = reader_of, self.shared.readers
        self._nodes, self._look = _NODES, _NODES - _LOOK
        self._above: set[int] = set()
        self._until: int | None = None
        self._cut = "size"

    def within(self, size: int, name: str | None = None) -> Walk:
        """Start a walk with bounds of its own that knows the same secrets."""
        other = Walk.__new__(Walk)
        other.size = size - min(_END, size // 8)
        other.scrubber, other.shared = self.scrubber, self.shared
        other.hidden = self.hidden
        if name is not None and self.scrubber.allow is not None:
            other.hidden = not self.scrubber.allows(name)
        other._reader_of, other._readers, other._above = self._reader_of, self._readers, set()
        other._nodes, other._look = _NODES, _NODES - _LOOK
        other._until, other._cut = None, "size"
        return other

    def clean(self, value: Any) -> Any:
        """Give a value as JSON-ready data, or say that it could not be read; never raises."""
        try:
            return self.value(value)
        except Exception as error:  # the stack may be at its end
            return _failed(type(value), error)

    # Texts ---------------------------------------------------------------------------------------

    def text(self, text: str, limit: int = _STRING) -> str:
        """Give a text without secrets, NULs and lone surrogates, cut to so many bytes of UTF-8."""
        if self.hidden:
            return self.mark(text)
        if len(text) > _SHORT:
            return self._long(text, limit)
        if text not in self.shared.innocent and not self.is_innocent(text):
            return self._long(text, limit)
        self.size -= len(text) + 4
        return text

    def is_innocent(self, text: str) -> bool:
        """Whether a short text stays as it is; that is remembered for the next time."""
        if len(text) > _SHORT:
            return False
        if (self.scrubber.patterns or not _INNOCENT.fullmatch(text)) and (
            not _PLAIN.fullmatch(text) or self.scrubber.scrub(text) != text
        ):
            return False
        self.shared.innocent.add(text)
        return True

    def _long(self, text: str, limit: int) -> str:
        """Give a text that is not known to be plain and short."""
        if len(text) > _LONG and self._is_late():
            return f"… ({len(text)} characters)"
        scrubbed = self.scrubber.scrub(text[: limit + _WINDOW])
        if len(scrubbed) <= min(limit, self.size) >= len(text) and _PLAIN.fullmatch(scrubbed):
            self.size -= len(scrubbed) + 4
            return scrubbed
        data = scrubbed.replace("\0", "\\x00").encode("utf-8", "backslashreplace")
        made = data[:limit].decode("utf-8", "ignore")
        if len(data) > limit or len(text) > limit + _WINDOW:
            made += f"… ({len(text)} characters)"
        if len(json.dumps(made)) > max(self.size, 64):
            made = f"{made[: max(self.size, 0) // 12]}… ({len(text)} characters)"
        self.size -= len(json.dumps(made)) + 2
        return made

    def mark(self, secret: str) -> str:
        """Give what stands for a secret."""
        self.size -= 24
        return self.scrubber.mark(secret)

    # Names ---------------------------------------------------------------------------------------

    def is_secret(self, name: str) -> bool:
        """Whether what has this name is secret; closed where that can't be told."""
        try:
            return self.scrubber.is_secret_name(name)
        except Exception:
            return True

    def named(self, name: str, value: Any) -> Any:
        """Clean the value of a field or key, unless that is named like a secret."""
        if self.is_secret(name):
            return self.secret(value, name)
        if self.scrubber.allow is None:
            return self.value(value)
        before, self.hidden = self.hidden, not self.scrubber.allows(name)
        try:
            return self.value(value)
        finally:
            self.hidden = before

    def secret(self, value: Any, name: str = "") -> Any:
        """Put a mark in place of a value that is named as secret, and remember its texts.

        None, True and False stay: they say whether there is one. So does how many there are.
        """
        kind = type(value)
        if value is None or kind is bool or (kind is int and _COUNTED.search(name)):
            return self.value(value)
        parts = [value]
        if kind is list or kind is tuple:
            parts = value[:ITEMS]
        elif kind is dict:
            parts = list(islice(value.values(), ITEMS))
        for each in parts:
            text = _plain_text(each)
            if text and len(text) >= _TELLING and len(self.shared.secrets) < _SECRETS:
                self.shared.secrets.setdefault(safe(text), self.scrubber.mark(text))
        whole = _plain_text(value)
        if whole is None:
            inner = Walk(self._reader_of, self.scrubber, _STRING)
            inner.hidden = True  # all of it becomes marks, and so the same for the same
            whole = json.dumps(inner.clean(value))
        return self.mark(whole)

    def _key(self, name: str, is_data: bool) -> tuple[str, bool, int]:
        """Give a name as a key of JSON, whether it announces a secret, and its bytes."""
        if is_data and self.scrubber.allow is not None and not self.scrubber.allows(name):
            return self.mark(name), self.is_secret(name), 6
        before, self.hidden = self.hidden, False
        key = ("$" if name.startswith("$") else "") + self.text(name, _KEY)
        self.hidden = before
        made = key, self.is_secret(name), len(key) + 6
        if key == name:
            self.scrubber.remember(self.scrubber.keys, name, made)
        return made

    def fields(self, pairs: Iterable[tuple[str, Any]], is_data: bool = False) -> dict[str, Any]:
        """Clean named values as a JSON object; raises `UnnamedError` where a name is no text."""
        made: dict[str, Any] = {}
        keys, innocent = self.scrubber.keys, self.shared.innocent
        is_open = self.scrubber.allow is None
        size, nodes = self.size, self._nodes  # looked up once: this loop is what takes the time
        for name, value in pairs:
            if type(name) is not str:
                raise UnnamedError
            if nodes <= 0 or size <= 0:
                made["$cut"] = self._cut
                break
            known = keys.get(name)
            if known is None:
                self.size = size
                known = self._key(name, is_data)
                size = self.size
            key, secret, cost = known
            while key in made:  # two names that come out alike stay two
                key += "'"
            size -= cost
            if is_open and not secret:
                kind = type(value)
                if kind is str and (value in innocent or self.is_innocent(value)):
                    size -= len(value) + 4
                    nodes -= 1
                    made[key] = value
                    continue
                if kind is bool or (kind is int and -_SMALL < value < _SMALL):
                    size, nodes = size - 16, nodes - 1
                    made[key] = value
                    continue
            self.size, self._nodes = size, nodes
            if secret:
                made[key] = self.secret(value, name)
            else:
                made[key] = self.value(value) if is_open else self.named(name, value)
            size, nodes = self.size, self._nodes
        self.size, self._nodes = size, nodes
        return made

    def tagged(self, kind: type, parts: dict[str, Any]) -> dict[str, Any]:
        """Put the name of a value's type before what is known of it."""
        before, self.hidden = self.hidden, False
        name = self.text(type_name(kind), _KEY)
        self.hidden = before
        self.size -= 12
        return {"$type": name, **parts}

    # Values --------------------------------------------------------------------------------------

    def items(self, items: Iterable[Any], count: int) -> list[Any]:
        """Clean the first items of a container; the second of a pair may be named by the first."""
        kept = list(islice(items, ITEMS))
        if count == 2 and (name := _as_name(kept[0])) and self.is_secret(name):
            return [self.value(kept[0]), self.secret(kept[1], name)]
        made: list[Any] = []
        for item in kept:
            if self._nodes <= 0 or self.size <= 0:
                return [*made, {"$cut": self._cut}]
            made.append(self.value(item))
        return [*made, {"$more": count - len(kept)}] if count > len(kept) else made

    def entries(self, pairs: Iterable[tuple[Any, Any]]) -> list[Any]:
        """Clean keys that are no texts, each beside its value."""
        made: list[Any] = []
        for key, value in pairs:
            if self._nodes <= 0 or self.size <= 0:
                return [*made, {"$cut": self._cut}]
            self.size -= 4
            made.append([self.value(key), self.named(_as_name(key), value)])
        return made

    def value(self, value: Any) -> Any:
        """Clean one value within the bounds."""
        kind = type(value)
        if kind is str:
            self._nodes -= 1
            return self.text(value)
        if value is None:
            self.size -= 6
            return None
        if (kind is bool or (kind is int and -_SMALL < value < _SMALL)) and not self.hidden:
            self._nodes -= 1
            self.size -= 16
            return value
        nodes = self._nodes
        if nodes <= 0 or self.size <= 0 or (nodes <= self._look and self._is_late()):
            return {"$cut": self._cut}
        self._nodes = nodes - 1
        self.size -= 6
        above, own = self._above, id(value)
        if own in above or len(above) > _DEPTH:
            return self.tagged(kind, {"$cut": "cycle" if own in above else "depth"})
        above.add(own)
        try:
            known = self._readers.get(id(kind))
            return (self._reader(kind) if known is None else known[1])(self, value, kind)
        except Exception as error:  # such as a container that another thread changes meanwhile
            return _failed(kind, error)
        finally:
            above.discard(own)

    def _reader(self, kind: type) -> Reader:
        """Find how a type is read; by its identity, since a metaclass may have a `__hash__`."""
        known = self._readers[id(kind)] = (kind, self._reader_of(kind))
        return known[1]

    def _is_late(self) -> bool:
        """Whether time is up; a walk that is short never looks at a clock."""
        self._look = self._nodes - _LOOK
        now = thread_time_ns()
        if self._until is None:
            if self.shared.until is None:
                self.shared.until = now + _PARTS * _TIME
            self._until = min(now + _TIME, self.shared.until)
        if now <= self._until:
            return False
        self._nodes, self._cut = 0, "time"
        return True

    def hushed(self, data: Any) -> Any:
        """Take what was named as secret anywhere out of cleaned data."""
        return hushed(data, self.shared.secrets) if self.shared.secrets else data


def _plain_text(value: Any) -> str | None:
    """Give a plain value as a text; None where it is none."""
    kind = type(value)
    if kind is str:
        return value[: 2 * _STRING]  # type: ignore[no-any-return]
    if kind is bytes:
        return value[: 2 * _STRING].decode("utf-8", "backslashreplace")  # type: ignore[no-any-return]
    if kind is float or (kind is int and value.bit_length() < 256):
        return repr(value)
    return None


def _failed(kind: type, error: Exception) -> dict[str, str]:
    """Name a value that could not be read."""
    return {"$type": safe(type_name(kind)[:_KEY]), "$failed": safe(type_name(type(error))[:_KEY])}


def _as_name(key: Any) -> str:
    """Give a key as a name, empty where it is none."""
    kind = type(key)
    if kind is str:
        return key  # type: ignore[no-any-return]
    if issubclass(kind, str):
        return exact_text(key)
    return key[:_KEY].decode("latin-1") if kind is bytes else ""

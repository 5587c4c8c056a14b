"""The walk through a value that makes it JSON, without one call into the value's own code.

Types are told by `type()` alone, containers are read by the built-in types' own methods, fields
past `__getattribute__`, properties and metaclasses. Iterators, files and all else that is unknown
are named by their type and never consumed.
"""

from __future__ import annotations

import datetime
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from itertools import islice
from types import (
    BuiltinFunctionType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
)
from typing import Any, Final

from twinrun import tracebacks
from twinrun.scrubbing import REDACTED, is_secret_name, scrub
from twinrun.tracebacks import _exact, _is_heap, _mro, type_name

__all__ = ["SIZE", "Walk"]

SIZE: Final = 64 * 1024
"""Bytes of JSON that one value may come to, about."""

_DEPTH: Final = 8
_NODES: Final = 2_000
_ITEMS: Final = 100  # of one container
_STRING: Final = 4 * 1024  # bytes of UTF-8
_KEY: Final = 256
_BYTES: Final = 256  # of bytes, shown as text
_BITS: Final = 212  # of an int that is written out: 64 digits
_WINDOW: Final = 1024  # characters past the bound in which a secret's end is looked for
_SECRETS: Final = 100  # named secrets that are looked for elsewhere

_PLAIN: Final = re.compile(r"[ !#-\[\]-~]*")  # as long in JSON as it is

# Taken now: a test that freezes time puts classes of its own in their place.
_DATE, _DATETIME, _TIME = datetime.date, datetime.datetime, datetime.time
_DELTA, _ZONE = datetime.timedelta, datetime.timezone

_PARTS: Final[dict[type, tuple[str, ...]]] = {
    _DATETIME: ("year", "month", "day", "hour", "minute", "second", "microsecond"),
    _DATE: ("year", "month", "day"),
    _TIME: ("hour", "minute", "second", "microsecond"),
}

# Types of the standard library whose text says all; it is made by their code, not the value's.
_PATHS: Final = ("PosixPath", "PurePosixPath", "PureWindowsPath", "WindowsPath")
_TEXTS: Final = frozenset(
    {"decimal.Decimal", "fractions.Fraction", "uuid.UUID"}
    | {f"ipaddress.IPv{version}Address" for version in (4, 6)}
    | {f"{module}.{name}" for module in ("pathlib", "pathlib._local") for name in _PATHS}
)


class Walk:
    """Walks of values that share one bound of size and what they know of secrets."""

    __slots__ = ("_above", "_nodes", "_secrets", "size")

    def __init__(self, size: int = SIZE) -> None:
        self.size = size
        self._nodes = _NODES
        self._above: set[int] = set()
        self._secrets: set[str] = set()

    def within(self, size: int) -> Walk:
        """Start a walk with a bound of its own that knows the same secrets."""
        other = Walk(size)
        other._secrets = self._secrets
        return other

    def clean(self, value: Any) -> Any:
        """Give a value as JSON-ready data, or say that it could not be read; never raises."""
        try:
            return self.value(value)
        except Exception as error:  # a container that another thread changes meanwhile
            return {"$type": type_name(type(value)), "$failed": type_name(type(error))}

    def text(self, text: str, limit: int = _STRING) -> str:
        """Give a text without secrets, NULs and lone surrogates, cut to so many bytes of UTF-8."""
        scrubbed = scrub(text[: limit + _WINDOW])
        if self._secrets:
            scrubbed = self._without_named(text, scrubbed)
        if len(text) <= min(limit, self.size) and _PLAIN.fullmatch(scrubbed):
            self.size -= len(scrubbed) + 2
            return scrubbed
        data = scrubbed.replace("\0", "\\x00").encode("utf-8", "backslashreplace")
        made = data[:limit].decode("utf-8", "ignore")
        if len(data) > limit or len(text) > limit + _WINDOW:
            made += f"… ({len(text)} characters)"
        if len(_json(made)) > max(self.size, 64):
            made = f"{made[: max(self.size, 0) // 12]}… ({len(text)} characters)"
        self.size -= len(_json(made))
        return made

    def _without_named(self, text: str, scrubbed: str) -> str:
        """Redact what stood under a secret name elsewhere; short ones only as a whole text."""
        if text in self._secrets:
            return REDACTED
        for secret in self._secrets:
            if len(secret) >= 6:
                scrubbed = scrubbed.replace(secret, REDACTED)
        return scrubbed

    def named(self, name: str, value: Any) -> Any:
        """Clean the value of a field or key, unless that is named like a secret."""
        if not is_secret_name(name) or value is None or value is True or value is False:
            return self.value(value)
        for each in value[:_ITEMS] if type(value) is list or type(value) is tuple else (value,):
            if type(each) is str and each and len(self._secrets) < _SECRETS:
                self._secrets.add(each)
        return REDACTED

    def fields(self, pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        """Clean named values as a JSON object; two names that come out alike stay two."""
        made: dict[str, Any] = {}
        for name, value in pairs:
            if self._is_spent():
                return {**made, "$cut": "size"}
            key = ("$" if name.startswith("$") else "") + self.text(name, _KEY)
            while key in made:
                key += "'"
            made[key] = self.named(name, value)
        return made

    def items(self, items: Iterable[Any], count: int) -> list[Any]:
        """Clean the first items of a container; the second of a pair may be named by the first."""
        kept = list(islice(items, _ITEMS))
        if count == 2 and is_secret_name(_as_name(kept[0])):
            return [self.value(kept[0]), self.named(_as_name(kept[0]), kept[1])]
        made: list[Any] = []
        for item in kept:
            if self._is_spent():
                return [*made, {"$cut": "size"}]
            made.append(self.value(item))
        return [*made, {"$more": count - len(kept)}] if count > len(kept) else made

    def tagged(self, kind: type, parts: dict[str, Any]) -> dict[str, Any]:
        """Put the name of a value's type before what is known of it."""
        name = self.text(type_name(kind), _KEY)
        return {"$type": name, **parts}

    def value(self, value: Any) -> Any:
        """Clean one value within the bounds; raises where it can't be read."""
        if value is None or value is True or value is False:
            return value
        if self._is_spent():
            return {"$cut": "size"}
        self._nodes -= 1
        self.size -= 8
        kind = type(value)
        if kind is str:
            return self.text(value)
        if id(value) in self._above or len(self._above) > _DEPTH:
            return self.tagged(kind, {"$cut": "cycle" if id(value) in self._above else "depth"})
        self._above.add(id(value))
        try:
            # Only a type without a metaclass of its own is sure to be hashed by the interpreter.
            read = _EXACT.get(kind) if type(kind) is type else None
            return (read or _reader(kind))(self, value, kind)
        finally:
            self._above.discard(id(value))

    def _is_spent(self) -> bool:
        return self._nodes <= 0 or self.size <= 0


# Readers: what a value of some type, or of a type made from it, comes to -----------------------


def _native(walk: Walk, kind: type, base: type, part: str, made: Any) -> Any:
    """Give what JSON can say as it is; a type made from it is named beside it."""
    return made if kind is base else walk.tagged(kind, {part: made})


def _read_str(walk: Walk, value: str, kind: type) -> Any:
    return walk.tagged(kind, {"value": walk.text(_exact(value))})


def _read_int(walk: Walk, value: int, kind: type) -> Any:
    exact = int.__int__(value)
    if exact.bit_length() < 64:
        walk.size -= 12
        hidden = exact > 10**12 and scrub(str(exact)) == REDACTED
        return _native(walk, kind, int, "value", REDACTED if hidden else exact)
    if exact.bit_length() > _BITS:
        return walk.tagged(kind, {"bits": exact.bit_length()})
    return walk.tagged(kind, {"text": walk.text(str(exact))})


def _read_float(walk: Walk, value: float, kind: type) -> Any:
    exact = float.__float__(value)
    walk.size -= 16
    if exact - exact == 0:  # false of NaN and the infinities
        return _native(walk, kind, float, "value", exact)
    return walk.tagged(kind, {"text": repr(exact)})


def _read_complex(walk: Walk, value: complex, kind: type) -> Any:
    return walk.tagged(kind, {"text": walk.text(repr(complex.__complex__(value)))})


def _read_bytes(walk: Walk, value: bytes | bytearray, kind: type) -> Any:
    base: Any = bytes if issubclass(kind, bytes) else bytearray
    first = base.__getitem__(value, slice(_BYTES + _WINDOW))
    text = walk.text(first.decode("utf-8", "backslashreplace"), _BYTES)
    return walk.tagged(kind, {"length": base.__len__(value), "text": text})


def _read_list(walk: Walk, value: Any, kind: type) -> Any:
    base = list if issubclass(kind, list) else deque
    made = walk.items(base.__iter__(value), base.__len__(value))
    return _native(walk, kind, list, "items", made)


def _read_tuple(walk: Walk, value: tuple[Any, ...], kind: type) -> Any:
    size = tuple.__len__(value)
    names = next((own["_fields"] for _, own in _classes(kind) if "_fields" in own), None)
    if type(names) is tuple and len(names) == size and all(type(name) is str for name in names):
        pairs = islice(zip(names, tuple.__iter__(value), strict=True), _ITEMS)
        return walk.tagged(kind, walk.fields(pairs))
    return walk.tagged(kind, {"items": walk.items(tuple.__iter__(value), size)})


def _read_set(walk: Walk, value: Any, kind: type) -> Any:
    """Read a set in an order of its own, since sets of texts have another one in each process."""
    base = set if issubclass(kind, set) else frozenset
    size = base.__len__(value)
    made = [walk.value(item) for item in islice(base.__iter__(value), _ITEMS)]
    made.sort(key=_json)
    return walk.tagged(kind, {"items": [*made, *([{"$more": size - _ITEMS}] * (size > _ITEMS))]})


def _read_range(walk: Walk, value: range, kind: type) -> Any:
    return walk.tagged(kind, {"items": walk.items((value.start, value.stop, value.step), 3)})


def _read_dict(walk: Walk, value: dict[Any, Any], kind: type) -> Any:
    size = dict.__len__(value)
    pairs = list(islice(dict.items(value), _ITEMS))
    if all(type(key) is str for key, _ in pairs):
        made = walk.fields(pairs)
        if size > len(pairs):
            made["$more"] = size - len(pairs)
        return _native(walk, kind, dict, "items", made)
    entries = [[walk.value(key), walk.named(_as_name(key), item)] for key, item in pairs]
    more = [{"$more": size - len(pairs)}] if size > len(pairs) else []
    return walk.tagged(kind, {"items": [*entries, *more]})


def _read_enum(walk: Walk, value: Enum, kind: type) -> Any:
    own = dict(_own_fields(value, kind))
    return walk.tagged(kind, {k: walk.value(own.get(f"_{k}_")) for k in ("name", "value")})


def _read_error(walk: Walk, value: BaseException, kind: type) -> Any:
    own = dict.items(BaseException.__dict__["__dict__"].__get__(value))
    fields = dict(walk.fields((k, v) for k, v in islice(own, _ITEMS) if type(k) is str))
    fields.update(walk.fields(_own_fields(value, kind)))
    return walk.tagged(kind, {"message": walk.text(tracebacks.message(value)), **fields})


def _read_class(walk: Walk, value: type, kind: type) -> Any:
    return walk.tagged(kind, {"name": walk.text(type_name(value))})


def _read_function(walk: Walk, value: Any, kind: type) -> Any:
    name = kind.__dict__["__qualname__" if kind is FunctionType else "__name__"].__get__(value)
    return walk.tagged(kind, {"name": walk.text(_exact(name))})


def _read_datetime(walk: Walk, value: Any, kind: type) -> Any:
    """Read a date, a time or both; the code of an unknown time zone is not asked."""
    base = next(base for base in (_DATETIME, _DATE, _TIME) if issubclass(kind, base))
    exact: Any = base(*[_field(base, name, value) for name in _PARTS[base]])
    if base is _DATE:
        return walk.tagged(kind, {"text": exact.isoformat()})
    zone, fold = _field(base, "tzinfo", value), _field(base, "fold", value)
    if zone is None or type(zone) is _ZONE or type(zone) is _loaded("zoneinfo", "ZoneInfo"):
        exact = exact.replace(tzinfo=zone, fold=fold)
        return walk.tagged(kind, {"text": exact.isoformat()})
    return walk.tagged(kind, {"text": exact.isoformat(), "tzinfo": walk.value(type(zone))})


def _read_timedelta(walk: Walk, value: Any, kind: type) -> Any:
    parts = [_field(_DELTA, name, value) for name in ("days", "seconds", "microseconds")]
    return walk.tagged(kind, {"text": str(_DELTA(*parts))})


def _read_unknown(walk: Walk, value: Any, kind: type) -> Any:
    """Read a type of the standard library by its text, numpy's by content, others by fields."""
    module, _, name = type_name(kind).rpartition(".")
    if f"{module}.{name}" in _TEXTS and _loaded(module, name) is kind:
        return walk.tagged(kind, {"text": walk.text(str(value))})
    if _loaded("numpy", "ndarray") is kind:
        first = value.flat[:_ITEMS].tolist()
        parts = {"shape": list(value.shape), "items": walk.items(first, value.size)}
        return walk.tagged(kind, {"dtype": walk.text(str(value.dtype)), **parts})
    if module == "numpy" and _loaded(module, name) is kind and hasattr(kind, "item"):
        item = value.item()
        plain = walk.text(str(value)) if type(item) is kind else walk.value(item)
        return walk.tagged(kind, {"value": plain})
    return walk.tagged(kind, walk.fields(islice(_own_fields(value, kind), _ITEMS)))


_READERS: Final[tuple[tuple[type, Callable[[Walk, Any, type], Any]], ...]] = (
    (Enum, _read_enum),
    (int, _read_int),
    (float, _read_float),
    (str, _read_str),
    (dict, _read_dict),
    (list, _read_list),
    (tuple, _read_tuple),
    (set, _read_set),
    (frozenset, _read_set),
    (deque, _read_list),
    (bytes, _read_bytes),
    (bytearray, _read_bytes),
    (complex, _read_complex),
    (_DATE, _read_datetime),  # of which a datetime is one
    (_TIME, _read_datetime),
    (_DELTA, _read_timedelta),
    (BaseException, _read_error),
    (type, _read_class),
    (FunctionType, _read_function),
    (BuiltinFunctionType, _read_function),
    (range, _read_range),
)

_EXACT: Final = dict(_READERS)


def _reader(kind: type) -> Callable[[Walk, Any, type], Any]:
    """Find how a type is read: as the first built-in type that it is made from."""
    return next((read for base, read in _READERS if issubclass(kind, base)), _read_unknown)


# Reading past a type's own code ------------------------------------------------------------------


def _classes(kind: type) -> Iterator[tuple[type, Any]]:
    """Give the classes of a type's ancestry, each with its own attributes."""
    for cls in _mro(kind):
        yield cls, type.__dict__["__dict__"].__get__(cls)


def _own_fields(value: Any, kind: type) -> Iterator[tuple[str, Any]]:
    """Give what an instance stores itself, in its dict and in slots."""
    for cls, own in _classes(kind):
        for name, descriptor in own.items() if _is_heap(cls) else ():
            found = type(descriptor)
            if type(name) is not str or name == "__weakref__":
                continue
            if found is MemberDescriptorType and descriptor.__objclass__ is cls:
                try:
                    stored = [(name, descriptor.__get__(value))]
                except AttributeError:  # never set
                    continue
            elif name == "__dict__" and found is GetSetDescriptorType:
                attributes = descriptor.__get__(value)
                stored = list(attributes.items()) if type(attributes) is dict else []
            else:
                continue
            yield from ((k, v) for k, v in stored if type(k) is str)


def _field(cls: type, name: str, value: Any) -> Any:
    """Read what a built-in type stores under a name."""
    return getattr(cls, name).__get__(value)


def _loaded(module: str, name: str) -> Any:
    """Give what a module holds under a name, None where nobody imported it."""
    return getattr(sys.modules.get(module), name, None)


def _as_name(key: Any) -> str:
    """Give a key as a name, empty where it is none."""
    kind = type(key)
    if issubclass(kind, str):
        return _exact(key)
    return key.decode("latin-1") if kind is bytes else ""


def _json(data: Any) -> str:
    import json

    return json.dumps(data)

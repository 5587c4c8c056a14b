"""How values of the built-in types, and of types made from them, become JSON.

Containers are read by the built-in types' own methods, so that no code of the value is called.
"""

from __future__ import annotations

import datetime
import gc
import json
import re
from collections import deque
from collections.abc import Iterator
from enum import Enum
from itertools import islice
from types import (
    BuiltinFunctionType,
    FunctionType,
    MappingProxyType,
    MethodType,
    ModuleType,
    SimpleNamespace,
)
from typing import Any, Final

from twinrun import tracebacks
from twinrun._types import exact_text
from twinrun.cleaners._libraries import library_reader, read_fields
from twinrun.cleaners._own import classes, loaded, own_fields, stored
from twinrun.cleaners._registry import registered
from twinrun.cleaners._walk import ITEMS, Reader, UnnamedError, Walk
from twinrun.tracebacks import members, type_name

__all__ = ["reader_of"]

_BYTES: Final = 256  # of bytes, shown as text
_BITS: Final = 212  # of an int that is written out: 64 digits
_WINDOW: Final = 1024  # bytes past the bound in which a secret's end is looked for

# Taken now: a test that freezes time puts classes of its own in their place.
_DATE, _DATETIME, _TIME = datetime.date, datetime.datetime, datetime.time
_DELTA, _ZONE = datetime.timedelta, datetime.timezone

_PARTS: Final[dict[type, tuple[str, ...]]] = {
    _DATETIME: ("year", "month", "day", "hour", "minute", "second", "microsecond"),
    _DATE: ("year", "month", "day"),
    _TIME: ("hour", "minute", "second", "microsecond"),
}


def _native(walk: Walk, kind: type, base: type, part: str, made: Any) -> Any:
    """Give what JSON can say as it is; a type made from it is named beside it."""
    return made if kind is base else walk.tagged(kind, {part: made})


def _read_str(walk: Walk, value: str, kind: type) -> Any:
    return walk.tagged(kind, {"value": walk.text(exact_text(value))})


def _read_bool(walk: Walk, value: bool, kind: type) -> Any:
    return walk.mark(repr(value))  # met here only where it may not be shown


def _read_int(walk: Walk, value: int, kind: type) -> Any:
    exact = int.__int__(value)
    if exact.bit_length() > _BITS:
        return walk.tagged(kind, {"bits": exact.bit_length()})
    if exact.bit_length() < 64:
        shown = walk.text(str(exact))
        return _native(walk, kind, int, "value", exact if shown == str(exact) else shown)
    return walk.tagged(kind, {"text": walk.text(str(exact))})


def _read_float(walk: Walk, value: float, kind: type) -> Any:
    exact = float.__float__(value)
    walk.size -= 22
    if walk.hidden:
        return walk.mark(repr(exact))
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


def _read_memoryview(walk: Walk, value: memoryview, kind: type) -> Any:
    first = value[: _BYTES + _WINDOW] if value.ndim == 1 and value.format == "B" else None
    text = {} if first is None else _read_bytes(walk, first.tobytes(), bytes)
    return walk.tagged(kind, {"length": value.nbytes, **{k: text[k] for k in text if k == "text"}})


def _read_list(walk: Walk, value: Any, kind: type) -> Any:
    if kind is list:
        return walk.items(value, len(value))
    base = list if issubclass(kind, list) else deque
    made = walk.items(base.__iter__(value), base.__len__(value))
    return _native(walk, kind, list, "items", made)


def _read_tuple(walk: Walk, value: tuple[Any, ...], kind: type) -> Any:
    size = tuple.__len__(value)
    if kind is not tuple:
        names = next((own["_fields"] for _, own in classes(kind) if "_fields" in own), None)
        if type(names) is tuple and len(names) == size and all(type(n) is str for n in names):
            pairs = islice(zip(names, tuple.__iter__(value), strict=True), ITEMS)
            return walk.tagged(kind, walk.fields(pairs))
    return walk.tagged(kind, {"items": walk.items(tuple.__iter__(value), size)})


def _read_set(walk: Walk, value: Any, kind: type) -> Any:
    """Read a set in an order of its own, since sets of texts have another one in each process."""
    base = set if issubclass(kind, set) else frozenset
    size = base.__len__(value)
    made = [walk.value(item) for item in islice(base.__iter__(value), ITEMS)]
    made.sort(key=json.dumps)
    return walk.tagged(kind, {"items": [*made, *([{"$more": size - ITEMS}] * (size > ITEMS))]})


def _read_range(walk: Walk, value: range, kind: type) -> Any:
    return walk.tagged(kind, {"items": walk.items((value.start, value.stop, value.step), 3)})


def _read_slice(walk: Walk, value: slice, kind: type) -> Any:
    return walk.tagged(kind, {"items": walk.items((value.start, value.stop, value.step), 3)})


def _read_dict(walk: Walk, value: dict[Any, Any], kind: type) -> Any:
    size = dict.__len__(value)
    pairs = [*dict.items(value)] if size <= ITEMS else [*islice(dict.items(value), ITEMS)]
    try:
        made: Any = walk.fields(pairs, is_data=True)
        if size > len(pairs):
            made["$more"] = size - len(pairs)
        return made if kind is dict else walk.tagged(kind, {"items": made})
    except UnnamedError:
        more = [{"$more": size - len(pairs)}] if size > len(pairs) else []
        return walk.tagged(kind, {"items": [*walk.entries(pairs), *more]})


def _read_view(walk: Walk, value: Any, kind: type) -> Any:
    """Read a read-only view of a dict; of another mapping, which has code, only the type."""
    inner = [each for each in gc.get_referents(value) if issubclass(type(each), dict)]
    return walk.tagged(kind, {"items": walk.value(inner[0])} if inner else {})


def _read_dict_view(walk: Walk, value: Any, kind: type) -> Any:
    return walk.tagged(kind, {"items": walk.items(iter(value), len(value))})


def _read_enum(walk: Walk, value: Enum, kind: type) -> Any:
    own = dict(own_fields(walk, value, kind))
    return walk.tagged(kind, {k: walk.value(own.get(f"_{k}_")) for k in ("name", "value")})


def _read_error(walk: Walk, value: BaseException, kind: type) -> Any:
    message = walk.named("message", tracebacks.message(value))
    parts = dict(_linked(walk, value))
    own = dict.items(BaseException.__dict__["__dict__"].__get__(value))
    pairs = ((k, v) for k, v in islice(own, ITEMS) if type(k) is str and k != "__notes__")
    fields = {**walk.fields(pairs), **walk.fields(own_fields(walk, value, kind))}
    return walk.tagged(kind, {"message": message, **parts, **fields})


def _linked(walk: Walk, value: BaseException) -> Iterator[tuple[str, Any]]:
    """Clean what an exception came from, and a group's members."""
    cause, context = tracebacks.links(value)
    inside = members(value)
    if inside:
        yield "exceptions", walk.items(inside, len(inside))
    if cause is not None:
        yield "cause", walk.value(cause)
    elif context is not None and not stored(BaseException, "__suppress_context__", value):
        yield "context", walk.value(context)


def _read_class(walk: Walk, value: type, kind: type) -> Any:
    return walk.tagged(kind, {"name": walk.text(type_name(value))})


def _read_function(walk: Walk, value: Any, kind: type) -> Any:
    name = kind.__dict__["__qualname__" if kind is FunctionType else "__name__"].__get__(value)
    return walk.tagged(kind, {"name": walk.text(exact_text(name))})


def _read_method(walk: Walk, value: MethodType, kind: type) -> Any:
    function = stored(MethodType, "__func__", value)
    known = type(function) is FunctionType
    return walk.tagged(kind, {"name": walk.text(function.__qualname__)} if known else {})


def _read_module(walk: Walk, value: ModuleType, kind: type) -> Any:
    own = vars(ModuleType)["__dict__"]
    name = dict.get(own.__get__(value), "__name__")
    return walk.tagged(kind, {"name": walk.text(name)} if type(name) is str else {})


def _read_namespace(walk: Walk, value: SimpleNamespace, kind: type) -> Any:
    own = dict.items(SimpleNamespace.__dict__["__dict__"].__get__(value))
    return walk.tagged(kind, walk.fields((k, v) for k, v in islice(own, ITEMS) if type(k) is str))


def _read_pattern(walk: Walk, value: re.Pattern[Any], kind: type) -> Any:
    return walk.tagged(kind, {"pattern": walk.value(value.pattern)})


def _read_datetime(walk: Walk, value: Any, kind: type) -> Any:
    """Read a date, a time or both; the code of an unknown time zone is not asked."""
    base = next(base for base in (_DATETIME, _DATE, _TIME) if issubclass(kind, base))
    exact: Any = base(*[stored(base, name, value) for name in _PARTS[base]])
    if base is _DATE:
        return walk.tagged(kind, {"text": walk.text(exact.isoformat())})
    zone, fold = stored(base, "tzinfo", value), stored(base, "fold", value)
    if zone is None or type(zone) is _ZONE or type(zone) is loaded("zoneinfo", "ZoneInfo"):
        exact = exact.replace(tzinfo=zone, fold=fold)
        return walk.tagged(kind, {"text": walk.text(exact.isoformat())})
    text = walk.text(exact.isoformat())
    return walk.tagged(kind, {"text": text, "tzinfo": walk.value(type(zone))})


def _read_timedelta(walk: Walk, value: Any, kind: type) -> Any:
    parts = [stored(_DELTA, name, value) for name in ("days", "seconds", "microseconds")]
    return walk.tagged(kind, {"text": walk.text(str(_DELTA(*parts)))})


def _read_zone(walk: Walk, value: datetime.timezone, kind: type) -> Any:
    return walk.tagged(kind, {"text": walk.text(str(value))})


_EMPTY: Final[dict[str, str]] = {}

_READERS: Final[tuple[tuple[type, Reader], ...]] = (
    (Enum, _read_enum),
    (bool, _read_bool),
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
    (memoryview, _read_memoryview),
    (complex, _read_complex),
    (_DATE, _read_datetime),  # of which a datetime is one
    (_TIME, _read_datetime),
    (_DELTA, _read_timedelta),
    (_ZONE, _read_zone),
    (BaseException, _read_error),
    (type, _read_class),
    (FunctionType, _read_function),
    (BuiltinFunctionType, _read_function),
    (MethodType, _read_method),
    (ModuleType, _read_module),
    (range, _read_range),
    (slice, _read_slice),
    (MappingProxyType, _read_view),
    (type(_EMPTY.keys()), _read_dict_view),
    (type(_EMPTY.values()), _read_dict_view),
    (type(_EMPTY.items()), _read_dict_view),
    (SimpleNamespace, _read_namespace),
    (re.Pattern, _read_pattern),
)


# By identity, since a type's metaclass may define `__hash__`.
_EXACT: Final = {id(base): read for base, read in _READERS}


def reader_of(kind: type) -> Reader:
    """Find how a type is read: by what was registered, or as what it is made from."""
    found = registered(kind) or _EXACT.get(id(kind)) or library_reader(kind)
    if found is not None:
        return found
    return next((read for base, read in _READERS if issubclass(kind, base)), read_fields)

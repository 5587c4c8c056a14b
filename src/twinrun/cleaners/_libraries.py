"""How values of known libraries become JSON; a library that nobody imported has no values.

They are found by name and never imported. Only their exact types are asked anything: a type that
somebody derived from them has code of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from twinrun.cleaners._own import ancestry, classes, is_used_up, loaded, own_fields, stored
from twinrun.cleaners._walk import ITEMS, Reader, Walk
from twinrun.tracebacks import type_name

__all__ = ["library_reader", "read_fields"]

_ROWS: Final = 5  # of a frame
_COLUMNS: Final = 20
_NESTED: Final = 4  # dimensions of an array that are lists within lists; more are one list

_PATHS: Final = ("PosixPath", "PurePosixPath", "PureWindowsPath", "WindowsPath")

# Types whose text says all; it is made by their code, not the value's.
_TEXTS: Final = (
    ("decimal", "Decimal"),
    ("fractions", "Fraction"),
    ("uuid", "UUID"),
    ("zoneinfo", "ZoneInfo"),
    *(("ipaddress", f"IPv{n}{kind}") for n in "46" for kind in ("Address", "Network", "Interface")),
    *((module, name) for module in ("pathlib", "pathlib._local") for name in _PATHS),
    *(("pandas", name) for name in ("Timestamp", "Timedelta", "Period", "Interval")),
    ("pandas._libs.tslibs.nattype", "NaTType"),
    ("pandas._libs.missing", "NAType"),
    ("numpy", "datetime64"),
    ("numpy", "timedelta64"),
    ("bson", "ObjectId"),
)

# Who is made from these is open, waits, loads when it is touched, or means nothing elsewhere.
_MACHINERY: Final = (
    "asyncio.",
    "concurrent.futures.",
    "django.db.",
    "logging.",
    "multiprocessing.",
    "numpy.",
    "pandas.",
    "polars.",
    "psycopg",
    "queue.",
    "redis.",
    "selectors.",
    "socket.",
    "sqlalchemy.",
    "sqlite3.",
    "ssl.",
    "tempfile.",
    "threading.",
    "unittest.mock.",
)


def library_reader(kind: type) -> Reader | None:
    """Find how a type of a library is read, None where it is of none that is known."""
    if any(loaded(module, name) is kind for module, name in _TEXTS):
        return _read_text
    for module, name, read in _EXACT:
        if loaded(module, name) is kind:
            return read
    number = loaded("numpy", "generic")
    if type(number) is type and issubclass(kind, number):
        return _read_number
    decimal = loaded("decimal", "Decimal")
    if type(decimal) is type and issubclass(kind, decimal):
        return _read_decimal
    known = ancestry(kind)
    return next((read for name, read in _MADE_FROM.items() if name in known), None)


def _read_text(walk: Walk, value: Any, kind: type) -> Any:
    return walk.tagged(kind, {"text": walk.text(str(value))})


def _read_decimal(walk: Walk, value: Any, kind: type) -> Any:
    """Read a type made from Decimal, whose text is made in C."""
    return walk.tagged(kind, {"text": walk.text(loaded("decimal", "Decimal").__str__(value))})


def _read_number(walk: Walk, value: Any, kind: type) -> Any:
    name = type_name(kind).removeprefix("numpy.")
    if loaded("numpy", name) is not kind:
        return walk.tagged(kind, {})  # a type that somebody derived
    item = value.item()
    plain = walk.text(str(value)) if type(item) is kind else walk.value(item)
    return walk.tagged(kind, {"value": plain})


def _read_array(walk: Walk, value: Any, kind: type) -> Any:
    left, first = ITEMS, []
    for size in reversed(value.shape):
        first.append(slice(min(size, max(left, 1))))
        left //= max(size, 1)
    if 1 < value.ndim <= _NESTED:
        made = _rows(walk, value[tuple(reversed(first))].tolist(), value.shape)
    else:
        made = walk.items(value.flat[:ITEMS].tolist(), value.size)
    parts = {"shape": list(value.shape), "items": made}
    return walk.tagged(kind, {"dtype": walk.text(str(value.dtype)), **parts})


def _rows(walk: Walk, rows: list[Any], shape: tuple[int, ...]) -> list[Any]:
    """Clean the beginning of an array of several dimensions, nested as its indices are."""
    if len(shape) == 1:
        return walk.items(rows, shape[0])
    walk.size -= 6 * len(rows)
    made = [_rows(walk, row, shape[1:]) for row in rows]
    return [*made, {"$more": shape[0] - len(rows)}] if shape[0] > len(rows) else made


def _read_frame(walk: Walk, value: Any, kind: type) -> Any:
    """Read a frame of pandas or polars: its shape, its columns' types, its first rows."""
    names = list(value.columns[:_COLUMNS])
    types = list(value.dtypes)[:_COLUMNS]
    head = value.iloc[:_ROWS, :_COLUMNS] if hasattr(kind, "iloc") else value[names].head(_ROWS)
    rows = head.rows() if hasattr(kind, "rows") else zip(*_columns(head), strict=True)
    pairs = [dict(zip(names, row, strict=True)) for row in islice(rows, _ROWS)]
    columns = [[walk.value(n), walk.text(str(t))] for n, t in zip(names, types, strict=True)]
    made = {"shape": list(value.shape), "columns": columns, "head": walk.items(pairs, len(pairs))}
    return walk.tagged(kind, made)


def _read_array_like(walk: Walk, value: Any, kind: type) -> Any:
    """Read a type made from an array: its items may be masked, or not be in memory."""
    array = loaded("numpy", "ndarray")
    shape, dtype = stored(array, "shape", value), stored(array, "dtype", value)
    return walk.tagged(kind, {"dtype": walk.text(str(dtype)), "shape": list(shape)})


def _columns(head: Any) -> Iterator[list[Any]]:
    """Give the columns of a pandas frame, which keeps a type for each."""
    return (head.iloc[:, number].tolist() for number in range(head.shape[1]))


def _read_series(walk: Walk, value: Any, kind: type) -> Any:
    """Read a series or an index: its length, its type, its first items."""
    items = value[:_ROWS].to_list()
    parts = {"length": len(value), "head": walk.items(items, len(items))}
    return walk.tagged(kind, {"dtype": walk.text(str(value.dtype)), **parts})


def _read_row(walk: Walk, value: Any, kind: type) -> Any:
    """Read a row that SQLAlchemy fetched as a tuple."""
    names = [str.__str__(name) for name in islice(value._fields, ITEMS)]
    return walk.tagged(kind, walk.fields(zip(names, value, strict=False)))


def _read_row_mapping(walk: Walk, value: Any, kind: type) -> Any:
    """Read a row that SQLAlchemy or sqlite3 fetched, by its names."""
    pairs = ((name, value[name]) for name in islice(value.keys(), ITEMS) if type(name) is str)
    return walk.tagged(kind, walk.fields(pairs))


def _read_model(walk: Walk, value: Any, kind: type) -> Any:
    """Read what of an ORM's object is loaded: columns, no other objects and no book-keeping."""
    own = ((k, v) for k, v in own_fields(walk, value, kind) if not k.startswith("_"))
    columns = ((k, v) for k, v in own if not _is_related(v))
    return walk.tagged(kind, walk.fields(islice(columns, ITEMS)))


def _is_related(value: Any) -> bool:
    """Whether this is another object of an ORM, or a collection of them."""
    known = ancestry(type(value))
    if "django.db.models.base.Model" in known or _is_mapped(type(value)):
        return True
    return any(name.startswith("sqlalchemy.orm.collections.") for name in known)


def _is_mapped(kind: type) -> bool:
    """Whether SQLAlchemy maps this class to a table."""
    return any("_sa_class_manager" in own for _, own in classes(kind))


def _read_query_set(walk: Walk, value: Any, kind: type) -> Any:
    """Read the rows of a query that Django has made already; one that it hasn't is not made."""
    rows = dict(own_fields(walk, value, kind)).get("_result_cache")
    return walk.tagged(kind, {"items": walk.items(rows, len(rows))} if type(rows) is list else {})


def _read_pydantic(walk: Walk, value: Any, kind: type) -> Any:
    """Read a model's fields and what more it was given, without what pydantic adds."""
    pairs = list(islice(own_fields(walk, value, kind), ITEMS))
    for cls, own in classes(kind):
        extra = own.get("__pydantic_extra__")
        if type(extra) is type(_SLOT) and extra.__objclass__ is cls:
            more = extra.__get__(value)
            pairs += list(islice(more.items(), ITEMS)) if type(more) is dict else []
    return walk.tagged(kind, walk.fields((k, v) for k, v in pairs if type(k) is str))


def read_fields(walk: Walk, value: Any, kind: type) -> Any:
    """Read any other type by the fields that it stores itself, unless to look may use it up."""
    if _is_mapped(kind):
        return _read_model(walk, value, kind)
    if is_used_up(kind) or any(name.startswith(_MACHINERY) for name in ancestry(kind)):
        return walk.tagged(kind, {})
    return walk.tagged(kind, walk.fields(islice(own_fields(walk, value, kind), ITEMS)))


class _Slotted:
    __slots__ = ("slot",)


_SLOT: Final = _Slotted.__dict__["slot"]

_EXACT: Final[tuple[tuple[str, str, Reader], ...]] = (
    ("numpy", "ndarray", _read_array),
    ("pandas", "DataFrame", _read_frame),
    ("pandas", "Series", _read_series),
    ("pandas", "Index", _read_series),
    ("pandas", "RangeIndex", _read_series),
    ("pandas", "DatetimeIndex", _read_series),
    ("polars", "DataFrame", _read_frame),
    ("polars", "Series", _read_series),
    ("sqlalchemy.engine.row", "Row", _read_row),
    ("sqlalchemy.engine.row", "RowMapping", _read_row_mapping),
    ("sqlite3", "Row", _read_row_mapping),
)

_MADE_FROM: Final[dict[str, Reader]] = {
    "django.db.models.base.Model": _read_model,
    "django.db.models.query.QuerySet": _read_query_set,
    "numpy.ndarray": _read_array_like,
    "pydantic.main.BaseModel": _read_pydantic,
}

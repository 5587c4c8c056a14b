"""Values of known libraries are read by what is there already: nothing is loaded or consumed."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import io
import itertools
import json
import queue
import sqlite3
import sys
import tempfile
import threading
import types

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    defer,
    mapped_column,
    relationship,
)

from twinrun.analysis.wholes import _at
from twinrun.cleaners import _walk, clean, register_cleaner
from twinrun.comparators import equal
from twinrun.errors import ConfigurationError


@pytest.fixture(autouse=True)
def _timeless(monkeypatch):
    """Let no value be cut because the machine is busy."""
    monkeypatch.setattr(_walk, "thread_time_ns", lambda: 0)


# Objects of an ORM -------------------------------------------------------------------------------


class Base(DeclarativeBase):
    """What the tables share."""


class Author(Base):
    """A row with books."""

    __tablename__ = "author"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    password: Mapped[str]
    note: Mapped[str | None]
    books: Mapped[list[Book]] = relationship(back_populates="author")


class Book(Base):
    """A row that belongs to another."""

    __tablename__ = "book"
    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(sa.ForeignKey("author.id"))
    author: Mapped[Author] = relationship(back_populates="books")


@pytest.fixture
def database():
    """Give a session with an author and a book, and the list of queries made."""
    engine = sa.create_engine("sqlite://")
    Base.metadata.create_all(engine)
    queries: list[str] = []
    with Session(engine) as session:
        session.add(Author(id=1, name="Ann", password="hunter2", books=[Book(id=7)]))
        session.commit()
        sa.event.listen(engine, "before_cursor_execute", lambda *args: queries.append(args[2]))
        yield session, queries
    engine.dispose()


def test_a_loaded_row_shows_its_columns_and_makes_no_query(database):
    """Without what SQLAlchemy keeps about it, and without related rows."""
    session, queries = database
    author = session.get(Author, 1)
    assert author.books[0].id == 7
    queries.clear()
    data = clean(author)
    assert queries == []
    assert data.pop("password").startswith("[redacted ")
    assert data == {"$type": f"{__name__}.Author", "id": 1, "name": "Ann", "note": None}


def test_what_is_not_loaded_stays_so(database):
    """An expired row has no columns, a deferred column is not there, related rows aren't asked."""
    session, queries = database
    author = session.scalars(sa.select(Author).options(defer(Author.note))).one()
    queries.clear()
    assert "note" not in clean(author)
    session.expire(author)
    assert clean(author) == {"$type": f"{__name__}.Author"}
    session.expunge(author)
    assert clean([author]) == [{"$type": f"{__name__}.Author"}]
    assert queries == []


def test_fetched_rows_are_read_and_results_are_left_alone(database):
    """A row is a value; a result, a query or a session is not."""
    session, queries = database
    row = session.execute(sa.select(Author.id, Author.name)).one()
    result = session.execute(sa.select(Author.id))
    queries.clear()
    assert clean(row) == {"$type": "sqlalchemy.engine.row.Row", "id": 1, "name": "Ann"}
    assert clean(row._mapping)["name"] == "Ann"
    for each in (result, session, session.query(Author), sa.select(Author), session.get_bind()):
        assert list(clean(each)) == ["$type"]
    assert queries == []
    assert result.all() == [(1,)]


def test_a_cursor_of_sqlite_is_not_consumed():
    """Its rows are read where they were fetched."""
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    cursor = connection.execute("select 1 as a union select 2")
    assert clean(cursor) == {"$type": "sqlite3.Cursor"}
    row = cursor.fetchone()
    assert clean(row) == {"$type": "sqlite3.Row", "a": 1}
    assert len(cursor.fetchall()) == 1
    connection.close()


def test_rows_of_django_show_what_is_loaded(monkeypatch):
    """With real Django where it is installed."""
    django = pytest.importorskip("django")
    from django.conf import settings

    if not settings.configured:
        database = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
        settings.configure(DATABASES={"default": database}, INSTALLED_APPS=[])
        django.setup()
    from django.db import connection, models
    from django.test.utils import CaptureQueriesContext

    class Shop(models.Model):
        name = models.CharField(max_length=9)

        class Meta:
            app_label = "twinrun_tests"

    class Thing(models.Model):
        shop = models.ForeignKey(Shop, on_delete=models.CASCADE)
        count = models.IntegerField()

        class Meta:
            app_label = "twinrun_tests"

    with connection.schema_editor() as editor:
        editor.create_model(Shop)
        editor.create_model(Thing)
    Thing.objects.create(shop=Shop.objects.create(name="a"), count=3)
    whole, deferred = Thing.objects.select_related("shop").get(), Thing.objects.defer("count").get()
    waiting, loaded = Thing.objects.all(), Thing.objects.all()
    assert len(loaded) == 1
    with CaptureQueriesContext(connection) as made:
        assert {k: v for k, v in clean(whole).items() if k != "$type"} == {
            "id": 1,
            "shop_id": 1,
            "count": 3,
        }
        assert "count" not in clean(deferred)
        assert list(clean(waiting)) == list(clean(Thing.objects)) == ["$type"]
        assert clean(loaded)["items"][0]["count"] == 3
    assert len(made) == 0
    connection.close()


def test_models_of_pydantic_show_their_fields():
    """With what more they were given, and without what pydantic adds."""
    pydantic = pytest.importorskip("pydantic")

    class Model(pydantic.BaseModel, extra="allow"):
        a: int
        word: pydantic.SecretStr
        _private: int = 3

    data = clean(Model(a=1, word="hunter2-hunter2", more=5))
    assert (data["a"], data["more"]) == (1, 5)
    assert "hunter2" not in json.dumps(data)
    assert not any(name.startswith("__") for name in data)


# Arrays and frames -------------------------------------------------------------------------------


def test_a_frame_shows_its_shape_its_types_and_its_head():
    """A column that is named as secret is none of it."""
    columns = {"n": range(9), "text": list("abcdefghi"), "token": list("abcdefghi")}
    for data, text in ((clean(pd.DataFrame(columns)), "str"), (clean(pl.DataFrame(columns)), None)):
        assert data["shape"] == [9, 3]
        assert [name for name, _ in data["columns"]] == ["n", "text", "token"]
        assert text is None or data["columns"][0] == ["n", "int64"]
        assert len(data["head"]) == 5
        assert (data["head"][4]["n"], data["head"][4]["text"]) == (4, "e")
        assert data["head"][0]["token"].startswith("[redacted ")


@pytest.mark.parametrize(
    "series",
    [pd.Series(range(9)), pl.Series(range(9)), pd.RangeIndex(9), pd.Index(list(range(9)))],
    ids=["pandas", "polars", "range", "index"],
)
def test_a_series_shows_its_length_its_type_and_its_head(series):
    """Five items of it."""
    data = clean(series)
    assert (data["length"], data["dtype"].lower(), data["head"]) == (9, "int64", [0, 1, 2, 3, 4])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (pd.Timestamp("2026-01-02"), "2026-01-02 00:00:00"),
        (pd.NaT, "NaT"),
        (pd.NA, "<NA>"),
        (np.datetime64("2026-01-02T03"), "2026-01-02T03"),
        (np.datetime64("NaT", "s"), "NaT"),
    ],
    ids=["timestamp", "no time", "nothing", "numpy's time", "numpy's no time"],
)
def test_a_time_of_pandas_or_numpy_is_a_text(value, text):
    """As they write it."""
    assert clean(value)["text"] == text


def test_a_huge_frame_costs_no_more_than_a_small_one():
    """Twenty columns and five rows are looked at."""
    data = clean(pd.DataFrame(np.zeros((100_000, 200))))
    assert len(json.dumps(data)) < 10_000
    assert data["shape"] == [100_000, 200]


def test_types_that_somebody_derived_are_not_asked():
    """They have code of their own; an array's shape is read past it."""

    class Frame(pd.DataFrame):
        @property
        def shape(self):
            raise AssertionError("it was asked")

    class Array(np.ndarray):
        def __array_finalize__(self, other):
            if armed:
                raise AssertionError("it was asked")

        def __getitem__(self, key):
            raise AssertionError("it was asked")

    armed: list[int] = []
    array = np.arange(6).reshape(2, 3).view(Array)
    armed.append(1)
    assert list(clean(Frame({"a": [1]}))) == ["$type"]
    assert clean(array)["shape"] == [2, 3]
    assert clean(np.ma.array([1, 2], mask=[0, 1]))["shape"] == [2]


@pytest.mark.parametrize(
    ("array", "items"),
    [
        (np.arange(6).reshape(2, 3), [[0, 1, 2], [3, 4, 5]]),
        (np.arange(8).reshape(2, 2, 2), [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]),
        (np.array(7), [7]),
        (np.zeros((0, 3)), []),
        (np.zeros((2, 0)), [[], []]),
        (np.array([["a", "b"], ["password", "hunter2-hunter2"]]), None),
        (np.zeros((1,) * 30), [0.0]),
    ],
    ids=lambda value: str(getattr(value, "shape", "")),
)
def test_an_array_is_nested_as_its_indices_are(array, items):
    """Its rows are lists, so that a path of a difference leads to what it names."""
    made = clean(array)
    assert made["shape"] == list(array.shape)
    if items is not None:
        assert made["items"] == items
    assert "hunter2" not in json.dumps(made)


def test_of_a_large_array_the_first_items_are_kept():
    """A hundred in all, in whole rows where they fit; at each level it is said what is left out."""
    tall = clean(np.arange(3_000).reshape(1_000, 3))["items"]
    assert tall[:2] == [[0, 1, 2], [3, 4, 5]]
    assert (len(tall), tall[33]) == (34, {"$more": 967})
    wide = clean(np.arange(3_000).reshape(3, 1_000))["items"]
    assert wide == [[*range(100), {"$more": 900}], {"$more": 2}]
    deep = clean(np.zeros((50, 50, 50, 50)))["items"]
    assert sum(type(each) is float for each in flat(deep)) == 100
    assert len(json.dumps(clean(np.zeros((100, 100, 100, 100))))) < 4_000


def flat(items):
    """Give what is inside of nested lists."""
    for each in items:
        yield from flat(each) if isinstance(each, list) else [each]


def test_paths_of_differences_lead_into_what_is_shown_of_an_array():
    """`$[1][1]` names the second item of the second row in both."""
    one, two = np.zeros((3, 3)), np.zeros((3, 3))
    two[1, 1] = 2
    (difference,) = equal.differences(one, two)
    assert difference.path == "$[1][1]"
    observed = {"value": clean(two)}
    assert _at(observed["value"], difference.path) == difference.candidate


def test_what_an_array_holds_is_not_asked_either():
    """Objects are read like any other value."""

    class Loud:
        def __repr__(self):
            raise AssertionError("it was asked")

    data = clean(np.array([Loud(), {"password": "hunter2-hunter2"}], dtype=object))
    assert data["items"][0]["$type"].endswith("Loud")
    assert "hunter2" not in json.dumps(data)


# The standard library ----------------------------------------------------------------------------


def test_an_exception_shows_what_it_came_from():
    """Its cause, or its context unless that is suppressed; a group its members."""

    def raised(error, cause=None):
        try:
            try:
                raise LookupError("first: password=hunter2")
            except LookupError as first:
                raise error from (first if cause == "first" else cause)
        except type(error) as caught:
            return caught

    chained = raised(ValueError("second"), "first")
    assert clean(chained)["cause"]["$type"] == "LookupError"
    assert "hunter2" not in json.dumps(clean(chained))
    assert "cause" not in clean(raised(ValueError("third")))
    group = clean(ExceptionGroup("several", [ValueError("a"), KeyError("b")]))
    assert [each["message"] for each in group["exceptions"]] == ["a", "'b'"]


def test_an_exceptions_context_is_shown_unless_it_was_suppressed():
    """As Python does."""
    try:
        try:
            raise LookupError("first")
        except LookupError:
            raise ValueError("second")  # noqa: B904
    except ValueError as error:
        assert clean(error)["context"]["message"] == "first"
        error.__suppress_context__ = True
        assert "context" not in clean(error)


class Cursor:
    """Something of a driver."""

    def __init__(self):
        self.connection = "open"

    def fetchone(self):
        """Fail."""
        raise AssertionError("it was consumed")


class Numbers:
    """An iterator written by hand."""

    def __init__(self):
        self.n = 0

    def __iter__(self):
        return self

    def __next__(self):
        self.n += 1
        return self.n


@pytest.mark.parametrize(
    "value",
    [
        threading.Lock(),
        threading.RLock(),
        threading.Condition(),
        threading.Event(),
        threading.Thread(),
        queue.Queue(),
        asyncio.Event(),
        zip([1], [2], strict=True),
        map(str, [1]),
        itertools.count(),
        iter({1: 2}),
        io.BytesIO(b"x"),
        sys.stdout,
        Cursor(),
        Numbers(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_waits_or_is_used_up_is_named_only(value):
    """Locks, queues, iterators, files, cursors."""
    assert list(clean(value)) == ["$type"]


def test_a_temporary_file_is_named_only():
    """It stands where it stood."""
    with tempfile.NamedTemporaryFile("w+") as file:
        file.write("content")
        file.seek(3)
        assert list(clean(file)) == ["$type"]
        assert file.tell() == 3


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        (types.SimpleNamespace(a=1), {"a": 1}),
        (types.MappingProxyType({"a": 1}), {"items": {"a": 1}}),
        ({"a": 1}.keys(), {"items": ["a"]}),
        ({"a": 1}.items(), {"items": [{"$type": "tuple", "items": ["a", 1]}]}),
        (memoryview(b"abc"), {"length": 3, "text": "abc"}),
        (types, {"name": "types"}),
        (slice(1, 2), {"items": [1, 2, None]}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_views_and_namespaces_are_read(value, parts):
    """By what they stand for."""
    assert {k: v for k, v in clean(value).items() if k != "$type"} == parts


def test_a_view_of_a_mapping_with_code_is_not_read():
    """The code would run."""

    class Loud(dict):
        def __getitem__(self, key):
            raise AssertionError("it was asked")

        def keys(self):
            """Fail."""
            raise AssertionError("it was asked")

    data = clean(types.MappingProxyType(Loud(a=1)))
    assert data["items"]["items"] == {"a": 1}
    assert list(clean(types.MappingProxyType(collections.UserDict(a=1)))) == ["$type"]


# Cleaners of one's own ---------------------------------------------------------------------------


@dataclasses.dataclass
class Money:
    """Something that shall be shown in its own way."""

    cents: int
    password: str = "hunter2-hunter2"


@pytest.fixture
def registered(monkeypatch):
    """Forget afterwards what was registered."""
    from twinrun.cleaners import _registry

    monkeypatch.setattr(_registry, "_registered", {})


@pytest.mark.usefixtures("registered")
def test_a_registered_cleaner_says_how_a_type_is_shown():
    """What it gives is named by the type, and cleaned as well."""

    @register_cleaner(Money)
    def money(value):
        return {"euro": value.cents / 100, "password": value.password}

    class Tip(Money):
        """Made from it."""

    assert money(Money(5)) == {"euro": 0.05, "password": "hunter2-hunter2"}
    for cls in (Money, Tip):
        data = clean({"price": cls(250)})["price"]
        assert data["euro"] == 2.5
        assert data["$type"].endswith(cls.__name__)
        assert data["password"].startswith("[redacted ")


@pytest.mark.usefixtures("registered")
def test_a_registered_cleaner_may_give_anything():
    """What is no object stands under `value`; the nearest type's, and the latest, wins."""
    register_cleaner(Money)(lambda value: "old")
    register_cleaner(Money)(lambda value: [value.cents])
    assert clean(Money(5)) == {"$type": f"{__name__}.Money", "value": [5]}


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("error", [ValueError("hunter2"), SystemExit("hunter2"), GeneratorExit()])
def test_where_a_registered_cleaner_fails_the_type_is_named(error):
    """Nothing of the value is shown in its place, and its neighbours are."""

    @register_cleaner(Money)
    def money(value):
        raise error

    data = clean([1, Money(5)])
    assert data[0] == 1
    assert set(data[1]) == {"$type", "$failed"}
    assert "hunter2" not in json.dumps(data)


@pytest.mark.usefixtures("registered")
def test_a_registered_cleaner_that_gives_what_it_got_is_refused():
    """And one that gives ever new ones ends at the bound of depth."""
    register_cleaner(Money)(lambda value: value)
    assert set(clean(Money(5))) == {"$type", "$failed"}
    register_cleaner(Money)(lambda value: Money(value.cents + 1))
    assert '"$cut": "depth"' in json.dumps(clean(Money(5)))


@pytest.mark.parametrize(
    ("kind", "function", "text"),
    [
        ("Money", print, "takes a class"),
        (int, print, "always read as it is"),
        (Money, 5, "a callable of one value"),
    ],
)
def test_a_wrong_registration_says_what_is_wrong(kind, function, text):
    """When it is made."""
    with pytest.raises(ConfigurationError, match=text):
        register_cleaner(kind)(function)

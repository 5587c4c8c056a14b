"""The databases that a store can be in."""

from __future__ import annotations

import pytest

from twinrun.store import Store


@pytest.fixture
def path(tmp_path):
    """Give a path where no store is yet."""
    return tmp_path / "store.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request):
    """Give the URL of each kind of database, with no store in it yet."""
    if request.param == "sqlite":
        return f"sqlite:///{request.getfixturevalue('path')}"
    return request.getfixturevalue("postgresql")


@pytest.fixture
def store(url):
    """Give a store that is still to be made."""
    with Store(url) as store:
        yield store

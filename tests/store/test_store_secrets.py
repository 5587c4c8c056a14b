"""Facts about passwords: whatever goes wrong with a connection, no text that is made holds one."""

import logging
import subprocess
import sys
import textwrap
import traceback
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy.engine import make_url

import twinrun
from evidence import run_sql
from twinrun import _logging, settings
from twinrun.cli import merge, report, show, upgrade
from twinrun.controls import StoreControls
from twinrun.errors import ConfigurationError
from twinrun.publishers import StorePublisher
from twinrun.store import Store

SECRET = "s3cret"

WRONG = {
    "no server": "postgresql://user:s3cret@127.0.0.1:1/db",
    "no such host": "postgresql://user:s3cret@nowhere.invalid/db",
    "no number as the port": "postgresql://user:s3cret@host:port/db",
    "an @ in the password": "postgresql://user:x@s3cret@127.0.0.1:1/db",
    "a / in the password": "postgresql://user:x/s3cret@127.0.0.1:1/db",
    "an unknown option": "postgresql://user:s3cret@127.0.0.1:1/db?unknown=s3cret",
    "the password as an option": "postgresql://user@127.0.0.1:1/db?password=s3cret",
    "options of the server": "postgresql://user@127.0.0.1:1/db?options=-cx.y%3Ds3cret",
    "an option that can't be": "postgresql://user:s3cret@127.0.0.1:1/db?sslmode=maybe",
    "another database": "mysql://user:s3cret@127.0.0.1:1/db",
    "no database at all": "nothing://user:s3cret@127.0.0.1:1/db",
    "another driver": "postgresql+asyncpg://user:s3cret@127.0.0.1:1/db",
    "no driver": "postgresql+magic://user:s3cret@127.0.0.1:1/db",
    "a / in the password, which ends a host": "postgresql://user/s3cret@127.0.0.1:1/db",
    "no host": "postgresql:///user:s3cret@127.0.0.1:1/db",
    "no colon": "postgres//user:s3cret@127.0.0.1:1/db",
    "one slash": "postgresql:/user:s3cret@127.0.0.1:1/db",
    "no slash": "postgresql:user:s3cret@127.0.0.1:1/db",
    "no slash and no @": "postgresql+psycopg:user:s3cret",
    "a slash lost by a path": Path("postgresql://user:s3cret@127.0.0.1:1/db"),
    "no scheme": "user:s3cret@127.0.0.1:1/db",
    "libpq's own form": "host=127.0.0.1 user=user password=s3cret",
    "libpq's own form, spaced": "host=127.0.0.1 user=user PASSWORD = 's3cret'",
    "a server of SQLite": "sqlite://user:s3cret@127.0.0.1/db",
}


@pytest.fixture
def wrong_password(postgresql, postgresql_server):
    """Give the URL of a server that asks for a password, with a wrong one."""
    rules = postgresql_server.pgdata / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"local all guarded scram-sha-256\n{before}")
    run_sql(postgresql, "CREATE ROLE guarded LOGIN PASSWORD 'right'", "SELECT pg_reload_conf()")
    yield make_url(postgresql).set(username="guarded", password=SECRET).render_as_string(False)
    rules.write_text(before)
    run_sql(postgresql, "DROP ROLE guarded", "SELECT pg_reload_conf()")


@pytest.fixture(params=[*WRONG, "a wrong password"])
def url(request):
    """Give a URL with a password that leads nowhere."""
    if request.param in WRONG:
        return WRONG[request.param]
    return request.getfixturevalue("wrong_password")


@pytest.fixture
def said(monkeypatch, caplog):
    """Listen to what is logged, here and in every library."""
    events = []
    monkeypatch.setattr(_logging, "warn", lambda event, **said: events.append((event, said)))
    caplog.set_level(logging.DEBUG)
    return lambda: f"{events} {caplog.text}"


def test_no_error_of_a_store_tells_the_password(url, said):
    """Neither its text, nor the traceback of it and its causes, nor the store's name."""
    names = []

    def use():
        with Store(url) as store:
            names.append(f"{store} {store!r}")
            store.experiments()

    with pytest.raises(Exception) as caught:
        use()
    told = "".join(traceback.format_exception(caught.value))
    assert SECRET not in f"{told} {caught.value!r} {names} {said()}"


def test_no_publisher_tells_the_password(url, said):
    """Neither the errors when it is made, nor its name, nor the warning when it fails."""
    heard = []
    twinrun.configure(on_failure=lambda *what: heard.append(what))
    try:
        publisher = StorePublisher(url, interval=0.001)
    except ConfigurationError as error:
        assert SECRET not in "".join(traceback.format_exception(error))
        return
    experiment = twinrun.Experiment("secrets", publishers=[publisher])
    experiment.run(control=lambda: 1, candidate=lambda: 2)
    while "delivery.failed" not in said():
        assert not publisher.flush(0.01)
    publisher._delivery.close(0.01)
    publisher.close()
    assert SECRET not in f"{publisher} {publisher!r} {heard} {said()}"


def test_no_environment_tells_the_password(url, said, monkeypatch):
    """`TWINRUN_STORE` is told to be wrong without what it is."""
    monkeypatch.setenv("TWINRUN_STORE", str(url))
    for publisher in settings._publishers_of_environment():
        publisher._delivery.close(0)
    assert SECRET not in said()


@pytest.mark.parametrize(
    "command", [(report, []), (show, ["abc"]), (upgrade, []), (merge, ["x.db"])]
)
def test_no_command_tells_the_password(url, command):
    """Each says in a sentence what is wrong, on standard error."""
    program, arguments = command
    result = CliRunner().invoke(program, [*arguments, "--store", str(url)])
    assert result.exit_code in (2, 3)
    assert SECRET not in result.output
    assert result.output.strip().endswith(".")


def test_no_source_of_a_merge_tells_the_password(url, tmp_path):
    """The stores to be merged are named as the one that they go to."""
    result = CliRunner().invoke(merge, [str(url), "--store", str(tmp_path / "fleet.db")])
    assert result.exit_code in (2, 3)
    assert SECRET not in result.output


def test_no_controls_tell_the_password(url):
    """Neither when they are made nor when they listen."""

    def listen():
        controls = StoreControls(url)
        names.append(f"{controls} {controls!r}")
        controls.refresh()

    names = []
    with pytest.raises(Exception) as caught:
        listen()
    told = "".join(traceback.format_exception(caught.value))
    assert SECRET not in f"{told} {caught.value!r} {names}"


def test_a_path_may_hold_an_at_sign_if_it_can_be_nothing_else(tmp_path, monkeypatch):
    """As a pathlib path or in an SQLite URL; so may the directory of any store."""
    folder = tmp_path / "me@here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for given in (Path("a@b.db"), "sqlite:///a@c.db", folder / "d.db", "postgres.db"):
        with Store(given) as store:
            assert store.experiments() == []
        StoreControls(given).refresh()
    made = {each.name for each in folder.glob("*.db")}
    assert made == {"a@b.db", "a@c.db", "d.db", "postgres.db"}
    with pytest.raises(ConfigurationError, match="a path with an @ is written sqlite:///path"):
        Store("a@b.db")


def test_a_missing_driver_is_told_in_one_sentence_with_what_to_install():
    """Without psycopg, and with it but without libpq, as soon as the store is made."""
    program = """
        import sys
        sys.modules["psycopg"] = None
        from twinrun.errors import ConfigurationError
        from twinrun.store import Store
        try:
            Store("postgresql://user:s3cret@host/db")
        except ConfigurationError as error:
            print(error)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    told = 'a store in PostgreSQL needs psycopg: pip install "twinrun[postgres]"\n'
    assert done.stdout == told, done.stderr

"""Processes obey what is written to a store, whatever befalls the store and them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from twinrun import ConfigurationError
from twinrun.cli import twinrun
from twinrun.controls import StoreControls
from twinrun.store import Store, StoreNotFoundError, controls

WATCHDOG = 60.0
NAME = "steered"

PROGRAM = """
import json, os, sys, time
import twinrun
from twinrun import Experiment, configure, tallies
from twinrun._accounts import account_of
from twinrun.controls import StoreControls

configure(controls=StoreControls(every=0.02), publishers=())
made = Experiment("steered", control=int, candidate=int)

def serve(lines, out):
    for line in lines:
        if line.strip() == "fork" and (child := os.fork()):
            os.waitpid(child, 0)
            os._exit(0)
        before = tallies()["steered"]
        for _ in range(100):
            made()
        gained = tallies()["steered"] - before
        word, failures = account_of("steered").word, tallies()["steered"].failures
        said = [os.getpid(), word, gained.experiments, failures.get("controls", 0)]
        print(json.dumps(said), file=out, flush=True)

made()
serve(sys.stdin, sys.stdout)
"""


class Process:
    """A running application, which tells how it runs when it is asked."""

    def __init__(self, location: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TWINRUN_STORE": location},
        )

    def tells(self, line: str = "run") -> tuple[int, float | None, int, int]:
        """Run 100 calls; give its pid, the word, the experiments, and failures so far."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return tuple(json.loads(self._process.stdout.readline()))

    def until(self, holds: Callable[..., bool]) -> tuple[int, float | None, int, int]:
        """Ask until something holds."""
        deadline = time.monotonic() + WATCHDOG
        while not holds(*(told := self.tells())[1:]):
            assert time.monotonic() < deadline, f"it never came to pass: {told}"
            time.sleep(0.01)
        return told

    def ends(self) -> str:
        """Let it end; give what it wrote to stderr."""
        _, errors = self._process.communicate(timeout=WATCHDOG)
        assert self._process.returncode == 0
        return errors

    def kill(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.communicate()


def say(location: str, *arguments: str) -> None:
    """Run a command of the command line."""
    done = CliRunner().invoke(twinrun, [*arguments, "--store", location, "--new"])
    assert done.exit_code == 0, done.output


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give the path of a store that is there."""
    location = tmp_path / "store.db"
    say(str(location), "ramp", "another", "5%")
    return location


@pytest.fixture
def process(path: Path) -> Iterator[Process]:
    """Run an application."""
    running = Process(str(path))
    yield running
    running.kill()


def test_a_running_process_obeys_another_one(path: Path, process: Process) -> None:
    """A ramp, a pause, a resume, and the code's own share again."""
    assert process.tells()[2] == 100
    program = [sys.executable, "-m", "twinrun", "ramp", NAME, "10%", "--new", "--store", str(path)]
    subprocess.run(program, check=True, capture_output=True, timeout=WATCHDOG)
    process.until(lambda word, ran, failed: word == 0.1 and 0 < ran < 50)
    say(str(path), "pause", NAME)
    process.until(lambda word, ran, failed: word == 0.0 and ran == 0)
    say(str(path), "resume", NAME)
    process.until(lambda word, ran, failed: word == 0.1 and 0 < ran < 50)
    say(str(path), "ramp", NAME, "own")
    assert process.until(lambda word, ran, failed: word is None and ran == 100)[3] == 0
    errors = process.ends()
    assert errors.count("experiment.controlled") == 4
    assert len(errors.splitlines()) == 4


@pytest.mark.parametrize("harm", ["removed", "damaged", "emptied"])
def test_what_befalls_a_store_leaves_the_last_word(path: Path, process: Process, harm: str) -> None:
    """It is counted and said once; a store that is there again is heard again."""
    say(str(path), "pause", NAME)
    process.until(lambda word, ran, failed: word == 0.0)
    aside = path.rename(path.with_name("aside.db"))
    for journal in path.parent.glob("store.db-*"):
        journal.unlink()
    if harm == "damaged":
        path.write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 100)
    elif harm == "emptied":
        with Store(path) as store:
            store.experiments()
    if harm == "emptied":
        for _ in range(10):
            assert process.tells()[1:3] == (0.0, 0)
            time.sleep(0.02)
    else:
        process.until(lambda word, ran, failed: failed > 3 and word == 0.0 and ran == 0)
    path.unlink(missing_ok=True)
    for journal in path.parent.glob("store.db-*"):
        journal.unlink()
    aside.rename(path)
    say(str(path), "ramp", NAME, "50%")
    say(str(path), "resume", NAME)
    process.until(lambda word, ran, failed: word == 0.5 and 10 < ran < 90)
    errors = process.ends()
    assert errors.count("controls.unreachable") == 1 or harm == "emptied"
    assert "Traceback" not in errors


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_obeys_on_its_own(path: Path, process: Process) -> None:
    """It begins with the word that its parent had heard."""
    say(str(path), "pause", NAME)
    parent = process.until(lambda word, ran, failed: word == 0.0)[0]
    assert process.tells("fork")[1:3] == (0.0, 0)
    say(str(path), "resume", NAME)
    child = process.until(lambda word, ran, failed: word is None and ran == 100)[0]
    assert child != parent


def test_a_store_need_not_be_there_yet(tmp_path: Path) -> None:
    """Whoever makes it first, it is heard from then on."""
    location = tmp_path / "later.db"
    running = Process(str(location))
    try:
        running.until(lambda word, ran, failed: failed >= 1 and word is None and ran == 100)
        say(str(location), "pause", NAME)
        running.until(lambda word, ran, failed: word == 0.0 and ran == 0)
    finally:
        running.kill()


STUCK = """
import sys, threading
from twinrun import Experiment, configure

entered = threading.Event()

def stuck(name):
    entered.set()
    threading.Event().wait()

configure(controls=stuck, publishers=())
Experiment("stuck", control=int, candidate=int)()
assert entered.wait(60)
"""


def test_an_exit_waits_for_nobody_who_is_stuck() -> None:
    """It is quiet, too."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", STUCK], capture_output=True, text=True, timeout=WATCHDOG
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_one_read_leaves_no_connection(postgresql: str) -> None:
    """On a server with few connections, many processes may listen; a word is heard there too."""
    with Store(postgresql) as store, store.writing() as connection:
        controls.add(connection, "é\ud800", "ramp", 0.25, by="ann")
    listening = StoreControls(postgresql)
    listening.refresh()
    assert listening("é\ud800") == 0.25
    assert listening("other") is None
    with Store(postgresql) as store, store.reading() as connection:
        others = connection.exec_driver_sql(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE application_name = 'twinrun' AND pid <> pg_backend_pid()"
        )
        assert others.scalar() == 0


def test_a_process_may_change_its_directory(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As a daemon does; a path stands for where it was when it was given."""
    say(str(path), "ramp", NAME, "5%")
    monkeypatch.chdir(path.parent)
    every = [
        StoreControls(given) for given in (path.name, f"sqlite:///{path.name}", Path(path.name))
    ]
    monkeypatch.chdir("/")
    for listening in every:
        listening.refresh()
        assert listening(NAME) == 0.05


def test_nothing_is_made_by_listening(tmp_path: Path) -> None:
    """Neither a file nor a table."""
    listening = StoreControls(tmp_path / "none.db")
    with pytest.raises(StoreNotFoundError):
        listening.refresh()
    assert list(tmp_path.iterdir()) == []
    assert listening("any") is None


@pytest.mark.parametrize(
    ("given", "options", "told"),
    [
        (None, {}, "reads a store: name it"),
        ("mysql://u:hunter2@h/d", {}, "can't be in a database of the kind 'mysql'"),
        ("x.db", {"every": 0}, "every is a number of seconds above 0, not 0"),
        ("x.db", {"every": float("nan")}, "every is a number of seconds above 0, not nan"),
        ("x.db", {"every": True}, "every is a number of seconds above 0, not True"),
    ],
)
def test_wrong_use_is_refused_when_made(
    monkeypatch: pytest.MonkeyPatch, given: Any, options: Any, told: str
) -> None:
    """With what is accepted; a password is not repeated."""
    monkeypatch.delenv("TWINRUN_STORE", raising=False)
    with pytest.raises(ConfigurationError, match=told) as raised:
        StoreControls(given, **options)
    assert "hunter2" not in str(raised.value)

"""`twinrun deliver`: from a spool into a store, once, whatever comes in between."""

from __future__ import annotations

import datetime
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import twinrun
from twinrun import recovery
from twinrun.cleaners import payload
from twinrun.cli import COULD_NOT_TELL, INTERRUPTED
from twinrun.cli import twinrun as program
from twinrun.spool import Spool
from twinrun.store import Store
from twinrun.store.incoming import record

if os.name != "posix":
    pytest.skip("a spool needs a POSIX system", allow_module_level=True)

NOW = datetime.datetime(2026, 3, 1, 8, 30, tzinfo=datetime.UTC)
PROGRAM = [sys.executable, "-c", "from twinrun.cli import run, twinrun; run(twinrun)"]


def evidence(count: int) -> list[bytes]:
    """Make records of so many mismatches of one group."""
    with twinrun.recording() as results:
        compared = twinrun.Experiment("totals", publishers=())
        for _ in range(count):
            compared.run(control=lambda: 7, candidate=lambda: 8)
    given = {"experiment": "totals", "recorded_at": NOW, "host": "web-1", "pid": 1, "release": None}
    return [record(payload(result), **given) for result in results]  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Name the directory of a spool."""
    return tmp_path / "spool"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Name a store."""
    return tmp_path / "twinrun.db"


def leave(folder: Path, records: Sequence[bytes]) -> None:
    """Leave records behind, as a process does that is gone."""
    spool = Spool(folder)
    assert spool.append(records) == len(records)
    spool.close()


def call(*arguments: object, **environment: str) -> Result:
    """Run the command line in this process, with no store in the environment."""
    given = {"TWINRUN_STORE": None, **environment}
    return CliRunner().invoke(program, ["deliver", *map(str, arguments)], env=given)


def stored(path: Path) -> int:
    """How many mismatches a store has counted."""
    with Store(path, create=False) as store:
        return sum(group.count for group in store.groups("totals"))


def left(folder: Path) -> list[str]:
    """The files in a spool's directory."""
    return sorted(path.name for path in folder.iterdir())


def test_what_a_dead_process_left_is_delivered(folder: Path, store: Path) -> None:
    """A killed process left it; afterwards it is in the store, and the spool is empty."""
    writer = (
        "import os, sys; from twinrun.spool import Spool; spool = Spool(sys.argv[1]);"
        "spool.append(sys.stdin.buffer.read().splitlines()); os.kill(os.getpid(), 9)"
    )
    given = b"\n".join(evidence(30))
    subprocess.run([sys.executable, "-c", writer, str(folder)], input=given, timeout=60)
    result = call(folder, "--store", store)
    assert result.output == f"30 records delivered to sqlite:///{store}.\n"
    assert result.exit_code == 0
    assert stored(store) == 30
    assert left(folder) == []


def test_delivering_again_changes_nothing(folder: Path, store: Path) -> None:
    """The same records, come twice, count once."""
    given = evidence(5)
    leave(folder, given)
    assert call(folder, "--store", store).exit_code == 0
    leave(folder, given)
    assert call(folder, TWINRUN_STORE=str(store)).exit_code == 0
    assert stored(store) == 5


def test_with_nothing_to_deliver_no_store_is_made(folder: Path, store: Path) -> None:
    """It says so, and that is no failure."""
    folder.mkdir()
    result = call(folder, "--store", store)
    text = f"Nothing to deliver: no dead process left records in {folder}.\n"
    assert (result.exit_code, result.output) == (0, text)
    assert not store.exists()
    assert left(folder) == []


def test_running_processes_keep_theirs(folder: Path, store: Path) -> None:
    """What a living spool holds is counted, and left to it."""
    running = Spool(folder)
    running.append(evidence(2))
    leave(folder, evidence(1))
    result = call(folder, "--store", store)
    assert result.output.splitlines() == [
        f"1 record delivered to sqlite:///{store}.",
        "1 file left to running processes, which deliver them.",
    ]
    assert len(running.read(10)) == 2
    running.close()
    assert call(folder, "--store", store).exit_code == 0
    assert stored(store) == 3


def test_records_that_can_not_be_read_are_set_aside(folder: Path, store: Path) -> None:
    """The others are delivered; those wait in `dead` for a twinrun that can read them."""
    good = evidence(3)
    leave(folder, [good[0], b"no JSON", good[1], b'{"version": 99}', b"[" * 100_000, good[2]])
    result = call(folder, "--store", store)
    assert result.exit_code == 0
    assert result.stdout == f"3 records delivered to sqlite:///{store}.\n"
    dead = folder / "dead"
    assert result.stderr == f"3 records can't be stored: set aside in {dead}.\n"
    assert stored(store) == 3
    for _ in range(2):
        again = call(dead, "--store", store)
        assert again.exit_code == 0
        assert again.stdout == f"0 records delivered to sqlite:///{store}.\n"
        assert again.stderr == result.stderr
        assert len(left(dead)) == 1, "they stay there"


def test_records_that_the_store_refuses_are_set_aside_if_it_takes_others(
    folder: Path, store: Path
) -> None:
    """A record that breaks its whole batch costs none of the others."""
    good = evidence(3)
    poison = good[1].replace(b'"pid":1', b'"pid":' + b"9" * 30)
    assert poison != good[1]
    leave(folder, [good[0], poison, good[2]])
    result = call(folder, "--store", store)
    assert "2 records delivered" in result.output
    assert "1 record can't be stored: set aside" in result.output
    assert stored(store) == 2


def test_a_store_that_takes_nothing_costs_no_record(folder: Path, store: Path) -> None:
    """Where every record fails, the fault is not the records'."""
    poison = evidence(1)[0].replace(b'"pid":1', b'"pid":' + b"9" * 30)
    leave(folder, [poison])
    result = call(folder, "--store", store)
    assert result.exit_code == COULD_NOT_TELL
    assert "The store takes no record" in result.output
    assert not (folder / "dead").exists()
    spool = Spool(folder)
    assert spool.adopt() == 1
    spool.close()


def test_damaged_records_are_told_of(folder: Path, store: Path) -> None:
    """A flipped bit costs the record that it is in."""
    leave(folder, evidence(3))
    [path] = folder.glob("*.segment")
    raw = bytearray(path.read_bytes())
    raw[100] ^= 1
    path.write_bytes(bytes(raw))
    result = call(folder, "--store", store)
    assert result.stdout == f"2 records delivered to sqlite:///{store}.\n"
    assert result.stderr == "1 record lost: damaged on the disk.\n"


def not_a_store(path: Path) -> None:
    """Put a file that is no database in the store's place."""
    path.write_bytes(b"no database at all" * 100)


def newer_store(path: Path) -> None:
    """Put a store of a later twinrun there."""
    with Store(path) as made:
        made.experiments()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE schema_version SET version = 99")
    connection.close()


def folder_in_its_place(path: Path) -> None:
    """Put a directory there."""
    path.mkdir()


@pytest.mark.parametrize("wrong", [not_a_store, newer_store, folder_in_its_place])
def test_an_unusable_store_costs_nothing(folder: Path, store: Path, wrong: object) -> None:
    """It is said what is wrong with it, and every record waits for the next try."""
    leave(folder, evidence(2))
    wrong(store)  # type: ignore[operator]
    result = call(folder, "--store", store)
    assert result.exit_code == COULD_NOT_TELL, result.output
    assert isinstance(result.exception, SystemExit)
    assert not (folder / "dead").exists()
    good = store.with_name("good.db")
    assert call(folder, "--store", good).exit_code == 0
    assert stored(good) == 2


def test_a_locked_store_is_waited_for_and_costs_nothing(
    folder: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another writer that holds it for too long is an error, and no record's fault."""
    from twinrun.store import _connections

    monkeypatch.setattr(_connections, "_BUSY_TIMEOUT", 0.01)
    leave(folder, evidence(2))
    with Store(store) as made:
        made.experiments()
    holder = sqlite3.connect(store, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    result = call(folder, "--store", store)
    holder.close()
    assert result.exit_code == COULD_NOT_TELL
    assert "The store can't be written: " in result.output
    assert "What is not delivered waits." in result.output
    assert call(folder, "--store", store).exit_code == 0
    assert stored(store) == 2


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda path: None, "There is no directory"),
        (Path.touch, "There is no directory"),
        (lambda path: (path.mkdir(), path.chmod(0o777)), "everybody may write to it"),
        (lambda path: path.symlink_to(path.parent), "it is a symbolic link"),
    ],
)
def test_a_wrong_directory_is_told_of(
    folder: Path, store: Path, make: object, complaint: str
) -> None:
    """What is missing, a file, a trap: one sentence, and nothing is made."""
    make(folder)  # type: ignore[operator]
    result = call(folder, "--store", store)
    assert result.exit_code == COULD_NOT_TELL
    assert complaint in result.output
    assert not store.exists()


def test_the_store_must_be_named(folder: Path) -> None:
    """Without one, it is wrong usage, and nothing is touched."""
    leave(folder, evidence(1))
    before = left(folder)
    result = call(folder)
    assert result.exit_code == 2
    assert "Which store?" in result.output
    assert left(folder) == before
    assert call().exit_code == 2


def test_help_has_examples() -> None:
    """The command says what it does and gives examples."""
    result = call("--help")
    assert result.exit_code == 0
    assert "twinrun deliver /var/spool/shop --store twinrun.db" in result.output


def test_an_interruption_waits_for_the_end_of_a_transaction(
    folder: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the middle of a write: what is written is reported, and the rest waits."""
    monkeypatch.setattr(recovery, "BATCH", 10)
    leave(folder, evidence(35))
    write = Store.write
    writes = 0

    def interrupted(self: Store, *arguments: object, **given: object) -> None:
        nonlocal writes
        writes += 1
        if writes == 2:
            os.kill(os.getpid(), signal.SIGINT)
        write(self, *arguments, **given)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "write", interrupted)
    with Store(store) as made:
        spool = Spool(folder)
        spool.adopt()
        with pytest.raises(KeyboardInterrupt):
            list(recovery.deliver(spool, made))
        assert spool.counts.delivered == 20
        spool.close()
    assert stored(store) == 20
    monkeypatch.undo()
    assert call(folder, "--store", store).output.startswith("15 records delivered")
    assert stored(store) == 35


def test_ctrl_c_ends_quietly_and_loses_nothing(folder: Path, store: Path) -> None:
    """A process that is interrupted while it delivers leaves the rest; in the end all is there."""
    template = json.loads(evidence(1)[0])
    leave(folder, [numbered(template, number) for number in range(4000)])
    with subprocess.Popen(
        [*PROGRAM, "deliver", str(folder), "--store", str(store)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        while running.poll() is None and not (store.exists() and store.stat().st_size):
            time.sleep(0.001)
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=60)
    assert running.returncode in (INTERRUPTED, 0)
    assert errors.strip() == b""
    assert call(folder, "--store", store).exit_code == 0
    assert left(folder) == []
    assert stored(store) == 4000


def numbered(template: dict[str, Any], number: int) -> bytes:
    """Make the record of another result."""
    return json.dumps({**template, "result": {**template["result"], "id": f"{number}"}}).encode()


def test_on_a_terminal_the_progress_is_shown(folder: Path, store: Path) -> None:
    """And only there: piped output holds the result alone."""
    pty = pytest.importorskip("pty")
    leave(folder, evidence(3))
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*PROGRAM, "deliver", str(folder), "--store", str(store)],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm"},
    ) as running:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:  # the other end is closed
            pass
        assert running.stdout is not None
        assert running.stdout.read() == f"3 records delivered to sqlite:///{store}.\n".encode()
    os.close(ours)
    assert running.returncode == 0
    assert b"Delivering" in shown

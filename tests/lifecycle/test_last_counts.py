"""What an exit loses is in the tally that it leaves in the store."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from twinrun.store import Store

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the ends are those of POSIX")

WATCHDOG = 60.0
EXIT = 2.0  # seconds that an exit may take, besides what the interpreter takes to start and end

PROGRAM = """
import multiprocessing, os, sys, threading, time
from twinrun import configure, experiment
from twinrun.publishers import Buffered, StorePublisher

def double(n):
    return 2 * n

def nearly_double(n):
    return 2 * n + 1

def hang(n):
    threading.Event().wait()

def stuck(result):
    threading.Event().wait()

def work(candidate, mode="inline"):
    made = experiment("last", candidate=candidate, mode=mode, breaker=None)(double)
    for n in range(10):
        assert made(n) == 2 * n
"""


def run(path: Path, program: str) -> float:
    """Run a program to its silent end; give the seconds from what it prints last to its end."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PROGRAM + program],
        cwd=path,
        capture_output=True,
        text=True,
        timeout=WATCHDOG,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return time.time() - float(done.stdout)


@pytest.mark.parametrize("mode", ["concurrent", "background"])
@pytest.mark.parametrize("process", ["the main one", "a child of multiprocessing"])
def test_runs_that_an_exit_gives_up_are_in_the_stored_tally(
    tmp_path: Path, mode: str, process: str
) -> None:
    """Candidates that hang, and what waits behind them, leave the store time to hear of it."""
    started = {
        "the main one": f"work(hang, {mode!r})",
        "a child of multiprocessing": f"""
child = multiprocessing.get_context("fork").Process(target=work, args=(hang, {mode!r}))
child.start()
child.join()
""",
    }
    took = run(
        tmp_path,
        f"""
configure(publishers=[StorePublisher("store.db")])
print(time.time(), flush=True)
{started[process]}
""",
    )
    assert took < EXIT + 3.0  # generous: the machine may be busy
    with Store(tmp_path / "store.db") as store:
        tally = store.tally("last")
    assert (tally.runs, tally.experiments, tally.skipped) == (10, 0, {"exit": 10})


def test_what_other_sinks_lose_at_an_exit_is_in_the_stored_tally(tmp_path: Path) -> None:
    """A sink that is stuck is given up in time for the store to hear what it had taken."""
    took = run(
        tmp_path,
        """
configure(publishers=[Buffered(stuck), StorePublisher("store.db"), Buffered(stuck)])
work(nearly_double)
print(time.time(), flush=True)
""",
    )
    assert took < EXIT + 3.0
    with Store(tmp_path / "store.db") as store:
        tally = store.tally("last")
        stored = sum(group.count for group in store.groups("last"))
    assert (tally.experiments, stored, tally.dropped) == (10, 10, {"exit": 20})


def test_a_delivery_that_was_closed_before_holds_up_no_exit(tmp_path: Path) -> None:
    """Its worker is gone: nobody waits for its last word."""
    took = run(
        tmp_path,
        """
from twinrun._delivery import exits

exits.EXIT_SECONDS = 3600
store = StorePublisher("store.db")
configure(publishers=[store])
work(nearly_double)
store.close()
print(time.time(), flush=True)
""",
    )
    assert took < WATCHDOG / 2
    with Store(tmp_path / "store.db") as read:
        assert read.tally("last").experiments == 10


def test_an_exit_that_loses_nothing_writes_nothing_twice(tmp_path: Path) -> None:
    """Asked for its last word, a store that has it all has nothing to say, at once."""
    took = run(
        tmp_path,
        """
from twinrun._delivery import exits

exits.EXIT_SECONDS = 3600
configure(publishers=[StorePublisher("store.db")])
work(double, "background")
work(nearly_double)
print(time.time(), flush=True)
""",
    )
    assert took < WATCHDOG / 2
    with Store(tmp_path / "store.db") as store:
        tally = store.tally("last")
    assert (tally.runs, tally.experiments, tally.skipped) == (20, 20, {})

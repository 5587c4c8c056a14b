"""A process that is killed, replaced, forked or stuck loses no more than what it may."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
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
import multiprocessing, os, signal, sys, threading, time
import twinrun
from twinrun import configure, experiment
from twinrun.publishers import Buffered, JSONLinesPublisher, StorePublisher

def double(n):
    return 2 * n

def nearly_double(n):
    return 2 * n + n % 2

def made(**options):
    return experiment("hard", **{"candidate": nearly_double, "breaker": None, **options})(double)
"""


def run(path: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, whichever that is."""
    return subprocess.run(
        # Python 3.12 warns of every fork that comes while there are threads.
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PROGRAM + program, *arguments],
        cwd=path,
        capture_output=True,
        text=True,
        timeout=WATCHDOG,
        check=False,
    )


def delivered(path: Path) -> int:
    """Deliver what lies in the spool, and give how many mismatches are stored."""
    command = [sys.executable, "-m", "twinrun", "deliver", "spool", "--store", "store.db"]
    subprocess.run(command, cwd=path, check=True, capture_output=True, timeout=WATCHDOG)
    with Store(path / "store.db") as store:
        return sum(group.count for group in store.groups("hard"))


HARD = {
    "SIGTERM": "os.kill(os.getpid(), signal.SIGTERM)",
    "SIGKILL": "os.kill(os.getpid(), signal.SIGKILL)",
    "os._exit": "os._exit(1)",
    "os.abort": "os.abort()",
    "execv": "os.execv(sys.executable, [sys.executable, '-c', 'pass'])",
}


@pytest.mark.parametrize("end", list(HARD))
def test_with_a_spool_nothing_that_was_accepted_is_lost_to_a_hard_end(
    tmp_path: Path, end: str
) -> None:
    """No handler and no hook runs there, but what was accepted is on disk."""
    program = f"""
import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
configure(publishers=[Buffered(StorePublisher("store.db"), spool="spool")])
hard = made()
for n in range(40):
    hard(n)
{HARD[end]}
"""
    run(tmp_path, program)
    assert delivered(tmp_path) == 20


def test_a_terminated_child_of_multiprocessing_leaves_its_records_in_the_spool(
    tmp_path: Path,
) -> None:
    """`Process.terminate()` is a SIGTERM that nobody handles."""
    program = """
def work(ready):
    for n in range(40):
        hard(n)
    ready.set()
    time.sleep(60)

configure(publishers=[Buffered(StorePublisher("store.db"), spool="spool")])
hard = made()
context = multiprocessing.get_context("fork")
ready = context.Event()
child = context.Process(target=work, args=(ready,))
child.start()
assert ready.wait(30)
child.terminate()
child.join()
"""
    ended = run(tmp_path, program)
    assert ended.returncode == 0, ended.stderr
    assert delivered(tmp_path) == 20


def kill_at_random(path: Path, trials: int, seed: int) -> None:
    """Kill a working process at any moment, again and again; all that it told of must be stored."""
    print("seed", seed)
    chance = random.Random(seed)
    program = """
configure(publishers=[Buffered(StorePublisher("store.db"), interval=0.01, spool="spool")])
hard = made()
n = 1
while True:
    hard(n)
    os.write(1, b".")
    n += 2
"""
    told = 0
    for trial in range(trials):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM + program], cwd=path, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        first = os.read(process.stdout.fileno(), 1)
        time.sleep(chance.random() * 0.1)
        process.kill()
        told += len(first + process.communicate(timeout=WATCHDOG)[0])
        if trial % 5 == 4 or trial == trials - 1:
            stored = delivered(path)
            assert told <= stored <= told + trial + 1  # one may be accepted and not yet told
    with contextlib.closing(sqlite3.connect(path / "store.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.soak
def test_a_thousand_processes_killed_at_any_moment_lose_nothing(tmp_path: Path) -> None:
    """The same at length."""
    kill_at_random(tmp_path, trials=1000, seed=random.randrange(1 << 32))


def test_a_process_killed_at_any_moment_loses_nothing_that_was_accepted(tmp_path: Path) -> None:
    """The store is whole, and each mismatch in it once."""
    kill_at_random(tmp_path, trials=5, seed=random.randrange(1 << 32))


@pytest.mark.parametrize("publisher", ["StorePublisher('missing/store.db')", "Buffered(stuck)"])
@pytest.mark.parametrize("candidate", ["nearly_double", "hang"])
def test_an_exit_waits_two_seconds_for_what_does_not_end_and_says_nothing(
    tmp_path: Path, publisher: str, candidate: str
) -> None:
    """A sink that is away or stuck and candidates that hang hold nobody up, on any thread."""
    program = f"""
import logging
logging.getLogger("twinrun").addHandler(logging.NullHandler())
logging.getLogger("twinrun").propagate = False  # the warning is not the matter here

def hang(n):
    threading.Event().wait()

def stuck(result):
    threading.Event().wait()

configure(publishers=[{publisher}])
for mode in ("concurrent", "background"):
    hard = made(candidate={candidate}, mode=mode)
    for n in range(20):
        hard(n)
print(time.time(), flush=True)
"""
    ended = run(tmp_path, program)
    over = time.time()
    assert (ended.returncode, ended.stderr) == (0, "")
    assert over - float(ended.stdout) < EXIT + 3.0  # generous: the machine may be busy


def test_a_daemon_that_closes_all_descriptors_goes_on_experimenting(tmp_path: Path) -> None:
    """It forks twice and closes everything from 3 up, among them what the spool had open."""
    program = """
configure(publishers=[Buffered(StorePublisher("store.db"), spool="spool")])
hard = made(mode="background")
for n in range(40):
    hard(n)
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    os.closerange(3, 1024)
    other = os.open("precious", os.O_CREAT | os.O_RDWR)  # gets a number that was the spool's
    for n in range(40):
        hard(n)
    assert twinrun.flush(30)
    os.rename("precious", "done")
    sys.exit()
os.wait()
"""
    ended = run(tmp_path, program)
    assert ended.returncode == 0, ended.stderr
    deadline = time.monotonic() + WATCHDOG
    while not (tmp_path / "done").exists():
        assert time.monotonic() < deadline, ended.stderr
        time.sleep(0.02)
    assert (tmp_path / "done").read_bytes() == b""
    assert delivered(tmp_path) == 40


def test_a_candidate_and_a_hook_may_fork(tmp_path: Path) -> None:
    """Their children deliver nothing of the parent's; a candidate's runs the control only."""
    program = """
def forking(n):
    if n == 3:
        child = os.fork()
        if child == 0:
            assert inside(1) == 2
            skipped = twinrun.tallies()["inside"].skipped
            os._exit(0 if twinrun.flush(30) and skipped == {"reentry": 1} else 1)
        assert os.waitpid(child, 0)[1] == 0
    return 2 * n + 1

def after_run(result):
    child = os.fork()
    if child == 0:
        os._exit(0 if twinrun.flush(30) else 1)
    assert os.waitpid(child, 0)[1] == 0

configure(publishers=[StorePublisher("store.db")])
inside = experiment("inside", candidate=nearly_double)(double)
for mode in ("inline", "background"):
    hard = made(candidate=forking, mode=mode, after_run=after_run)
    for n in range(5):
        hard(n)
    assert twinrun.flush(30)
"""
    ended = run(tmp_path, program)
    assert (ended.returncode, ended.stderr) == (0, "")
    with Store(tmp_path / "store.db") as store:
        assert [group.count for group in store.groups("hard")] == [10]
        assert store.tally("hard").experiments == 10


def test_a_spawned_child_that_only_makes_experiments_starts_nothing(tmp_path: Path) -> None:
    """Neither a thread nor a file nor a socket: it may be one that never runs them."""
    (tmp_path / "spawned.py").write_text(
        PROGRAM
        + """
configure(publishers=[Buffered(StorePublisher("store.db"), spool="spool")])
EXPERIMENTS = [made(mode=mode, timeout=1) for mode in ("inline", "concurrent", "background")]

def look():
    import _thread
    assert threading.active_count() + _thread._count() == 1, threading.enumerate()
    names = {os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd") if
             os.path.exists(f"/proc/self/fd/{n}")}
    assert not [n for n in names if "store.db" in n or "spool" in n or "socket" in n], names
    assert not os.path.exists("store.db") and not os.path.exists("spool")
"""
    )
    program = """
import spawned
process = multiprocessing.get_context("spawn").Process(target=spawned.look)
process.start()
process.join()
sys.exit(process.exitcode)
"""
    ended = run(tmp_path, program)
    assert ended.returncode == 0, ended.stderr

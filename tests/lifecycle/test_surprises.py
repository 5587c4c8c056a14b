"""Debugging modes, quick thread switches, gevent and forks change nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from twinrun.store import Store

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="these are surprises of POSIX")

WATCHDOG = 120.0
MODES = ("inline", "concurrent", "background")

PROGRAM = """
import asyncio, os, signal, sys, threading
import twinrun
from twinrun import configure, experiment
from twinrun.publishers import Buffered, StorePublisher

MODES = ("inline", "concurrent", "background")

def double(n):
    return 2 * n

def nearly_double(n):
    return 2 * n + n % 2

async def adouble(n):
    return 2 * n

async def nearly_adouble(n):
    return 2 * n + n % 2

def doubles(**options):
    return [
        experiment(mode, candidate=nearly_double, mode=mode, breaker=None, **options)(double)
        for mode in MODES
    ]

def adoubles(**options):
    return [
        experiment("a" + mode, candidate=nearly_adouble, mode=mode, **options)(adouble)
        for mode in MODES
    ]
"""

ALL = """
configure(publishers=[Buffered(StorePublisher("store.db"), spool="spool")])
DOUBLES, ADOUBLES = doubles(timeout=30), adoubles(timeout=30)

def work(times):
    for n in range(times):
        for each in DOUBLES:
            assert each(n) == 2 * n

async def awork(times):
    for n in range(times):
        for each in ADOUBLES:
            assert await each(n) == 2 * n
    assert await twinrun.aflush(30)

work(20)
asyncio.run(awork(20))
"""


def run(path: Path, program: str, *options: str, **environment: str) -> str:
    """Run a program that must end well and say nothing on stderr; give what it printed."""
    ended = subprocess.run(
        [sys.executable, *options, "-c", PROGRAM + program],
        cwd=path,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=WATCHDOG,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def stored(path: Path) -> dict[str, tuple[int, int]]:
    """Give runs and mismatches of each experiment."""
    with Store(path / "store.db") as store:
        return {
            each.name: (
                store.tally(each.name).experiments,
                sum(group.count for group in store.groups(each.name)),
            )
            for each in store.experiments()
        }


@pytest.mark.parametrize(
    ("options", "environment"),
    [
        (("-X", "dev", "-W", "error"), {}),
        ((), {"PYTHONMALLOC": "debug", "PYTHONWARNINGS": "error"}),
    ],
    ids=["dev", "malloc"],
)
def test_development_mode_finds_nothing_to_say(
    tmp_path: Path, options: tuple[str, ...], environment: dict[str, str]
) -> None:
    """Neither a ResourceWarning nor a word on stderr, in any mode, to the very end."""
    run(tmp_path, ALL, *options, **environment)
    assert stored(tmp_path) == {f"{a}{mode}": (20, 10) for a in ("", "a") for mode in MODES}


def test_no_count_is_lost_where_threads_switch_all_the_time(tmp_path: Path) -> None:
    """Eight threads at a switch interval of 1 µs, in every mode: each run is counted once."""
    program = """
configure(publishers=[StorePublisher("store.db")], queue=100_000)
DOUBLES = doubles()
sys.setswitchinterval(1e-6)

def work():
    for n in range(200):
        for each in DOUBLES:
            assert each(n) == 2 * n

threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
sys.setswitchinterval(0.005)
assert twinrun.flush(60)
for mode in MODES:
    tally = twinrun.tallies()[mode]
    assert (tally.runs, tally.experiments, tally.dropped) == (1600, 1600, {}), tally
"""
    run(tmp_path, program)
    assert stored(tmp_path) == dict.fromkeys(MODES, (1600, 800))


def test_forks_under_load_neither_hang_nor_lose_nor_double(tmp_path: Path) -> None:
    """Busy pools, queues and pending records: each child delivers its own, the parent its own."""
    program = """
configure(publishers=[Buffered(StorePublisher("store.db"), interval=0.02)], queue=100_000)
DOUBLES = doubles()
FORKS, over, counts = 25, threading.Event(), []

def spam():
    n = 0
    while not over.wait(0.001):
        for each in DOUBLES:
            assert each(n) == 2 * n
        n += 1
    counts.append(n)

threads = [threading.Thread(target=spam) for _ in range(2)]
for thread in threads:
    thread.start()
for _ in range(FORKS):
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        for n in range(4):
            for each in DOUBLES:
                assert each(n) == 2 * n
        done = twinrun.flush(50)
        os._exit(0 if done else 7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
over.set()
for thread in threads:
    thread.join()
assert twinrun.flush(60)
print(sum(counts) + 4 * FORKS, sum(n // 2 for n in counts) + 2 * FORKS)
"""
    quiet = ("-W", "ignore::DeprecationWarning")  # Python 3.12 warns of forks beside threads
    runs, mismatches = map(int, run(tmp_path, program, *quiet).split())
    assert stored(tmp_path) == dict.fromkeys(MODES, (runs, mismatches))


@pytest.mark.parametrize("when", ["before", "after"])
def test_gevent_may_patch_before_or_after_the_import(tmp_path: Path, when: str) -> None:
    """Greenlets run experiments in all modes, and a timeout aimed at one of them arrives."""
    program = """
import gevent

configure(publishers=[StorePublisher("store.db")])
DOUBLES = doubles()

def work():
    for n in range(20):
        for each in DOUBLES:
            assert each(n) == 2 * n
        gevent.sleep(0)

gevent.joinall([gevent.spawn(work) for _ in range(4)], raise_error=True)
slow = experiment("slow", candidate=lambda: gevent.sleep(60))(lambda: 1)
try:
    with gevent.Timeout(0.05):
        while True:
            slow()
            gevent.sleep(0)
    raise AssertionError("the timeout was kept from its caller")
except gevent.Timeout:
    pass
assert twinrun.flush(30)
"""
    patch = "from gevent import monkey; monkey.patch_all()\n"
    script = patch + PROGRAM if when == "before" else PROGRAM + patch
    ended = subprocess.run(
        [sys.executable, "-c", script + program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=WATCHDOG,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    found = stored(tmp_path)
    found.pop("slow", None)
    assert found == dict.fromkeys(MODES, (80, 40))

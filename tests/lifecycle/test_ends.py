"""However a process ends, what it accepted is delivered once, or counted where that can't be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from twinrun import Outcome
from twinrun.store import Store

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the ends are those of POSIX")

WATCHDOG = 60.0
RUNS = 40  # in each process that works; every second one mismatches

PROGRAM = """
import atexit, concurrent.futures, multiprocessing, os, signal, sys, threading
from twinrun import configure, experiment
from twinrun.publishers import StorePublisher

configure(publishers=[StorePublisher(sys.argv[1])])

def double(n):
    return 2 * n

DOUBLES = [
    experiment(name, candidate=lambda n: 2 * n + n % 2, mode=name, breaker=None)(double)
    for name in ("inline", "background")
]

def work(_=None):
    for n in range(RUNS):
        for each in DOUBLES:
            assert each(n) == 2 * n

def work_and_fork():
    work()
    child = os.fork()
    if child == 0:
        work()
        sys.exit()
    os.waitpid(child, 0)

def in_process(method):
    process = multiprocessing.get_context(method).Process(target=work)
    process.start()
    process.join()
    assert process.exitcode == 0

def in_pool(method):
    pool = multiprocessing.get_context(method).Pool(1)
    pool.apply(work)
    pool.close()
    pool.join()

def in_executor(method):
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(1, context) as executor:
        executor.submit(work).result()

if __name__ == "__main__":
    END
"""

# What ends the process, how often `work` ran, and the exit status.
ENDS = {
    "falling off the end": ("work()", 1, 0),
    "sys.exit": ("work(); sys.exit(3)", 1, 3),
    "an exception": ("work(); 1 / 0", 1, 1),
    "SIGINT": ("work(); os.kill(os.getpid(), signal.SIGINT)", 1, -signal.SIGINT),
    "SIGTERM with a handler": (
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); work(); "
        "os.kill(os.getpid(), signal.SIGTERM)",
        1,
        0,
    ),
    "sys.exit in a thread": (
        "t = threading.Thread(target=lambda: (work(), sys.exit(3))); t.start(); t.join()",
        1,
        0,
    ),
    "a thread that outlives the main one": ("threading.Thread(target=work).start()", 1, 0),
    "an exit handler of the application": ("atexit.register(work)", 1, 0),
    "a fork": ("work_and_fork()", 2, 0),
    "a fork of a fork": ("work(); os.fork() or (os.fork(), work(), sys.exit()); os.wait()", 3, 0),
    **{
        f"{name} by {method}": (f"work(); {function}({method!r})", 2, 0)
        for name, function in [
            ("a process", "in_process"),
            ("a pool", "in_pool"),
            ("an executor", "in_executor"),
        ]
        for method in ("fork", "forkserver", "spawn")
    },
}


def run(path: Path, end: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the program in a process group of its own, and wait for all of it."""
    script = path / "program.py"
    script.write_text(PROGRAM.replace("END", end).replace("RUNS", str(RUNS)))
    command = [sys.executable, *options, str(script), str(path / "store.db")]
    return subprocess.run(command, capture_output=True, text=True, timeout=WATCHDOG, check=False)


@pytest.mark.parametrize("end", list(ENDS))
def test_every_run_is_counted_and_every_mismatch_stored_once(tmp_path: Path, end: str) -> None:
    """By every way to end that lets a process finish, and in the children of every kind."""
    text, times, status = ENDS[end]
    ended = run(tmp_path, text)
    assert ended.returncode == status, ended.stderr
    with Store(tmp_path / "store.db") as store:
        for mode in ("inline", "background"):
            tally = store.tally(mode)
            runs = times * RUNS
            assert (tally.runs, tally.dropped) == (runs, {}), ended.stderr
            # Threads that do not run yet can't be started by exit handlers, from Python 3.12 on.
            if end != "an exit handler of the application" or sys.version_info < (3, 12):
                assert tally.experiments == runs, ended.stderr
            mismatched = tally.outcomes.get("candidate", {}).get(Outcome.MISMATCHED, 0)
            assert mismatched == tally.experiments // 2
            assert sum(group.count for group in store.groups(mode)) == mismatched

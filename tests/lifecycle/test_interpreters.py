"""Several interpreters and several copies of twinrun in one process; and one process only."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from twinrun.store import Store

WATCHDOG = 120.0
MODES = ("inline", "concurrent", "background")

PROGRAM = """
import sys
import twinrun
from twinrun import experiment
from twinrun.publishers import JSONLinesPublisher, StorePublisher

MODES = ("inline", "concurrent", "background")

def double(n):
    return 2 * n

def nearly_double(n):
    return 2 * n + n % 2

def doubles(prefix="", **options):
    return [
        experiment(prefix + mode, candidate=nearly_double, mode=mode, **options)(double)
        for mode in MODES
    ]
"""


def run(path: Path, program: str, *arguments: str) -> str:
    """Run a program that must end well and say nothing on stderr; give what it printed."""
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM + textwrap.dedent(program), *arguments],
        cwd=path,
        capture_output=True,
        text=True,
        timeout=WATCHDOG,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


@pytest.mark.skipif(
    sys.version_info[:2] == (3, 12), reason="hashlib in a subinterpreter ends Python 3.12"
)
def test_a_subinterpreter_that_allows_no_threads_of_ours_experiments_inline(
    tmp_path: Path,
) -> None:
    """Its candidates off the caller's path are skipped, and a flush delivers what there is."""
    inside = """
    twinrun.configure(publishers=[JSONLinesPublisher("lines.jsonl")])
    every = doubles()
    for n in range(20):
        for each in every:
            assert each(n) == 2 * n
    assert twinrun.flush(30)
    skipped = [dict(twinrun.tallies()[mode].skipped) for mode in MODES]
    assert skipped == [{}, {"no thread": 20}, {"no thread": 20}], skipped
    with open("lines.jsonl") as file:
        assert len(file.readlines()) == 10
    print("done", flush=True)
    """
    program = """
    if sys.version_info >= (3, 13):
        import _interpreters
        interpreter = _interpreters.create("isolated")
        failed = _interpreters.exec(interpreter, sys.argv[1])
        assert failed is None, failed.formatted
        _interpreters.destroy(interpreter)
    else:
        import _xxsubinterpreters
        interpreter = _xxsubinterpreters.create()
        _xxsubinterpreters.run_string(interpreter, sys.argv[1])
        _xxsubinterpreters.destroy(interpreter)
    """
    assert run(tmp_path, program, PROGRAM + textwrap.dedent(inside)) == "done\n"


def test_two_copies_in_one_process_do_not_meet(tmp_path: Path) -> None:
    """As after a reloading of modules: each counts, delivers and ends for itself."""
    program = """
    twinrun.configure(publishers=[StorePublisher("store.db")])
    every = doubles("first ")
    first = sys.modules["twinrun"]
    for name in [name for name in sys.modules if name.partition(".")[0] == "twinrun"]:
        del sys.modules[name]
    import twinrun
    from twinrun import experiment
    from twinrun.publishers import StorePublisher
    assert twinrun is not first
    twinrun.configure(publishers=[StorePublisher("store.db")])
    every += doubles("second ")
    for n in range(20):
        for each in every:
            assert each(n) == 2 * n
    for copy in (first, twinrun):
        assert set(copy.tallies()) == {
            f"{'first' if copy is first else 'second'} {mode}" for mode in MODES
        }
    """
    run(tmp_path, program)
    with Store(tmp_path / "store.db") as store:
        found = {
            each.name: (
                store.tally(each.name).experiments,
                sum(group.count for group in store.groups(each.name)),
            )
            for each in store.experiments()
        }
    assert found == {f"{copy} {mode}": (20, 10) for copy in ("first", "second") for mode in MODES}


def test_no_process_is_ever_started(tmp_path: Path) -> None:
    """So that none can crash, run out of memory, or be left behind when its parent is killed."""
    program = """
    from twinrun.publishers import Buffered
    started = []
    def hear(event, arguments):
        if event.partition(".")[0] in ("subprocess", "pty") or event in (
            "os.fork", "os.forkpty", "os.exec", "os.posix_spawn", "os.spawn", "os.system"
        ):
            started.append(event)
    sys.addaudithook(hear)
    twinrun.configure(publishers=[
        Buffered(StorePublisher("store.db"), spool="spool"), JSONLinesPublisher("lines.jsonl")
    ])
    every = doubles(timeout=10)
    for n in range(20):
        for each in every:
            assert each(n) == 2 * n
    assert twinrun.flush(30)
    assert started == []
    import os
    os.system("true")
    assert started == ["os.system"]
    """
    run(tmp_path, program)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit is that of Linux")
def test_a_candidate_that_finds_no_memory_has_raised(tmp_path: Path) -> None:
    """Where the system refuses it; where it kills the process instead, a spool keeps what was."""
    program = """
    import resource
    twinrun.configure(publishers=())
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + (1 << 30), resource.RLIM_INFINITY))
    for mode in MODES:
        with twinrun.recording() as results:
            made = experiment(mode, candidate=lambda n: bytearray(n), mode=mode)(lambda n: n)
            assert made(1 << 40) == 1 << 40
            assert twinrun.flush(30)
        (result,) = results
        (comparison,) = result.comparisons
        assert type(comparison.candidate.exception) is MemoryError
        assert comparison.outcome == twinrun.Outcome.MISMATCHED
    """
    run(tmp_path, program)

"""A disk that is full costs evidence, exactly counted, and nothing else; then all goes on."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from twinrun.store import Store

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the disks are those of POSIX")

WATCHDOG = 120.0

PROGRAM = """
import logging, os, resource, sys, time
import twinrun
from twinrun import configure, experiment
from twinrun.publishers import Buffered, JSONLinesPublisher, StorePublisher

logging.getLogger("twinrun").addHandler(logging.NullHandler())
logging.getLogger("twinrun").propagate = False  # what is logged of it is not the matter here
MODES = ("inline", "concurrent", "background")

def double(n):
    return 2 * n

def nearly_double(n):
    return 2 * n + n % 2

def call(numbers):
    for n in numbers:
        for each in DOUBLES:
            assert each(n) == 2 * n

def limit():
    largest = max((os.path.getsize(each.path) for each in os.scandir(".") if each.is_file()))
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))

def lift():
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)

def fill():
    with open("filler", "wb", buffering=0) as file:
        for size in (65536, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                pass

def clear():
    os.unlink("filler")
"""

SINKS = {
    "store": "Buffered(StorePublisher('store.db'), capacity=50, interval=0.02)",
    "spool": "Buffered(StorePublisher('store.db'), capacity=50, interval=0.02, spool='spool')",
    "lines": "Buffered(JSONLinesPublisher('lines'), capacity=50, interval=0.02)",
}


@pytest.fixture(params=["no space is left", "no file may grow"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, str, str]]:
    """Give a directory, and what makes its disk full and takes that back."""
    if request.param == "no file may grow":
        yield tmp_path, "limit()", "lift()"
        return
    options = ["-t", "tmpfs", "-o", "size=2m,mode=0700", "none", str(tmp_path)]
    if os.geteuid() or not shutil.which("mount") or subprocess.run(["mount", *options]).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield tmp_path, "fill()", "clear()"
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def is_json(line: str) -> bool:
    """Whether a line is whole; one may have broken off, and was then written anew."""
    with contextlib.suppress(ValueError):
        return isinstance(json.loads(line), dict)
    return False


@pytest.mark.parametrize("sink", list(SINKS))
def test_a_full_disk_costs_what_is_counted_and_the_caller_nothing(
    disk: tuple[Path, str, str], sink: str
) -> None:
    """From the call to the sink and back to normal, in one process, in every mode."""
    place, begin, end = disk
    program = f"""
    publisher = {SINKS[sink]}
    configure(publishers=[publisher], queue=100_000)
    DOUBLES = [
        experiment(mode, candidate=nearly_double, mode=mode, breaker=None)(double) for mode in MODES
    ]
    call(range(20))
    assert twinrun.flush(60)
    assert publisher.counts.delivered == 30
    {begin}
    call(range(200))
    assert not twinrun.flush(1)
    {end}
    over = time.monotonic()
    while not publisher.flush(60):  # false after a loss, once
        assert time.monotonic() - over < 60, publisher.counts
    took = time.monotonic() - over
    call(range(20))
    assert twinrun.flush(60)
    counts = publisher.counts
    lost = sum(counts.dropped.values()) + sum(counts.evicted.values())
    assert counts.handed_over == 30 + 300 + 30 == counts.delivered + lost, counts
    tallies = [twinrun.tallies()[mode] for mode in MODES]
    assert [each.experiments for each in tallies] == [240] * 3
    assert sum(sum(each.dropped.values()) for each in tallies) == lost
    print(counts.delivered, took)
    """
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM + textwrap.dedent(program)],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=WATCHDOG,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    delivered, took = ended.stdout.split()
    assert float(took) < 2.0 + 8.0  # two seconds; the machine may be busy
    if sink == "lines":
        whole = [line for line in (place / "lines").read_text().splitlines() if is_json(line)]
        assert len(whole) == int(delivered)
        return
    with Store(place / "store.db") as store:
        groups = [group for each in store.experiments() for group in store.groups(each.name)]
        assert sum(group.count for group in groups) == int(delivered)
        assert [store.tally(each.name).experiments for each in store.experiments()] == [240] * 3
    with contextlib.closing(sqlite3.connect(place / "store.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

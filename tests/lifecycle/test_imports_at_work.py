"""Threads of ours import nothing: after a fork in the middle of it, it never ends in the child."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, sys, threading
import twinrun
from twinrun import configure, experiment
from twinrun.publishers import JSONLinesPublisher, StorePublisher

MAKE

def control(n):
    if n == 3:
        raise ValueError("control")
    return {"a": [n, 1.5], "password": "secret"}

def candidate(n):
    if n % 2:
        raise LookupError("candidate")
    return {"a": [n, n + 2.5], "b": "text"}

both = experiment("imports.both", candidate=candidate, mode="background", breaker=None)(control)
before = set(sys.modules)
for n in range(6):
    try:
        both(n)
    except ValueError:
        pass
assert twinrun.flush(30)
print(*sorted(set(sys.modules) - before))
"""


@pytest.mark.parametrize(
    "make",
    [
        "configure(publishers=[StorePublisher('store.db')])",
        "configure(publishers=[JSONLinesPublisher('lines')])",
        "configure(publishers=[StorePublisher('missing/store.db')]); twinrun.flush = lambda _: "
        "(twinrun.settings.flush(1), True)",
        "configure(publishers=None)",
        "configure(publishers=[print])",
    ],
    ids=["store", "lines", "failing store", "log", "failing callable"],
)
def test_off_the_callers_path_nothing_is_imported(tmp_path: Path, make: str) -> None:
    """Not even by the first mismatch, exception or failure: all is loaded when things are made."""
    program = PROGRAM.replace("MAKE", make)
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == ""

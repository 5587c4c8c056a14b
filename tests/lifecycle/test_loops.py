"""An event loop that ends with candidates under way ends as if there were none."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, sys
import twinrun
from twinrun import experiment

async def candidate(n):
    await asyncio.sleep(3600)

@experiment("loops", candidate=candidate, mode=sys.argv[1], publishers=())
async def control(n):
    return n

async def main():
    for n in range(20):
        assert await control(n) == n

asyncio.run(main())
assert twinrun.flush(30)
tally = twinrun.tallies()["loops"]
print(tally.runs, tally.experiments, tally.skipped)
"""


@pytest.mark.parametrize("mode", ["concurrent", "background"])
def test_asyncio_run_ends_with_tasks_under_way(mode: str) -> None:
    """They are cancelled with the loop and counted; nothing is said and nothing waits."""
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", PROGRAM, mode]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.strip() == "20 0 {'loop closed': 20}"

"""Whatever happens in whichever order, callers get their outcomes and the counts add up."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this chaos is one of POSIX")

WATCHDOG = 120.0

PROGRAM = """
import asyncio, os, random, signal, sys
import twinrun
from twinrun import configure, experiment
from twinrun.publishers import Buffered

class Trouble(Exception):
    pass

class Sink:
    def __init__(self):
        self.mood, self.taken = "well", []

    def record(self, result):
        if self.mood == "no record":
            raise Trouble
        return f'{{"id": "{result.id}", "experiment": "chaos"}}'.encode()

    def deliver(self, records):
        while records:
            if self.mood == "down" or (self.mood == "shaky" and random.random() < 0.3):
                raise Trouble
            self.taken.append(records[0])
            del records[0]

def now_and_then(value):
    def hook(*_):
        if chance.random() < 0.1:
            raise chance.choice([Trouble, SystemExit, GeneratorExit])
        return value
    return hook

def candidate(n):
    if n % 7 == 0:
        raise Trouble
    if n % 11 == 0:
        sys.exit(3)
    return 2 * n + n % 2

def made(mode, spool):
    return experiment(
        "chaos", candidate=candidate, mode=mode, breaker=None, publishers=[spool],
        run_if=now_and_then(True), before_run=now_and_then(None), after_run=now_and_then(None),
        context=now_and_then({}), clean=now_and_then(1), ignore=now_and_then(False),
        on_failure=now_and_then(None),
    )

def check(calls, buffered, sink):
    assert twinrun.flush(30) or sum(buffered.counts.evicted.values())
    tally = twinrun.tallies().get("chaos", twinrun.Tally())
    judged = sum(tally.outcomes.get("candidate", {}).values())
    assert tally.runs == calls, (tally.runs, calls)
    assert calls == sum(tally.skipped.values()) + tally.experiments, tally
    assert judged == tally.experiments, tally
    counts = buffered.counts
    handed = tally.experiments - tally.failures.get("publish", 0)
    assert counts.handed_over == handed, (counts, tally)
    gone = counts.delivered + counts.spooled + counts.pending + sum(counts.evicted.values())
    assert counts.accepted + counts.adopted == gone, counts
    ids = set(sink.taken)
    assert len(ids) == len(sink.taken) == counts.delivered, counts

def chaos(seed, steps, depth=0):
    global chance
    chance = random.Random(seed)
    calls = 0
    for _ in range(steps):
        step = chance.random()
        if step < 0.86:
            double = doubles[chance.randrange(len(doubles))]
            n = chance.randrange(100)
            assert double(n) == 2 * n
            calls += 1
        elif step < 0.92:
            sink.mood = chance.choice(["well", "down", "shaky", "no record"])
        elif step < 0.95:
            twinrun.flush(chance.choice([0, 0.01]))
        elif step < 0.98:
            configure(workers=chance.randint(1, 6), queue=chance.choice([1, 10, 1000]))
        elif depth < 2:
            child = os.fork()
            if child == 0:
                signal.alarm(100)
                sink.taken, code = [], 1
                try:
                    chaos(seed + calls + 1, steps // 4, depth + 1)
                    code = 0
                finally:
                    if code:
                        import traceback; traceback.print_exc()
                    os._exit(code)
            if chance.random() < 0.3:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
            else:
                assert os.waitpid(child, 0)[1] == 0, "a child failed"
    sink.mood = "well"
    check(calls, buffered, sink)

chance = random.Random(0)
sink = Sink()
spool = sys.argv[3] if len(sys.argv) > 3 else None
buffered = Buffered(sink, interval=0.02, batch=7, capacity=200, spool=spool)
configure(publishers=[])
doubles = [made(mode, buffered)(lambda n: 2 * n) for mode in ("inline", "concurrent", "background")]
chaos(int(sys.argv[1]), int(sys.argv[2]))
"""


def wreak(path: Path, steps: int, seed: int) -> None:
    """Run so many steps of chaos, in memory."""
    print("seed", seed)
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(seed), str(steps)],
        cwd=path,
        capture_output=True,
        text=True,
        timeout=WATCHDOG,
        check=False,
    )
    assert ended.returncode == 0, (seed, ended.stderr[-3000:])


def test_the_counts_add_up_after_any_chaos(tmp_path: Path) -> None:
    """Faults of hooks and sinks, flushes, forks, kills and settings, in an order of chance."""
    for _ in range(3):
        wreak(tmp_path, steps=300, seed=random.randrange(1 << 32))


@pytest.mark.soak
def test_the_counts_add_up_after_much_chaos(tmp_path: Path) -> None:
    """The same at length."""
    for _ in range(100):
        wreak(tmp_path, steps=1000, seed=random.randrange(1 << 32))

"""`import twinrun` loads a declared set of modules, and does nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest

import twinrun

# What a bare interpreter loads, it loads anyway; attrs is the one dependency that is always needed.
PROGRAM = """
import json, sys, _thread
sys.path[:0] = sys.argv[1:]
import attrs
before = set(sys.modules)
events = []
sys.addaudithook(lambda event, args: events.append((event, [str(a) for a in args])))
import twinrun
seen, loaded = list(events), sorted(set(sys.modules) - before)
import threading
print(json.dumps({
    "loaded": loaded, "events": seen, "threads": threading.active_count() + _thread._count(),
}))
"""

OURS: set[str] = {
    "twinrun",
    "twinrun._accounts",
    "twinrun._breaker",
    "twinrun._forks",
    "twinrun._kinds",
    "twinrun._pickling",
    "twinrun._restraint",
    "twinrun._measured",
    "twinrun._runner",
    "twinrun._runner.arguments",
    "twinrun._runner.background",
    "twinrun._runner.behaviours",
    "twinrun._runner.breaking",
    "twinrun._runner.choice",
    "twinrun._runner.circumstances",
    "twinrun._runner.containment",
    "twinrun._runner.endings",
    "twinrun._runner.gates",
    "twinrun._runner.handover",
    "twinrun._runner.inline",
    "twinrun._runner.isolation",
    "twinrun._runner.ignoring",
    "twinrun._runner.judging",
    "twinrun._runner.pairing",
    "twinrun._runner.pending",
    "twinrun._runner.pool",
    "twinrun._runner.quick",
    "twinrun._runner.rechecking",
    "twinrun._runner.recipe",
    "twinrun._runner.reporting",
    "twinrun._runner.scope",
    "twinrun._runner.steps",
    "twinrun._runner.templates",
    "twinrun._types",
    "twinrun._steering",
    "twinrun._threads",
    "twinrun._wakeups",
    "twinrun.comparators",
    "twinrun.comparators._alignment",
    "twinrun.comparators._content",
    "twinrun.comparators._fields",
    "twinrun.comparators._glances",
    "twinrun.comparators._items",
    "twinrun.comparators._libraries",
    "twinrun.comparators._parts",
    "twinrun.comparators._rules",
    "twinrun.comparators._shapes",
    "twinrun.comparators._verdicts",
    "twinrun.comparators.equality",
    "twinrun.comparators.raised",
    "twinrun.comparators.structural",
    "twinrun.definition",
    "twinrun.difference",
    "twinrun.errors",
    "twinrun.fingerprints",
    "twinrun.histogram",
    "twinrun.ignores",
    "twinrun.observation",
    "twinrun.paired",
    "twinrun.patterns",
    "twinrun.result",
    "twinrun.samplers",
    "twinrun.settings",
    "twinrun.tally",
    "twinrun.tracebacks",
    "twinrun.typing",
}

STANDARD_LIBRARY: set[str] = {
    "bisect",
    "contextvars",
    "datetime",
    "math",
    "pickle",
    "random",
    "struct",
}

NEVER = {
    "asyncio",
    "click",
    "concurrent.futures",
    "logging",
    "multiprocessing",
    "numpy",
    "pandas",
    "rich",
    "socket",
    "sqlalchemy",
    "sqlite3",
    "statsd",
    "structlog",
}

# What importing itself does: it looks for files, reads them and runs them.
IMPORTING = {"import", "open", "compile", "exec", "marshal.loads", "os.listdir"}
IMPORTING |= {
    "sys._getframe",
    "sys._getframemodulename",
    "object.__setattr__",
    "object.__getattr__",
}


@pytest.fixture(scope="module")
def footprint() -> Any:
    """What an isolated interpreter without site-packages' start-up code saw of the import."""
    paths = [str(Path(module.__file__).parents[1]) for module in (twinrun, attrs)]  # type: ignore[arg-type]
    command = [sys.executable, "-I", "-S", "-B", "-c", PROGRAM, *paths]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return json.loads(done.stdout)


def test_exactly_the_declared_modules_of_twinrun_are_loaded(footprint: Any) -> None:
    """The reading wing, the store and the sinks stay out until they are used."""
    loaded = {name for name in footprint["loaded"] if name.split(".")[0] == "twinrun"}
    assert loaded == OURS


def test_exactly_the_declared_modules_of_others_are_loaded(footprint: Any) -> None:
    """Beside attrs, nothing but the declared part of the standard library is needed."""
    others = {name for name in footprint["loaded"] if name.split(".")[0] != "twinrun"}
    public = {name for name in others if not name.startswith("_")}
    assert public == STANDARD_LIBRARY
    assert {name.split(".")[0] for name in others} <= sys.stdlib_module_names


@pytest.mark.parametrize("name", sorted(NEVER))
def test_what_is_costly_stays_out(footprint: Any, name: str) -> None:
    """No sink, database, event loop or extra is loaded by the import, nor a part of it."""
    assert [m for m in footprint["loaded"] if m == name or m.startswith(f"{name}.")] == []


def test_no_thread_is_started(footprint: Any) -> None:
    """Only the main thread exists after the import."""
    assert footprint["threads"] == 1
    started = [event for event, _ in footprint["events"] if event.startswith("_thread.start")]
    assert started == []


def test_nothing_is_opened_but_code(footprint: Any) -> None:
    """No socket, process or database, and no file but modules, which are only read."""
    assert {event for event, _ in footprint["events"]} <= IMPORTING
    opened = [args for event, args in footprint["events"] if event == "open"]
    assert opened, "the hook saw nothing at all"
    for path, mode, _ in opened:
        assert mode in {"r", "rb"}, path
        assert Path(path).suffix in {".py", ".pyc", ".so"}, path

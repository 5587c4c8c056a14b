"""What `import twinrun` costs in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys
import tempfile

from benchmarks.measuring import Effort, Row, row_of

__all__ = ["rows"]

_PROGRAM = """
import sys, time
started = time.perf_counter()
__import__(sys.argv[1])
print(time.perf_counter() - started)
"""


def rows(effort: Effort) -> list[Row]:
    """Measure the import."""
    with tempfile.TemporaryDirectory() as cache:
        for module in ("twinrun", "attrs"):
            _seconds(module, cache)  # compiles it, which only the first import of an install pays
        pairs = [(_seconds("twinrun", cache), _seconds("attrs", cache)) for _ in range(effort.few)]
    return [row_of("import twinrun", "import attrs", pairs, unit="ms")]


def _seconds(module: str, cache: str) -> float:
    """Import one module in a new process and give the time that took."""
    command = [sys.executable, "-I", "-X", f"pycache_prefix={cache}", "-c", _PROGRAM, module]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

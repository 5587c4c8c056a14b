"""The console script."""

from __future__ import annotations

import subprocess
import sys

import pytest

from twinrun.__main__ import main

BLOCK = """
import sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] in {missing!r}:
            return None
        return super().find_spec(name, path, target)

sys.meta_path[:] = [f for f in sys.meta_path if f is not PathFinder] + [Without]
sys.argv = ["twinrun", "report"]
from twinrun.__main__ import main
main()
"""


@pytest.mark.parametrize(
    ("missing", "extra"),
    [
        ({"click"}, "cli"),
        ({"rich"}, "cli"),
        ({"sqlalchemy"}, "store"),
        ({"click", "rich"}, "cli"),
        ({"click", "rich", "sqlalchemy"}, "review"),
    ],
)
def test_a_missing_extra_is_one_sentence(missing: set[str], extra: str) -> None:
    """Where a library is missing, one sentence gives the command that mends it."""
    code = BLOCK.replace("{missing!r}", repr(missing))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (3, "")
    (sentence,) = done.stderr.splitlines()
    assert sentence.endswith(f'pip install "twinrun[{extra}]"')
    assert all(name in sentence for name in missing)


def test_the_module_runs_as_the_console_script() -> None:
    """`python -m twinrun` is `twinrun`, with its demo."""
    done = subprocess.run(
        [sys.executable, "-m", "twinrun", "--help"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: twinrun ")
    commands = done.stdout.partition("Commands:")[2].split("\n")
    assert {row.split()[0] for row in commands if row.strip()} >= {"check", "demo", "report"}


def test_main_exits_with_the_status(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong usage ends with 2."""
    monkeypatch.setattr(sys, "argv", ["twinrun", "dance"])
    with pytest.raises(SystemExit) as raised:
        main()
    assert raised.value.code == 2

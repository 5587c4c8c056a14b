"""What the documentation shows is run, and what it lists is complete."""

from __future__ import annotations

import contextlib
import doctest
import inspect
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import attrs
import pytest

ROOT = Path(__file__).parent.parent
FENCE = re.compile(r"^```([^`\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
REPORTING = re.compile(r"^\$ (twinrun report .*--store (\S+))$", re.MULTILINE)
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@attrs.frozen
class Block:
    """One fenced block of Python, and what it shows that it prints, if anything."""

    line: int
    code: str
    output: str | None


def blocks(page: Path) -> Iterator[Block]:
    """Give a page's Python blocks; a text block right after one is what it prints."""
    text = page.read_text("utf-8")
    fences = list(FENCE.finditer(text))
    for fence, after in zip_longest(fences, fences[1:]):
        if fence[1] == "python":
            adjacent = (
                after and after[1] == "text" and not text[fence.end() : after.start()].strip()
            )
            yield Block(
                line=text.count("\n", 0, fence.start()) + 1,
                code=fence[2],
                output=after[2] if after and adjacent else None,
            )


def run(page: Path) -> None:
    """Run a page's blocks in one namespace, and compare what they print with what is shown.

    A report that the page shows of a store that its code has made is asked for too.
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(page):
        printed = io.StringIO()
        code = compile("\n" * block.line + block.code, str(page), "exec")
        with contextlib.redirect_stdout(printed):
            exec(code, namespace)
        if block.output is not None:
            example = doctest.Example(block.code, block.output)
            checker = doctest.OutputChecker()
            if not checker.check_output(block.output, printed.getvalue(), OPTIONS):
                difference = checker.output_difference(example, printed.getvalue(), OPTIONS)
                sys.exit(f"{page}, line {block.line}:\n{difference}")
    for command, store in REPORTING.findall(page.read_text("utf-8")):
        if Path(store).exists():
            arguments = shlex.split(command)
            subprocess.run(
                [sys.executable, "-m", *arguments], check=True, stdout=subprocess.DEVNULL
            )


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUNNABLE = [page for page in PAGES if any(blocks(page))]


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_code_of_a_page_runs_and_prints_what_the_page_shows(page: Path, tmp_path: Path) -> None:
    """Each page is run from top to bottom in a process and a folder of its own."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TWINRUN")}
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-W", "error", __file__, str(page)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr


def test_the_pages_that_teach_hold_code() -> None:
    """The README, the tutorial and every how-to that is not about the command line has blocks."""
    teaching = {ROOT / "README.md", *(ROOT / "docs" / "tutorial").glob("*.md")}
    teaching |= set((ROOT / "docs" / "how-to").glob("*.md"))
    without = {page.name for page in teaching - set(RUNNABLE)}
    assert without <= {"index.md", "look-after-a-store.md", "read-a-report.md"}


def test_the_tutorial_shows_the_code_of_the_demo() -> None:
    """What the tutorial builds is what `twinrun demo` runs, to the letter."""
    from twinrun.demo import references

    tutorial = (ROOT / "docs" / "tutorial" / "references.md").read_text("utf-8")
    for part in (references.Reference, references.split_by_regex, references.split_by_urllib):
        assert inspect.getsource(part) in tutorial


def test_the_options_page_lists_every_option() -> None:
    """The table has each option that an experiment accepts, and nothing else."""
    from twinrun._runner.recipe import Options

    page = (ROOT / "docs" / "reference" / "options.md").read_text("utf-8")
    cells = re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)
    listed = {name for cell in cells for name in re.findall(r"^`([a-z_]+)`$", cell)}
    assert listed == set(Options.__annotations__)


def test_the_reference_covers_the_public_names() -> None:
    """Every name of `twinrun` and `twinrun.publishers` stands in the reference."""
    import twinrun
    import twinrun.publishers

    folder = ROOT / "docs" / "reference"
    text = "".join(page.read_text("utf-8") for page in folder.glob("*.md"))
    names = {*twinrun.__all__, *twinrun.publishers.__all__} - {"__version__"}
    assert {name for name in names if not re.search(rf"\b{name}\b", text)} == set()


def test_the_reference_covers_the_command_line() -> None:
    """Every command and every option of it stands in the reference."""
    from twinrun.cli import twinrun
    from twinrun.demo import demo

    page = (ROOT / "docs" / "reference" / "command-line.md").read_text("utf-8")
    for command in (*twinrun.commands.values(), demo):
        assert f"twinrun {command.name}" in page
        options = [option for parameter in command.params for option in parameter.opts]
        assert [option for option in options if option.startswith("-") and option not in page] == []


def test_the_readme_has_two_set_up_commands() -> None:
    """Each is one line that makes an environment, installs and does its job."""
    readme = (ROOT / "README.md").read_text("utf-8")
    commands = [line for line in readme.splitlines() if "pip install" in line]
    assert len(commands) == 2
    assert all(command.startswith("python3 -m venv .venv && ") for command in commands)
    assert commands[0].endswith("twinrun demo")
    assert commands[1].endswith("pytest")


if __name__ == "__main__":
    run(Path(sys.argv[1]))

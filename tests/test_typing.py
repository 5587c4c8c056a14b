"""A type checker sees through the decorator: signatures stay, and wrong calls are reported."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FIXTURE = Path(__file__).with_name("typing") / "decorated.py"

_REPORT = re.compile(r".*decorated\.py:(?P<line>\d+): (?P<kind>error|note): (?P<text>.*)")
_CODE = re.compile(r"\[([a-z-]+)\]$")


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, str, str]]:
    """What mypy says about the fixture under --strict: line, kind and text."""
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--no-pretty"]
    command += ["--cache-dir", str(tmp_path_factory.mktemp("mypy")), str(FIXTURE)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert done.stderr == ""
    found = [_REPORT.fullmatch(line) for line in done.stdout.splitlines()]
    return [(int(m["line"]), m["kind"], m["text"]) for m in found if m]


def marked(mark: str) -> set[tuple[int, str]]:
    """What the fixture promises at which line, behind a mark."""
    lines = FIXTURE.read_text("utf-8").splitlines()
    return {
        (number, line.partition(f"# {mark}: ")[2])
        for number, line in enumerate(lines, 1)
        if f"# {mark}: " in line
    }


def test_exactly_the_planted_errors_are_reported(reports: list[tuple[int, str, str]]) -> None:
    """Each wrong call is reported at its line with its code, and no right one is."""
    found = {
        (line, code[1])
        for line, kind, text in reports
        if kind == "error" and (code := _CODE.search(text))
    }
    assert found == marked("error")


def test_the_fixture_plants_errors_of_every_kind() -> None:
    """Wrong parameters, wrong uses of what is returned and wrong calls are all there."""
    assert {code for _, code in marked("error")} >= {"arg-type", "call-arg", "assignment"}


def test_a_decorated_function_carries_its_experiment(
    reports: list[tuple[int, str, str]],
) -> None:
    """`fn.experiment` is typed as what it is."""
    revealed = {
        (line, text.rpartition(".")[2].rstrip('"'))
        for line, _, text in reports
        if text.startswith("Revealed type is")
    }
    assert revealed == marked("reveals")

"""`twinrun demo`, run as a person runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from twinrun.store import Store

pytestmark = pytest.mark.timeout(600)  # the demo is real work

DEMO = [sys.executable, "-W", "error", "-m", "twinrun"]
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("TWINRUN")}


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    return subprocess.run(
        [*DEMO, *arguments],
        env=ENVIRONMENT | environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


@pytest.fixture(
    scope="module",
    params=[("--inputs", "10000"), pytest.param((), marks=pytest.mark.soak)],
    ids=["10000", "all"],
)
def finished(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> tuple[Path, str]:
    """Run the demo once, in the soak over all there is; gives its store and what it printed."""
    path = tmp_path_factory.mktemp("demo") / "demo.db"
    done = run("demo", "--store", str(path), *request.param)
    assert (done.returncode, done.stderr) == (0, "")
    return path, done.stdout


def number_of_inputs(printed: str) -> int:
    """Read from the first line how many references were split."""
    return int(printed.split(" references were split, ")[0].replace(",", ""))


def test_it_says_how_much_was_split_and_where_it_is_stored(finished: tuple[Path, str]) -> None:
    """There are 10,000 on every machine: all it needs is the installed Python and packages."""
    path, printed = finished
    assert number_of_inputs(printed) >= 10_000
    assert f"The store: {path}\n" in printed


def test_every_run_is_in_the_store(finished: tuple[Path, str]) -> None:
    """The counts of the store add up to the number of inputs."""
    path, printed = finished
    with Store(str(path)) as store:
        tally = store.tally("references.split")
        groups = store.groups("references.split")
    judged = sum(tally.outcomes["candidate"].values())
    assert tally.runs == tally.experiments == judged == number_of_inputs(printed)
    assert sum(group.count for group in groups) == tally.outcomes["candidate"]["mismatched"]
    assert tally.dropped == tally.failures == {}


def test_there_are_several_groups_of_real_differences(finished: tuple[Path, str]) -> None:
    """Both different values and exceptions are among them, each with what it was found in."""
    path, _ = finished
    with Store(str(path)) as store:
        groups = store.groups("references.split")
        exemplars = [store.exemplars(group.fingerprint)[0] for group in groups]
    assert len(groups) >= 3
    assert {group.candidate_exception for group in groups} == {None, "ValueError"}
    assert any("$.scheme" in group.paths for group in groups)
    assert all(exemplar.payload["context"]["file"] for exemplar in exemplars)


def test_it_ends_with_the_report_and_the_next_steps(finished: tuple[Path, str]) -> None:
    """The report is the one that `twinrun report` prints, and the next step works as it stands."""
    path, printed = finished
    report = run("report", "references.split", "--groups", "10", "--store", str(path))
    assert report.stdout in printed
    step = next(line for line in printed.splitlines() if line.startswith("  twinrun show "))
    assert run(*step.split()[1:]).returncode == 0


def test_its_report_is_there_as_json(finished: tuple[Path, str]) -> None:
    """The other next step gives the same numbers to programs."""
    path, printed = finished
    step = next(line for line in printed.splitlines() if line.startswith("  twinrun report "))
    (experiment,) = json.loads(run(*step.split()[1:]).stdout)["experiments"]
    assert experiment["runs"] == number_of_inputs(printed)
    assert str(path) in step


def test_without_a_store_it_makes_a_new_one_in_the_temporary_directory(tmp_path: Path) -> None:
    """The file is kept, so that the next steps can read it."""
    done = run("demo", "--inputs", "10", TMPDIR=str(tmp_path), TEMP=str(tmp_path))
    (path,) = tmp_path.glob("twinrun-demo-*/demo.db")
    assert f"The store: {path}\n" in done.stdout


def test_where_experiments_are_switched_off_it_says_so(tmp_path: Path) -> None:
    """`TWINRUN_DISABLED` holds for the demo too, which would have nothing to report."""
    done = run("demo", "--store", str(tmp_path / "demo.db"), TWINRUN_DISABLED="1")
    assert done.returncode == 2
    assert "TWINRUN_DISABLED" in done.stderr


@pytest.mark.parametrize("arguments", [("--inputs", "0"), ("--inputs", "many"), ("--store", ".")])
def test_wrong_options_are_wrong_usage(arguments: tuple[str, ...]) -> None:
    """Exit status 2, and nothing is run."""
    done = run("demo", *arguments)
    assert done.returncode == 2
    assert "Usage: " in done.stderr


@pytest.mark.parametrize("name", ["missing/demo.db", "text.txt"])
def test_a_store_that_cannot_be_made_is_said_in_one_sentence(tmp_path: Path, name: str) -> None:
    """Nothing is run; a file that is no store stays as it is."""
    text = tmp_path / "text.txt"
    text.write_text("This is no database. " * 100)
    done = run("demo", "--store", str(tmp_path / name))
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("Error: The store can't be written: ")
    assert done.stderr.count("\n") == 1
    assert text.read_text() == "This is no database. " * 100


def test_ctrl_c_ends_it_quietly_with_a_report(tmp_path: Path) -> None:
    """What was found until then is reported, and the exit status is 130."""
    program = """
import signal
import sys
from twinrun.__main__ import main
from twinrun.demo import harvest

def references(file):
    yield "C:\\\\Temp"
    yield "https://example.com/"
    signal.raise_signal(signal.SIGINT)
    yield "https://example.org/"

harvest.references = references
sys.argv = ["twinrun", "demo", "--store", "demo.db"]
main()
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stderr) == (130, "")
    assert done.stdout.startswith("2 references were split, 2 of them distinct.")
    assert "twinrun show " in done.stdout

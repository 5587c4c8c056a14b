"""`twinrun purge`, `export`, `import` and `merge`, over real stores and as processes."""

from __future__ import annotations

import csv
import datetime
import io
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from click.testing import CliRunner, Result

from evidence import NOON, increment, mismatch
from twinrun.cli import COULD_NOT_TELL, twinrun
from twinrun.histogram import Histogram
from twinrun.result import Outcome
from twinrun.store import Store
from twinrun.tally import CONTROL_FIRST, Tally

PROGRAM = [sys.executable, "-c", "from twinrun.cli import run, twinrun; run(twinrun)"]
DAY = datetime.timedelta(days=1)
TALLY = Tally(
    experiments=10,
    outcomes={"new": {Outcome.MATCHED: 8, Outcome.MISMATCHED: 2}},
    candidate_errors={"new": 1},
    skipped={"sample": 5},
    durations={"new": Histogram.of([0.5] * 10), "control": Histogram.of([0.25] * 10)},
    ratios={"new": {CONTROL_FIRST: Histogram.of([2.0] * 10)}},
)
FORMULA = "=cmd|' /C calc'!A0"


def run(*arguments: str, **options: Any) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(twinrun, [str(each) for each in arguments], **options)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give a store with two experiments, one of them with a name that means something else."""
    path = tmp_path / "twinrun.db"
    with Store(path) as store:
        store.write([increment(TALLY, sequence=0, release="1.2")], [mismatch(n) for n in range(3)])
        store.write([increment(TALLY, sequence=0, experiment=FORMULA)])
    return path


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a directory that is in no project."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TWINRUN_STORE", raising=False)
    return tmp_path


def test_purge_says_what_goes_and_then_removes_it(path: Path) -> None:
    """With --dry-run it only says so; both say the same."""
    told = run("purge", "--older-than", "30d", "--store", path, "--dry-run")
    assert told.exit_code == 0
    what = "2 rows of counts, 1 group, 3 examples and 2 experiments"
    assert told.output == f"{what} would be removed from sqlite:///{path}.\n"
    with Store(path) as store:
        assert len(store.experiments()) == 2
    done = run("purge", "--older-than", "30d", "--store", path)
    assert done.output.startswith(f"{what} removed from sqlite:///{path}.\n")
    with Store(path) as store:
        assert store.experiments() == []
    again = run("purge", "--older-than", "30d", "--store", path)
    assert again.output == f"Nothing in sqlite:///{path} is as old as that.\n"


def test_purge_keeps_what_is_younger(path: Path) -> None:
    """An age longer than the store, or than time itself, removes nothing."""
    for age in ("5000w", "90000000d"):
        done = run("purge", "--older-than", age, "--store", path)
        assert (done.exit_code, "Nothing in" in done.output) == (0, True)


def test_purge_removes_examples_earlier(path: Path) -> None:
    """They hold values: the counts stay."""
    done = run("purge", "--older-than", "5000w", "--examples-older-than", "1m", "--store", path)
    assert "0 groups, 3 examples and 0 experiments removed" in done.output
    with Store(path) as store:
        assert store.groups("e")[0].count == 3


def test_purge_does_what_the_project_says(path: Path, elsewhere: Path) -> None:
    """The nearest pyproject.toml with a table of retention is the policy."""
    text = '[tool.twinrun.retention]\nolder_than = "5000w"\nexamples_older_than = "30d"\n'
    (elsewhere / "pyproject.toml").write_text(text)
    done = run("purge", "--store", path)
    assert "0 groups, 3 examples" in done.output


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('older_than = "soon"', "'soon' is no span of time"),
        ("older_than = 90", "90 is no span of time"),
        ('examples_older_than = "30d"', "accepted are older_than and examples_older_than"),
        ('older_than = "1d"\nkeep = 1', "accepted are older_than and examples_older_than"),
        ("older_than = ", "can't be read"),
    ],
)
def test_a_wrong_policy_is_named(path: Path, elsewhere: Path, table: str, said: str) -> None:
    """With its file, and what is accepted; nothing is removed."""
    (elsewhere / "pyproject.toml").write_text(f"[tool.twinrun.retention]\n{table}\n")
    done = run("purge", "--store", path)
    assert done.exit_code == 2
    assert said in done.output
    assert "pyproject.toml" in done.output


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((), "Give --older-than AGE, such as 90d"),
        (("--older-than", "90"), "'90' is no span of time"),
        (("--examples-older-than", "1d"), "Give --older-than, too"),
    ],
)
def test_purge_wants_an_age(path: Path, given: tuple[str, ...], said: str) -> None:
    """What is missing or wrong is said; nothing is removed."""
    done = run("purge", *given, "--store", path)
    assert done.exit_code == 2
    assert said in done.output


@pytest.mark.parametrize("command", [("purge", "--older-than", "1d"), ("export",)])
def test_where_there_is_no_store_it_is_said(command: tuple[str, ...], tmp_path: Path) -> None:
    """And none is made."""
    done = run(*command, "--store", tmp_path / "none.db")
    assert done.exit_code == COULD_NOT_TELL
    assert "no store at" in done.output
    assert not (tmp_path / "none.db").exists()


def test_what_is_exported_can_be_imported(path: Path, tmp_path: Path) -> None:
    """Through a file, and twice: the second time it is all known."""
    out, other = tmp_path / "all.jsonl", tmp_path / "other.db"
    assert run("export", "--store", path, "--output", out).output == ""
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    first = run("import", out, "--store", other)
    assert first.output == (
        f"2 rows of counts, 1 group and 3 examples taken into sqlite:///{other}.\n"
    )
    assert run("import", out, "--store", other).output == f"sqlite:///{other} knew all of it.\n"
    with Store(path) as ours, Store(other) as theirs:
        for name in ("e", FORMULA):
            assert ours.tally(name) == theirs.tally(name)
        assert ours.groups("e") == theirs.groups("e")


def test_an_export_goes_through_a_pipe(path: Path, tmp_path: Path) -> None:
    """As a process, to the standard input of another one."""
    export = subprocess.Popen(
        [*PROGRAM, "export", "--store", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    command = [*PROGRAM, "import", "-", "--store", str(tmp_path / "other.db")]
    done = subprocess.run(command, stdin=export.stdout, capture_output=True, timeout=60)
    _, complaints = export.communicate(timeout=60)
    assert (export.returncode, complaints) == (0, b"")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"taken into" in done.stdout


def test_a_reader_that_has_seen_enough_is_no_error(path: Path) -> None:
    """`twinrun export | head -1` ends quietly."""
    with Store(path) as store:
        store.write(mismatches=[mismatch(n, fingerprint=f"f{n}") for n in range(300)])
    command = f"{subprocess.list2cmdline(PROGRAM[:1])} -c '{PROGRAM[2]}' export --store {path}"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | head -1"], capture_output=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["line"] == "head"


def test_stores_are_merged(path: Path, tmp_path: Path) -> None:
    """Each says what it brought; a second time nothing is new."""
    other, fleet = tmp_path / "other.db", tmp_path / "fleet.db"
    with Store(other) as store:
        store.write([increment(TALLY, process="web-2:1:a", sequence=0)], [mismatch(9)])
    done = run("merge", path, other, "--store", fleet)
    assert done.output.splitlines() == [
        f"From sqlite:///{path}: 2 rows of counts, 1 group and 3 examples taken into "
        f"sqlite:///{fleet}.",
        f"From sqlite:///{other}: 1 row of counts, 1 group and 1 example taken into "
        f"sqlite:///{fleet}.",
    ]
    assert run("merge", path, other, "--store", fleet).output.count("knew all of it") == 2
    with Store(fleet) as store:
        assert store.tally("e").runs == 30
        assert store.groups("e")[0].count == 4


def test_a_store_is_not_merged_into_itself(path: Path) -> None:
    """Nor a copy of it."""
    copy = path.with_name("copy.db")
    assert run("export", "--store", path).exit_code == 0  # now it has a name
    with Store(path) as store:
        store.close()
    copy.write_bytes(path.read_bytes())
    for source in (path, copy):
        done = run("merge", source, "--store", path)
        assert done.exit_code == COULD_NOT_TELL
        assert "from this very store, or from a copy" in done.output


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not whole: it ends after line 0"),
        ("hello\n", "Line 1 is no JSON"),
        ("{}\n", "Line 1 is none of an export"),
        ('{"line": "group"}\n', "no export of twinrun"),
        ("\udc80", "no UTF-8"),
    ],
)
def test_what_is_no_export_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """With the line that is wrong."""
    file = tmp_path / "wrong.jsonl"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    done = run("import", file, "--store", tmp_path / "other.db")
    assert done.exit_code == COULD_NOT_TELL
    assert said in done.output


def rows(text: str) -> list[dict[str, str]]:
    """Read CSV."""
    return list(csv.DictReader(io.StringIO(text)))


def test_groups_as_csv(path: Path) -> None:
    """One row for each group, in words that a spreadsheet takes."""
    [row] = rows(run("export", "e", "--store", path, "--format", "csv", "--table", "groups").output)
    assert (row["experiment"], row["group"], row["count"]) == ("e", "f00d", "3")
    assert (row["kinds"], row["paths"], row["reason"]) == ("changed", "$.a[*]", "")
    assert row["first_seen"] == NOON.isoformat()


def test_counts_as_csv(path: Path) -> None:
    """One row for each minute, release and candidate, with rates and times; no formula."""
    both = rows(run("export", "--store", path, "--format", "csv", "--table", "counts").output)
    named = {row["experiment"]: row for row in both}
    assert set(named) == {"e", f"'{FORMULA}"}
    row = named["e"]
    assert (row["candidate"], row["release"], row["minutes"]) == ("new", "1.2", "1")
    assert (row["runs"], row["experiments"], row["matched"], row["mismatched"]) == (
        *("15", "10", "8"),
        "2",
    )
    assert float(row["seconds_p50"]) == pytest.approx(0.5, rel=0.011)
    assert float(row["ratio_p99"]) == pytest.approx(2.0, rel=0.011)


def test_examples_as_parquet(path: Path, tmp_path: Path) -> None:
    """With types of their own for times and numbers."""
    out = tmp_path / "examples.parquet"
    given = ("--format", "parquet", "--table", "examples", "--output", out)
    assert run("export", "--store", path, *given).exit_code == 0
    table = pyarrow.parquet.read_table(out).to_pylist()
    assert [row["result_id"] for row in table] == ["r0", "r1", "r2"]
    assert table[0]["recorded_at"] == NOON
    assert json.loads(table[0]["payload"])["id"] == "r0"
    assert table[0]["pid"] == 7


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--table", "groups"), "JSON lines have every table"),
        (("--format", "csv"), "Give --table: one of counts, examples, groups"),
        (("--format", "parquet", "--table", "groups"), "give --output FILE"),
        (("--format", "xml"), "Invalid value for '--format'"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    path: Path, given: tuple[str, ...], said: str
) -> None:
    """With what is accepted."""
    done = run("export", "--store", path, *given)
    assert done.exit_code == 2
    assert said in done.output


def test_an_unknown_experiment_is_named(path: Path) -> None:
    """With those that there are."""
    done = run("export", "f", "--store", path)
    assert done.exit_code == COULD_NOT_TELL
    assert "There is no experiment 'f'" in done.output


def test_a_file_is_there_as_a_whole_or_not_at_all(path: Path, tmp_path: Path) -> None:
    """Where it can't be written nothing is left, and what was there stays."""
    out = tmp_path / "folder"
    out.mkdir()
    done = run("export", "--store", path, "--output", out)
    assert done.exit_code == COULD_NOT_TELL
    assert "can't be written" in done.output
    missing = run("export", "--store", path, "--output", tmp_path / "no" / "file")
    assert missing.exit_code == COULD_NOT_TELL
    assert sorted(os.listdir(tmp_path)) == ["folder", "twinrun.db"]


@pytest.mark.parametrize("command", ["purge", "export", "import", "merge"])
def test_help_shows_examples(command: str) -> None:
    """Each says what it does, and how it is called."""
    done = run(command, "--help")
    assert done.exit_code == 0
    assert f"twinrun {command} " in done.output

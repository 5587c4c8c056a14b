"""`twinrun check`: its answers, its exit status, and what it says where it has none."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from twinrun.cli import COULD_NOT_TELL, run, twinrun
from twinrun.result import Outcome
from twinrun.store import Mismatch, Store, TallyIncrement
from twinrun.tally import Tally
from verdicts import NOON, tally

ROOT = Path(__file__).parents[1]
PROGRAM = [sys.executable, "-c", "from twinrun.cli import run, twinrun; run(twinrun)"]
READY, NOT_READY, NOT_ENOUGH = 0, 1, 2
HOSTILE = "evil\x1b[31m\u202e`|<b>@all\n# \ud800\0"


def add(store: Path | str, name: str, counted: Tally, days: float = 0, **given: Any) -> None:
    """Add a tally to a store."""
    at = NOON + datetime.timedelta(days=days)
    with Store(store) as opened:
        opened.write(
            [TallyIncrement(experiment=name, process="p", recorded_at=at, tally=counted, **given)]
        )


def mismatches(store: Path | str, name: str, count: int, fingerprint: str) -> None:
    """Add a group of mismatches to a store."""
    found = [
        Mismatch(
            experiment=name,
            candidate="candidate",
            fingerprint=fingerprint,
            outcome="mismatched",
            kinds=("changed",),
            paths=("$.total",),
            result_id=f"{fingerprint}-{n}",
            recorded_at=NOON,
            payload={"candidate": {"differences": []}, "control": {}},
            host="h",
            pid=1,
        )
        for n in range(count)
    ]
    with Store(store) as opened:
        opened.write([], found)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a store with one experiment of each kind, which nobody changes."""
    path = tmp_path_factory.mktemp("filled") / "twinrun.db"
    add(path, "good", tally(41_210, skipped={"sample": 783_000, "isolate": 12}))
    add(path, "young", tally(1902))
    add(path, "bad", tally(5000, {Outcome.MISMATCHED: 57}))
    mismatches(path, "bad", 57, "3f2a9c1b")
    add(path, "off", Tally(skipped={"sample": 300}))
    return path


@pytest.fixture
def store(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a copy of that store, in a folder without a pyproject.toml."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copy(filled, tmp_path))


def check(store: Path | str | None, *arguments: object, **environment: str) -> Result:
    """Ask in this process, with no store in the environment."""
    given = {"TWINRUN_STORE": None, **environment}
    where = ["--store", str(store)] if store else []
    return CliRunner().invoke(twinrun, ["check", *map(str, arguments), *where], env=given)


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        (
            "good",
            READY,
            "good: ready\n  met  0 mismatches in 41,210 runs: with 95 % confidence at most "
            "0.0099 %; the policy allows 0.1 %\n",
        ),
        (
            "young",
            NOT_ENOUGH,
            "young: not enough evidence\n  open  0 mismatches in 1,902 runs: with 95 % confidence "
            "at most 0.2 %; the policy allows 0.1 %;\n        about 1,900 more runs without a "
            "mismatch are needed\n",
        ),
        (
            "bad",
            NOT_READY,
            "bad: not ready\n  not met  57 mismatches in 5,057 runs: with 95 % confidence at least "
            "0.64 %; the policy allows 0.1\n           %\n",
        ),
        ("off", NOT_ENOUGH, "off: not enough evidence\n  open  no run was compared\n"),
    ],
)
def test_the_answer_is_the_exit_status(store: Path, name: str, status: int, said: str) -> None:
    """0 ready, 1 not ready, 2 not enough evidence; with the reasons in sentences."""
    result = check(store, name)
    assert result.exit_code == status
    assert result.output.startswith(said)


@pytest.mark.parametrize(
    ("names", "status"),
    [
        (["good", "young"], NOT_ENOUGH),
        (["good", "young", "bad"], NOT_READY),
        (["good", "good"], READY),
        (["bad", "nobody"], COULD_NOT_TELL),
    ],
)
def test_the_worst_of_several_experiments_decides(
    store: Path, names: list[str], status: int
) -> None:
    """One that can't be told of is worst of all; each is told of once."""
    result = check(store, *names)
    assert result.exit_code == status
    if status != COULD_NOT_TELL:
        for name in names:
            assert len(re.findall(rf"^{name}: ", result.output, re.MULTILINE)) == 1


def test_what_was_skipped_is_said(store: Path) -> None:
    """The share that was observed, and why the rest was not."""
    text = " ".join(check(store, "good").output.split())
    assert "824,222 runs, 5.0 % of them observed; skipped: sample 783,000, isolate 12" in text
    assert "300 runs, 0 % of them observed; skipped: sample 300" in check(store, "off").output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["xyz"], "There is no experiment 'xyz'. There are: bad, good, off, young."),
        (["god"], "Did you mean good"),
        (["good", "--candidate", "x"], "good ran with no candidate 'x'; there are: candidate."),
        (["good", "--release", "v9"], "good ran with no release 'v9'; there are: none."),
        (["good", "--policy", "x"], "There is no policy 'x' in a pyproject.toml here or above"),
        (["good", "--config", "none.toml"], "none.toml can't be read"),
        (["good", "--confidence", "95"], "confidence is 95.0; accepted is at least 0.5"),
        (["good", "--min-age", "soon"], "min_age is 'soon'; accepted is a span of time"),
        (["good", "--max-latency-ratio", "1.2"], "'1.2' is not of the form p99=1.2"),
        (["good", "--max-latency-ratio", "p99=x"], "'p99=x' is not of the form p99=1.2"),
        (["good", "--max-latency-ratio", "p99=-1"], "max_latency_ratio is {'p99': -1.0}"),
        (["good", "--since", "yes"], "'yes' is neither a time ago, as 7d, nor a date"),
        (["good", "--since", "999999w"], "'999999w' is neither"),
        (["good", "--max-mismatch-rate", "little"], "is not a valid float"),
        (["good", "--nope"], "No such option"),
        ([], "Missing argument"),
    ],
)
def test_where_there_is_no_answer_the_status_says_so(
    store: Path, arguments: list[str], said: str
) -> None:
    """Wrong usage too: 2 would mean that evidence is missing."""
    result = check(store, *arguments)
    assert result.exit_code == COULD_NOT_TELL
    assert said in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--nope", "check", "good"], COULD_NOT_TELL),
        (["--store", "x.db", "check", "good"], COULD_NOT_TELL),
        (["--nope", "report", "good"], 2),
        (["report", "check", "--nope"], 2),
    ],
)
def test_wrong_usage_before_the_command_is_no_answer_either(
    arguments: list[str], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An option in the wrong place; only where a check was meant."""
    with pytest.raises(SystemExit) as ended:
        run(twinrun, arguments)
    assert ended.value.code == status
    monkeypatch.setattr(sys, "argv", ["twinrun", *arguments])
    with pytest.raises(SystemExit) as ended:
        run(twinrun)
    assert ended.value.code == status


@pytest.mark.parametrize("command", ["check", "report", "show", "pause"])
def test_a_url_in_a_wrong_place_is_repeated_without_its_password(
    store: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the name of an experiment or a group, as one argument too many, or as a command."""
    url = "postgresql://user:s3cret@host/db"
    for arguments in ([command, url], [command, "good", url], [url, command], [f"--{url}"]):
        with pytest.raises(SystemExit) as ended:
            run(twinrun, [*arguments, "--store", str(store)])
        assert ended.value.code in (2, COULD_NOT_TELL)
        said = capsys.readouterr()
        assert "s3cret" not in said.out + said.err
        assert "user" in said.err


def test_a_crash_is_no_answer(store: Path) -> None:
    """A tally that can't be read ends with 3 and says where, not with 1, which is "not ready"."""
    with contextlib.closing(sqlite3.connect(store)) as connection, connection:
        connection.execute("UPDATE tallies SET tally = '[]'")
    result = check(store, "good")
    assert (result.exit_code, result.stdout) == (COULD_NOT_TELL, "")
    assert "Traceback" in result.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device")
def test_an_answer_that_cannot_be_written_is_none(store: Path) -> None:
    """As where the disk is full."""
    with open("/dev/full", "w") as full:
        command = [*PROGRAM, "check", "good", "--store", str(store)]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, cwd=ROOT, timeout=60)
    assert done.returncode == COULD_NOT_TELL


def test_an_answer_that_nobody_reads_is_still_given(store: Path) -> None:
    """`twinrun check … | head -0` ends with the status."""
    command = [*PROGRAM, "check", "bad", "--store", str(store)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    ) as running:
        assert running.stdout is not None
        running.stdout.close()
        assert running.wait(60) == NOT_READY


def test_without_a_store_there_is_no_answer(tmp_path: Path) -> None:
    """Not named, not there, or none."""
    (tmp_path / "text.db").write_text("no database " * 1000)
    assert check(None, "good").exit_code == COULD_NOT_TELL
    for name in ("none.db", "text.db", "."):
        result = check(tmp_path / name, "good")
        assert (result.exit_code, result.stdout) == (COULD_NOT_TELL, ""), name
    with Store(tmp_path / "empty.db") as opened:
        opened.experiments()
    result = check(tmp_path / "empty.db", "good")
    assert result.exit_code == COULD_NOT_TELL
    assert "The store is empty" in result.stderr


def test_the_store_may_be_named_by_the_environment(store: Path) -> None:
    """As everywhere."""
    assert check(None, "good", TWINRUN_STORE=str(store)).exit_code == READY


def test_options_stand_over_the_policy(store: Path) -> None:
    """Each for itself."""
    assert check(store, "good", "--max-mismatch-rate", 0.0001).exit_code == READY
    assert check(store, "good", "--max-mismatch-rate", 0.00001).exit_code == NOT_ENOUGH
    assert check(store, "good", "--confidence", 0.9999999).exit_code == READY
    assert check(store, "good", "--min-runs", 50_000).exit_code == NOT_ENOUGH
    assert check(store, "good", "--min-age", "7d").exit_code == NOT_ENOUGH
    assert check(store, "good", "--max-latency-ratio", "p99=1.2").exit_code == NOT_ENOUGH
    assert check(store, "good", "--max-paired-ratio", 1.2).exit_code == NOT_ENOUGH
    assert check(store, "bad", "--max-mismatch-rate", 0.05).exit_code == READY
    assert check(store, "bad", "--accept", "3f2a").exit_code == READY
    accepted = check(store, "bad", "--accept", "3f2a").output
    assert "57 runs in 1 group do not count: accepted" in accepted
    lax = ["--max-mismatch-rate", "0.05", "--max-error-rate", "0.01"]
    assert "0 errors in 5,057 runs" in check(store, "bad", *lax).output


def test_policies_come_from_the_nearest_pyproject(store: Path) -> None:
    """`default` without a name; the folders above are searched, and options stand over it."""
    policies = """
    [tool.twinrun.policies.default]
    max_mismatch_rate = 0.05
    accepted = ["ffff"]
    [tool.twinrun.policies.strict]
    max_mismatch_rate = 0.00001
    max_latency_ratio = { p50 = 2 }
    """
    Path("pyproject.toml").write_text(policies, "utf-8")
    assert check(store, "bad").exit_code == READY
    assert check(store, "bad", "--max-mismatch-rate", 0.001).exit_code == NOT_READY
    assert check(store, "good", "--policy", "strict").exit_code == NOT_ENOUGH
    both = check(store, "good", "--policy", "strict", "--max-latency-ratio", "p99=2", "--json")
    asked = json.loads(both.output)["verdicts"][0]["policy"]
    assert asked["max_latency_ratio"] == {"p50": 2, "p99": 2}
    Path("below").mkdir()
    os.chdir("below")
    assert check(store, "bad").exit_code == READY
    unknown = check(store, "bad", "--policy", "x")
    assert "there are: 'default', 'strict'" in unknown.stderr
    assert check(store, "bad", "--config", "../pyproject.toml").exit_code == READY


def test_a_wrong_policy_is_no_answer_even_if_another_is_asked_for(store: Path) -> None:
    """The text names file, table and key."""
    text = "[tool.twinrun.policies.a]\nmin_runs = -1\n[tool.twinrun.policies.b]\n"
    Path("pyproject.toml").write_text(text, "utf-8")
    result = check(store, "good", "--policy", "b")
    assert result.exit_code == COULD_NOT_TELL
    assert "pyproject.toml: [tool.twinrun.policies.a]: min_runs is -1; accepted is" in result.stderr


def test_an_accepted_beginning_of_several_groups_is_no_answer(store: Path) -> None:
    """It has to be told which is meant."""
    mismatches(store, "bad", 2, "3f2b")
    result = check(store, "bad", "--accept", "3f2")
    assert result.exit_code == COULD_NOT_TELL
    assert "accepted has '3f2', which begins 2 groups: say more of it" in result.stderr


def test_one_may_count_from_a_moment_on_or_of_one_release(store: Path) -> None:
    """A mended candidate need not wait until its past is outweighed."""
    add(store, "bad", tally(4000), days=2, release="v2")
    assert check(store, "bad").exit_code == NOT_READY
    later = check(store, "bad", "--since", "2026-03-02")
    assert later.exit_code == READY
    assert "counted since 2026-03-02 00:00:00 UTC" in later.output
    released = check(store, "bad", "--release", "v2")
    assert released.exit_code == READY
    assert "counted of release v2" in released.output
    zoned = check(store, "bad", "--since", "2026-03-03T13:00+01:00", "--json")
    window = json.loads(zoned.output)["verdicts"][0]["window"]
    assert window["since"] == "2026-03-03T12:00:00+00:00"
    assert zoned.exit_code == READY
    assert check(store, "bad", "--since", "2026-03-04").exit_code == NOT_ENOUGH
    ages = ((datetime.datetime.now(datetime.UTC) - NOON).days + 10, 0)
    found = [check(store, "bad", "--since", f"{age}d").exit_code for age in ages]
    assert found == [NOT_READY, NOT_ENOUGH]


def test_a_store_on_a_server_answers_alike(store: Path, postgresql: str) -> None:
    """PostgreSQL or a file: the same groups, windows and releases."""
    where = postgresql
    for days, release in ((0, "v1"), (2, "v2")):
        wrong = {Outcome.MISMATCHED: 57} if release == "v1" else {}
        add(where, "bad", tally(5000, wrong), days=days, release=release)
    mismatches(where, "bad", 57, "3f2a9c1b")
    for arguments, status in (
        ([], NOT_READY),
        (["--accept", "3f2a"], READY),
        (["--since", "2026-03-02"], READY),
        (["--release", "v2"], READY),
        (["--release", "v3"], COULD_NOT_TELL),
    ):
        assert check(where, "bad", *arguments).exit_code == status, arguments


def test_several_candidates_are_judged_one_by_one(store: Path) -> None:
    """The worst decides, unless only one of them is asked about."""
    outcomes = {"fast": {Outcome.MATCHED: 5000}, "small": {Outcome.MISMATCHED: 50}}
    add(store, "two", Tally(experiments=5050, outcomes=outcomes))
    both = check(store, "two")
    assert both.exit_code == NOT_READY
    assert "two, fast: ready" in both.output
    assert "two, small: not ready" in both.output
    assert check(store, "two", "--candidate", "fast").exit_code == READY
    named = ["--candidate", "small", "--candidate", "fast"]
    assert check(store, "two", *named).exit_code == NOT_READY


def test_json_holds_numbers_and_sentences(store: Path) -> None:
    """The exit status is the same; what is not bounded yet is null."""
    result = check(store, "young", "bad", "--max-latency-ratio", "p99=1.2", "--json")
    assert result.exit_code == NOT_READY
    document = json.loads(result.output)
    assert (document["version"], document["status"]) == (1, "not ready")
    young, bad = document["verdicts"]
    assert (young["experiment"], young["candidate"]) == ("young", "candidate")
    assert (young["status"], bad["status"]) == ("not enough evidence", "not ready")
    rate, quantile = young["checks"]
    assert (rate["name"], rate["status"], rate["runs"]) == ("mismatches", young["status"], 1902)
    assert (rate["needed"], rate["counted"]) == (1900, {"least": 0, "most": 0})
    assert rate["reason"].startswith("0 mismatches in 1,902 runs")
    assert (quantile["name"], quantile["upper"], quantile["lower"]) == ("p99", None, 0)
    assert young["policy"]["confidence"] == 0.95
    assert young["window"] == {"since": None, "release": None, "age": 0}
    assert young["notes"] == ["1,902 runs, all observed"]


def test_markdown_is_for_a_pull_request(store: Path) -> None:
    """A heading that says it all, and a list for each experiment."""
    result = check(store, "good", "bad", "--markdown")
    assert result.exit_code == NOT_READY
    assert result.output.startswith("### twinrun: not ready\n\n✅ `good`: **ready**\n\n- ✅ 0 mism")
    assert "\n❌ `bad`: **not ready**\n\n- ❌ 57 mismatches in 5,057 runs" in result.output


@pytest.mark.parametrize("form", [[], ["--json"], ["--markdown"]])
def test_a_hostile_name_steers_nothing(store: Path, form: list[str]) -> None:
    """No escape code, no new line, no mention, no heading of its own."""
    outcomes = {HOSTILE: {Outcome.MATCHED: 1}}
    add(store, HOSTILE, Tally(experiments=1, outcomes=outcomes, skipped={HOSTILE: 1}))
    with Store(store) as opened:
        [name] = [r.name for r in opened.experiments() if r.name.startswith("evil")]
    result = check(store, name, *form)
    assert result.exit_code == NOT_ENOUGH
    assert all(line.isprintable() for line in result.output.split("\n"))
    assert not [line for line in result.output.split("\n") if line.startswith("# ")]
    if form == ["--markdown"]:
        outside = re.sub(r"(`+).*?(?<!`)\1(?!`)", "", result.output)
        assert "<b>" not in outside
        assert not re.search(r"(?<!\\)@all", outside)


def process(store: Path, *arguments: str, **given: str) -> subprocess.CompletedProcess[bytes]:
    """Ask as a process whose output is piped."""
    kept = {k: v for k, v in os.environ.items() if k not in {"TWINRUN_STORE", "COLUMNS"}}
    return subprocess.run(
        [*PROGRAM, "check", *arguments, "--store", str(store)],
        capture_output=True,
        cwd=ROOT,
        env={**kept, **given},
        timeout=60,
    )


@pytest.mark.parametrize(("name", "status"), [("bad", 1), ("x", 3)])
def test_a_process_ends_with_the_answer(store: Path, name: str, status: int) -> None:
    """A pipeline needs no more than that."""
    done = process(store, name)
    assert done.returncode == status
    assert b"Traceback" not in done.stderr


def test_wrong_usage_of_a_process_is_no_answer(store: Path) -> None:
    """It shows how it is meant."""
    done = process(store, "good", "--nope")
    assert done.returncode == COULD_NOT_TELL
    assert b"Usage: twinrun check" in done.stderr


def test_a_poor_encoding_gets_plainer_characters(store: Path) -> None:
    """Marks that an encoding has not are written as escapes, and nothing fails."""
    done = process(store, "good", "--markdown", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == READY
    assert b"\\u2705 `good`: **ready**" in done.stdout


def test_no_line_is_wider_than_the_terminal(store: Path) -> None:
    """Sentences fold; below 72 columns the terminal wraps them."""
    for columns, most in (("80", 80), ("20", 72), ("300", 300)):
        lines = check(store, "young", COLUMNS=columns).output.splitlines()
        assert max(map(len, lines)) <= most


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_is_no_answer(store: Path) -> None:
    """It ends with 130, as every command does."""
    code = (
        "import os, signal\n"
        "from twinrun.analysis import verdict\n"
        "verdict.read = lambda *a, **k: os.kill(os.getpid(), signal.SIGINT)\n"
        "from twinrun.cli import run, twinrun\n"
        "run(twinrun)"
    )
    command = [sys.executable, "-c", code, "check", "good", "--store", str(store)]
    done = subprocess.run(command, capture_output=True, cwd=ROOT, timeout=60)
    assert done.returncode == 128 + signal.SIGINT
    assert (done.stdout, done.stderr.strip()) == (b"", b"")


def test_a_group_that_is_accepted_does_not_count(tmp_path: Path) -> None:
    """`twinrun accept` says so for every check to come, until it is undone."""
    store = tmp_path / "twinrun.db"
    counts = {"candidate": {Outcome.MATCHED: 9_900, Outcome.MISMATCHED: 100}}
    add(store, "prices", Tally(experiments=10_000, outcomes=counts))
    mismatches(store, "prices", 100, "f00d")

    def status() -> int:
        return CliRunner().invoke(twinrun, ["check", "prices", "--store", str(store)]).exit_code

    def accept(*options: str) -> Result:
        return CliRunner().invoke(twinrun, ["accept", "f0", "--store", str(store), *options])

    assert status() == NOT_READY
    assert accept().output == "f00d of prices is accepted.\n"
    assert status() == READY
    with Store(store) as opened:
        assert opened.groups("prices")[0].state == "accepted"
    assert accept("--undo").output == "f00d of prices is not accepted any longer.\n"
    assert status() == NOT_READY
    done = CliRunner().invoke(twinrun, ["accept", "beef", "--store", str(store)])
    assert (done.exit_code, "no group 'beef'" in done.output) == (COULD_NOT_TELL, True)

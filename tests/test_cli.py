"""The command line, in this process and as a process of its own, over real stores."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from twinrun import experiment
from twinrun.cli import COULD_NOT_TELL, INTERRUPTED, twinrun
from twinrun.histogram import Histogram
from twinrun.publishers import StorePublisher
from twinrun.result import Outcome
from twinrun.store import Mismatch, Store, TallyIncrement
from twinrun.tally import CONTROL_FIRST, CONTROL_LAST, Tally

FIRST = datetime.datetime(2026, 3, 1, 8, 30, tzinfo=datetime.UTC)
LAST = datetime.datetime(2026, 3, 2, 17, 45, 9, tzinfo=datetime.UTC)
PROGRAM = [sys.executable, "-c", "from twinrun.cli import run, twinrun; run(twinrun)"]
HOSTILE = "evil\x1b[31m\x1b]0;pwned\x07\x9b2J\u202egpj.exe\u2028[red]not markup[/red]\r\nX\x00"

TALLY = Tally(
    experiments=2000,
    outcomes={"candidate": {Outcome.MATCHED: 1900, Outcome.MISMATCHED: 97, Outcome.TIMED_OUT: 3}},
    candidate_errors={"candidate": 7},
    skipped={"sample": 10_300, "isolate": 45},
    durations={
        "control": Histogram.of([0.001] * 1000 + [0.002] * 1000),
        "candidate": Histogram.of([0.0015] * 1000 + [0.003] * 1000),
    },
    ratios={
        "candidate": {
            CONTROL_FIRST: Histogram.of([1.4] * 1000),
            CONTROL_LAST: Histogram.of([1.6] * 1000),
        }
    },
)


def observation(name: str, **given: Any) -> dict[str, Any]:
    """Make one side of a payload."""
    return {
        "name": name,
        "exception": None,
        "traceback": None,
        "raised_at": None,
        "duration_ns": 1_234_000,
        "cpu_time": None,
        **given,
    }


def payload(control: Mapping[str, Any], candidate: Mapping[str, Any]) -> dict[str, Any]:
    """Make the payload of a mismatch."""
    judged = {"outcome": "mismatched", "reason": None, "fingerprint": None, "differences": []}
    return {
        "context": {"user": 17},
        "order": ["control", "candidate"],
        "control": observation("control", **control),
        "candidate": observation("candidate", **{**judged, **candidate}),
    }


def mismatches(count: int, fingerprint: str, **given: Any) -> list[Mismatch]:
    """Make mismatches of one group."""
    given = {
        "experiment": "pricing.quote",
        "candidate": "candidate",
        "outcome": "mismatched",
        "recorded_at": FIRST,
        "host": "web-1",
        "pid": 4711,
        "release": "v1.2",
        **given,
    }
    return [
        Mismatch(fingerprint=fingerprint, result_id=f"{fingerprint}-{n}", **given)
        for n in range(count)
    ]


PRICE = payload(
    {"value": {"items": [{"name": "tea", "price": 19.99}], "total": 19.99}},
    {
        "value": {"items": [{"name": "tea", "price": 20.5, "tax": None}], "total": 19.99},
        "differences": [
            {"path": "$.items[0].price", "kind": "changed", "control": 19.99, "candidate": 20.5},
            {"path": "$.items[0].tax", "kind": "added", "candidate": None},
        ],
    },
)
ERROR = payload(
    {"value": 5},
    {
        "exception": {"type": "ValueError", "message": "no such currency"},
        "traceback": "Traceback (most recent call last):\n  ...\nValueError: no such currency\n",
        "differences": [{"path": "$", "kind": "raised", "control": 5}],
    },
)
LATE = payload({"value": 5}, {"outcome": "timed_out", "reason": "took longer than 1 s"})


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Give a small fixed store with one experiment and three groups."""
    path = tmp_path / "twinrun.db"
    fill(
        path,
        {"pricing.quote": TALLY},
        [
            *mismatches(
                90,
                "3f2a9c1b4e5d",
                kinds=("changed", "added"),
                paths=("$.items[*].price", "$.items[*].tax"),
                payload=PRICE,
            ),
            *mismatches(
                7,
                "3f770011aa22",
                kinds=("raised",),
                paths=("$",),
                candidate_exception="ValueError",
                payload=ERROR,
                recorded_at=LAST,
            ),
            *mismatches(3, "99bb", outcome="timed_out", reason="timeout", payload=LATE),
        ],
    )
    return path


def fill(path: Path, tallies: Mapping[str, Tally], kept: Sequence[Mismatch] = ()) -> None:
    """Write to a store."""
    increments = [
        TallyIncrement(experiment=name, process="web-1:1:a", recorded_at=FIRST, tally=tally)
        for name, tally in tallies.items()
    ]
    with Store(path) as made:
        made.write(increments, kept)


def call(*arguments: object, **environment: str) -> Result:
    """Run the command line in this process, with no store in the environment."""
    given = {"TWINRUN_STORE": None, **environment}
    return CliRunner().invoke(twinrun, [str(a) for a in arguments], env=given)


def environment(**given: str) -> dict[str, str]:
    """Give this process's environment without what would change the output."""
    unwanted = {"NO_COLOR", "COLUMNS", "TWINRUN_STORE", "PYTHONIOENCODING", "FORCE_COLOR"}
    kept = {key: value for key, value in os.environ.items() if key not in unwanted}
    return {**kept, "PYTHONUTF8": "1", "TERM": "xterm", **given}


def process(*arguments: object, **given: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command line as a process whose output is piped."""
    return subprocess.run(
        [*PROGRAM, *map(str, arguments)], capture_output=True, env=environment(**given), timeout=60
    )


def on_terminal(*arguments: object, columns: int = 100, **given: str) -> str:
    """Run the command line on a terminal of so many columns, and give what it wrote there."""
    pty = pytest.importorskip("pty")
    termios = pytest.importorskip("termios")
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    with subprocess.Popen(
        [*PROGRAM, *map(str, arguments)], stdout=theirs, stderr=theirs, env=environment(**given)
    ) as running:
        os.close(theirs)
        written = b""
        while chunk := _read(ours):
            written += chunk
        assert running.wait(60) == 0
    os.close(ours)
    return written.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    """Read from a terminal, which fails where a pipe would come to its end."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


REPORT = """\
pricing.quote
  12,345 runs: 2,000 observed, 10,345 skipped (sample 10,300, isolate 45)
  first seen 2026-03-01 08:30:00, last seen 2026-03-02 17:45:09 UTC

              match rate   mismatches   errors   timed out
  candidate       95.0 %           97        7           3

                          p50       p90       p99
  control             1.01 ms   2.02 ms   2.02 ms
  candidate           1.49 ms   2.98 ms   2.98 ms
    ratio               1.40×     1.59×     1.59×
      control first     1.40×     1.40×     1.40×
      control last      1.59×     1.59×     1.59×

  group        count    share   kind                 where
  3f2a9c1b4e      90   90.0 %   changed, added       $.items[*].price, $.items[*].tax
               19.99 → 20.5
  3f770011aa       7    7.0 %   raised               $
               5 → raised ValueError: no such currency
  99bb             3    3.0 %   timed out: timeout
               5 → nothing

One group in full: twinrun show GROUP
"""  # noqa: RUF001


def test_report_reads_like_this(store: Path) -> None:
    """The whole report of a small store, piped: no escape codes, at most 100 columns."""
    done = process("report", "--store", store)
    assert done.stdout.decode().replace("\r\n", "\n") == REPORT
    assert (done.returncode, done.stderr) == (0, b"")


GROUP = """\
group 3f2a9c1b4e5d
  experiment   pricing.quote
  candidate    candidate
  outcome      mismatched
  count        90, 90.0 % of all that did not match
  first seen   2026-03-01 08:30:00 UTC
  last seen    2026-03-01 08:30:00 UTC
  state        new
  changed      $.items[*].price
  added        $.items[*].tax

example: number 1 of the group, 2026-03-01 08:30:00 UTC
  host      web-1
  pid       4711
  release   v1.2
  result    3f2a9c1b4e5d-0
  order     control, candidate
  context   user: 17

  control, 1.23 ms            candidate, 1.23 ms
  {                           {
    'items': [                  'items': [
      {                           {
        'name': 'tea',              'name': 'tea',
        'price': 19.99,   |         'price': 20.5,
                          >         'tax': None,
      },                          },
    ],                          ],
    'total': 19.99,             'total': 19.99,
  }                           }

  difference   where              control   candidate
  changed      $.items[0].price   19.99     20.5
  added        $.items[0].tax     nothing   None
"""


def test_show_reads_like_this(store: Path) -> None:
    """A group in full: both values side by side, the lines that differ marked."""
    text = process("show", "3f2a", "--store", store).stdout.decode().replace("\r\n", "\n")
    shown, _, rest = text.rpartition("\n\n")
    assert f"{shown}\n" == GROUP
    assert rest.endswith("more examples: --all shows them\n")


def test_show_tells_of_an_exception_with_its_traceback(store: Path) -> None:
    """What was raised stands beside the value, and the traceback below."""
    text = call("show", "3f77", "--store", store).output
    assert "5                  |   raised ValueError: no such currency" in text
    assert "  traceback of candidate\n    Traceback (most recent call last):\n      ...\n" in text


def test_show_all_shows_every_example(store: Path) -> None:
    """`--all` shows each example that was kept."""
    with Store(store) as opened:
        kept = opened.exemplars("3f2a9c1b4e5d")
    text = call("show", "3f2a", "--all", "--store", store).output
    assert [text.count(f"result    {one.result_id}\n") for one in kept] == [1] * len(kept)
    assert text.count("example: number") == len(kept) > 1


def test_json_report_agrees_with_the_store(store: Path) -> None:
    """`--json` gives the store's own numbers, and nothing else on standard output."""
    done = process("report", "--json", "--store", store)
    document = json.loads(done.stdout)
    with Store(store) as opened:
        tally, groups = opened.tally("pricing.quote"), opened.groups("pricing.quote")
    (found,) = document["experiments"]
    (candidate,) = found["candidates"]
    assert document["version"] == 1
    assert (found["runs"], found["experiments"]) == (tally.runs, tally.experiments)
    assert found["skipped"] == tally.skipped
    assert candidate["outcomes"] == {
        str(outcome): tally.outcomes["candidate"].get(outcome, 0) for outcome in Outcome
    }
    assert candidate["match_rate"] == 1900 / 2000
    assert candidate["seconds"]["p90"] == tally.durations["candidate"].quantile(0.9)
    assert [g["fingerprint"] for g in found["groups"]] == [g.fingerprint for g in groups]
    assert [g["count"] for g in found["groups"]] == [90, 7, 3]
    assert found["groups"][1]["example"] == {
        "path": "$",
        "kind": "raised",
        "control": {"value": 5},
        "candidate": {"exception": {"type": "ValueError", "message": "no such currency"}},
    }


def test_json_group_holds_every_example(store: Path) -> None:
    """`show --json` gives the group with all the examples, as they were recorded."""
    group = json.loads(call("show", "3f2a", "--json", "--store", store).stdout)["group"]
    with Store(store) as opened:
        kept = opened.exemplars("3f2a9c1b4e5d")
    assert [e["result_id"] for e in group["examples"]] == [e.result_id for e in kept]
    assert all(e["candidate"] == kept[0].payload["candidate"] for e in group["examples"])
    assert (group["share"], group["count"], group["state"]) == (0.9, 90, "new")


def test_the_environment_names_the_store(store: Path) -> None:
    """TWINRUN_STORE serves where --store is not given."""
    assert call("report", TWINRUN_STORE=str(store)).output == REPORT


def test_the_option_beats_the_environment(store: Path) -> None:
    """--store wins over TWINRUN_STORE."""
    assert call("report", "--store", store, TWINRUN_STORE="nowhere.db").output == REPORT


def test_no_store_named_is_wrong_usage() -> None:
    """Without a store nothing is guessed; the text says how to name one."""
    result = call("report")
    assert result.exit_code == 2
    assert "--store" in result.stderr
    assert "TWINRUN_STORE" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("command", [["report"], ["show", "3f"], ["report", "--json"]])
def test_no_store_there_says_what_to_do(tmp_path: Path, command: list[str]) -> None:
    """A store that is not there is no answer, makes no file, and the text names the next step."""
    result = call(*command, "--store", tmp_path / "none.db")
    assert (result.exit_code, result.stdout) == (COULD_NOT_TELL, "")
    assert "none.db" in result.stderr
    assert "twinrun demo" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_empty_store_says_what_to_do(tmp_path: Path) -> None:
    """A store without experiments is no answer, and the text names the next step."""
    fill(tmp_path / "empty.db", {"x": TALLY})
    with Store(tmp_path / "empty.db") as opened:
        forget_everything(opened)
    result = call("report", "--store", tmp_path / "empty.db")
    assert (result.exit_code, result.stdout) == (COULD_NOT_TELL, "")
    assert "StorePublisher" in result.stderr


def forget_everything(opened: Store) -> None:
    """Empty a store of all but its version."""
    path = str(opened).removeprefix("sqlite:///")
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for table in ("exemplars", "mismatch_groups", "tallies", "experiments"):
            connection.execute(f"DELETE FROM {table}")


def test_a_newer_store_is_left_alone(store: Path) -> None:
    """A store made by a newer twinrun is no answer, and the text says to upgrade."""
    with contextlib.closing(sqlite3.connect(store)) as connection, connection:
        connection.execute("UPDATE schema_version SET version = 999")
    result = call("report", "--store", store)
    assert (result.exit_code, result.stdout) == (COULD_NOT_TELL, "")
    assert "upgrade twinrun" in result.stderr


def test_a_file_that_is_no_store_is_no_answer(tmp_path: Path) -> None:
    """Any other file is no answer, without a traceback."""
    (tmp_path / "notes.txt").write_text("not a database, but long enough to be read as one" * 50)
    result = call("report", "--store", tmp_path / "notes.txt")
    assert (result.exit_code, result.stdout) == (COULD_NOT_TELL, "")
    assert "Traceback" not in result.stderr


def test_a_url_that_is_none_is_wrong_usage() -> None:
    """A database that is not served is wrong usage, and its password is not repeated."""
    result = call("report", "--store", "oracle://me:hunter2@host/db")
    assert result.exit_code == 2
    assert "hunter2" not in result.output


@pytest.mark.parametrize("asked", ["pricing.qoute", "PRICING.QUOTE", "quote"])
def test_an_unknown_experiment_gets_a_suggestion(store: Path, asked: str) -> None:
    """A name that is nearly right gets the right one suggested."""
    result = call("report", asked, "--store", store)
    assert (result.exit_code, result.stdout) == (COULD_NOT_TELL, "")
    assert f"There is no experiment '{asked}'. Did you mean pricing.quote?" in result.stderr


def test_an_unknown_experiment_is_told_which_there_are(store: Path) -> None:
    """A name like none of them gets a list of those that there are."""
    assert "There are: pricing.quote." in call("report", "zebra", "--store", store).stderr


def test_one_experiment_is_reported_alone(store: Path) -> None:
    """With a name, the others are left out."""
    fill(store, {"other": TALLY})
    text = call("report", "other", "--store", store).output
    assert text.startswith("other\n")
    assert "pricing.quote" not in text


def test_an_ambiguous_beginning_lists_the_groups(store: Path) -> None:
    """A beginning that two groups share is no answer; both are listed."""
    result = call("show", "3f", "--store", store)
    assert result.exit_code == COULD_NOT_TELL
    assert "3f2a9c1b4e5d  pricing.quote  $.items[*].price" in result.stderr
    assert "3f770011aa22  pricing.quote  $" in result.stderr
    assert "99bb" not in result.stderr


def test_an_unknown_group_says_so(store: Path) -> None:
    """A beginning of no group is no answer."""
    result = call("show", "zz", "--store", store)
    assert result.exit_code == COULD_NOT_TELL
    assert "There is no group 'zz'." in result.stderr


def test_groups_are_limited(store: Path) -> None:
    """--groups lists the largest, and the rest is counted, not hidden."""
    text = call("report", "--groups", "1", "--store", store).output
    assert "3f2a9c1b4e" in text
    assert "3f770011aa" not in text
    assert "and 2 smaller groups: --groups lists more" in text


def test_nothing_from_the_store_steers_the_terminal(tmp_path: Path) -> None:
    """Escape sequences, bidirectional marks and markup in names and values are only shown."""
    path = tmp_path / "twinrun.db"
    evil = payload(
        {"value": HOSTILE},
        {
            "exception": {"type": HOSTILE, "message": HOSTILE},
            "traceback": HOSTILE,
            "differences": [{"path": f"$[{HOSTILE}]", "kind": "changed", "control": HOSTILE}],
        },
    )
    evil["context"] = {HOSTILE: {HOSTILE: [HOSTILE]}}
    evil["order"] = [HOSTILE]
    tally = Tally(
        experiments=1,
        outcomes={HOSTILE: {Outcome.MISMATCHED: 1}},
        candidate_errors={HOSTILE: 1},
        skipped={HOSTILE: 2},
        failures={HOSTILE: 3},
        dropped={HOSTILE: 4},
        durations={HOSTILE + "2": Histogram.of([1])},
        ratios={HOSTILE: {HOSTILE: Histogram.of([1])}},
    )
    given = {"experiment": HOSTILE, "candidate": HOSTILE, "host": HOSTILE, "release": HOSTILE}
    group = mismatches(
        1, f"f{HOSTILE}", kinds=(HOSTILE,), paths=(HOSTILE,), payload=evil, **given
    ) + mismatches(1, "f2", reason=HOSTILE, outcome=HOSTILE, payload=evil, **given)
    fill(path, {HOSTILE: tally}, group)
    for arguments in (["report"], ["report", "x"], ["show", "fe"], ["show", "f2"], ["show", "f"]):
        text = call(*arguments, "--store", path).output
        assert all(c == "\n" or c.isprintable() for c in text)
        whole = "".join(text.split())
        assert "evil\\x1b[31m\\x1b]0;pwned\\x07\\x9b2J\\u202e" in whole
        assert "[red]notmarkup[/red]" in whole
    text = call("report", "--json", "--store", path).output
    assert text.isascii()
    assert json.loads(text)["experiments"][0]["skipped"]


@pytest.mark.parametrize("columns", [20, 40, 79, 80, 132, 300])
def test_no_line_is_cut_off(store: Path, columns: int) -> None:
    """Whatever the width, every word of the report is there."""
    wide = call("report", "--store", store, COLUMNS="300").output
    text = call("report", "--store", store, COLUMNS=str(columns)).output
    assert sorted(text.split()) == sorted(wide.split())
    assert max(map(len, text.splitlines())) <= max(columns, 72)


def test_a_terminal_gets_colours(store: Path) -> None:
    """On a terminal the report is coloured; without its codes it is the piped one."""
    text = on_terminal("report", "--store", store)
    assert "\x1b[31m" in text
    bare = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert [row.rstrip() for row in bare.split("\n")] == REPORT.split("\n")


def test_a_narrow_terminal_sets_the_width(store: Path) -> None:
    """The width is the terminal's."""
    long = mismatches(1, "77", paths=("$." + "x" * 200,), kinds=("changed",), payload=PRICE)
    fill(store, {}, long)
    text = on_terminal("report", "--store", store, columns=90, NO_COLOR="1")
    assert max(map(len, text.split("\n"))) == 90


@pytest.mark.parametrize("given", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colour_means_no_escape_code(store: Path, given: dict[str, str]) -> None:
    """NO_COLOR and a dumb terminal get plain text even on a terminal."""
    assert on_terminal("report", "--store", store, **given) == REPORT


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437"])
def test_a_poor_encoding_gets_plainer_characters(store: Path, encoding: str) -> None:
    """What the output's encoding does not have is written otherwise, never an error."""
    done = process("report", "--store", store, PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert (done.returncode, done.stderr) == (0, b"")
    assert "19.99 -> 20.5" in done.stdout.decode(encoding)


def big_store(path: Path) -> Path:
    """Fill a store whose report is larger than any pipe's buffer."""
    fill(path, {f"experiment-{number:05}" + "x" * 900: TALLY for number in range(200)})
    return path


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGPIPE and no SIGINT to send")
class TestEnds:
    """How the process ends when it is not let finish."""

    def start(self, tmp_path: Path) -> subprocess.Popen[bytes]:
        """Start a report that is writing, and can't have written all."""
        running = subprocess.Popen(
            [*PROGRAM, "report", "--store", str(big_store(tmp_path / "big.db"))],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        )
        assert running.stdout is not None
        assert running.stdout.read(1) == b"e"
        return running

    def test_ctrl_c_ends_quietly(self, tmp_path: Path) -> None:
        """An interrupt ends it with status 130 and without a traceback."""
        with self.start(tmp_path) as running:
            running.send_signal(signal.SIGINT)
            _, errors = running.communicate(timeout=60)
        assert (running.returncode, errors.strip()) == (INTERRUPTED, b"")

    def test_a_closed_pipe_ends_quietly(self, tmp_path: Path) -> None:
        """A reader that goes away, like `head`, ends it without a word."""
        with self.start(tmp_path) as running:
            assert running.stdout is not None
            assert running.stderr is not None
            running.stdout.close()
            errors = running.stderr.read()
        assert (running.returncode, errors) == (0, b"")


@pytest.mark.parametrize("command", [[], ["report"], ["show"]])
def test_help_says_what_each_command_does(command: list[str]) -> None:
    """Every command has help, with examples where it has something to give."""
    result = call(*command, "--help")
    assert result.exit_code == 0
    assert ("Examples:" in result.output) == bool(command)


def test_version_is_the_installed_one() -> None:
    """--version names the program and its version."""
    assert call("--version").output == f"twinrun {version('twinrun')}\n"


def test_an_experiment_is_reported_as_it_ran(tmp_path: Path) -> None:
    """From the decorator through the store to the report: the numbers are those of the runs."""
    path = tmp_path / "real.db"
    publisher = StorePublisher(path)

    def half(number: int) -> dict[str, float]:
        if number == 7:
            raise ValueError("no half of seven")
        return {"half": number / 2}

    @experiment("halves", candidate=half, publishers=[publisher])
    def floor(number: int) -> dict[str, float]:
        return {"half": number // 2}

    for number in range(10):
        floor(number)
    assert publisher.flush(30)
    publisher.close()
    (found,) = json.loads(call("report", "halves", "--json", "--store", path).output)["experiments"]
    (candidate,) = found["candidates"]
    assert (found["runs"], candidate["match_rate"], candidate["errors"]) == (10, 0.5, 1)
    assert sorted(group["count"] for group in found["groups"]) == [1, 4]
    shown = {group["kinds"][0]: group["example"] for group in found["groups"]}
    assert shown["raised"]["control"] == {"value": {"half": 3}}
    assert shown["raised"]["candidate"]["exception"]["type"] == "ValueError"
    for group in found["groups"]:
        text = call("show", group["fingerprint"], "--store", path).output
        assert "no half of seven" in text or "$.half" in text

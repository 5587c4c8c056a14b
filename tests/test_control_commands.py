"""`twinrun ramp`, `pause`, `resume` and `log`: what is said, and what is said back."""

from __future__ import annotations

import datetime
import json
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from twinrun.cli import COULD_NOT_TELL, twinrun
from twinrun.store import Store, TallyIncrement
from twinrun.tally import Tally

NAME = "pricing.quote"
HOSTILE = "evil\x1b[31m\u202egpj\r\nX"


@pytest.fixture
def store(tmp_path: Path) -> str:
    """Make a store in which two experiments have run."""
    path = tmp_path / "store.db"
    now = datetime.datetime.now(datetime.UTC)
    with Store(path) as made:
        made.write(
            [
                TallyIncrement(
                    experiment=n, process="h:1:a", recorded_at=now, tally=Tally(experiments=1)
                )
                for n in (NAME, HOSTILE)
            ]
        )
    return str(path)


def ask(store: str | None, *arguments: str, **env: str) -> Result:
    """Run a command."""
    chosen = ["--store", store] if store is not None else []
    return CliRunner().invoke(
        twinrun, [*arguments, *chosen], env={"TWINRUN_STORE": None, **env}, prog_name="twinrun"
    )


def logged(store: str, *arguments: str) -> list[dict[str, object]]:
    """Give what the log says of the only experiment in it."""
    [only] = json.loads(ask(store, "log", "--json", *arguments).output)["experiments"]
    return [only, *only["changes"]]


def test_each_change_is_said_and_logged_with_who_and_when(store: str) -> None:
    """A resume brings back what a ramp has set; `own` gives the code its say."""
    before = datetime.datetime.now(datetime.UTC)
    steps = [
        (("ramp", NAME, "5%", "--by", "ann", "--note", "first"), "5 % from now on."),
        (("pause", NAME), "paused. Once it is resumed: 5 %."),
        (("ramp", NAME, "0.25"), "is paused; once it is resumed: 25 %."),
        (("resume", NAME), "25 % from now on."),
        (("ramp", NAME, "own"), "the share in its code from now on."),
    ]
    for arguments, said in steps:
        done = ask(store, *arguments)
        assert (done.exit_code, done.output) == (0, f"{NAME}: {said}\n")
    state, *changes = logged(store)
    assert (state["name"], state["share"], state["paused"]) == (NAME, None, False)
    told = [(c["action"], c["share"], c["paused"]) for c in reversed(changes)]
    assert told == [
        ("ramp", 0.05, False),
        ("pause", 0.05, True),
        ("ramp", 0.25, True),
        ("resume", 0.25, False),
        ("ramp", None, False),
    ]
    first = changes[-1]
    assert (first["by"], first["note"]) == ("ann", "first")
    assert before <= datetime.datetime.fromisoformat(str(first["at"])) <= before.now(datetime.UTC)
    assert "@" in str(changes[0]["by"])
    text = ask(store, "log", NAME).output
    assert text.splitlines()[0] == f"{NAME}  the share in its code"
    assert [line.split()[2] for line in text.splitlines()[2:]] == [
        "ramp", "resume", "ramp", "pause", "ramp",
    ]  # fmt: skip
    assert len(logged(store, "--limit", "2")) == 3


def test_a_report_tells_what_holds(store: str) -> None:
    """For people and for programs; nothing where nothing was said."""
    assert "live control" not in ask(store, "report", NAME).output
    ask(store, "ramp", NAME, "5%", "--by", "ann")
    ask(store, "pause", NAME, "--by", HOSTILE)
    text = ask(store, "report", NAME).output
    assert "live control: paused; 5 % when resumed, by evil\\x1b[31m" in text
    [told] = json.loads(ask(store, "report", NAME, "--json").output)["experiments"]
    assert told["live_control"]["paused"] is True
    assert told["live_control"]["share"] == 0.05


SHARES = {
    "5%": 0.05, "5 %": 0.05, "0.5%": 0.005, "0.05": 0.05, ".05": 0.05, "0": 0.0, "0%": 0.0,
    "100%": 1.0, "1.0": 1.0, "0.0": 0.0, "own": None,
}  # fmt: skip


def test_a_share_may_be_written_in_these_ways(store: str) -> None:
    """As a percentage with its sign, or as a number within 0..1 with its point."""
    for text, share in SHARES.items():
        assert ask(store, "ramp", NAME, text).exit_code == 0
        assert logged(store)[0]["share"] == share


REFUSED = {
    "5": "Write 5% or 0.05.",
    "1": "Write 1% or 100%.",
    "100": "Write 100% or 1.",
    "1.5": "Write 1.5% or 0.015.",
    **dict.fromkeys(["101%", "0,05", "nan", "1e-3", "\u0665%", ""], "is no share"),
}


def test_what_is_no_share_is_refused(store: str) -> None:
    """What could be meant in two ways, too; nothing is changed then."""
    for text, hint in REFUSED.items():
        done = ask(store, "ramp", NAME, text)
        assert done.exit_code == 2
        assert hint in done.output
    assert "Nothing was said yet" in ask(store, "log").output


@pytest.mark.parametrize("command", [["ramp", "pricing.qoute", "5%"], ["pause", "pricing.qoute"]])
def test_an_experiment_that_never_ran_must_be_meant(store: str, command: list[str]) -> None:
    """A close name is suggested; --new says that there is no such experiment yet."""
    done = ask(store, *command)
    assert done.exit_code == COULD_NOT_TELL
    assert f"Did you mean {NAME}?" in done.output
    assert "add --new" in done.output
    assert ask(store, *command, "--new").exit_code == 0
    assert ask(store, *command).exit_code == 0
    assert ask(store, "log", "pricing.quot").exit_code == COULD_NOT_TELL


def test_a_store_must_be_there_unless_the_experiment_is_new(tmp_path: Path) -> None:
    """It is found where TWINRUN_STORE says, as for a report."""
    path = str(tmp_path / "new.db")
    assert ask(None, "pause", NAME).exit_code == 2
    missing = ask(path, "pause", NAME)
    assert missing.exit_code == COULD_NOT_TELL
    assert "There is no store" in missing.output
    assert ask(None, "pause", NAME, "--new", TWINRUN_STORE=path).exit_code == 0
    assert "paused" in ask(None, "log", TWINRUN_STORE=path).output


def test_a_store_that_cannot_be_written_is_not_changed(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else has it for himself."""
    monkeypatch.setattr("twinrun.store._connections._BUSY_TIMEOUT", 0.01)
    other = sqlite3.connect(store)
    other.execute("BEGIN IMMEDIATE")
    done = ask(store, "pause", NAME)
    other.rollback()
    other.close()
    assert done.exit_code == COULD_NOT_TELL
    assert "can't be written: Database is locked. Nothing was changed." in done.output


def test_nothing_said_steers_a_terminal(store: str) -> None:
    """Names, notes and people are shown as they are written in a string."""
    done = ask(store, "ramp", HOSTILE, "5%", "--by", HOSTILE, "--note", HOSTILE)
    text = done.output + ask(store, "log").output + ask(store, "log", "--json").output
    assert done.exit_code == 0
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\r" not in text


@pytest.mark.parametrize("command", ["ramp", "pause", "resume", "log"])
def test_every_command_has_help(command: str) -> None:
    """It tells of the store and shows an example."""
    text = ask(None, command, "--help").output
    assert "--store URL" in text
    assert f"twinrun {command} " in text

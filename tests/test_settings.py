"""The process's settings hold from the next run on; scopes override them for a while."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from twinrun import (
    ConfigurationError,
    Experiment,
    MismatchError,
    Result,
    configure,
    disabled,
    experiment,
    flush,
    raising,
    recording,
    tallies,
)


def run_python(code: str, **environment: str) -> str:
    """Run code in a process of its own and give what it printed."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("TWINRUN_")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def mismatching(name: str, **options: Any) -> Any:
    """Make an experiment whose candidate never matches."""
    return Experiment(name, control=lambda: 1, candidate=lambda: 2, **options)


async def coroutine(*args: Any) -> None:
    """Be what nobody would await."""


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("publishers", "abc"),
        ("publishers", print),
        ("publishers", [3]),
        ("publishers", [coroutine]),
        ("enabled", 1),
        ("enabled", coroutine),
        ("raise_on_mismatch", 1),
        ("on_failure", 3),
        ("on_failure", coroutine),
        ("workers", 0),
        ("workers", 1.5),
        ("workers", True),
        ("queue", -1),
        ("queue", "many"),
    ],
)
def test_a_wrong_setting_is_refused_and_nothing_is_changed(option: str, value: Any) -> None:
    """Not even those that are given beside it."""
    heard: list[Result] = []
    configure(publishers=[heard.append])
    arguments: dict[str, Any] = {"publishers": (), option: value}
    with pytest.raises(ConfigurationError, match=r"publisher|" + option):
        configure(**arguments)
    mismatching("settings.wrong")()
    assert len(heard) == 1


def test_an_unknown_setting_is_a_type_error() -> None:
    """As with any function."""
    with pytest.raises(TypeError):
        configure(publisher=[])  # type: ignore[call-arg]


def test_configure_keeps_what_is_not_given_and_none_restores() -> None:
    """Settings hold from the next run on, for experiments that exist already too."""
    heard: list[Result] = []
    made = mismatching("settings.keep")
    configure(publishers=[heard.append], enabled=False)
    made()
    assert len(heard) == 0
    configure(enabled=True)
    made()
    assert len(heard) == 1
    configure(raise_on_mismatch=True)
    with pytest.raises(MismatchError):
        made()
    assert len(heard) == 2
    configure(raise_on_mismatch=None, enabled=None)
    made()
    assert len(heard) == 3
    assert dict(tallies()["settings.keep"].skipped) == {"enabled": 1}


def test_enabled_may_be_a_callable_that_is_asked_at_each_run() -> None:
    """It gets nothing; a callable that is falsy itself is asked all the same."""

    class Switch:
        on = True

        def __len__(self) -> int:
            return 0

        def __call__(self) -> bool:
            return self.on

    switch, own, heard = Switch(), Switch(), list[Result]()
    made = mismatching("settings.switch", enabled=own, publishers=[heard.append])
    configure(enabled=switch)
    made()
    switch.on = False
    made()
    switch.on, own.on = True, False
    made()
    assert len(heard) == 1
    assert dict(tallies()["settings.switch"].skipped) == {"enabled": 2}


def test_an_experiments_own_publishers_stand_in_place_of_the_configured() -> None:
    """An empty sequence means nobody; recorders stand beside both."""
    configured: list[Result] = []
    own: list[Result] = []
    configure(publishers=[configured.append])
    with recording() as recorded:
        mismatching("settings.own", publishers=[own.append])()
        mismatching("settings.nobody", publishers=())()
        mismatching("settings.configured")()
    assert [r.experiment for r in own] == ["settings.own"]
    assert [r.experiment for r in configured] == ["settings.configured"]
    assert len(recorded) == 3


def test_nobody_publishes_where_that_is_configured(capsys: pytest.CaptureFixture[str]) -> None:
    """Not even the default."""
    configure(publishers=())
    mismatching("settings.silent")()
    assert flush()
    assert capsys.readouterr() == ("", "")


def test_disabled_switches_everything_off_and_nests() -> None:
    """Controls run alone, in every thread, whatever else is set."""
    made = mismatching("settings.disabled", raise_on_mismatch=True, publishers=())
    heard: list[int] = []
    with disabled(), raising():
        with disabled():
            assert made() == 1
        thread = threading.Thread(target=lambda: heard.append(made()))
        thread.start()
        thread.join()
        assert heard == [1]
        result = made.observe()
        assert (result.control.value, result.candidates, result.matched) == (1, (), True)
    with pytest.raises(MismatchError):
        made()
    tally = tallies()["settings.disabled"]
    assert (tally.runs, tally.experiments, dict(tally.skipped)) == (4, 1, {"disabled": 3})


def test_an_own_setting_wins_over_raising() -> None:
    """Both ways; scopes nest and end."""
    quiet = mismatching("settings.quiet", raise_on_mismatch=False, publishers=())
    plain = mismatching("settings.plain", publishers=())
    with raising():
        with raising():
            assert quiet() == 1
        with pytest.raises(MismatchError):
            plain()
    assert plain() == 1
    configure(raise_on_mismatch=True)
    assert quiet() == 1
    with pytest.raises(MismatchError):
        plain()


def test_raising_never_raises_for_a_match() -> None:
    """Nor for what is ignored."""
    with raising():
        assert Experiment("settings.match", control=lambda: 1, candidate=lambda: 1)() == 1
        assert mismatching("settings.ignored", ignore=lambda a, b: True, publishers=())() == 1


def test_recording_nests_and_gets_every_result_of_every_thread() -> None:
    """Matches too, beside the publishers, until the scope ends."""

    @experiment("settings.recorded", candidate=lambda x: x)
    def same(x: int) -> int:
        return x

    with recording() as outer:
        same(1)
        with recording() as inner:
            threads = [threading.Thread(target=same, args=(i,)) for i in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        same(1)
    same(1)
    assert sorted(r.control.value for r in inner) == list(range(8))
    assert len(outer) == 10
    assert tallies()["settings.recorded"].experiments == 11


def test_a_scope_ends_where_its_body_raises() -> None:
    """All three of them."""
    made = mismatching("settings.ends", publishers=())
    for scope in (disabled, raising, recording):
        with pytest.raises(KeyError), scope():
            raise KeyError
    before = tallies()["settings.ends"].experiments
    assert made() == 1
    assert tallies()["settings.ends"].experiments == before + 1


class Sink:
    """A publisher with a queue that may be stuck."""

    def __init__(self, delivered: Any) -> None:
        self.delivered = delivered

    def publish(self, result: Result) -> None:
        """Take a result."""

    def flush(self, timeout: float) -> Any:
        """Say whether all is delivered."""
        if isinstance(self.delivered, Exception):
            raise self.delivered
        return self.delivered


@pytest.mark.parametrize("stuck", [False, None, OSError("disk full")])
def test_flush_is_true_only_if_all_was_delivered(stuck: Any) -> None:
    """Whether the publisher is configured or an experiment's own; a failing one is no yes."""
    sink, other = Sink(True), Sink(True)
    configure(publishers=[sink, print])
    mismatching("settings.flush", publishers=[other])()
    assert flush(0.1) is True
    sink.delivered = stuck
    assert flush(0.1) is False
    sink.delivered, other.delivered = True, stuck
    assert flush(0.1) is False
    other.delivered = True
    assert flush(0.1) is True


def test_a_stuck_publisher_takes_no_other_ones_time() -> None:
    """Not even one whose flush does not come back: the others are flushed, and flush says no."""
    release, flushed = threading.Event(), threading.Event()

    class Stuck(Sink):
        def flush(self, timeout: float) -> Any:
            return release.wait(60)

    class Prompt(Sink):
        def flush(self, timeout: float) -> Any:
            if timeout > 0:
                flushed.set()
            return True

    try:
        for publishers in ([Stuck(True), Prompt(True)], [Prompt(True), Stuck(True)]):
            flushed.clear()
            configure(publishers=publishers)
            assert flush(0.2) is False
            assert flushed.wait(30)
    finally:
        release.set()


SWITCH = """
import twinrun
ran = []
f = twinrun.experiment("p.f", candidate=lambda: ran.append(1))(lambda: 3)
g = twinrun.Experiment("p.g", raise_on_mismatch=True, publishers=())
twinrun.configure(enabled=True)
print(f(), g.run(control=lambda: 3, candidate=lambda: ran.append(1) or 3), len(ran),
      sum(t.skipped.get("disabled", 0) for t in twinrun.tallies().values()))
"""


@pytest.mark.parametrize("value", ["1", "true", "YES", "on"])
def test_the_environment_switches_every_experiment_off(value: str) -> None:
    """Whatever is configured later."""
    assert run_python(SWITCH, TWINRUN_DISABLED=value) == "3 3 0 2"


@pytest.mark.parametrize("value", ["0", "", "no", "off", "false"])
def test_other_words_in_the_environment_switch_nothing_off(value: str) -> None:
    """An emptied variable means what an absent one does."""
    assert run_python(SWITCH, TWINRUN_DISABLED=value) == "3 3 2 0"


STORE = """
import twinrun
{configured}
f = twinrun.experiment("p.stored", candidate=lambda: 2)(lambda: 1)
f()
print(twinrun.flush(), len(heard))
"""


@pytest.mark.parametrize(
    ("configured", "printed", "stored"),
    [
        ("heard = []", "True 0", True),
        ("heard = []; twinrun.configure(publishers=[heard.append])", "True 1", True),
        ("heard = []; twinrun.configure(publishers=())", "True 0", False),
    ],
)
def test_the_environment_adds_a_store(
    tmp_path: Path, configured: str, printed: str, stored: bool
) -> None:
    """Beside the default and beside what is configured, unless nobody is to publish."""
    path = tmp_path / "runs.db"
    out = run_python(STORE.format(configured=configured), TWINRUN_STORE=f"sqlite:///{path}")
    assert out == printed
    assert path.exists() == stored


def test_an_unusable_store_in_the_environment_is_said_and_harms_nothing() -> None:
    """The caller gets the control's outcome."""
    code = STORE.format(configured="heard = []; twinrun.configure(publishers=[heard.append])")
    assert run_python(code, TWINRUN_STORE="nonsense://x") == "True 1"

"""What a candidate does around itself: to logs, transactions, threads, tasks and the process."""

from __future__ import annotations

import asyncio
import contextvars
import decimal
import logging
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import twinrun
from twinrun import Outcome, experiment, in_candidate, tallies
from twinrun.cleaners import payload
from twinrun.publishers import MemoryPublisher

MODES = ("inline", "concurrent", "background")
OFF_PATH = MODES[1:]
WATCHDOG = 60.0  # seconds, a safety net only


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    """Say where the candidate runs."""
    return str(request.param)


def judged(mode: str, control: Callable[..., Any], candidate: Callable[..., Any]) -> Any:
    """Run one experiment to its end; give its Result."""
    memory = MemoryPublisher()
    run = experiment(f"surroundings.{mode}", candidate=candidate, mode=mode, publishers=[memory])
    run(control)()
    assert twinrun.flush(WATCHDOG)
    (result,) = memory.results
    return result


def test_what_a_candidate_logs_can_be_told_from_what_the_control_logs(
    mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing of it is kept back; a filter marks it by `in_candidate`."""

    def mark(record: logging.LogRecord) -> bool:
        record.msg = f"{record.msg}{' (candidate)' * in_candidate()}"
        return True

    logger = logging.getLogger("surroundings")
    logger.addFilter(mark)
    try:
        judged(mode, lambda: logger.warning("hello"), lambda: logger.warning("hello"))
    finally:
        logger.removeFilter(mark)
    assert sorted(caplog.messages) == ["hello", "hello (candidate)"]


def test_what_a_candidate_prints_is_printed(mode: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output belongs to the process."""
    judged(mode, lambda: None, lambda: print("printed"))
    assert capsys.readouterr() == ("printed\n", "")


def test_the_process_keeps_what_a_candidate_does_to_it(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The working directory, say: nothing is undone, and the outcome is the control's."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    result = judged(mode, lambda: "control", lambda: os.chdir("elsewhere") or "control")
    assert result.matched
    assert Path.cwd() == tmp_path / "elsewhere"


def test_what_is_kept_in_context_variables_is_the_candidates_own(mode: str) -> None:
    """The precision of decimals, for one: the control and what follows keep theirs."""
    variable = contextvars.ContextVar("variable", default="before")

    def candidate() -> None:
        variable.set("candidate's")
        decimal.setcontext(decimal.Context(prec=3))

    precision = decimal.getcontext().prec
    judged(mode, lambda: None, candidate)
    assert variable.get() == "before"
    assert decimal.getcontext().prec == precision != 3


def test_a_thread_that_a_candidate_starts_outlives_it(mode: str) -> None:
    """It is the application's, not waited for; what it calls there is an experiment again."""
    may_go, threads, seen = threading.Event(), [], []

    @experiment("surroundings.inner", candidate=lambda: "inner", publishers=())
    def inner() -> str:
        return "inner"

    def outlive() -> None:
        assert may_go.wait(WATCHDOG)
        seen.append((in_candidate(), inner()))

    def candidate() -> None:
        threads.append(threading.Thread(target=outlive))
        threads[0].start()

    assert judged(mode, lambda: None, candidate).matched
    may_go.set()
    threads[0].join(WATCHDOG)
    assert seen == [(False, "inner")]
    assert tallies()["surroundings.inner"].experiments == 1


def test_a_task_that_a_candidate_starts_outlives_it_and_stays_inside_it(mode: str) -> None:
    """It has the candidate's context: what it calls runs the control only."""
    memory, tasks = MemoryPublisher(), []

    @experiment("surroundings.inner", candidate=lambda: "inner", publishers=())
    def inner() -> str:
        return "inner"

    async def control() -> None:
        return None

    async def main() -> None:
        may_go = asyncio.Event()

        async def outlive() -> bool:
            await may_go.wait()
            inner()
            return in_candidate()

        async def candidate() -> None:
            tasks.append(asyncio.create_task(outlive()))

        run = experiment("surroundings.task", candidate=candidate, mode=mode, publishers=[memory])
        await run(control)()
        assert await twinrun.aflush(WATCHDOG)
        assert not tasks[0].done()
        may_go.set()
        assert await asyncio.wait_for(tasks[0], WATCHDOG) is True

    asyncio.run(main())
    assert memory.results[0].matched
    assert tallies()["surroundings.inner"].skipped == {"reentry": 1}


def test_off_the_callers_path_a_candidate_has_a_transaction_of_its_own(tmp_path: Path) -> None:
    """Django has one connection for each thread: an error there does not spoil the caller's."""
    pytest.importorskip("django")
    program = """
    import sys
    import django, twinrun
    from django.conf import settings
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1]}
    settings.configure(DATABASES={"default": database})
    django.setup()
    from django.db import connection, connections, transaction
    from django.db.utils import DatabaseError
    from twinrun import experiment

    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE paid (number INTEGER PRIMARY KEY)")

    def pay(number):
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO paid VALUES (%s)", [number])
        return number

    def candidate(number):
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("INSERT INTO nowhere VALUES (%s)", [number])
        finally:
            connections.close_all()

    errors = []
    for mode in ("concurrent", "background"):
        run = experiment(mode, candidate=candidate, mode=mode, publishers=[errors.append])(pay)
        with transaction.atomic():
            assert run(len(errors)) == len(errors)
            assert twinrun.flush(30)
            assert not connection.needs_rollback
    assert [type(e.candidates[0].exception).__name__ for e in errors] == ["OperationalError"] * 2
    with connection.cursor() as cursor:
        assert cursor.execute("SELECT number FROM paid").fetchall() == [(0,), (1,)]
    connections.close_all()
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path / "app.db")],
        capture_output=True,
        text=True,
        timeout=WATCHDOG,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_thousand_candidates_are_accounted_for_each(mode: str) -> None:
    """Off the caller's path with a few threads for them all."""
    twinrun.configure(workers=2, queue=1000)
    memory = MemoryPublisher()
    candidates = {f"number {n}": (lambda n=n: n % 10) for n in range(1000)}
    run = experiment(
        f"surroundings.many.{mode}", candidates=candidates, mode=mode, publishers=[memory]
    )(lambda: 0)
    before = threading.active_count()
    assert run() == 0
    assert threading.active_count() <= before + 4
    assert twinrun.flush(WATCHDOG)
    outcomes = tallies()[f"surroundings.many.{mode}"].outcomes
    expected = {name: {Outcome.MISMATCHED: 1} for name in candidates if name[-1] != "0"}
    expected |= {name: {Outcome.MATCHED: 1} for name in candidates if name[-1] == "0"}
    assert outcomes == expected
    assert len(memory.results[0].comparisons) == 1000


@pytest.mark.parametrize("mode", OFF_PATH)
def test_candidates_for_which_there_is_no_room_are_shed_together(mode: str) -> None:
    """A part of them would be no experiment."""
    twinrun.configure(workers=2, queue=100)
    candidates = {f"number {n}": (lambda: 0) for n in range(1000)}
    name = f"surroundings.too_many.{mode}"
    run = experiment(name, candidates=candidates, mode=mode, publishers=())(lambda: 0)
    assert run() == 0
    assert twinrun.flush(WATCHDOG)
    assert tallies()[name].skipped == {"queue full": 1}


def test_a_context_that_is_huge_secret_and_cannot_be_copied_harms_nothing(mode: str) -> None:
    """It is shared as it is, and shown cut and without the secret."""
    context = {"lock": threading.Lock(), "text": "x" * 10_000_000, "password": "hunter2-and-more"}
    memory = MemoryPublisher()
    run = experiment(
        f"surroundings.context.{mode}",
        candidate=lambda: 2,
        mode=mode,
        context=lambda: context,
        publishers=[memory],
    )(lambda: 1)
    assert run() == 1
    assert twinrun.flush(WATCHDOG)
    (result,) = memory.results
    assert result.context["lock"] is context["lock"]
    shown = str(payload(result))
    assert len(shown) < 100_000
    assert "hunter2" not in shown
    assert tallies()[result.experiment].failures == {}

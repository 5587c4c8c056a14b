"""Live control: what is said while a process runs holds from the next run on."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import twinrun
from twinrun import ConfigurationError, Experiment, configure, tallies
from twinrun._accounts import Account, account_of
from twinrun.samplers import chosen

WATCHDOG = 30.0


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds, and fail if it never does."""
    deadline = time.monotonic() + WATCHDOG
    while not holds():
        assert time.monotonic() < deadline, "it never came to pass"
        time.sleep(0.005)


class Said:
    """Controls that say what a test wants, and count the rounds of asking."""

    every = 0.01

    def __init__(self, **words: float | None) -> None:
        self.words: dict[str, Any] = dict(words)
        self.rounds = 0
        self.fails: BaseException | None = None

    def refresh(self) -> None:
        """Begin a round."""
        self.rounds += 1
        if self.fails is not None:
            raise self.fails

    def __call__(self, experiment: str) -> float | None:
        """Give the word; an exception is raised."""
        word = self.words.get(experiment)
        if isinstance(word, BaseException):
            raise word
        return word

    def asked(self) -> None:
        """Wait for a whole round that begins now."""
        seen = self.rounds
        until(lambda: self.rounds >= seen + 2)


@pytest.fixture
def said() -> Said:
    """Give controls that are configured."""
    controls = Said()
    configure(controls=controls, publishers=())
    return controls


def share_of(call: Callable[[], Any], name: str, times: int = 2000) -> float:
    """Give the share of calls that are experiments now."""
    before = tallies()[name]
    for _ in range(times):
        call()
    assert twinrun.flush(WATCHDOG)
    gained = tallies()[name] - before
    assert gained.runs == times
    assert gained.experiments + gained.skipped.get("sample", 0) == times
    return gained.experiments / times


async def _acontrol() -> int:
    return 1


def _stream() -> Iterator[int]:
    yield 1


def _plain() -> int:
    return 1


def _calls() -> dict[str, Callable[..., Callable[[], Any]]]:
    """Give what makes a call of each kind of run function, by name."""

    def plain(name: str, **options: Any) -> Callable[[], Any]:
        return Experiment(name, control=_plain, candidate=_plain, **options)

    def awaited(name: str, **options: Any) -> Callable[[], Any]:
        made = Experiment(name, control=_acontrol, candidate=_acontrol, **options)

        def call() -> None:
            coroutine = made()
            with pytest.raises(StopIteration):
                coroutine.send(None)

        return call

    def streamed(name: str, **options: Any) -> Callable[[], Any]:
        made = Experiment(name, control=_stream, candidate=_stream, **options)
        return lambda: list(made())

    def run(name: str, **options: Any) -> Callable[[], Any]:
        made = Experiment(name, **options)
        return lambda: made.run(control=_plain, candidate=_plain)

    return {
        "quick": plain,
        "thorough": lambda name, **o: plain(name, timeout=60.0, **o),
        "background": lambda name, **o: plain(name, mode="background", **o),
        "thorough background": lambda name, **o: plain(name, mode="background", cpu_time=True, **o),
        "awaited": awaited,
        "awaited thorough": lambda name, **o: awaited(name, timeout=60.0, **o),
        "streamed": streamed,
        "run": run,
    }


@pytest.mark.parametrize("own", [0.0, 0.5, 1.0, "callable"])
@pytest.mark.parametrize("kind", _calls())
def test_a_word_replaces_the_share_of_every_kind_of_experiment(
    said: Said, kind: str, own: Any
) -> None:
    """Whatever the code says itself, up, down, to none and to all; None gives it back its own."""
    name = f"steered {kind} {own}"
    call = _calls()[kind](name, sample=(lambda: 0.5) if own == "callable" else own)
    call()
    plain = {0.0: (0.0, 0.0), 0.5: (0.25, 0.75), 1.0: (1.0, 1.0), "callable": (0.25, 0.75)}[own]
    for word, bounds in ((0.0, (0.0, 0.0)), (1.0, (1.0, 1.0)), (0.2, (0.02, 0.45)), (None, plain)):
        said.words[name] = word
        said.asked()
        assert bounds[0] <= share_of(call, name, 150) <= bounds[1], word


def test_a_ramp_keeps_who_was_in(said: Said) -> None:
    """A growing share chooses by the same keys as the same share in the code would."""
    ran: list[int] = []
    made = Experiment(
        "steered.by",
        control=lambda key: key,
        candidate=ran.append,
        sample=0.9,
        sample_by=lambda key: key,
    )
    made(0)
    for share in (0.1, 0.4, 0.0):
        said.words["steered.by"] = share
        said.asked()
        ran.clear()
        for key in range(300):
            made(key)
        assert ran == [key for key in range(300) if chosen("steered.by", key, share)]


def test_a_word_opens_no_other_gate(said: Said) -> None:
    """What is not enabled, or not to be run, stays so at any share."""
    said.words = {"steered.off": 1.0, "steered.if": 1.0, "steered.re": 1.0}
    off = Experiment("steered.off", control=_plain, candidate=_plain, enabled=False)
    no = Experiment("steered.if", control=_plain, candidate=_plain, run_if=lambda: False)
    again = Experiment("steered.re", control=_plain, candidate=lambda: again(), sample=0.5)
    for each in (off, no, again):
        each()
    said.asked()
    for each in (off, no, again):
        each()
    assert tallies()["steered.off"].skipped == {"enabled": 2}
    assert tallies()["steered.if"].skipped == {"run_if": 2}
    assert tallies()["steered.re"].skipped["reentry"] >= 1
    with twinrun.disabled():
        again()
    assert tallies()["steered.re"].skipped["disabled"] == 1


def test_nothing_starts_before_an_experiment_is_used() -> None:
    """Neither when controls are configured nor when an experiment is made."""
    before = set(threading._active)  # type: ignore[attr-defined]
    controls = Said()
    configure(controls=controls)
    made = Experiment("steered.unused", control=_plain, candidate=_plain, sample=0.0)
    assert controls.rounds == 0
    assert set(threading._active) == before  # type: ignore[attr-defined]
    made()
    until(lambda: controls.rounds > 0)


def test_many_who_begin_at_once_start_one_thread() -> None:
    """However many threads use however many experiments for the first time."""
    asking: set[int] = set()

    def controls(name: str) -> None:
        asking.add(threading.get_ident())

    configure(controls=controls, publishers=())
    made = [Experiment(f"storm {n}", control=_plain, candidate=_plain) for n in range(20)]
    start = threading.Barrier(8)

    def storm() -> None:
        start.wait(WATCHDOG)
        for each in made:
            each()

    threads = [threading.Thread(target=storm) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until(lambda: len(asking) > 0)
    assert len(asking) == 1


def test_an_experiment_that_is_new_is_asked_for_at_once() -> None:
    """Not only in the next round, which may be far away."""
    controls = Said(**{"steered.new": 0.0})
    controls.every = 3600.0
    configure(controls=controls, publishers=())
    old = Experiment("steered.old", control=_plain, candidate=_plain)
    old()
    until(lambda: controls.rounds == 1)
    new = Experiment("steered.new", control=_plain, candidate=_plain)
    new()
    until(lambda: account_of("steered.new").word == 0.0)
    assert share_of(new, "steered.new", 100) == 0.0


def test_controls_may_be_configured_late_and_taken_back() -> None:
    """Experiments that ran for long obey too; None ends all that was said."""
    made = Experiment("steered.late", control=_plain, candidate=_plain, publishers=())
    off = Experiment("steered.dark", control=_plain, candidate=_plain, sample=0.0, publishers=())
    for _ in range(1000):
        made()
        off()
    first, second = Said(**{"steered.late": 0.0}), Said(**{"steered.dark": 1.0})
    configure(controls=first)
    off()  # its only use
    until(lambda: account_of("steered.late").word == 0.0)
    configure(controls=second)
    off()
    until(lambda: account_of("steered.dark").word == 1.0)
    until(lambda: account_of("steered.late").word is None)
    rounds = first.rounds
    second.asked()
    assert first.rounds == rounds
    configure(controls=None)
    assert account_of("steered.dark").word is None
    assert share_of(off, "steered.dark", 100) == 0.0


@pytest.mark.parametrize("wrong", [5, -0.1, float("nan"), "0.5", True, [0.5]])
def test_a_word_that_is_no_share_leaves_the_last_one(
    said: Said, wrong: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It is counted each time, said once, and said once when it is over."""
    name = f"steered.wrong {wrong}"
    said.words[name] = 0.0
    made = Experiment(name, control=_plain, candidate=_plain)
    made()
    until(lambda: account_of(name).word == 0.0)
    said.words[name] = wrong
    until(lambda: tallies()[name].failures.get("controls", 0) >= 5)
    assert account_of(name).word == 0.0
    said.words[name] = 1.0
    until(lambda: account_of(name).word == 1.0)
    said.asked()
    err = caplog.text
    assert err.count("controls.unreachable") == err.count("controls.reachable") == 1
    assert "within 0..1, or None" in err


def test_an_unreachable_source_keeps_the_last_words(
    said: Said, caplog: pytest.LogCaptureFixture
) -> None:
    """Of all experiments; one failure alone is not said, and no password ever is."""
    names = [f"steered.lost{i}" for i in range(3)]
    said.words = dict.fromkeys(names, 0.0)
    for name in names:
        Experiment(name, control=_plain, candidate=_plain)()
    until(lambda: all(account_of(name).word == 0.0 for name in names))
    said.words = dict.fromkeys(names, 1.0)
    said.fails = OSError("no way to postgresql://ann:hunter2@db/x")
    until(lambda: all(tallies()[name].failures.get("controls", 0) >= 5 for name in names))
    assert all(account_of(name).word == 0.0 for name in names)
    said.fails = None
    until(lambda: all(account_of(name).word == 1.0 for name in names))
    err = caplog.text
    assert err.count("controls.unreachable") == err.count("controls.reachable") == 1
    assert "hunter2" not in err


def test_on_failure_hears_of_it_once() -> None:
    """For each experiment whose word could not be had; what it raises harms nothing."""
    heard: list[tuple[str, str]] = []

    def on_failure(operation: str, error: BaseException, name: str) -> None:
        heard.append((operation, name))
        raise SystemExit("of the callback")

    controls = Said(**{"steered.told": SystemExit("of the controls")})  # type: ignore[arg-type]
    configure(controls=controls, publishers=(), on_failure=on_failure)
    Experiment("steered.told", control=_plain, candidate=_plain)()
    until(lambda: tallies()["steered.told"].failures.get("controls", 0) >= 5)
    assert heard == [("controls", "steered.told")]


@pytest.mark.parametrize("wrong", ["twinrun.db", 0.5, Said, [_plain], _acontrol, _stream])
def test_what_cannot_be_asked_is_refused(wrong: Any) -> None:
    """When it is configured; a path is given to StoreControls instead."""
    with pytest.raises(ConfigurationError, match=r"controls is one of twinrun\.controls, such as"):
        configure(controls=wrong)


@pytest.mark.parametrize("wrong", [0, -1, 0.0, float("nan"), "1", None, True])
def test_a_pause_that_is_none_is_refused(wrong: Any) -> None:
    """When it is configured, with what is accepted: nothing may spin, or end, on the thread."""
    controls = Said()
    controls.every = wrong
    with pytest.raises(ConfigurationError, match="every is a number of seconds above 0, not "):
        configure(controls=controls)


def test_a_pause_is_read_once() -> None:
    """When it is configured; one that raises is refused there."""

    class Once(Said):
        reads = 0

        @property
        def every(self) -> float:  # type: ignore[override]
            self.reads += 1
            if self.reads > 1:
                raise OSError("gone")
            return 0.01

    controls = Once(**{"steered.once": 0.0})
    configure(controls=controls, publishers=())
    Experiment("steered.once", control=_plain, candidate=_plain)()
    controls.asked()
    assert controls.reads == 1
    with pytest.raises(ConfigurationError, match=r"a number of seconds above 0; .* OSError"):
        configure(controls=controls)


def test_a_log_that_raises_ends_nothing(said: Said) -> None:
    """Each word is obeyed still, and each line that could not be written is counted."""

    class Full(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise SystemExit("no space left")

    name, handler = "steered.log", Full()
    logger = logging.getLogger("twinrun")
    logger.addHandler(handler)
    try:
        Experiment(name, control=_plain, candidate=_plain)()
        for word, lines in ((0.0, 1), (1.0, 2)):
            said.words[name] = word
            until(lambda: account_of(name).word == word)  # noqa: B023, it is over at once
            said.asked()
            assert tallies()[name].failures["controls"] == lines
        said.words[name] = OSError("out of reach")
        until(lambda: tallies()[name].failures["controls"] >= 6)  # a line, and three rounds
        said.words[name] = 0.0
        until(lambda: account_of(name).word == 0.0)
    finally:
        logger.removeHandler(handler)


def test_what_surprises_the_thread_does_not_end_it(said: Said) -> None:
    """Such as a `refresh` that can't even be looked up; it is counted."""
    name = "steered.surprised"
    Experiment(name, control=_plain, candidate=_plain)()
    said.asked()

    def gone(self: Said) -> None:
        raise SystemExit("no attribute of mine")

    before, Said.refresh = Said.refresh, property(gone)  # type: ignore[assignment, method-assign]
    try:
        until(lambda: tallies()[name].failures.get("controls", 0) >= 3)
    finally:
        Said.refresh = before  # type: ignore[method-assign]
    said.words[name] = 0.0
    until(lambda: account_of(name).word == 0.0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_obeys_on_its_own(said: Said) -> None:
    """It keeps the last word, and hears the next one on a thread of its own, once it is used."""
    said.words["steered.fork"] = 0.0
    made = Experiment("steered.fork", control=_plain, candidate=_plain)
    made()
    until(lambda: account_of("steered.fork").word == 0.0)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            rounds = said.rounds
            made()
            kept = account_of("steered.fork").word == 0.0
            said.words["steered.fork"] = 1.0
            until(lambda: account_of("steered.fork").word == 1.0)
            status = 0 if kept and said.rounds > rounds else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert account_of("steered.fork").word == 0.0


SHARES = st.none() | st.sampled_from([0.0, 1.0]) | st.floats(0, 1)


@given(st.floats(0, 1), st.lists(st.tuples(SHARES, st.integers(0, 50)), max_size=20))
def test_every_answer_is_counted_whatever_is_said(own: float, turns: list[Any]) -> None:
    """Refusals add up over all words; a coin made later decides like one made before."""
    account = Account("steered.law")
    coin = account.coin(own)
    refused = 0
    for word, questions in turns:
        account.say(word)
        share = own if word is None else word
        assert account.coin(own) is coin
        answers = [coin.ask() for _ in range(questions)]
        assert all(answers) if share == 1 else not any(answers) if share == 0 else True
        refused += answers.count(False)
        assert coin.refusals() == refused


def test_threads_lose_no_count_while_words_change() -> None:
    """Who asks for an answer just as another share is said gets one, and it is counted."""
    account = Account("steered.threads")
    coin = account.coin(0.5)
    yes: list[int] = []

    def ask() -> None:
        yes.append(sum(coin.ask() for _ in range(5000)))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    words = [0.0, 0.01, 0.5, 1.0, None]
    turn = 0
    while any(thread.is_alive() for thread in threads):
        account.say(words[turn % 5])
        turn += 1
        time.sleep(0.0005)
    for thread in threads:
        thread.join()
    assert coin.refusals() == 4 * 5000 - sum(yes)

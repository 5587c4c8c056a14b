"""Decisions by chance and by key are exact, independent, and the same everywhere they must be."""

from __future__ import annotations

import datetime
import decimal
import enum
import itertools
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinrun import Experiment, Result, experiment, tallies
from twinrun.samplers import Coin, Dice, chosen

KEYS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
    | st.uuids() | st.dates() | st.datetimes() | st.timedeltas() | st.decimals(),
    lambda keys: st.tuples(keys) | st.tuples(keys, keys),
    max_leaves=5,
)  # fmt: skip


@pytest.fixture
def fast_switching() -> Iterator[None]:
    """Let threads switch after every few steps."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def seeded(seed: int) -> Dice:
    """Make dice that always fall the same way."""
    dice = Dice()
    dice.seed(seed)
    return dice


@given(KEYS, st.text(), st.floats(0, 1), st.floats(0, 1))
def test_a_growing_share_keeps_the_keys_it_had(key: Any, salt: str, a: float, b: float) -> None:
    """And the answer is the same each time."""
    low, high = sorted((a, b))
    assert chosen(salt, key, low) <= chosen(salt, key, high)
    assert chosen(salt, key, low) == chosen(salt, key, low)


@given(KEYS, st.text())
def test_the_bounds_of_a_share_are_exact(key: Any, salt: str) -> None:
    """Nobody at 0, everybody at 1."""
    assert not chosen(salt, key, 0.0)
    assert chosen(salt, key, 1.0)


@pytest.mark.parametrize(
    ("a", "b"),
    [("1", 1), (b"1", "1"), (("a", "bc"), ("ab", "c")), (("a",), "a"), (None, "None"), ((), "")],
)
def test_keys_of_different_types_are_different_keys(a: Any, b: Any) -> None:
    """They choose independently: both kinds of answer come up for either."""
    answers = {(chosen(str(i), a, 0.5), chosen(str(i), b, 0.5)) for i in range(64)}
    assert len(answers) == 4


@pytest.mark.parametrize("key", [object(), [1], {"a": 1}, ("a", object()), Dice()])
def test_a_key_without_a_stable_text_is_refused(key: Any) -> None:
    """The error names its type and what is accepted."""
    with pytest.raises(TypeError, match=r"sample_by gave a .*; give a str"):
        chosen("salt", key, 0.5)


def test_a_kind_of_text_is_the_key_that_its_text_is() -> None:
    """Members of enumerations, and marked-up text whatever it shows of itself."""

    class Tenant(enum.StrEnum):
        ACME = "acme"

    class Markup(str):
        def __str__(self) -> str:
            return "<b>"

        def encode(self, *args: Any) -> bytes:
            return b"<b>"

    for i in range(64):
        plain = chosen(str(i), "acme", 0.5)
        assert chosen(str(i), Tenant.ACME, 0.5) == chosen(str(i), Markup("acme"), 0.5) == plain


def test_keys_are_chosen_in_the_share_that_is_asked_for() -> None:
    """Consecutive numbers too, which a weak hash would not mix."""
    for salt in ("a", "b", "a.b"):
        picked = sum(chosen(salt, i, 0.05) for i in range(20_000))
        assert 850 < picked < 1150  # 1000 expected, more than 4 standard deviations to each side


def test_two_experiments_choose_independently_of_each_other() -> None:
    """Shares of 5 % overlap in 0.25 %, as by chance, however alike the names are."""
    names = ("pricing.quote", "pricing.quote2", "pricing.quotf", "Pricing.quote")
    picked = {name: {i for i in range(40_000) if chosen(name, i, 0.05)} for name in names}
    for a, b in itertools.combinations(names, 2):
        assert 55 < len(picked[a] & picked[b]) < 145  # 100 expected, deviation 10


ANSWERS = """
import datetime, decimal, uuid
from twinrun.samplers import chosen
keys = ["a", "ä", "\\ud800", b"a", 1, 1.5, True, None, ("a", 1), uuid.UUID(int=7),
        datetime.date(2024, 2, 29), datetime.timedelta(1), decimal.Decimal("1.10")]
print("".join(str(int(chosen(f"salt{i}", key, 0.5))) for i in range(50) for key in keys))
"""


def test_a_key_gets_the_same_answer_in_every_process() -> None:
    """Whatever the seed of Python's own hashes."""
    answers = {
        subprocess.run(
            [sys.executable, "-c", ANSWERS],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("0", "1", "12345")
    }
    [text] = answers
    keys: list[Any] = ["a", "ä", "\ud800", b"a", 1, 1.5, True, None, ("a", 1), uuid.UUID(int=7)]
    keys += [datetime.date(2024, 2, 29), datetime.timedelta(1), decimal.Decimal("1.10")]
    here = "".join(str(int(chosen(f"salt{i}", k, 0.5))) for i in range(50) for k in keys)
    assert text == here
    assert set(text) == {"0", "1"}


def test_a_key_gets_the_same_answer_in_every_version() -> None:
    """Stored expectations: who was in must stay in."""
    assert [i for i in range(40) if chosen("pricing.quote", i, 0.2)] == PICKED


PICKED = [5, 9, 10, 14, 18, 22, 24, 26, 32, 36]


@pytest.mark.parametrize("share", [0.001, 0.05, 0.5, 0.95])
def test_a_coin_says_yes_in_its_share(share: float) -> None:
    """Within five standard deviations, and its refusals are counted exactly."""
    n = 50_000
    coin = Coin(share, seeded(1))
    yes = sum(coin.ask() for _ in range(n))
    assert abs(yes - n * share) < 5 * (n * share * (1 - share)) ** 0.5
    assert coin.refusals() == n - yes


def test_a_coins_answers_are_independent() -> None:
    """A yes is followed by a yes as often as a no is."""
    coin = Coin(0.5, seeded(2))
    answers = [coin.ask() for _ in range(40_000)]
    both = sum(a and b for a, b in itertools.pairwise(answers))
    assert abs(both - 10_000) < 500


@given(st.integers(0, 2**32), st.floats(0.01, 0.99), st.lists(st.integers(0, 300), max_size=5))
def test_refusals_are_exact_whenever_they_are_counted(
    seed: int, share: float, steps: list[int]
) -> None:
    """In the middle of a block of answers too."""
    coin = Coin(share, seeded(seed))
    no = 0
    for step in steps:
        no += sum(not coin.ask() for _ in range(step))
        assert coin.refusals() == no
        assert coin.refusals() == no


def test_no_refusal_is_lost_between_threads(fast_switching: None) -> None:
    """Eight threads ask one coin, by both ways of asking, while another counts."""
    coin = Coin(0.3, seeded(3))
    n, yes, over = 5_000, [], threading.Event()
    counts: list[int] = []

    def ask() -> None:
        mine = 0
        for _ in range(n):
            answer = next(coin.answers, 2)
            mine += coin.ask() if answer == 2 else answer
        yes.append(mine)

    def count() -> None:
        while not over.is_set():
            counts.append(coin.refusals())

    reader = threading.Thread(target=count)
    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in (reader, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    over.set()
    reader.join()
    assert coin.refusals() == 8 * n - sum(yes)
    assert counts == sorted(counts)
    assert abs(sum(yes) - 8 * n * 0.3) < 5 * (8 * n * 0.21) ** 0.5


def test_a_reader_that_meets_a_count_of_its_own_thread_gives_the_count_before() -> None:
    """As a signal handler does: counts never go back, and nothing deadlocks."""
    coin = Coin(0.1, seeded(5))
    for _ in range(100):
        coin.ask()
    before = coin.refusals()
    assert before > 0
    for _ in range(100):
        coin.ask()
    with coin._lock:
        assert coin.refusals() == before
    assert coin.refusals() > before


def test_threads_leave_no_answers_behind(fast_switching: None) -> None:
    """What a coin keeps stays bounded however many threads ask it at once."""
    coin = Coin(0.5, seeded(4))

    def ask() -> None:
        for _ in range(5_000):
            coin.ask()

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    coin.refusals()
    assert len(coin._blocks) <= 1


FORK = """
import os, twinrun
from twinrun.samplers import Coin, Dice
from twinrun._accounts import dice

coin = Coin(0.5, Dice())
f = twinrun.experiment("fork.f", candidate=lambda: 3, publishers=())(lambda: 3)
half = twinrun.experiment("fork.half", candidate=lambda: 3, sample=0.5, publishers=())(lambda: 3)
for _ in range(700):
    coin.ask(), f(), half()
assert coin.refusals() > 0

def child(write):
    counts = coin.refusals(), twinrun.tallies()["fork.f"].runs, twinrun.tallies()["fork.half"].runs
    for _ in range(300):
        f(), half()
    counts += twinrun.tallies()["fork.f"].runs, twinrun.tallies()["fork.half"].runs
    answers = "".join(str(int(coin.ask())) for _ in range(200))
    os.write(write, repr((counts, dice.random(), answers)).encode())
    os._exit(0)

told = []
for _ in range(2):
    read, write = os.pipe()
    if os.fork() == 0:
        child(write)
    os.wait()
    told.append(eval(os.read(read, 10_000)))
for counts, _, _ in told:
    assert counts == (0, 0, 0, 300, 300), counts
assert twinrun.tallies()["fork.f"].runs == twinrun.tallies()["fork.half"].runs == 700
mine = "".join(str(int(coin.ask())) for _ in range(200))
assert len({dice.random(), told[0][1], told[1][1]}) == 3
assert len({mine, told[0][2], told[1][2]}) == 3
print("ok")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_draws_anew_and_counts_from_zero() -> None:
    """It repeats neither its parent's decisions nor its parent's counts."""
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("ok", "")


@pytest.mark.parametrize(("share", "experiments"), [(0, 0), (1, 20), (0.0, 0), (1.0, 20)])
def test_0_and_1_are_exact_and_no_key_is_asked_for(share: float, experiments: int) -> None:
    """Given as number or by a callable."""
    asked: list[int] = []
    for form, given_share in (("number", share), ("callable", lambda: share)):
        name = f"samplers.exact.{form}.{share!r}"
        made = Experiment(
            name, control=int, candidate=int, sample=given_share, sample_by=lambda: asked.append(1)
        )
        for _ in range(20):
            made()
        assert tallies()[name].experiments == experiments
        assert tallies()[name].runs == 20
    assert asked == []


def test_sample_by_decides_by_the_calls_arguments_including_self() -> None:
    """As the experiment's name and the key do, and counts the others as skipped."""
    results: list[Result] = []

    class Owner:
        name = "owner"

        def new(self, user: int, *, extra: int = 0) -> int:
            return user

        @experiment(
            "samplers.by",
            candidate=new,
            sample=0.5,
            sample_by=lambda self, user, *, extra=0: (self.name, user, extra),
            publishers=[results.append],
        )
        def old(self, user: int, *, extra: int = 0) -> int:
            return user

    owner = Owner()
    for user in range(100):
        assert owner.old(user, extra=1) == user
    expected = [user for user in range(100) if chosen("samplers.by", ("owner", user, 1), 0.5)]
    assert [r.control.value for r in results] == expected
    assert dict(tallies()["samplers.by"].skipped) == {"sample": 100 - len(expected)}


@pytest.mark.parametrize("forms", [{}, {"compare": lambda a, b: True}])
def test_runs_left_out_by_chance_are_counted(forms: Any) -> None:
    """In the quick and in the thorough way of running: nothing is lost."""
    name = f"samplers.chance{len(forms)}"
    made = Experiment(name, control=int, candidate=int, sample=0.25, publishers=(), **forms)
    for _ in range(2_000):
        made()
    tally = tallies()[name]
    assert tally.experiments + tally.skipped["sample"] == 2_000
    assert 350 < tally.experiments < 650  # 500 expected, deviation 19


def test_a_sample_that_is_a_callable_is_asked_each_time_and_gets_nothing() -> None:
    """It may turn an experiment up and down."""
    shares = iter([0, 1, 1, 0])
    made = Experiment("samplers.dial", control=int, candidate=int, sample=lambda: next(shares))
    for _ in range(4):
        made()
    assert tallies()["samplers.dial"].experiments == 2
    assert dict(tallies()["samplers.dial"].skipped) == {"sample": 2}

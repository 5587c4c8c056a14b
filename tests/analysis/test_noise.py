"""A candidate's own differences are told from the noise of the control."""

from __future__ import annotations

import datetime
import math
import random
import re
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from benchmarks.noise import SCENARIOS, powers
from hypothesis import given
from hypothesis import strategies as st

from twinrun.analysis.noise import LEVEL, Noise, Source, judged, mcnemar, rejected
from twinrun.paired import CUT, MORE, Divergence, PairCounter, PairCounts, PairedRuns
from twinrun.store import GroupRecord

NOW = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)

COUNTS = st.integers(0, 300)


@pytest.mark.parametrize(
    ("candidate", "baseline", "p"),
    [
        (5, 0, 0.03125),
        (10, 2, 0.019287109375),
        (15, 5, 0.020694732666),
        (30, 20, 0.101319375532),
        (120, 100, 0.100046114514),
        (0, 0, 1.0),
        (0, 7, 1.0),
    ],
)
def test_the_exact_test_gives_known_values(candidate: int, baseline: int, p: float) -> None:
    """Computed elsewhere, to twelve digits."""
    assert mcnemar(candidate, baseline) == pytest.approx(p, rel=1e-10)


@given(COUNTS, COUNTS)
def test_the_exact_test_is_the_sum_of_binomial_terms(candidate: int, baseline: int) -> None:
    """Whole numbers add up the same tail without rounding."""
    n = candidate + baseline
    exact = sum(math.comb(n, k) for k in range(candidate, n + 1)) / 2**n
    assert mcnemar(candidate, baseline) == pytest.approx(exact, rel=1e-11)


def test_a_million_pairs_are_tested_as_the_normal_distribution_says() -> None:
    """Large numbers neither overflow nor take long."""
    p = mcnemar(501_000, 499_000)
    z = (501_000 - 0.5 - 500_000) / 500
    assert p == pytest.approx(math.erfc(z / math.sqrt(2)) / 2, rel=1e-3)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=12))
def test_what_holm_rejects_is_rejected_and_nothing_above_the_level(
    pairs: list[tuple[int, int]],
) -> None:
    """Leaving out those that can't be told never costs the others anything."""
    tests = [PairCounts(0, b, c) for b, c in pairs]
    ps = [mcnemar(b, c) for b, c in pairs]
    found = rejected(tests)
    assert all(p <= LEVEL for p, real in zip(ps, found, strict=True) if real)
    order = sorted(range(len(ps)), key=ps.__getitem__)
    for rank, n in enumerate(order):
        if ps[n] > LEVEL / (len(ps) - rank):
            break
        assert found[n]


def paired(runs: int = 100, **places: tuple[int, int, int]) -> PairedRuns:
    """Make counts of places that are fields."""
    return PairedRuns(
        runs=runs, places={f"$.{name} changed": PairCounts(*c) for name, c in places.items()}
    )


def sources(read: PairedRuns) -> dict[str, Source]:
    """Say whose each place is."""
    noise = judged(read)
    assert noise is not None
    return {place: finding.source for place, finding in noise.places.items()}


def test_only_what_the_control_has_shown_is_noise() -> None:
    """A few differences of the candidate alone are neither its own nor noise: it is not known."""
    assert sources(paired(stamp=(100, 0, 0), rare=(0, 3, 0), both=(2, 4, 3), bug=(0, 30, 0))) == {
        "$.stamp changed": Source.NOISE,
        "$.rare changed": Source.UNDECIDED,
        "$.both changed": Source.NOISE,
        "$.bug changed": Source.CANDIDATE,
    }


def test_without_pairs_nothing_is_said() -> None:
    """There is nothing to judge by."""
    assert judged(PairedRuns()) is None


def test_rates_are_shares_of_the_pairs() -> None:
    """Each side's rate counts the pairs in which both differed."""
    noise = judged(paired(100, stamp=(10, 5, 3)))
    assert noise is not None
    finding = noise.places["$.stamp changed"]
    assert (finding.candidate_rate, finding.baseline_rate) == (0.15, 0.13)


def test_a_group_is_the_candidates_if_any_of_its_places_is() -> None:
    """A bug that comes with noise is a bug; many places of noise at once are noise."""
    noise = judged(paired(stamp=(100, 0, 0), id=(90, 2, 3), bug=(0, 30, 0)))
    assert noise is not None
    assert source_of(noise, "stamp", "bug") is Source.CANDIDATE
    assert source_of(noise, "stamp", "id") is Source.NOISE
    assert source_of(noise, "stamp", "other") is Source.UNDECIDED
    assert source_of(noise) is Source.UNDECIDED
    assert noise.of_group(group("timed_out", "stamp")) is None


@pytest.mark.parametrize("kind", [CUT, MORE])
def test_a_group_is_no_noise_where_some_of_its_places_are_not_known(kind: str) -> None:
    """Neither where a comparator gave up, nor where there were too many to be kept."""
    noise = judged(paired(stamp=(100, 0, 0)))
    assert noise is not None
    whole = group("mismatched", "stamp")
    known = attrs.evolve(whole, paths=(*whole.paths, "$"), kinds=(*whole.kinds, kind))
    findings = [noise.of_group(each) for each in (whole, known)]
    assert [each and each.source for each in findings] == [Source.NOISE, Source.UNDECIDED]


def group(outcome: str, *fields: str) -> GroupRecord:
    """Make a group that no pair fell into, which differs in fields."""
    return GroupRecord(
        experiment="x",
        fingerprint="g",
        candidate="api",
        outcome=outcome,
        reason=None,
        kinds=("changed",) * len(fields),
        paths=tuple(f"$.{field}" for field in fields),
        control_exception=None,
        candidate_exception=None,
        count=1,
        first_seen=NOW,
        last_seen=NOW,
        state="new",
    )


def source_of(noise: Noise, *fields: str) -> Source:
    """Say whose a group of mismatches is."""
    finding = noise.of_group(group("mismatched", *fields))
    assert finding is not None
    assert finding.candidate_rate == 0
    return finding.source


Service = Callable[[random.Random], dict[str, object]]


def simulated(rng: random.Random, runs: int, control: Service, candidate: Service) -> Noise:
    """Count runs of a service whose fields are right or wrong, and judge them."""
    counter = PairCounter()
    for _ in range(runs):
        first, other, again = control(rng), candidate(rng), control(rng)
        sides = []
        for side in (other, again):
            places = frozenset(f"$.{n} changed" for n in first if side[n] != first[n])
            sides.append(Divergence(places, " ".join(sorted(places))) if places else None)
        counter.add(*sides)
    noise = judged(counter.reading())
    assert noise is not None
    return noise


def flickering(rates: dict[str, float]) -> Service:
    """Make a service whose fields flip by themselves: two runs differ at these rates."""
    flips = {name: (1 - math.sqrt(1 - 2 * rate)) / 2 for name, rate in rates.items()}
    return lambda rng: {name: rng.random() < flip for name, flip in flips.items()}


def false_alarms(rates: dict[str, float], runs: int, rounds: int) -> float:
    """Say how often anything is put down to a candidate that is another control."""
    rng = random.Random(20_260_301)
    service = flickering(rates)
    alarms = 0
    for _ in range(rounds):
        noise = simulated(rng, runs, service, service)
        findings = [*noise.places.values(), *noise.groups.values()]
        alarms += any(each.source is Source.CANDIDATE for each in findings)
    return alarms / rounds


@pytest.mark.parametrize(
    "rates",
    [{"a": 0.01}, {"a": 0.5}, {"a": 0.1, "b": 0.3, "c": 0.02, "d": 0.5, "e": 0.2}],
    ids=["rare", "half", "five"],
)
def test_false_alarms_keep_the_stated_level(rates: dict[str, float]) -> None:
    """Of 400 candidates that are no worse than their control, about 1 % at most are suspected.

    Eleven or more would come at a level of 1 % in less than one of 300 simulations.
    """
    assert false_alarms(rates, runs=200, rounds=400) <= 10 / 400


def diffy(raw: int, noise: int, runs: int) -> bool:
    """Say whether Diffy shows a field, by its default thresholds."""
    if raw <= noise:
        return False
    return (raw - noise) / (raw + noise) * 100 > 20 and (raw - noise) / runs * 100 > 0.03


def found(runs: int, rate: float, error: float, rounds: int) -> tuple[float, float]:
    """Say how often a real error under noise is found, by our rule and by Diffy's."""
    rng = random.Random(7)
    control = flickering({"total": rate})

    def candidate(rng: random.Random) -> dict[str, object]:
        return {"total": "wrong"} if rng.random() < error else control(rng)

    ours = theirs = 0
    for _ in range(rounds):
        noise = simulated(rng, runs, control, candidate)
        finding = noise.places["$.total changed"]
        ours += finding.source is Source.CANDIDATE
        both, b, c = finding.counts.as_list()
        theirs += diffy(both + b, both + c, runs)
    return ours / rounds, theirs / rounds


def test_real_errors_under_noise_are_found_more_often_than_by_the_rates_alone() -> None:
    """Of 5 % errors under 10 % noise at 1,000 calls, at least 3 in 4 are found; by rates 2 in 5."""
    ours, theirs = found(runs=1_000, rate=0.1, error=0.05, rounds=200)
    assert ours >= 0.75
    assert theirs <= 0.5


def documented() -> list[tuple[float, float, int, float, float]]:
    """Give the rows of the tables in the documentation, as numbers."""
    page = Path(__file__).parents[2] / "docs" / "how-to" / "measure-noise.md"
    row = re.compile(
        r"^\| ([\d.]+) % \| ([\d.]+) % \| ([\d,]+) \| ([\d.]+) % \| ([\d.]+) % \|$", re.M
    )
    return [
        (float(noise) / 100, float(error) / 100, int(runs.replace(",", "")), float(a), float(b))
        for noise, error, runs, a, b in row.findall(page.read_text("utf-8"))
    ]


def test_the_documented_figures_are_those_of_the_simulation() -> None:
    """Each is within what a few rounds can tell; the documentation gives those of many."""
    pytest.importorskip("numpy")
    rows = documented()
    assert {(noise, error, runs) for noise, error, runs, *_ in rows} <= set(SCENARIOS)
    assert len(rows) == 15
    for noise, error, runs, *shown in rows:
        simulated_again = powers(noise, error, runs, rounds=200)
        assert [100 * each for each in simulated_again] == pytest.approx(shown, abs=12)

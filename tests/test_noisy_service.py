"""Of a service that differs from itself, only the bug of its replacement stays the candidate's."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from click.testing import Result as Checked

import twinrun
from twinrun import Experiment, Outcome, Result, cli, comparators
from twinrun.analysis.noise import Source
from twinrun.analysis.summary import ExperimentSummary, read
from twinrun.publishers import StorePublisher
from twinrun.reports.terminal import report
from twinrun.result import Recheck
from twinrun.store import Store

WATCHDOG = 60.0  # seconds, a safety net only
RUNS = 300


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """Name the experiment like the test."""
    return str(request.node.nodeid)


class Service:
    """Gives an order with a moment, a random id, tags in no order and a stock that flickers.

    Each of its `items` is another one at each call.
    """

    def __init__(self, seed: int, bug: bool = False, items: int = 0) -> None:
        self._rng = random.Random(seed)
        self._bug = bug
        self._items = items

    def __call__(self, number: int) -> dict[str, Any]:
        """Look an order up; with the bug, one total in ten is wrong."""
        rng = self._rng
        tags = ["new", "gift", "fragile", "express"]
        rng.shuffle(tags)
        return {
            "at": rng.random(),
            "items": [rng.random() for _ in range(self._items)],
            "request": {"id": rng.getrandbits(64)},
            "tags": tags,
            "stock": 7 if rng.random() < 0.1 else 8,
            "lines": [{"price": n, "total": n * 2} for n in range(3)],
            "total": number + (self._bug and number % 10 == 0),
        }


@pytest.fixture
def kept(name: str, tmp_path: Path) -> Callable[..., str]:
    """Give what runs the service beside a candidate, and says where the store is."""

    def kept(candidate: Any, control: Any = None, runs: int = RUNS, **options: Any) -> str:
        location = str(tmp_path / "twinrun.db")
        publisher = StorePublisher(location)
        made = Experiment(
            name,
            control=control or Service(1),
            candidate=candidate,
            publishers=[publisher],
            order="control-first",
            **options,
        )
        for number in range(runs):
            made(number)
        assert twinrun.flush(WATCHDOG)
        publisher.close()
        return location

    return kept


@pytest.fixture
def run(kept: Callable[..., str]) -> Callable[..., ExperimentSummary]:
    """Give what runs the service beside a candidate, and reads what is in the store then."""

    def run(*behaviours: Any, **options: Any) -> ExperimentSummary:
        with Store(kept(*behaviours, **options), create=False) as store:
            [record] = store.experiments()
            return read(store, record, 1_000)

    return run


@pytest.fixture
def check(kept: Callable[..., str], name: str) -> Callable[..., Checked]:
    """Give what runs the service beside a candidate, and asks whether that may take over."""

    def check(*behaviours: Any, limits: Sequence[str] = (), **options: Any) -> Checked:
        location = kept(*behaviours, baseline=1.0, **options)
        asked = ["check", name, "--store", location, *limits]
        return CliRunner().invoke(cli.twinrun, asked)

    return check


def test_only_the_bug_is_the_candidates(run: Callable[..., ExperimentSummary]) -> None:
    """All else is noise: the moment, the id, the order of the tags, and what flickers."""
    summary = run(Service(2, bug=True), baseline=1.0)
    [candidate] = summary.candidates
    noise = candidate.noise
    assert noise is not None
    assert noise.runs == RUNS
    sources = {place: finding.source for place, finding in noise.places.items()}
    assert sources.pop("$.total changed") is Source.CANDIDATE
    assert set(sources.values()) == {Source.NOISE}
    assert {"$.at changed", "$.request.id changed", "$.stock changed"} < sources.keys()
    finding = noise.places["$.total changed"]
    assert (finding.candidate_rate, finding.baseline_rate) == (0.1, 0.0)


def test_a_group_is_the_candidates_if_the_bug_is_in_it(
    run: Callable[..., ExperimentSummary],
) -> None:
    """Every run differs in something; the groups with the bug are told from all others."""
    summary = run(Service(2, bug=True), baseline=1.0)
    assert summary.candidates[0].outcomes[Outcome.MISMATCHED] == RUNS
    assert len(summary.groups) > 3
    for group in (each for each in summary.groups if each.record.candidate == "candidate"):
        assert group.finding is not None
        has_bug = "$.total" in group.record.paths
        assert (group.finding.source is Source.CANDIDATE) is has_bug
    text = report([summary], 100, styled=False)
    assert "$.total changed" in text
    assert "the candidate's" in text


def test_a_candidate_that_is_another_control_has_nothing_of_its_own(
    run: Callable[..., ExperimentSummary],
) -> None:
    """However often it mismatches."""
    [candidate] = run(Service(2), baseline=1.0).candidates
    assert candidate.noise is not None
    findings = [*candidate.noise.places.values(), *candidate.noise.groups.values()]
    assert Source.CANDIDATE not in {finding.source for finding in findings}
    assert candidate.noise.whole.source is Source.NOISE


def test_with_a_second_look_the_bug_repeats_and_noise_does_not(
    run: Callable[..., ExperimentSummary],
) -> None:
    """What always changes never repeats; what flickers, in few of 100 runs: in both twice."""
    results: list[Result] = []
    [candidate] = run(Service(2, bug=True), recheck=True, after_run=results.append).candidates
    wrong = [r.control.value["total"] != r.candidates[0].value["total"] for r in results]
    repeated = [r.comparisons[0].recheck is Recheck.REPEATED for r in results]
    assert sum(wrong) == RUNS // 10
    assert all(again for again, is_wrong in zip(repeated, wrong, strict=True) if is_wrong)
    assert sum(repeated) - sum(wrong) <= 0.05 * RUNS
    assert candidate.unstable == RUNS - sum(repeated)


def test_a_bug_behind_a_long_list_is_not_pardoned(check: Callable[..., Checked]) -> None:
    """The comparator stops within the list: what comes after it is wrong in each run."""

    def wrong(number: int) -> dict[str, Any]:
        return {**service(number), "total": -1}

    service = Service(2, items=150)
    lax = ["--max-mismatch-rate", "0.2", "--max-hidden-rate", "0.3"]
    checked = check(wrong, Service(1, items=150), runs=60, limits=lax)
    assert checked.exit_code == 1, checked.output
    assert "60 mismatches in 60 runs" in checked.output


def test_with_a_larger_budget_the_list_is_noise_and_the_bug_is_found(
    run: Callable[..., ExperimentSummary],
) -> None:
    """As it is without a list."""
    summary = run(
        Service(2, bug=True, items=150),
        Service(1, items=150),
        runs=160,
        baseline=1.0,
        compare=comparators.budgeted(differences=1_000),
    )
    noise = summary.candidates[0].noise
    assert noise is not None
    assert noise.places["$.items[*] changed"].source is Source.NOISE
    own = [place for place, f in noise.places.items() if f.source is Source.CANDIDATE]
    assert own == ["$.total changed"]


@pytest.mark.parametrize("runs", [95, 400])
def test_a_dozen_flags_that_flicker_never_condemn_another_control(
    check: Callable[..., Checked], runs: int
) -> None:
    """They combine to thousands of groups, of which hardly any comes twice."""

    def flags(seed: int) -> Callable[[int], dict[str, bool]]:
        rng = random.Random(seed)
        return lambda number: {f"flag_{c}": rng.random() < 0.5 for c in "abcdefghijkl"}

    checked = check(flags(2), flags(1), runs=runs)
    assert checked.exit_code == 2, checked.output
    assert "not met" not in checked.output

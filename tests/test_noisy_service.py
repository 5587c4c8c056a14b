"""Of a service that differs from itself, only the bug of its replacement stays the candidate's."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import twinrun
from twinrun import Experiment, Outcome, Result
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
    """Gives an order with a moment, a random id, tags in no order and a stock that flickers."""

    def __init__(self, seed: int, bug: bool = False) -> None:
        self._rng = random.Random(seed)
        self._bug = bug

    def __call__(self, number: int) -> dict[str, Any]:
        """Look an order up; with the bug, one total in ten is wrong."""
        rng = self._rng
        tags = ["new", "gift", "fragile", "express"]
        rng.shuffle(tags)
        return {
            "at": rng.random(),
            "request": {"id": rng.getrandbits(64)},
            "tags": tags,
            "stock": 7 if rng.random() < 0.1 else 8,
            "lines": [{"price": n, "total": n * 2} for n in range(3)],
            "total": number + (self._bug and number % 10 == 0),
        }


@pytest.fixture
def run(name: str, tmp_path: Path) -> Callable[..., ExperimentSummary]:
    """Give what runs the service beside a candidate, and reads what is in the store then."""

    def run(candidate: Service, **options: Any) -> ExperimentSummary:
        location = str(tmp_path / "twinrun.db")
        publisher = StorePublisher(location)
        made = Experiment(
            name,
            control=Service(1),
            candidate=candidate,
            publishers=[publisher],
            order="control-first",
            **options,
        )
        for number in range(RUNS):
            made(number)
        assert twinrun.flush(WATCHDOG)
        publisher.close()
        with Store(location, create=False) as store:
            [record] = store.experiments()
            return read(store, record, 1_000)

    return run


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

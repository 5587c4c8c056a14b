"""Candidate and baseline are counted in pairs where both were judged on the same call."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import twinrun
from twinrun import Experiment, MismatchError, Outcome, Result, recording, tallies
from twinrun.paired import PairCounts, PairedRuns

WATCHDOG = 60.0  # seconds, a safety net only
MODES = ("inline", "concurrent", "background")


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    """Give each mode."""
    return str(request.param)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """Name the experiment like the test."""
    return str(request.node.nodeid)


def clock() -> Callable[[], dict[str, Any]]:
    """Make a control that gives another moment each time."""
    moments = iter(range(1_000))
    return lambda: {"at": next(moments), "total": 1}


def wrong() -> dict[str, Any]:
    """Give a total that is wrong, and no moment that the control ever gives."""
    return {"at": -1, "total": 2}


def paired(name: str, candidate: str = "candidate") -> PairedRuns:
    """Give what was counted in pairs once everything is done."""
    assert twinrun.flush(WATCHDOG)
    return tallies()[name].paired.get(candidate, PairedRuns())


ONCE = PairedRuns(
    runs=1,
    whole=PairCounts(both=1),
    places={"$.at changed": PairCounts(both=1), "$.total changed": PairCounts(candidate=1)},
)


def assert_counted_once(read: PairedRuns) -> None:
    """The control's own difference is both's, the bug is the candidate's, in a group of its own."""
    assert (read.runs, read.whole, read.places) == (ONCE.runs, ONCE.whole, ONCE.places)
    assert sorted(each.as_list() for each in read.groups.values()) == [[0, 0, 1], [0, 1, 0]]


def test_a_pair_is_counted_by_place_and_group_in_each_mode(mode: str, name: str) -> None:
    """The control's second run differs in the moment only."""
    with recording() as results:
        made = Experiment(name, mode=mode, baseline=1.0, control=clock(), candidate=wrong)
        made()
        assert_counted_once(paired(name))
    [result] = results
    assert [c.candidate.name for c in result.comparisons] == ["candidate", "baseline"]
    assert result.comparisons[0].fingerprint in tallies()[name].paired["candidate"].groups


def test_a_pair_is_counted_where_behaviours_are_awaited(mode: str, name: str) -> None:
    """Coroutine functions are no exception."""
    moments = clock()

    async def control() -> dict[str, Any]:
        await asyncio.sleep(0)
        return moments()

    async def main() -> None:
        made = Experiment(name, mode=mode, baseline=1.0)
        await made.aobserve(control=control, candidate=wrong)

    asyncio.run(main())
    assert_counted_once(paired(name))


def test_a_pair_of_streams_is_counted(mode: str, name: str) -> None:
    """Where the first items differ, that is the place."""
    moments = iter(range(1_000))

    def control() -> Iterator[int]:
        yield next(moments)

    def other() -> Iterator[int]:
        yield -1

    made = Experiment(name, mode=mode, baseline=1.0, control=control, candidate=other)
    assert len(list(made())) == 1
    read = paired(name)
    assert (read.runs, read.places) == (1, {"$[*] changed": PairCounts(both=1)})


def test_pairs_of_which_neither_differs_are_counted(mode: str, name: str) -> None:
    """They are what rates are shares of; an ignored difference is none."""
    made = Experiment(
        name,
        mode=mode,
        baseline=1.0,
        control=clock(),
        candidates={"api": wrong, "same": lambda: {"at": -1, "total": 1}},
        ignore=twinrun.ignores.path("$.at"),
    )
    for _ in range(3):
        made()
    assert paired(name, "same") == PairedRuns(runs=3)
    assert paired(name, "api").places == {"$.total changed": PairCounts(candidate=3)}


def test_without_a_baseline_there_are_no_pairs(mode: str, name: str) -> None:
    """Neither where it is not asked for, nor in runs that it is not part of."""
    made = Experiment(name, mode=mode, control=clock(), candidate=wrong)
    made()
    assert paired(name) == PairedRuns()
    alone = Experiment(f"{name} alone", mode=mode, baseline=1.0)
    alone.run(control=clock())
    assert paired(f"{name} alone") == PairedRuns()
    assert tallies()[f"{name} alone"].paired == {}


def test_a_side_that_was_not_judged_makes_no_pair(mode: str, name: str) -> None:
    """Where a comparison fails nothing is said of either side."""

    def compare(a: dict[str, Any], b: dict[str, Any]) -> bool:
        if b["total"] == 2:
            raise ValueError("cannot tell")
        return False

    with recording() as results:
        made = Experiment(
            name, mode=mode, baseline=1.0, control=clock(), candidate=wrong, compare=compare
        )
        made()
        assert paired(name) == PairedRuns()
    outcomes = [c.outcome for c in results[0].comparisons]
    assert outcomes == [Outcome.INCONCLUSIVE, Outcome.MISMATCHED]


def test_places_are_cleaned_like_those_that_are_stored(mode: str, name: str) -> None:
    """A secret that is a key does not come into the tally by the way of pairs."""
    secret = "ghp_" + "a1B2" * 9

    def other() -> dict[str, int]:
        return {secret: 1}

    made = Experiment(name, mode=mode, baseline=1.0, control=dict, candidate=other)
    made()
    read = paired(name)
    assert read.whole == PairCounts(candidate=1)
    assert secret not in str(read.as_dict())


def test_a_baseline_that_differs_raises_nothing(name: str) -> None:
    """Raising on mismatches is for candidates; pairs are counted all the same."""
    values = iter([1, 1, 1, 2])  # by the control, by the baseline, and once more

    def control() -> int:
        return next(values)

    alone = Experiment(name, baseline=1.0, order="control-first")
    with twinrun.raising():
        result = alone.observe(control=control)
        assert result.comparisons[0].outcome is Outcome.MATCHED
        result = alone.observe(control=control)
        assert result.comparisons[0].outcome is Outcome.MISMATCHED
        with pytest.raises(MismatchError):
            Experiment(f"{name} 2", baseline=1.0, control=clock(), candidate=wrong)()
    assert paired(f"{name} 2").runs == 1


def test_results_are_the_same_with_pairs(name: str) -> None:
    """What counts pairs takes the result after all publishers, and changes nothing of it."""
    seen: list[Result] = []
    made = Experiment(
        name, baseline=1.0, control=clock(), candidate=wrong, publishers=[seen.append]
    )
    assert made()["total"] == 1
    assert [c.outcome for c in seen[0].comparisons] == [Outcome.MISMATCHED] * 2
    assert_counted_once(paired(name))


def changing(total: int, count: int) -> Callable[[], dict[str, Any]]:
    """Make a service of which so many items change at each call, before a total."""
    numbers = itertools.count(total * 1_000_000)
    return lambda: {"items": [next(numbers) for _ in range(count)], "total": total}


def test_where_not_all_was_found_the_pair_is_the_candidates_alone(mode: str, name: str) -> None:
    """What a comparator did not look at counts, though the baseline was cut off like it."""
    with recording() as results:
        made = Experiment(
            name, mode=mode, baseline=1.0, control=changing(1, 150), candidate=changing(2, 150)
        )
        made()
        read = paired(name)
    alone = PairCounts(candidate=1)
    assert read.groups == {results[0].comparisons[0].fingerprint: alone}
    assert (read.whole, read.places) == (alone, {"$ cut": alone})


def test_a_baseline_alone_may_be_cut_off(name: str) -> None:
    """What is missing in its list makes the candidate look worse, and never better."""
    control = changing(1, 150)
    made = Experiment(name, baseline=1.0, control=control, candidate=lambda: {"total": 2})
    made()
    assert paired(name).places == {
        "$.items removed": PairCounts(candidate=1),
        "$.items[*] changed": PairCounts(baseline=1),
        "$.total changed": PairCounts(candidate=1),
    }


def test_places_behind_those_that_a_payload_shows_are_counted(mode: str, name: str) -> None:
    """Sixty moments come before the total that is wrong."""
    made = Experiment(
        name, mode=mode, baseline=1.0, control=changing(1, 60), candidate=changing(2, 60)
    )
    made()
    assert paired(name).places == {
        "$.items[*] changed": PairCounts(both=1),
        "$.total changed": PairCounts(candidate=1),
    }


def test_a_candidate_may_have_any_name(mode: str, name: str) -> None:
    """What is written of a name is cut; it is counted all the same."""
    long = "v" * 300
    Experiment(name, mode=mode, baseline=1.0, control=clock(), candidates={long: wrong})()
    assert_counted_once(paired(name, long))

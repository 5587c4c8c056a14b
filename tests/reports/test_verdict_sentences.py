"""What a verdict says: numbers in few digits that are never too good, in plain sentences."""

from __future__ import annotations

import datetime
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinrun.analysis.against import Between
from twinrun.analysis.latency import SlowerRuns
from twinrun.analysis.policy import Policy
from twinrun.analysis.verdict import (
    AgeCheck,
    HiddenCheck,
    InconclusiveCheck,
    PairedCheck,
    QuantileCheck,
    RateCheck,
    RunsCheck,
    Status,
    Verdict,
    judge,
)
from twinrun.analysis.window import Window
from twinrun.histogram import Histogram
from twinrun.reports import verdict as for_people
from twinrun.reports.verdict_markdown import document
from twinrun.reports.verdict_sentences import notes, reason, subject
from twinrun.result import Outcome
from twinrun.tally import CONTROL_FIRST, CONTROL_LAST, Tally
from verdicts import NOON, group, tally

OPEN = Status.NOT_ENOUGH_EVIDENCE
DAY = datetime.timedelta(days=1)


def rate(status: Status = Status.READY, **given: Any) -> RateCheck:
    """Make a check of mismatches."""
    values: dict[str, Any] = {
        "name": "mismatches",
        "counted": Between(0, 0),
        "timed_out": Between(0, 0),
        "runs": 41_210,
        "lower": 0.0,
        "upper": 0.0000725,
        "limit": 0.0001,
        "needed": 0,
    }
    return RateCheck(status=status, **{**values, **given})


def quantile(status: Status, lower: float, upper: float) -> QuantileCheck:
    """Make a check of the p99."""
    return QuantileCheck(status=status, name="p99", runs=300, lower=lower, upper=upper, limit=1.2)


def paired(status: Status) -> PairedCheck:
    """Make a check of pairs."""
    slower = SlowerRuns(runs=400, least=150, most=160, lower=0.3, upper=0.4531)
    return PairedCheck(status=status, slower=slower, limit=1.1)


def hidden(status: Status, lower: float, upper: float) -> HiddenCheck:
    """Make a check of noise."""
    return HiddenCheck(status=status, pairs=1, lower=lower, upper=upper, limit=0.01)


@pytest.mark.parametrize(
    ("check", "said"),
    [
        (
            rate(),
            "0 mismatches in 41,210 runs: with 95 % confidence at most 0.0073 %; the policy allows "
            "0.01 %",
        ),
        (
            rate(OPEN, counted=Between(1, 1), runs=1902, upper=0.00284, limit=0.001, needed=1873),
            "1 mismatch in 1,902 runs: with 95 % confidence at most 0.29 %; the policy allows "
            "0.1 %; about 1,900 more runs without a mismatch are needed",
        ),
        (
            rate(OPEN, name="errors", runs=1, upper=0.97, needed=1),
            "0 errors in 1 run: with 95 % confidence at most 97 %; the policy allows 0.01 %; "
            "about 1 more run without an error is needed",
        ),
        (
            rate(
                Status.NOT_READY,
                counted=Between(57, 60),
                timed_out=Between(3, 3),
                lower=0.00649,
                runs=5000,
                limit=0.001,
            ),
            "57 to 60 mismatches (3 timed out) in 5,000 runs: with 95 % confidence at least "
            "0.64 %; the policy allows 0.1 %",
        ),
        (
            quantile(Status.NOT_READY, 1.3149, 1.4301),
            "p99 is 1.31 to 1.44 times the control's; the policy allows 1.2",
        ),
        (
            quantile(OPEN, 0.899, 1.2001),
            "p99 is 0.89 to 1.21 times the control's: too few runs to tell; the policy allows 1.2",
        ),
        (
            quantile(OPEN, 0.0, math.inf),
            "p99 is not bounded by 300 runs; the policy allows 1.2",
        ),
        (
            quantile(Status.NOT_READY, 1.3, math.inf),
            "p99 is at least 1.3 times the control's by 300 runs; the policy allows 1.2",
        ),
        (
            paired(Status.READY),
            "in 150 to 160 of 400 runs the candidate took more than 1.1 times as long as the "
            "control: with 95 % confidence at most 45.4 %; the policy allows half",
        ),
        (
            paired(Status.NOT_READY),
            "in 150 to 160 of 400 runs the candidate took more than 1.1 times as long as the "
            "control: with 95 % confidence at least 30 %; the policy allows half",
        ),
        (
            InconclusiveCheck(status=OPEN, counted=Between(30, 30), judged=1030, limit=0.01),
            "in 30 of 1,030 runs (2.9 %) nothing could be compared; the policy allows 1 %",
        ),
        (
            hidden(Status.READY, 0.0, 0.0071),
            "in what counts as noise the candidate differs, with 95 % confidence, in at most "
            "0.71 % of runs more than the control from itself (1 run with a baseline); the policy "
            "allows 1 %",
        ),
        (RunsCheck(status=OPEN, runs=0, limit=1), "no run was compared"),
        (
            RunsCheck(status=OPEN, runs=1, limit=20),
            "1 run was compared; the policy asks for 20",
        ),
        (
            RunsCheck(status=Status.READY, runs=12_345, limit=2000),
            "12,345 runs were compared; the policy asks for 2,000",
        ),
        (
            AgeCheck(status=OPEN, age=6.99 * DAY, limit=7 * DAY),
            "runs were counted over 6.9 days; the policy asks for 7 days",
        ),
        (
            AgeCheck(status=OPEN, age=DAY / 16, limit=DAY),
            "runs were counted over 1.5 hours; the policy asks for 1 day",
        ),
        (
            AgeCheck(status=OPEN, age=0 * DAY, limit=DAY / 1440),
            "runs were counted over 0 seconds; the policy asks for 1 minute",
        ),
    ],
)
def test_each_check_is_told_in_a_sentence(check: Any, said: str) -> None:
    """With what was found, what it bounds, and what the policy asks."""
    assert reason(check, 0.95) == said


@given(st.floats(1e-9, 0.999), st.floats(1e-6, 0.9))
def test_an_upper_bound_is_written_no_lower_than_it_is(upper: float, limit: float) -> None:
    """And never as the limit itself where it is above it."""
    said = reason(rate(OPEN, upper=upper, limit=limit, needed=5), 0.95)
    written = float(said.partition("at most ")[2].partition(" %")[0])
    assert 100 * upper * (1 - 1e-9) <= written <= 100 * upper * 1.1
    if upper > limit * 1.0001:
        assert written > 100 * limit * (1 + 1e-9)


@given(st.floats(1e-9, 0.999), st.floats(1e-6, 0.9))
def test_a_lower_bound_is_written_no_higher_than_it_is(lower: float, limit: float) -> None:
    """So that what is said of a candidate is never worse than what is known."""
    said = reason(rate(Status.NOT_READY, lower=lower, limit=limit), 0.95)
    written = float(said.partition("at least ")[2].partition(" %")[0])
    assert 100 * lower * 0.9 <= written <= 100 * lower * (1 + 1e-9)


def verdict_on(counted: Tally, groups: Any = (), **policy: Any) -> Verdict:
    """Judge what was counted over all time."""
    members = {each.fingerprint: Between(each.count, each.count) for each in groups}
    window = Window(members=members)
    return judge("prices", "candidate", counted, groups, Policy(**policy), window)


def test_what_was_not_run_or_not_kept_is_said() -> None:
    """The share that was observed, why the rest was not, and what publishers lost."""
    counted = tally(50, skipped={"isolate": 1, "sample": 949}, dropped={"full": 3})
    assert list(notes(verdict_on(counted))) == [
        "1,000 runs, 5.0 % of them observed; skipped: sample 949, isolate 1",
        "publishers could not keep full 3: it counts, in no group",
    ]
    assert list(notes(verdict_on(tally(1)))) == ["1 run, all observed"]
    assert list(notes(verdict_on(Tally()))) == []


def test_what_does_not_count_is_said() -> None:
    """How many mismatches, in how many groups, and why."""
    groups = [
        group("aa", 1, state="accepted"),
    ]
    one = verdict_on(tally(99, {Outcome.MISMATCHED: 1}), groups)
    assert list(notes(one))[1] == "1 run in 1 group does not count: accepted"
    groups.append(group("bb", 1200, state="accepted"))
    more = verdict_on(tally(99, {Outcome.MISMATCHED: 1201}), groups)
    assert list(notes(more))[1] == "1,201 runs in 2 groups do not count: accepted"


def test_a_window_is_said() -> None:
    """Since when, and of what release."""
    window = Window(since=NOON, release="v2")
    verdict = judge("prices", "candidate", tally(9), [], Policy(), window)
    assert list(notes(verdict))[:2] == [
        "counted since 2026-03-01 12:00:00 UTC",
        "counted of release v2",
    ]


def test_orders_that_disagree_are_said() -> None:
    """With the median of each."""
    ratios = {
        "candidate": {
            CONTROL_FIRST: Histogram.of([0.8] * 1000),
            CONTROL_LAST: Histogram.of([1.25] * 1000),
        }
    }
    assert list(notes(verdict_on(tally(2000, ratios=ratios))))[1] == (
        "the median of candidate / control is 0.78 to 0.81 where the control ran first and 1.24 "
        "to 1.27 where the control ran last: the second side may find warm caches"
    )


def test_an_order_that_never_changed_is_said_where_speed_is_asked_for() -> None:
    """One side was always second."""
    ratios = {"candidate": {CONTROL_FIRST: Histogram.of([1.0] * 1000)}}
    counted = tally(1000, ratios=ratios)
    said = "in all runs the control ran first: the second side may have found warm caches"
    assert said in list(notes(verdict_on(counted, max_paired_ratio=2)))
    assert said in list(notes(verdict_on(counted, max_latency_ratio={"p50": 2})))
    assert said not in list(notes(verdict_on(counted)))


def test_a_candidate_is_named_where_it_has_a_name() -> None:
    """The default one is not."""
    assert subject(verdict_on(Tally())) == "prices"
    named = judge("prices", "fast", Tally(), [], Policy(), Window())
    assert subject(named) == "prices, fast"
    assert subject(judge("prices", None, Tally(), [], Policy(), Window())) == "prices"


def test_what_decides_stands_first() -> None:
    """Then what is open, then what is met."""
    verdict = verdict_on(
        tally(10_000, {Outcome.MISMATCHED: 300}), min_runs=1, max_latency_ratio={"p50": 2}
    )
    order = [str(check.status) for check in for_people.by_weight(verdict.checks)]
    assert order == ["not ready", "not enough evidence", "ready"]
    lines = for_people.text([verdict], 100, styled=False).splitlines()
    marks = [line[2:9].strip() for line in lines]
    assert [mark for mark in marks[1:] if mark] == ["not met", "open", "met"]


def test_verdicts_are_coloured_on_a_terminal_only() -> None:
    """Without style there is no escape code; between two verdicts is an empty line."""
    verdicts = [verdict_on(tally(5000)), verdict_on(tally(5))]
    assert "\x1b[" in for_people.text(verdicts, 100, styled=True)
    plain = for_people.text(verdicts, 100, styled=False)
    assert "\x1b" not in plain
    assert plain.split("\n\n")[1].startswith("prices: not enough evidence")


@given(st.text(min_size=1, max_size=30))
def test_markdown_keeps_any_name_in_code(name: str) -> None:
    """What begins as code ends as code, on its line."""
    verdict = judge(name, "candidate", tally(5), [], Policy(), Window())
    row = document([verdict]).split("\n")[2]
    fence = row[len("⏳ ") :].partition(" ")[0][: row.count("`")]
    ticks = len(fence) - len(fence.lstrip("`"))
    rest = row[len("⏳ ") + ticks :]
    assert rest.partition("`" * ticks + ": **not enough evidence**")[1]
    assert "`" * ticks not in rest.rpartition("`" * ticks + ": **")[0]

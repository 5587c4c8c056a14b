"""The report as text."""

from __future__ import annotations

import datetime
import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from twinrun.analysis.summary import Example, ExperimentSummary, Raised, summarise
from twinrun.histogram import Histogram
from twinrun.observation import NOTHING
from twinrun.paired import PairCounts, PairedRuns
from twinrun.reports.terminal import NARROWEST, report
from twinrun.result import BASELINE, Outcome
from twinrun.store import ExperimentRecord, GroupRecord
from twinrun.tally import CONTROL_FIRST, CONTROL_LAST, Tally

NOW = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)
TEXTS = st.text(st.characters(), max_size=30)
COUNTS = st.integers(1, 10**15)
SIDES = TEXTS | st.just(NOTHING) | st.lists(TEXTS) | st.builds(Raised, TEXTS, TEXTS)
HISTOGRAMS = st.lists(st.floats(1e-9, 1e9), max_size=3).map(Histogram.of)
TALLIES = st.builds(
    Tally,
    experiments=COUNTS,
    outcomes=st.dictionaries(TEXTS, st.dictionaries(st.sampled_from(list(Outcome)), COUNTS)),
    candidate_errors=st.dictionaries(TEXTS, COUNTS, max_size=2),
    skipped=st.dictionaries(TEXTS, COUNTS, max_size=2),
    failures=st.dictionaries(TEXTS, COUNTS, max_size=2),
    dropped=st.dictionaries(TEXTS, COUNTS, max_size=2),
    durations=st.dictionaries(TEXTS, HISTOGRAMS, max_size=2),
    ratios=st.dictionaries(TEXTS, st.dictionaries(TEXTS, HISTOGRAMS, max_size=2)),
)


def group(fingerprint: str, candidate: str = "api", count: int = 1, **given: object) -> GroupRecord:
    """Make a group's record."""
    facts: dict[str, object] = {
        "experiment": "x",
        "outcome": "mismatched",
        "reason": None,
        "kinds": ("changed",),
        "paths": ("$",),
        "control_exception": None,
        "candidate_exception": None,
        "first_seen": NOW,
        "last_seen": NOW,
        "state": "new",
        **given,
    }
    return GroupRecord(fingerprint=fingerprint, candidate=candidate, count=count, **facts)  # type: ignore[arg-type]


def summary(
    tally: Tally, *groups: GroupRecord, name: str = "x", example: Example | None = None
) -> ExperimentSummary:
    """Make a summary in which every group has the same example."""
    record = ExperimentRecord(name=name, first_seen=NOW, last_seen=NOW)
    return summarise(record, tally, groups, {g.fingerprint: example for g in groups})


GROUPS = st.builds(
    group,
    TEXTS,
    TEXTS,
    COUNTS,
    outcome=TEXTS,
    reason=st.none() | TEXTS,
    kinds=st.lists(TEXTS).map(tuple),
    paths=st.lists(TEXTS).map(tuple),
)


@settings(max_examples=25)
@given(
    st.builds(
        summary,
        TALLIES,
        GROUPS,
        name=TEXTS,
        example=st.none() | st.builds(Example, TEXTS, TEXTS, SIDES, SIDES),
    ),
    st.integers(1, 200),
)
def test_any_summary_can_be_shown(shown: ExperimentSummary, width: int) -> None:
    """Whatever a store holds, lines lose nothing, fit the width and steer no terminal."""
    text = report([shown], width, styled=False)
    assert all(cell_len(row) <= max(width, NARROWEST) for row in text.split("\n"))
    assert not any(unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl"} for c in text if c != "\n")
    assert not_spaces(text) == not_spaces(report([shown], 10_000, styled=False))


def not_spaces(text: str) -> list[str]:
    """Give the characters of a text that lines may not lose, whatever they are folded to."""
    return sorted("".join(text.split()))


TWO = Tally(
    experiments=20_000,
    outcomes={
        "api": {Outcome.MATCHED: 19_999, Outcome.IGNORED: 1},
        "sql": {Outcome.MATCHED: 20_000},
        BASELINE: {Outcome.MATCHED: 990, Outcome.MISMATCHED: 10},
    },
    ignored={"api": {"path('$.at'): the clock\x1b": 1}},
    failures={"compare": 2},
    dropped={"queue full": 1_000},
    durations={
        "control": Histogram.of([0.5]),
        "api": Histogram.of([0.25]),
        "sql": Histogram.of([2e-6]),
        BASELINE: Histogram.of([0.5]),
    },
    ratios={
        "api": {CONTROL_FIRST: Histogram.of([0.5]), CONTROL_LAST: Histogram.of([0.7])},
        "sql": {CONTROL_FIRST: Histogram.of([0.5])},
    },
)

TEXT = """\
x
  20,000 runs
  first seen 2026-03-01 00:00:00, last seen 2026-03-01 00:00:00 UTC

             match rate   mismatches   errors   ignored
  api          99.995 %            0        0         1
  sql             100 %            0        0         0
  baseline       99.0 %           10        0         0

        ignored by                    runs
  api   path('$.at'): the clock\\x1b      1

                          p50       p90       p99
  control              495 ms    495 ms    495 ms
  api                  247 ms    247 ms    247 ms
    ratio              0.495×    0.699×    0.699×
      control first    0.495×    0.495×    0.495×
      control last     0.699×    0.699×    0.699×
  sql                 2.01 µs   2.01 µs   2.01 µs
    ratio              0.495×    0.495×    0.495×
  baseline             495 ms    495 ms    495 ms

  failed callbacks: compare 2

  not kept: queue full 1,000

  group   count   share   candidate   kind      where
  a           1   100 %   api         changed   $
               [] → {'a': 1}
  b          10   100 %   baseline    changed   $
               [] → {'a': 1}

One group in full: twinrun show GROUP
"""  # noqa: RUF001


def test_several_candidates_stand_under_each_other() -> None:
    """Each candidate has its row, a baseline the last; groups name theirs."""
    groups = group("a"), group("b", BASELINE, 10)
    shown = summary(TWO, *groups, example=Example("$", "changed", [], {"a": 1}))
    assert report([shown], 100, styled=False) == TEXT


NOISY = Tally(
    outcomes={"api": {Outcome.MISMATCHED: 90}},
    unstable={"api": 7},
    paired={
        "api": PairedRuns(
            runs=200,
            whole=PairCounts(100, 44, 0),
            places={
                "$.at changed": PairCounts(100, 0, 0),
                "$.rare added": PairCounts(0, 2, 0),
                "$.total\x1b changed": PairCounts(0, 44, 0),
                **{f"$.field{number} changed": PairCounts(1, 0, 0) for number in range(9)},
            },
            groups={"a": PairCounts(100, 0, 1)},
        )
    },
)

NOISE = """\
        differs at            candidate   control itself   is
  api   anywhere                 72.0 %           50.0 %   the candidate's
  api   $.total\\x1b changed      22.0 %              0 %   the candidate's
  api   $.at changed             50.0 %           50.0 %   noise
  api   $.rare added              1.0 %              0 %   too few pairs to tell
"""


def test_noise_is_marked_with_both_rates() -> None:
    """Places and groups say whose they are; what is the candidate's stands first."""
    groups = [group(name, paths=(f"$.{place}",)) for name, place in (("a", "at"), ("b", "other"))]
    text = report([summary(NOISY, *groups)], 100, styled=False)
    assert NOISE in text
    assert "\n  and 2 more: --json has them all\n" in text
    assert "noise: 50.0 % of 200 pairs, by the control itself 50.5 %\n" in text
    assert "too few pairs to tell: none of 200 pairs fell into this group\n" in text


def test_mismatches_that_did_not_repeat_have_a_column() -> None:
    """It is there only where there are any."""
    text = report([summary(NOISY)], 100, styled=False)
    assert (
        "mismatches   errors   unstable\n  api          0 %           90        0          7"
        in text
    )
    assert "unstable" not in report([summary(TWO)], 100, styled=False)


def test_long_sides_stand_above_each_other() -> None:
    """Where both sides don't fit on one line, the second stands below the first."""
    example = Example("$", "changed", "a" * 40, "b" * 40)
    text = report([summary(Tally(), group("a"), example=example)], 100, styled=False)
    first, second = text.split("\n")[-5:-3]
    assert (first.strip(), second.strip()) == (f"'{'a' * 40}'", f"→ '{'b' * 40}'")
    assert first.index("'") == second.index("'")


def test_many_paths_are_counted() -> None:
    """Of a group's paths the first three are named, each once, and the others counted."""
    many = group("a", paths=("$.a", "$.b", "$.a", "$.c", "$.d", "$.e"))
    assert "$.a, $.b, $.c and 2 more\n" in report([summary(Tally(), many)], 100, styled=False)


def test_style_is_only_colour() -> None:
    """Without the escape codes, styled text is the plain one."""
    groups = group("a"), group("b", BASELINE, 10)
    shown = summary(TWO, *groups, example=Example("$", "changed", [], {"a": 1}))
    styled = report([shown], 100, styled=True)
    assert "\x1b[31m" in styled
    assert "\x1b" not in report([shown], 100, styled=False)

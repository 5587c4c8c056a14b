"""The report as JSON."""

from __future__ import annotations

import datetime
import json

from hypothesis import given
from hypothesis import strategies as st

from twinrun.analysis.summary import Example, Raised, summarise
from twinrun.observation import NOTHING
from twinrun.paired import PairCounts, PairedRuns
from twinrun.reports.json import VERSION, group, report
from twinrun.store import Exemplar, ExperimentRecord, GroupRecord
from twinrun.tally import Tally

NOW = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)
RECORD = GroupRecord(
    experiment="x",
    fingerprint="abc",
    candidate="api",
    outcome="mismatched",
    reason=None,
    kinds=("changed",),
    paths=("$",),
    control_exception=None,
    candidate_exception="ValueError",
    count=3,
    first_seen=NOW,
    last_seen=NOW,
    state="new",
)
NO_PAIRS = {
    "candidate_rate": 0.0,
    "baseline_rate": 0.0,
    "p": 1.0,
    "pairs": 8,
    "both": 0,
    "candidate_alone": 0,
    "baseline_alone": 0,
}
QUANTILES = {"count": 0, "p50": None, "p90": None, "p99": None}


def test_the_keys_stay() -> None:
    """The whole document of one experiment: these keys are the contract of version 1."""
    record = ExperimentRecord(name="x", first_seen=NOW, last_seen=NOW)
    example = Example("$", "changed", None, NOTHING)
    ignored = {"api": {"path('$.at'): the clock": 12}}
    paired = {"api": PairedRuns(runs=8, places={"$ changed": PairCounts(1, 0, 3)})}
    tally = Tally(skipped={"sample": 2}, ignored=ignored, unstable={"api": 5}, paired=paired)
    summary = summarise(record, tally, [RECORD], {"abc": example})
    assert json.loads(report([summary])) == {
        "version": 1,
        "experiments": [
            {
                "name": "x",
                "first_seen": "2026-03-01T12:00:00+00:00",
                "last_seen": "2026-03-01T12:00:00+00:00",
                "runs": 2,
                "experiments": 0,
                "skipped": {"sample": 2},
                "live_control": None,
                "failures": {},
                "dropped": {},
                "controls": {},
                "candidates": [
                    {
                        "name": "api",
                        "judged": 0,
                        "match_rate": None,
                        "outcomes": {
                            "matched": 0,
                            "mismatched": 0,
                            "ignored": 0,
                            "timed_out": 0,
                            "inconclusive": 0,
                        },
                        "ignored": {"path('$.at'): the clock": 12},
                        "unstable": 5,
                        "errors": 0,
                        "seconds": QUANTILES,
                        "ratio": QUANTILES,
                        "ratio_by_order": {},
                        "noise": {
                            "pairs": 8,
                            "level": 0.01,
                            "whole": {**NO_PAIRS, "source": "undecided"},
                            "places": {
                                "$ changed": {
                                    "source": "noise",
                                    "candidate_rate": 0.125,
                                    "baseline_rate": 0.5,
                                    "p": 1.0,
                                    "pairs": 8,
                                    "both": 1,
                                    "candidate_alone": 0,
                                    "baseline_alone": 3,
                                }
                            },
                            "uncounted": {},
                        },
                    }
                ],
                "baseline": None,
                "group_count": 1,
                "groups": [
                    {
                        "fingerprint": "abc",
                        "experiment": "x",
                        "candidate": "api",
                        "outcome": "mismatched",
                        "reason": None,
                        "state": "new",
                        "count": 3,
                        "share": 1.0,
                        "kinds": ["changed"],
                        "paths": ["$"],
                        "control_exception": None,
                        "candidate_exception": "ValueError",
                        "first_seen": "2026-03-01T12:00:00+00:00",
                        "last_seen": "2026-03-01T12:00:00+00:00",
                        "noise": {**NO_PAIRS, "source": "noise"},
                        "example": {
                            "path": "$",
                            "kind": "changed",
                            "control": {"value": None},
                            "candidate": {},
                        },
                    }
                ],
            }
        ],
    }


def test_a_group_gives_its_examples_as_recorded() -> None:
    """A group's document holds what was recorded, and where."""
    payload = {
        "id": "r",
        "order": ["control", "api"],
        "context": {"user": 1},
        "control": {"name": "control", "value": 1},
        "candidate": {
            "name": "api",
            "exception": {"type": "ValueError", "message": ""},
            "differences": [],
        },
    }
    exemplar = Exemplar(
        fingerprint="abc",
        result_id="r",
        sequence=2,
        payload=payload,
        host="h",
        pid=9,
        release=None,
        recorded_at=NOW,
    )
    document = json.loads(group(RECORD, 12, [exemplar]))
    assert document["version"] == VERSION
    assert document["group"]["share"] == 0.25
    assert document["group"]["examples"] == [
        {
            "sequence": 2,
            "result_id": "r",
            "recorded_at": "2026-03-01T12:00:00+00:00",
            "host": "h",
            "pid": 9,
            "release": None,
            "order": payload["order"],
            "context": payload["context"],
            "control": payload["control"],
            "candidate": payload["candidate"],
        }
    ]


TEXTS = st.text(st.characters())
SIDES = TEXTS | st.lists(st.integers()) | st.just(NOTHING) | st.builds(Raised, TEXTS, TEXTS)


@given(TEXTS, SIDES)
def test_the_text_is_ascii_and_reads_back(name: str, side: object) -> None:
    """Nothing in the text can steer a terminal, and every name and value comes back."""
    record = ExperimentRecord(name=name, first_seen=NOW, last_seen=NOW)
    summary = summarise(record, Tally(), [RECORD], {"abc": Example(name, name, side, side)})
    text = report([summary])
    assert text.isascii()
    assert all(c == "\n" or c.isprintable() for c in text)
    (found,) = json.loads(text)["experiments"]
    (listed,) = found["groups"]
    assert found["name"] == listed["example"]["path"] == name
    if side is NOTHING:
        assert listed["example"]["control"] == {}
    elif isinstance(side, Raised):
        exception = {"type": side.type, "message": side.message}
        assert listed["example"]["control"] == {"exception": exception}
    else:
        assert listed["example"]["control"] == {"value": side}

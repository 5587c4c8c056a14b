"""What is said of what is left out."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

import twinrun
from twinrun.cleaners import payload
from twinrun.ignores import kind, path
from twinrun.reports import remarks
from twinrun.store import Exemplar


def exemplar_of(control: Any, candidate: Any, **options: Any) -> Exemplar:
    """Make an exemplar of a run of these values."""
    with twinrun.recording() as results:
        experiment = twinrun.Experiment("x", publishers=(), on_failure=print, **options)
        experiment.run(control=lambda: control, candidate=lambda: candidate, context={"a": 1})
    data = payload(results[0])
    return Exemplar(
        fingerprint="abc",
        result_id="r",
        sequence=1,
        host="h",
        pid=1,
        release=None,
        recorded_at=datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC),
        payload={**data, "candidate": data["candidates"][0]},
    )


@pytest.mark.parametrize(
    ("judged", "text"),
    [
        ({}, ""),
        ({"differences_cut": 0}, ""),
        ({"differences_cut": 1}, "and 1 more difference not kept"),
        ({"differences_cut": 1200}, "and 1,200 more differences not kept"),
        (
            {"differences_incomplete": "deeper than 9 levels\x1b"},
            "Not everything was compared: deeper than 9 levels\\x1b",
        ),
        (
            {"differences_cut": 50, "differences_incomplete": "more than 100 differences"},
            "and 50 more differences not kept; not everything was compared: "
            "more than 100 differences",
        ),
    ],
)
def test_differences_that_are_not_listed_are_said(judged: dict[str, Any], text: str) -> None:
    """One sentence says how many differences are missing, and why more weren't found."""
    assert remarks.differences(judged) == text


def test_a_real_comparison_that_stopped_is_said() -> None:
    """A comparison that found more than it lists says so where it is shown."""
    judged = exemplar_of(list(range(300)), [n + 1000 for n in range(300)]).payload["candidate"]
    assert remarks.differences(judged) == (
        "and 50 more differences not kept; not everything was compared: more than 100 differences"
    )


def test_plain_values_need_no_legend() -> None:
    """Where nothing is left out, nothing is explained; not even for data that looks like it."""
    data = {"$withheld": "capture", "b": '"$withheld": "capture"'}
    assert remarks.legend([exemplar_of(data, {**data, "c": 1})]) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"capture": "nothing"}, 'capture="nothing"'),
        ({"capture": "differences"}, 'capture="differences"'),
        ({"clean": lambda value: 1 / 0}, "the experiment's clean raised"),
        ({"clean": lambda value: value.get("gone")}, "the experiment's clean made"),
    ],
)
def test_why_values_are_missing_is_said(options: dict[str, Any], said: str) -> None:
    """For each reason that a value is missing for, one line says whose wish it was."""
    legend = remarks.legend([exemplar_of({"a": 1}, {"a": 2}, **options)] * 2)
    assert len(legend) == 1
    assert said in legend[0]


def test_marks_of_secrets_are_explained() -> None:
    """That equal marks are equal secrets is said once, where there is one."""
    legend = remarks.legend([exemplar_of({"password": "hunter2!"}, {"password": "hunter3!"})] * 2)
    assert legend == ["[redacted …]: a secret; equal marks are equal secrets, if made with one key"]


def test_rules_that_ignored_other_differences_are_named() -> None:
    """With how many they ignored; nothing is said where none did."""
    rules = [path("$.a", reason="rounding"), kind("added")]
    exemplar = exemplar_of({"a": 1, "b": 1}, {"a": 2, "b": 2, "c": 3}, ignore=rules)
    judged = exemplar.payload["candidate"]
    assert [each["path"] for each in judged["differences"]] == ["$.b"]
    assert remarks.ignored(judged) == (
        "2 more differences, by path('$.a'): rounding; kind('added')"
    )
    one = exemplar_of({"a": 1, "b": 1}, {"a": 2, "b": 2}, ignore=rules).payload["candidate"]
    assert remarks.ignored(one) == "1 more difference, by path('$.a'): rounding"
    assert remarks.ignored(exemplar_of(1, 2).payload["candidate"]) == ""
    assert "ignored_by" not in exemplar_of(1, 2).payload["candidate"]

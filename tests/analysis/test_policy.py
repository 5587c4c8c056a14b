"""Policies: what they take, what they refuse, and where they are found."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinrun.analysis.policy import Policy, find, parse_age, quantile, read
from twinrun.errors import ConfigurationError


def test_a_policy_asks_for_little_unless_told() -> None:
    """One mismatch in a thousand runs, at 95 %."""
    policy = Policy()
    assert (policy.max_mismatch_rate, policy.confidence) == (0.001, 0.95)
    assert policy.alpha == pytest.approx(0.05)
    assert policy.max_error_rate is policy.max_paired_ratio is None
    assert (policy.max_latency_ratio, policy.accepted, policy.min_runs) == ({}, (), 0)
    assert policy.accepted_states == ("accepted",)


def test_a_policy_is_a_value_of_its_own() -> None:
    """It keeps what it was given as it was then, and can't be changed."""
    ratios, groups = {"p99": 1.2}, ["3f2a"]
    policy = Policy(max_latency_ratio=ratios, accepted=groups, min_age="7d")
    ratios["p50"] = 9
    groups.append("b")
    assert policy.max_latency_ratio == {"p99": 1.2}
    assert policy.accepted == ("3f2a",)
    assert policy.min_age == datetime.timedelta(days=7)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        policy.confidence = 0.5  # type: ignore[misc]


WRONG = [
    *[
        ("max_mismatch_rate", value)
        for value in (0, 1, -0.1, True, "0.1", None, 1e-13, float("nan"))
    ],
    *[("max_error_rate", value) for value in (0, 1.0, "1 %")],
    *[("max_hidden_rate", value) for value in (0, 2)],
    *[("max_inconclusive_rate", value) for value in (-0.1, 1.1, None)],
    *[("confidence", value) for value in (0.4, 1, 95, "95 %", float("nan"))],
    *[("max_paired_ratio", value) for value in (0, -1, float("inf"), "x", False)],
    *[("min_runs", value) for value in (-1, 1.5, True, "10", None)],
    *[("min_age", value) for value in ("7 days", "", 7, None, datetime.timedelta(-1), "1e9d")],
    *[
        ("max_latency_ratio", value)
        for value in (
            1.2,
            [("p99", 1.2)],
            {"p100": 1.2},
            {"p0": 1},
            {"p50": 0},
            {"p50": True},
            {"p50": "1"},
            {"p50": float("nan")},
            {99: 1.2},
            None,
        )
    ],
    *[("accepted", value) for value in ("3f2a", [1], [""], None, {"a": 1}, b"3f")],
    *[("accepted_states", value) for value in ("accepted", [None])],
]


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_what_is_not_accepted_is_refused_by_name(key: str, value: Any) -> None:
    """The text says the key, what was given and what is accepted."""
    with pytest.raises(ConfigurationError, match=f"^{key} is .*accepted (is|are) ") as caught:
        Policy(**{key: value})
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("1.5h", 5400), ("7d", 604_800), (" 2 w ", 1_209_600), ("0s", 0)],
)
def test_spans_of_time_are_read_with_their_unit(text: str, seconds: float) -> None:
    """Seconds, minutes, hours, days and weeks."""
    assert parse_age(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "7 days", "1d2h", "99999999999w", "٣d"])
def test_what_is_no_span_of_time_is_refused(text: str) -> None:
    """The text says which forms there are, or that it is too long."""
    with pytest.raises(ValueError, match=r"as 90s, 30m, 12h, 7d and 2w are|longer than any time"):
        parse_age(text)


@given(st.sampled_from(["50", "99", "99.9", "5", "99.99", "0.1"]))
def test_quantiles_are_named_in_percent(number: str) -> None:
    """The number is what the name says, without an error of rounding."""
    assert quantile(f"p{number}") == float(f"{number}e-2")


@pytest.mark.parametrize("name", ["p", "p100", "99", "p0", "p0.0", "p-1", "P99", "p99%", "p1e1"])
def test_what_is_no_quantile_is_refused(name: str) -> None:
    """The text says which forms there are."""
    with pytest.raises(ValueError, match=r"no quantile, as p50, p99 and p99\.9 are"):
        quantile(name)


def write(folder: Path, text: str) -> Path:
    """Write a pyproject.toml."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "pyproject.toml"
    path.write_text(text, "utf-8")
    return path


def test_policies_are_read_by_name(tmp_path: Path) -> None:
    """Every key of the class is a key of the table."""
    path = write(
        tmp_path,
        """
        [tool.twinrun.policies.payments]
        max_mismatch_rate = 0.00001
        confidence = 0.99
        max_error_rate = 0.00001
        max_latency_ratio = { p50 = 1.1, "p99.9" = 2 }
        max_paired_ratio = 1.1
        max_inconclusive_rate = 0
        max_hidden_rate = 0.001
        min_runs = 100_000
        min_age = "7d"
        accepted = ["3f2a9c1b4e"]
        accepted_states = ["accepted", "wanted"]

        [tool.twinrun.policies."odd name"]
        """,
    )
    policies = read(path)
    assert policies == {
        "payments": Policy(
            max_mismatch_rate=1e-5,
            confidence=0.99,
            max_error_rate=1e-5,
            max_latency_ratio={"p50": 1.1, "p99.9": 2},
            max_paired_ratio=1.1,
            max_inconclusive_rate=0,
            max_hidden_rate=0.001,
            min_runs=100_000,
            min_age="7d",
            accepted=["3f2a9c1b4e"],
            accepted_states=["accepted", "wanted"],
        ),
        "odd name": Policy(),
    }
    assert set(attrs.asdict(policies["payments"])) == {
        key for key in path.read_text().replace("=", " ").split() if key in attrs.asdict(Policy())
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not toml", "can't be read: "),
        ("[tool]\ntwinrun = 3", r"tool\.twinrun is no table; policies are \[tool\.twinrun"),
        ("[tool.twinrun]\npolicies = []", r"tool\.twinrun\.policies is no table"),
        (
            "[tool.twinrun.policies]\nfast = 1",
            r"\[tool\.twinrun\.policies\.fast\] is 1; accepted is a table",
        ),
        (
            "[tool.twinrun.policies.fast]\nmax_mismatchs = 1",
            r"policies\.fast\] has a key 'max_mismatchs'; accepted are accepted, .*min_runs",
        ),
        (
            "[tool.twinrun.policies.fast]\nconfidence = 95",
            r"policies\.fast\]: confidence is 95; accepted is at least 0\.5 and below 1",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_its_path_and_key(
    tmp_path: Path, text: str, said: str
) -> None:
    """Whoever reads the text knows where to mend it."""
    path = write(tmp_path, text)
    with pytest.raises(ConfigurationError, match=said) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    """Of both the path is told."""
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    for name in ("none.toml", "binary.toml"):
        with pytest.raises(ConfigurationError, match=rf"{name} can't be read"):
            read(tmp_path / name)


def test_the_nearest_file_with_policies_is_found(tmp_path: Path) -> None:
    """Files without policies, as in a part of a larger project, are passed over."""
    path = write(tmp_path / "a", "[tool.twinrun.policies.default]")
    write(tmp_path / "a" / "b", "[tool.other]")
    below = tmp_path / "a" / "b" / "c"
    below.mkdir()
    assert find(below) == path
    nearer = write(below, "[tool.twinrun.policies.default]\nmin_runs = 1")
    assert find(below) == nearer

"""The benchmarks' table tells the truth about targets and about peers that are missing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from benchmarks import __main__ as table
from benchmarks import calibration, measuring, overhead, service
from benchmarks.measuring import Effort, Row, missing, per_call, row_of


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set the rows that the table is made of."""

    def set_rows(*rows: Row) -> None:
        for part in table.PARTS:
            monkeypatch.setattr(part, "rows", lambda effort: [])
        monkeypatch.setattr(overhead, "rows", lambda effort: list(rows))

    return set_rows


@pytest.mark.parametrize(
    ("ours", "theirs", "target", "inverse", "met"),
    [
        (3.0, 1.0, 4.0, False, True),
        (5.0, 1.0, 4.0, False, False),
        (1.0, 9.0, 8.0, True, True),
        (1.0, 7.0, 8.0, True, False),
        (1.0, 7.0, None, True, None),
    ],
)
def test_a_target_is_a_ceiling_or_for_how_many_times_less_a_floor(
    ours: float, theirs: float, target: float | None, inverse: bool, met: bool | None
) -> None:
    """A row without a target is neither met nor missed."""
    row = row_of("work", "peer", [(ours, theirs)], target=target, inverse=inverse)
    assert row.ratio == (theirs / ours if inverse else ours / theirs)
    assert row.met is met


def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    """A round in which the machine was busy with something else does not count for more."""
    assert row_of("work", "peer", [(2.0, 1.0), (400.0, 100.0), (3.0, 1.0)]).ratio == 3


def test_loops_are_timed_in_turn() -> None:
    """Every round times each loop once, in the order given."""
    turns: list[str] = []
    loops = [lambda count, name=name: turns.append(name) for name in ("ours", "theirs")]
    rounds = per_call(loops, Effort(rounds=3, seconds=0.0, few=1))  # type: ignore[arg-type]
    assert [len(row) for row in rounds] == [2, 2, 2]
    assert turns[-6:] == ["ours", "theirs"] * 3


def test_what_only_the_first_call_takes_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that is slow once goes round as often, in every round, as one that never is."""
    now = 0.0
    counts: dict[str, list[int]] = {"slow at first": [], "even": []}
    monkeypatch.setattr(measuring.time, "process_time", lambda: now)

    def make(name: str) -> Callable[[int], None]:
        def loop(count: int) -> None:
            nonlocal now
            now += count * 1e-6 + (0.0 if counts[name] or name == "even" else 1.0)
            counts[name].append(count)

        return loop

    per_call([make(name) for name in counts], Effort(rounds=3, seconds=0.001, few=1))
    assert counts["slow at first"] == counts["even"]
    assert counts["even"][-3:] == pytest.approx([1000] * 3, rel=0.01)


def test_a_missing_peer_is_told_and_fails_only_where_it_is_required(
    measured: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Its row says so, and the exit code says so if asked to."""
    measured(missing("overhead", "laboratory's", "laboratory"))
    assert table.main(["--short"]) == 0
    assert "laboratory is not installed" in capsys.readouterr().out
    assert table.main(["--short", "--require-peers"]) == 1
    assert "pip install" in capsys.readouterr().err


def test_json_holds_the_same_rows(
    measured: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Each row says what was measured and whether its target is met."""
    measured(row_of("a call", "a bare one", [(2e-6, 1e-6)], target=1.5))
    assert table.main(["--json"]) == 0
    [row] = json.loads(capsys.readouterr().out)
    assert (row["work"], row["ratio"], row["target"], row["met"]) == ("a call", 2, 1.5, False)


def test_both_prices_are_the_same() -> None:
    """What is measured as a matching run does match."""
    from benchmarks.pricing import quote, quote_v2

    for unit_price in (1, 99, 1250):
        for quantity in (1, 9, 10, 99, 100, 250):
            priced = quote(unit_price, quantity, country="DE")
            assert quote_v2(unit_price, quantity, country="DE") == priced


def test_the_verdict_is_asked_after_every_run_of_simulated_migrations() -> None:
    """It keeps its word where a bound for one look does not."""
    allowed, naive, runs = calibration.rows(Effort(rounds=10, seconds=0.0, few=1))
    assert allowed.met
    assert naive.ratio is not None
    assert naive.ratio < 0.5
    assert (runs.ours, runs.theirs) == (379, 299)


def test_the_service_is_measured_in_each_variant() -> None:
    """Real requests to a real server; all variants answer."""
    rates = service.measure(rounds=1, seconds=0.1)
    assert list(rates) == ["none", "inline", "background", "stuck"]
    assert all(rate > 0 for rate in rates.values())


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_figure_of_memory_is_drawn(tmp_path: Path) -> None:
    """A curve over all runs, as well-formed SVG."""
    figure = tmp_path / "memory.svg"
    # In a process of its own: what its sink never takes would make every later flush say no.
    command = [sys.executable, "-m", "benchmarks.memory", str(figure), "--count", "200"]
    subprocess.run(command, cwd=Path(__file__).parents[1], timeout=60, check=True)
    drawn = ElementTree.parse(figure).getroot()
    [curve] = drawn.iter("{http://www.w3.org/2000/svg}polyline")
    assert len(curve.attrib["points"].split()) == 201

"""How often a real error under noise is found, by exact pairs and by rates alone, in simulations.

    python -m benchmarks.noise

Control, candidate and baseline meet the same calls. A place flips by itself, in each of the three
independently, so often that the control differs from itself at the rate of the noise; the candidate
is wrong there in a share of calls besides. What finds it is `twinrun.analysis.noise`, and Diffy's
rule with its default thresholds (twitter/diffy, `DifferencesFilterFactory`): a field is shown if it
differs in `raw` calls and the control from itself in `noise` of them, raw > noise, their difference
is more than 20 % of their sum, and more than 0.03 % of all calls.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from twinrun.analysis.noise import Source, judged
from twinrun.paired import PairCounts, PairedRuns

__all__ = ["SCENARIOS", "main", "powers"]

ROUNDS: Final = 2_000
SEED: Final = 20_260_301

SCENARIOS: Final = (
    *((0.10, 0.05, runs) for runs in (1_000, 10_000, 100_000)),
    *((0.10, 0.02, runs) for runs in (1_000, 10_000, 100_000)),
    *((0.50, 0.30, runs) for runs in (100, 1_000, 10_000)),
    *((0.50, 0.10, runs) for runs in (1_000, 10_000, 100_000)),
    *((0.0, 0.0003, runs) for runs in (10_000, 100_000, 1_000_000)),
    *((noise, 0.0, 1_000) for noise in (0.001, 0.01, 0.10, 0.50)),
)
"""The rate of the noise, the share of real errors beside it, and how many calls there are."""


def powers(noise: float, error: float, runs: int, rounds: int = ROUNDS) -> tuple[float, float]:
    """Give the share of simulations in which something is put down to the candidate: ours, theirs.

    With an error of zero, these are false alarms.
    """
    import numpy

    flip = (1 - math.sqrt(1 - 2 * noise)) / 2
    both = flip * (1 - flip)  # the control's first run was the one that flipped, or did not
    alone = noise - both
    chances = [
        error * noise + (1 - error) * both,
        error * (1 - noise) + (1 - error) * alone,
        (1 - error) * alone,
    ]
    rng = numpy.random.default_rng(SEED)
    drawn = rng.multinomial(runs, [*chances, 1 - sum(chances)], size=rounds)
    ours = theirs = 0
    for counts in drawn[:, :3].tolist():
        ours += _is_found(PairCounts(*counts), runs)
        theirs += _is_shown(counts[0] + counts[1], counts[0] + counts[2], runs)
    return ours / rounds, theirs / rounds


def _is_found(counts: PairCounts, runs: int) -> bool:
    """Say whether a place is put down to the candidate, its group being tested beside it."""
    paired = PairedRuns(runs=runs, places={"$.total changed": counts}, groups={"group": counts})
    noise = judged(paired)
    assert noise is not None
    return noise.places["$.total changed"].source is Source.CANDIDATE


def _is_shown(raw: int, noise: int, runs: int) -> bool:
    """Say whether Diffy shows a field."""
    if raw <= noise:
        return False
    return (raw - noise) / (raw + noise) * 100 > 20 and (raw - noise) / runs * 100 > 0.03


def _lines() -> Iterator[str]:
    """Give the table's rows."""
    yield f"{'noise':>8}  {'errors':>8}  {'calls':>9}  {'pairs':>7}  {'rates':>7}"
    for noise, error, runs in SCENARIOS:
        ours, theirs = powers(noise, error, runs)
        yield f"{noise:8.1%}  {error:8.2%}  {runs:9,}  {ours:7.1%}  {theirs:7.1%}"


def main() -> None:
    """Print the table."""
    for line in _lines():
        print(line)


if __name__ == "__main__":
    main()

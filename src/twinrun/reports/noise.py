"""Says, for a person, what is the candidate's and in what the control differs from itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from twinrun.analysis.noise import Finding, Noise, Source
from twinrun.paired import PairCounts
from twinrun.reports import figures

__all__ = ["LISTED", "left_out", "rows", "sentence"]

LISTED: Final = 10
"""How many places of one candidate are listed."""

_WHOSE: Final = {
    Source.CANDIDATE: "the candidate's",
    Source.NOISE: "noise",
    Source.UNDECIDED: "too few pairs to tell",
}


def rows(noise: Noise) -> Iterator[tuple[str, ...]]:
    """Give where a candidate differs, how often, how often the control itself, and whose it is.

    What is the candidate's stands first; then what it differs in most often.
    """
    if noise.whole.counts != PairCounts():
        yield ("anywhere", *_rates(noise.whole), _WHOSE[noise.whole.source])
    for place, finding in sorted(noise.places.items(), key=_weight)[:LISTED]:
        yield (place, *_rates(finding), _WHOSE[finding.source])


def left_out(noise: Noise) -> int:
    """Count the places that are not listed."""
    return max(len(noise.places) - LISTED, 0)


def sentence(finding: Finding) -> str:
    """Say whose a group of differences is, with both rates."""
    whose, rates = _WHOSE[finding.source], _rates(finding)
    pairs = f"{figures.count(finding.runs)} pair{'' if finding.runs == 1 else 's'}"
    if finding.counts == PairCounts():
        by = "" if finding.source is Source.UNDECIDED else " by where it differs"
        return f"{whose}{by}: none of {pairs} fell into this group"
    return f"{whose}: {rates[0]} of {pairs}, by the control itself {rates[1]}"


def _rates(finding: Finding) -> tuple[str, str]:
    """Write how often the candidate differs, and the control from itself."""
    counts = finding.counts
    return (
        figures.percentage(counts.both + counts.candidate, finding.runs),
        figures.percentage(counts.both + counts.baseline, finding.runs),
    )


def _weight(item: tuple[str, Finding]) -> tuple[bool, float, str]:
    """Order by whether it is the candidate's, by the candidate's rate, by place."""
    place, finding = item
    return finding.source is not Source.CANDIDATE, -finding.candidate_rate, place

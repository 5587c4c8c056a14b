"""Shortens a list of differences in which the same one comes again and again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from twinrun.fingerprints import generalise
from twinrun.reports import figures
from twinrun.reports.texts import line

__all__ = ["folded"]

_SHOWN: Final = 3  # of one kind at one generalised path


def folded(differences: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any] | str]:
    """Give the differences that are worth a line, in order, and sentences that stand for the rest.

    Of those of one kind at one generalised path the first 3 are; where there are more than 4 of
    them, a sentence follows that says how many and where.
    """
    places = [(each["kind"], generalise(each["path"])) for each in differences]
    counts, seen = Counter(places), Counter[tuple[str, str]]()
    for place, difference in zip(places, differences, strict=True):
        seen[place] += 1
        if seen[place] <= _SHOWN or counts[place] == _SHOWN + 1:
            yield difference
        elif seen[place] == _SHOWN + 1:
            yield f"and {figures.count(counts[place] - _SHOWN)} more at {line(place[1])}"

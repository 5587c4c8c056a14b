"""Counts the runs in which a candidate and the baseline were both judged, in pairs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import attrs

from twinrun._accounts import Account
from twinrun.fingerprints import fingerprint
from twinrun.paired import CUT, Divergence
from twinrun.result import BASELINE, Comparison, Outcome, Result

__all__ = ["PairTaker", "count_alike", "differ"]

_JUDGED: Final = frozenset({Outcome.MATCHED, Outcome.MISMATCHED, Outcome.IGNORED})


def _pairs(comparisons: Sequence[Comparison]) -> Iterator[tuple[Comparison, Comparison]]:
    """Give each candidate that was judged with the baseline, if that was, too; it stands last."""
    *others, baseline = comparisons
    if baseline.candidate.name == BASELINE and baseline.outcome in _JUDGED:
        yield from ((each, baseline) for each in others if each.outcome in _JUDGED)


def _is_alike(pair: Iterable[Comparison]) -> bool:
    """Say whether neither of a pair differs from the control."""
    return all(each.outcome is not Outcome.MISMATCHED for each in pair)


def differ(comparisons: Sequence[Comparison]) -> bool:
    """Say whether there is a pair of which either differs from the control."""
    return not all(map(_is_alike, _pairs(comparisons)))


def count_alike(account: Account, comparisons: Sequence[Comparison]) -> None:
    """Count the pairs of which neither differs from the control."""
    for pair in _pairs(comparisons):
        if _is_alike(pair):
            account.pair(pair[0].candidate.name)


@attrs.frozen
class PairTaker:
    """Takes results like a publisher, and counts the pairs of which either side differs."""

    account: Account
    any_thread = True

    def publish(self, result: Result) -> None:
        """Count the pairs; paths are cleaned as the store has them."""
        from twinrun.cleaners import places

        cleaned = places(result)
        for pair in _pairs(result.comparisons):
            if not _is_alike(pair):
                name = pair[0].candidate.name
                cut = _cut(pair[0])
                sides = (_divergence(result, name, each, cleaned) for each in pair)
                self.account.pair(name, *([cut] if cut else sides))


def _cut(judged: Comparison) -> Divergence | None:
    """Say that what differs was not all found, if so: nobody can tell whether that is noise, too.

    The baseline, which may not have been looked at that far either, is left out of such a pair.
    """
    is_cut = judged.outcome is Outcome.MISMATCHED and getattr(judged.differences, "cut", None)
    return Divergence(frozenset({f"$ {CUT}"}), str(judged.fingerprint)) if is_cut else None


def _divergence(
    result: Result, name: str, judged: Comparison, cleaned: Mapping[str, frozenset[str]]
) -> Divergence | None:
    """Say where one side differs; the baseline's group is the one that the candidate's would be."""
    if judged.outcome is not Outcome.MISMATCHED:
        return None
    places = cleaned[judged.candidate.name]
    if judged.candidate.name == name:
        return Divergence(places, str(judged.fingerprint))
    sides = judged.differences, result.control, judged.candidate
    return Divergence(places, fingerprint(result.experiment, name, *sides))

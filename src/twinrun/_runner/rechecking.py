"""Judges a run whose behaviours may be run again, and says which of its mismatches repeat.

A run with `recheck` is judged here, before it is concluded; where a candidate differs, the control
and it run once more. How they are run is a matter of the mode.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Set
from itertools import accumulate
from time import thread_time_ns
from typing import Final

import attrs

from twinrun import tracebacks
from twinrun._runner.containment import contained
from twinrun._runner.judging import judge
from twinrun._runner.recipe import Recipe
from twinrun._runner.scope import HOOK, scope
from twinrun._runner.steps import Run, reached
from twinrun.observation import Observation
from twinrun.patterns import split
from twinrun.result import BASELINE, Comparison, Outcome, Recheck

__all__ = ["judged_once", "rechecked"]

_DECIDED: Final = frozenset({Outcome.MATCHED, Outcome.MISMATCHED, Outcome.IGNORED})
_INDEX: Final = re.compile(r"\[-?\d+\]")


def judged_once(run: Run) -> Run:
    """Judge a run; its judge then gives this verdict again, and `doubts` names who runs once more.

    Those are the candidates that differ, and where there is one, the control.
    """
    began = thread_time_ns()
    outside = scope.get()
    try:
        scope.set(HOOK)  # inside, since a signal's handler may raise right after it
        found = list(_verdict(run))
        names = {c.candidate.name for c in found if c.outcome is Outcome.MISMATCHED} - {BASELINE}
        doubts = frozenset({run.control.name, *names} if names else ())
        return attrs.evolve(_with(run, found, began), doubts=doubts)
    except BaseException as error:  # of our own: the stack or the memory is at its end
        if not contained(error):
            raise
        return run
    finally:
        scope.set(outside)


def rechecked(run: Run, again: Mapping[str, Observation]) -> Run:
    """Mark the mismatches of a judged run by what its behaviours did when they ran once more.

    Nothing is said of a candidate that did not run again, could not be judged then, or where more
    differs than is listed. Exceptions of the second time are let go of.
    """
    began = thread_time_ns() - sum(round((each.cpu_time or 0) * 1e9) for each in again.values())
    outside = scope.get()
    try:
        scope.set(HOOK)
        return _with(run, [_marked(run, each, again) for each in _verdict(run)], began)
    except BaseException as error:
        if not contained(error):
            raise
        return run
    finally:
        scope.set(outside)
        _let_go(run, again)


def _verdict(run: Run) -> Iterator[Comparison]:
    """Give the comparisons of a run."""
    for each in run.candidates:
        yield run.judged(run.recipe, run.control, each, run.context)


def _with(run: Run, found: Iterable[Comparison], began_ns: int) -> Run:
    """Give the run with a judge that knows the comparisons, and what it took to find them."""
    by_name = {each.candidate.name: each for each in found}

    def known(_: Recipe, __: Observation, candidate: Observation, ___: object) -> Comparison:
        return by_name[candidate.name]

    spent_ns = run.recheck_ns + thread_time_ns() - began_ns
    return attrs.evolve(run, judged=known, recheck_ns=spent_ns)


def _marked(run: Run, first: Comparison, again: Mapping[str, Observation]) -> Comparison:
    """Say whether a mismatch repeats, as far as that can be told."""
    control, candidate = again.get(run.control.name), again.get(first.candidate.name)
    if first.outcome is not Outcome.MISMATCHED or control is None or candidate is None:
        return first
    itself = [
        judge(run.recipe, one, other, run.context)
        for one, other in ((run.control, control), (first.candidate, candidate))
    ]
    if any(c.outcome not in _DECIDED for c in itself):
        return first
    if any(getattr(c.differences, "cut", None) for c in (first, *itself)):
        return first  # what was not listed may repeat, or not
    places = {difference.path for difference in first.differences}
    by_control, by_candidate = (_touched(places, each) for each in itself)
    if places > by_control | by_candidate:
        return attrs.evolve(first, recheck=Recheck.REPEATED)
    if by_control and by_candidate:
        return attrs.evolve(first, recheck=Recheck.BOTH)
    return attrs.evolve(first, recheck=Recheck.CONTROL if by_control else Recheck.CANDIDATE)


def _touched(places: Set[str], itself: Comparison) -> Set[str]:
    """Give the places at which, around which or inside which a side differs from itself."""
    if itself.outcome is not Outcome.MISMATCHED:
        return frozenset()
    steps = [split(difference.path) for difference in itself.differences]
    # Where an item of a sequence was another one, others may have moved.
    stems = {"".join(each[:-1] if _INDEX.match(each[-1]) else each) for each in steps}
    around = {place for stem in stems for place in _around(stem)}
    return {p for p in places if p in around or not stems.isdisjoint(_around(p))}


def _around(place: str) -> Iterator[str]:
    """Give a place and those that it lies in."""
    return accumulate(split(place))


def _let_go(run: Run, again: Mapping[str, Observation]) -> None:
    """Drop the frames of what was raised the second time, but for what belongs to others too."""
    first = (run.control, *run.candidates)
    foreign = reached(*[e.exception for e in first], sys.exc_info()[1], chained=True) | run.foreign
    for each in again.values():
        if each.exception is not None and foreign.isdisjoint(reached(each.exception)):
            tracebacks.detach(each.exception)

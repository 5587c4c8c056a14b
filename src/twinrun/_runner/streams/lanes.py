"""A candidate's stream, compared with the control's as both come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from twinrun._runner.containment import contained, report
from twinrun._runner.endings import Ending
from twinrun._runner.gates import Call
from twinrun._runner.isolation import UnsharableError, copied, shared_types
from twinrun._runner.judging import judge, judge_late
from twinrun._runner.recipe import Recipe
from twinrun._runner.scope import HOOK, scope
from twinrun._runner.streams.sides import CLOSED, RAISED, RETURNED, Side
from twinrun.comparators import equal
from twinrun.comparators._glances import seem_equal
from twinrun.observation import NOTHING, Observation
from twinrun.result import Comparison, Outcome

__all__ = ["Lane"]

_shared: Final = shared_types()


class Lane(Side):
    """A candidate's stream, and what the comparison with the control's has come to so far.

    An ignored difference is remembered, the first one, and the comparison goes on; any other
    verdict but a match ends it. The candidate is driven on then, to see how far it goes. How it is
    driven is for those to say who make lanes of their own of this.
    """

    __slots__ = ("_by_eq", "_call", "_is_alone", "_limit_ns", "_sent", "_verdict", "context")

    def __init__(self, recipe: Recipe, call: Call, *, is_alone: bool = False) -> None:
        """Take the candidate's call; `is_alone` says that no caller waits for what it does."""
        super().__init__(recipe, call.name)
        self._call = call
        self._is_alone = is_alone
        self._by_eq = recipe.compare is equal
        self._limit_ns = None if recipe.timeout is None else recipe.timeout * 1e9
        self._sent: Any = None
        self._verdict: Comparison | None = None
        self.context: Mapping[str, Any] = {}
        """The run's context, for its ignore rules."""

    def close(self) -> None:
        """Close the stream if it is not at its end; what comes of that is nobody's business."""
        raise NotImplementedError

    def is_aimed(self, error: BaseException) -> bool:
        """Say whether what was raised while the candidate ran is aimed at the caller."""
        return not (self._is_alone or contained(error))

    def fail(self, error: BaseException) -> None:
        """Take note of what the candidate raised; a control must not find traces on it."""
        ending = Ending(None, error)
        self.end(RAISED, ending=ending)
        if not self._is_alone:
            ending.put_by()

    def is_decided(self) -> bool:
        """Say whether no further step can change the verdict."""
        return self._verdict is not None and self._verdict.outcome is not Outcome.IGNORED

    def is_late(self) -> bool:
        """Say whether the candidate has taken longer than it may."""
        return self._limit_ns is not None and self.ns > self._limit_ns

    def leave_undecided(self, reason: str) -> None:
        """Give up comparing."""
        self._verdict = Comparison(self.seen(NOTHING), Outcome.INCONCLUSIVE, reason)
        self.close()

    def receive(self, sent: Any) -> None:
        """Take a copy of what the caller sends, before any behaviour gets it."""
        if type(sent) in _shared:
            self._sent = sent
            return
        outside = scope.get()
        try:
            scope.set(HOOK)  # inside, since a signal's handler may raise right after it
            (self._sent,), _ = copied((sent,), {}, self._recipe.isolate, False)
        except BaseException as error:
            if not contained(error):
                raise
            if type(error) is not UnsharableError:
                report(self._recipe.name, "isolate", error, self._recipe.on_failure)
            self.leave_undecided("isolate: what was sent could not be copied")
        finally:
            scope.set(outside)

    def compare(self, control: Side) -> None:
        """Compare what the last step of this gave with what the control's gave."""
        if self._verdict is not None and self.is_decided():
            return
        values = a, b = control.item, self.item
        if control.ended is None and self.ended is None:
            if self._by_eq:
                try:
                    if a is b or seem_equal(a, b, False):
                        return
                except BaseException as error:  # it is asked again where that is accounted for
                    if not contained(error):
                        raise
            place = f"$[{control.items - 1}]"
        elif control.ended == self.ended == CLOSED:
            return
        elif control.ended == self.ended == RETURNED:
            if control.returned is self.returned is None:
                return  # what most generators return is no value that a comparator expects
            place, values = "$.returned", (control.returned, self.returned)
        else:
            place = f"$[{control.items - (control.ended is None)}]"
        self._judge(control, values, place)

    def _judge(self, control: Side, values: tuple[Any, Any], place: str) -> None:
        """Have one step judged like a run of its own."""
        outside = scope.get()
        try:
            scope.set(HOOK)  # inside, since a signal's handler may raise right after it
            a, b = control.seen(values[0]), self.seen(values[1])
            verdict = judge(self._recipe, a, b, self.context, place)
            outcome = verdict.outcome
            if outcome is Outcome.MATCHED or (outcome is Outcome.IGNORED and self._verdict):
                return
            self._verdict = verdict
        except BaseException as error:  # of our own: the stack or the memory is at its end
            if not contained(error):
                raise
            self._recipe.account.fail("internal")
        finally:
            scope.set(outside)

    def judged(self, candidate: Observation) -> Comparison:
        """Give the verdict on the whole stream."""
        late = judge_late(self._recipe, candidate)
        if late is not None:
            return late
        if self._verdict is None:
            return Comparison(candidate, Outcome.MATCHED)
        return attrs.evolve(self._verdict, candidate=candidate)

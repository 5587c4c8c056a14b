"""Hands results on: to publishers, recorders and `after_run`, and in tests to the caller."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from twinrun import settings
from twinrun._accounts import BATCH
from twinrun._runner.containment import contained, report
from twinrun._runner.pairing import PairTaker, differ
from twinrun._runner.recipe import Recipe, raises
from twinrun._runner.scope import HOOK, scope
from twinrun.errors import MismatchError
from twinrun.result import BASELINE, Comparison, Outcome, Result
from twinrun.settings import is_evidence_only
from twinrun.typing import PublisherLike

__all__ = [
    "Cleaned",
    "attend",
    "fold",
    "give",
    "is_for_any_thread",
    "is_wanted",
    "raise_if_mismatched",
    "takers",
    "tell",
]

_EVIDENCE: Final = frozenset({Outcome.MISMATCHED, Outcome.TIMED_OUT, Outcome.INCONCLUSIVE})


_AGAIN: Final = {
    "repeated": "the same",
    "control": "the control gave something else",
    "candidate": "the candidate gave something else",
    "both": "both gave something else",
}


class Cleaned:
    """The experiment's `clean`, whose failure is counted and then said by one exception."""

    __slots__ = ("_recipe",)

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe

    def __call__(self, value: Any) -> Any:
        assert self._recipe.clean is not None
        try:
            return self._recipe.clean(value)
        except BaseException as error:
            if not contained(error):
                raise
            report(self._recipe.name, "clean", error, self._recipe.on_failure)
            raise RuntimeError("clean failed") from None


def _publishers(recipe: Recipe) -> tuple[PublisherLike, ...]:
    """Give the experiment's own publishers, or the configured ones; none that can't be made."""
    own = recipe.publishers
    if own is not None:
        return own
    return _contained(recipe, "publish", lambda: settings.current.publishers) or ()


def attend(recipe: Recipe) -> None:
    """At the first run, let publishers that watch the tally know of it."""
    account = recipe.account
    if account.limit != 1:
        return
    account.limit = BATCH
    account.used()
    for publisher in _publishers(recipe):
        if any(publisher is known for known in account.publishers):
            continue
        account.publishers.append(publisher)
        watch = getattr(publisher, "watch", None)
        if watch is not None:
            _contained(recipe, "publish", watch, account)


def fold(recipe: Recipe) -> None:
    """Add a batch of matched runs to the totals; the first batch is one run."""
    outside = scope.get()
    try:
        scope.set(HOOK)  # inside, since a signal's handler may raise right after it
        attend(recipe)
        recipe.account.fold()
    except BaseException as error:  # of our own: the stack or the memory is at its end
        if not contained(error):
            raise
    finally:
        scope.set(outside)


def is_wanted(recipe: Recipe, comparisons: Sequence[Comparison]) -> bool:
    """Say whether anybody would look at the Result of such a run."""
    current = settings.current
    if recipe.after_run is not None or current.recorders:
        return True
    evidence = any(c.outcome in _EVIDENCE for c in comparisons)
    if evidence and (raises(recipe) or (recipe.baseline and differ(comparisons))):
        return True
    return any(evidence or not is_evidence_only(each) for each in _publishers(recipe))


def takers(recipe: Recipe, result: Result) -> list[PublisherLike]:
    """Give the publishers that take such a result."""
    evidence = any(c.outcome in _EVIDENCE for c in result.comparisons)
    found = [each for each in _publishers(recipe) if evidence or not is_evidence_only(each)]
    if recipe.baseline and differ(result.comparisons):
        found.append(PairTaker(recipe.account))
    return found


def is_for_any_thread(publisher: PublisherLike) -> bool:
    """Say whether a publisher does not mind on which thread it gets a result."""
    return getattr(publisher, "any_thread", False) is True


def give(recipe: Recipe, result: Result, publishers: Iterable[PublisherLike]) -> None:
    """Give the result to publishers; none that fails keeps it from the others."""
    for publisher in publishers:
        take: Any = getattr(publisher, "publish", publisher)
        _contained(recipe, "publish", take, result)


def tell(recipe: Recipe, result: Result) -> None:
    """Give the result, when it is published, to recorders and `after_run`."""
    for results in settings.current.recorders:
        results.append(result)
    if recipe.after_run is not None:
        _contained(recipe, "after_run", recipe.after_run, result)


def _contained(recipe: Recipe, operation: str, function: Callable[..., Any], *args: Any) -> Any:
    """Call something of the user's whose failure is reported only; None where it failed."""
    try:
        return function(*args)
    except BaseException as error:
        if not contained(error):
            raise
        report(recipe.name, operation, error, recipe.on_failure)
        return None


def raise_if_mismatched(recipe: Recipe, result: Result, control: BaseException | None) -> None:
    """Raise what is neither matched nor ignored, from the control's exception, where asked for."""
    if not raises(recipe) or not any(
        c.outcome in _EVIDENCE and c.candidate.name != BASELINE for c in result.comparisons
    ):
        return
    text = _text(result)
    try:
        error = recipe.mismatch_error(text, result)
    except Exception:  # a subclass that takes other arguments
        error = MismatchError(text, result)
    raise error from control


def _text(result: Result) -> str:
    """Say what differs, in cleaned values."""
    from twinrun.cleaners import one_line, payload

    try:
        data = payload(result)
        lines = [f"{result.experiment}: the candidate did not match"]
        for side in (data["control"], *data["candidates"]):
            outcome = side.get("outcome", "")
            what = side["exception"] or side.get("value")
            lines.append(f"  {side['name']}: {one_line(what)}{outcome and f' ({outcome})'}")
            if side.get("reason"):
                lines.append(f"    {side['reason']}")
            if "recheck" in side:
                lines.append(f"    when both ran once more: {_AGAIN[side['recheck']]}")
            for d in side.get("differences", ()):
                a, b = (one_line(d[s]) if s in d else "nothing" for s in ("control", "candidate"))
                lines.append(f"    {d['path']} {d['kind']}: {a} -> {b}")
            if side["traceback"]:
                lines += ["    " + line for line in side["traceback"].splitlines()]
        return "\n".join(lines)
    except Exception as error:
        return f"{result.experiment}: the candidate did not match (no text: {type(error).__name__})"

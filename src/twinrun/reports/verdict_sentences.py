"""Says, in plain sentences with numbers, what a verdict rests on."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator, Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Final

from twinrun.analysis.against import Between, Pardon
from twinrun.analysis.latency import orders_disagree
from twinrun.analysis.verdict import (
    AgeCheck,
    Check,
    HiddenCheck,
    InconclusiveCheck,
    PairedCheck,
    QuantileCheck,
    RateCheck,
    RunsCheck,
    Status,
    Verdict,
)
from twinrun.reports import figures
from twinrun.tally import CONTROL_FIRST, CONTROL_LAST

__all__ = ["notes", "reason", "subject"]

_SINGULAR: Final = {"mismatches": "mismatch", "errors": "error"}
_ORDERS: Final = {CONTROL_FIRST: "the control ran first", CONTROL_LAST: "the control ran last"}
_PARDONS: Final = {
    Pardon.ACCEPTED: "accepted",
    Pardon.NOISE: "noise: the control differs from itself there as often as the candidate",
}
_DIGITS: Final = 2
_MOST_DIGITS: Final = 6


def subject(verdict: Verdict) -> str:
    """Name what was judged: the experiment, and the candidate where it has a name of its own."""
    if verdict.candidate in (None, "candidate"):
        return verdict.experiment
    return f"{verdict.experiment}, {verdict.candidate}"


def reason(check: Check, confidence: float) -> str:
    """Say what a check found, beside what the policy allows or asks for; without a full stop."""
    match check:
        case RateCheck():
            return _rate(check, confidence)
        case QuantileCheck():
            return _quantile(check)
        case PairedCheck():
            return _paired(check, confidence)
        case InconclusiveCheck():
            return _inconclusive(check)
        case HiddenCheck():
            return _hidden(check, confidence)
        case RunsCheck():
            asked = f"; the policy asks for {figures.count(check.limit)}" * (check.limit > 1)
            compared = _runs(check.runs) if check.runs else "no run"
            return f"{compared} {'was' if check.runs < 2 else 'were'} compared{asked}"
        case AgeCheck():
            asked = _age(check.limit)
            return f"runs were counted over {_age(check.age)}; the policy asks for {asked}"


def notes(verdict: Verdict) -> Iterator[str]:
    """Say what else one should know: what was left out, and what does not agree."""
    if verdict.window.since is not None:
        yield f"counted since {figures.moment(verdict.window.since)} UTC"
    if verdict.window.release is not None:
        yield f"counted of release {verdict.window.release}"
    if verdict.runs:
        yield _observed(verdict)
    if verdict.against is not None:
        for why, count in verdict.against.pardoned.items():
            if count.most:
                groups = verdict.against.groups[why]
                where = f"{groups} group{'s' * (groups > 1)}"
                verb = "does" if count.most == 1 else "do"
                yield f"{_between(count, 'run')} in {where} {verb} not count: {_PARDONS[why]}"
    if verdict.dropped:
        yield f"publishers could not keep {_listed(verdict.dropped)}: it counts, in no group"
    yield from _orders(verdict)


def _rate(check: RateCheck, confidence: float) -> str:
    """Say how often something was counted, and what that bounds."""
    singular = _SINGULAR[check.name]
    late = f" ({_span(check.timed_out)} timed out)" if check.timed_out.most else ""
    counted = f"{_between(check.counted, singular)}{late} in {_runs(check.runs)}"
    bound = _bounded(check.status, check.lower, check.upper, check.limit)
    text = f"{counted}: with {_percent(confidence)} confidence {bound}; {_allowed(check.limit)}"
    if check.status is not Status.NOT_ENOUGH_EVIDENCE:
        return text
    one, more = ("an error" if check.name == "errors" else "a mismatch"), check.needed
    runs = f"{_about(more)} more run{'s' * (more > 1)} without {one}"
    return f"{text}; about {runs} {'are' if more > 1 else 'is'} needed"


def _quantile(check: QuantileCheck) -> str:
    """Say between what ratios a quantile lies."""
    allowed = f"the policy allows {_plain(check.limit)}"
    low, high = (
        _rounded(check.lower, check.limit, ROUND_FLOOR),
        _rounded(check.upper, check.limit, ROUND_CEILING),
    )
    if math.isinf(check.upper):
        least = f" at least {low} times the control's" if check.lower else " not bounded"
        return f"{check.name} is{least} by {_runs(check.runs)}; {allowed}"
    text = f"{check.name} is {low} to {high} times the control's"
    unsure = ": too few runs to tell" * (check.status is Status.NOT_ENOUGH_EVIDENCE)
    return f"{text}{unsure}; {allowed}"


def _paired(check: PairedCheck, confidence: float) -> str:
    """Say in how many runs the candidate was that much slower."""
    slower = check.slower
    bound = _bounded(check.status, slower.lower, slower.upper, 0.5)
    counted = f"{_span(Between(slower.least, slower.most))} of {_runs(slower.runs)}"
    return (
        f"in {counted} the candidate took more than {_plain(check.limit)} times as long as the "
        f"control: with {_percent(confidence)} confidence {bound}; the policy allows half"
    )


def _inconclusive(check: InconclusiveCheck) -> str:
    """Say how much could not be compared."""
    share = figures.percentage(check.counted.most, check.judged)
    counted = f"{_span(check.counted)} of {_runs(check.judged)}"
    return f"in {counted} ({share}) nothing could be compared; {_allowed(check.limit)}"


def _hidden(check: HiddenCheck, confidence: float) -> str:
    """Say what may be hidden by noise."""
    bound = _bounded(check.status, check.lower, check.upper, check.limit)
    return (
        f"in what counts as noise the candidate differs, with {_percent(confidence)} confidence, "
        f"in {bound} of runs more than the control from itself ({_runs(check.pairs)} with a "
        f"baseline); {_allowed(check.limit)}"
    )


def _observed(verdict: Verdict) -> str:
    """Say how many of all calls were experiments, and why the others were not."""
    if not verdict.skipped:
        return f"{_runs(verdict.runs)}, all observed"
    share = figures.percentage(verdict.experiments, verdict.runs)
    skipped = _listed(verdict.skipped)
    return f"{_runs(verdict.runs)}, {share} of them observed; skipped: {skipped}"


def _orders(verdict: Verdict) -> Iterator[str]:
    """Say where it matters which side ran first, and where only one ever did."""
    medians = verdict.medians
    if orders_disagree(medians):
        each = " and ".join(
            f"{_rounded(low, 1, ROUND_FLOOR)} to {_rounded(high, 1, ROUND_CEILING)} where "
            f"{_ORDERS.get(order, order)}"
            for order, (low, high) in medians.items()
        )
        yield f"the median of candidate / control is {each}: the second side may find warm caches"
    if list(medians) in ([CONTROL_FIRST], [CONTROL_LAST]) and _asks_for_speed(verdict):
        [order] = medians
        yield f"in all runs {_ORDERS[order]}: the second side may have found warm caches"


def _asks_for_speed(verdict: Verdict) -> bool:
    return bool(verdict.policy.max_latency_ratio or verdict.policy.max_paired_ratio)


def _bounded(status: Status, lower: float, upper: float, limit: float) -> str:
    """Write the bound that decides: the upper one, unless it is too high for certain."""
    if status is Status.NOT_READY:
        return f"at least {_rounded(100 * lower, 100 * limit, ROUND_FLOOR)} %"
    return f"at most {_rounded(100 * upper, 100 * limit, ROUND_CEILING)} %"


def _rounded(value: float, limit: float, rounding: str) -> str:
    """Write a bound in few digits that are never too good, and don't fall onto the limit."""
    if not math.isfinite(value) or value <= 0:
        return "0" if value <= 0 else "inf"
    exact, text = Decimal(f"{value:.12g}"), ""  # 100 * 0.0071 is not quite 0.71
    for digits in range(_DIGITS + (value >= 1), _MOST_DIGITS + 1):
        step = Decimal(1).scaleb(exact.adjusted() - digits + 1)
        text = f"{exact.quantize(step, rounding=rounding).normalize():f}"
        if text != _plain(limit) or value == limit:
            break
    return text


def _plain(value: float) -> str:
    """Write a number of a policy as it was written there."""
    return f"{Decimal(repr(float(value))).normalize():f}"


def _percent(share: float) -> str:
    """Write a share of a policy in percent."""
    return f"{(Decimal(repr(float(share))) * 100).normalize():f} %"


def _allowed(limit: float) -> str:
    return f"the policy allows {_percent(limit)}"


def _about(number: int) -> str:
    """Write a number in two digits, rounded up."""
    step = 10 ** max(len(str(number)) - 2, 0)
    return figures.count(-(-number // step) * step)


def _runs(number: int) -> str:
    return f"{figures.count(number)} run{'s' * (number != 1)}"


def _span(count: Between) -> str:
    """Write a count, or between what it lies."""
    if count.least == count.most:
        return figures.count(count.most)
    return f"{figures.count(count.least)} to {figures.count(count.most)}"


def _between(count: Between, singular: str) -> str:
    """Write how many there are of a thing."""
    plural = "es" if singular.endswith("ch") else "s"
    return f"{_span(count)} {singular}{plural * (count.most != 1)}"


def _listed(counts: Mapping[str, int]) -> str:
    """Write counts by name, the largest first."""
    by_count = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} {figures.count(number)}" for name, number in by_count)


def _age(age: datetime.timedelta) -> str:
    """Write a span of time in the unit that suits it."""
    seconds = age.total_seconds()
    units = ((86400, "day"), (3600, "hour"), (60, "minute"))
    unit, name = next((each for each in units if seconds >= each[0]), (1, "second"))
    number = f"{math.floor(10 * seconds / unit) / 10:g}"
    return f"{number} {name}{'s' * (number != '1')}"

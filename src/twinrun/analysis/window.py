"""What a verdict is about: all that was counted, or what came from a moment on, or of one release.

Tallies are kept by minute and release. Groups are counted over all time, so that of some it is only
known between what their members in a window lie.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import attrs

from twinrun.analysis.against import Between
from twinrun.store import Exemplar, GroupRecord, Store
from twinrun.tally import Tally

__all__ = ["LATE", "Window", "members", "open_window"]

LATE: Final = datetime.timedelta(hours=1)
"""By so much a tally may be booked later than the mismatches that it counts, as in an outage."""


@attrs.frozen(kw_only=True)
class Window:
    """What was counted from a moment on, or of one release, or all of it.

    `age` is the time between the first and the last minute of it; `members` tells of each group,
    by its fingerprint, how many belong to it.
    """

    since: datetime.datetime | None = None
    release: str | None = None
    age: datetime.timedelta = datetime.timedelta()
    members: Mapping[str, Between] = attrs.field(factory=dict)


def open_window(
    store: Store,
    experiment: str,
    tally: Tally,
    groups: Sequence[GroupRecord],
    since: datetime.datetime | None,
    release: str | None,
) -> Window:
    """Find out of each group how many of its members a window's tally counts.

    What is older than the first minute of it is not among them: it came before the moment that
    is asked about, or was purged.
    """
    span = store.span(experiment, since)
    chosen = store.span(experiment, since, release)
    if span is None or chosen is None:
        nobody = {group.fingerprint: Between() for group in groups}
        return Window(since=since, release=release, members=nobody)
    others = _others(store, experiment, tally, since, release)
    start = _start(span[0], since)

    def within(group: GroupRecord) -> Between:
        is_known = release is None and group.first_seen >= start
        kept = () if is_known else store.exemplars(group.fingerprint)
        return members(group, kept, start, release, others(group))

    return Window(
        since=since,
        release=release,
        age=chosen[1] - chosen[0],
        members={group.fingerprint: within(group) for group in groups},
    )


def _start(first: datetime.datetime, since: datetime.datetime | None) -> datetime.datetime:
    """Say from when on members are counted, by the first minute of the tallies."""
    if since is None:
        return first - LATE
    return max(first - LATE, min(first, since.replace(second=0, microsecond=0)))


def _others(
    store: Store,
    experiment: str,
    tally: Tally,
    since: datetime.datetime | None,
    release: str | None,
) -> Callable[[GroupRecord], int]:
    """Make what counts the outcomes, as those of a group, that other releases had meanwhile.

    That is all there is now but the tally, which was read before: what comes in between is theirs.
    """
    if release is None:
        return lambda group: 0
    rest = store.tally(experiment, since) - tally
    counts = {name: {str(o): n for o, n in each.items()} for name, each in rest.outcomes.items()}
    return lambda group: counts.get(group.candidate, {}).get(group.outcome, 0)


def members(
    group: GroupRecord,
    kept: Iterable[Exemplar],
    start: datetime.datetime,
    release: str | None,
    elsewhere: int,
) -> Between:
    """Say how many of a group's members came from a moment on, of one release.

    Its exemplars tell their time and release; of the others it is known whether all came from then
    on, and that `elsewhere` of them at the most are of other releases.
    """
    if group.last_seen < start:
        return Between()
    chosen = [each.recorded_at >= start and release in (None, each.release) for each in kept]
    least = sum(chosen)
    if group.first_seen >= start:
        least = max(least, group.count - elsewhere)
    return Between(least, group.count - chosen.count(False))

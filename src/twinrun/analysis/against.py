"""Counts what speaks against a candidate, and what a policy or the baseline takes off that."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence

import attrs

from twinrun.analysis.noise import Noise, Source
from twinrun.analysis.policy import Policy
from twinrun.errors import ConfigurationError
from twinrun.result import Outcome
from twinrun.store import GroupRecord
from twinrun.tally import Tally

__all__ = ["Against", "Between", "Pardon", "pardons", "weigh"]


class Pardon(enum.StrEnum):
    """Why a group does not count against its candidate."""

    ACCEPTED = "accepted"
    NOISE = "noise"


@attrs.frozen
class Between:
    """A count that is known only as far as this.

    Groups are counted over all time and all releases: how many of one belong to those that are
    asked about need not be known.
    """

    least: int = 0
    most: int = 0

    @classmethod
    def total(cls, counts: Iterable[Between]) -> Between:
        """Add up."""
        both = list(counts)
        return cls(sum(each.least for each in both), sum(each.most for each in both))

    def taken_from(self, count: int) -> Between:
        """Give what is left of a count that is known."""
        return Between(max(count - self.most, 0), max(count - self.least, 0))


@attrs.frozen(kw_only=True)
class Against:
    """What the runs of one candidate come to.

    `runs` are those that were compared; `mismatches` of them differed or timed out, and `errors`
    raised alone or timed out, in groups that nothing pardons. `pardoned` and `groups` tell how many
    mismatches, in how many groups, were pardoned why.
    """

    runs: int
    mismatches: Between
    errors: Between
    timed_out: Between
    inconclusive: Between
    pardoned: dict[Pardon, Between]
    groups: dict[Pardon, int]


def pardons(
    groups: Sequence[GroupRecord], candidate: str, policy: Policy, noise: Noise | None
) -> dict[str, Pardon]:
    """Say which groups of a candidate, by fingerprint, do not count against it, and why.

    Raises:
        ConfigurationError: what the policy accepts begins several groups of the experiment.
    """
    accepted = _accepted(groups, policy)
    own = [group for group in groups if group.candidate == candidate]
    found = {group.fingerprint: Pardon.NOISE for group in own if _is_noise(group, noise)}
    return found | {
        group.fingerprint: Pardon.ACCEPTED
        for group in own
        if group.fingerprint in accepted or group.state in policy.accepted_states
    }


def _accepted(groups: Sequence[GroupRecord], policy: Policy) -> set[str]:
    """Find the groups that the policy names."""
    found: set[str] = set()
    for beginning in policy.accepted:
        meant = {g.fingerprint for g in groups if g.fingerprint.startswith(beginning)}
        if len(meant) > 1 and beginning not in meant:
            raise ConfigurationError(
                f"accepted has {beginning!r}, which begins {len(meant)} groups: say more of it"
            )
        found |= meant & {beginning} or meant
    return found


def _is_noise(group: GroupRecord, noise: Noise | None) -> bool:
    """Whether the control differs from itself there as often as the candidate from it."""
    finding = None if noise is None else noise.of_group(group)
    return finding is not None and finding.source is Source.NOISE


def weigh(
    tally: Tally,
    candidate: str,
    groups: Sequence[GroupRecord],
    pardoned: Mapping[str, Pardon],
    within: Mapping[str, Between],
) -> Against:
    """Count what speaks against a candidate; `within` is how many of each group the tally counts.

    The tally is exact; groups lack what a publisher could not keep. So what is pardoned is taken
    off the tally, and whatever is in no group counts against the candidate.
    """
    groups = [group for group in groups if group.candidate == candidate]
    outcomes = {outcome: tally.outcomes.get(candidate, {}).get(outcome, 0) for outcome in Outcome}

    def left(outcome: Outcome) -> Between:
        those = (g.fingerprint for g in groups if g.outcome == outcome)
        return Between.total(within[g] for g in those if g in pardoned).taken_from(
            outcomes[outcome]
        )

    mismatched, timed_out = left(Outcome.MISMATCHED), left(Outcome.TIMED_OUT)
    raised = _raised(groups, within, pardoned, outcomes[Outcome.MISMATCHED])
    ever = tally.candidate_errors.get(candidate, 0)
    raised = Between(min(raised.least, ever), min(raised.most, ever))
    return Against(
        runs=sum(outcomes.values()) - outcomes[Outcome.INCONCLUSIVE],
        mismatches=Between.total([mismatched, timed_out]),
        errors=Between.total([raised, timed_out]),
        timed_out=timed_out,
        inconclusive=left(Outcome.INCONCLUSIVE),
        pardoned={
            why: Between.total(within[g] for g, reason in pardoned.items() if reason is why)
            for why in Pardon
        },
        groups={
            why: sum(1 for g, reason in pardoned.items() if reason is why and within[g].most)
            for why in Pardon
        },
    )


def _raised(
    groups: Sequence[GroupRecord],
    within: Mapping[str, Between],
    pardoned: Mapping[str, Pardon],
    mismatched: int,
) -> Between:
    """Count the mismatches in which the candidate raised alone; any that is in no group may be."""
    mismatches = [group for group in groups if group.outcome == Outcome.MISMATCHED]
    known = Between.total(within[group.fingerprint] for group in mismatches)
    lost = known.taken_from(mismatched).most
    alone = Between.total(
        within[group.fingerprint]
        for group in mismatches
        if group.candidate_exception
        and not group.control_exception
        and group.fingerprint not in pardoned
    )
    return Between(alone.least, alone.most + lost)

"""What speaks against a candidate is counted in full, and pardoned only where that is known."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinrun.analysis.against import Against, Between, Pardon, pardons, weigh
from twinrun.analysis.noise import judged
from twinrun.analysis.policy import Policy
from twinrun.errors import ConfigurationError
from twinrun.paired import PairCounts, PairedRuns
from twinrun.result import Outcome
from twinrun.store import GroupRecord
from twinrun.tally import Tally
from verdicts import group, tally


def weighed(counted: Tally, groups: list[GroupRecord], **policy: Any) -> Against:
    """Weigh what was counted over all time."""
    pardoned = pardons(groups, "candidate", Policy(**policy), None)
    within = {each.fingerprint: Between(each.count, each.count) for each in groups}
    return weigh(counted, "candidate", groups, pardoned, within)


def test_every_outcome_counts_as_what_it_is() -> None:
    """Ignored runs were compared, timed out ones differ, inconclusive ones are not compared."""
    outcomes = {
        Outcome.MISMATCHED: 20,
        Outcome.IGNORED: 300,
        Outcome.TIMED_OUT: 4,
        Outcome.INCONCLUSIVE: 5,
    }
    against = weighed(tally(1000, outcomes), [])
    assert against.runs == 1324
    assert against.mismatches == Between(24, 24)
    assert against.timed_out == Between(4, 4)
    assert against.inconclusive == Between(5, 5)


def test_a_group_is_accepted_by_name_by_a_beginning_or_by_its_state() -> None:
    """What is left counts."""
    groups = [group("aa11", 5), group("aa22", 7), group("bb", 11), group("cc", 1, state="accepted")]
    counted = tally(1000, {Outcome.MISMATCHED: 24})
    assert weighed(counted, groups).mismatches == Between(23, 23)
    assert weighed(counted, groups, accepted=["aa1"]).mismatches == Between(18, 18)
    assert weighed(counted, groups, accepted=["aa22", "b", "aa2"]).mismatches == Between(5, 5)
    assert weighed(counted, groups, accepted=["nobody"]).mismatches == Between(23, 23)
    states = weighed(counted, groups, accepted_states=["new"])
    assert states.mismatches == Between(1, 1)
    assert states.groups == {Pardon.ACCEPTED: 3, Pardon.NOISE: 0}
    assert states.pardoned[Pardon.ACCEPTED] == Between(23, 23)


def test_a_beginning_of_several_groups_names_none_of_them() -> None:
    """Unless it is the whole name of one; groups of other candidates count as well."""
    groups = [group("aa", 5), group("aa2", 7), group("ab", 1, candidate="other")]
    counted = tally(1000, {Outcome.MISMATCHED: 12})
    assert weighed(counted, groups, accepted=["aa"]).mismatches == Between(7, 7)
    with pytest.raises(ConfigurationError, match="'a', which begins 3 groups: say more of it"):
        weighed(counted, groups, accepted=["a"])


def test_a_mismatch_in_no_group_counts() -> None:
    """What a publisher lost is pardoned by nothing; groups ahead of the tally don't go below 0."""
    groups = [group("aa", 5, state="accepted")]
    assert weighed(tally(90, {Outcome.MISMATCHED: 9}), groups).mismatches == Between(4, 4)
    assert weighed(tally(90, {Outcome.MISMATCHED: 3}), groups).mismatches == Between(0, 0)


def test_each_outcome_is_pardoned_by_its_own_groups() -> None:
    """An accepted timeout pardons no mismatch."""
    outcomes = {Outcome.MISMATCHED: 10, Outcome.TIMED_OUT: 10, Outcome.INCONCLUSIVE: 10}
    groups = [
        group("aa", 3, outcome="timed_out", state="accepted"),
        group("bb", 2, outcome="inconclusive", state="accepted"),
    ]
    against = weighed(tally(90, outcomes), groups)
    assert against.mismatches == Between(17, 17)
    assert against.inconclusive == Between(8, 8)


def test_an_error_is_a_candidate_that_fails_alone() -> None:
    """It raises where the control does not, or times out; what is in no group may be one."""
    groups = [
        group("alone", 4, candidate_exception="KeyError"),
        group("both", 5, candidate_exception="KeyError", control_exception="ValueError"),
        group("value", 6),
        group("wanted", 7, candidate_exception="KeyError", state="accepted"),
    ]
    outcomes = {Outcome.MISMATCHED: 24, Outcome.TIMED_OUT: 3}
    counted = tally(1000, outcomes, candidate_errors={"candidate": 100})
    assert weighed(counted, groups).errors == Between(4 + 3, 4 + 2 + 3)
    few = tally(1000, outcomes, candidate_errors={"candidate": 5})
    assert weighed(few, groups).errors == Between(4 + 3, 5 + 3)


def test_groups_of_another_candidate_change_nothing() -> None:
    """Each candidate is weighed alone."""
    groups = [group("aa", 5, candidate="other", state="accepted")]
    assert weighed(tally(90, {Outcome.MISMATCHED: 9}), groups).mismatches == Between(9, 9)
    assert weighed(Tally(), groups).runs == 0


def test_noise_is_pardoned_and_acceptance_stands_over_it() -> None:
    """A group in which the control differs from itself as often is noise; one alone is not."""
    paired = PairedRuns(
        runs=1000,
        whole=PairCounts(0, 60, 50),
        groups={"noisy": PairCounts(0, 50, 50), "real": PairCounts(0, 30, 0)},
    )
    noise = judged(paired)
    groups = [group("noisy", 50), group("real", 30), group("noisy-too", 1, candidate="other")]
    assert pardons(groups, "candidate", Policy(), noise) == {"noisy": Pardon.NOISE}
    accepted = pardons(groups, "candidate", Policy(accepted=["noisy"]), noise)
    assert accepted == {"noisy": Pardon.ACCEPTED}


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_what_is_left_of_a_count_lies_between_its_ends(total: int, a: int, b: int) -> None:
    """Never below zero, never above the whole."""
    taken = Between(min(a, b), max(a, b))
    left = taken.taken_from(total)
    assert 0 <= left.least <= left.most <= total
    for inside in (taken.least, taken.most):
        assert left.least <= max(total - inside, 0) <= left.most

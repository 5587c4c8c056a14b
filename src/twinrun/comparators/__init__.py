"""Comparators: callables that say whether a candidate's value may stand for the control's.

A comparator is any callable of the two values that gives a bool. One that has
`differences(control, candidate)` too can also say what differs.
"""

from __future__ import annotations

from twinrun.comparators.equality import equal
from twinrun.comparators.raised import same_error

__all__ = ["equal", "same_error"]

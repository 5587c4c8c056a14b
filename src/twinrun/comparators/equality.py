"""The default comparison of two values."""

from __future__ import annotations

from typing import Any

from twinrun.comparators.structural import differences
from twinrun.difference import Difference

__all__ = ["equal"]


class _Equal:
    """Equality that survives NaN, arrays, cycles and any depth, and can say what differs."""

    __slots__ = ()

    def __call__(self, control: Any, candidate: Any) -> bool:
        """Whether the two values are equal; raises what `structural.differences` raises."""
        if control is candidate:
            return True
        try:
            if (control == candidate) is True:
                return True
        except Exception:  # the walk finds out whether this hides a real difference
            pass
        return not differences(control, candidate, limit=1)

    def differences(self, control: Any, candidate: Any) -> list[Difference]:
        """Say what differs: nothing exactly where the two values are equal."""
        try:
            if (control == candidate) is True:
                return []
        except Exception:
            pass
        return differences(control, candidate)

    def __repr__(self) -> str:
        return "equal"


equal = _Equal()
"""The default comparator: `==`, and where that is not True, the content, as the walk finds it.

What one `==` of the whole calls True is equal, so a list takes an array of one element for it."""

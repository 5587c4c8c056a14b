"""The comparison of what two behaviours raised."""

from __future__ import annotations

__all__ = ["same_error"]


def same_error(control: BaseException, candidate: BaseException) -> bool:
    """Whether two exceptions have the very same type and the same message.

    Raises whatever an exception's own `__str__` raises.
    """
    return control is candidate or (
        type(control) is type(candidate) and str(control) == str(candidate)
    )

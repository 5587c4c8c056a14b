"""Tells objects that they woke up in a forked child."""

from __future__ import annotations

import os
import weakref
from typing import Protocol, TypeVar

__all__ = ["after_fork_in_child"]


class _Forkable(Protocol):
    def after_fork(self) -> None:
        """Forget what belongs to the parent: no I/O, no logging, no lock of before the fork."""


F = TypeVar("F", bound=_Forkable)

_living: weakref.WeakSet[_Forkable] = weakref.WeakSet()


def after_fork_in_child(obj: F) -> F:
    """Have `obj.after_fork()` called in every child that forks off while `obj` lives; give `obj`.

    Where processes do not fork (Windows) it is never called.
    """
    _living.add(obj)
    return obj


def _wake_in_child() -> None:
    for obj in list(_living):
        obj.after_fork()


# One hook for all: what is registered here can never be taken back.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_wake_in_child)

"""Tells objects that the process forks, and that they woke up in a forked child."""

from __future__ import annotations

import os
import weakref
from typing import Protocol, TypeVar

__all__ = ["after_fork_in_child", "around_fork"]


class _Forkable(Protocol):
    def after_fork(self) -> None:
        """Forget what belongs to the parent: no I/O, no logging, no lock of before the fork."""


class _Restless(_Forkable, Protocol):
    def before_fork(self) -> None:
        """Come to rest, soon or not at all, and stay so."""

    def after_fork_in_parent(self) -> None:
        """Go on, on the thread that has forked."""


F = TypeVar("F", bound=_Forkable)
R = TypeVar("R", bound=_Restless)

_living: weakref.WeakSet[_Forkable] = weakref.WeakSet()
_restless: weakref.WeakSet[_Restless] = weakref.WeakSet()


def after_fork_in_child(obj: F) -> F:
    """Have `obj.after_fork()` called in every child that forks off while `obj` lives; give `obj`.

    Where processes do not fork (Windows) it is never called.
    """
    _living.add(obj)
    return obj


def around_fork(obj: R) -> R:
    """Have `obj` at rest while the process forks, too; give `obj`."""
    _restless.add(obj)
    return after_fork_in_child(obj)


def _rest() -> None:
    for obj in list(_restless):
        obj.before_fork()


def _go_on() -> None:
    for obj in list(_restless):
        obj.after_fork_in_parent()


def _wake_in_child() -> None:
    for obj in list(_living):
        obj.after_fork()


# One hook for all: what is registered here can never be taken back.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_rest, after_in_parent=_go_on, after_in_child=_wake_in_child)

"""The end of a process: what still runs and what is queued anywhere share two seconds."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final, Protocol

from twinrun._delivery.waiting import Request

__all__ = ["EXIT_SECONDS", "Ending", "at_exit", "before_exit", "hook"]

EXIT_SECONDS: Final = 2.0
"""So long an exiting process waits for everything that runs or is queued anywhere."""


class Ending(Protocol):
    """Something that an exit waits for."""

    def ask(self) -> Request | None:
        """Ask for all to be delivered."""

    def wait_for(self, request: Request | None, deadline: float) -> bool:
        """Wait for that until the deadline; False if it did not come to pass."""

    def end(self) -> None:
        """Take nothing more, and count what is left."""


_USED_LATE: Final = (
    "copy",
    "hashlib",
    "json",
    "linecache",
    "logging",
    "numbers",
    "queue",
    "twinrun._logging",
    "unicodedata",
)
"""What is imported where it is used, by threads of ours.

If the process forks in the middle of an import, the child waits for ever for its end: so all this
is there before any thread is.
"""

_open: Final[weakref.WeakSet[Ending]] = weakref.WeakSet()
_first: Final[list[Callable[[float], object]]] = []
_spent: Final = [0.0]  # seconds, of those that this process has for its end
_hooked: Final[list[int]] = []  # the process whose exit is hooked
_on_threads_end: Final[list[bool]] = []  # a hook that every forked child inherits


def at_exit(ending: Ending) -> None:
    """Have this process wait for `ending` when it exits, as long as that lives."""
    _open.add(ending)
    hook()


def before_exit(drain: Callable[[float], object]) -> None:
    """Have `drain(deadline)` called when this process exits, before anything else is waited for.

    The deadline is one of `time.monotonic`; what `drain` raises is ignored. Forked children call it
    too, once they have hooked their own exit.
    """
    if drain not in _first:
        _first.append(drain)
    hook()


def hook() -> None:
    """Hook the exit of this process, wherever it may come from, before there is any thread.

    What is hooked while exit handlers run comes too late; they run in the opposite order.
    Children of multiprocessing skip atexit in many cases, but run its finalizers; workers of its
    Pool skip these too on Python 3.13, but end their threads as everybody does.
    """
    if _hooked == [os.getpid()]:
        return
    for name in _USED_LATE:
        import_module(name)
    is_inherited = bool(_hooked) and not _is_child()  # those of multiprocessing forget it
    _hooked[:] = [os.getpid()]
    _spent[:] = [0.0]
    if not is_inherited:
        atexit.unregister(_end)
        atexit.register(_end)
    multiprocessing: Any = sys.modules.get("multiprocessing.util")
    if multiprocessing is None:
        return
    multiprocessing.Finalize(None, _pause, exitpriority=-100)
    if not _on_threads_end:
        _on_threads_end.append(True)
        with contextlib.suppress(AttributeError, RuntimeError):  # private, or too late
            threading._register_atexit(_pause)  # type: ignore[attr-defined]


def _pause() -> None:
    """Deliver what is there at an end after which more may come."""
    if _hooked == [os.getpid()] and _is_child():
        _drain()


def _end() -> None:
    """Deliver what is there, then count what is lost."""
    if _hooked != [os.getpid()]:
        return  # a forked child that delivers nothing runs its parent's hooks
    _drain()
    for ending in list(_open):
        with contextlib.suppress(BaseException):  # as in `_drain`
            ending.end()


def _is_child() -> bool:
    """Whether multiprocessing made this process."""
    process: Any = sys.modules.get("multiprocessing.process")
    return process is not None and process.parent_process() is not None


def _drain() -> None:
    """Give everything of this process what is left of its two seconds."""
    start = time.monotonic()
    deadline = start + max(0.0, EXIT_SECONDS - _spent[0])
    try:
        for drain in list(_first):
            with contextlib.suppress(Exception):
                drain(deadline)
        asked = [(ending, ending.ask()) for ending in list(_open)]
        for ending, request in asked:
            ending.wait_for(request, deadline)
    except BaseException:  # a signal's handler: whoever interrupts an exit wants it to be over
        _spent[0] = EXIT_SECONDS
    else:
        _spent[0] += time.monotonic() - start

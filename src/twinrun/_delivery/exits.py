"""The end of a process: what still runs and what is queued anywhere share two seconds."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, Final, Protocol

from twinrun._delivery.waiting import Request

__all__ = ["EXIT_SECONDS", "Ending", "at_exit", "before_exit", "hook"]

EXIT_SECONDS: Final = 2.0
"""So long an exiting process waits for everything that runs or is queued anywhere."""

_FOR_RUNS: Final = 0.75
_FOR_RECORDS: Final = 0.9
"""Up to these shares of it what runs is waited for, and what is queued; then losses are counted.

In what remains sinks are told of the counts, which have the losses then.
"""


class Ending(Protocol):
    """Something that an exit waits for."""

    def ask(self) -> Request | None:
        """Ask for all to be delivered."""

    def wait_for(self, request: Request | None, deadline: float) -> bool:
        """Wait for that until the deadline; False if it did not come to pass."""

    def end(self) -> None:
        """Take nothing more, and count what is left."""

    def ask_last(self) -> Request | None:
        """Ask, once everything has ended, for the counts to be written as they are now."""


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
        with _timed() as left:
            _drain(left, 1.0)


def _end() -> None:
    """Deliver what is there, count what is lost, and have that told."""
    if _hooked != [os.getpid()]:
        return  # a forked child that delivers nothing runs its parent's hooks
    with _timed() as left:
        _drain(left, _FOR_RECORDS)
    for ending in list(_open):
        with contextlib.suppress(BaseException):  # as in `_timed`
            ending.end()
    with _timed() as left:
        deadline = time.monotonic() + left
        for request in [ending.ask_last() for ending in list(_open)]:
            if request is not None:
                request.wait(deadline)


def _is_child() -> bool:
    """Whether multiprocessing made this process."""
    process: Any = sys.modules.get("multiprocessing.process")
    return process is not None and process.parent_process() is not None


@contextlib.contextmanager
def _timed() -> Iterator[float]:
    """Give what is left of this process's two seconds, and take off what is spent of it."""
    start = time.monotonic()
    try:
        yield max(0.0, EXIT_SECONDS - _spent[0])
    except BaseException:  # a signal's handler: whoever interrupts an exit wants it to be over
        _spent[0] = EXIT_SECONDS
    else:
        _spent[0] += time.monotonic() - start


def _drain(seconds: float, for_records: float) -> None:
    """Wait for everything of this process, for these shares of so many seconds."""
    start = time.monotonic()
    for drain in list(_first):
        with contextlib.suppress(Exception):
            drain(start + seconds * _FOR_RUNS)
    asked = [(ending, ending.ask()) for ending in list(_open)]
    for ending, request in asked:
        ending.wait_for(request, start + seconds * for_records)

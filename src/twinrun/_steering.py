"""Has experiments obey live control: asks for their shares every few seconds, on a thread."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any, Final

import attrs

from twinrun import _accounts
from twinrun._accounts import Account
from twinrun._forks import after_fork_in_child
from twinrun._kinds import is_unwaited
from twinrun._threads import start_thread
from twinrun._wakeups import Wakeup
from twinrun.errors import ConfigurationError
from twinrun.typing import Controls, OnFailure

__all__ = ["OPERATION", "Asked", "Steering", "checked_controls", "checked_seconds"]

OPERATION: Final = "controls"
"""Under this name failures are counted and told."""

_EVERY: Final = 5.0
_PATIENCE: Final = 0.2  # seconds that an exit waits for a round of asking
_TOLD: Final = 2  # failures in a row: one alone may be a store that is just being made


@attrs.frozen
class Asked:
    """What is asked for shares, and the seconds between two rounds."""

    controls: Controls
    every: float


class Steering:
    """Asks controls for the share of each experiment, and tells that experiment's account.

    The thread is a daemon, and starts when an experiment is used. A forked child obeys the last
    words that its parent heard, and starts a thread of its own in the same way. Nothing here waits
    for it but an exit, and that not for long.
    """

    def __init__(self, on_failure: Callable[[], OnFailure | None]) -> None:
        self._on_failure = on_failure
        self.asked: Asked | None = None
        self.after_fork()
        after_fork_in_child(self)
        _accounts.when_used.append(self.attend)

    def after_fork(self) -> None:
        """Start afresh: no thread, nobody asked for; what was said stays."""
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._renew()

    def _renew(self) -> None:
        """Forget the thread, which ends when it sees that its wakeup is no longer this one."""
        self._wake = Wakeup()
        self._turn = [True]  # who pops it starts the thread
        self._noted: set[str] = set()
        self._failing: dict[str | None, int] = {}
        self._over = Wakeup()

    def use(self, asked: Asked | None) -> None:
        """Ask these from now on; None takes back whatever was said."""
        if asked is None and self.asked is None:
            return
        with self._lock:
            before, self.asked = self._wake, asked
            self._renew()
            if asked is None:
                for account in _accounts.accounts().values():
                    account.say(None)
        before.set()
        _accounts.restart_all()

    def attend(self, name: str) -> None:
        """Be there for an experiment that is being used; its share is asked for soon."""
        if self.asked is None:
            return
        if self._pid != os.getpid():  # forked where no fork hook runs, as under uWSGI
            self.after_fork()
        if self._turn:
            self._start()
        elif name not in self._noted:
            self._noted.add(name)
            self._wake.set()

    def _start(self) -> None:
        """Start the thread, unless somebody does; where there is none, another use tries again."""
        turn = self._turn
        try:
            token = turn.pop()
        except IndexError:
            return
        is_taken = False
        try:
            from twinrun._delivery.exits import before_exit

            before_exit(self._stop)
            start_thread(self._serve, self.asked, self._wake, self._over)
            is_taken = True
        except RuntimeError:
            pass
        finally:
            if not is_taken:  # or a signal's handler has raised
                turn.append(token)

    def _stop(self, deadline: float) -> None:
        """End the thread; wait a little for one that is just asking."""
        wake, over = self._wake, self._over
        if not self._turn:
            self._wake = Wakeup()
            wake.set()
            over.wait(min(_PATIENCE, deadline - monotonic()))

    def _serve(self, asked: Asked, wake: Wakeup, over: Wakeup) -> None:
        """Be the thread: ask, and rest until it is time to ask again."""
        while self._wake is wake:
            with _counted(_accounts.accounts().values()):
                self._ask(asked.controls, wake)
            wake.wait(asked.every)
        over.set()

    def _ask(self, controls: Controls, wake: Wakeup) -> None:
        """Ask for the share of every experiment once; what can't be had stays as it is."""
        accounts = _accounts.accounts()
        self._noted.update(accounts)
        try:
            refresh: Any = getattr(controls, "refresh", None)
            if refresh is not None:
                refresh()
        except BaseException as error:  # nothing on this thread is aimed at anybody
            self._failed(None, error, accounts.values())
            return
        self._went_well(None, accounts.values())
        for name, account in accounts.items():
            try:
                share = _checked(controls(name), name)
            except BaseException as error:
                self._failed(name, error, [account])
                continue
            self._went_well(name, [account])
            with self._lock:
                if self._wake is not wake:
                    return
                is_news = share != account.word
                account.say(share)
            if is_news:
                _log([account], "experiment.controlled", experiment=name, share=share)

    def _failed(self, what: str | None, error: BaseException, accounts: Iterable[Account]) -> None:
        """Count that an answer could not be had, and say so once, until one can be had again."""
        times = self._failing[what] = self._failing.get(what, 0) + 1
        on_failure = self._on_failure()
        for account in accounts:
            account.fail(OPERATION)
            if on_failure is not None and times == _TOLD:
                with suppress(BaseException):
                    on_failure(OPERATION, error, account.name)
        if on_failure is None and times == _TOLD:
            with _counted(accounts):
                told = {"error": type(error).__name__, "message": _said(error)}
                _log(accounts, "controls.unreachable", **_named(what), **told)

    def _went_well(self, what: str | None, accounts: Iterable[Account]) -> None:
        """Say that answers can be had again, where it was said that they can't."""
        if self._failing and self._failing.pop(what, 0) >= _TOLD and self._on_failure() is None:
            _log(accounts, "controls.reachable", **_named(what))


def checked_controls(value: Any) -> Asked:
    """Take what can be asked for shares; raises ConfigurationError for anything else."""
    if isinstance(value, type) or not callable(value) or is_unwaited(value):
        raise ConfigurationError(
            "controls is one of twinrun.controls, such as StoreControls(), or a plain callable of "
            f"an experiment's name that gives a share within 0..1 or None; not {value!r}"
        )
    try:
        every = getattr(value, "every", _EVERY)
    except Exception as error:
        raise ConfigurationError(
            f"the controls' every is a number of seconds above 0; asking for it raised {error!r}"
        ) from error
    return Asked(value, checked_seconds(every))


def checked_seconds(value: Any) -> float:
    """Take the seconds between two rounds; raises ConfigurationError for what is none above 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ConfigurationError(f"every is a number of seconds above 0, not {value!r}")
    return float(value)


def _checked(share: object, name: str) -> float | None:
    """Take a share, or None for nothing said; refuse whatever is neither."""
    if share is None:
        return None
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
        raise ValueError(f"controls gave {share!r} for {name!r}: a share is within 0..1, or None")
    return float(share)


def _said(error: BaseException) -> str:
    """Give what an exception says, without secrets."""
    from twinrun import scrubbing, tracebacks

    return scrubbing.scrub(tracebacks.message(error))


def _named(what: str | None) -> dict[str, Any]:
    """Name the experiment that something is said of, if it is one."""
    return {} if what is None else {"experiment": what}


def _log(accounts: Iterable[Account], event: str, **facts: Any) -> None:
    """Say something of these; a log that can't be written is a failure of theirs."""
    from twinrun._logging import warn

    with _counted(accounts):
        warn(event, **facts)


@contextmanager
def _counted(accounts: Iterable[Account]) -> Iterator[None]:
    """Have whatever is raised end here, and count it: the thread has to go on."""
    try:
        yield
    except BaseException:
        for account in accounts:
            account.fail(OPERATION)

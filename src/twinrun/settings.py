"""The process's settings, and the scopes that override them for a while."""

from __future__ import annotations

import enum
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Literal

from twinrun import _accounts
from twinrun._forks import after_fork_in_child
from twinrun._kinds import is_unwaited
from twinrun._steering import Asked, Steering, checked_controls
from twinrun._threads import start_thread
from twinrun._wakeups import Wakeup
from twinrun.errors import ConfigurationError
from twinrun.result import Result
from twinrun.typing import Controls, OnFailure, PublisherLike

if TYPE_CHECKING:
    from twinrun.scrubbing import Scrubber

__all__ = [
    "Gate",
    "Settings",
    "aflush",
    "checked_publishers",
    "configure",
    "current",
    "disabled",
    "flush",
    "is_evidence_only",
    "raising",
    "recording",
    "under_way",
]


class _Keep(enum.Enum):
    """The type of `_KEEP`, which stands for a setting that is not given."""

    KEEP = "keep"

    def __repr__(self) -> str:
        return "<as it is>"


_KEEP: Final = _Keep.KEEP
_GRACE: Final = 0.05  # seconds by which a flush that keeps its time may be late
_Kept = Literal[_Keep.KEEP]


class Gate:
    """A flag that a run reads by one attribute look-up."""

    __slots__ = ("is_open",)

    def __init__(self) -> None:
        self.is_open = True


class Settings:
    """What holds for every experiment of this process at the moment; read at each run.

    `plain` is open where every experiment may run, and none must raise or be recorded; `quiet`
    where besides the configured publishers want nothing of a matching run. `blocked` is the reason
    where no experiment may run: "disabled" by a scope or the environment, or not "enabled".
    """

    def __init__(self) -> None:
        self.plain = Gate()
        self.quiet = Gate()
        self.lock = threading.RLock()
        self.off = os.environ.get("TWINRUN_DISABLED", "").lower() in {"1", "true", "yes", "on"}
        self.disabled_scopes = 0
        self.raising_scopes = 0
        self.recorders: tuple[list[Result], ...] = ()
        self.configured: tuple[PublisherLike, ...] | None = None
        self.enabled: bool | Callable[[], Any] = True
        self.raise_on_mismatch = False
        self.on_failure: OnFailure | None = None
        self.workers = 4
        self.queue = 1000
        self.scrub: Scrubber | None = None
        self.controls: Asked | None = None
        self.steering = Steering(lambda: self.on_failure)
        self._default: tuple[PublisherLike, ...] | None = None
        self._environment: tuple[PublisherLike, ...] | None = None
        self.refresh()
        after_fork_in_child(self)

    def after_fork(self) -> None:
        """Take a lock that no thread of the parent's holds."""
        self.lock = threading.RLock()

    @property
    def raising(self) -> bool:
        """Whether a mismatch raises, unless the experiment itself decides otherwise."""
        return self.raise_on_mismatch or self.raising_scopes > 0

    def refresh(self) -> None:
        """Work out what a run looks at first."""
        disabled = self.off or self.disabled_scopes > 0
        self.blocked = "disabled" if disabled else "enabled" if self.enabled is False else None
        plain = self.enabled is True and not (disabled or self.raising or self.recorders)
        self.plain.is_open = plain
        self.quiet.is_open = plain and all(map(is_evidence_only, self.configured or ()))

    def change(self, given: dict[str, tuple[Any, Callable[[Any], Any], Any]]) -> None:
        """Take over settings by name, each a value with its check and its default for None."""
        checked = {
            name: default if value is None else check(value)
            for name, (value, check, default) in given.items()
            if value is not _KEEP
        }
        with self.lock:
            for name, value in checked.items():
                setattr(self, name, value)
            self.refresh()
        if "scrub" in checked:
            from twinrun import scrubbing

            scrubbing.use(self.scrub)
        if "controls" in checked:
            self.steering.use(self.controls)
        if "configured" in checked:
            _accounts.restart_all()

    @property
    def publishers(self) -> tuple[PublisherLike, ...]:
        """The publishers of every experiment without its own; made at first use."""
        configured = self.configured
        if configured == ():
            return ()
        with self.lock:
            if self._environment is None:
                self._environment = _publishers_of_environment()
            if configured is None:
                if self._default is None:
                    from twinrun.publishers.structlog import StructlogPublisher

                    self._default = (StructlogPublisher(),)
                configured = self._default
            return configured + self._environment


def _publishers_of_environment() -> tuple[PublisherLike, ...]:
    """Make the store publisher that `TWINRUN_STORE` asks for; say what is wrong with it."""
    url = os.environ.get("TWINRUN_STORE")
    if not url:
        return ()
    try:
        from twinrun.publishers.store import StorePublisher

        return (StorePublisher(url),)
    except Exception as error:
        from twinrun._logging import warn

        warn("twinrun.store_unusable", variable="TWINRUN_STORE", error=str(error))
        return ()


def is_evidence_only(publisher: PublisherLike) -> bool:
    """Say whether a publisher takes only results that are worth keeping."""
    return getattr(publisher, "evidence_only", False) is True


current: Final = Settings()
"""The settings of this process."""


def checked_publishers(given: Any) -> tuple[PublisherLike, ...]:
    """Take over a sequence of publishers.

    Raises:
        ConfigurationError: it is no sequence, or something in it can't publish.
    """
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise ConfigurationError(
            f"publishers must be a sequence such as [publisher], not a {type(given).__qualname__}"
        )
    for publisher in given:
        take = getattr(publisher, "publish", publisher)
        if isinstance(publisher, type) or not callable(take) or is_unwaited(take):
            raise ConfigurationError(
                "a publisher is a plain callable of one Result or an object with publish(result); "
                f"{publisher!r} is neither"
            )
    return tuple(given)


def configure(
    *,
    publishers: Sequence[PublisherLike] | _Kept | None = _KEEP,
    enabled: bool | Callable[[], Any] | _Kept | None = _KEEP,
    raise_on_mismatch: bool | _Kept | None = _KEEP,
    on_failure: OnFailure | _Kept | None = _KEEP,
    workers: int | _Kept | None = _KEEP,
    queue: int | _Kept | None = _KEEP,
    scrub: Scrubber | _Kept | None = _KEEP,
    controls: Controls | _Kept | None = _KEEP,
) -> None:
    """Set the process's defaults; may be called again at any time, and holds from the next run on.

    What is not given stays as it is; None restores the default. A value that is not of the kind
    said here is a ConfigurationError, and nothing is changed then.

    Args:
        publishers: who gets the results of experiments without publishers of their own. By default
            mismatches are logged, and stored where the environment names a `TWINRUN_STORE`.
        enabled: a bool, or a callable without arguments that is asked at each run.
        raise_on_mismatch: raise `MismatchError` for what neither matches nor is ignored; for tests.
        on_failure: called with (operation, error, experiment's name) when a callback fails.
        workers: threads for candidates off the caller's path (default 4).
        queue: candidates that may wait for them (default 1000).
        scrub: what is secret beside what always is, a `twinrun.scrubbing.Scrubber`.
        controls: who says while the process runs which share of runs are experiments: one of
            `twinrun.controls`, or a callable of an experiment's name giving 0..1 or None.
    """
    current.change(
        {
            "configured": (publishers, checked_publishers, None),
            "enabled": (enabled, _switch, True),
            "raise_on_mismatch": (raise_on_mismatch, _bool, False),
            "on_failure": (on_failure, _callable, None),
            "workers": (workers, _positive, 4),
            "queue": (queue, _positive, 1000),
            "scrub": (scrub, _scrubber, None),
            "controls": (controls, checked_controls, None),
        }
    )


def _switch(value: Any) -> Any:
    """Take a bool or a callable."""
    if not isinstance(value, bool) and (not callable(value) or is_unwaited(value)):
        raise ConfigurationError(
            f"enabled is a bool or a plain callable without arguments, not {value!r}"
        )
    return value


def _bool(value: Any) -> bool:
    """Take a bool."""
    if not isinstance(value, bool):
        raise ConfigurationError(f"raise_on_mismatch is a bool, not {value!r}")
    return value


def _callable(value: Any) -> Any:
    """Take a callable."""
    if not callable(value) or is_unwaited(value):
        raise ConfigurationError(f"on_failure is a plain callable, not {value!r}")
    return value


def _scrubber(value: Any) -> Any:
    """Take a Scrubber."""
    from twinrun.scrubbing import Scrubber

    if not isinstance(value, Scrubber):
        raise ConfigurationError(f"scrub is a twinrun.scrubbing.Scrubber, not {value!r}")
    return value


def _positive(value: Any) -> int:
    """Take a whole number from 1 upwards."""
    if type(value) is not int or value < 1:
        raise ConfigurationError(
            f"workers and queue are whole numbers from 1 upwards, not {value!r}"
        )
    return value


@contextmanager
def disabled() -> Iterator[None]:
    """Switch every experiment of the process off for a while: controls run alone."""
    with _counted("disabled_scopes"):
        yield


@contextmanager
def raising() -> Iterator[None]:
    """Raise `MismatchError` for a while, for what neither matches nor is ignored; for tests.

    An experiment's own `raise_on_mismatch` wins over it.
    """
    with _counted("raising_scopes"):
        yield


@contextmanager
def _counted(name: str) -> Iterator[None]:
    """Enter a scope that nests and that several threads may be in."""
    _step(name, 1)
    try:
        yield
    finally:
        _step(name, -1)


def _step(name: str, by: int) -> None:
    with current.lock:
        setattr(current, name, getattr(current, name) + by)
        current.refresh()


@contextmanager
def recording() -> Iterator[list[Result]]:
    """Collect every result of every thread for a while, beside the publishers; nests."""
    results: list[Result] = []
    with current.lock:
        current.recorders = (*current.recorders, results)
        current.refresh()
    try:
        yield results
    finally:
        with current.lock:
            current.recorders = tuple(r for r in current.recorders if r is not results)
            current.refresh()


under_way: Final[list[Callable[[float], bool]]] = []
"""What waits for the runs under way, until a deadline of `time.monotonic`; True if all are over."""


def flush(timeout: float = 5.0) -> bool:
    """Wait at most so many seconds for runs under way, then for publishers to deliver them.

    Those of single experiments too. Gives True only if all is over and delivered. A publisher
    without a `flush` has nothing to wait for; they are flushed beside each other, so that one which
    is stuck takes nobody's time.
    """
    deadline = time.monotonic() + timeout
    done = True
    for wait in under_way:
        done = wait(deadline) and done
    used = [p for account in _accounts.accounts().values() for p in account.publishers]
    every = {id(p): p for p in (*current.publishers, *used)}.values()
    flushes = [p.flush for p in every if getattr(p, "flush", None) is not None]
    return _flush_all(flushes, deadline) and done


def _flush_all(flushes: Sequence[Callable[[float], Any]], deadline: float) -> bool:
    """Call each with the seconds that are left, on a thread of its own: it may not come back."""
    answers: list[bool] = []
    arrived = Wakeup()

    def ask(flush_one: Callable[[float], Any], contained: type[BaseException]) -> None:
        answer = False
        try:
            answer = bool(flush_one(max(0.0, deadline - time.monotonic())))
        except contained:
            answer = False
        finally:
            answers.append(answer)
            arrived.set()

    for flush_one in flushes:
        try:
            start_thread(ask, flush_one, BaseException)
        except RuntimeError:  # there is no thread to be had
            ask(flush_one, Exception)
    while len(answers) < len(flushes) and arrived.wait(deadline + _GRACE - time.monotonic()):
        pass
    return len(answers) == len(flushes) and all(answers)


async def aflush(timeout: float = 5.0) -> bool:
    """Wait like `flush`, for runs under way in this event loop too, and let the loop go on."""
    import asyncio

    loop = asyncio.get_running_loop()
    done: asyncio.Future[bool] = loop.create_future()

    def answer(is_done: bool) -> None:
        if not done.done():
            done.set_result(is_done)

    def wait() -> None:
        try:
            is_done = flush(timeout)
        except BaseException:  # a publisher's own, on a thread that has no caller
            is_done = False
        with suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(answer, is_done)

    timer = loop.call_later(timeout + _GRACE, answer, False)
    try:
        start_thread(wait)  # no executor's, which an exiting process waits for
        return await done
    except RuntimeError:  # there is no thread to be had
        return False
    finally:
        timer.cancel()

"""What user code raises on the caller's thread: what stays with us, and what must go on."""

from __future__ import annotations

import sys
import threading
from functools import partial
from types import CodeType, FrameType, FunctionType, MethodType
from typing import Any, Final

from twinrun import settings
from twinrun._accounts import account_of
from twinrun._restraint import Restraint
from twinrun.typing import OnFailure

__all__ = ["contained", "own_threads", "raised_by_signal_handler", "report"]

_traceback: Final[Any] = BaseException.__dict__["__traceback__"]  # read past the error's own code

own_threads: Final[set[int]] = set()
"""The threads that twinrun started: what is raised there is aimed at no caller."""


def contained(error: BaseException) -> bool:
    """Say whether an exception of a candidate or a callback stays with us.

    What does not is aimed at the caller: `KeyboardInterrupt`, the timeouts of gevent and trio and
    every other `BaseException` that is not named here, and whatever a signal handler raised. On a
    thread of ours there is no caller: everything stays.
    """
    if threading.get_ident() in own_threads:
        return True
    cls = type(error)
    if cls is KeyboardInterrupt:
        return False
    try:
        if not (issubclass(cls, (Exception, SystemExit, GeneratorExit)) or _is_cancellation(cls)):
            return False
        return not raised_by_signal_handler(error)
    except (RecursionError, MemoryError):  # there is no room to look: what comes then is no signal
        return True


def _is_cancellation(cls: type) -> bool:
    """Say whether a class is asyncio's CancelledError, without importing asyncio for it."""
    module = sys.modules.get("asyncio.exceptions")
    return module is not None and issubclass(cls, module.CancelledError)


def raised_by_signal_handler(error: BaseException) -> bool:
    """Say whether the traceback goes through a signal handler's frame."""
    if threading.get_ident() != threading.main_thread().ident:
        return False  # Python runs signal handlers on the main thread alone
    # The first frame is the one of ours that caught it: to look at its locals would keep them.
    trace = _traceback.__get__(error)
    trace = trace and trace.tb_next
    installed: set[CodeType] | None = None
    while trace is not None:
        frame = trace.tb_frame
        code = frame.f_code
        # A handler takes arguments: the signal's number and the frame that it interrupted.
        if frame.f_back is not None and (code.co_argcount or code.co_flags & 0x04):
            if installed is None:
                installed = _installed_handlers()
            if code in installed or _was_given(frame, frame.f_back):
                return True
        trace = trace.tb_next
    return False


def _was_given(frame: FrameType, interrupted: FrameType) -> bool:
    """Tell a signal handler, also one that is not installed any longer, by what it was given."""
    for value in frame.f_locals.values():
        if value is interrupted:
            return True
        if type(value) is tuple and len(value) == 2 and value[1] is interrupted:
            return True
    return False


def _installed_handlers() -> set[CodeType]:
    """Give the code of every Python function that is a signal handler now."""
    # The functions of signal itself make enums of what they give, at fifty times the cost.
    import _signal  # type: ignore[import-not-found]

    codes = set()
    for number in range(1, _signal.NSIG):
        handler: Any = _signal.getsignal(number)
        if type(handler) is partial:
            handler = handler.func
        if type(handler) is MethodType:
            handler = handler.__func__
        if type(handler) is FunctionType:
            codes.add(handler.__code__)
    return codes


def report(
    experiment: str, operation: str, error: BaseException, on_failure: OnFailure | None
) -> None:
    """Count a callback's failure and tell `on_failure` of it, whose own failure ends here."""
    account_of(experiment).fail(operation)
    try:
        (on_failure or settings.current.on_failure or _warn)(operation, error, experiment)
    except BaseException as own:
        if not contained(own):
            raise


_warnings: Final = Restraint(burst=1, seconds=60.0)


def _warn(operation: str, error: BaseException, experiment: str) -> None:
    """Warn once for each experiment and operation, then at most once a minute."""
    from twinrun import tracebacks
    from twinrun._logging import warn

    leave = _warnings.ask((experiment, operation))
    if leave is not None:
        warn(
            "experiment.failure",
            experiment=experiment,
            operation=operation,
            error=type(error).__qualname__,
            message=tracebacks.message(error),
            unsaid=leave.left_out,
        )

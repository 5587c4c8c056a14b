"""How a behaviour ended, and the care that its exception needs."""

from __future__ import annotations

import sys
from types import FrameType, TracebackType
from typing import Any, Final

from twinrun.result import Result

__all__ = ["Ending"]

_traceback: Final[Any] = BaseException.__dict__["__traceback__"]
_cause: Final[Any] = BaseException.__dict__["__cause__"]
_context: Final[Any] = BaseException.__dict__["__context__"]
_suppress: Final[Any] = BaseException.__dict__["__suppress_context__"]


class Ending:
    """How a behaviour ended, kept until the caller gets it or it is judged.

    An exception's traceback, cause and context are kept too: both sides may raise or chain the
    very same object, and raising it once more where another exception is being handled would set
    its context anew. All are read and set past the exception's own code. `before` is the traceback
    of an exception that the caller is handling meanwhile, from before the behaviour raised it.
    """

    __slots__ = ("before", "cause", "context", "error", "result", "suppress", "traceback", "value")

    def __init__(self, value: Any, error: BaseException | None = None) -> None:
        self.value = value
        self.error = error
        self.result: Result | None = None
        self.before: TracebackType | None = None
        if error is not None:
            trace = _traceback.__get__(error)
            if trace is not None and trace.tb_next is not None:
                trace = trace.tb_next  # the frame that called the behaviour is ours
                _traceback.__set__(error, trace)
                self.before = _caught_below(trace, sys._getframe(1))
            self.traceback = trace
            self.cause = _cause.__get__(error)
            self.context = _context.__get__(error)
            self.suppress = _suppress.__get__(error)

    def put_by(self) -> None:
        """Take from a candidate's exception what the control must not find on it."""
        _traceback.__set__(self.error, self.before)
        if self.before is None:
            _cause.__set__(self.error, None)
            _context.__set__(self.error, None)
            _suppress.__set__(self.error, False)

    def give_back(self) -> None:
        """Undo `put_by`, and whatever `raise` did to the exception."""
        _traceback.__set__(self.error, self.traceback)
        _cause.__set__(self.error, self.cause)
        _context.__set__(self.error, self.context)
        _suppress.__set__(self.error, self.suppress)

    def before_raise(self) -> BaseException:
        """Give the exception as the behaviour raised it; the caller's `raise` adds its frame."""
        assert self.error is not None
        self.give_back()
        return self.error

    def after_raise(self) -> None:
        """Undo what `raise` did to the exception, but for that frame, and let go of it."""
        self.traceback = None if self.error is None else _traceback.__get__(self.error)
        self.give_back()
        self.let_go()

    def give_up(self) -> None:
        """Let go of a candidate's exception, and leave the caller's as the caller has it."""
        if self.before is not None:
            _traceback.__set__(self.error, self.before)
        self.let_go()

    def let_go(self) -> None:
        """Forget the exception: its traceback leads to frames, and from there back to this."""
        self.error = self.traceback = self.cause = self.context = self.before = None

    def result_or_control(self) -> Result:
        """Give the Result; one could only be missing where the stack or memory was at its end."""
        self.let_go()
        if self.result is None:
            raise MemoryError("twinrun had no room to make the Result")
        return self.result


def _caught_below(trace: TracebackType | None, frame: FrameType | None) -> TracebackType | None:
    """Find where a traceback goes on that was there before: at a frame which is still running.

    An exception that the caller is handling was caught in such a frame; raising it once more has
    put new frames in front.
    """
    running = set()
    while frame is not None:
        running.add(frame)
        frame = frame.f_back
    while trace is not None and trace.tb_frame not in running:
        trace = trace.tb_next
    return trace

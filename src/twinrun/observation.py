"""What one behaviour did in one run."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, Final, Literal

import attrs

from twinrun._pickling import pack, type_name

__all__ = ["NOTHING", "Nothing", "Observation", "Stream"]


class Nothing(enum.Enum):
    """The type of `NOTHING`, which is its only member (and stays it through pickling)."""

    NOTHING = "nothing"

    def __repr__(self) -> str:
        return "NOTHING"

    def __bool__(self) -> Literal[False]:
        return False


NOTHING: Final = Nothing.NOTHING
"""Stands where there is no value: nothing was returned, or one side has no such element."""


@attrs.frozen(kw_only=True)
class Stream:
    """What stands for all that a generator gave: its `value` in an Observation.

    `items` is how many items it gave. `ended` says how it ended: "returned", "raised", or "closed"
    before it came to its end, by the caller or because the control had come to its own.
    `returned` is its return value, `NOTHING` where it didn't return.
    """

    items: int
    ended: Literal["returned", "raised", "closed"]
    returned: Any = NOTHING

    def __repr__(self) -> str:
        """Say what happened without one call into the returned value's own code."""
        return f"<Stream of {self.items} items, {self.ended}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _stream, (self.items, self.ended, pack(self.returned))


def _stream(items: int, ended: Any, returned: Any) -> Stream:
    """Rebuild a Stream from its pickle."""
    return Stream(items=items, ended=ended, returned=returned)


@attrs.frozen(eq=False, repr=False, kw_only=True)
class Observation:
    """What one behaviour returned or raised, and how long it took.

    `value` is `NOTHING` where nothing was returned, so that None stays a value; of a generator it
    is always a `Stream`, which tells of its items. `exception` keeps no traceback: `traceback` is
    its bounded text, `raised_at` the `module:function` it came from, the innermost one that belongs
    neither to twinrun nor to the standard library.
    `duration_ns` is measured by the monotonic performance counter, in nanoseconds; `cpu_time` is
    the thread's CPU time in seconds, or None where it was not measured. `arguments` are, by name,
    what became of the arguments of the call, None where these are not compared.
    """

    name: str
    value: Any = NOTHING
    exception: BaseException | None = None
    duration_ns: int
    cpu_time: float | None = None
    traceback: str | None = None
    raised_at: str | None = None
    arguments: Mapping[str | int, Any] | None = None

    @property
    def duration(self) -> float:
        """The wall-clock time that the behaviour took, in seconds."""
        return self.duration_ns / 1e9

    @property
    def raised(self) -> bool:
        """Whether the behaviour raised an exception."""
        return self.exception is not None

    def __repr__(self) -> str:
        """Name what happened without one call into the value's own code."""
        if self.exception is not None:
            what = f"raised {type_name(self.exception)}"
        elif self.value is NOTHING:
            what = "returned nothing"
        else:
            what = f"returned {type_name(self.value)}"
        return f"<Observation {self.name!r} {what} in {self.duration_ns / 1e6:.3f} ms>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _observation, (
            self.name,
            pack(self.value),
            pack(self.exception),
            self.duration_ns,
            self.cpu_time,
            self.traceback,
            self.raised_at,
            self.arguments and {name: pack(value) for name, value in self.arguments.items()},
        )


def _observation(
    name: str,
    value: Any,
    exception: Any,
    duration_ns: int,
    cpu_time: float | None,
    traceback: str | None,
    raised_at: str | None,
    arguments: Mapping[str | int, Any] | None = None,
) -> Observation:
    """Rebuild an Observation from its pickle."""
    return Observation(
        name=name,
        value=value,
        exception=exception,
        duration_ns=duration_ns,
        cpu_time=cpu_time,
        traceback=traceback,
        raised_at=raised_at,
        arguments=arguments,
    )

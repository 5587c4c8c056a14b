"""When an experiment pauses itself, and when it tries again."""

from __future__ import annotations

from math import isfinite
from typing import Any

import attrs

from twinrun.errors import ConfigurationError

__all__ = ["Breaker"]


def _is_number(value: Any) -> bool:
    """Say whether something is a number that can be reckoned with."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)


def _whole(instance: Any, field: attrs.Attribute[Any], value: Any) -> None:
    """Refuse what is no count of failures."""
    if value is not None and (type(value) is not int or value < 1):
        raise _wrong(field.name, "a whole number from 1 upwards or None", value)


def _share(instance: Any, field: attrs.Attribute[Any], value: Any) -> None:
    """Refuse what is no share of one core."""
    if value is not None and not (_is_number(value) and 0 < value <= 1):
        raise _wrong(field.name, "a share of one core above 0 and at most 1, or None", value)


def _seconds(instance: Any, field: attrs.Attribute[Any], value: Any) -> None:
    """Refuse what is no length of time."""
    if value is not None and not (_is_number(value) and value > 0):
        raise _wrong(field.name, "a number of seconds above 0 or None", value)


def _wrong(name: str, accepted: str, value: Any) -> ConfigurationError:
    """Say what was given and what is accepted; a value that can't show itself, by its type."""
    try:
        shown = repr(value)[:200]
    except Exception:
        shown = object.__repr__(value)
    return ConfigurationError(f"a breaker's {name} must be {accepted}, not {shown}")


@attrs.frozen(kw_only=True)
class Breaker:
    """When an experiment pauses itself, so that a bad candidate costs its service little.

    While it is paused controls run alone. One run is tried after a cool-down; if that is well the
    experiment goes on, if not it waits twice as long. Each waiting is shortened at random by up to
    a quarter, so that processes do not try in step. The growth is forgotten once the experiment has
    gone on for as long as its last cool-down.

    Args:
        failures: so many runs in a row in which a candidate raised where the control did not, or
            took longer than its `timeout`. None: never pause for this.
        cpu_share: the share of one core that the candidates' CPU time may take, averaged over
            about 10 seconds. None: never pause for this.
        cooldown: seconds of the first pause. None: a pause has no end in this process.
        longest_cooldown: seconds at which pauses stop growing. None: they never do.

    Raises:
        ConfigurationError: a value is not of the kind said above, or nothing is watched.
    """

    failures: int | None = attrs.field(default=20, validator=_whole)
    cpu_share: float | None = attrs.field(default=0.05, validator=_share)
    cooldown: float | None = attrs.field(default=1.0, validator=_seconds)
    longest_cooldown: float | None = attrs.field(default=300.0, validator=_seconds)

    def __attrs_post_init__(self) -> None:
        if self.failures is None and self.cpu_share is None:
            raise ConfigurationError(
                "a breaker watches failures, cpu_share or both; breaker=None is for neither"
            )
        cooldown, longest = self.cooldown, self.longest_cooldown
        if cooldown is not None and longest is not None and cooldown > longest:
            raise ConfigurationError(
                f"a breaker's longest_cooldown ({longest:g} s) must not be below its cooldown "
                f"({cooldown:g} s)"
            )

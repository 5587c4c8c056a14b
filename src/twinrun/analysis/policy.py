"""What a candidate must have shown before it may take over, and where that is written down."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from twinrun.analysis.projects import load, nearest
from twinrun.errors import ConfigurationError

__all__ = ["DEFAULT", "Policy", "find", "parse_age", "quantile", "read"]

DEFAULT: Final = "default"
"""The policy that is used where none is named."""

_AGE: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(s|m|h|d|w)\s*", re.ASCII)
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_QUANTILE: Final = re.compile(r"p(\d{1,2}(?:\.\d+)?)", re.ASCII)
_TABLE: Final = ("tool", "twinrun", "policies")


def parse_age(text: str) -> datetime.timedelta:
    """Read a span of time such as `90s`, `30m`, `12h`, `7d` or `2w`.

    Raises:
        ValueError: it is none.
    """
    found = _AGE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no span of time, as 90s, 30m, 12h, 7d and 2w are")
    try:
        return datetime.timedelta(**{_UNITS[found[2]]: float(found[1])})
    except OverflowError:
        raise ValueError(f"{text!r} is longer than any time there is") from None


def quantile(name: str) -> float:
    """Read the name of a quantile, such as `p50`, `p99` or `p99.9`, as a number within 0..1.

    Raises:
        ValueError: it is none.
    """
    found = _QUANTILE.fullmatch(name)
    if found is None or not float(found[1]):
        raise ValueError(f"{name!r} is no quantile, as p50, p99 and p99.9 are")
    return float(f"{found[1]}e-2")


_Check = Callable[[Any, "attrs.Attribute[Any]", Any], None]


def _number(accepted: str, is_right: Callable[[float], bool]) -> _Check:
    """Make what refuses all but numbers that are right."""

    def check(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (is_number and is_right(value)):
            raise ConfigurationError(f"{attribute.name} is {value!r}; accepted is {accepted}")

    return check


def _age(value: Any) -> Any:
    """Read a text as a span of time; leave the rest to be checked."""
    try:
        return parse_age(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _is_age(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, datetime.timedelta) or value < datetime.timedelta():
        raise ConfigurationError(
            f'{attribute.name} is {value!r}; accepted is a span of time such as "12h" or "7d"'
        )


def _is_whole(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ConfigurationError(
            f"{attribute.name} is {value!r}; accepted is a whole number from 0 upwards"
        )


def _ratios(value: Any) -> Any:
    """Keep a mapping as it is now."""
    return dict(value) if isinstance(value, Mapping) else value


def _are_ratios(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not (isinstance(value, dict) and all(_is_ratio(*item) for item in value.items())):
        raise ConfigurationError(
            f"{attribute.name} is {value!r}; accepted are quantiles with ratios above 0, such as "
            '{"p99": 1.2}'
        )


def _is_ratio(name: Any, ratio: Any) -> bool:
    """Whether this is the name of a quantile, with a ratio that it may have."""
    try:
        return bool(quantile(name)) and not isinstance(ratio, bool) and 0 < ratio < math.inf
    except (TypeError, ValueError):
        return False


def _texts(value: Any) -> Any:
    """Make a tuple of several; leave one text to be refused."""
    is_several = isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)
    return tuple(value) if is_several else value


def _are_texts(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not (isinstance(value, tuple) and all(isinstance(each, str) and each for each in value)):
        given = list(value) if isinstance(value, tuple) else value
        raise ConfigurationError(f"{attribute.name} is {given!r}; accepted is a list of texts")


_rate = _number("a rate from 1e-12 to below 1, such as 0.001", lambda rate: 1e-12 <= rate < 1)
_ratio = _number("a ratio above 0, such as 1.2", lambda ratio: 0 < ratio < math.inf)
_confidence = _number("at least 0.5 and below 1, such as 0.95", lambda share: 0.5 <= share < 1)
_share = _number("a share within 0..1, such as 0.01", lambda share: 0 <= share <= 1)


@attrs.frozen(kw_only=True)
class Policy:
    """What is asked of a candidate. Choose it before there are data: bounds rest on that.

    - `max_mismatch_rate`: of the runs that were compared, the share that may differ. What timed out
      differs, too.
    - `confidence`: how sure that must be; 1 - confidence of candidates that are not ready may pass.
    - `max_error_rate`: the share in which the candidate may raise, or time out, where the control
      does not; None where errors are no worse than other mismatches.
    - `max_latency_ratio`: by quantile, how many times the control's the candidate's may be.
    - `max_paired_ratio`: how many times as long as the control it may take in half of the runs.
    - `max_inconclusive_rate`: the share of runs in which nothing could be compared.
    - `max_hidden_rate`: how much more often the candidate may differ in what is put down to noise
      than the control does from itself.
    - `min_runs`, `min_age`: how many runs, over what time, there must be at the least.
    - `accepted`: groups of mismatches that are wanted: their fingerprints, or beginnings of them.
    - `accepted_states`: groups with one of these states in the store are wanted, too.

    Raises:
        ConfigurationError: a value is not what is accepted there.
    """

    max_mismatch_rate: float = attrs.field(default=0.001, validator=_rate)
    confidence: float = attrs.field(default=0.95, validator=_confidence)
    max_error_rate: float | None = attrs.field(
        default=None, validator=attrs.validators.optional(_rate)
    )
    max_latency_ratio: Mapping[str, float] = attrs.field(
        factory=dict, converter=_ratios, validator=_are_ratios
    )
    max_paired_ratio: float | None = attrs.field(
        default=None, validator=attrs.validators.optional(_ratio)
    )
    max_inconclusive_rate: float = attrs.field(default=0.01, validator=_share)
    max_hidden_rate: float = attrs.field(default=0.01, validator=_rate)
    min_runs: int = attrs.field(default=0, validator=_is_whole)
    min_age: datetime.timedelta = attrs.field(
        default=datetime.timedelta(), converter=_age, validator=_is_age
    )
    accepted: tuple[str, ...] = attrs.field(default=(), converter=_texts, validator=_are_texts)
    accepted_states: tuple[str, ...] = attrs.field(
        default=("accepted",), converter=_texts, validator=_are_texts
    )

    @property
    def alpha(self) -> float:
        """The probability of error that the confidence leaves."""
        return 1 - self.confidence


def read(path: Path) -> dict[str, Policy]:
    """Read the policies of a TOML file, from its tables `[tool.twinrun.policies.NAME]`.

    Raises:
        ConfigurationError: the file can't be read, or a key or value of it is not accepted; the
            text names the file, the table and the key.
    """
    tables = load(path)
    for depth, key in enumerate(_TABLE, 1):
        tables = tables.get(key, {})
        if not isinstance(tables, dict):
            where = ".".join(_TABLE[:depth])
            raise ConfigurationError(f"{path}: {where} is no table; policies are {_named('NAME')}")
    return {name: _policy(table, f"{path}: {_named(name)}") for name, table in tables.items()}


def find(start: Path) -> Path | None:
    """Find the nearest pyproject.toml with policies, in a directory or in those that hold it."""
    found = nearest(start, read)
    return None if found is None else found[0]


def _named(name: str) -> str:
    return f"[{'.'.join(_TABLE)}.{name}]"


def _policy(table: Any, where: str) -> Policy:
    """Make a policy of a table, or say what is wrong with which key of it."""
    if not isinstance(table, dict):
        raise ConfigurationError(f"{where} is {table!r}; accepted is a table of keys")
    known = {field.name for field in attrs.fields(Policy)}
    for key in table:
        if key not in known:
            accepted = ", ".join(sorted(known))
            raise ConfigurationError(f"{where} has a key {key!r}; accepted are {accepted}")
    try:
        return Policy(**table)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from None

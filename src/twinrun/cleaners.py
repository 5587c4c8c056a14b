"""Makes what leaves the process clean: JSON-ready, bounded, without secrets.

What is no JSON is tagged: `{"$type": "decimal.Decimal", "text": "1.50"}`. `"$more"` counts the
items that were left out, `"$cut"` says which bound a value met (`depth`, `size`, `cycle`),
`"$withheld"` why there is no value at all. A key that starts with `$` in the value itself starts
with `$$`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from twinrun import tracebacks
from twinrun._cleaning import SIZE, Walk
from twinrun.comparators import equal
from twinrun.difference import Difference
from twinrun.observation import NOTHING, Observation
from twinrun.result import Comparison, Result
from twinrun.scrubbing import REDACTED, is_secret_name

__all__ = ["clean", "one_line", "payload"]

# How the 64 KiB of a payload are shared out; each part is shared by all sides or candidates.
_CONTEXT, _VALUES, _TRACEBACKS = SIZE // 8, SIZE * 3 // 8, SIZE // 4
_MESSAGES, _DIFFERENCES = SIZE // 16, SIZE // 8
_NAME: Final = 200
_PATH: Final = 500
_SHOWN: Final = 50  # differences of one candidate
_LINE: Final = 200

_FAILED: Final[Any] = object()  # the result's own `clean` raised
_UNKNOWN: Final[Any] = object()  # what it made of the value has nothing at this path


def clean(value: Any) -> Any:
    """Give any value as bounded, tagged JSON data, without one call into the value's own code.

    Bounds: 8 levels, 100 items of a container, 2000 values, 4 KiB of a text, about 64 KiB in all.
    Secrets, known by the names of keys and fields or by their shape, are `[redacted]`.
    """
    return Walk().clean(value)


def payload(result: Result) -> dict[str, Any]:
    """Give what every sink writes of a result: JSON-ready, cleaned, scrubbed, about 64 KiB at most.

    The result's own `clean` has the first word on every value; where it fails, the value is
    withheld. Values that are `NOTHING` are left out.
    """
    walk = Walk()
    context = walk.within(_CONTEXT).clean(dict(result.context))
    cleaned = _cleaner(result._clean)
    seen = (result.control, *(c.candidate for c in result.comparisons))
    sides = [cleaned(each.value) for each in seen]
    # All values come before all texts: a secret that is named in a value is known in the texts.
    values = [_value(walk.within(_VALUES // len(seen)), side) for side in sides]
    control, *others = (
        _observed(walk, each, value, len(seen)) for each, value in zip(seen, values, strict=True)
    )
    return {
        "id": _name(result.id),
        "experiment": _name(result.experiment),
        "started_at": result.started_at.isoformat(),
        "order": [_name(name) for name in result.order],
        "context": context,
        "control": control,
        "candidates": [
            {**other, **_judged(walk, comparison, result, (sides[0], side))}
            for other, comparison, side in zip(others, result.comparisons, sides[1:], strict=True)
        ],
    }


def one_line(value: Any) -> str:
    """Write a cleaned value on one line of at most 200 characters."""
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in _written(value))
    return text if len(text) <= _LINE else text[: _LINE - 1] + "…"


def _cleaner(own: Callable[[Any], Any] | None) -> Callable[[Any], Any]:
    """Contain a result's own `clean`, so that it gives a value or `_FAILED`."""

    def cleaned(value: Any) -> Any:
        if own is None or value is NOTHING:
            return value
        try:
            return own(value)  # an `Unpicklable` in its place can't be called, which fails too
        except (Exception, SystemExit, GeneratorExit):
            return _FAILED

    return cleaned


def _value(walk: Walk, value: Any) -> Any:
    """Clean what a result's own `clean` gave, where it gave anything."""
    if value is _FAILED:
        return {"$withheld": "clean failed"}
    return {"$withheld": "clean"} if value is _UNKNOWN else walk.clean(value)


def _observed(walk: Walk, seen: Observation, value: Any, share: int) -> dict[str, Any]:
    """Give one observation; `share` tells how many have to share the bounds of size."""
    made: dict[str, Any] = {"name": _name(seen.name)}
    if seen.value is not NOTHING:
        made["value"] = value
    error = None
    if seen.exception is not None:
        error = {
            "type": _name(tracebacks.type_name(type(seen.exception))),
            "message": _text(walk, tracebacks.message(seen.exception), _MESSAGES // share),
        }
    return {
        **made,
        "exception": error,
        "traceback": _text(walk, seen.traceback, _TRACEBACKS // share),
        "raised_at": seen.raised_at and _name(seen.raised_at),
        "duration_ns": seen.duration_ns,
        "cpu_time": seen.cpu_time,
    }


def _name(name: str) -> str:
    """Make a name from the program safe; scrubbing could make two names one."""
    return name[:_NAME].replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()


def _text(walk: Walk, text: str | None, limit: int) -> str | None:
    """Clean a text that may be missing, to so many bytes."""
    return None if text is None else walk.within(2 * limit).text(text, limit)


def _judged(
    walk: Walk, judged: Comparison, result: Result, sides: tuple[Any, Any]
) -> dict[str, Any]:
    """Give how one candidate was judged; `sides` are what `clean` gave of both values."""
    differences = judged.differences[:_SHOWN]
    if result._clean is not None:
        differences = _cleaned_sides(differences, (result.control, judged.candidate), sides)
    inner = walk.within(_DIFFERENCES // len(result.comparisons))
    return {
        "outcome": str(judged.outcome),
        "reason": _text(walk, judged.reason, _PATH),
        "fingerprint": judged.fingerprint and _name(judged.fingerprint),
        "differences": [_difference(inner, difference) for difference in differences],
        "differences_cut": len(judged.differences) - len(differences),
    }


def _cleaned_sides(
    differences: tuple[Difference, ...],
    seen: tuple[Observation, Observation],
    values: tuple[Any, Any],
) -> tuple[Difference, ...]:
    """Put what the result's own `clean` made of both values in place of the raw sides."""
    found: dict[str, list[Difference]] = {}
    if not any(o.raised for o in seen) and not any(v is _FAILED for v in values):
        try:
            for difference in equal.differences(*values):
                found.setdefault(difference.path, []).append(difference)
        except Exception:
            found = {}
    return tuple(_cleaned_side(d, seen, values, found) for d in differences)


def _cleaned_side(
    raw: Difference,
    seen: tuple[Observation, Observation],
    values: tuple[Any, Any],
    found: dict[str, list[Difference]],
) -> Difference:
    """Give one difference without its raw values; an exception is no value and stays."""
    here = found.get(raw.path)
    if raw.path != "$" and here:
        return here.pop(0) if len(here) > 1 else here[0]
    sides = []
    for observation, value, side in zip(seen, values, (raw.control, raw.candidate), strict=True):
        if side is NOTHING or (observation.raised and side is observation.exception):
            sides.append(side)
        else:
            sides.append(value if raw.path == "$" or value is _FAILED else _UNKNOWN)
    return Difference(raw.path, raw.kind, *sides)


def _difference(walk: Walk, difference: Difference) -> dict[str, Any]:
    """Give one difference; what its path names as secret is redacted."""
    path = difference.path
    secret = any(map(is_secret_name, [path, *re.split(r"[^\w-]+", path)]))
    made: dict[str, Any] = {"path": walk.text(path, _PATH), "kind": str(difference.kind)}
    for name, side in (("control", difference.control), ("candidate", difference.candidate)):
        if side is not NOTHING:
            made[name] = REDACTED if secret else _value(walk, side)
    return made


def _written(value: Any) -> str:
    """Write a cleaned value much as Python would."""
    if type(value) is list:
        return f"[{', '.join(map(_written, value))}]"
    if type(value) is not dict:
        return repr(value)
    if "$type" not in value:
        return "{" + ", ".join(f"{key!r}: {_written(item)}" for key, item in value.items()) + "}"
    parts = [(key, _written(item)) for key, item in value.items() if key != "$type"]
    inner = parts[0][1] if len(parts) == 1 else ", ".join(f"{k}={item}" for k, item in parts)
    return f"{value['$type']}({inner})"

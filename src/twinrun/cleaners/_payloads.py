"""Puts together what every sink writes of a result."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

import attrs

from twinrun import tracebacks
from twinrun.cleaners._paths import comparable, has_named_pair, nearest_name, shown
from twinrun.cleaners._readers import reader_of
from twinrun.cleaners._texts import is_safe, safe
from twinrun.cleaners._walk import SIZE, Walk
from twinrun.comparators import equal
from twinrun.difference import Difference
from twinrun.fingerprints import generalise
from twinrun.observation import NOTHING, Observation
from twinrun.result import Comparison, Result
from twinrun.scrubbing import current

__all__ = ["clean", "payload", "places"]

# How the 64 KiB of a payload are shared out; each part is shared by all sides or candidates.
_CONTEXT, _VALUES, _TRACEBACKS = SIZE // 8, SIZE * 3 // 8, SIZE // 4
_MESSAGES, _DIFFERENCES = SIZE // 16, SIZE // 8
_NAME: Final = 200
_PATH: Final = 500
_SHOWN: Final = 50  # differences of one candidate

_STEPS: Final = re.compile(r"[^\w-]+")

_CAPTURE: Final = {"$withheld": "capture"}
_WITHHELD: Final = "[withheld]"

_FAILED: Final[Any] = object()  # the result's own `clean` raised
_UNKNOWN: Final[Any] = object()  # what it made of the value has nothing at this path


def clean(value: Any) -> Any:
    """Give any value as bounded, tagged JSON data, without one call into the value's own code.

    Bounds: 8 levels, 100 items of a container, 2000 values, 4 KiB of a text, 64 KiB in all, and
    5 ms of the thread's time. In place of secrets, known by the names of keys and fields or by
    their shape, stands `[redacted 5d2f0c1b]`: the same for the same secret.
    """
    walk = Walk(reader_of, current())
    return walk.hushed(walk.clean(value))


def payload(result: Result) -> dict[str, Any]:
    """Give what every sink writes of a result: JSON-ready, cleaned, scrubbed, about 64 KiB at most.

    The result's own `clean` has the first word on every value; where it fails, the value is
    withheld. Of what the experiment's `capture` leaves out stands `{"$withheld": "capture"}`.
    Values that are `NOTHING` are left out. `differences_cut` counts the differences that are left
    out here, `differences_incomplete` is there where the comparator says that it did not find all.
    Where rules ignored differences, `ignored_by` names them and `ignored_differences` is how many;
    `recheck` says, where both sides ran once more, whether a mismatch repeats.
    """
    return _payload(result, (_first, _DIFFERENCES // max(len(result.comparisons), 1)))


def places(result: Result) -> dict[str, frozenset[str]]:
    """Give all generalised places, `"$.total changed"`, at which each candidate differs, by name.

    Paths are cleaned as `payload` cleans them, which lists the first differences only.
    """
    most = max((len(each.differences) for each in result.comparisons), default=0)
    # What the sides of all differences name as secret is known to each path then.
    made = _payload(result, (tuple, SIZE), (_of_each_place, (most + 1) * 2 * _PATH))
    return {
        judged.candidate.name: frozenset(
            f"{generalise(difference['path'])} {difference['kind']}"
            for difference in each["differences"]
        )
        for judged, each in zip(result.comparisons, made["candidates"], strict=True)
    }


_Chosen: TypeAlias = Callable[[Sequence[Difference]], tuple[Difference, ...]]


def _first(differences: Sequence[Difference]) -> tuple[Difference, ...]:
    """Choose what is shown."""
    return tuple(differences[:_SHOWN])


def _of_each_place(differences: Sequence[Difference]) -> tuple[Difference, ...]:
    """Choose what is shown and, behind that, one for each generalised place, without values."""
    behind = {(generalise(each.path), each.kind): each for each in differences[_SHOWN:]}
    found = (*differences[:_SHOWN], *behind.values())
    return tuple(Difference(each.path, each.kind) for each in found)


def _payload(result: Result, *choices: tuple[_Chosen, int]) -> dict[str, Any]:
    """Put it together, with so many bytes for the chosen differences of each candidate.

    Of several choices all are cleaned, and the last is given.
    """
    walk = Walk(reader_of, current())
    capture = result._capture
    context = _CAPTURE
    if capture != "nothing":
        context = walk.within(_CONTEXT, "context").clean(dict(result.context))
    cleaned = _cleaner(result._clean)
    seen = (result.control, *(c.candidate for c in result.comparisons))
    sides = [_CAPTURE if capture == "nothing" else cleaned(each.value) for each in seen]
    # All values come before all texts: a secret that is named in a value is known in the texts.
    values = [_value(walk.within(_VALUES // len(seen)), side) for side in sides]
    if result.control.arguments and capture != "nothing":  # so is one named in an argument
        walk.within(_DIFFERENCES).clean(dict(result.control.arguments))
    found: list[list[dict[str, Any]]] = []
    for chosen, size in choices:
        found = [
            _differences(walk.within(size), comparison, chosen, result, (sides[0], side))
            for comparison, side in zip(result.comparisons, sides[1:], strict=True)
        ]
    control, *others = (
        _observed(walk, each, value, len(seen), capture)
        for each, value in zip(seen, values, strict=True)
    )
    judged = map(partial(_judged, walk), result.comparisons, found)
    return {
        "id": _name(result.id),
        "experiment": _name(result.experiment),
        "started_at": result.started_at.isoformat(),
        "order": [_name(name) for name in result.order],
        "context": walk.hushed(context),
        "control": control,
        "candidates": [{**one, **other} for one, other in zip(others, judged, strict=True)],
    }


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


def _observed(
    walk: Walk, seen: Observation, value: Any, share: int, capture: str
) -> dict[str, Any]:
    """Give one observation; `share` tells how many have to share the bounds of size."""
    made: dict[str, Any] = {"name": _name(seen.name)}
    if seen.value is not NOTHING:
        made["value"] = walk.hushed(value) if capture == "values" else _CAPTURE
    error, is_said = None, capture != "nothing"
    if seen.exception is not None:
        said = tracebacks.message(seen.exception) if is_said else ""
        error = {
            "type": _name(tracebacks.type_name(type(seen.exception))),
            "message": _text(walk, "message", said, _MESSAGES // share) if is_said else _WITHHELD,
        }
    traceback = seen.traceback if is_said else None
    made["exception"] = error
    made["traceback"] = _text(walk, "traceback", traceback, _TRACEBACKS // share)
    made["raised_at"] = seen.raised_at and _name(seen.raised_at)
    made["duration_ns"], made["cpu_time"] = seen.duration_ns, seen.cpu_time
    return made


def _name(name: str) -> str:
    """Make a name from the program safe; scrubbing could make two names one."""
    return name if len(name) <= _NAME and is_safe(name) else safe(name[:_NAME])


def _text(walk: Walk, name: str, text: str | None, limit: int) -> str | None:
    """Clean a text that may be missing, to so many bytes."""
    if not text:
        return text
    made: str = walk.hushed(walk.within(2 * limit, name).text(text, limit))
    return made


def _judged(walk: Walk, judged: Comparison, differences: list[dict[str, Any]]) -> dict[str, Any]:
    """Give how one candidate was judged."""
    for difference in differences if walk.shared.secrets else ():
        for part in difference.keys() - {"kind"}:
            difference[part] = walk.hushed(difference[part])
    incomplete = getattr(judged.differences, "cut", None)
    return {
        "outcome": judged.outcome._value_,
        "reason": _text(walk, "reason", judged.reason, _PATH),
        "fingerprint": judged.fingerprint and _name(judged.fingerprint),
        "differences": differences,
        "differences_cut": len(judged.differences) - len(differences),
        **({"differences_incomplete": _name(incomplete)} if type(incomplete) is str else {}),
        **(_ignored(walk, judged) if judged.ignored_by else {}),
        **({"recheck": judged.recheck._value_} if judged.recheck is not None else {}),
    }


def _ignored(walk: Walk, judged: Comparison) -> dict[str, Any]:
    """Say which rules ignored differences, and how many."""
    return {
        "ignored_by": [_text(walk, "reason", name, _PATH) for name in judged.ignored_by[:_SHOWN]],
        "ignored_differences": len(judged.ignored_differences),
    }


def _differences(
    inner: Walk, judged: Comparison, chosen: _Chosen, result: Result, sides: tuple[Any, Any]
) -> list[dict[str, Any]]:
    """Clean the chosen differences; `sides` are what `clean` gave of both values."""
    first = chosen(judged.differences)
    seen = result.control, judged.candidate
    raw = {"$": (seen[0].value, seen[1].value), _ARGS: (seen[0].arguments, seen[1].arguments)}
    if result._capture == "nothing":
        return [_withheld(inner, each, raw[_root(each)]) for each in first]
    if result._clean is not None:
        errors = seen[0].exception, seen[1].exception
        roots = [_Sides("$", raw["$"], sides, errors)]
        if any(_root(each) == _ARGS for each in first):
            own = _cleaner(result._clean)
            cleaned = _arguments(own, seen[0]), _arguments(own, seen[1])
            roots.append(_Sides(_ARGS, raw[_ARGS], cleaned))
        first = tuple(each for root in roots for each in _cleaned_sides(inner, first, root))
    return [_difference(inner, each, raw[_root(each)]) for each in first]


_ARGS: Final = "$args"


def _root(difference: Difference) -> str:
    """Say where a path begins: in the value, or among the arguments."""
    return _ARGS if difference.path.startswith(_ARGS) else "$"


def _arguments(own: Callable[[Any], Any], seen: Observation) -> Any:
    """Give what a result's own `clean` makes of each argument, or `_FAILED`."""
    made = {name: own(value) for name, value in (seen.arguments or {}).items()}
    return _FAILED if any(each is _FAILED for each in made.values()) else made


@attrs.frozen
class _Sides:
    """What both have under one root of paths, raw, and as the result's own `clean` gave it.

    `errors` are what they raised in its place.
    """

    root: str
    raw: tuple[Any, Any]
    cleaned: tuple[Any, Any]
    errors: tuple[BaseException | None, BaseException | None] = (None, None)


def _cleaned_sides(
    walk: Walk, differences: tuple[Difference, ...], sides: _Sides
) -> Iterator[Difference]:
    """Put what the result's own `clean` gave in place of the raw sides of what differs there."""
    found: dict[str, list[Difference]] = {}
    returned = all(each is None for each in sides.errors)
    if returned and not any(each is _FAILED for each in sides.cleaned):
        try:
            plain = (comparable(walk, each) for each in sides.cleaned)
            for difference in equal.at(sides.root).differences(*plain):
                found.setdefault(difference.path, []).append(difference)
        except Exception:
            found = {}
    for difference in differences:
        if _root(difference) == sides.root:
            yield _cleaned_side(walk, difference, sides, found)


def _cleaned_side(
    walk: Walk, raw: Difference, sides: _Sides, found: dict[str, list[Difference]]
) -> Difference:
    """Give one difference without its raw values; an exception is no value and stays.

    A path into what `clean` left out may hold keys that it left out, too.
    """
    here = found.get(raw.path)
    if raw.path != sides.root and here:
        return here.pop(0) if len(here) > 1 else here[0]
    made = []
    for error, cleaned, side in zip(
        sides.errors, sides.cleaned, (raw.control, raw.candidate), strict=True
    ):
        if side is NOTHING or (error is not None and side is error):
            made.append(side)
        else:
            is_whole = raw.path == sides.root or cleaned is _FAILED
            made.append(cleaned if is_whole else _UNKNOWN)
    return Difference(shown(walk, raw.path, sides.raw, None), raw.kind, *made)


def _withheld(walk: Walk, difference: Difference, raw: tuple[Any, Any]) -> dict[str, Any]:
    """Give one difference without any data: which side has something, and where."""
    path = walk.text(shown(walk, difference.path, raw, None), _PATH)
    sides = {"control": difference.control, "candidate": difference.candidate}
    there = {name: _CAPTURE for name, side in sides.items() if side is not NOTHING}
    return {"path": path, "kind": difference.kind._value_, **there}


def _difference(walk: Walk, difference: Difference, raw: tuple[Any, Any]) -> dict[str, Any]:
    """Give one difference; what its path names as secret is redacted."""
    path, secret = walk.scrubber.paths.get(difference.path) or _path(walk, difference.path, raw)
    walk.size -= len(path) + 60
    secret = secret or has_named_pair(walk, difference.path, raw)
    if walk.scrubber.allow is not None:
        walk.hidden = not walk.scrubber.allows(nearest_name(difference.path))
    made: dict[str, Any] = {"path": path, "kind": difference.kind._value_}
    named = difference.path if secret else None
    if difference.control is not NOTHING:
        made["control"] = _side(walk, difference.control, named)
    if difference.candidate is not NOTHING:
        made["candidate"] = _side(walk, difference.candidate, named)
    return made


def _side(walk: Walk, side: Any, secret: str | None) -> Any:
    """Clean a side; `secret` is the path, where that announces one."""
    return _value(walk, side) if secret is None else walk.secret(side, secret)


def _path(walk: Walk, path: str, raw: tuple[Any, Any]) -> tuple[str, bool]:
    """Clean a path, and tell whether it announces a secret; remember the answer of plain ones."""
    allows = walk.scrubber.allows
    secret = any(map(walk.is_secret, (path, *_STEPS.split(path))))
    if walk.scrubber.allow is not None:
        walk.hidden = False
        return walk.text(shown(walk, path, raw, allows), _PATH), secret
    made = walk.text(path, _PATH), secret
    if made[0] == path:
        walk.scrubber.remember(walk.scrubber.paths, path, made)
    return made

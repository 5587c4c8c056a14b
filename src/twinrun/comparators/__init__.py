"""Comparators: callables that say whether a candidate's value may stand for the control's.

A comparator is any callable of the two values that gives a bool. One that has
`differences(control, candidate)` too can also say what differs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from twinrun.comparators.equality import budgeted, equal, exact, loose
from twinrun.comparators.raised import same_error

if TYPE_CHECKING:
    from twinrun.comparators.combined import both, by, either
    from twinrun.comparators.ordering import unordered
    from twinrun.comparators.places import by_field, ignoring, only, same_fields
    from twinrun.comparators.texts import case_insensitive, json_text, xml_text
    from twinrun.comparators.tolerance import approx

__all__ = [
    "approx",
    "both",
    "budgeted",
    "by",
    "by_field",
    "case_insensitive",
    "either",
    "equal",
    "exact",
    "ignoring",
    "json_text",
    "loose",
    "only",
    "same_error",
    "same_fields",
    "unordered",
    "xml_text",
]

# Loaded when they are first asked for: an application that compares by default needs none of them.
_MODULES = {
    "approx": "tolerance",
    "both": "combined",
    "by": "combined",
    "by_field": "places",
    "case_insensitive": "texts",
    "either": "combined",
    "ignoring": "places",
    "json_text": "texts",
    "only": "places",
    "same_fields": "places",
    "unordered": "ordering",
    "xml_text": "texts",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

"""Reads types past their metaclasses, and texts past what a subclass of str makes of them."""

from __future__ import annotations

from typing import Final

__all__ = ["exact_text", "is_heap", "mro"]

_HEAP_TYPE: Final = 1 << 9  # Py_TPFLAGS_HEAPTYPE: not one of the interpreter's own static types
_type: Final = type.__dict__


def mro(cls: type) -> tuple[type, ...]:
    """Give a type and its ancestors, in the order in which attributes are looked for."""
    ancestry: tuple[type, ...] = _type["__mro__"].__get__(cls)
    return ancestry


def is_heap(cls: type) -> bool:
    """Whether a type was made by a program, not built into the interpreter or an extension."""
    return bool(_type["__flags__"].__get__(cls) & _HEAP_TYPE)


def exact_text(value: str) -> str:
    """Give a plain str, also of a subclass that overrides how it is shown."""
    return str.__str__(value)

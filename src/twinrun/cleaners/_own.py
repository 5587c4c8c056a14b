"""Reads what a value stores itself, past `__getattribute__`, properties and metaclasses."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any, Final

from twinrun._types import is_heap, mro
from twinrun.cleaners._walk import Walk
from twinrun.tracebacks import type_name

__all__ = ["ancestry", "classes", "is_used_up", "loaded", "own_fields", "stored"]

_LOOKED_AT: Final = 2_000  # attributes of one class, and classes of one ancestry

# Whoever has these gives each thing once, holds something open, or waits.
_ONCE: Final = ("__next__", "__anext__", "__await__", "fetchone", "recv_into")
_HELD: Final = (("read", "close"), ("write", "close"), ("acquire", "release"))


def classes(kind: type) -> Iterator[tuple[type, Any]]:
    """Give the classes of a type's ancestry, each with its own attributes."""
    for cls in islice(mro(kind), _LOOKED_AT):
        yield cls, type.__dict__["__dict__"].__get__(cls)


def ancestry(kind: type) -> frozenset[str]:
    """Give the names of the classes that a type is made from, with their modules."""
    return frozenset(type_name(cls) for cls, _ in classes(kind))


def is_used_up(kind: type) -> bool:
    """Whether to look at a value may use it up or wait: iterators, files, cursors, locks."""
    names = {n for n in (*_ONCE, *sum(_HELD, ())) if any(n in own for _, own in classes(kind))}
    return any(n in names for n in _ONCE) or any(names.issuperset(pair) for pair in _HELD)


def own_fields(walk: Walk, value: Any, kind: type) -> Iterator[tuple[str, Any]]:
    """Give what an instance stores itself, in its dict and in slots; not what Python adds."""
    layouts = walk.shared.layouts
    known = layouts.get(id(kind))
    if known is None:  # the type is kept, so that nothing else gets its id
        known = layouts[id(kind)] = (kind, tuple(_layout(kind)))
    for name, descriptor in known[1]:
        if name != "__dict__":
            try:
                yield name, descriptor.__get__(value)
            except AttributeError:  # never set
                continue
        else:
            attributes = descriptor.__get__(value)
            for key, stored_value in list(attributes.items()) if type(attributes) is dict else ():
                if type(key) is str and not _is_added(key):
                    yield key, stored_value


def _layout(kind: type) -> Iterator[tuple[str, Any]]:
    """Find where the instances of a type store their fields."""
    for cls, own in classes(kind):
        for name, descriptor in islice(own.items(), _LOOKED_AT) if is_heap(cls) else ():
            found = type(descriptor)
            if type(name) is not str:
                continue
            if found is MemberDescriptorType and descriptor.__objclass__ is cls:
                if not _is_added(name):
                    yield name, descriptor
            elif name == "__dict__" and found is GetSetDescriptorType:
                yield name, descriptor


def _is_added(name: str) -> bool:
    """Whether a name is one that Python or a library adds."""
    return name.startswith("__") and name.endswith("__")


def stored(cls: type, name: str, value: Any) -> Any:
    """Read what a built-in type stores under a name."""
    return getattr(cls, name).__get__(value)


def loaded(module: str, name: str) -> Any:
    """Give what a module holds under a name, None where nobody imported it."""
    return getattr(sys.modules.get(module), name, None)

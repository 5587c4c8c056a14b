"""Who says, while a process runs, which share of runs are experiments."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twinrun.controls.openfeature import OpenFeatureControls
    from twinrun.controls.store import StoreControls

__all__ = ["OpenFeatureControls", "StoreControls"]

_MODULES = {"OpenFeatureControls": "openfeature", "StoreControls": "store"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

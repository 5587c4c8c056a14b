"""The places that results go to: one sink, one small file, loaded when it is first asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twinrun.publishers.buffered import Buffered
    from twinrun.publishers.jsonl import JSONLinesPublisher
    from twinrun.publishers.memory import MemoryPublisher
    from twinrun.publishers.redis import RedisPublisher
    from twinrun.publishers.statsd import StatsdPublisher
    from twinrun.publishers.store import StorePublisher
    from twinrun.publishers.structlog import StructlogPublisher

__all__ = [
    "Buffered",
    "JSONLinesPublisher",
    "MemoryPublisher",
    "RedisPublisher",
    "StatsdPublisher",
    "StorePublisher",
    "StructlogPublisher",
]

_MODULES = {
    "Buffered": "buffered",
    "JSONLinesPublisher": "jsonl",
    "MemoryPublisher": "memory",
    "RedisPublisher": "redis",
    "StatsdPublisher": "statsd",
    "StorePublisher": "store",
    "StructlogPublisher": "structlog",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

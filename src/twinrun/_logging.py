"""Where twinrun says something: structlog if the application uses it, else the standard logging."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["warn"]


def warn(event: str, **keys: Any) -> None:
    """Log a warning through structlog as it is configured now, or through the logger `twinrun`.

    structlog that nobody configured would print to stdout, so that it is left alone.
    """
    structlog = sys.modules.get("structlog")
    if structlog is not None and _is_configured(structlog):
        stdlib = structlog.stdlib
        # An asynchronous logger wants a running loop, and its methods would have to be awaited.
        is_async = structlog.get_config()["wrapper_class"] is stdlib.AsyncBoundLogger
        wrapper = stdlib.BoundLogger if is_async else None
        logger = structlog.wrap_logger(
            None, wrapper_class=wrapper, logger_factory_args=("twinrun",)
        )
        logger.warning(event, **keys)
        return
    import logging

    logger = logging.getLogger("twinrun")
    if logger.isEnabledFor(logging.WARNING):
        logger.warning("%s%s", event, "".join(f" {key}={_flat(keys[key])}" for key in keys))


def _is_configured(structlog: Any) -> bool:
    """Whether structlog was configured; it says so, too, after `capture_logs` put all back."""
    if not structlog.is_configured():
        return False
    now, builtin = structlog.get_config(), vars(structlog)["_config"]
    factory = getattr(builtin, "_BUILTIN_DEFAULT_LOGGER_FACTORY", None)
    processors = getattr(builtin, "_BUILTIN_DEFAULT_PROCESSORS", ())
    return now["logger_factory"] is not factory or list(now["processors"]) != list(processors)


def _flat(value: Any) -> str:
    """Write a plain value so that it stays one word of the message, others by their type."""
    if value is None or type(value) in (bool, int, float):
        return str(value)
    if type(value) is str:
        return value if value.isascii() and value.isidentifier() else repr(value)
    if type(value) is list:
        return f"[{', '.join(map(_flat, value))}]"
    return f"<{type(value).__name__}>"

"""Writes cleaned values on one line."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["one_line"]

_LINE: Final = 200


def one_line(value: Any) -> str:
    """Write a cleaned value on one line of at most 200 characters."""
    text = _written(value)
    if not text.isprintable():
        text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return text if len(text) <= _LINE else text[: _LINE - 1] + "…"


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

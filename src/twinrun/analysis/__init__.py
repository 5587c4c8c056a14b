"""From what a store holds to what can be said of it. Nothing here writes."""

from __future__ import annotations

__all__: list[str] = []

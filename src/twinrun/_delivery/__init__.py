"""What a delivery is made of: where records wait, how they are handed on, how a process ends."""

from __future__ import annotations

__all__: list[str] = []

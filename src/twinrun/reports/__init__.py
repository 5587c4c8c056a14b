"""What is known of experiments, written down for people and for programs."""

from __future__ import annotations

__all__: list[str] = []

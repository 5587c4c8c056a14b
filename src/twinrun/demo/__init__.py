"""A real migration over real input, to see what twinrun does (needs `twinrun[review]`)."""

from __future__ import annotations

from twinrun.demo.command import demo

__all__ = ["demo"]

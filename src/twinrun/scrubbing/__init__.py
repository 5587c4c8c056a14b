"""Finds secrets, by names that announce one and in texts that hold one, and puts marks there."""

from __future__ import annotations

from twinrun.scrubbing._scrubber import REDACTED, Scrubber, current, is_secret_name, scrub, use

__all__ = ["REDACTED", "Scrubber", "current", "is_secret_name", "scrub", "use"]

"""What twinrun raises: for wrong use, and in tests for a mismatch."""

from __future__ import annotations

from typing import Any

from twinrun.result import Result

__all__ = ["ConfigurationError", "MismatchError"]


class ConfigurationError(ValueError):
    """An experiment or a setting was made wrongly; the text says what is accepted."""


class MismatchError(AssertionError):
    """A candidate did not match, where `raise_on_mismatch` asks to hear of it.

    `result` is the whole `Result`; the text shows the cleaned values and what differs.
    """

    def __init__(self, message: str, result: Result) -> None:
        super().__init__(message)
        self.result = result

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.args[0], self.result)

"""What twinrun raises: for wrong use, and in tests for a mismatch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twinrun.result import Result

__all__ = ["ConfigurationError", "MismatchError", "needing"]


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


@contextmanager
def needing(package: str, text: str) -> Iterator[None]:
    """Raise a ConfigurationError with this text where a package can't be imported inside.

    That something else is missing, such as a part of the package, is raised as it is.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        raise ConfigurationError(text) from error

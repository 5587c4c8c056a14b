"""Obeys feature flags, of whatever provider OpenFeature is set up with (`twinrun[openfeature]`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from twinrun._steering import checked_seconds
from twinrun.errors import ConfigurationError, needing

if TYPE_CHECKING:
    from openfeature.client import OpenFeatureClient
    from openfeature.evaluation_context import EvaluationContext

__all__ = ["OpenFeatureControls"]

_NOTHING: Final = -1.0  # no share: what a flag that is off or unknown comes to


class OpenFeatureControls:
    """Says what an OpenFeature client says: a flag that is a number for each experiment, 0..1.

    `client` is by default the one that the application has set up for the domain `twinrun`, or for
    all. `flag` makes an experiment's name the key of its flag, which is the name itself by default;
    `context` is given with each question. A flag that is not there, or is off, says nothing.

    Raises:
        ConfigurationError: OpenFeature is missing, `flag` can't be called, or `every` is no number
            above 0.
    """

    def __init__(
        self,
        client: OpenFeatureClient | None = None,
        *,
        flag: Callable[[str], str] = str,
        context: EvaluationContext | None = None,
        every: float = 5.0,
    ) -> None:
        text = 'flags need OpenFeature: pip install "twinrun[openfeature]"'
        with needing("openfeature", text):
            from openfeature import api
            from openfeature.exception import ErrorCode
        if not callable(flag):
            raise ConfigurationError(
                f"flag is a callable that makes an experiment's name a flag's key, not {flag!r}"
            )
        self.every = checked_seconds(every)
        self._client: Any = api.get_client("twinrun") if client is None else client
        self._flag = flag
        self._context = context
        self._codes = ErrorCode

    def __call__(self, experiment: str) -> float | None:
        """Give the share that the flag says, None where it says nothing; raises what it can't."""
        key = self._flag(experiment)
        details = self._client.get_float_details(key, _NOTHING, self._context)
        if details.error_code == self._codes.TYPE_MISMATCH:  # 0 and 1 are written so, too
            details = self._client.get_integer_details(key, int(_NOTHING), self._context)
        if isinstance(details.value, bool):
            raise LookupError(f"flag {key!r} is a switch, and no share within 0..1")
        if details.error_code is None:
            return None if details.value == _NOTHING else float(details.value)
        if details.error_code == self._codes.FLAG_NOT_FOUND:
            return None
        raise LookupError(f"flag {key!r}: {details.error_code.value}: {details.error_message}")

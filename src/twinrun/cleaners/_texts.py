"""Makes texts safe for every store, and takes known secrets out of data that is cleaned."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from twinrun.scrubbing import REDACTED

__all__ = ["hushed", "is_safe", "safe"]

_CUT: Final = re.compile(r"… \(\d+ characters\)\Z")
_MARK: Final = 24  # characters that a mark comes to, about
_INSIDE: Final = 6  # characters of a secret that is looked for inside of other texts


def is_safe(text: str) -> bool:
    """Whether a text can be stored everywhere as it is."""
    return text.isascii() and text.isprintable()


def safe(text: str) -> str:
    """Write NULs and lone surrogates as escapes; no store takes all of them."""
    if is_safe(text):
        return text
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()


def hushed(data: Any, secrets: Mapping[str, str]) -> Any:
    """Put marks in place of secrets in cleaned data; of short ones only where they are all."""
    if type(data) is str:
        return _hushed_text(data, secrets)
    if type(data) is list:
        return [hushed(item, secrets) for item in data]
    if type(data) is not dict:
        return data
    made: dict[str, Any] = {}
    for key, item in data.items():
        tag = key.startswith("$") and not key.startswith("$$")
        name = key if tag else _hushed_text(key, secrets)
        while name in made:
            name += "'"
        made[name] = item if tag else hushed(item, secrets)
    return made


def _hushed_text(text: str, secrets: Mapping[str, str]) -> str:
    if text in secrets:
        return secrets[text]
    cut = _CUT.search(text)
    body, end = (text[: cut.start()], cut[0]) if cut else (text, "")
    for secret, mark in secrets.items():
        if len(secret) >= _INSIDE:
            begun = _begun(body, secret) if end else 0
            body = (f"{body[:-begun]}{REDACTED}" if begun else body).replace(secret, mark)
    made, most = body + end, max(len(text), _MARK)
    return made if len(made) <= most else f"{made[: most - 1]}…"  # bounds hold for marks, too


def _begun(body: str, secret: str) -> int:
    """How much of a secret stands at the end of a text that was cut there."""
    lengths = range(min(len(secret) - 1, len(body)), 3, -1)
    return next((n for n in lengths if body.endswith(secret[:n])), 0)

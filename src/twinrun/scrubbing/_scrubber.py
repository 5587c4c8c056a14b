"""The policy of scrubbing: what is secret in this process, and what stands in its place."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from functools import cache
from typing import Any, Final

import attrs

from twinrun.errors import ConfigurationError
from twinrun.scrubbing._names import announces, normalised, wildcards
from twinrun.scrubbing._shapes import redacted

__all__ = ["REDACTED", "Scrubber", "current", "is_secret_name", "scrub", "use"]

REDACTED: Final = "[redacted]"
"""Stands where a secret was that is not worth a mark of its own."""

_MARKED: Final = re.compile(r"\[redacted(?: [0-9a-f]{8})?\]")
_SHORT: Final = 13  # characters of the shortest secret that has no : or = beside it
_SAFE: Final = re.compile(rf"[^:=%]{{0,{_SHORT - 1}}}")
_REMEMBERED: Final = 4096  # names for which the answer is kept …
_NAME: Final = 64  # … of at most so many characters


def _taken(value: Any) -> Any:
    """Take a collection over as a tuple; what is none stays, and is refused."""
    return value if isinstance(value, str) or not isinstance(value, Collection) else tuple(value)


def _are_texts(scrubber: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, tuple) or not all(isinstance(each, str) and each for each in value):
        raise ConfigurationError(
            f'{field.name} of a Scrubber is a collection of texts such as ["iban"], not {value!r}'
        )


def _are_texts_or_none(scrubber: Any, field: attrs.Attribute[Any], value: Any) -> None:
    if value is not None:
        _are_texts(scrubber, field, value)


def _key(value: Any) -> bytes | None:
    """Take a key as text or bytes; its own text is never shown."""
    if value is None:
        return None
    if not isinstance(value, str | bytes) or len(value) < 16:
        raise ConfigurationError(
            "key of a Scrubber is a text or bytes of at least 16 characters that nobody can guess"
        )
    return value.encode() if isinstance(value, str) else value


def _pattern(text: str) -> re.Pattern[str]:
    """Compile a user's pattern."""
    try:
        return re.compile(text)
    except re.error as error:
        raise ConfigurationError(
            f"patterns of a Scrubber are regular expressions; {text!r} is none: {error}"
        ) from error


@attrs.frozen(kw_only=True, eq=False)
class Scrubber:
    """What is secret beside what always is; give it to `twinrun.configure(scrub=…)`.

    Names are compared by their letters and digits alone, without case; `*` stands for anything.

    Args:
        names: more names of keys, attributes and parameters whose values are secret.
        safe: names that look secret and are not.
        allow: if given, only values under these names leave, and what else is text or number is
            redacted. The whole value stands under the name `value`, what exceptions say under
            `message`, `reason` and `traceback`.
        patterns: regular expressions of more texts that are secret.
        key: makes the marks of equal secrets equal in all processes that have the same key. By
            default `TWINRUN_SCRUB_KEY` of the environment, or one of this process alone.

    Raises:
        ConfigurationError: a value is not of the kind said above.
    """

    names: tuple[str, ...] = attrs.field(default=(), converter=_taken, validator=_are_texts)
    safe: tuple[str, ...] = attrs.field(default=(), converter=_taken, validator=_are_texts)
    allow: tuple[str, ...] | None = attrs.field(
        default=None, converter=_taken, validator=_are_texts_or_none
    )
    patterns: tuple[str, ...] = attrs.field(default=(), converter=_taken, validator=_are_texts)
    key: bytes | None = attrs.field(default=None, converter=_key, repr=False)
    _named: re.Pattern[str] = attrs.field(init=False, repr=False)
    _safe: re.Pattern[str] = attrs.field(init=False, repr=False)
    _allowed: re.Pattern[str] = attrs.field(init=False, repr=False)
    _compiled: tuple[re.Pattern[str], ...] = attrs.field(init=False, repr=False)
    keys: dict[str, tuple[str, bool, int]] = attrs.field(init=False, repr=False, factory=dict)
    paths: dict[str, tuple[str, bool]] = attrs.field(init=False, repr=False, factory=dict)
    _known: dict[str, bool] = attrs.field(init=False, repr=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        """Compile what was given, once it is known to be right."""
        compiled = {
            "_named": wildcards(self.names),
            "_safe": wildcards(self.safe),
            "_allowed": wildcards(self.allow or ()),
            "_compiled": tuple(map(_pattern, self.patterns)),
        }
        for name, value in compiled.items():
            object.__setattr__(self, name, value)

    def is_secret_name(self, name: str) -> bool:
        """Whether a key, an attribute or a header is named like something secret."""
        known = self._known.get(name)
        if known is None:
            plain = normalised(name)
            known = bool(self._named.fullmatch(plain)) or (
                announces(plain) and not self._safe.fullmatch(plain)
            )
            self.remember(self._known, name, known)
        return known

    def remember(self, answers: dict[str, Any], name: str, answer: Any) -> None:
        """Keep an answer in `keys` or `paths`, where it is looked up first."""
        if len(name) <= _NAME:
            if len(answers) >= _REMEMBERED:
                answers.clear()
            answers[name] = answer

    def allows(self, name: str) -> bool:
        """Whether values under this name may leave at all."""
        return self.allow is None or bool(self._allowed.fullmatch(normalised(name)))

    def scrub(self, text: str) -> str:
        """Put a mark in place of each secret in a text; in place of it all if that fails."""
        try:
            if not self._compiled and _SAFE.fullmatch(text):
                return text
            for pattern in self._compiled:
                text = pattern.sub(lambda match: self.mark(match[0]) if match[0] else "", text)
            return redacted(text, self.mark)
        except Exception:
            return REDACTED

    def mark(self, secret: str) -> str:
        """Give what stands for a secret: equal for equal ones, and without it not to be undone.

        It holds 32 bits of BLAKE2b, keyed.
        """
        import hashlib

        if _MARKED.fullmatch(secret):
            return secret
        key = self.key or _default_key()
        data = secret.encode("utf-8", "surrogatepass")
        short = key if len(key) <= hashlib.blake2b.MAX_KEY_SIZE else hashlib.sha256(key).digest()
        return f"[redacted {hashlib.blake2b(data, key=short, digest_size=4).hexdigest()}]"


@cache
def _default_key() -> bytes:
    """Take the key of the environment, or make one that dies with this process and its forks."""
    given = os.environ.get("TWINRUN_SCRUB_KEY", "")
    return given.encode("utf-8", "surrogateescape") or os.urandom(32)


_current: Scrubber = Scrubber()


def current() -> Scrubber:
    """Give the policy of this process."""
    return _current


def use(scrubber: Scrubber | None) -> None:
    """Make this the policy of this process from now on; None restores the default."""
    global _current
    _current = Scrubber() if scrubber is None else scrubber


def is_secret_name(name: str) -> bool:
    """Whether a key, an attribute or a header is named like something secret."""
    return _current.is_secret_name(name)


def scrub(text: str) -> str:
    """Put a mark such as `[redacted 5d2f0c1b]` in place of each secret in a text."""
    return _current.scrub(text)

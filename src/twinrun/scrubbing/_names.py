"""Knows the names that announce a secret: of keys, attributes, parameters and headers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

__all__ = ["announces", "normalised", "wildcards"]

# Anywhere in a name of which only letters and digits are left …
_WORDS: Final = re.compile(
    "pass(word|wd|phrase|code)|passkey|pwd|secret|token|credential|authorization|cookie|csrf|xsrf|"
    "(api|access|account|private|shared|signing|encryption|master|session)key|sess(ion)?id|"
    "cardnumber|creditcard|securitycode|socialsecurity|mnemonic|seedphrase|totp"
)
# … or the whole of it.
_WHOLE: Final = re.compile("pass|pw|pin|auth|authentication|bearer|jwt|sid|cvv|cvc|ssn|otp|pan")

# What tells of a secret and is none: how many, which kind, when, whether.
_INNOCENT: Final = re.compile(
    ".*(count|type|kind|length|limit|size|strength|policy|status|budget|usage|required|enabled|"
    "expir(y|es|ed|ation)|(expires|expired|changed|created|updated|issued|rotated|revoked|reset|"
    "verified)(at|on|in|by))"
    "|(max|min|num|total|prompt|completion|input|output|cached|reasoning|used|remaining)"
    "(new|completion|output|context)?tokens(used|left)?|ntokens|tokens(used|left|per[a-z]+)"
    "|(de)?tokeni[sz].*|secretar(y|ies|iat).*"
)


def normalised(name: str) -> str:
    """Give what is compared of a name: its letters and digits, without case or typography."""
    if not name.isascii():
        import unicodedata

        name = unicodedata.normalize("NFKC", name)
    return "".join(filter(str.isalnum, name.lower()))


def announces(plain: str) -> bool:
    """Whether a normalised name is that of a secret."""
    if _WORDS.search(plain):
        return not _INNOCENT.fullmatch(plain)
    return bool(_WHOLE.fullmatch(plain))


def wildcards(names: Iterable[str]) -> re.Pattern[str]:
    """Compile names, in which `*` stands for anything, to what a normalised name must match."""
    parts = (".*".join(map(normalised, name.split("*"))) for name in names)
    return re.compile("|".join(parts) or "(?!)")

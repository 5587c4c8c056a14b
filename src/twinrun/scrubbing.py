"""Finds secrets: names that announce one, and texts that hold one.

The shapes of keys and tokens are those that their issuers document; card numbers are told from
other numbers by length, first digits and the Luhn check (ISO/IEC 7812-1, annex B).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import Final, TypeAlias

__all__ = ["REDACTED", "is_secret_name", "scrub"]

REDACTED: Final = "[redacted]"
"""Stands where a secret was."""

# Anywhere in a name of which only letters and digits are left …
_WORDS: Final = re.compile(
    "pass(word|wd|phrase|code)|pwd|secret|token|credential|authorization|cookie|csrf|xsrf|"
    "(api|access|private|signing|encryption|session)key|sessionid|cardnumber|creditcard|securitycode"
)
# … or the whole of it.
_WHOLE: Final = re.compile("pass|pw|pin|auth|authentication|jwt|sid|cvv|cvc|ssn|otp|pan")

# In a text, before a `:` or `=`.
_NAMES: Final = (
    r"pass(?:word|wd|phrase|code)|pwd|secret|token|credential|csrf|xsrf|"
    r"(?:api|access|private|signing|encryption|session)[_ -]?key|session[_-]?id"
)

_TOKENS: Final = (
    r"eyJ[\w-]{10,}(?:\.[\w-]*){0,4}"  # JWT, JWE
    r"|(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,}"  # AWS
    r"|gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}"
    r"|xox[a-z]-[\w-]{8,}|xapp-[\w-]{8,}"  # Slack
    r"|[spr]k_(?:live|test)_\w{10,}|whsec_[\w+/=]{16,}"  # Stripe
    r"|AIza[\w-]{30,}|ya29\.[\w-]{16,}"  # Google
    r"|sk-[\w-]{20,}|npm_[A-Za-z0-9]{30,}|pypi-[\w-]{40,}|SG\.[\w-]{16,}\.[\w-]{16,}"
)

_Patterns: TypeAlias = tuple[tuple[re.Pattern[str], str], ...]

# A text that is shorter than any token and holds none of the signs that the patterns ask for.
_SHORT: Final = 13

_REMEMBERED: Final = 64  # characters of a name for which the answer is kept


def is_secret_name(name: str) -> bool:
    """Whether a key, an attribute or a header is named like something secret."""
    return _is_secret(name) if len(name) <= _REMEMBERED else _is_secret.__wrapped__(name)


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    plain = "".join(filter(str.isalnum, name.lower()))
    return bool(_WORDS.search(plain) or _WHOLE.fullmatch(plain))


def scrub(text: str) -> str:
    """Put `[redacted]` in place of the secrets in a text; in place of it all if that fails."""
    if len(text) < _SHORT and text.isalnum():
        return text
    try:
        if not _sign().search(text):
            return text
        plain, assigned = _patterns()
        for pattern, replacement in plain:
            text = pattern.sub(replacement, text)
        if ":" in text or "=" in text:
            for pattern, replacement in assigned:
                text = pattern.sub(replacement, text)
        return _without_cards(text) if _cards()[0].search(text) else text
    except Exception:
        return REDACTED


@cache
def _sign() -> re.Pattern[str]:
    """Compile what every text with a secret has in it: most texts need no closer look."""
    return re.compile(
        r"[:=]|\d{4}|-----BEGIN|(?i:bearer|basic)|eyJ|AKIA|ASIA|ABIA|ACCA|gh[pousr]_|_pat_|glpat-"
        r"|xox|xapp-|_live_|_test_|whsec_|AIza|ya29|sk-|npm_|pypi-|SG\.|hooks\.slack"
    )


@cache
def _patterns() -> tuple[_Patterns, _Patterns]:
    """Compile the patterns, those that need a `:` or `=` apart; at first use: it takes long.

    Each also finds a secret whose end was cut off, and none backtracks without bound.
    """
    key = r"PRIVATE KEY(?: BLOCK)?-----"
    value = r"""\\?"(?:[^"\\]|\\[^"])*\\?"?|\\?'(?:[^'\\]|\\[^'])*\\?'?|[^\s,;&"'(){}\[\]<>]+"""
    plain = (
        (rf"-----BEGIN [A-Z0-9 ]*{key}[\s\S]*?(?:-----END [A-Z0-9 ]*{key}|\Z)", REDACTED),
        (r"((?i:bearer)\s+)[\w.~+/-]{6,}=*", rf"\1{REDACTED}"),
        (r"((?i:basic)\s+)(?=[\w+/-]{0,200}[A-Z0-9=])[\w+/-]{8,}={0,2}", rf"\1{REDACTED}"),
        (rf"(?<![A-Za-z0-9])(?:{_TOKENS})", REDACTED),
        (r"(hooks\.slack\.com/services/)[\w/]+", rf"\1{REDACTED}"),
    )
    assigned = (
        (r"(?i)((?:authorization|cookie)\\?[\"']?\s*[:=]\s*)[^\r\n]+", rf"\1{REDACTED}"),
        # Up to the last @ of the word: passwords may hold @, / and :. A port is no password.
        (r"(://[^\s/:@]{0,256}:)(?!\d{1,5}(?:[/?#]|$))\S{1,512}@", rf"\1{REDACTED}@"),
        (
            rf"(?i)((?:{_NAMES})[\w.-]{{0,40}}\\?[\"']?\s*(?:=(?!=)|:)\s*)(?:{value})",
            rf"\1{REDACTED}",
        ),
    )
    return _compiled(plain), _compiled(assigned)


def _compiled(patterns: Iterable[tuple[str, str]]) -> _Patterns:
    return tuple((re.compile(pattern), replacement) for pattern, replacement in patterns)


@cache
def _cards() -> tuple[re.Pattern[str], ...]:
    """Compile a sign of card numbers, how they are written, and which ones networks give out."""
    written = (
        r"(?<!\d)(?<!\d\.)(?=("
        r"\d{4}([ -])\d{4}\2\d{4}\2\d{4}(?:\2\d{3})?|\d{4}([ -])\d{6}\3\d{4,5}|\d{13,19}"
        r")(?!\d))"
    )
    issued = (
        r"4\d{12}(?:\d{3}){0,2}|5\d{15}|2[2-7]\d{14}|3[47]\d{13}|3[068]\d{12}|35\d{14}|6\d{15,18}"
    )
    return re.compile(r"\d{4}"), re.compile(written), re.compile(issued)


def _without_cards(text: str) -> str:
    """Put `[redacted]` in place of card numbers."""
    _, written, issued = _cards()
    kept, end = [], 0
    for match in written.finditer(text):
        digits = match[1].replace(" ", "").replace("-", "")
        if match.start() >= end and issued.fullmatch(digits) and _luhn(digits):
            kept += [text[end : match.start()], REDACTED]
            end = match.end(1)
    return "".join(kept) + text[end:]


def _luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others."""
    doubled = sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (doubled + sum(map(int, digits[-1::-2]))) % 10 == 0

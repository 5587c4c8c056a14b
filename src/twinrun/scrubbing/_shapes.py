"""Knows the texts that are a secret by their shape, or by what stands before them.

The shapes of keys and tokens are those that their issuers document; card numbers are told from
other numbers by length, first digits and the Luhn check (ISO/IEC 7812-1, annex B). Each pattern
also finds a secret whose end was cut off, and none backtracks without bound.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Final, TypeAlias

__all__ = ["Mark", "redacted"]

Mark: TypeAlias = Callable[[str], str]
"""Gives what stands in place of a secret."""

# In a text, before a `:` or `=`.
_NAMES: Final = (
    r"pass(?:word|wd|phrase|code)",
    "pwd",
    r"se(?:cret|ss(?:ion)?[_-]?id|curity[_ -]?code)",
    "token",
    "c(?:redential|srf|ard[_ -]?number)",
    "xsrf",
    "mnemonic",
    "a(?:pi|ccess|ccount)[_ -]?key",
    "private[_ -]?key",
    "s(?:hared|igning|ession)[_ -]?key",
    "encryption[_ -]?key",
    "master[_ -]?key",
)
_SHORT_NAMES: Final = "pass|pw|pin|auth|jwt|sid|cvv|cvc|ssn|otp|pan"

# What stands there in a program rather than a secret: types, constants.
_NO_SECRET: Final = (
    r"(?:None|True|False|null|true|false|undefined|str|string|int|bytes|bool|Any|Optional)"
    r"(?![\w-])"
)

_TOKENS: Final = (
    r"eyJ[\w-]{10,}(?:\.[\w-]*){0,4}"  # JWT, JWE
    r"|(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,}"  # AWS
    r"|gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|gl(?:pat|dt|rt|soat)-[\w-]{16,}"
    r"|xox[a-z]-[\w-]{8,}|xapp-[\w-]{8,}"  # Slack
    r"|[spr]k_(?:live|test)_\w{10,}|whsec_[\w+/=]{16,}"  # Stripe
    r"|AIza[\w-]{30,}|ya29\.[\w-]{16,}|GOCSPX-[\w-]{16,}"  # Google
    r"|sk-[\w-]{20,}|hf_[A-Za-z0-9]{30,}"  # OpenAI, Anthropic, Hugging Face
    r"|npm_[A-Za-z0-9]{30,}|pypi-[\w-]{40,}|dckr_pat_[\w-]{16,}"
    r"|SG\.[\w-]{16,}\.[\w-]{16,}|key-[0-9a-f]{32}|[0-9a-f]{32}-us\d{1,2}"  # mail services
    r"|SK[0-9a-f]{32}|\d{8,10}:AA[\w-]{30,}"  # Twilio, Telegram
    r"|shp(?:at|ca|pa|ss)_[0-9a-f]{32}|sq0[a-z]{3}-[\w-]{22,}"  # Shopify, Square
    r"|do[opr]_v1_[0-9a-f]{40,}|dapi[0-9a-f]{32}|hv[sbr]\.[\w-]{20,}"  # clouds, Vault
    r"|glsa_\w{20,}|NRAK-[A-Z0-9]{20,}|lin_api_\w{20,}|PMAK-[\w-]{20,}|ATATT3[\w=-]{20,}"
    r"|AGE-SECRET-KEY-1[A-Z0-9]{20,}"
)

# What every text with a secret has in it: most texts need no closer look. Each branch begins with
# a letter of its own, which lets the search leap over all others.
_SIGN: Final = (
    ":|=|%3|</|-----BEGIN|" + "|".join(rf"{digit}(?=\d{{3}})" for digit in range(10)) + "|"
    r"b(?=(?i:earer))|B(?=(?i:earer))|b(?=(?i:asic))|B(?=(?i:asic))|t(?=(?i:oken))|T(?=(?i:oken))|"
    r"eyJ|A(?:KIA|SIA|BIA|CCA|Iza|TATT3|GE-SECRET)|gh[pousr]_|github_pat_|gl(?:pat|dt|rt|soat)-|"
    r"glsa_|xox|xapp-|sk_(?:live|test)_|pk_(?:live|test)_|rk_(?:live|test)_|whsec_|ya29|GOCSPX|"
    r"sk-|hf_|npm_|pypi-|dckr_|SG\.|key-|-us\d|SK[0-9a-f]|shp(?:at|ca|pa|ss)_|sq0|do[opr]_v1_|"
    r"dapi|hv[sbr]\.|NRAK-|lin_api|PMAK-|hooks\.slack|webhooks/"
)
_SCHEMES: Final = frozenset("bBtT")
_ASSIGNING: Final = frozenset({":", "=", "%3", "</"})
_DIGITS: Final = frozenset("0123456789")
_OTHERS: Final = _SCHEMES | _ASSIGNING | _DIGITS | {"hooks.slack", "webhooks/"}

# Words without which a pattern that has its name finds nothing.
_CLUES: Final = {
    "named": re.compile(r"pass|pwd|secret|token|credential|[cx]srf|mnemonic|key|sess|card|code"),
    "short": re.compile(r"[\"'](?:pass|p[wia]|auth|jwt|sid|cv[vc]|ssn|otp)"),
    "tag": re.compile("</"),
    "lines": re.compile(r"authorization|cookie"),
    "query": re.compile(r"[?&][\w-]"),
    "assigned": re.compile(r"(?:pw|pin|jwt|cv[vc]|ssn|otp|pan)="),
}

_Patterns: TypeAlias = dict[str, re.Pattern[str]]


def redacted(text: str, mark: Mark) -> str:
    """Put a mark in place of each secret in a text."""
    signs = set(_sign().findall(text))
    if not signs:
        return text

    def marked(match: re.Match[str]) -> str:
        return f"{match[1]}{mark(match[2])}"

    patterns = _patterns()
    if "-----BEGIN" in signs:
        text = patterns["key"].sub(marked, text)
    if signs & _SCHEMES:
        text = patterns["scheme"].sub(marked, text)
    if signs - _OTHERS or ":AA" in text:
        text = patterns["token"].sub(marked, text)
    if "hooks.slack" in signs or "webhooks/" in signs:
        text = patterns["hook"].sub(marked, text)
    if signs & _ASSIGNING:
        text = _without_passwords(text, mark)
        lower = text.lower()
        for name, clue in _CLUES.items():
            if clue.search(lower):
                text = patterns[name].sub(marked, text)
    return _without_cards(text, mark) if signs & _DIGITS else text


@cache
def _sign() -> re.Pattern[str]:
    return re.compile(_SIGN)


@cache
def _patterns() -> _Patterns:
    """Compile the patterns at first use, since it takes long.

    The first group of each is kept, the second is the secret.
    """
    key = r"PRIVATE KEY(?: BLOCK)?-----"
    quoted = r"""\\?"(?:[^"\\]|\\[^"])*\\?"?|\\?'(?:[^'\\]|\\[^'])*\\?'?"""
    value = rf"""{quoted}|[^\s,;&"'(){{}}\[\]<>][^\s,;&"']*"""
    # Written so that the search leaps to their first letters, which `(?i)` would prevent.
    names = "|".join(f"{c}(?i:{name[1:]})" for name in _NAMES for c in (name[0], name[0].upper()))
    found = {
        "key": rf"()(-----BEGIN [A-Z0-9 ]{{0,40}}{key}[\s\S]*?"
        rf"(?:-----END [A-Z0-9 ]{{0,40}}{key}|\Z))",
        "scheme": r"((?i:bearer)(?:\s{1,20}|%20)"
        r"|(?i:basic)(?:\s{1,20}|%20)(?=[\w+/-]{0,200}[A-Z0-9=])(?=[\w+/-]{8})"
        r"|\b(?i:token)\s{1,20}(?=[\w.-]{0,200}\d)(?=[\w.-]{20}))([\w.~+/-]{6,}=*)",
        "token": rf"(?<![A-Za-z0-9])()({_TOKENS})",
        "hook": r"(hooks\.slack\.com/services/|discord(?:app)?\.com/api/webhooks/)([\w/-]+)",
        "tag": rf"(<[^<>]{{0,40}}(?:{names})[^<>]{{0,100}}>)([^<]+)(?=</)",
        "lines": r"(?i)((?:authorization|cookie)\\?[\"']?\s{0,20}[:=]\s{0,20})([^\r\n]+)",
        "named": rf"((?:{names})[\w.-]{{0,40}}\\?[\"']?\s{{0,20}}(?:=(?!=)|:|%3[ADad])\s{{0,20}})"
        rf"(?!{_NO_SECRET})({value})",
        "short": rf"(?i)([\"'](?:{_SHORT_NAMES})\\?[\"']\s{{0,20}}:\s{{0,20}})"
        rf"(?!(?-i:{_NO_SECRET}))({value})",
        "query": rf"(?i)([?&](?:{_SHORT_NAMES}|key|sig|(?:x-amz-|x-goog-)?signature)=)"
        r"([^\s&#\"'<>]+)",
        "assigned": rf"(?i)((?<![A-Za-z0-9_-])(?:pw|pin|jwt|cvv|cvc|ssn|otp|pan)=)(?!=)({value})",
    }
    return {name: re.compile(pattern) for name, pattern in found.items()}


def _without_passwords(text: str, mark: Mark) -> str:
    """Put a mark in place of the password of each URL: up to the last @ of the word.

    Passwords may hold @, / and :. A port is no password.
    """
    if "://" not in text or "@" not in text:
        return text
    return _words().sub(lambda match: _without_password(match[0], mark), text)


@cache
def _words() -> re.Pattern[str]:
    return re.compile(r"://\S*@")


def _without_password(word: str, mark: Mark) -> str:
    """Put a mark in place of the password in `://user:password@`."""
    start = 0
    while (start := word.find("://", start)) >= 0:
        start += 3
        user = _user().match(word, start)
        if user:
            return f"{word[: user.end()]}{mark(word[user.end() : -1])}@"
    return word


@cache
def _user() -> re.Pattern[str]:
    return re.compile(r"[^/:@]{0,256}:(?!\d{1,5}(?:[/?#]|$))(?!@$)")


@cache
def _cards() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Compile how card numbers are written, and which ones networks give out."""
    written = (
        r"\d(?<!\d\d)(?<!\d\.\d)(?=("
        r"\d{3}([ .-])\d{4}\2\d{4}\2\d{4}(?:\2\d{3})?|\d{3}([ .-])\d{6}\3\d{4,5}|\d{13,18}"
        r")(?!\d))"
    )
    issued = (
        r"4\d{15}|5[1-5]\d{14}|2[2-7]\d{14}|3[47]\d{13}|30[0-5]\d{11}|3[68]\d{12}|35\d{14}|"
        r"(?:6011|64[4-9]\d|65\d\d)\d{12}|62\d{14,17}"
    )
    return re.compile(written), re.compile(issued)


def _without_cards(text: str, mark: Mark) -> str:
    """Put a mark in place of each card number."""
    written, issued = _cards()
    kept, end = [], 0
    for match in written.finditer(text):
        digits = match[0] + match[1].replace(match[2] or match[3] or " ", "")
        if match.start() >= end and issued.fullmatch(digits) and _luhn(digits):
            kept += [text[end : match.start()], mark(digits)]
            end = match.end(1)
    return "".join(kept) + text[end:] if kept else text


def _luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others."""
    doubled = sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (doubled + sum(map(int, digits[-1::-2]))) % 10 == 0

"""Text from a store made safe for a terminal, which obeys some of the characters it is sent."""

from __future__ import annotations

__all__ = ["block", "line", "plain"]

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_PLAIN = str.maketrans({"→": "->", "×": "x", "µ": "u", "·": "-", "–": "-", "…": "...", "│": "|"})  # noqa: RUF001


def _escaped(character: str) -> str:
    """Write one unsafe character as Python would write it in a string."""
    code = ord(character)
    width, letter = (2, "x") if code < 0x100 else (4, "u") if code < 0x10000 else (8, "U")
    return _SHORT.get(character) or f"\\{letter}{code:0{width}x}"


def line(text: str) -> str:
    """Give text that stays on its line and gives a terminal nothing to obey.

    Escaped is what Python calls unprintable: controls (C0, C1, escape), format characters
    (bidirectional ones too), separators but the space, surrogates, and what is unassigned.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def block(text: str) -> str:
    """The same for text of several lines: its new lines stay, its tabs become spaces."""
    return "\n".join(line(part) for part in text.expandtabs(4).split("\n"))


def plain(text: str, encoding: str) -> str:
    """Give the text in characters that an encoding has, such as a Windows pipe's cp1252."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(_PLAIN)
        return text.encode(encoding, "backslashreplace").decode(encoding)
    return text

"""Path patterns: one grammar, and one matcher, for whatever is said of places inside a value.

A path is what a `Difference` has: a root and steps, as `step` writes them::

    path     = root step*
    root     = "$" name?                 `$` is the value compared; `$args` is another root
    step     = "." name                  a key or an attribute that is a Python identifier
             | "[" text "]"              any other text key, written as JSON writes it, in ASCII
             | "[" integer "]"           an index of a sequence, or an integer key
             | "[" number "]"            a float key, as Python writes it; nan, inf and -inf too
             | "[None]" | "[True]" | "[False]"
             | "[<" name ">]"            a key of another class, by the name of its class

A pattern is a path in which there may also stand::

             | ".*" | "[*]"              any one step, whatever it is
             | ".." name | "..*" | "..[" … "]"   that step after any number of others, or none

`["name"]` and `.name` are the same step. A key of text is never one of another class: `["3"]` is
not `[3]`. Attributes and keys of one name share a path, so that a dict may become an object; so do
index and integer key. Spaces stand nowhere but inside quoted text.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final, NoReturn

import attrs

from twinrun._pickling import type_name
from twinrun.errors import ConfigurationError

__all__ = ["Pattern", "compiled", "split", "step"]

_NAME: Final = r"\.[^.\[]++"
_BRACKET: Final = r'\[(?:"(?:[^"\\]|\\.)*+"|[^\]"]*+)\]'
_STEP: Final = f"(?>{_NAME}|{_BRACKET})"
_steps: Final = re.compile(_STEP, re.DOTALL)
_longest_integer: Final = 256  # bits: longer ones are known by their class only


def step(key: Any) -> str:
    """Write one step of a path, without one call into the code of an unknown key."""
    if issubclass(type(key), str):
        text = str.__str__(key)
        if text.isidentifier():
            return f".{text}"
        import json

        return f"[{json.dumps(text)}]"
    if key is None or type(key) in (bool, float):
        return f"[{key!r}]"
    if type(key) is int and key.bit_length() <= _longest_integer:
        return f"[{key!r}]"
    name = type_name(key).rpartition(".")[2]
    return f"[<{name if name.isidentifier() else '?'}>]"


def split(path: str) -> list[str]:
    """Give a path's root and its steps, each as a text: `$`, `.items`, `[3]`."""
    found = _steps.search(path)
    start = len(path) if found is None else found.start()
    return [path[:start], *_steps.findall(path, start)]


@attrs.frozen(repr=False)
class Pattern:
    """A pattern of paths, compiled; equal to any other of the same text.

    Raises ConfigurationError for a text that is no pattern, and points at the place.
    """

    text: str
    _root: str = attrs.field(init=False, eq=False)
    # Runs of steps between `..`; None is any one step.
    _runs: list[list[str | None]] = attrs.field(init=False, eq=False)
    _prefix: re.Pattern[str] = attrs.field(init=False, eq=False)
    _whole: re.Pattern[str] = attrs.field(init=False, eq=False)

    def __attrs_post_init__(self) -> None:
        reader = _Reader(self.text)
        reader.read()
        head, *others = ["".join(map(_expression, run)) for run in reader.runs]
        text = re.escape(reader.root) + _BORDER + head
        # A run found at its leftmost place leaves most to those after it: nothing is tried twice.
        text += "".join(f"(?>{_STEP}*?{run})" for run in others[:-1])
        last = f"{_STEP}*?{others[-1]}" if others else ""
        object.__setattr__(self, "_root", reader.root)
        object.__setattr__(self, "_runs", reader.runs)
        object.__setattr__(self, "_prefix", re.compile(text + last, re.DOTALL))
        object.__setattr__(self, "_whole", re.compile(text + last + r"\Z", re.DOTALL))

    def matches(self, path: str) -> bool:
        """Whether the pattern is of this very place: `$.user` is not of `$.user.name`."""
        return self._whole.match(path) is not None

    def covers(self, path: str) -> bool:
        """Whether it is of this place or of one around it: `$.user` covers `$.user.name`."""
        return self._prefix.match(path) is not None

    def reaches(self, path: str) -> bool:
        """Whether it can be of this place or of one inside it: `$.user.name` reaches `$.user`."""
        root, *steps = split(path)
        head = self._runs[0]
        fits = all(a is None or a == b for a, b in zip(head, steps, strict=False))
        return root == self._root and fits and (len(self._runs) > 1 or len(steps) <= len(head))

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"


_BORDER: Final = r"(?![^.\[])"  # here a step has ended


def _expression(literal: str | None) -> str:
    """Write the regular expression of one step."""
    if literal is None:
        return _STEP
    return re.escape(literal) + (_BORDER if literal.startswith(".") else "")


@lru_cache(maxsize=4096)
def compiled(text: str) -> Pattern:
    """Give the pattern of a text; the same object for the same text, as a rule."""
    return Pattern(text)


class _Reader:
    """Reads the text of a pattern, from left to right."""

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise ConfigurationError(
                f"a path pattern is a text like $.items[*].price, not {text!r}"
            )
        self.text = text
        self.at = 0
        self.root = ""
        self.runs: list[list[str | None]] = [[]]

    def read(self) -> None:
        """Read it all, into `root` and `runs`."""
        found = re.match(r"\$[^.\[]*", self.text)
        if found is None:
            self.fail("a pattern begins with $")
        self.root, self.at = found[0], found.end()
        if len(self.root) > 1 and not self.root[1:].isidentifier():
            self.at = 1
            self.fail("a name, a dot or a bracket was expected after $")
        while self.at < len(self.text):
            if self.text.startswith("..", self.at):
                self.runs.append([])
                self.at += 1 if self.text[self.at + 2 : self.at + 3] != "[" else 2
            self.runs[-1].append(self.bracket() if self.text[self.at] == "[" else self.name())

    def name(self) -> str | None:
        """Read a dot and what stands after it."""
        found = re.compile(r"\.([^.\[]*)").match(self.text, self.at)
        if found is None:
            self.fail("a dot or a bracket was expected here")
        self.at += 1
        name = found[1]
        if name != "*" and not name.isidentifier():
            import json

            hint = f"; other keys are quoted: [{json.dumps(name)}]" if name else ""
            self.fail(f"a name or * was expected after the dot{hint}")
        self.at = found.end()
        return None if name == "*" else f".{name}"

    def bracket(self) -> str | None:
        """Read a bracket and what stands in it."""
        self.at += 1
        if self.text.startswith('"', self.at):
            written = step(self.quoted())
        else:
            end = self.text.find("]", self.at)
            inner = self.text[self.at : end if end >= 0 else len(self.text)]
            written = self.plain(inner)
            self.at += len(inner)
        if not self.text.startswith("]", self.at):
            self.fail("a closing ] was expected here")
        self.at += 1
        return None if written == "*" else written

    def quoted(self) -> str:
        """Read a key that is written as JSON."""
        import json

        try:
            key, self.at = json.JSONDecoder(strict=False).raw_decode(self.text, self.at)
        except json.JSONDecodeError as error:
            self.at = error.pos
            self.fail(f"the quoted key is no JSON text ({error.msg})")
        return str(key)

    def plain(self, inner: str) -> str:
        """Give the step of a key without quotes as paths write it, or * for any."""
        if inner == "*":
            return inner
        if inner in ("None", "True", "False") or re.fullmatch(r"<(?:[^\W\d]\w*|\?)>", inner):
            return f"[{inner}]"
        if re.fullmatch("-?(?:0|[1-9][0-9]{0,80})", inner):
            written = step(int(inner))
        elif re.fullmatch(r"nan|-?inf|-?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?", inner):
            written = step(float(inner)) if re.search("[.ein]", inner) else ""
        else:
            written = ""
        if not written or written.startswith("[<"):
            self.fail('an index, *, a quoted key like ["odd key"] or <Type> was expected here')
        return written

    def fail(self, why: str) -> NoReturn:
        """Raise the error, with a caret under the place."""
        shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in self.text)
        raise ConfigurationError(
            f"wrong path pattern: {why}\n    {shown}\n    {' ' * self.at}^\n"
            'accepted are patterns like $.items[3].price, $.items[*], $..updated_at, $["odd key"]'
        )

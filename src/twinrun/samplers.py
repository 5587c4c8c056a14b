"""Decisions by chance, by key and by how earlier runs ended: which runs are experiments."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from math import inf, log, log1p
from typing import Any, Final

from twinrun._breaker import Breaker
from twinrun._forks import after_fork_in_child

__all__ = ["Breaker", "Coin", "Dice", "chosen"]

_LONGEST_GAP: Final = 4096
_MANY_BLOCKS: Final = 512
_KEPT_BLOCKS: Final = 256


class Dice(random.Random):
    """A random generator of our own: the application's global one is never touched.

    A forked child seeds it anew, so that it does not repeat its parent's decisions.
    """

    def __init__(self) -> None:
        super().__init__()
        after_fork_in_child(self)

    def after_fork(self) -> None:
        """Draw a new seed from the operating system."""
        self.seed()


class Coin:
    """Says yes to a share of all questions, independently of each other.

    The distance to the next yes is drawn (geometrically) instead of each answer: most questions
    cost one step of an iterator in C, which any thread may take, and which counts by itself.
    """

    __slots__ = (
        "__weakref__",
        "_asked",
        "_blocks",
        "_dice",
        "_drawing",
        "_latest",
        "_lock",
        "_past",
        "_share",
        "answers",
    )

    def __init__(self, share: float, dice: Dice, asked: Callable[[], object] | None = None) -> None:
        """Take a share within 0..1, and what is called when answers are due."""
        self._share = share
        self._dice = dice
        self._asked = asked
        self.after_fork()
        after_fork_in_child(self)

    def after_fork(self) -> None:
        """Forget the parent's answers and its counts."""
        self._lock = threading.Lock()
        self._drawing = threading.RLock()  # a signal handler may ask while its thread draws
        self._past = self._latest = 0
        self._blocks: list[tuple[int, int, Any]] = []
        self.answers = iter(b"")

    def ask(self) -> bool:
        """Give the next answer. Callers in a hurry take `next(coin.answers, 2)` for it.

        There 0 is no, 1 is yes, and 2 means that new answers are due: ask here then.
        """
        if self._asked is not None:
            try:  # noqa: SIM105, a suppress costs as much as the answer
                self._asked()
            except RecursionError:  # it will be told of another answer that is due
                pass
        answer = next(self.answers, 2)
        while answer == 2:
            with self._drawing:
                # Another thread may have drawn meanwhile: its answers are not thrown away.
                answer = next(self.answers, 2)
                if answer == 2:
                    self._draw()
        return answer == 1

    def turn(self, share: float | None = None) -> None:
        """Say yes to another share from the next question on; draw anew where none is given."""
        with self._drawing:
            self._share = self._share if share is None else share
            self.answers = iter(b"")

    def _draw(self) -> None:
        """Lay out the answers up to the next yes, or many of the same."""
        share = self._share
        if share >= 1:
            gap, block = 0, b"\1" * _LONGEST_GAP
        else:
            # What is left of a long gap is drawn anew: a geometric distance has no memory.
            drawn = log(1 - self._dice.random()) / log1p(-share) if share > 0 else inf
            gap = int(min(drawn, _LONGEST_GAP))
            block = bytes(gap) + b"\1" if gap < _LONGEST_GAP else bytes(_LONGEST_GAP)
        answers = iter(block)
        self._blocks.append((gap, len(block), answers))
        self.answers = answers
        if len(self._blocks) > _MANY_BLOCKS:
            self.refusals()

    def refusals(self) -> int:
        """Count the answers that were no."""
        # A signal handler may count while its own thread does: late counts beat a deadlock.
        if not self._lock.acquire(timeout=0.1):
            return self._latest
        try:
            current = 0
            blocks = self._blocks[:]
            for place, block in enumerate(blocks):
                gap, length, answers = block
                left = answers.__length_hint__()
                refused = min(gap, length - left)
                # One that was turned away from may still be asked by a thread that is late.
                if left == 0 or place < len(blocks) - _KEPT_BLOCKS:
                    self._past += refused
                    self._blocks.remove(block)
                else:
                    current += refused
            self._latest = self._past + current
            return self._latest
        finally:
            self._lock.release()


def chosen(salt: str, key: Any, share: float) -> bool:
    """Say whether a key falls within a share: the same answer in every process.

    The keyed BLAKE2b hash of the key, as a fraction of its range, lies below the share. Two salts
    choose independently, and a growing share keeps the keys that it had.

    Raises:
        TypeError: the key is of a type that has no stable text in every process.
    """
    from hashlib import blake2b

    seed = blake2b(salt.encode("utf-8", "surrogatepass"), digest_size=32).digest()
    digest = blake2b(_stable_bytes(key), key=seed, digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2.0**64


_STABLE: Final = frozenset({int, float, bool, type(None)})
_STABLE_BY_NAME: Final = frozenset({"UUID", "date", "datetime", "time", "timedelta", "Decimal"})


def _stable_bytes(key: Any) -> bytes:
    """Give a key's bytes, unmistakable between types and the same in every process."""
    cls = type(key)
    if issubclass(cls, str):  # enumerations and marked-up text too, by the text that they hold
        return b"u" + str.encode(key, "utf-8", "surrogatepass")
    if cls is bytes:
        raw: bytes = key
        return b"b" + raw
    if cls in _STABLE:
        return b"n" + repr(key).encode()
    if cls is tuple:
        parts = [_stable_bytes(item) for item in key]
        return b"t" + b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    if cls.__name__ in _STABLE_BY_NAME and cls.__module__ in {"uuid", "datetime", "decimal"}:
        return b"s" + str(key).encode()
    raise TypeError(
        f"sample_by gave a {cls.__qualname__}; give a str, bytes, number, UUID, date or a tuple "
        "of these, which are the same in every process"
    )

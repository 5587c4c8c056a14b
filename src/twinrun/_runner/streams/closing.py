"""Closes candidates' generators, so that none is left that Python would complain of."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from functools import cache
from types import GeneratorType
from typing import Any, Final

from twinrun._runner.containment import contained

__all__ = ["CLOSINGS", "keep", "shut"]

CLOSINGS: Final = 10
"""So often a generator is closed that goes on when it is closed."""

_unclosable: deque[Any] = deque(maxlen=1000)


def shut(run: Callable[..., Any], stream: GeneratorType[Any, Any, Any]) -> None:
    """Close a generator by `run(close)`, and those that it has delegated to, whatever they do."""
    left = list(_delegates(stream))
    for _ in range(CLOSINGS):
        for each in left:
            try:
                run(each.close)
            except BaseException as error:
                if not contained(error):
                    raise
        left = [each for each in left if each.gi_frame is not None]
        if not left:
            return
    keep(*left)


def keep(*unclosable: Any) -> None:
    """Keep generators that nothing ends: Python complains of each that it deletes."""
    _unclosable.extend(unclosable)
    _keep_until_the_end()


def _delegates(stream: Any) -> Iterator[GeneratorType[Any, Any, Any]]:
    """Give a generator and, one inside the other, those that it delegates to."""
    while type(stream) is GeneratorType:
        yield stream
        stream = stream.gi_yieldfrom


@cache
def _keep_until_the_end() -> None:
    """Have the interpreter itself hold the generators: it lets go of its fork hooks last."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_unclosable.__len__)

"""What two containers are taken apart into, so that their parts can be compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeAlias

import attrs

__all__ = ["HERE", "MISSING", "WHOLE", "Items", "Pairs", "Shape", "Steps"]

MISSING: Any = object()
"""Stands for the part that one side does not have."""

Pairs: TypeAlias = Iterator[tuple[Any, Any, Any]]
"""(key, control's part, candidate's part). `HERE` is the key of what has no place of its own,
`WHOLE` that of two containers which differ though no part of them does."""


class Steps:
    """A key that is written already: no step of a path, or several."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


HERE: Final = Steps("")
WHOLE: Final = Steps("")


class Items:
    """The items of two sequences, which are paired by what they are as well as by place."""

    __slots__ = ("candidate", "control")

    def __init__(self, control: Sequence[Any], candidate: Sequence[Any]) -> None:
        self.control = control
        self.candidate = candidate


@attrs.frozen
class Shape:
    """How the instances of one class are compared.

    `family` tells which other instances are of the same kind, `expand` gives the pairs of their
    parts or, where there are none, whether they are the same. `fields` marks classes whose parts
    are fields, `own_eq` containers whose class has its own `__eq__`, `whole` those that may differ
    where no part of them does; `opaque` ones must never meet the `==` of another family.
    """

    family: Any
    expand: Callable[[Any, Any], Pairs | Items | bool]
    fields: bool = False
    own_eq: bool = False
    opaque: bool = False
    whole: bool = False

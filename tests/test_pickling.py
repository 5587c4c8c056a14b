"""A value always pickles; what can't travel becomes a placeholder in the pickle only."""

from __future__ import annotations

import pickle
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinrun._pickling import Packed, Unpicklable, pack, type_name


class Raises:
    """A value whose __reduce__ raises what it was given."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        raise self.error


class NeedsTwo(Exception):
    """An exception that pickles and then fails to load, as many real ones do."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


class NamelessMeta(type):
    """A metaclass whose every attribute raises."""

    def __getattribute__(cls, name: str) -> Any:
        raise RuntimeError("asked the class")


class Nameless(metaclass=NamelessMeta):
    """A value whose type answers no question."""

    def __reduce__(self) -> Any:
        raise ValueError("no")


class Shouting(str):
    """A name that raises where it is shown."""

    def __str__(self) -> str:
        raise RuntimeError("shown")

    def __format__(self, spec: str) -> str:
        raise RuntimeError("formatted")


def through_pickle(value: Any) -> Any:
    """Pack a value, then pickle and load it."""
    return pickle.loads(pickle.dumps(pack(value)))


def deep(levels: int) -> list[Any]:
    """Nest a list too deeply to be pickled."""
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(plain | st.binary() | st.frozensets(st.integers()) | st.dates())
def test_what_pickles_comes_back_equal(value: Any) -> None:
    """Packing changes nothing about a value that pickles."""
    assert through_pickle(value) == value


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (lambda: None, "function"),
        (threading.Lock(), "lock"),
        ((n for n in range(3)), "generator"),
        (deep(100_000), "list"),
        (Raises(ValueError("no")), "Raises"),
        (Raises(SystemExit(3)), "Raises"),
        (Raises(GeneratorExit()), "Raises"),
        (NeedsTwo("a", "b"), "NeedsTwo"),
        (Nameless(), "Nameless"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_travel_becomes_a_placeholder(value: Any, kind: str) -> None:
    """The placeholder names the type of what was there."""
    loaded = through_pickle(value)
    assert type(loaded) is Unpicklable
    assert loaded.type.endswith(kind)


def test_the_placeholder_says_why() -> None:
    """The reason is the name of the error's type."""
    assert pack(Raises(ValueError("secret"))).reason == "builtins.ValueError"
    assert through_pickle(NeedsTwo("a", "b")).reason == "builtins.TypeError"


def test_a_keyboard_interrupt_is_aimed_at_the_caller() -> None:
    """It is not swallowed while a value is packed."""
    with pytest.raises(KeyboardInterrupt):
        pack(Raises(KeyboardInterrupt()))


def test_a_value_that_fails_to_load_harms_nothing_around_it() -> None:
    """Its neighbours in the same pickle come back."""
    packed = [pack(1), pack(NeedsTwo("a", "b")), pack({"x": [2]})]
    first, second, third = pickle.loads(pickle.dumps(packed))
    assert (first, type(second), third) == (1, Unpicklable, {"x": [2]})


def test_a_placeholder_travels_on() -> None:
    """What was lost once pickles again unchanged."""
    lost = Unpicklable("a.B", "builtins.TypeError")
    assert through_pickle(lost) == lost


def test_atoms_are_not_wrapped() -> None:
    """Numbers and text are packed as themselves; everything else by itself."""
    assert pack("text") == "text"
    assert type(pack(("text",))) is Packed


def test_a_types_name_is_read_past_its_metaclass() -> None:
    """No code of the value or its type is called, and the name is a plain str."""
    assert type_name(Nameless()) == "Nameless"
    shouting = type(Shouting("Loud"), (), {})()
    assert type(type_name(shouting)) is str
    assert type_name(shouting) == "Loud"


def test_a_hostile_qualified_name_is_only_read() -> None:
    """Not even a str subclass as a type's name breaks a pickle."""
    loud = type("Loud", (Raises,), {"__qualname__": Shouting("Loud")})
    assert pack(loud(ValueError("no"))).type.endswith(".Loud")

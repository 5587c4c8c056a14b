"""Planted errors for a type checker: what is marked must be reported, and nothing else.

Read by test_typing.py, never run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import reveal_type

from twinrun import Experiment, experiment


def price_v2(net: float, quantity: int, *, country: str) -> float:
    """Price a line of an order in the new way."""
    return net * quantity


@experiment("shop.price", candidate=price_v2, sample=0.5)
def price(net: float, quantity: int = 1, *, country: str) -> float:
    """Price a line of an order."""
    return net * quantity


class Cart:
    """A cart whose methods are experimented on."""

    @experiment("shop.total", candidate=price_v2)
    def total(self, country: str) -> float:
        """Add it up."""
        return 1.0

    @staticmethod
    @experiment("shop.rate", candidate=price_v2)
    def rate(country: str) -> float:
        """Look the rate up."""
        return 0.2

    @classmethod
    @experiment("shop.load", candidate=price_v2)
    def load(cls, number: int) -> Cart:
        """Fetch a cart."""
        return cls()


async def fetch_v2(key: str) -> bytes:
    """Fetch something in the new way."""
    return key.encode()


@experiment("shop.fetch", candidate=fetch_v2)
async def fetch(key: str) -> bytes:
    """Fetch something."""
    return key.encode()


async def awaited() -> None:
    """Call what is awaited as it wants to be called, and as it does not."""
    _: bytes = await fetch("a") + await fetch(key="a")
    (await fetch("a")).lower().wrong()  # error: attr-defined
    await fetch(1)  # error: arg-type
    await fetch()  # error: call-arg
    fetch("a").decode()  # error: attr-defined
    await price(1.0, country="DE")  # error: misc
    recipe = Experiment("shop.fetch")
    print(await recipe.arun(control=lambda: fetch_v2("a"), candidate=lambda: b"a"))
    print((await recipe.aobserve(control=lambda: fetch_v2("a"))).matched)


def right(cart: Cart) -> None:
    """Call everything as it wants to be called."""
    _: float = price(1.0, 2, country="DE") + price(net=1.0, country="DE")
    _ = cart.total("DE") + Cart.total(cart, "DE") + cart.rate("DE") + Cart.rate(country="DE")
    loaded: Cart = Cart.load(7)
    loaded = cart.load(number=7)
    taken: Callable[[float, int], float] = lambda net, n: price(net, n, country="DE")  # noqa: E731
    print(loaded, taken, price.experiment.name, price.__name__)
    reveal_type(price.experiment)  # reveals: Experiment


def wrong(cart: Cart) -> None:
    """Call everything as it does not want to be called."""
    price("1", 2, country="DE")  # error: arg-type
    price(1.0, "2", country="DE")  # error: arg-type
    price(1.0, 2, country=49)  # error: arg-type
    price(1.0, 2)  # error: call-arg
    price(1.0, 2, "DE")  # error: call-arg
    price(1.0, 2, country="DE", currency="EUR")  # error: call-arg
    _: str = price(1.0, 2, country="DE")  # error: assignment
    price(1.0, country="DE").lower()  # error: attr-defined
    cart.total(49)  # error: arg-type
    cart.total()  # error: call-arg
    cart.total("DE").lower()  # error: attr-defined
    cart.rate(49)  # error: arg-type
    Cart.rate()  # error: call-arg
    Cart.load("7")  # error: arg-type
    Cart.load(7).lower()  # error: attr-defined


@experiment("shop.sample", candidate=price_v2, sample="often")  # error: arg-type
def wrong_option() -> None:
    """Be decorated wrongly."""


@experiment(candidate=price_v2)  # error: call-arg
def nameless() -> None:
    """Be decorated without a name."""


@experiment("shop.unknown", candidate=price_v2, sampel=0.5)  # error: call-arg
def misspelt() -> None:
    """Be decorated with an option that there is not."""


def recipes() -> None:
    """Make experiments as objects."""
    recipe = Experiment("shop.price", clean=len)
    print(recipe.run(control=lambda: 1, candidate=lambda: 2))
    recipe.name = "other"  # error: misc
    Experiment()  # error: call-arg
    Experiment("shop.price", baseline="all")  # error: arg-type

"""The work that is measured: a small piece of a shop, written twice, in whole cents.

It is light on purpose: the heavier the work, the better every wrapper around it looks.
"""

from __future__ import annotations

from types import MappingProxyType

__all__ = ["quote", "quote_v2"]

_VAT = MappingProxyType({"DE": 19, "FR": 20, "LU": 17})


def quote(unit_price: int, quantity: int, *, country: str) -> dict[str, int]:
    """Price one line of an order: rebate by quantity, tax by country, shipping by value."""
    rebate = 10 if quantity >= 100 else 5 if quantity >= 10 else 0
    net = unit_price * quantity * (100 - rebate) // 100
    tax = net * _VAT[country] // 100
    shipping = 0 if net >= 5000 else 490
    return {"net": net, "tax": tax, "shipping": shipping, "total": net + tax + shipping}


def quote_v2(unit_price: int, quantity: int, *, country: str) -> dict[str, int]:
    """Price one line of an order, written anew."""
    net = unit_price * quantity
    if quantity >= 100:
        net = net * 90 // 100
    elif quantity >= 10:
        net = net * 95 // 100
    tax = net * _VAT[country] // 100
    shipping = 490 if net < 5000 else 0
    return {"net": net, "tax": tax, "shipping": shipping, "total": net + tax + shipping}

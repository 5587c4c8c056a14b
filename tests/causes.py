"""Services with known bugs in their replacements: a corpus of mismatches whose causes are known.

Each service has a control, a source of arguments, and candidates that each have one bug. Some bugs
are made to be hard to tell apart, or to be seen as one: two that change the same field in the same
way, one that shows in other fields each time, and messages with data that nothing marks as data.
"""

from __future__ import annotations

import datetime
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from functools import partial
from random import Random
from typing import Any

import attrs

import twinrun
from twinrun import Experiment

__all__ = ["SERVICES", "Service", "mismatches"]

Candidate = Callable[..., Any]


@attrs.frozen
class Service:
    """A function under experiment, its arguments, and bugs by their names."""

    control: Candidate
    arguments: Callable[[Random], tuple[Any, ...]]
    bugs: Mapping[str, Candidate]


def mismatches(seed: int, each: int) -> Iterator[tuple[str, str]]:
    """Give so many mismatches of each bug, as (bug, fingerprint), in the order of the services."""
    random = Random(seed)
    for name, service in SERVICES.items():
        experiment = Experiment(name, publishers=(), isolate="deepcopy", order="control-first")
        for bug, candidate in service.bugs.items():
            found = tries = 0
            while found < each:
                tries += 1
                assert tries < 100 * each, f"{name}: {bug} hardly ever shows"
                comparison = _judged(experiment, service, candidate, service.arguments(random))
                if comparison.outcome is twinrun.Outcome.MISMATCHED:
                    found += 1
                    assert comparison.fingerprint is not None
                    yield f"{name}: {bug}", comparison.fingerprint


def _judged(
    experiment: Experiment, service: Service, candidate: Candidate, arguments: tuple[Any, ...]
) -> twinrun.Comparison:
    """Run both sides once."""
    result = experiment.observe(
        control=lambda: service.control(*arguments), candidate=lambda: candidate(*arguments)
    )
    return result.comparisons[0]


def _but(**changes: Callable[[Any], Any]) -> Callable[[Candidate], Candidate]:
    """Make a candidate that is the control but for what it makes of some fields."""

    def changed(control: Candidate) -> Candidate:
        def candidate(*arguments: Any) -> Any:
            made = dict(control(*arguments))
            for field, change in changes.items():
                if field in made:
                    made[field] = change(made[field])
            return made

        return candidate

    return changed


def _without(*fields: str) -> Callable[[Candidate], Candidate]:
    """Make a candidate that is the control but for fields that it leaves out."""

    def changed(control: Candidate) -> Candidate:
        return lambda *arguments: {
            name: value for name, value in control(*arguments).items() if name not in fields
        }

    return changed


# Prices ------------------------------------------------------------------------------------------


def _cart(random: Random) -> tuple[Any, ...]:
    lines = [
        {
            "sku": f"{random.choice('ABC')}-{random.randrange(10_000):04}",
            "quantity": random.randint(1, 5),
            "price": Decimal(random.randint(100, 99_999)) / 100,
            "weight": random.choice([None, 0.25, 1.5, 12.0]),
        }
        for _ in range(random.randint(1, 6))
    ]
    coupon = random.choice([None, None, "SPRING", "LOYAL", f"c-{random.randrange(10**6)}"])
    return lines, random.choice(["EUR", "USD", "CHF", "GBP"]), coupon


def _quote(lines: list[Any], currency: str, coupon: str | None) -> dict[str, Any]:
    net = sum((line["price"] * line["quantity"] for line in lines), Decimal(0))
    discount = (net / 10).quantize(Decimal("0.01"), ROUND_HALF_UP) if coupon else Decimal(0)
    tax = ((net - discount) * Decimal("0.19")).quantize(Decimal("0.01"), ROUND_HALF_UP)
    return {
        "currency": currency,
        "lines": [
            {"sku": line["sku"], "amount": line["price"] * line["quantity"]} for line in lines
        ],
        "discount": discount,
        "tax": tax,
        "total": net - discount + tax,
        "coupon": coupon,
    }


def _truncated_tax(lines: list[Any], currency: str, coupon: str | None) -> dict[str, Any]:
    made = _quote(lines, currency, coupon)
    net = made["total"] - made["tax"]
    tax = (net * Decimal("0.19")).quantize(Decimal("0.01"), ROUND_DOWN)
    return {**made, "tax": tax, "total": net + tax}


def _tax_before_discount(lines: list[Any], currency: str, coupon: str | None) -> dict[str, Any]:
    """The same fields as with truncated tax: nothing but the values tells them apart."""
    made = _quote(lines, currency, coupon)
    net = made["total"] - made["tax"]
    tax = ((net + made["discount"]) * Decimal("0.19")).quantize(Decimal("0.01"), ROUND_HALF_UP)
    return {**made, "tax": tax, "total": net + tax}


def _quantity_ignored(lines: list[Any], currency: str, coupon: str | None) -> dict[str, Any]:
    """Shows in the discount, too, where there is one."""
    return _quote([{**line, "quantity": 1} for line in lines], currency, coupon)


def _shipping(lines: list[Any], currency: str, coupon: str | None) -> dict[str, Any]:
    weight = sum(line["weight"] * line["quantity"] for line in lines)
    return {**_quote(lines, currency, coupon), "shipping": weight}


def _no_rate(lines: list[Any], currency: str, coupon: str | None) -> dict[str, Any]:
    """The code of a currency looks like the name of a field: a group for each."""
    rates = {"EUR": 1}
    return {**_quote(lines, currency, coupon), "currency": currency * rates[currency]}


def _coupons_checked(lines: list[Any], currency: str, coupon: str | None) -> dict[str, Any]:
    if coupon is not None and coupon.startswith("c-"):
        raise ValueError(f"coupon {coupon!r} has expired on {datetime.date.today()}")
    return _quote(lines, currency, coupon)


PRICES = Service(
    _quote,
    _cart,
    {
        "tax is truncated": _truncated_tax,
        "tax before discount": _tax_before_discount,
        "quantity is ignored": _quantity_ignored,
        "weights may be missing": _shipping,
        "no rate": _no_rate,
        "coupons expire": _coupons_checked,
        "total is a text": _but(total=str)(_quote),
        "sku in lower case": _but(
            lines=lambda lines: [{**line, "sku": line["sku"].lower()} for line in lines]
        )(_quote),
        "last line is dropped": _but(lines=lambda lines: lines[:-1])(_quote),
        "coupon left out": _without("coupon")(_quote),
        "coupon is empty": _but(coupon=lambda coupon: coupon or "")(_quote),
    },
)


# Numbers and dates in texts ----------------------------------------------------------------------


def _field(random: Random) -> tuple[Any, ...]:
    day = datetime.date(2020, 1, 1) + datetime.timedelta(days=random.randrange(2000))
    return (
        random.choice(
            [
                str(random.randrange(-1000, 100_000)),
                f"{random.randrange(1000):,}.{random.randrange(100):02}",
                f" {random.randrange(100)} ",
                f"{random.randrange(1, 100)}e{random.randrange(1, 5)}",
                f"1_{random.randrange(1000):03}",
                day.isoformat(),
                day.strftime("%d.%m.%Y"),
                "",
                f"x{random.randrange(1000)}",
            ]
        ),
    )


def _read(text: str) -> Any:
    text = text.strip()
    if not text:
        return None
    for read in (int, float, datetime.date.fromisoformat):
        try:
            return read(text)
        except ValueError:
            continue
    return {"raw": text}


def _reads_int(text: str) -> Any:
    return int(text) if text.strip()[:1].isdigit() and "e" in text else _read(text)


def _reads_date(text: str) -> Any:
    made = _read(text)
    if isinstance(made, dict) and "." in text:
        return datetime.datetime.strptime(text, "%Y.%m.%d").date()
    return made


def _reads_json(text: str) -> Any:
    made = _read(text)
    return json.loads(text) if isinstance(made, dict) and text.startswith("x") else made


def _reads_nothing(text: str) -> Any:
    return text.split()[0] if not text else _read(text)


def _zero_for_nothing(text: str) -> Any:
    made = _read(text)
    return 0 if made is None else made


def _no_separators(text: str) -> Any:
    if "_" in text:
        raise ValueError(f"{text} has a _ at position {text.index('_')}")
    return _read(text)


def _floats_only(text: str) -> Any:
    made = _read(text)
    return f"{made}.0" if type(made) is int else made


def _dates_are_texts(text: str) -> Any:
    made = _read(text)
    return made.isoformat() if isinstance(made, datetime.date) else made


FIELDS = Service(
    _read,
    _field,
    {
        "exponents are no int": _reads_int,
        "another order of dates": _reads_date,
        "texts are no JSON": _reads_json,
        "nothing to split": _reads_nothing,
        "zero for nothing": _zero_for_nothing,
        "separators are refused": _no_separators,
        "ints are texts": _floats_only,
        "dates are texts": _dates_are_texts,
    },
)


# Permissions -------------------------------------------------------------------------------------


class PermissionStoreError(Exception):
    """What the replacement's store raises."""


def _access(random: Random) -> tuple[Any, ...]:
    roles = random.sample(["reader", "writer", "owner", "auditor"], random.randint(0, 3))
    user = {
        "id": random.randrange(1, 10 ** random.randint(1, 7)),
        "email": f"user{random.randrange(1000)}@example.com",
        "roles": roles,
        "team": random.choice([None, "red", "blue"]),
    }
    return user, {"id": str(uuid.UUID(int=random.getrandbits(128))), "team": "red"}


def _may(user: Any, document: Any) -> dict[str, Any]:
    own = user["team"] == document["team"]
    return {
        "read": bool(user["roles"]) or own,
        "write": "writer" in user["roles"] or "owner" in user["roles"],
        "share": "owner" in user["roles"],
        "because": sorted(user["roles"]) + (["team"] if own else []),
    }


def _may_not_find(user: Any, document: Any) -> dict[str, Any]:
    if not user["roles"]:
        raise PermissionStoreError(f"no grants for user {user['id']} on {document['id']}")
    return _may(user, document)


def _may_time_out(user: Any, document: Any) -> dict[str, Any]:
    if "auditor" in user["roles"]:
        raise PermissionStoreError(f"{user['email']}: no answer within {user['id'] % 97 / 10} s")
    return _may(user, document)


def _may_need_team(user: Any, document: Any) -> dict[str, Any]:
    user["team"].upper()
    return _may(user, document)


def _may_look_up(user: Any, document: Any) -> dict[str, Any]:
    if "owner" in user["roles"]:
        return {**_may(user, document), "share": {}[user["id"]]}
    return _may(user, document)


def _may_by_refused_keyword(user: Any, document: Any) -> dict[str, Any]:
    def may(user: Any, document: Any) -> dict[str, Any]:
        return _may(user, document)

    keyword: dict[str, Any] = {"resource": document}
    return may(user, document, **keyword) if user["team"] == "red" else _may(user, document)


ACCESS = Service(
    _may,
    _access,
    {
        "no grants": _may_not_find,
        "no answer": _may_time_out,
        "users without a team": _may_need_team,
        "ids are looked up": _may_look_up,
        "unknown keyword": _may_by_refused_keyword,
        "owners may not write": _but(write=lambda _: False)(_may),
        "everybody may share": _but(share=lambda _: True)(_may),
        "reasons are a text": _but(because=", ".join)(_may),
        "team is no reason": _but(because=lambda why: [w for w in why if w != "team"])(_may),
    },
)


# Times -------------------------------------------------------------------------------------------


def _event(random: Random) -> tuple[Any, ...]:
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(
        seconds=random.randrange(10**7), microseconds=random.randrange(10**6)
    )
    return start, datetime.timedelta(minutes=random.randrange(500))


def _slot(start: datetime.datetime, length: datetime.timedelta) -> dict[str, Any]:
    end = start + length
    return {
        "start": start,
        "end": end,
        "days": [start.date() + datetime.timedelta(days=n) for n in range((end - start).days + 1)],
        "label": f"{start:%H:%M}-{end:%H:%M}",
    }


def _slot_of_naive_times(start: datetime.datetime, length: datetime.timedelta) -> dict[str, Any]:
    made = _slot(start, length)
    if made["end"] < datetime.datetime(2026, 1, 2):
        made["label"] = ""
    return made


def _slot_not_over_midnight(start: datetime.datetime, length: datetime.timedelta) -> Any:
    made = _slot(start, length)
    if made["end"].date() != start.date():
        raise ValueError(f"{start.isoformat()} + {length} ends on another day")
    return made


TIMES = Service(
    _slot,
    _event,
    {
        "naive times": _slot_of_naive_times,
        "not over midnight": _slot_not_over_midnight,
        "no microseconds": _but(start=lambda start: start.replace(microsecond=0))(_slot),
        "another zone": _but(
            end=lambda end: end.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=1)))
        )(_slot),
        "label with seconds": _but(label=lambda label: label.replace("-", ":00-"))(_slot),
        "days are texts": _but(days=lambda days: [day.isoformat() for day in days])(_slot),
        "start is a number": _but(start=lambda start: start.timestamp())(_slot),
    },
)


# Searches ----------------------------------------------------------------------------------------


def _search(random: Random) -> tuple[Any, ...]:
    hits = {
        f"doc_{random.randrange(10**6)}": {
            "score": random.random() * 10,
            "tags": random.sample(["new", "sale", "used", "gift", "rare"], random.randint(1, 4)),
            "seller": random.choice([None, f"s{random.randrange(10**5, 10**6)}"]),
            "stock": random.randrange(3),
        }
        for _ in range(random.randint(3, 9))
    }
    return (hits,)


def _find(hits: Any) -> dict[str, Any]:
    ranked = sorted(hits, key=lambda name: -hits[name]["score"])
    return {
        "ids": ranked,
        "hits": {name: hits[name] for name in ranked},
        "facets": {tag: sum(tag in h["tags"] for h in hits.values()) for tag in ("new", "sale")},
        "best": hits[ranked[0]]["score"],
        "mean": sum(h["score"] for h in hits.values()) / len(hits),
    }


def _each(**changes: Callable[[Any], Any]) -> Candidate:
    """Make a candidate that changes fields of every hit."""

    def candidate(hits: Any) -> Any:
        made = _find(hits)
        made["hits"] = {
            name: {
                field: changes[field](value) if field in changes else value
                for field, value in hit.items()
            }
            for name, hit in made["hits"].items()
        }
        return made

    return candidate


def _find_in_stock(hits: Any) -> dict[str, Any]:
    """Shows in facets and means as the hits have it."""
    kept = {name: hit for name, hit in hits.items() if hit["stock"]}
    return _find(kept) if kept else {}


def _find_sellers(hits: Any) -> dict[str, Any]:
    missing = [name for name, hit in hits.items() if hit["seller"] is None]
    if len(missing) > 2:
        raise LookupError(f"{len(missing)} of {len(hits)} hits have no seller: {missing}")
    return _find(hits)


def _find_and_divide(hits: Any) -> dict[str, Any]:
    _ = [h["score"] / h["stock"] for h in hits.values()]
    return _find(hits)


SEARCHES = Service(
    _find,
    _search,
    {
        "order of ids": _but(ids=sorted)(_find),
        "ids are cut": _but(ids=lambda ids: ids[:2])(_find),
        "tags are sorted": _each(tags=lambda tags: sorted(tags, reverse=True)),
        "tags are sets": _each(tags=frozenset),
        "scores are rounded": _each(score=lambda score: round(score, 2)),
        "sellers are objects": _each(seller=lambda seller: seller and {"id": seller}),
        "stock is a truth value": _each(stock=bool),
        "only in stock": _find_in_stock,
        "sellers are wanted": _find_sellers,
        "division by stock": _find_and_divide,
        "facets are left out": _without("facets")(_find),
        "mean in single precision": _but(mean=lambda mean: mean * (1 + 1e-7))(_find),
        "best is rounded": _but(best=round)(_find),
    },
)


# Orders that fail on both sides ------------------------------------------------------------------


class OrderError(Exception):
    """What the old service raises."""


def _order(random: Random) -> tuple[Any, ...]:
    return (
        f"{random.choice(['ORD', 'RMA'])}-{random.randrange(1, 10 ** random.randint(1, 6))}",
        random.choice(["paid", "sent", "lost", "void"]),
        random.choice(["Berlin", "Zürich", "New York", "Ulm"]),
    )


def _track(number: str, state: str, city: str) -> dict[str, Any]:
    if state == "void":
        raise OrderError(f"order {number} is void")
    return {"number": number, "state": state, "history": {number: [state, city]}}


def _track_says_cancelled(number: str, state: str, city: str) -> dict[str, Any]:
    if state == "void":
        raise OrderError(f"order {number} was cancelled")
    return _track(number, state, city)


def _track_by_state(number: str, state: str, city: str) -> dict[str, Any]:
    if state == "void":
        return {"number": number, "state": state, "history": {}}
    return _track(number, state, city)


def _track_loses(number: str, state: str, city: str) -> dict[str, Any]:
    """The name of a city is data that nothing tells from words: a group for each."""
    if state == "lost":
        raise OrderError(f"nobody in {city} has seen it")
    return _track(number, state, city)


def _track_file(number: str, state: str, city: str) -> dict[str, Any]:
    if state == "sent":
        raise FileNotFoundError(2, "No such file or directory", f"/var/orders/{number}.json")
    return _track(number, state, city)


def _track_url(number: str, state: str, city: str) -> dict[str, Any]:
    if state == "paid":
        raise ConnectionError(f"GET https://orders.example.com/v1/{number}?city={city}: 503")
    return _track(number, state, city)


def _track_group(number: str, state: str, city: str) -> dict[str, Any]:
    if state == "paid":
        raise ExceptionGroup("tasks failed", [KeyError(number)] * (len(number) % 3 + 1))
    return _track(number, state, city)


def _track_other_group(number: str, state: str, city: str) -> dict[str, Any]:
    if state == "paid":
        raise ExceptionGroup("tasks failed", [TimeoutError(number)])
    return _track(number, state, city)


def _track_object(number: str, state: str, city: str) -> dict[str, Any]:
    if state == "sent":
        raise RuntimeError(f"{object()!r} is closed")
    return _track(number, state, city)


ORDERS = Service(
    _track,
    _order,
    {
        "other words": _track_says_cancelled,
        "void is a state": _track_by_state,
        "lost in a city": _track_loses,
        "files are missing": _track_file,
        "the service is down": _track_url,
        "a group of lookups": _track_group,
        "a group of timeouts": _track_other_group,
        "something is closed": _track_object,
        "history by hand": _but(
            history=lambda history: {key: value[:1] for key, value in history.items()}
        )(_track),
        "states in upper case": _but(state=str.upper)(_track),
    },
)

# Imports: all bugs in one function, and refusals from one place ----------------------------------


class RowError(ValueError):
    """What an import refuses a row with."""


def _row(random: Random) -> tuple[Any, ...]:
    return (
        {
            "number": random.randrange(1, 10**6),
            "sku": f"{random.choice('ABC')}{random.randrange(1000)}",
            "quantity": random.randint(-2, 50),
            "unit": random.choice(["kg", "l", "each", "m²"]),
            "price": f"{random.randrange(1, 1000)}.{random.randrange(1, 10_000)}",
            "note": random.choice([None, "", "fragile", 17]),
            "at": f"2026-{random.randint(1, 14):02}-{random.randint(1, 28):02}",
        },
    )


def _refused(row: Any, why: str) -> RowError:
    raise RowError(f"row {row['number']}: {why}")


def _import(row: Any, bug: str = "") -> dict[str, Any]:
    if bug == "currency is wanted":
        row["currency"]
    if bug == "weight is wanted":
        row["weight"]
    if bug == "notes are stripped":
        row["note"].strip()
    if bug == "notes are texts":
        row = {**row, "note": row["note"] + "."}
    if bug == "prices are ints":
        int(row["price"])
    if bug == "numbers of skus are ints":
        int(row["sku"])
    if bug == "days are dates":
        datetime.date.fromisoformat(row["at"])
    if bug == "quantities are refused" and row["quantity"] < 0:
        _refused(row, f"a quantity of {row['quantity']} is negative")
    if bug == "units are refused" and len(row["unit"]) < 3:
        _refused(row, f"no such unit: {row['unit']!r}")
    if bug == "decimals are refused" and len(row["price"].partition(".")[2]) > 2:
        _refused(row, f"the price {row['price']} has more than 2 decimals")
    return {"sku": row["sku"], "amount": float(row["price"]) * row["quantity"]}


IMPORTS = Service(
    _import,
    _row,
    {
        bug: partial(_import, bug=bug)
        for bug in (
            "currency is wanted",
            "weight is wanted",
            "notes are stripped",
            "notes are texts",
            "prices are ints",
            "numbers of skus are ints",
            "days are dates",
            "quantities are refused",
            "units are refused",
            "decimals are refused",
        )
    },
)

SERVICES: Mapping[str, Service] = {
    "prices": PRICES,
    "fields": FIELDS,
    "access": ACCESS,
    "times": TIMES,
    "searches": SEARCHES,
    "orders": ORDERS,
    "imports": IMPORTS,
}

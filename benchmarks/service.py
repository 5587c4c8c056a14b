"""Counts the requests per second of a small service: `python -m benchmarks.service`.

A Starlette application under uvicorn, in a process of its own, prices a cart in each request; this
process sends requests over a few connections that are kept. The variants take turns.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.pricing import quote, quote_v2
from twinrun import experiment

__all__ = ["VARIANTS", "application", "main", "measure"]

VARIANTS = ("none", "inline", "background", "stuck")
"""No experiment; in the caller's path; off it; off it with candidates that never come back."""

_CONNECTIONS = 8
_PATIENCE = 30.0  # seconds until the server must be there


def _cart(price: Callable[..., dict[str, int]]) -> int:
    """Price twenty lines of an order."""
    lines = ((100 + 7 * n, 1 + n % 15, ("DE", "FR", "LU")[n % 3]) for n in range(20))
    return sum(price(p, quantity, country=country)["total"] for p, quantity, country in lines)


def _old() -> int:
    return _cart(quote)


def _new() -> int:
    return _cart(quote_v2)


def _stuck() -> int:
    threading.Event().wait()
    return 0


def application() -> Any:
    """Make the service: one path for each variant."""
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    def decorated(variant: str, candidate: Callable[[], int], **options: Any) -> Callable[[], int]:
        made = experiment(f"service.{variant}", candidate=candidate, publishers=(), **options)
        return made(_old)

    prices = {
        "none": _old,
        "inline": decorated("inline", _new),
        "background": decorated("background", _new, mode="background", breaker=None),
        "stuck": decorated("stuck", _stuck, mode="background", timeout=0.5, breaker=None),
    }

    def route(variant: str) -> Route:
        price = prices[variant]

        async def respond(request: Any) -> Any:
            return PlainTextResponse(str(price()))

        return Route(f"/{variant}", respond)

    return Starlette(routes=[route(variant) for variant in VARIANTS])


async def _ask(path: str, variant: str, until: float) -> int:
    """Send requests over one connection, each when the last is answered; say how many."""
    reader, writer = await asyncio.open_unix_connection(path)
    answered = 0
    request = f"GET /{variant} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode()
    while time.monotonic() < until:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode())
        length = next(line for line in head.lower().split(b"\r\n") if b"content-length" in line)
        await reader.readexactly(int(length.partition(b":")[2]))
        answered += 1
    writer.close()
    return answered


async def _rate(path: str, variant: str, seconds: float) -> float:
    """Load one variant for so long; its requests per second."""
    started = time.monotonic()
    asked = [_ask(path, variant, started + seconds) for _ in range(_CONNECTIONS)]
    return sum(await asyncio.gather(*asked)) / (time.monotonic() - started)


def measure(rounds: int, seconds: float) -> dict[str, float]:
    """Give each variant's requests per second, the medians of rounds taken in turn."""
    with tempfile.TemporaryDirectory() as directory:
        path = str(Path(directory) / "socket")
        command = ["uvicorn", "benchmarks.service:application", "--factory", "--uds", path]
        server = subprocess.Popen(
            [sys.executable, "-m", *command, "--log-level", "warning"],
            cwd=Path(__file__).parents[1],
            env={**os.environ, "TWINRUN_DISABLED": ""},
        )
        try:
            deadline = time.monotonic() + _PATIENCE
            while not Path(path).exists():
                if server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("the service did not start")
                time.sleep(0.02)
            rates: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
            for _ in range(rounds):
                for variant in VARIANTS:
                    rates[variant].append(asyncio.run(_rate(path, variant, seconds)))
        finally:
            server.kill()
            server.wait()
    return {variant: statistics.median(each) for variant, each in rates.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each variant, in each round")
    options = parser.parse_args(arguments)
    rates = measure(options.rounds, options.seconds)
    print(f"{'experiment':<12}{'requests/s':>12}{'of none':>10}")
    for variant, rate in rates.items():
        print(f"{variant:<12}{rate:>12,.0f}{rate / rates['none']:>10.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

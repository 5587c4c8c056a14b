"""Draws the memory of a process whose sink is down: `python -m benchmarks.memory FILE.svg`.

Every run is a mismatch of two small records, published through `Buffered` to a sink that always
fails. Memory grows until the queue is full, and must be flat from then on. Linux only: the resident
set is read from /proc.
"""

from __future__ import annotations

import argparse
import logging
import resource
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twinrun import Result, experiment
from twinrun.cleaners import payload
from twinrun.publishers import Buffered

__all__ = ["draw", "main", "measure"]

_SAMPLES = 200
_WIDTH, _HEIGHT, _LEFT = 640, 280, 56
_BOTTOM = _HEIGHT - 56
_MIB = 1024 * 1024


class _Down:
    """A sink that takes nothing."""

    evidence_only = True

    def publish(self, result: Result) -> None:
        """Serve as a publisher."""
        raise ConnectionError("down")

    def record(self, result: Result) -> bytes:
        """Make a record of what a store would keep."""
        import json

        return json.dumps(payload(result)).encode()

    def deliver(self, records: list[bytes]) -> None:
        """Fail."""
        raise ConnectionError("down")


def _resident() -> int:
    """The bytes of memory that the process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def measure(count: int) -> tuple[list[tuple[int, int]], int]:
    """Run so many experiments; give (runs, resident bytes) at intervals, and when it was full."""
    logging.getLogger("twinrun").addHandler(logging.NullHandler())
    logging.getLogger("twinrun").propagate = False
    buffered = Buffered(_Down())

    def old(number: int) -> dict[str, Any]:
        return {"id": number, "total": 100, "lines": [1, 2, 3]}

    def new(number: int) -> dict[str, Any]:
        return {"id": number, "total": 101, "lines": [1, 2, 4]}

    run = experiment("bench.memory", candidate=new, publishers=[buffered])(old)
    measured = [(0, _resident())]
    full = 0
    for number in range(1, count + 1):
        run(number)
        if not full and buffered.counts.dropped:
            full = number
        if number % max(1, count // _SAMPLES) == 0:
            measured.append((number, _resident()))
    return measured, full


def draw(measured: Sequence[tuple[int, int]], full: int) -> str:
    """Draw the figure as SVG, in the colour of the text around it."""
    most_runs = measured[-1][0]
    top = 20 * _MIB * (1 + max(size for _, size in measured) // (20 * _MIB))
    points = " ".join(f"{_x(r / most_runs):.1f},{_y(size / top):.1f}" for r, size in measured)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        'font-family="sans-serif" font-size="12">',
        "<title>Memory over experiments whose sink is down</title>",
        "<style>svg{color:#222}.line{stroke:#2563eb}"
        "@media(prefers-color-scheme:dark){svg{color:#ddd}.line{stroke:#7aa2ff}}</style>",
        *(_ticks(step / 4, most_runs, top) for step in range(5)),
        *(_mark(full / most_runs) if full else ()),
        f'<polyline class="line" fill="none" stroke-width="2" points="{points}"/>',
        _text((_LEFT + _WIDTH) / 2, _HEIGHT - 14, "experiments, every one a mismatch"),
        _text(14, _HEIGHT / 2, "resident memory, MiB", turned=True),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _x(share: float) -> float:
    """Where a share of the runs stands."""
    return _LEFT + share * (_WIDTH - _LEFT - 40)


def _y(share: float) -> float:
    """Where a share of the memory stands."""
    return _BOTTOM - share * (_BOTTOM - 24)


def _mark(share: float) -> tuple[str, str]:
    """Mark where the queue was full."""
    line = f'<path d="M{_x(share):.1f} 24V{_BOTTOM}" stroke="currentColor" stroke-dasharray="3 3"/>'
    return line, _text(_x(share) + 6, 20, "the queue is full", "start")


def _ticks(share: float, most_runs: int, top: int) -> str:
    """Draw a line across, and name what it and the same place below stand for."""
    return (
        f'<path d="M{_LEFT} {_y(share):.1f}H{_WIDTH - 40}" stroke="currentColor" opacity=".2"/>'
        + _text(_LEFT - 6, _y(share) + 4, f"{top * share / _MIB:.0f}", "end")
        + _text(_x(share), _BOTTOM + 18, f"{most_runs * share:,.0f}")
    )


def _text(x: float, y: float, text: str, anchor: str = "middle", turned: bool = False) -> str:
    """Write a text."""
    turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} fill="currentColor"{turn}>{text}</text>'


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write the figure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("file", type=Path, help="where to write the SVG")
    parser.add_argument("--count", type=int, default=1_000_000, help="so many experiments")
    options = parser.parse_args(arguments)
    measured, full = measure(options.count)
    options.file.write_text(draw(measured, full), encoding="utf-8")
    at_full = next((size for runs, size in measured if runs >= full > 0), 0)
    print(f"the queue was full at {full:,} runs and {at_full / _MIB:.1f} MiB")
    print(f"after {measured[-1][0]:,} runs: {measured[-1][1] / _MIB:.1f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())

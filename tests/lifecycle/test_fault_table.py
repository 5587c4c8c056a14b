"""The table of faults names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_row_of_the_table_of_faults_names_a_test_that_there_is() -> None:
    """By its file and its name."""
    table = (ROOT / "docs" / "explanation" / "faults.md").read_text()
    named = re.findall(r"`([\w/]+)::(test_\w+)`", table)
    rows = [line for line in table.splitlines() if line.startswith("| ") and "---" not in line]
    assert len(named) == len(rows) - table.count("| fault |")
    missing = {
        f"{path}::{name}"
        for path, name in named
        if f"def {name}(" not in (ROOT / "tests" / f"{path}.py").read_text()
    }
    assert missing == set()
